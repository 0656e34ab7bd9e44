//! `filature stake`: what providers leave with the contract, take back, and lose if they cheat.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use filature_billing::chain::Address;
use filature_billing::settle::{ContractOrder, ProviderTag, Stake as Staked, stake_of};
use filature_billing::{Hash, Nano, ProviderId};
use serde::Serialize;

use super::leaf::provider;
use super::onchain::{OnChain, Reached};
use super::order::Sends;
use super::{Failure, output};

const EXAMPLES: &str = "\
Examples:
  filature stake add 5f1d… 20 --contract EQ… --wallet provider.words       and 0.02 TON are kept
  filature stake show UQ… --contract EQ…
  filature stake leave 20 --contract EQ… --wallet provider.words           then wait
  filature stake withdraw --contract EQ… --wallet provider.words           after the delay
  filature stake slash UQ… 5 --reason why.pdf --contract EQ… --print       a link for the owner
  filature stake dispute --contract EQ… --wallet provider.words            or it is carried out

A stake belongs to the wallet that sent it. Stake from the wallet that your offer names for payouts.
Who may take a stake, and who decides, is in docs/settlement.md.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Stake {
    /// Show a wallet's stake, and whether the owner wants to take some of it.
    Show(Show),
    /// Stake for a provider, or add to a stake.
    Add(Add),
    /// Let so much of a stake leave: it can be withdrawn after the unstake delay, which begins anew for what is leaving already.
    Leave(Leave),
    /// Take back what may go.
    Withdraw(Plain),
    /// Dispute a slash of this wallet's stake, for the arbiter to decide.
    Dispute(Plain),
    /// Propose to take a stake. Only the owner can.
    Slash(Slash),
    /// Take a slash back. Only the owner can.
    DropSlash(Of),
    /// Decide a disputed slash. Only the arbiter can.
    RuleSlash(Rule),
    /// End a slash after its deadline: undisputed it is carried out, without a ruling it is not. Anybody can.
    CloseSlash(Of),
}

#[derive(Args)]
pub(super) struct Show {
    /// The wallet that staked.
    #[arg(value_name = "ADDRESS")]
    whose: String,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Plain {
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Add {
    /// The provider's id, as it stands in receipts.
    #[arg(value_parser = provider)]
    provider: ProviderId,
    /// How much, in TON.
    #[arg(value_name = "TON")]
    amount: Nano,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Leave {
    /// How much, in TON: all of it, or so much that the least stake stays.
    #[arg(value_name = "TON")]
    amount: Nano,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Of {
    /// The wallet that staked.
    #[arg(value_name = "ADDRESS")]
    whose: String,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Slash {
    /// The wallet that staked.
    #[arg(value_name = "ADDRESS")]
    whose: String,
    /// How much, in TON.
    #[arg(value_name = "TON")]
    amount: Nano,
    /// The file that says why: its SHA-256 stands in the contract. Publish it.
    #[arg(long, value_name = "FILE")]
    reason: PathBuf,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Rule {
    /// The wallet that staked.
    #[arg(value_name = "ADDRESS")]
    whose: String,
    /// What it loses, in TON; 0 is nothing.
    #[arg(value_name = "TON")]
    amount: Nano,
    #[command(flatten)]
    sends: Sends,
}

pub(super) fn run(command: Stake) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Stake::Show(show) => show.run().await,
            Stake::Add(add) => {
                let provider = ProviderTag::of(&add.provider);
                let amount = add.amount;
                give(&add.sends, ContractOrder::Stake { provider, amount }).await
            }
            Stake::Leave(leave) => give(&leave.sends, ContractOrder::Unstake(leave.amount)).await,
            Stake::Withdraw(plain) => give(&plain.sends, ContractOrder::Withdraw).await,
            Stake::Dispute(plain) => give(&plain.sends, ContractOrder::Dispute).await,
            Stake::Slash(slash) => {
                let (amount, reason) = (slash.amount, slash.reason()?);
                give_of(&slash.sends, &slash.whose, |wallet| ContractOrder::Slash {
                    wallet,
                    amount,
                    reason,
                })
                .await
            }
            Stake::DropSlash(of) => give_of(&of.sends, &of.whose, ContractOrder::DropSlash).await,
            Stake::CloseSlash(of) => give_of(&of.sends, &of.whose, ContractOrder::CloseSlash).await,
            Stake::RuleSlash(rule) => {
                let amount = rule.amount;
                let order = |wallet| ContractOrder::RuleSlash { wallet, amount };
                give_of(&rule.sends, &rule.whose, order).await
            }
        }
    })
}

async fn give(sends: &Sends, order: ContractOrder) -> Result<(), Failure> {
    let (reached, standing) = sends.begin().await?;
    sends.run(&reached, &standing, &order).await
}

/// Gives an order about somebody's stake.
async fn give_of(sends: &Sends, whose: &str, order: impl FnOnce(Address) -> ContractOrder) -> Result<(), Failure> {
    let (reached, standing) = sends.begin().await?;
    let wallet = reached.address("ADDRESS", whose)?;
    sends.run(&reached, &standing, &order(wallet)).await
}

impl Slash {
    fn reason(&self) -> anyhow::Result<Hash> {
        let file = &self.reason;
        let text = std::fs::read(file).with_context(|| format!("--reason: {} cannot be read", file.display()))?;
        Ok(Hash::of(&text))
    }
}

/// A wallet's stake. Amounts in nano, times in Unix seconds.
#[derive(Serialize)]
struct Shown {
    wallet: Address,
    stake: Option<Staked>,
}

impl Show {
    async fn run(&self) -> Result<(), Failure> {
        let reached = self.on.reach(Vec::new())?;
        let contract = reached.standing(reached.contract()?).await?.state.address;
        let wallet = reached.address("ADDRESS", &self.whose)?;
        let stake = stake_of(&*reached.chain, contract, wallet).await;
        let stake = stake.context("the stake cannot be read")?;
        let shown = Shown { wallet, stake };
        output::show(self.json, &shown, || shown.text(&reached))
    }
}

impl Shown {
    fn text(&self, reached: &Reached) -> String {
        let nano = |amount: Nano| reached.amount(amount.signed());
        let time = |seconds: u32| output::time(u64::from(seconds) * 1000);
        let mut facts = vec![("wallet", reached.shown_wallet(self.wallet))];
        let Some(stake) = &self.stake else {
            facts.push(("staked", "nothing".to_owned()));
            return output::facts(&facts);
        };
        facts.push(("staked", nano(stake.staked)));
        if !stake.leaving.is_zero() {
            facts.push((
                "leaving",
                format!("{} from {}", nano(stake.leaving), time(stake.leaves_at)),
            ));
        }
        if let Some(slash) = &stake.slash {
            let next = if slash.disputed {
                "the provider disputes it; the arbiter rules until"
            } else {
                "the provider may dispute it until"
            };
            let (amount, until) = (nano(slash.amount), time(slash.deadline));
            facts.push(("slash", format!("{amount}: {next} {until}")));
            facts.push(("reason", slash.reason.to_string()));
        }
        output::facts(&facts)
    }
}
