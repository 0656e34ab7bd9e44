//! `filature contract deploy`: from parties, terms and a wallet to a contract that is there.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use filature_billing::Nano;
use filature_billing::chain::{AccountStatus, Address, Payment, Position};
use filature_billing::settle::{Parties, RESERVE};
use serde::Serialize;

use super::show;
use super::terms::{TermFlags, doubts};
use crate::cli::Failure;
use crate::cli::onchain::{OnChain, Reached};
use crate::cli::output::{self, amount};
use crate::cli::purse::{Purse, arrived};

/// More than deploying costs the wallet: 0.03 TON. Most of it is for the way of the contract's code; 0.0102 at the mainnet's
/// prices of 2026, where the wallet is new.
const FEES_MAX: Nano = Nano::saturating(30_000_000);

#[derive(Args)]
pub(in crate::cli) struct Deploy {
    /// Who draws, slashes, pauses and names the others: a wallet whose key is kept offline.
    #[arg(long, value_name = "ADDRESS")]
    owner: String,
    /// The wallet that settles: anchors, and draws up to the limit [default: the wallet that deploys].
    #[arg(long, value_name = "ADDRESS")]
    operator: Option<String>,
    /// Who rules on contests and slashes: somebody whom both sides trust.
    #[arg(long, value_name = "ADDRESS")]
    arbiter: String,
    /// Who gets forfeited stakes and bonds.
    #[arg(long, value_name = "ADDRESS")]
    forfeit_to: String,
    /// What the operator may draw on a day, in TON.
    #[arg(long, value_name = "TON", default_value = "100")]
    draw_limit: Nano,
    #[command(flatten)]
    terms: TermFlags,
    /// What the contract is given at once, in TON: 1 is kept for its rent, the rest pays claims.
    #[arg(long, value_name = "TON", default_value = "1.1")]
    value: Nano,
    /// The file with the secret of the wallet (v5r1) that pays: 24 words, or 64 hex digits.
    #[arg(long, value_name = "FILE")]
    wallet: PathBuf,
    /// Say where the contract would be and what is doubtful; send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Deploy although something is doubtful.
    #[arg(long)]
    despite_doubts: bool,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Serialize)]
struct Deployed {
    contract: Address,
    friendly: String,
    deployed: bool,
    doubts: Vec<String>,
    value_nano: Nano,
    /// Of the wallet; absent if nothing was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    fees_nano: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Position>,
}

pub(super) async fn run(deploy: &Deploy) -> Result<(), Failure> {
    let reached = deploy.on.reach(Vec::new())?;
    let purse = Purse::load(&deploy.wallet, &reached)?;
    let parties = deploy.parties(&reached, purse.address())?;
    let init = parties.init().map_err(anyhow::Error::from)?;
    let contract = Address::of_contract(&init).map_err(anyhow::Error::from)?;
    let mut deployed = Deployed {
        contract,
        friendly: reached.shown(contract),
        deployed: false,
        doubts: doubts(&parties),
        value_nano: deploy.value,
        fees_nano: None,
        transaction: None,
    };
    if deploy.value < RESERVE {
        let doubt = "the contract keeps 1 TON for its rent: with less it pays no claim";
        deployed.doubts.push(doubt.to_owned());
    }
    deployed
        .doubts
        .iter()
        .for_each(|doubt| output::note(&format!("doubtful: {doubt}")));
    if named_elsewhere(&reached, contract) {
        let text = format!(
            "these parties and terms give {}, and --contract or settlement.contract names another",
            deployed.friendly
        );
        return Err(Failure::Usage(text));
    }
    let before = reached
        .chain
        .account(contract)
        .await
        .context("the contract's address cannot be read")?;
    if before.status == AccountStatus::Active {
        let standing = reached.standing(contract).await?;
        output::note("it is deployed already: nothing was sent");
        return show::print(&reached, &standing, deploy.json).await;
    }
    if before.status == AccountStatus::Frozen {
        Err(anyhow::anyhow!(
            "{} is frozen: its rent was not paid; deploy with other terms",
            deployed.friendly
        ))?;
    }
    if deploy.dry_run {
        return output::show(deploy.json, &deployed, || deployed.text(&reached));
    }
    if !deployed.doubts.is_empty() && !deploy.despite_doubts {
        let text = "nothing was sent: change what is doubtful, or say --despite-doubts. It can never be changed later";
        return Err(Failure::Usage(text.to_owned()));
    }
    send(deploy, &reached, &purse, init, before.last, &mut deployed).await?;
    output::show(deploy.json, &deployed, || deployed.text(&reached))
}

async fn send(
    deploy: &Deploy,
    reached: &Reached,
    purse: &Purse,
    init: filature_billing::chain::StateInit,
    before: Position,
    deployed: &mut Deployed,
) -> anyhow::Result<()> {
    let payment = Payment {
        init: Some(init),
        ..Payment::new(deployed.contract, deploy.value)
    };
    let paid = purse.pay(reached, &payment, FEES_MAX).await?;
    let transaction = arrived(&*reached.chain, &paid.transfer, before).await?;
    if !transaction.succeeded() {
        let code = transaction.exit_code.unwrap_or_default();
        bail!("the contract was not deployed: its first transaction ended with exit code {code}");
    }
    reached.standing(deployed.contract).await?;
    deployed.deployed = true;
    deployed.fees_nano = paid.fees;
    deployed.transaction = Some(transaction.at);
    Ok(())
}

/// Whether settings or flags name a contract, and another one.
fn named_elsewhere(reached: &Reached, contract: Address) -> bool {
    reached.named().is_some_and(|named| named != contract)
}

impl Deploy {
    fn parties(&self, reached: &Reached, wallet: Address) -> Result<Parties, Failure> {
        let operator = match &self.operator {
            Some(text) => reached.address("--operator", text)?,
            None => wallet,
        };
        Ok(Parties {
            owner: reached.address("--owner", &self.owner)?,
            operator,
            arbiter: reached.address("--arbiter", &self.arbiter)?,
            forfeit_to: reached.address("--forfeit-to", &self.forfeit_to)?,
            draw_limit: self.draw_limit,
            terms: self.terms.terms(),
        })
    }
}

impl Deployed {
    fn text(&self, reached: &Reached) -> String {
        let symbol = &reached.config.pricing.symbol;
        let mut facts = vec![
            ("contract", self.friendly.clone()),
            ("raw", self.contract.to_string()),
            (
                "deployed",
                if self.deployed { "yes" } else { "no: nothing was sent" }.to_owned(),
            ),
            ("it holds", amount(self.value_nano.signed().into(), symbol)),
        ];
        match self.fees_nano {
            Some(fees) => facts.push(("fees", amount(i128::try_from(fees).unwrap_or(i128::MAX), symbol))),
            None => facts.push(("fees at most", amount(FEES_MAX.signed().into(), symbol))),
        }
        facts.push(("setting", format!("settlement.contract = \"{}\"", self.friendly)));
        output::facts(&facts)
    }
}
