//! `filature usage`.

use anyhow::Context as _;
use clap::Args;
use filature_billing::{AccountId, Day};

use super::Failure;
use super::output::{self, Table, amount};
use super::reach::{Missing, Where};
use crate::usage::{Grouping, Row, csv, grouped, span, total};

const EXAMPLES: &str = "\
Examples:
  filature usage acct_…
  filature usage acct_… --from 2026-11-01 --to 2026-11-30 --by day
  filature usage acct_… --by model,key --csv > november.csv

Days are those of UTC on which the calls arrived, both ends included; at most 400.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UsageCommand {
    /// The account's id.
    account: AccountId,
    /// The first day (`2026-11-01`) [default: 30 days up to the last].
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// The last day [default: today].
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
    /// What to sum up by: `day`, `model`, `key`, separated by commas.
    #[arg(long, value_name = "LIST", default_value = "day,model,key")]
    by: Grouping,
    /// Print CSV instead of text.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(command: UsageCommand) -> Result<(), Failure> {
    let UsageCommand {
        account,
        from,
        to,
        by,
        csv: as_csv,
        at,
    } = command;
    let (from, to) = span(from, to).map_err(Failure::Usage)?;
    output::block_on(async {
        let ledger = at.reach(Missing::Refuse).await?;
        let mut used = ledger
            .admin
            .usage(&account, Some(from), Some(to))
            .await
            .context("nothing to show")?;
        if at.json {
            return output::show(true, &used, String::new);
        }
        let rows = grouped(std::mem::take(&mut used.usage), by);
        if as_csv {
            return output::print(&csv(&rows, by));
        }
        output::print(&table(&rows, &ledger.config.pricing.symbol))
    })
}

fn table(rows: &[Row], symbol: &str) -> String {
    let mut table = Table::new(&["DAY", "MODEL", "KEY", "CALLS", "PROMPT", "COMPLETION", "COST"]);
    let all = "*".to_owned();
    for row in rows {
        table.row([
            row.day.map_or_else(|| all.clone(), |day| day.to_string()),
            row.model.clone().unwrap_or_else(|| all.clone()),
            row.key.as_ref().map_or_else(|| all.clone(), ToString::to_string),
            row.sums.calls.to_string(),
            row.sums.tokens.prompt.to_string(),
            row.sums.tokens.completion.to_string(),
            amount(row.sums.cost.signed().into(), symbol),
        ]);
    }
    let sum = total(rows);
    table.row([
        "total".to_owned(),
        String::new(),
        String::new(),
        sum.calls.to_string(),
        sum.tokens.prompt.to_string(),
        sum.tokens.completion.to_string(),
        amount(sum.cost.signed().into(), symbol),
    ]);
    table.to_string()
}
