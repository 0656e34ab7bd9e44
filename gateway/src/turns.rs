//! Work that one of the gateways on a ledger does for all, to spare whoever else is asked: a lease says whose turn it is.
//! Two at once must do no harm. What fails is tried again, ever further apart.

use std::time::Duration;

use filature_billing::{Ledger, LedgerError};

use crate::clock::now_ms;

/// Longer than a step takes that is still given an answer.
const LEASE_MIN: Duration = Duration::from_secs(90);
/// Steps that may fail to come before the turn is somebody else's.
const STEPS_PER_LEASE: u32 = 5;
/// After a failure the next step is twice as far away as after the one before, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// One gateway's turns at some work.
#[derive(Debug)]
pub struct Turns {
    lease: &'static str,
    /// Who this gateway is among those on its ledger.
    name: String,
    every: Duration,
    /// Failures since the last success.
    failures: u32,
}

impl Turns {
    /// Turns at the work whose lease has this name, a step of which is done every so often.
    #[must_use]
    pub fn at(lease: &'static str, every: Duration) -> Self {
        Self {
            lease,
            name: format!("{:032x}", rand::random::<u128>()),
            every,
            failures: 0,
        }
    }

    /// From one step to the next, if nothing is left to do.
    #[must_use]
    pub const fn every(&self) -> Duration {
        self.every
    }

    /// Whether it is this gateway's turn.
    ///
    /// # Errors
    /// If the ledger cannot say.
    pub async fn mine(&self, ledger: &dyn Ledger) -> Result<bool, LedgerError> {
        let lease = (self.every * STEPS_PER_LEASE).max(LEASE_MIN);
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        ledger.lease(self.lease, &self.name, lease_ms, now_ms()).await
    }

    /// Lets another gateway have its turn at once. If this fails, the lease ends by itself.
    pub async fn end(&self, ledger: &dyn Ledger) {
        let _ = ledger.lease(self.lease, &self.name, 0, now_ms()).await;
    }

    /// A step succeeded; true if the one before had failed.
    pub const fn succeeded(&mut self) -> bool {
        let failed = self.failures > 0;
        self.failures = 0;
        failed
    }

    /// A step failed; returns how long to wait.
    pub fn failed(&mut self) -> Duration {
        let pause = self.every.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        pause
    }
}
