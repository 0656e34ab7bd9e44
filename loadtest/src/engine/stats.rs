//! What a simulated engine counts, so that a test can assert what really reached it, what was cancelled and when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::sim::FaultKind;

/// Ended calls that are remembered; the oldest goes first.
const CALLS_MAX: usize = 16_384;

/// The counts at one moment; the answer of `GET /stats`.
///
/// `started = running + finished + cancelled + faulted`, waiting calls included in running.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Calls begun and not ended.
    pub running: u64,
    /// Those of the running calls that wait for a place (see `concurrency`).
    pub waiting: u64,
    /// Calls begun since the start, of all endpoints that generate.
    pub started: u64,
    /// Calls answered to the end, with whatever status.
    pub finished: u64,
    /// Calls whose client went away before the end.
    pub cancelled: u64,
    /// Calls this engine broke off itself because it was told to.
    pub faulted: u64,
    /// Completion tokens handed to the network, also those of calls that ended badly.
    pub tokens_sent: u64,
    /// Calls that went on from where another answer had broken off.
    pub continued: u64,
    /// Calls refused because the text so far was not the beginning of the answer: lost, doubled or foreign text.
    pub misbegun: u64,
    /// Calls in which a fault really happened, by its kind.
    pub faults: BTreeMap<FaultKind, u64>,
}

/// One call that has ended; `GET /calls` lists them, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSeen {
    /// The header `filature-call`, if it came.
    pub call: Option<String>,
    /// The header `filature-attempt`, if it came.
    pub attempt: Option<u32>,
    /// When it came, in microseconds since 1970 by this machine's clock.
    pub began_us: u64,
    /// When it ended, on the same clock: for one whose client left, when that was noticed and the work stopped.
    pub ended_us: u64,
    /// How.
    pub ending: Ending,
    /// Completion tokens handed to the network.
    pub tokens: u64,
    /// Bytes of text it went on from, if it did.
    pub continued: Option<u64>,
    /// What went wrong, if anything did.
    pub fault: Option<FaultKind>,
}

/// How a call ended at the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Answered to the end, with whatever status.
    Finished,
    /// Its client went away.
    Cancelled,
    /// Broken off by the engine, as it was told to.
    Faulted,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    waiting: AtomicU64,
    started: AtomicU64,
    finished: AtomicU64,
    cancelled: AtomicU64,
    faulted: AtomicU64,
    tokens_sent: AtomicU64,
    continued: AtomicU64,
    misbegun: AtomicU64,
    faults: Mutex<BTreeMap<FaultKind, u64>>,
    calls: Mutex<VecDeque<CallSeen>>,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Stats {
        // Ends are read before starts, so that `running` can never come out negative.
        let (finished, cancelled) = (self.finished.load(Relaxed), self.cancelled.load(Relaxed));
        let (faulted, waiting) = (self.faulted.load(Relaxed), self.waiting.load(Relaxed));
        let started = self.started.load(Relaxed);
        Stats {
            running: started.saturating_sub(finished + cancelled + faulted),
            waiting,
            started,
            finished,
            cancelled,
            faulted,
            tokens_sent: self.tokens_sent.load(Relaxed),
            continued: self.continued.load(Relaxed),
            misbegun: self.misbegun.load(Relaxed),
            faults: self.faults.lock().clone(),
        }
    }

    /// The ended calls it remembers, or those of one caller's call.
    pub(super) fn calls(&self, call: Option<&str>) -> Vec<CallSeen> {
        let calls = self.calls.lock();
        let wanted = calls
            .iter()
            .filter(|seen| call.is_none() || seen.call.as_deref() == call);
        wanted.cloned().collect()
    }

    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(Arc::clone(self))
    }

    pub(super) fn misbegun(&self) {
        self.misbegun.fetch_add(1, Relaxed);
    }

    fn remember(&self, seen: CallSeen) {
        let mut calls = self.calls.lock();
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(seen);
    }
}

/// A call that waits for a place, until dropped.
pub(super) struct Waiting(Arc<Counters>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// A call in the books. Dropped without a word said, its client went away.
#[derive(Debug)]
pub(super) struct Running {
    counters: Arc<Counters>,
    seen: CallSeen,
    ended: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Running {
    pub(super) fn start(counters: &Arc<Counters>, headers: &HeaderMap) -> Self {
        counters.started.fetch_add(1, Relaxed);
        Self {
            counters: Arc::clone(counters),
            seen: CallSeen {
                call: header(headers, "filature-call").map(str::to_owned),
                attempt: header(headers, "filature-attempt").and_then(|number| number.parse().ok()),
                began_us: now_us(),
                ended_us: 0,
                ending: Ending::Cancelled,
                tokens: 0,
                continued: None,
                fault: None,
            },
            ended: false,
            place: None,
        }
    }

    /// The number the gateway gave this attempt.
    pub(super) const fn attempt(&self) -> Option<u32> {
        self.seen.attempt
    }

    /// Keeps a place among the calls that run at the same time until this call has ended.
    pub(super) fn takes(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    /// It goes on from a text of so many bytes.
    pub(super) fn continues(&mut self, bytes: u64) {
        self.counters.continued.fetch_add(1, Relaxed);
        self.seen.continued = Some(bytes);
    }

    /// A fault happens to it now, whether it ends by it or not.
    pub(super) fn suffers(&mut self, kind: FaultKind) {
        if self.seen.fault.replace(kind) != Some(kind) {
            *self.counters.faults.lock().entry(kind).or_default() += 1;
        }
    }

    pub(super) fn finish(&mut self) {
        self.end(Ending::Finished);
    }

    pub(super) fn fault(&mut self) {
        self.end(Ending::Faulted);
    }

    pub(super) fn tokens(&mut self, count: u64) {
        self.counters.tokens_sent.fetch_add(count, Relaxed);
        self.seen.tokens += count;
    }

    fn end(&mut self, ending: Ending) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let count = match ending {
            Ending::Finished => &self.counters.finished,
            Ending::Cancelled => &self.counters.cancelled,
            Ending::Faulted => &self.counters.faulted,
        };
        (self.seen.ended_us, self.seen.ending) = (now_us(), ending);
        self.counters.remember(self.seen.clone());
        count.fetch_add(1, Relaxed);
        self.place = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(Ending::Cancelled);
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Microseconds since 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
