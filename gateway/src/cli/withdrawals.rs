//! `filature withdrawals` and `filature deposits`.

use std::collections::VecDeque;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use filature_billing::{AccountId, Nano, Withdrawal, WithdrawalState};

use super::Failure;
use super::output::{self, Table, amount};
use super::reach::{Missing, Where};
use crate::admin::{AdminClient, AdminError, NewWithdrawal, UncreditedList, UncreditedOne, Withdrawals as Listed};
use crate::config::SettlementSettings;
use crate::deposits::Till;
use crate::withdrawals::Destinations;

/// Entries that are read at a time: the most the ledger gives.
const PAGE: usize = 1024;

const EXAMPLES: &str = "\
Examples:
  filature withdrawals ask acct_… 2.5 --to UQA_… --id november-refund
  filature withdrawals list
  filature withdrawals list acct_…
  filature withdrawals return acct_… november-refund --why 'wrong address'

What is withdrawn is no longer available. A gateway with settlement.withdrawal_wallet_key_file pays
it, in TON and to the nano; until it is sent it can be given back.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Withdrawals {
    /// Withdraw unused credit of an account.
    Ask {
        /// The account's id.
        account: AccountId,
        /// How much, in TON: `12` or `0.25`.
        #[arg(value_name = "TON")]
        amount: Nano,
        /// Where to: an address on TON.
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// Withdraws only once per id and account, however often it is repeated.
        #[arg(long)]
        id: String,
        #[command(flatten)]
        at: Where,
    },
    /// List the withdrawals of an account, or all that wait to be paid.
    List {
        /// The account's id.
        account: Option<AccountId>,
        #[command(flatten)]
        at: Where,
    },
    /// Give a withdrawal back that was not sent.
    Return {
        /// The account's id.
        account: AccountId,
        /// The withdrawal's id.
        id: String,
        /// Why, for the owner of the account.
        #[arg(long)]
        why: String,
        #[command(flatten)]
        at: Where,
    },
}

pub(super) fn run(command: Withdrawals) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Withdrawals::Ask {
                account,
                amount,
                to,
                id,
                at,
            } => {
                let ledger = at.reach(Missing::Refuse).await?;
                // A gateway knows its own network and accounts; what this command was configured with may be others.
                let to = match ledger.admin.is_remote() {
                    true => to,
                    false => destination(&ledger.config.settlement, &to)?,
                };
                let asked = ledger.admin.withdraw(&account, &NewWithdrawal { id, amount, to }).await;
                let asked = asked.context("nothing was withdrawn")?;
                output::show(at.json, &asked, || one(&asked, &ledger.config.pricing.symbol))
            }
            Withdrawals::List { account, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let listed = all(&ledger.admin, account.as_ref()).await.context("nothing to list")?;
                output::show(at.json, &listed, || {
                    many(&listed.withdrawals, &ledger.config.pricing.symbol)
                })
            }
            Withdrawals::Return { account, id, why, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let returned = ledger.admin.return_withdrawal(&account, &id, &why).await;
                let returned = returned.context("nothing was given back")?;
                output::show(at.json, &returned, || one(&returned, &ledger.config.pricing.symbol))
            }
        }
    })
}

fn destination(settings: &SettlementSettings, to: &str) -> Result<String, Failure> {
    let destinations = Destinations {
        network: settings.network,
        till: Till::configured(settings).ok().flatten(),
    };
    let to = destinations.parse(to);
    Ok(to.map_err(|why| Failure::Usage(format!("--to: {why}")))?.to_string())
}

/// Every withdrawal of an account, or all that are open.
async fn all(admin: &AdminClient, account: Option<&AccountId>) -> Result<Listed, AdminError> {
    let mut listed = admin.withdrawals(account, None, PAGE).await?;
    while let Some(after) = listed.next {
        let page = admin.withdrawals(account, Some(after), PAGE).await?;
        listed.next = page.next;
        listed.withdrawals.extend(page.withdrawals);
    }
    Ok(listed)
}

/// The state's name, and the batch, the transaction or the reason.
fn state(withdrawal: &Withdrawal) -> (&'static str, String) {
    match &withdrawal.state {
        WithdrawalState::Asked => ("asked", "-".to_owned()),
        WithdrawalState::Sent { reference, .. } => ("sent", reference.clone()),
        WithdrawalState::Paid { transaction, .. } => ("paid", transaction.clone()),
        WithdrawalState::Returned { why, .. } => ("returned", why.clone()),
    }
}

fn one(withdrawal: &Withdrawal, symbol: &str) -> String {
    let (state, detail) = state(withdrawal);
    output::facts(&[
        ("withdrawal", withdrawal.id.clone()),
        ("account", withdrawal.account.to_string()),
        ("amount", amount(withdrawal.amount.signed().into(), symbol)),
        ("to", withdrawal.to.clone()),
        ("asked", output::time(withdrawal.asked_ms)),
        ("state", state.to_owned()),
        ("detail", detail),
    ])
}

fn many(withdrawals: &[Withdrawal], symbol: &str) -> String {
    let mut table = Table::new(&["WITHDRAWAL", "ACCOUNT", "ASKED", "AMOUNT", "TO", "STATE", "DETAIL"]);
    for withdrawal in withdrawals {
        let (state, detail) = state(withdrawal);
        table.row([
            withdrawal.id.clone(),
            withdrawal.account.to_string(),
            output::time(withdrawal.asked_ms),
            amount(withdrawal.amount.signed().into(), symbol),
            withdrawal.to.clone(),
            state.to_owned(),
            detail,
        ]);
    }
    table.to_string()
}

const UNCREDITED: &str = "\
Examples:
  filature deposits uncredited
  filature deposits uncredited --last 1000 --json

A transfer is credited once its comment names an account. One that named nobody can be credited by
hand, once:
  filature accounts credit acct_… 5 --id ton:47000001:4f44…";

#[derive(Subcommand)]
pub(super) enum Deposits {
    /// List transfers on TON that were credited to nobody, and why.
    Uncredited(Last),
}

#[derive(Args)]
#[command(after_help = UNCREDITED)]
pub(super) struct Last {
    /// How many, the latest ones.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run_deposits(Deposits::Uncredited(Last { last, at }): Deposits) -> Result<(), Failure> {
    output::block_on(async {
        let ledger = at.reach(Missing::Refuse).await?;
        let (mut kept, mut after) = (VecDeque::<UncreditedOne>::new(), None);
        loop {
            let page = ledger.admin.uncredited(after, PAGE).await.context("nothing to list")?;
            let Some(end) = page.transfers.last() else { break };
            after = Some(end.cursor);
            kept.extend(page.transfers);
            kept.drain(..kept.len().saturating_sub(last));
        }
        let listed = UncreditedList { transfers: kept.into() };
        output::show(at.json, &listed, || table(&listed.transfers))
    })
}

fn table(transfers: &[UncreditedOne]) -> String {
    let mut table = Table::new(&["AT", "TRANSFER", "NANO", "FROM", "WHY", "ACCOUNT", "DETAIL"]);
    for UncreditedOne { transfer, .. } in transfers {
        let account = transfer.account.as_ref();
        table.row([
            output::time(transfer.at_ms),
            transfer.id.clone(),
            transfer.amount.clone(),
            transfer.from.clone(),
            transfer.why.as_str().to_owned(),
            account.map_or_else(|| "-".to_owned(), ToString::to_string),
            transfer.detail.clone(),
        ]);
    }
    table.to_string()
}
