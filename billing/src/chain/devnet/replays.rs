//! Writes down what the devnet executes, as it does, for another executor to run again (`billing/contracts/replays.mjs`).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::DevnetError;
use super::record::Record;
use crate::chain::ChainError;

/// The variable that names the folder.
const FOLDER: &str = "FILATURE_REPLAYS";
/// Devnets of this process so far that write.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A devnet's file: one JSON object a line. The first holds the configuration too.
pub(super) struct Replays {
    file: File,
    /// The configuration, until it is written.
    config: Option<String>,
}

impl Replays {
    /// A new file, if the environment names a folder for it.
    pub(super) fn wanted(config: impl FnOnce() -> String) -> Result<Option<Self>, DevnetError> {
        let Some(folder) = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) else {
            return Ok(None);
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(&folder).join(format!("{}-{count}.jsonl", std::process::id()));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| DevnetError::Folder(format!("{}: {error}", path.display())))?;
        Ok(Some(Self {
            file,
            config: Some(config()),
        }))
    }

    /// Adds what a block has executed. Whole lines in one write, so that a process that is killed leaves no half of one.
    pub(super) fn write(&mut self, records: &[Arc<Record>]) -> Result<(), ChainError> {
        let unwritten = |error: &dyn std::fmt::Display| ChainError::Unavailable(format!("a replay: {error}"));
        let mut lines = Vec::new();
        for record in records {
            let mut replay = record.replay().map_err(|error| unwritten(&error))?;
            replay.config_boc = self.config.take();
            serde_json::to_writer(&mut lines, &replay).map_err(|error| unwritten(&error))?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines).map_err(|error| unwritten(&error))
    }
}
