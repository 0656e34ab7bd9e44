//! `filature settle`: pays providers, as a process of its own.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::Args;
use filature_billing::chain::Chain;
use filature_billing::settle::{Plan, Round, Waiting};
use filature_billing::{EpochStore, ReceiptKey, TrustedKeys};
use serde::Serialize;

use super::flags::Overrides;
use super::output::{self, amount, block_on};
use super::reach::{Missing, reach};
use super::{Failure, load};
use crate::admin::AdminClient;
use crate::config::Config;
use crate::epochs::{self, Place};
use crate::settling::{Look, Settlement, Shift};
use crate::telemetry::Telemetry;
use crate::{chain, serve};

const EXAMPLES: &str = "\
Examples:
  filature settle --config filature.toml                until Ctrl-C, in turn with the gateways
  filature settle --config filature.toml --once         until nothing is left to do
  filature settle --config filature.toml --dry-run      what a round would do now, as a table
  filature settle --config filature.toml --dry-run --json

It takes the gateway's settings: settlement.contract and settlement.wallet_key_file, where the
ledger and the epochs are. A gateway with the same settings does all of this by itself. Whoever is
stopped or killed, the next one goes on where it stood; two at once pay nobody twice.";

/// Pay providers what the sealed epochs say, and anchor the roots.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Settle {
    /// End when nothing is left to do. A round begins even if the last one is younger than `settlement.payout_every_s`.
    #[arg(long)]
    once: bool,
    /// Show what a round would do if it were planned now. Nothing is written, signed or sent.
    #[arg(long, conflicts_with = "once")]
    dry_run: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

/// What `--once` did.
#[derive(Serialize)]
struct Settled {
    /// Providers that it found to have been paid.
    payees: usize,
    /// How much in all, in nano.
    paid_nano: u64,
}

pub(super) fn run(command: Settle) -> Result<(), Failure> {
    let config = load(command.overrides)?;
    let settlement = Settlement::configured(&config.settlement)?;
    let settlement = settlement.ok_or_else(|| {
        let needs = "settlement.contract, and settlement.wallet_key_file or settlement.wallet_key";
        Failure::Usage(format!("nobody can be paid: set {needs}"))
    })?;
    let settlement = if command.once { settlement.at_once() } else { settlement };
    let telemetry = Telemetry::start(&config)?;
    let done = block_on(async {
        let chain: Arc<dyn Chain> = chain::reach(&config.settlement).context("the chain cannot be asked")?;
        let epochs = epochs_of(&config)?;
        let shift = Shift::new(settlement, epochs, chain, &config, telemetry.metrics());
        let mut settler = Process {
            config: &config,
            shift,
            ledger: None,
        };
        if command.dry_run {
            return settler.dry_run(command.json).await;
        }
        let fit = settler.shift.check().await;
        fit.context("whether the contract is this wallet's could not be seen")?
            .map_err(|unfit| anyhow!(unfit))?;
        let end = async { serve::stop_signal().await.map(|_signal| ()) };
        tokio::select! {
            done = settler.work(command.once, command.json) => return done,
            end = end => end?,
        }
        settler.leave().await;
        output::note("stopped; the next settler goes on from here");
        Ok(())
    });
    telemetry.shutdown();
    done
}

/// The epochs, and whose signatures count in them: without any, nobody is paid by them.
fn epochs_of(config: &Config) -> anyhow::Result<(EpochStore, TrustedKeys)> {
    let place = Place::of(config).map_err(anyhow::Error::msg)?;
    anyhow::ensure!(
        place.is_there(),
        "there are no epochs in {place}: choose with --data or --epochs-store"
    );
    let file = epochs::key_file(config);
    let own = match file.exists() {
        true => Some(ReceiptKey::load(&file)?.public_hex()),
        false => None,
    };
    let keys = epochs::trusted(config, own);
    anyhow::ensure!(
        !keys.is_any(),
        "there is no {} to know the operator's epochs by: name its public key in epochs.keys_before",
        file.display()
    );
    Ok((place.open().context("the epochs cannot be opened")?, keys))
}

/// A settler that is a process, and the ledger as it reached it.
struct Process<'c> {
    config: &'c Config,
    shift: Shift,
    /// Kept where that keeps nobody else from it.
    ledger: Option<AdminClient>,
}

impl Process<'_> {
    async fn work(&mut self, once: bool, json: bool) -> Result<(), Failure> {
        loop {
            let look = self.look().await;
            if once {
                match &look {
                    Look::Waits(Waiting::UnderWay | Waiting::Lagging) => {}
                    Look::Waits(Waiting::NothingDue) => {
                        self.leave().await;
                        return self.told(json);
                    }
                    Look::Waits(why) => {
                        self.leave().await;
                        return Err(anyhow!("settlement waits: {why}").into());
                    }
                    Look::NotOurTurn => return Err(anyhow!("another settler is at work: nothing was done").into()),
                    Look::Failed(why) => {
                        self.leave().await;
                        return Err(anyhow!("settlement failed; nothing is lost: {why}").into());
                    }
                }
            }
            tokio::time::sleep(self.shift.pause(&look)).await;
        }
    }

    /// One look. A ledger that only this process has open is closed before the work begins: a gateway may want to start.
    async fn look(&mut self) -> Look {
        let ledger = match self.reached().await {
            Ok(ledger) => ledger,
            Err(error) => return self.shift.failed("ledger", format!("{error:#}")),
        };
        let turn = self.shift.turn(&ledger).await;
        self.ledger = Some(ledger).filter(|ledger| self.config.ledger.redis.is_some() || ledger.is_remote());
        match turn {
            Ok(Some(payees)) => self.shift.settle(&payees, self.ledger.as_ref()).await,
            Ok(None) => Look::NotOurTurn,
            Err(error) => {
                self.ledger = None;
                self.shift.failed("ledger", error.to_string())
            }
        }
    }

    async fn reached(&mut self) -> anyhow::Result<AdminClient> {
        match self.ledger.take() {
            Some(ledger) => Ok(ledger),
            None => reach(self.config, Missing::Refuse).await,
        }
    }

    async fn leave(&mut self) {
        if let Some(ledger) = &self.ledger {
            self.shift.leave(ledger).await;
        }
    }

    async fn dry_run(&mut self, json: bool) -> Result<(), Failure> {
        let ledger = self.reached().await?;
        let payees = ledger.payees().await.context("who is paid where is not known")?;
        drop(ledger);
        let payees = payees.payees.into_iter();
        let payees = payees.filter_map(|payee| Some((payee.provider, payee.address?)));
        let settler = self.shift.settler();
        let planned = settler.dry_run(&payees.collect()).await;
        let planned = planned.context("there is no plan")?;
        let round = settler.known().and_then(|books| books.round());
        if let Some(round) = round.filter(|round| !Round::is_over(round)) {
            let epoch = round.plan().anchor.epoch;
            output::note(&format!(
                "the round of epoch {epoch} is under way: the next one comes after it"
            ));
        }
        match planned {
            Ok((plan, waits)) => {
                output::show(json, &plan, || Plan::to_string(&plan))?;
                match waits {
                    Some(why) => Err(anyhow!("it would not be carried out now: {why}").into()),
                    None => Ok(()),
                }
            }
            Err(Waiting::NothingDue) => {
                output::note("nothing was sealed that is not planned already: there is nothing to plan");
                Ok(())
            }
            Err(why) => Err(anyhow!("there is no plan: {why}").into()),
        }
    }

    fn told(&self, json: bool) -> Result<(), Failure> {
        let (payees, paid) = self.shift.paid();
        let settled = Settled {
            payees,
            paid_nano: paid.get(),
        };
        let symbol = &self.config.pricing.symbol;
        output::show(json, &settled, || match payees {
            0 => "nothing is left to do; nobody was due\n".to_owned(),
            1 => format!(
                "nothing is left to do; 1 provider was paid {}\n",
                amount(paid.signed().into(), symbol)
            ),
            _ => {
                let paid = amount(paid.signed().into(), symbol);
                format!("nothing is left to do; {payees} providers were paid {paid}\n")
            }
        })
    }
}
