//! Where a ledger lives during a test: a folder, or a server of its own. Gone when the test is.

use std::sync::Arc;
use std::time::Duration;

use filature_billing::{EmbeddedLedger, EmbeddedSettings, Ledger, RedisLedger, RedisSettings};
use tempfile::TempDir;

use crate::server::Server;

pub enum Home {
    Embedded { ledger: Arc<dyn Ledger>, _dir: TempDir },
    Redis { ledger: Arc<dyn Ledger>, server: Server },
}

/// Commits at once: tests of facts need not wait for company.
pub const AT_ONCE: EmbeddedSettings = EmbeddedSettings {
    gather_min: Duration::ZERO,
    gather_max: Duration::ZERO,
    waiting_max: 1 << 16,
    // Longer than any test's time leaps.
    posted_kept: Duration::from_secs(10 * 365 * 86_400),
    audit_max: 1_000,
};

/// For tests of what is answered and not of how fast: this machine does other things, too.
pub fn patient() -> RedisSettings {
    let deadline = Duration::from_secs(20);
    RedisSettings {
        deadline,
        ..RedisSettings::default()
    }
}

impl Home {
    pub fn embedded() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = Arc::new(EmbeddedLedger::open(&dir.path().join("data"), AT_ONCE).expect("an embedded ledger"));
        Self::Embedded { ledger, _dir: dir }
    }

    pub async fn redis() -> Self {
        Self::redis_with(&[]).await
    }

    /// A server with options of its own.
    pub async fn redis_with(options: &[&str]) -> Self {
        let server = Server::start(options);
        let ledger = RedisLedger::open(&server.url(), patient()).await;
        let ledger = Arc::new(ledger.expect("a ledger in Redis"));
        Self::Redis { ledger, server }
    }

    pub fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Embedded { ledger, .. } | Self::Redis { ledger, .. } => Arc::clone(ledger),
        }
    }
}
