//! Where a sealer stands between the last epoch and the next.

use std::collections::HashSet;

use crate::epoch::{Epoch, EpochError, Tip};
use crate::id::CallId;
use crate::ledger::{Cursor, LedgerShard};
use crate::record::UsageRecord;

/// Calls remembered so that none is sealed twice; beyond that only those of the last epoch are.
const CALLS_KNOWN_MAX: usize = 1 << 19;

/// Where the sealer stands.
#[derive(Default)]
pub(super) struct State {
    pub(super) tip: Option<Tip>,
    /// The calls of the last epochs this sealer saw and of what is pending: none of them is taken again.
    pub(super) known: HashSet<CallId>,
    /// Whether the ledger was told to forget what the last epoch holds.
    pub(super) trimmed: bool,
    /// Whether ledger and store were found to belong together.
    pub(super) guarded: bool,
    /// What the next epoch is to hold.
    pub(super) pending: Vec<UsageRecord>,
    /// Up to where the ledger was read.
    pub(super) read: Vec<(LedgerShard, Cursor)>,
}

impl State {
    /// Goes on behind this epoch.
    pub(super) fn enter(&mut self, epoch: &Epoch) -> Result<(), EpochError> {
        self.tip = Some(epoch.tip()?);
        self.trimmed = false;
        self.pending.clear();
        if self.known.len() > CALLS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.extend(calls(epoch));
        Ok(())
    }

    /// Adds records for the next epoch, but none of a call that is sealed or waits already: the ledger charges a call
    /// once, and a copy that came back must not pay a provider twice.
    pub(super) fn add(&mut self, records: Vec<(Cursor, UsageRecord)>) {
        for (_, record) in records {
            if self.known.insert(record.call) {
                self.pending.push(record);
            } else {
                tracing::warn!(call = %record.call, "a record was in the ledger's stream twice; it is sealed once");
            }
        }
    }
}

pub(super) fn calls(epoch: &Epoch) -> impl Iterator<Item = CallId> {
    epoch.records.iter().map(|record| record.call)
}
