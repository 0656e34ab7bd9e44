//! `filature payouts`: what the books of settlement say. Reads the store of epochs only: no gateway, no ledger, no key.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use filature_billing::settle::{Ordered, OrderedState, Owed, owed, payments};
use filature_billing::{EpochStore, Nano, ProviderId};

use super::Failure;
use super::epochs::stored;
use super::leaf::provider;
use super::output::{self, Table, amount};
use crate::admin::{OwedPayouts, Payouts as Listed};
use crate::config::Config;

const EXAMPLES: &str = "\
Examples:
  filature payouts list --data /var/lib/filature
  filature payouts list --provider 5f1d… --json
  filature payouts owed --store s3://bucket/filature

What is shown is what the settlers wrote down. The chain has it too: MESSAGE is the hash of the
wallet's message, and each payment is a transfer that it made.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Payouts {
    /// List payments, the last first: to whom, how much, by which message, and what became of them.
    List {
        /// As many rounds as make so many payments.
        #[arg(long, default_value_t = 100, value_name = "N")]
        last: usize,
        /// Only this provider's, of those rounds.
        #[arg(long, value_name = "ID", value_parser = provider)]
        provider: Option<ProviderId>,
        #[command(flatten)]
        at: Where,
    },
    /// List who is owed what as of the last round, and why it waits.
    Owed {
        #[command(flatten)]
        at: Where,
    },
}

/// Whose books.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// TOML file with settings [env: FILATURE_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder with epochs, or `s3://bucket/prefix` [env: FILATURE_EPOCHS_STORE; default: `epochs` in the data folder].
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// The gateway's data folder [env: FILATURE_LEDGER_DATA; default: data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Where {
    fn open(&self) -> Result<(EpochStore, Config), Failure> {
        let (config, place) = stored(self.config.clone(), self.store.as_ref(), self.data.as_ref())?;
        Ok((place.open().context("the books cannot be opened")?, config))
    }
}

pub(super) fn run(command: Payouts) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Payouts::List { last, provider, at } => {
                let (store, config) = at.open()?;
                let read = payments(&store, None, last).await;
                let (mut payouts, next) = read.context("the books cannot be read")?;
                payouts.retain(|one| provider.as_ref().is_none_or(|provider| one.provider == *provider));
                let listed = Listed { payouts, next };
                output::show(at.json, &listed, || list(&listed.payouts, &config.pricing.symbol))
            }
            Payouts::Owed { at } => {
                let (store, config) = at.open()?;
                let plan = owed(&store).await.context("the books cannot be read")?;
                let shown = OwedPayouts { plan };
                output::show(at.json, &shown, || waiting(&shown, &config.pricing.symbol))
            }
        }
    })
}

fn list(payouts: &[Ordered], symbol: &str) -> String {
    let mut table = Table::new(&["AT", "EPOCH", "PROVIDER", "AMOUNT", "TO", "STATE", "SEQNO", "MESSAGE"]);
    for one in payouts {
        let state = match one.state {
            OrderedState::UnderWay => "under way",
            OrderedState::Paid => "paid",
            OrderedState::Returned => "sent back",
            OrderedState::Skipped => "not sent",
            OrderedState::Unread => "sent, unread",
        };
        table.row([
            time(one.time),
            one.epoch.to_string(),
            one.provider.to_string(),
            coins(one.amount, symbol),
            one.payee.to_string(),
            state.to_owned(),
            one.seqno.to_string(),
            one.message.to_string(),
        ]);
    }
    table.to_string()
}

fn waiting(OwedPayouts { plan }: &OwedPayouts, symbol: &str) -> String {
    let Some(plan) = plan else {
        return "no round was planned yet\n".to_owned();
    };
    let sum: i128 = plan.owed.iter().map(|one| i128::from(one.owed.get())).sum();
    let mut table = Table::new(&["PROVIDER", "EARNED", "PUSHED", "CLAIMED", "OWED", "TO", "WHY IT WAITS"]);
    for Owed {
        provider,
        payee,
        earned,
        pushed,
        claimed,
        owed,
        why,
    } in &plan.owed
    {
        table.row([
            provider.to_string(),
            coins(*earned, symbol),
            coins(*pushed, symbol),
            coins(*claimed, symbol),
            coins(*owed, symbol),
            payee.map_or_else(|| "-".to_owned(), |payee| payee.to_string()),
            why.as_str().to_owned(),
        ]);
    }
    let facts = output::facts(&[
        ("epoch", plan.epoch.to_string()),
        ("planned", time(plan.time)),
        ("owed", amount(sum, symbol)),
    ]);
    format!("{facts}\n{table}")
}

fn coins(nano: Nano, symbol: &str) -> String {
    amount(nano.signed().into(), symbol)
}

fn time(seconds: u32) -> String {
    output::time(u64::from(seconds) * 1000)
}
