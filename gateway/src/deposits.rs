//! Paying in over TON: what the settings say of it, and the task that watches the address.
//!
//! Of several gateways on a ledger one watches at a time, to spare the endpoints: a lease says which. Two at once do no
//! harm ([`filature_billing::deposits`]). Whatever fails here, calls are served and nothing is lost: the chain keeps what
//! arrived, and the ledger how far it was read.

use std::sync::Arc;
use std::time::Duration;

use filature_billing::Nano;
use filature_billing::chain::{Address, BadAddress, Chain, Network};
use filature_billing::deposits::{DepositSettings, Watched, Watcher};

use crate::app::App;
use crate::clock::now_ms;
use crate::config::SettlementSettings;
use crate::turns::Turns;

/// The lease of whoever watches.
const LEASE: &str = "deposits";

/// Where coins are paid in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Till {
    /// Which chain it is.
    pub network: Network,
    /// Where deposits arrive.
    pub address: Address,
    /// The least that is credited.
    pub deposit_min: Nano,
    /// The least that is withdrawn.
    pub withdrawal_min: Nano,
    /// The settlement contract.
    pub contract: Option<Address>,
    /// The wallet that withdrawals are paid from.
    pub wallet: Option<Address>,
}

impl Till {
    /// What the settings say; `None` where no deposits are taken.
    ///
    /// # Errors
    /// [`BadAddress`], which the check of the settings finds first.
    pub fn configured(settings: &SettlementSettings) -> Result<Option<Self>, BadAddress> {
        let Some(text) = &settings.deposit_address else {
            return Ok(None);
        };
        Ok(Some(Self {
            network: settings.network,
            address: Address::parse(text, settings.network)?.address,
            deposit_min: Nano::saturating(settings.deposit_min_nano),
            withdrawal_min: Nano::saturating(settings.withdrawal_min_nano),
            contract: contract(settings)?,
            wallet: None,
        }))
    }

    /// The operator's own accounts, to which nothing is withdrawn.
    pub fn own(&self) -> impl Iterator<Item = Address> {
        [Some(self.address), self.contract, self.wallet].into_iter().flatten()
    }

    /// Why nothing is withdrawn to an account, if it is the operator's own.
    #[must_use]
    pub fn refuses(&self, to: Address) -> Option<&'static str> {
        if to == self.address {
            Some("This is where deposits arrive.")
        } else {
            self.own()
                .any(|own| own == to)
                .then_some("This is an account of the operator's.")
        }
    }
}

/// The settlement contract that the settings name.
///
/// # Errors
/// [`BadAddress`], which the check of the settings finds first.
pub fn contract(settings: &SettlementSettings) -> Result<Option<Address>, BadAddress> {
    let text = settings.contract.as_deref();
    text.map(|text| Ok(Address::parse(text, settings.network)?.address))
        .transpose()
}

/// Watches until the gateway ends.
pub async fn watch(app: Arc<App>, till: Till, chain: Arc<dyn Chain>) {
    let settings = DepositSettings {
        address: till.address,
        minimum: till.deposit_min,
    };
    let every = Duration::from_millis(app.config.settlement.poll_every_ms);
    let mut shift = Shift {
        watcher: Watcher::new(chain, app.ledger.clone(), settings),
        turns: Turns::at(LEASE, every),
        app,
    };
    let ended = shift.app.stop.ended.clone();
    loop {
        let look = async {
            let pause = shift.look().await;
            tokio::time::sleep(pause).await;
        };
        tokio::select! {
            biased;
            () = ended.cancelled() => break,
            () = look => {}
        }
    }
    shift.turns.end(&*shift.app.ledger).await;
}

/// One gateway's share of the watching.
struct Shift {
    app: Arc<App>,
    watcher: Watcher,
    turns: Turns,
}

impl Shift {
    /// Looks for deposits if it is this gateway's turn; returns how long to wait.
    async fn look(&mut self) -> Duration {
        match self.turns.mine(&*self.app.ledger).await {
            Ok(true) => {}
            Ok(false) => return self.turns.every(),
            Err(error) => return self.failed(&error.to_string()),
        }
        match self.watcher.step(now_ms()).await {
            Ok(watched) => self.told(&watched),
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn told(&mut self, watched: &Watched) -> Duration {
        if self.turns.succeeded() {
            tracing::info!("deposits are read again");
        }
        let metrics = &self.app.metrics;
        metrics.deposited(watched.credited, watched.amount.get(), watched.late);
        if watched.credited > 0 {
            let (credited, late) = (watched.credited, watched.late);
            tracing::info!(credited, late, amount = %watched.amount, "deposits are credited");
        }
        if !watched.overtaken {
            for transfer in &watched.uncredited {
                metrics.uncredited(transfer.why.as_str());
                let (id, why, amount) = (&transfer.id, transfer.why.as_str(), &transfer.amount);
                tracing::info!(id, why, amount, "a transfer credits nobody");
            }
        }
        // There may be more.
        if watched.transactions > 0 {
            Duration::ZERO
        } else {
            self.turns.every()
        }
    }

    fn failed(&mut self, why: &str) -> Duration {
        self.app.metrics.deposits_failed();
        let pause = self.turns.failed();
        tracing::warn!(error = why, again_in = ?pause, "deposits could not be read; none is lost");
        pause
    }
}
