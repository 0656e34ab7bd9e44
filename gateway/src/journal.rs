//! Posts that the ledger could not take, kept on disk until it can: a finished call is charged once, however long the
//! ledger is away and whatever becomes of this process meanwhile.
//!
//! A segment is a file of records, a line each, appended and synced before a call's task ends. The replayer closes the
//! segment that is being written, posts its records and deletes it. A crash in between repeats some posts, which the ledger
//! charges once (`Ledger::post`).

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use filature_billing::{AccountId, LedgerError, UsageRecord};
use futures_util::StreamExt;
use parking_lot::Mutex;

use crate::app::App;
use crate::clock::now_ms;

/// The folder of segments inside the data folder.
const FOLDER: &str = "posts";
/// What ends a segment's name.
const EXTENSION: &str = "jsonl";
/// How often the ledger is asked whether it is back while something is journalled, and how often the folder is looked at
/// otherwise.
const EVERY: Duration = Duration::from_secs(1);
/// Records that are replayed at the same time.
const REPLAYED_AT_ONCE: usize = 32;
/// Bytes kept at most; beyond it calls keep their records in memory and ask the ledger themselves.
const BYTES_MAX: u64 = 1 << 30;
/// Bytes of a segment after which a new one is begun: one segment is held in memory while it is replayed.
const SEGMENT_BYTES: u64 = 16 << 20;
/// What ends the name of a segment that could not be read whole: it is kept for a person to look at.
const DAMAGED: &str = "damaged";

/// The journal of one gateway.
pub struct Journal {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The segment that is written, if there is one.
    open: Option<Open>,
    /// Number of the next segment.
    next: u64,
    /// Bytes in all segments.
    bytes: u64,
}

/// A segment that is written.
struct Open {
    path: PathBuf,
    file: File,
    /// Bytes of whole records, all of them synced.
    length: u64,
}

impl Journal {
    /// The journal in the data folder; segments of an earlier process are found by [`replay`].
    ///
    /// # Errors
    /// When its folder cannot be made or read.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("the folder {} could not be made", folder.display()))?;
        let journal = Self {
            folder,
            state: Mutex::default(),
        };
        let mut state = journal.state.lock();
        for (number, path) in journal.segments()? {
            state.next = state.next.max(number + 1);
            state.bytes += fs::metadata(&path).map_or(0, |segment| segment.len());
        }
        drop(state);
        Ok(journal)
    }

    /// Writes a record and returns once it is on disk. Blocks: call it where that is allowed.
    ///
    /// # Errors
    /// When the disk does not take it, or the journal is full. The record is then not journalled.
    pub fn append(&self, record: &UsageRecord) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let length = line.len() as u64;
        let mut state = self.state.lock();
        if state.bytes + length > BYTES_MAX {
            anyhow::bail!("the journal of posts holds {} bytes, the most it may", state.bytes);
        }
        let mut open = match state.open.take() {
            Some(open) if open.length < SEGMENT_BYTES => open,
            _ => {
                state.next += 1;
                self.begin(state.next - 1)?
            }
        };
        let written = open.file.write_all(&line).and_then(|()| open.file.sync_data());
        if let Err(error) = written {
            let path = open.path.display().to_string();
            // A full disk leaves half a line. It goes, so that tries do not pile up; where it cannot, it is a torn line,
            // which replay passes over, and nothing is added behind it.
            match open.file.set_len(open.length) {
                Ok(()) => state.open = Some(open),
                Err(_) => {
                    state.bytes += open
                        .file
                        .metadata()
                        .map_or(0, |file| file.len())
                        .saturating_sub(open.length)
                }
            }
            return Err(error).context(path);
        }
        open.length += length;
        state.open = Some(open);
        state.bytes += length;
        Ok(())
    }

    /// Makes the segment of this number.
    fn begin(&self, number: u64) -> anyhow::Result<Open> {
        let path = self.folder.join(format!("{number:012}.{EXTENSION}"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // The name itself must be on disk before anybody relies on it.
        File::open(&self.folder)?.sync_all()?;
        Ok(Open { path, file, length: 0 })
    }

    /// The segments to be replayed, in order. The one that is written is closed: what comes later goes into a new one.
    fn closed(&self) -> anyhow::Result<Vec<PathBuf>> {
        // Held while the folder is read: a segment begun meanwhile must not be taken for one that gets no more.
        let mut state = self.state.lock();
        state.open = None;
        Ok(self.segments()?.into_iter().map(|(_, path)| path).collect())
    }

    fn segments(&self) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(|| self.folder.display().to_string())? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let (Some(number), Some(EXTENSION)) = (number, path.extension().and_then(|word| word.to_str())) {
                segments.push((number, path));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    /// Whether nothing waits to be replayed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.lock().bytes == 0
    }

    /// Leaves of a segment the records that are still to be posted. One with a line that cannot be read is set aside whole
    /// first.
    fn keep(&self, path: &Path, records: &[UsageRecord], is_damaged: bool) -> anyhow::Result<()> {
        let before = fs::metadata(path)?.len();
        if is_damaged {
            fs::copy(path, path.with_extension(DAMAGED))?;
        }
        let mut text = Vec::new();
        for record in records {
            serde_json::to_writer(&mut text, record)?;
            text.push(b'\n');
        }
        let part = path.with_extension("part");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&part, path)?;
        File::open(&self.folder)?.sync_all()?;
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(before).saturating_add(text.len() as u64);
        Ok(())
    }

    /// Ends with a segment that was replayed: deleted, or set aside where a line of it could not be read.
    fn done(&self, path: &Path, is_damaged: bool) -> anyhow::Result<()> {
        let bytes = fs::metadata(path)?.len();
        if is_damaged {
            fs::rename(path, path.with_extension(DAMAGED))?;
        } else {
            fs::remove_file(path)?;
        }
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        Ok(())
    }
}

/// Posts what is journalled as soon as the ledger takes it, until the gateway ends.
pub async fn replay(app: Arc<App>) {
    loop {
        if !app.journal.is_empty()
            && app.ledger.ping().await.is_ok()
            && let Err(error) = round(&app).await
        {
            tracing::warn!(error = format!("{error:#}"), "journalled posts wait");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.stop.ended.cancelled() => return,
        }
    }
}

/// Replays all segments. What the ledger cannot take yet, such as that of one shard whose server is away, keeps nothing else
/// waiting.
async fn round(app: &Arc<App>) -> anyhow::Result<()> {
    let mut away = HashMap::new();
    for path in app.journal.closed()? {
        let read = path.clone();
        let segment = tokio::task::spawn_blocking(move || Segment::read(&read)).await??;
        let (count, is_damaged) = (segment.records.len(), segment.is_damaged);
        let left = post_all(app, segment.records, &mut away).await;
        tracing::info!(
            posts = count - left.len(),
            left = left.len(),
            "journalled posts were replayed"
        );
        let app = app.clone();
        let written = tokio::task::spawn_blocking(move || match left.as_slice() {
            [] => app.journal.done(&path, is_damaged),
            left if left.len() < count || is_damaged => app.journal.keep(&path, left, is_damaged),
            _ => Ok(()),
        });
        written.await??;
    }
    match away.into_values().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Posts records and returns those that could not be. `away` are accounts whose posts the ledger did not take, and why:
/// each is tried once a round.
async fn post_all(
    app: &App,
    records: Vec<UsageRecord>,
    away: &mut HashMap<AccountId, anyhow::Error>,
) -> Vec<UsageRecord> {
    let (tried, mut left) = (Mutex::new(away), Vec::new());
    let mut posts = futures_util::stream::iter(records)
        .map(async |record| {
            if tried.lock().contains_key(&record.account) {
                return Some(record);
            }
            let error = post(app, &record).await.err()?;
            tried.lock().insert(record.account.clone(), error);
            Some(record)
        })
        .buffer_unordered(REPLAYED_AT_ONCE);
    while let Some(record) = posts.next().await {
        left.extend(record);
    }
    left
}

/// Posts one record. An error means that the ledger is away again or cannot read what it has; what it refuses for good goes
/// to the log.
async fn post(app: &App, record: &UsageRecord) -> anyhow::Result<()> {
    match app.ledger.post(record, now_ms()).await {
        Ok(_) => Ok(()),
        Err(LedgerError::Unavailable(error) | LedgerError::Damaged(error)) => anyhow::bail!("{error}"),
        Err(error) => {
            // The record holds no words of the call, only ids, counts and amounts.
            let text = serde_json::to_string(record)?;
            tracing::error!(call = %record.call, %error, record = text, "a journalled post is refused for good");
            Ok(())
        }
    }
}

/// What a segment holds.
#[derive(Default)]
struct Segment {
    records: Vec<UsageRecord>,
    /// Whether a line of it could not be read.
    is_damaged: bool,
}

impl Segment {
    /// Reads a segment. A torn last line is what a crash leaves, and no damage: its call was never told to be journalled.
    fn read(path: &Path) -> anyhow::Result<Self> {
        let mut segment = Self::default();
        let mut file = BufReader::new(File::open(path).with_context(|| path.display().to_string())?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(record) => segment.records.push(record),
                Err(error) => {
                    segment.is_damaged |= line.ends_with(b"\n");
                    tracing::error!(file = %path.display(), line = number, %error, "a line of the journal cannot be read");
                }
            }
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use filature_billing::{CallId, CallOutcome, FeeBps, KeyId, Nano, Tokens};

    use super::*;

    fn record(n: u128) -> UsageRecord {
        UsageRecord {
            version: 1,
            call: CallId::generate(now_ms(), &mut rand::rng()),
            account: AccountId::parse("acct_a").expect("an id"),
            key: KeyId::parse("key_a").expect("an id"),
            endpoint: "/v1/chat/completions".to_owned(),
            model: format!("m{n}"),
            stream: true,
            created_ms: 1,
            ended_ms: 2,
            first_token_ms: None,
            outcome: CallOutcome::Completed,
            finish_reason: None,
            legs: Vec::new(),
            claimed: None,
            counted: Tokens::default(),
            billed: Tokens::default(),
            counted_by: "bytes".to_owned(),
            fee_bps: FeeBps::ZERO,
            quote: Nano::default(),
            cost: Nano::default(),
            fee: Nano::default(),
            request_hash: None,
            response_hash: None,
            nonce_hash: None,
        }
    }

    fn models(path: &Path) -> Vec<String> {
        let segment = Segment::read(path).expect("a segment");
        segment.records.into_iter().map(|record| record.model).collect()
    }

    #[test]
    fn records_survive_the_process_and_a_closed_segment_gets_no_more() {
        let data = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(data.path()).expect("a journal");
        assert!(journal.is_empty());
        journal.append(&record(1)).expect("written");
        journal.append(&record(2)).expect("written");
        drop(journal);
        let journal = Journal::open(data.path()).expect("a journal");
        assert!(!journal.is_empty());
        journal.append(&record(3)).expect("written");
        let closed = journal.closed().expect("segments");
        journal.append(&record(4)).expect("written");
        let read: Vec<_> = closed.iter().map(|path| models(path)).collect();
        assert_eq!(read, [vec!["m1", "m2"], vec!["m3"]]);
        for path in &closed {
            journal.done(path, false).expect("deleted");
        }
        assert!(!journal.is_empty());
        let last = journal.closed().expect("segments");
        assert_eq!(models(&last[0]), ["m4"]);
        journal.done(&last[0], false).expect("deleted");
        assert!(journal.is_empty());
    }

    #[test]
    fn a_segment_that_is_closed_is_never_written_again() {
        let data = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(data.path()).expect("a journal");
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..300 {
                    journal.append(&record(n)).expect("written");
                }
                over.store(true, std::sync::atomic::Ordering::Release);
            });
            let mut read = 0;
            loop {
                let last = over.load(std::sync::atomic::Ordering::Acquire);
                for path in journal.closed().expect("segments") {
                    read += models(&path).len();
                    journal.done(&path, false).expect("deleted");
                }
                if last {
                    break;
                }
            }
            assert_eq!(read, 300, "records went into a segment that was being replayed");
        });
        assert!(journal.is_empty());
    }

    #[test]
    fn what_is_left_of_a_segment_stays_in_it() {
        let data = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(data.path()).expect("a journal");
        for n in 1..=3 {
            journal.append(&record(n)).expect("written");
        }
        let path = journal.closed().expect("segments").remove(0);
        let records = Segment::read(&path).expect("a segment").records;
        journal.keep(&path, &records[1..], false).expect("kept");
        assert_eq!(models(&path), ["m2", "m3"]);
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"no record\n").expect("written");
        let whole = fs::read(&path).expect("read");
        journal.keep(&path, &records[1..2], true).expect("kept");
        assert_eq!(models(&path), ["m2"]);
        assert_eq!(fs::read(path.with_extension(DAMAGED)).expect("set aside"), whole);
        let journal = Journal::open(data.path()).expect("a journal");
        assert_eq!(journal.closed().expect("segments"), std::slice::from_ref(&path));
        journal.done(&path, false).expect("deleted");
        assert!(journal.is_empty());
    }

    #[test]
    fn a_torn_line_does_not_keep_the_others_from_being_read() {
        let data = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(data.path()).expect("a journal");
        journal.append(&record(1)).expect("written");
        let path = journal.closed().expect("segments").remove(0);
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(br#"{"version":1,"call":"gen-"#).expect("written");
        assert_eq!(models(&path), ["m1"]);
        assert!(!Segment::read(&path).expect("a segment").is_damaged);
    }

    #[test]
    fn a_segment_with_a_line_that_cannot_be_read_is_set_aside() {
        let data = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(data.path()).expect("a journal");
        journal.append(&record(1)).expect("written");
        let path = journal.closed().expect("segments").remove(0);
        let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(b"no record\n").expect("written");
        let segment = Segment::read(&path).expect("a segment");
        assert_eq!((segment.records.len(), segment.is_damaged), (1, true));
        journal.done(&path, segment.is_damaged).expect("set aside");
        assert!(path.with_extension(DAMAGED).exists() && !path.exists());
        assert!(journal.is_empty());
        drop(journal);
        assert!(Journal::open(data.path()).expect("a journal").is_empty());
    }
}
