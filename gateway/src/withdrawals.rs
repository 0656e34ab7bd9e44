//! Paying withdrawals on TON: the wallet that the settings name, and the task that pays from it.
//!
//! Of several gateways on a ledger one pays at a time: a lease says which. Two at once do no harm, and nothing is paid twice
//! whatever fails here ([`filature_billing::withdrawals`]). Calls are served meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use filature_billing::Nano;
use filature_billing::chain::{Address, Chain, Network, Wallet, WalletKey};
use filature_billing::withdrawals::{Done, Payer, PayerSettings, Waiting};

use crate::app::App;
use crate::clock::now_ms;
use crate::config::SettlementSettings;
use crate::deposits::{self, Till};
use crate::turns::Turns;

/// The lease of whoever pays.
const LEASE: &str = "withdrawals";

/// What withdrawals are paid from.
#[derive(Debug, Clone)]
pub struct WithdrawalWallet {
    wallet: Wallet,
    key: Arc<WalletKey>,
    /// Nothing is paid from the wallet that settles with it.
    contract: Option<Address>,
}

impl WithdrawalWallet {
    /// The wallet whose key the settings have; `None` where there is none.
    ///
    /// # Errors
    /// When the key cannot be read, or others can read its file.
    pub fn configured(settings: &SettlementSettings) -> anyhow::Result<Option<Self>> {
        let key = match (&settings.withdrawal_wallet_key_file, &settings.withdrawal_wallet_key) {
            (Some(file), _) => WalletKey::load(Path::new(file)).context("settlement.withdrawal_wallet_key_file")?,
            (None, Some(secret)) => WalletKey::parse(secret).context("settlement.withdrawal_wallet_key")?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Self {
            wallet: Wallet::new(key.public(), settings.network)?,
            key: Arc::new(key),
            contract: deposits::contract(settings)?,
        }))
    }

    /// The wallet's address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.wallet.address()
    }
}

/// Where an operator's withdrawals may go.
#[derive(Debug, Clone, Copy)]
pub struct Destinations {
    /// Whose addresses are taken.
    pub network: Network,
    /// The operator's own accounts, to which nothing is withdrawn.
    pub till: Option<Till>,
}

impl Destinations {
    /// Reads an address.
    ///
    /// # Errors
    /// Why nothing can be withdrawn to it, for the operator.
    pub fn parse(&self, text: &str) -> Result<Address, String> {
        let to = Address::parse(text, self.network)
            .map_err(|error| error.to_string())?
            .address;
        match self.till.and_then(|till| till.refuses(to)) {
            Some(why) => Err(why.to_owned()),
            None => Ok(to),
        }
    }
}

/// Pays until the gateway ends. `till` names the operator's other accounts, to which nothing is withdrawn.
pub async fn pay(app: Arc<App>, purse: WithdrawalWallet, till: Option<Till>, chain: Arc<dyn Chain>) {
    let settings = PayerSettings {
        contract: purse.contract,
        own: till.map(|till| till.own().collect()).unwrap_or_default(),
        paused: app.config.settlement.withdrawals_paused,
        ..PayerSettings::default()
    };
    tracing::info!(wallet = %purse.address(), paused = settings.paused, "withdrawals are paid");
    let (ledger, store) = (app.ledger.clone(), app.epochs.store.clone());
    let payer = Payer::new(
        chain,
        ledger,
        store,
        purse.wallet,
        purse.key,
        settings,
        &mut rand::rng(),
    );
    let every = Duration::from_millis(app.config.settlement.poll_every_ms);
    let mut shift = Shift {
        payer,
        turns: Turns::at(LEASE, every),
        waits: None,
        app,
    };
    let ended = shift.app.stop.ended.clone();
    loop {
        let step = async {
            let pause = shift.step().await;
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => break,
            () = step => {}
        }
    }
    shift.turns.end(&*shift.app.ledger).await;
}

/// One gateway's share of the paying.
struct Shift {
    app: Arc<App>,
    payer: Payer,
    turns: Turns,
    /// What it waits for, as the log was told.
    waits: Option<Waiting>,
}

impl Shift {
    /// Does one step if it is this gateway's turn; returns how long to wait.
    async fn step(&mut self) -> Duration {
        match self.turns.mine(&*self.app.ledger).await {
            Ok(true) => {}
            Ok(false) => {
                self.payer.forget();
                self.app.metrics.withdrawals_lack(0);
                return self.turns.every();
            }
            Err(error) => return self.failed(&error.to_string()),
        }
        match self.payer.step(now_ms()).await {
            Ok(done) => {
                if self.turns.succeeded() {
                    tracing::info!("withdrawals are paid again");
                }
                self.told(done)
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn told(&mut self, done: Done) -> Duration {
        let metrics = &self.app.metrics;
        match done {
            Done::Waits(why) => {
                self.waits_for(why);
                return self.turns.every();
            }
            Done::Sent { seqno, hash } => {
                tracing::info!(seqno, %hash, "withdrawals are sent");
                return self.turns.every();
            }
            Done::GaveBack { count } => {
                metrics.withdrawn(0, 0, count);
                tracing::warn!(count, "withdrawals that cannot be paid are given back");
            }
            Done::Took { count, sum } => tracing::info!(count, %sum, "withdrawals are taken to be paid"),
            Done::Settled {
                seqno,
                paid,
                sum,
                returned,
            } => {
                metrics.withdrawn(paid, sum.get(), returned);
                tracing::info!(seqno, paid, %sum, returned, "withdrawals are paid, or came back");
            }
            Done::Retold | Done::Holds { .. } | Done::Signed { .. } | Done::Overtaken => {}
        }
        metrics.withdrawals_lack(0);
        self.waits = None;
        Duration::ZERO
    }

    /// Tells the log what an operator should know, once.
    fn waits_for(&mut self, why: Waiting) {
        let lacks = match &why {
            Waiting::Short { has, needs, .. } => needs.minus(*has).unwrap_or(Nano::ZERO),
            _ => Nano::ZERO,
        };
        self.app.metrics.withdrawals_lack(lacks.get());
        let usual = matches!(why, Waiting::NothingAsked | Waiting::UnderWay | Waiting::Lagging);
        if !usual && self.waits.as_ref() != Some(&why) {
            tracing::warn!(%why, "withdrawals wait");
        }
        self.waits = Some(why);
    }

    fn failed(&mut self, why: &str) -> Duration {
        self.app.metrics.withdrawals_failed();
        let pause = self.turns.failed();
        tracing::warn!(error = why, again_in = ?pause, "withdrawals could not be paid; none is lost");
        pause
    }
}
