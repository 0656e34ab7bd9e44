//! `filature claim`: a provider is paid by the contract, without the operator.
//!
//! Everything that is read is checked against the root that the contract holds; the operator's word is not taken.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use filature_billing::chain::{AccountStatus, Address, FEE_MAX, Payment, Position, Transaction};
use filature_billing::settle::{ProvenLeaf, Standing, claim_link};
use filature_billing::{Nano, ProviderId};
use serde::Serialize;

use super::onchain::{OnChain, Reached};
use super::published::From;
use super::purse::{Purse, arrived};
use super::{Failure, output};

const EXAMPLES: &str = "\
Examples:
  filature claim p_… --contract EQ… --gateway https://gateway.example --save leaf.json --dry-run
  filature claim p_… --contract EQ… --epochs s3://bucket/filature --wallet wallet.words
  filature claim --proof leaf.json --contract EQ… --wallet wallet.words
  filature claim --proof leaf.json --contract EQ… --print

Save the proof after each anchor: a few hundred bytes, good until the next one, and all that is needed when the operator and
its servers are gone. Whoever sends the claim, the account in the leaf is paid.";

/// Longest proof that is read, in bytes: 32 hashes and some figures.
const PROOF_BYTES_MAX: u64 = 16 << 10;

/// Let the contract pay what the last anchored root says is due to a provider.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Claim {
    /// The provider's id, as it stands in receipts.
    #[arg(required_unless_present = "proof", value_parser = provider)]
    provider: Option<ProviderId>,
    /// A proof that was saved before.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["epochs", "data", "gateway", "save"])]
    proof: Option<PathBuf>,
    #[command(flatten)]
    from: From,
    /// Keep the proof in this file.
    #[arg(long, value_name = "FILE")]
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

fn provider(text: &str) -> Result<ProviderId, String> {
    ProviderId::parse(text).map_err(|error| error.to_string())
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
    /// The sending wallet's fees.
    wallet_fees: u128,
    /// The contract's transaction.
    transaction: Position,
    /// The payee's.
    payout: Position,
}

pub(super) fn run(claim: &Claim) -> Result<(), Failure> {
    output::block_on(async {
        let reached = claim.on.reach(claim.from.flags())?;
        let standing = reached.standing(reached.contract()?).await?;
        let leaf = claim.leaf(&reached, &standing).await?;
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
            link: claim.print.then(|| claim_link(&payment, reached.network)),
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

impl Claim {
    /// The provider's leaf under the contract's last anchor, from wherever it is to be had.
    async fn leaf(&self, reached: &Reached, standing: &Standing) -> Result<ProvenLeaf, Failure> {
        if let Some(file) = &self.proof {
            let leaf = load(file)?;
            if let Some(named) = self.provider.as_ref().filter(|named| **named != leaf.provider) {
                let text = format!("{} is the proof of {}, not of {named}", file.display(), leaf.provider);
                return Err(Failure::Runtime(anyhow!(text)));
            }
            return Ok(leaf);
        }
        let provider = self.provider.as_ref().context("a provider or a proof is needed")?;
        let contract = reached.shown(standing.state.address);
        let anchor = standing.state.anchor;
        let anchor =
            anchor.with_context(|| format!("nothing is anchored in {contract} yet: nothing can be claimed"))?;
        let Some(published) = self.from.open(&reached.config)? else {
            let text = "nobody was named who has the proofs: give --epochs STORE, --gateway URL or --proof FILE";
            return Err(Failure::Usage(text.to_owned()));
        };
        let leaf = published.leaf(&anchor, provider).await?;
        let missing = || {
            format!(
                "{published} has no leaf of {provider} under the anchor of epoch {}: either the provider had earned nothing \
                 by then, or the operator anchored what it does not publish. A contest works by an older leaf: \
                 docs/settlement.md",
                anchor.epoch
            )
        };
        Ok(leaf.with_context(missing)?)
    }
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
    let (contract, before) = (chain.account(leaf.contract).await?, chain.account(payee).await?);
    let paid = purse.pay(reached, payment, FEE_MAX).await?;
    let transaction = arrived(chain, &paid.transfer, contract.last).await?;
    let Some(payout) = transaction
        .outgoing
        .iter()
        .find(|sent| sent.to == payee && !sent.bounced)
    else {
        bail!("the contract refused the claim: {}", refusal(&transaction));
    };
    if !transaction.succeeded() {
        bail!("the contract refused the claim: {}", refusal(&transaction));
    }
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

/// What the contract's exit code says (`billing/contracts/README.md`).
fn refusal(transaction: &Transaction) -> String {
    let why = match transaction.exit_code {
        Some(402) => "it is paused",
        Some(406) => "another root was anchored meanwhile: get the newer proof",
        Some(407) => "nothing is due any more: it was claimed meanwhile",
        Some(408) => "its money does not suffice",
        Some(code) => return format!("exit code {code}"),
        None => "it did not run",
    };
    why.to_owned()
}

fn load(file: &Path) -> anyhow::Result<ProvenLeaf> {
    let unreadable = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).with_context(unreadable)?.len();
    if length > PROOF_BYTES_MAX {
        bail!("{} is too large to be a proof", file.display());
    }
    let text = std::fs::read(file).with_context(unreadable)?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no proof of a leaf", file.display()))
}

fn save(file: &Path, leaf: &ProvenLeaf) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(leaf)?;
    text.push(b'\n');
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
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
                facts.push(("wallet fees", coins(paid.wallet_fees)));
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
