//! An order to the settlement contract: sent from a wallet whose secret is here, or printed as a link for another wallet.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use filature_billing::Nano;
use filature_billing::chain::{Address, Position};
use filature_billing::settle::{ContractOrder, Giver, Standing, stake_of, transfer_link};
use serde::Serialize;

use super::onchain::{OnChain, Reached};
use super::purse::Purse;
use super::{Failure, output};

/// From which wallet an order comes, and to which contract.
#[derive(Args)]
pub(super) struct Sends {
    /// The file with the secret of the wallet (v5r1) that sends it: 24 words, or 64 hex digits.
    #[arg(long, value_name = "FILE", required_unless_present = "print")]
    wallet: Option<PathBuf>,
    /// Print a link by which another wallet can send it.
    #[arg(long, conflicts_with = "wallet")]
    print: bool,
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// What came of it. Amounts in nano.
#[derive(Serialize)]
pub(super) struct Given {
    order: &'static str,
    contract: Address,
    /// What the message carries. What fees leave of it comes back, but for a stake.
    carries: Nano,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    /// Of the wallet, where they can be told from what came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    fees: Option<u128>,
    /// The contract's.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<Position>,
}

impl Sends {
    /// The chain, and how the contract stands on it.
    pub(super) async fn begin(&self) -> Result<(Reached, Standing), Failure> {
        let reached = self.on.reach(Vec::new())?;
        let standing = reached.standing(reached.contract()?).await?;
        Ok((reached, standing))
    }

    /// Gives an order, and says what came of it.
    pub(super) async fn run(
        &self,
        reached: &Reached,
        standing: &Standing,
        order: &ContractOrder,
    ) -> Result<(), Failure> {
        let given = self.give(reached, standing, order).await?;
        output::show(self.json, &given, || given.text(reached))
    }

    /// Gives an order. When this returns, the contract has carried it out, or there is a link.
    pub(super) async fn give(
        &self,
        reached: &Reached,
        standing: &Standing,
        order: &ContractOrder,
    ) -> Result<Given, Failure> {
        let contract = standing.state.address;
        let payment = order.payment(contract, 0).map_err(anyhow::Error::from)?;
        let mut given = Given {
            order: order.name(),
            contract,
            carries: payment.amount,
            link: None,
            fees: None,
            transaction: None,
        };
        let Some(file) = &self.wallet else {
            given.link = Some(transfer_link(&payment, reached.network));
            return Ok(given);
        };
        let purse = Purse::load(file, reached)?;
        let now = reached.now().await?;
        if !standing.lets(purse.address(), order.giver(), now) {
            let who = givers(reached, standing, order.giver(), now);
            let mine = reached.shown_wallet(purse.address());
            return Err(anyhow!("only {who} may do that, and this is {mine}: nothing was sent").into());
        }
        if let Some(why) = obstacle(reached, standing, order, (purse.address(), now)).await? {
            return Err(anyhow!("{why}: nothing was sent").into());
        }
        let (paid, transaction) = purse.order(reached, &payment).await?;
        given.fees = paid.fees;
        given.transaction = Some(transaction.at);
        Ok(given)
    }
}

/// Why the contract would refuse an order of this wallet, where that can be told beforehand.
async fn obstacle(
    reached: &Reached,
    standing: &Standing,
    order: &ContractOrder,
    (wallet, now): (Address, u32),
) -> anyhow::Result<Option<String>> {
    let terms = &standing.parties.terms;
    Ok(match order {
        ContractOrder::Pause { .. } if now < standing.pause_not_before => {
            let from = output::time(u64::from(standing.pause_not_before).saturating_mul(1_000));
            Some(format!("the contract can be paused again from {from} on"))
        }
        ContractOrder::Stake { amount, .. } if *amount < terms.stake_min => {
            let stake = stake_of(&*reached.chain, standing.state.address, wallet).await?;
            let staked = stake.map(|stake| stake.staked).unwrap_or_default();
            let is_less = staked.plus(*amount)? < terms.stake_min;
            is_less.then(|| format!("the least stake is {}", reached.amount(terms.stake_min.signed())))
        }
        _ => None,
    })
}

/// Who may give an order, for people.
fn givers(reached: &Reached, standing: &Standing, giver: Giver, now: u32) -> String {
    let wallet = |who: &str, wallet: Address| format!("the {who} {}", reached.shown_wallet(wallet));
    let parties = &standing.parties;
    match giver {
        Giver::Anybody => "anybody".to_owned(),
        Giver::Operator => wallet("operator", parties.operator) + " and " + &wallet("owner", parties.owner),
        Giver::Owner => wallet("owner", parties.owner),
        Giver::NextOwner => match standing.next_owner {
            Some(next) => wallet("proposed owner", next),
            None => "whom the owner proposes as the next, and that is nobody now,".to_owned(),
        },
        Giver::Arbiter => wallet("arbiter", standing.arbiter(now)),
    }
}

impl Given {
    fn text(&self, reached: &Reached) -> String {
        let carries = reached.amount(self.carries.signed());
        let mut facts = vec![("order", self.order.to_owned()), ("carries", carries)];
        if let Some(link) = &self.link {
            facts.push(("link", link.clone()));
        }
        if let Some(at) = &self.transaction {
            facts.push(("done", format!("in the contract's transaction {}", at.hash)));
        }
        if let Some(fees) = self.fees {
            facts.push(("fees", reached.amount(i128::try_from(fees).unwrap_or(i128::MAX))));
        }
        output::facts(&facts)
    }
}
