//! Settlement at work: whose turn it is, what is told of it, and the thread on which a gateway does it. What is done next
//! is decided in [`filature_billing::settle`].
//!
//! Of several settlers on a ledger one works at a time, to spare the endpoints: a lease says which. Two at once do no harm.
//! Whatever fails here, calls are served and nothing is lost: the epochs say what is owed, and the books what was paid.

pub mod addresses;
mod work;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use filature_billing::chain::{Address, Chain, Wallet, WalletKey};
use filature_billing::settle::{Payees, SettleSettings, Settler, Unfit, Waiting};
use filature_billing::{EpochStore, Nano, TrustedKeys};
use futures_util::FutureExt;

use self::work::{Work, kind_of_wait};
use crate::admin::{AdminClient, AdminError};
use crate::app::App;
use crate::chain;
use crate::config::{Config, SettlementSettings};
use crate::telemetry::Metrics;

/// Looks that may fail to come before the turn is somebody else's, and the bounds of a turn.
const LOOKS_PER_LEASE: u32 = 6;
const LEASE_MIN: Duration = Duration::from_secs(3);
const LEASE_MAX: Duration = Duration::from_secs(60);
/// Looks between which nothing was under way are so much rarer.
const IDLE: u32 = 4;
/// After a failure the next look is twice as far away as after the one before, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Who pays, and how: what the settings say.
pub struct Settlement {
    settings: SettleSettings,
    wallet: Wallet,
    key: Arc<WalletKey>,
}

impl Settlement {
    /// Reads the wallet's secret. `None` where the settings name no contract or no secret.
    ///
    /// # Errors
    /// When the secret cannot be read; never says what it is.
    pub fn configured(settings: &SettlementSettings) -> anyhow::Result<Option<Self>> {
        let key = match (&settings.wallet_key_file, &settings.wallet_key) {
            (Some(file), _) => WalletKey::load(file.as_ref())?,
            (None, Some(secret)) => WalletKey::parse(secret)?,
            (None, None) => return Ok(None),
        };
        let Some(contract) = &settings.contract else {
            return Ok(None);
        };
        let contract = Address::parse(contract, settings.network)?.address;
        Ok(Some(Self {
            settings: SettleSettings {
                threshold: Nano::saturating(settings.payout_min_nano),
                every_s: settings.payout_every_s,
                valid_s: settings.payout_valid_s,
                paused: settings.payouts_paused,
                ..SettleSettings::new(contract)
            },
            wallet: Wallet::new(key.public(), settings.network)?,
            key: Arc::new(key),
        }))
    }

    /// Whether the wallet is one of its own: coins that callers pay in or take out are not for providers.
    ///
    /// # Errors
    /// Which of them it is.
    pub fn is_no_other(&self, deposits: Option<Address>, withdrawals: Option<Address>) -> anyhow::Result<()> {
        let own = Some(self.wallet.address());
        let (file, address) = ("settlement.wallet_key_file", self.wallet.address());
        anyhow::ensure!(
            own != withdrawals,
            "{file} and settlement.withdrawal_wallet_key_file are of one wallet, {address}: withdrawals need another"
        );
        anyhow::ensure!(
            own != deposits,
            "{file} is of the wallet at settlement.deposit_address, {address}: settlement needs another"
        );
        Ok(())
    }

    /// The same, without a pause between two rounds.
    #[must_use]
    pub const fn at_once(mut self) -> Self {
        self.settings.every_s = 0;
        self
    }
}

/// How a look ended.
#[derive(Debug)]
pub enum Look {
    /// It is another settler's turn.
    NotOurTurn,
    /// Nothing more can be done now.
    Waits(Waiting),
    /// Something did not answer, or is wrong; in words for people.
    Failed(String),
}

/// One settler's share of the work.
pub struct Shift {
    work: Work,
    /// Who it is among those on its ledger.
    name: String,
    every: Duration,
    lease: Duration,
    /// Failures since the last success.
    failures: u32,
}

impl Shift {
    /// A settler of the epochs in `store`, sealed with one of `keys`.
    #[must_use]
    pub fn new(
        settlement: Settlement,
        (store, keys): (EpochStore, TrustedKeys),
        chain: Arc<dyn Chain>,
        config: &Config,
        metrics: Metrics,
    ) -> Self {
        let Settlement { settings, wallet, key } = settlement;
        let every = Duration::from_millis(config.settlement.poll_every_ms);
        Self {
            work: Work::new(Settler::new(chain, store, keys, wallet, key, settings), metrics),
            name: format!("{:032x}", rand::random::<u128>()),
            every,
            lease: (every * LOOKS_PER_LEASE).clamp(LEASE_MIN, LEASE_MAX),
            failures: 0,
        }
    }

    /// Whether the contract is one that the wallet settles with.
    ///
    /// # Errors
    /// When the chain does not answer.
    pub async fn check(&self) -> anyhow::Result<Result<(), Unfit>> {
        Ok(self.work.settler.check().await?)
    }

    /// The settler, for a dry run.
    pub const fn settler(&mut self) -> &mut Settler {
        &mut self.work.settler
    }

    /// How many payments this settler found to have reached their payees, and how much they came to.
    #[must_use]
    pub const fn paid(&self) -> (usize, Nano) {
        self.work.paid
    }

    /// Does what there is to do, if it is this settler's turn.
    pub async fn look(&mut self, ledger: &AdminClient) -> Look {
        match self.turn(ledger).await {
            Ok(None) => Look::NotOurTurn,
            Ok(Some(payees)) => self.settle(&payees, Some(ledger)).await,
            Err(error) => self.failed("ledger", error.to_string()),
        }
    }

    /// Takes the turn, if it is free, and asks who is paid where.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn turn(&self, ledger: &AdminClient) -> Result<Option<Payees>, AdminError> {
        if !ledger.settlement_turn(&self.name, self.lease_ms()).await? {
            return Ok(None);
        }
        let payees = ledger.payees().await?.payees.into_iter();
        let named = payees.filter_map(|payee| Some((payee.provider, payee.address?)));
        Ok(Some(named.collect()))
    }

    /// Gives the turn up. If that fails, the lease ends by itself.
    pub async fn leave(&self, ledger: &AdminClient) {
        let _ = ledger.settlement_turn(&self.name, 0).await;
    }

    /// Works until it has to wait, and keeps its turn meanwhile where there is a `ledger` to ask. A turn that was lost ends
    /// the work where it stands.
    pub async fn settle(&mut self, payees: &Payees, ledger: Option<&AdminClient>) -> Look {
        let (name, lease_ms) = (self.name.clone(), self.lease_ms());
        let renew_every = self.lease / 3;
        let lost = async {
            loop {
                tokio::time::sleep(renew_every).await;
                let Some(ledger) = ledger else { continue };
                if let Ok(false) = ledger.settlement_turn(&name, lease_ms).await {
                    return;
                }
            }
        };
        let done = tokio::select! {
            done = self.work.until_it_waits(payees) => done,
            () = lost => return Look::NotOurTurn,
        };
        match done {
            Ok(waiting) => {
                self.failures = 0;
                Look::Waits(waiting)
            }
            Err(error) => self.failed(work::kind_of(&error), error.to_string()),
        }
    }

    /// Notes a failure and tells it.
    pub fn failed(&mut self, kind: &'static str, why: String) -> Look {
        self.work.failed(kind);
        self.failures = self.failures.saturating_add(1);
        let again_in = self.pause_after_failure();
        tracing::warn!(error = why, ?again_in, "settlement waits; nothing is lost");
        Look::Failed(why)
    }

    /// How long to wait after a look.
    #[must_use]
    pub fn pause(&self, look: &Look) -> Duration {
        match look {
            Look::NotOurTurn | Look::Waits(Waiting::UnderWay | Waiting::Lagging) => self.every,
            Look::Waits(why) if kind_of_wait(why).is_some() => (self.every * IDLE).min(PAUSE_MAX),
            Look::Waits(_) => self.every * IDLE,
            Look::Failed(_) => self.pause_after_failure(),
        }
    }

    fn pause_after_failure(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        self.every.saturating_mul(1 << doublings).min(PAUSE_MAX)
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Settles until the gateway ends. Blocks its thread: a plan for thousands of providers is no work for the one that accepts
/// connections.
pub fn run(app: &Arc<App>, settlement: Settlement) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "nobody is paid: there is no thread for it"),
    };
    runtime.block_on(async {
        match chain::reach(&app.config.settlement) {
            Ok(chain) => work(app, settlement, chain).await,
            Err(error) => tracing::error!(%error, "nobody is paid: the chain cannot be asked"),
        }
    });
}

async fn work(app: &Arc<App>, settlement: Settlement, chain: Arc<dyn Chain>) {
    let epochs = (app.epochs.store.clone(), app.epochs.keys.clone());
    let mut shift = Shift::new(settlement, epochs, chain, &app.config, app.metrics.clone());
    let ledger = AdminClient::here(app.ledger.clone());
    let ended = app.stop.ended.clone();
    tokio::select! {
        () = ended.cancelled() => return,
        fit = shift.check() => if let Ok(Err(unfit)) = fit {
            tracing::error!("nobody is paid until this is put right: {unfit}");
        },
    }
    loop {
        let look = AssertUnwindSafe(shift.look(&ledger)).catch_unwind();
        let look = tokio::select! {
            biased;
            () = ended.cancelled() => break,
            look = look => look,
        };
        let look = look.unwrap_or_else(|_panic| shift.failed("books", "a defect: settlement has panicked".to_owned()));
        tokio::select! {
            () = tokio::time::sleep(shift.pause(&look)) => {}
            () = ended.cancelled() => break,
        }
    }
    shift.leave(&ledger).await;
}
