//! Opens the ledger that the settings name.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use filature_billing::{EmbeddedLedger, EmbeddedSettings, Ledger, LedgerError, RedisLedger, RedisSettings};

use crate::config::LedgerSettings;

/// How long a command, or a gateway that stops, may keep the embedded ledger from one that starts.
pub const HANDOVER_MAX: Duration = Duration::from_secs(3);

/// [`open`], waiting for whoever has the embedded ledger open to be done with it.
///
/// # Errors
/// As [`open`]; another process has the ledger open for longer than [`HANDOVER_MAX`].
pub async fn open_when_free(settings: &LedgerSettings) -> anyhow::Result<Arc<dyn Ledger>> {
    let began = Instant::now();
    loop {
        match open(settings).await {
            Err(error) if is_in_use(&error) && began.elapsed() < HANDOVER_MAX => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => return opened,
        }
    }
}

/// Whether another process has the ledger open.
#[must_use]
pub fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LedgerError::InUse(_)))
}

/// The ledger at `ledger.redis`, or the embedded one in `ledger.data`, which then belongs to this process.
///
/// # Errors
/// When Redis cannot be reached, or another process has the embedded ledger open.
pub async fn open(settings: &LedgerSettings) -> anyhow::Result<Arc<dyn Ledger>> {
    match &settings.redis {
        Some(url) => {
            let deadline = Duration::from_millis(settings.deadline_ms);
            let ledger = RedisLedger::open(
                url,
                RedisSettings {
                    deadline,
                    ..RedisSettings::default()
                },
            )
            .await;
            Ok(Arc::new(ledger.context("the ledger in Redis could not be opened")?))
        }
        None => {
            let gather_min = Duration::from_millis(settings.commit_delay_ms);
            let gather_max = Duration::from_millis(settings.commit_delay_max_ms).max(gather_min);
            let embedded = EmbeddedSettings {
                gather_min,
                gather_max,
                ..EmbeddedSettings::default()
            };
            let ledger = EmbeddedLedger::open(&settings.data, embedded);
            let folder = settings.data.display();
            Ok(Arc::new(ledger.with_context(|| {
                format!("the ledger in {folder} could not be opened")
            })?))
        }
    }
}
