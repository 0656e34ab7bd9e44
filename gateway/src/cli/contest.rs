//! `filature contest`: a payee says that it received less than the operator says. Silence loses: if the operator does not
//! object in time, the contract pays.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use filature_billing::settle::{Contest as Case, ContractOrder, ProviderTag, Standing, contest_of, transfer_link};
use filature_billing::{Nano, ProviderId};
use serde::Serialize;

use super::leaf::{Whose, provider};
use super::onchain::{OnChain, Reached};
use super::order::Sends;
use super::purse::Purse;
use super::{Failure, output};

const EXAMPLES: &str = "\
Examples:
  filature contest open --proof leaf.json --received 12.5 --contract EQ… --wallet payee.words
  filature contest show 5f1d… --contract EQ…
  filature contest close 5f1d… --contract EQ… --wallet any.words
  filature contest drop 5f1d… --contract EQ… --wallet payee.words
  filature contest object 5f1d… --contract EQ… --wallet operator.words
  filature contest rule 5f1d… 12.5 --contract EQ… --wallet arbiter.words

A leaf of the last anchor counts, and one of the last anchor of each of the last days with anchors.
What a contest is and who decides it is in docs/settlement.md.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Contest {
    /// Say that less was received than the leaf says was pushed, with a bond. Only the payee can.
    Open(Box<Open>),
    /// Show the open contest of a provider.
    Show(Which),
    /// End a contest after its deadline: the payee is paid. Anybody can.
    Close(By),
    /// Take a contest back, bond and all: the money came. Only the payee can.
    Drop(By),
    /// Say that a contest is wrong, for the arbiter to decide. Operator and owner can.
    Object(By),
    /// Decide a contest to which was objected. Only the arbiter can.
    Rule(Rule),
}

#[derive(Args)]
pub(super) struct Open {
    #[command(flatten)]
    whose: Whose,
    /// What the payee received from the operator's wallets since ever, in TON.
    #[arg(long, value_name = "TON")]
    received: Nano,
    /// The bond, in TON: comes back unless the arbiter finds nothing due [default: the least that the terms allow].
    #[arg(long, value_name = "TON")]
    bond: Option<Nano>,
    /// The file with the secret of the payee's wallet (v5r1): 24 words, or 64 hex digits.
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    wallet: Option<PathBuf>,
    /// Print a link by which the payee's wallet can open it.
    #[arg(long, conflicts_with = "wallet")]
    print: bool,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Which {
    /// The provider's id, as it stands in receipts.
    #[arg(value_parser = provider)]
    provider: ProviderId,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct By {
    /// The provider's id, as it stands in receipts.
    #[arg(value_parser = provider)]
    provider: ProviderId,
    #[command(flatten)]
    sends: Sends,
}

#[derive(Args)]
pub(super) struct Rule {
    /// The provider's id, as it stands in receipts.
    #[arg(value_parser = provider)]
    provider: ProviderId,
    /// What the payee gets, in TON; with 0 it loses its bond.
    #[arg(value_name = "TON")]
    amount: Nano,
    #[command(flatten)]
    sends: Sends,
}

/// How it stands. Amounts in nano.
#[derive(Serialize)]
struct Shown {
    provider: ProviderId,
    contest: Option<Case>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

pub(super) fn run(command: Contest) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Contest::Open(open) => open.run().await,
            Contest::Show(which) => {
                let reached = which.on.reach(Vec::new())?;
                let standing = reached.standing(reached.contract()?).await?;
                show(&reached, &standing, &which.provider, None, which.json).await
            }
            Contest::Close(By { provider, sends }) => order(&sends, &provider, ContractOrder::CloseContest).await,
            Contest::Drop(By { provider, sends }) => order(&sends, &provider, ContractOrder::DropContest).await,
            Contest::Object(By { provider, sends }) => order(&sends, &provider, ContractOrder::Object).await,
            Contest::Rule(rule) => {
                let amount = rule.amount;
                let ruling = |provider| ContractOrder::RuleContest { provider, amount };
                order(&rule.sends, &rule.provider, ruling).await
            }
        }
    })
}

impl Open {
    async fn run(&self) -> Result<(), Failure> {
        let reached = self.on.reach(self.whose.flags())?;
        let standing = reached.standing(reached.contract()?).await?;
        let leaf = self
            .whose
            .leaf(&reached, &standing, standing.state.anchor.as_ref())
            .await?;
        // An older leaf counts as long as its anchor is kept; of another epoch it is told that it is outdated.
        let kept = standing.kept.iter().map(|kept| &kept.anchor);
        let anchor = kept
            .clone()
            .find(|anchor| anchor.epoch == leaf.epoch)
            .or(kept.clone().next());
        leaf.stands_under(&standing.state, anchor)
            .map_err(anyhow::Error::from)?;
        let claimed = leaf.claimed(&standing.state);
        if leaf.contested(self.received, claimed).is_zero() {
            let nano = |amount: Nano| reached.amount(amount.signed());
            let (earned, claimed) = (nano(leaf.earned), nano(claimed));
            let text =
                format!("there is nothing to contest: of {earned}, {claimed} were claimed and the rest was received");
            return Err(anyhow!(text).into());
        }
        let least = standing.parties.terms.bond_min;
        let bond = self.bond.unwrap_or(least);
        if bond < least {
            return Err(Failure::Usage(format!(
                "--bond: the least is {}",
                reached.amount(least.signed())
            )));
        }
        let payment = leaf.contest(self.received, bond).map_err(anyhow::Error::from)?;
        let Some(file) = &self.wallet else {
            let link = transfer_link(&payment, reached.network);
            return show(&reached, &standing, &leaf.provider, Some(link), self.json).await;
        };
        let purse = Purse::load(file, &reached)?;
        if leaf.payee != Some(purse.address()) {
            let payee = leaf
                .payee
                .map_or_else(|| "nobody".to_owned(), |payee| reached.shown_wallet(payee));
            let mine = reached.shown_wallet(purse.address());
            let text = format!("only the payee {payee} can contest, and this is {mine}: nothing was sent");
            return Err(anyhow!(text).into());
        }
        if case(&reached, &standing, &leaf.provider).await?.is_some() {
            return Err(anyhow!("a contest of {} is open already: nothing was sent", leaf.provider).into());
        }
        purse.order(&reached, &payment).await?;
        show(&reached, &standing, &leaf.provider, None, self.json).await
    }
}

async fn order(
    sends: &Sends,
    provider: &ProviderId,
    order: impl FnOnce(ProviderTag) -> ContractOrder,
) -> Result<(), Failure> {
    let (reached, standing) = sends.begin().await?;
    let order = order(ProviderTag::of(provider));
    let Some(case) = case(&reached, &standing, provider).await? else {
        return Err(anyhow!("no contest of {provider} is open: nothing was sent").into());
    };
    if let Some(obstacle) = obstacle(&reached, &case, &order).await? {
        return Err(anyhow!("{obstacle}. Nothing was sent").into());
    }
    let given = sends.give(&reached, &standing, &order).await?;
    show(&reached, &standing, provider, given.link, sends.json).await
}

/// Why the contract would refuse an order about a contest now.
async fn obstacle(reached: &Reached, case: &Case, order: &ContractOrder) -> anyhow::Result<Option<String>> {
    let over = reached.now().await? > case.deadline;
    let until = output::time(u64::from(case.deadline) * 1000);
    Ok(match order {
        ContractOrder::CloseContest(_) if !over => {
            let who = if case.objected {
                "the arbiter may rule"
            } else {
                "the operator may object"
            };
            Some(format!("it is too early: until {until} {who}"))
        }
        ContractOrder::Object(_) | ContractOrder::RuleContest { .. } if over => {
            Some(format!("it is too late: it could be answered until {until}"))
        }
        ContractOrder::RuleContest { .. } if !case.objected => {
            Some("it is too early: nobody has objected, and the arbiter rules where somebody has".to_owned())
        }
        ContractOrder::RuleContest { amount, .. } if *amount > case.asks => {
            let asks = reached.amount(case.asks.signed());
            Some(format!("the payee asks for {asks}, and gets no more"))
        }
        _ => None,
    })
}

async fn case(reached: &Reached, standing: &Standing, provider: &ProviderId) -> anyhow::Result<Option<Case>> {
    let case = contest_of(&*reached.chain, standing.state.address, &ProviderTag::of(provider)).await;
    case.context("the contest cannot be read")
}

async fn show(
    reached: &Reached,
    standing: &Standing,
    provider: &ProviderId,
    link: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let shown = Shown {
        provider: provider.clone(),
        contest: case(reached, standing, provider).await?,
        link,
    };
    output::show(json, &shown, || shown.text(reached))
}

impl Shown {
    fn text(&self, reached: &Reached) -> String {
        let mut facts = vec![("provider", self.provider.to_string())];
        match &self.contest {
            None => facts.push(("contest", "none is open".to_owned())),
            Some(case) => {
                let until = output::time(u64::from(case.deadline) * 1000);
                let next = if case.objected {
                    format!("the operator objected; the arbiter rules until {until}, else it is paid")
                } else {
                    format!("the operator may object until {until}, else it is paid")
                };
                facts.extend([
                    ("payee", reached.shown_wallet(case.payee)),
                    ("asks for", reached.amount(case.asks.signed())),
                    ("bond", reached.amount(case.bond.signed())),
                    ("next", next),
                ]);
            }
        }
        if let Some(link) = &self.link {
            facts.push(("link", link.clone()));
        }
        output::facts(&facts)
    }
}
