//! How the embedded ledger trades latency for work, and how long it remembers.

use std::time::Duration;

use crate::ledger::{AUDIT_MAX, POSTED_KEPT};

/// How the embedded ledger trades latency for work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EmbeddedSettings {
    /// How long the writer lets posts gather when they are few. The default is 2 ms.
    pub gather_min: Duration,
    /// How long it lets them gather when they are many, since a commit costs about as much as a hundred posts. The
    /// default is 30 ms.
    pub gather_max: Duration,
    /// How many posts and other writes may wait for the writer; above that they are refused. The default is 65,536.
    pub waiting_max: usize,
    /// For how long after a call started it is remembered to have been posted, once its record is trimmed. The default
    /// is 7 days.
    pub posted_kept: Duration,
    /// How many entries the audit trail has at most. The default is 1,000,000.
    pub audit_max: u64,
}

impl Default for EmbeddedSettings {
    fn default() -> Self {
        Self {
            gather_min: Duration::from_millis(2),
            gather_max: Duration::from_millis(30),
            waiting_max: 1 << 16,
            posted_kept: POSTED_KEPT,
            audit_max: AUDIT_MAX,
        }
    }
}
