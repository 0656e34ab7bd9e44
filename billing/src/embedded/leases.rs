//! Leases inside one process: who does what only one should. Gone with the process, as their holders are.

use std::collections::BTreeMap;

use crate::ledger::LedgerError;

/// Most leases at a time; there are as many names as kinds of work.
const LEASES_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Leases(BTreeMap<String, Lease>);

struct Lease {
    holder: String,
    expires_ms: u64,
}

impl Leases {
    /// Takes, renews or (with a `ttl_ms` of 0) gives up a lease. True if it is `holder`'s now.
    pub(super) fn take(&mut self, name: &str, holder: &str, ttl_ms: u64, now_ms: u64) -> Result<bool, LedgerError> {
        self.0.retain(|_, lease| lease.expires_ms > now_ms);
        if self.0.get(name).is_some_and(|lease| lease.holder != holder) {
            return Ok(false);
        }
        if ttl_ms == 0 {
            self.0.remove(name);
            return Ok(false);
        }
        if self.0.len() >= LEASES_MAX && !self.0.contains_key(name) {
            return Err(LedgerError::TooLarge("the number of leases"));
        }
        let lease = Lease {
            holder: holder.to_owned(),
            expires_ms: now_ms.saturating_add(ttl_ms),
        };
        self.0.insert(name.to_owned(), lease);
        Ok(true)
    }
}
