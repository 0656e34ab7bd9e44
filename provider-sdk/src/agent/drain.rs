//! Counts the calls in flight and refuses new ones when the agent is full or drains. Decides whether a call is taken;
//! what the refusal looks like is decided in `reply`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// The calls of one agent, over all its tunnels.
pub(crate) struct Calls {
    max: u32,
    running: AtomicU32,
    draining: AtomicBool,
    ended: Notify,
}

/// One call in flight. It ends when this is dropped, however that comes about.
pub(crate) struct Running(Arc<Calls>);

/// Why a call is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// The agent finishes what runs.
    Draining,
    /// As many calls run as the offer allows.
    Full,
}

impl Calls {
    pub(crate) fn new(max: u32) -> Self {
        Self {
            max,
            running: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    /// Takes a call, or says why not.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<Running, NotTaken> {
        // Counted first and judged after, so that a drain which starts in between either sees this call or refuses it.
        let before = self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(self));
        if self.draining() {
            return Err(NotTaken::Draining);
        }
        if before >= self.max {
            return Err(NotTaken::Full);
        }
        Ok(running)
    }

    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on no call is taken.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Returns once nothing runs.
    pub(crate) async fn idle(&self) {
        loop {
            // Listening starts before the look, else a call that ends in between would never be heard.
            let mut ended = std::pin::pin!(self.ended.notified());
            ended.as_mut().enable();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.ended.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_as_many_calls_as_offered() {
        let calls = Arc::new(Calls::new(2));
        let first = calls.begin().ok().unwrap();
        let _second = calls.begin().ok().unwrap();
        assert_eq!(calls.begin().err(), Some(NotTaken::Full));
        assert_eq!(calls.running(), 2, "a refused call leaves no trace");
        drop(first);
        assert!(calls.begin().is_ok());
    }

    #[tokio::test]
    async fn a_drain_takes_nothing_and_ends_with_the_last_call() {
        let calls = Arc::new(Calls::new(2));
        let running = calls.begin().ok().unwrap();
        calls.drain();
        assert_eq!(calls.begin().err(), Some(NotTaken::Draining));
        let idle = calls.idle();
        tokio::pin!(idle);
        let early = tokio::time::timeout(std::time::Duration::from_millis(5), &mut idle).await;
        assert!(early.is_err(), "one call runs");
        drop(running);
        idle.await;
    }
}
