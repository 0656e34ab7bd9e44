//! Whether the engine is there. Decides what of it is news: the log tells of changes, not of calls, and whoever has to
//! know learns of an engine that came back, for it may be another one.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// The engine's presence, as its calls and the questions beside them find it.
#[derive(Default)]
pub(crate) struct Presence {
    gone: AtomicBool,
    back: Notify,
}

impl Presence {
    /// The engine could not be reached.
    pub(crate) fn lost(&self, why: &str) {
        if !self.gone.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = why, "the engine does not answer; calls fail until it does");
        }
    }

    /// The engine answered.
    pub(crate) fn answered(&self) {
        if self.gone.load(Ordering::Relaxed) && self.gone.swap(false, Ordering::Relaxed) {
            tracing::info!("the engine answers again");
            self.back.notify_one();
        }
    }

    /// Returns once the engine has come back since the last time this returned. For one listener.
    pub(crate) async fn back(&self) {
        self.back.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn only_a_return_is_news() {
        let presence = Presence::default();
        let back = async || {
            tokio::time::timeout(Duration::from_millis(5), presence.back())
                .await
                .is_ok()
        };
        presence.answered();
        assert!(!back().await, "it was never gone");
        presence.lost("refused");
        presence.lost("refused");
        assert!(!back().await, "it is still gone");
        presence.answered();
        presence.answered();
        assert!(back().await, "also if nobody listened at that moment");
        assert!(!back().await, "once for each return");
    }
}
