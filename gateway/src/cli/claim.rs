//! `filature claim`: a provider is paid by the contract, without the operator.
//!
//! Everything that is read is checked against the root that the contract holds; the operator's word is not taken.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use filature_billing::chain::{AccountStatus, Address, Payment, Position};
use filature_billing::settle::{ProvenLeaf, Standing, transfer_link};
use filature_billing::{Nano, ProviderId};
use serde::Serialize;

use super::leaf::{Whose, save};
use super::onchain::{OnChain, Reached};
use super::purse::{Purse, arrived};
use super::{Failure, output};

const EXAMPLES: &str = "\
Examples:
  filature claim 5f1d… --contract EQ… --gateway https://gateway.example --save leaf.json --dry-run
  filature claim 5f1d… --contract EQ… --epochs s3://bucket/filature --wallet wallet.words
  filature claim --proof leaf.json --contract EQ… --wallet wallet.words
  filature claim --proof leaf.json --contract EQ… --print

Save the proof after each anchor: a few hundred bytes, good until the next one, and all that is
needed when the operator and its servers are gone. Whoever sends the claim, the account in the leaf
is paid.";

/// Let the contract pay what the last anchored root says is due to a provider.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Claim {
    #[command(flatten)]
    whose: Whose,
    /// Keep the proof in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "proof")]
    save: Option<PathBuf>,
    /// The file with the secret of the wallet (v5r1) that sends the claim: 24 words, or 64 hex digits.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "print"])]
    wallet: Option<PathBuf>,
    /// Print a link by which any wallet can send the claim.
    #[arg(long)]
    print: bool,
    /// Show what is due and what it costs; send nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What is due, and what came of it. Amounts in nano.
#[derive(Serialize)]
struct Claimed {
    provider: ProviderId,
    payee: Option<Address>,
    contract: Address,
    epoch: u64,
    earned: Nano,
    pushed: Nano,
    claimed: Nano,
    due: Nano,
    /// What the contract has for claims.
    float: i64,
    /// What the message carries; what fees leave of it goes to the payee.
    carries: Nano,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    done: Option<Paid>,
}

/// What was paid.
#[derive(Serialize)]
struct Paid {
    /// The payee got so much, with what fees left of the message.
    received: u128,
    /// The sending wallet's fees, where they can be told from what came and went meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    wallet_fees: Option<u128>,
    /// The contract's transaction.
    transaction: Position,
    /// The payee's.
    payout: Position,
}

pub(super) fn run(claim: &Claim) -> Result<(), Failure> {
    output::block_on(async {
        let reached = claim.on.reach(claim.whose.flags())?;
        let standing = reached.standing(reached.contract()?).await?;
        let leaf = claim
            .whose
            .leaf(&reached, &standing, standing.state.anchor.as_ref())
            .await?;
        let due = leaf.due(&standing.state).map_err(anyhow::Error::from)?;
        if let Some(file) = &claim.save {
            save(file, &leaf)?;
        }
        let bounceable = is_active(&reached, leaf.payee).await?;
        let payment = leaf.claim(bounceable).map_err(anyhow::Error::from)?;
        let mut claimed = Claimed {
            provider: leaf.provider.clone(),
            payee: leaf.payee,
            contract: leaf.contract,
            epoch: leaf.epoch,
            earned: leaf.earned,
            pushed: leaf.pushed,
            claimed: leaf.claimed(&standing.state),
            due,
            float: standing.float(),
            carries: payment.amount,
            link: claim.print.then(|| transfer_link(&payment, reached.network)),
            done: None,
        };
        let obstacle = obstacle(&reached, &standing, due).await?;
        if let (Some(obstacle), false) = (&obstacle, claim.dry_run) {
            return Err(anyhow!("{obstacle}: nothing was sent").into());
        }
        if let Some(file) = &claim.wallet {
            claimed.done = Some(send(&reached, &Purse::load(file, &reached)?, &leaf, &payment).await?);
        } else if let Some(obstacle) = obstacle {
            output::note(&obstacle);
        } else if !claim.print {
            output::note("nothing was sent: name a wallet with --wallet, or get a link with --print");
        }
        output::show(claim.json, &claimed, || claimed.text(&reached))
    })
}

/// Why the contract would pay nothing now; `None` if it would pay.
async fn obstacle(reached: &Reached, standing: &Standing, due: Nano) -> anyhow::Result<Option<String>> {
    if due.is_zero() {
        return Ok(Some("nothing is due: what was earned was pushed or claimed".to_owned()));
    }
    if standing.paused_until > reached.now().await? {
        let until = output::time(u64::from(standing.paused_until) * 1000);
        return Ok(Some(format!("the contract is paused until {until}")));
    }
    let float = standing.float();
    let short = due.signed() > float;
    Ok(short.then(|| {
        let (float, due) = (reached.amount(float), reached.amount(due.signed()));
        format!("the contract has {float} for claims, and {due} are due: a claim waits for more money in it")
    }))
}

/// Whether a contract lives at the payee's address: then what it refuses may come back.
async fn is_active(reached: &Reached, payee: Option<Address>) -> anyhow::Result<bool> {
    let Some(payee) = payee else { return Ok(false) };
    let account = reached
        .chain
        .account(payee)
        .await
        .context("the payee's account cannot be read")?;
    Ok(account.status == AccountStatus::Active)
}

async fn send(reached: &Reached, purse: &Purse, leaf: &ProvenLeaf, payment: &Payment) -> anyhow::Result<Paid> {
    let chain = &*reached.chain;
    let payee = leaf.payee.context("the leaf names nobody to be paid")?;
    let before = chain.account(payee).await?;
    let (paid, transaction) = purse.order(reached, payment).await?;
    let payout = transaction
        .outgoing
        .iter()
        .find(|sent| sent.to == payee && !sent.bounced);
    let payout = payout.context("the contract took the claim and paid nothing")?;
    let got = arrived(chain, payout, before.last).await?;
    if got.returned {
        bail!(
            "the payee's contract sent the money back: it is due again, less fees. Claim to it only when it takes money"
        );
    }
    Ok(Paid {
        received: payout.value.get(),
        wallet_fees: paid.fees,
        transaction: transaction.at,
        payout: got.at,
    })
}

impl Claimed {
    fn text(&self, reached: &Reached) -> String {
        let nano = |amount: Nano| reached.amount(amount.signed());
        let payee = self.payee.map(|payee| reached.shown_wallet(payee));
        let mut facts = vec![
            ("provider", self.provider.to_string()),
            ("payee", payee.unwrap_or_else(|| "nobody".to_owned())),
            ("contract", reached.shown(self.contract)),
            ("root", format!("of epoch {}: the leaf stands under it", self.epoch)),
            ("earned", nano(self.earned)),
            ("pushed", format!("{}, says the operator", nano(self.pushed))),
            ("claimed", nano(self.claimed)),
            ("due", nano(self.due)),
            ("for claims", format!("{} in the contract", reached.amount(self.float))),
        ];
        match &self.done {
            None => {
                let carries = nano(self.carries);
                facts.push((
                    "to send",
                    format!("{carries}: some 0.002 are fees, the rest comes with what is due"),
                ));
            }
            Some(paid) => {
                let coins = |nano: u128| reached.amount(i128::try_from(nano).unwrap_or(i128::MAX));
                facts.push((
                    "received",
                    format!("{}, with what fees left of the message", coins(paid.received)),
                ));
                if let Some(fees) = paid.wallet_fees {
                    facts.push(("wallet fees", coins(fees)));
                }
                facts.push((
                    "transaction",
                    format!("{} {}", paid.transaction.lt, paid.transaction.hash),
                ));
            }
        }
        if let Some(link) = &self.link {
            facts.push(("link", link.clone()));
        }
        output::facts(&facts)
    }
}
