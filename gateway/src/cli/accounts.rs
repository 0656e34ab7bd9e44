//! `filature accounts`.

use anyhow::Context as _;
use clap::Subcommand;
use filature_billing::{Account, AccountId, Nano};

use super::output::{self, Table};
use super::reach::{Missing, Where};
use super::{Failure, output::amount};
use crate::admin::{Books, Credit};

const EXAMPLES: &str = "\
Examples:
  filature accounts create acme --data /var/lib/filature
  filature accounts credit acct_… 2.5 --id invoice-2026-11
  filature accounts show --redis redis://127.0.0.1
  filature accounts show acct_… --json
  filature accounts books";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Accounts {
    /// Make an account.
    Create {
        /// What people call it; need not be unique.
        name: String,
        #[command(flatten)]
        at: Where,
    },
    /// Add money to an account.
    Credit {
        /// The account's id.
        account: AccountId,
        /// How much, in TON: `12` or `0.25`.
        #[arg(value_name = "TON")]
        amount: Nano,
        /// Credits only once per id and account, however often it is repeated.
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        at: Where,
    },
    /// Show one account, or all.
    Show {
        /// The account's id.
        account: Option<AccountId>,
        #[command(flatten)]
        at: Where,
    },
    /// Show the sums over all accounts, who earned what, and whether they add up to the nano.
    Books {
        #[command(flatten)]
        at: Where,
    },
}

pub(super) fn run(command: Accounts) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Accounts::Create { name, at } => {
                let ledger = at.reach(Missing::Make).await?;
                let account = ledger
                    .admin
                    .create_account(&name)
                    .await
                    .context("the account was not made")?;
                output::show(at.json, &account, || one(&account, &ledger.config.pricing.symbol))
            }
            Accounts::Credit {
                account,
                amount,
                id,
                at,
            } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let credited = ledger
                    .admin
                    .credit(&account, &Credit { amount, id })
                    .await
                    .context("nothing was credited")?;
                if !credited.fresh {
                    output::note(&format!("credit {} was made before: nothing was added", credited.id));
                }
                output::show(at.json, &credited, || {
                    one(&credited.account, &ledger.config.pricing.symbol)
                })
            }
            Accounts::Show {
                account: Some(account),
                at,
            } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let account = ledger.admin.account(&account).await.context("nothing to show")?;
                output::show(at.json, &account, || one(&account, &ledger.config.pricing.symbol))
            }
            Accounts::Show { account: None, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let accounts = ledger.admin.accounts().await.context("nothing to show")?;
                output::show(at.json, &accounts, || {
                    many(&accounts.accounts, &ledger.config.pricing.symbol)
                })
            }
            Accounts::Books { at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let books = ledger.admin.books().await.context("nothing to show")?;
                output::show(at.json, &books, || sums(&books, &ledger.config.pricing.symbol))?;
                if !books.conserved {
                    return Err(anyhow::anyhow!("the books do not add up").into());
                }
                Ok(())
            }
        }
    })
}

fn one(account: &Account, symbol: &str) -> String {
    output::facts(&[
        ("account", account.id.to_string()),
        ("name", account.name.clone()),
        ("created", output::time(account.created_ms)),
        ("available", amount(account.available.into(), symbol)),
        ("held", amount(account.held.signed().into(), symbol)),
        ("spent", amount(account.spent.signed().into(), symbol)),
        ("withdrawn", amount(account.withdrawn.signed().into(), symbol)),
        ("deposited", amount(account.deposited.signed().into(), symbol)),
    ])
}

fn many(accounts: &[Account], symbol: &str) -> String {
    let mut table = Table::new(&["ACCOUNT", "NAME", "CREATED", "AVAILABLE", "HELD", "SPENT"]);
    for account in accounts {
        table.row([
            account.id.to_string(),
            account.name.clone(),
            output::time(account.created_ms),
            amount(account.available.into(), symbol),
            amount(account.held.signed().into(), symbol),
            amount(account.spent.signed().into(), symbol),
        ]);
    }
    table.to_string()
}

fn sums(books: &Books, symbol: &str) -> String {
    let totals = &books.totals;
    let mut out = output::facts(&[
        ("deposited", amount(totals.deposited.signed().into(), symbol)),
        ("withdrawn", amount(totals.withdrawn.signed().into(), symbol)),
        ("available", amount(totals.available, symbol)),
        (
            "held",
            format!(
                "{} in {} holds",
                amount(totals.held.signed().into(), symbol),
                totals.holds
            ),
        ),
        ("spent", amount(totals.spent.signed().into(), symbol)),
        ("earned", amount(totals.earned.signed().into(), symbol)),
        ("fees", amount(totals.fees.signed().into(), symbol)),
        (
            "add up",
            if books.conserved { "yes, to the nano" } else { "NO" }.to_owned(),
        ),
    ]);
    if !books.earnings.is_empty() {
        let mut table = Table::new(&["PROVIDER", "EARNED", "FEES", "COST"]);
        for earnings in &books.earnings {
            table.row([
                earnings.provider.to_string(),
                amount(earnings.earned.signed().into(), symbol),
                amount(earnings.fee.signed().into(), symbol),
                amount(earnings.cost.signed().into(), symbol),
            ]);
        }
        out.push('\n');
        out.push_str(&table.to_string());
    }
    out
}
