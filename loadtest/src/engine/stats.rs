//! What a simulated engine counts, so that a test can assert what really reached it and what was cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

/// The counts at one moment; the answer of `GET /stats`.
///
/// `started = running + finished + cancelled + faulted`, waiting calls included in running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    waiting: AtomicU64,
    started: AtomicU64,
    finished: AtomicU64,
    cancelled: AtomicU64,
    faulted: AtomicU64,
    tokens_sent: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Stats {
        // Ends are read before starts, so that `running` can never come out negative.
        let (finished, cancelled) = (self.finished.load(Relaxed), self.cancelled.load(Relaxed));
        let (faulted, waiting) = (self.faulted.load(Relaxed), self.waiting.load(Relaxed));
        let started = self.started.load(Relaxed);
        let running = started.saturating_sub(finished + cancelled + faulted);
        let tokens_sent = self.tokens_sent.load(Relaxed);
        Stats {
            running,
            waiting,
            started,
            finished,
            cancelled,
            faulted,
            tokens_sent,
        }
    }

    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(Arc::clone(self))
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
    ended: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Running {
    pub(super) fn start(counters: &Arc<Counters>) -> Self {
        counters.started.fetch_add(1, Relaxed);
        Self {
            counters: Arc::clone(counters),
            ended: false,
            place: None,
        }
    }

    /// Keeps a place among the calls that run at the same time until this call has ended.
    pub(super) fn takes(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.counters.finished.fetch_add(1, Relaxed);
            self.place = None;
        }
    }

    pub(super) fn fault(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.counters.faulted.fetch_add(1, Relaxed);
            self.place = None;
        }
    }

    pub(super) fn tokens(&self, count: u64) {
        self.counters.tokens_sent.fetch_add(count, Relaxed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.counters.cancelled.fetch_add(1, Relaxed);
        }
    }
}
