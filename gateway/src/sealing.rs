//! The sealer at work: takes turns with the other gateways on its ledger, closes epochs, and tells how it goes.
//!
//! It has a thread and a runtime of its own, since an epoch is thousands of hashes and lines of JSON. Whatever fails
//! here, calls are served: their records wait in the ledger. A turn is a lease; a gateway that dies loses its turn when
//! the lease ends, and one that stops gives it up. Two turns at once do no harm ([`filature_billing::Sealer`]).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use filature_billing::{SealSettings, Sealed, Sealer, Waiting};
use futures_util::FutureExt;

use crate::app::App;
use crate::clock::now_ms;
use crate::epochs::Common;

/// The lease of whoever seals.
const LEASE: &str = "sealer";
/// How often a gateway looks whether there is something to seal, at most.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(2);
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
/// Looks that may fail to come before the turn is somebody else's, and the shortest lease.
const LOOKS_PER_LEASE: u32 = 10;
const LEASE_MIN: Duration = Duration::from_secs(2);
/// After a failure the next look is twice as far away as after the one before, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Seals until the gateway ends. Blocks its thread.
pub fn run(app: &Arc<App>, common: Common) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "nothing is sealed: there is no thread for it"),
    };
    runtime.block_on(Shift::new(app.clone(), common).work());
}

/// One gateway's share of the sealing.
struct Shift {
    app: Arc<App>,
    common: Common,
    sealer: Sealer,
    /// Who this gateway is among those on its ledger.
    name: String,
    every: Duration,
    /// Failures since the last success.
    failures: u32,
}

impl Shift {
    fn new(app: Arc<App>, common: Common) -> Self {
        let settings = &app.config.epochs;
        let seal = SealSettings {
            age_ms: settings.age_ms,
            receipts_max: settings.receipts_max,
        };
        let (store, keys) = (app.epochs.store.clone(), app.epochs.keys.clone());
        let every = Duration::from_millis(settings.age_ms / 8).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        Self {
            sealer: Sealer::new(app.ledger.clone(), store, app.receipts.clone(), keys, seal),
            app,
            common,
            name: format!("{:032x}", rand::random::<u128>()),
            every,
            failures: 0,
        }
    }

    async fn work(mut self) {
        let ended = self.app.stop.ended.clone();
        loop {
            let turn = AssertUnwindSafe(self.turn()).catch_unwind();
            let pause = tokio::select! {
                biased;
                () = ended.cancelled() => break,
                pause = turn => pause,
            };
            let pause = pause.unwrap_or_else(|_panic| {
                self.sealer.rest();
                self.failed("a defect: the thread that seals has panicked")
            });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ended.cancelled() => break,
            }
        }
        if self.app.config.epochs.seal {
            // If this fails, the lease ends by itself.
            let _ = self.app.ledger.lease(LEASE, &self.name, 0, now_ms()).await;
        }
    }

    /// Seals an epoch if it is this gateway's turn and one is due; returns how long to wait.
    async fn turn(&mut self) -> Duration {
        match self.common.fits(&*self.app.ledger, &self.app.epochs).await {
            Ok(Ok(())) => {}
            Ok(Err(misfit)) => return self.failed(&misfit.to_string()),
            Err(unknown) => return self.failed(&unknown.to_string()),
        }
        if !self.app.config.epochs.seal {
            return self.done(Waiting::default());
        }
        let lease = (self.every * LOOKS_PER_LEASE).max(LEASE_MIN);
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        match self.app.ledger.lease(LEASE, &self.name, lease_ms, now_ms()).await {
            Ok(true) => {}
            Ok(false) => {
                self.sealer.rest();
                return self.done(Waiting::default());
            }
            Err(error) => return self.failed(&error.to_string()),
        }
        match self.sealer.step(now_ms()).await {
            Ok(Sealed::Waiting(_)) => self.done(self.sealer.waiting()),
            Ok(Sealed::Epoch { number, receipts }) => {
                self.app.metrics.epoch_sealed(receipts as u64);
                tracing::info!(epoch = number, receipts, "an epoch is sealed");
                self.done(self.sealer.waiting());
                // There may be more.
                Duration::ZERO
            }
            Ok(Sealed::Overtaken(number)) => {
                tracing::info!(epoch = number, "another gateway sealed this epoch");
                self.every
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn done(&mut self, waiting: Waiting) -> Duration {
        if self.failures > 0 {
            tracing::info!("sealing goes on");
        }
        self.failures = 0;
        let age_ms = waiting.oldest_ms.map_or(0, |oldest| now_ms().saturating_sub(oldest));
        self.app.metrics.unsealed(waiting.records as u64, age_ms / 1000);
        self.every
    }

    fn failed(&mut self, why: &str) -> Duration {
        self.app.metrics.sealing_failed();
        let pause = self.every.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        tracing::error!(error = why, again_in = ?pause, "nothing could be sealed; records wait in the ledger");
        pause
    }
}
