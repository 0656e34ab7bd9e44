//! What accounts used, day by day.

use std::collections::HashMap;

use super::connection::{Call, Connection};
use super::keys::Shard;
use super::rows::numbers;
use crate::calendar::Day;
use crate::id::{AccountId, KeyId};
use crate::ledger::{LedgerError, Usage, UsageSums, days};

/// A hash of packed sums.
type Row = HashMap<String, Vec<u8>>;

/// Days read by one command: each may have thousands of rows.
const DAYS_AT_ONCE: usize = 7;

pub(super) async fn usage(
    connection: &Connection,
    account: &AccountId,
    from: Day,
    to: Day,
) -> Result<Vec<Usage>, LedgerError> {
    let days: Vec<_> = days(from, to)?.collect();
    let shard = Shard::of(account);
    let mut lines = Vec::new();
    for days in days.chunks(DAYS_AT_ONCE) {
        let mut keys = vec![shard.account(account.as_str())];
        keys.extend(days.iter().map(|day| shard.usage(account, *day)));
        let rows: Vec<Row> = connection.call(&Call::new("usage", &keys)).await?;
        let [with_account, rows @ ..] = rows.as_slice() else {
            return Err(LedgerError::Damaged("Redis answered no account".into()));
        };
        lines.extend(latest(with_account, days)?);
        for (day, row) in days.iter().zip(rows) {
            let sums = row.iter().map(|(column, packed)| line(*day, column, numbers(packed)?));
            lines.extend(sums.collect::<Result<Vec<_>, _>>()?);
        }
    }
    lines.sort_by(|a, b| (a.day, &a.key, &a.model).cmp(&(b.day, &b.key, &b.model)));
    Ok(lines)
}

/// The rows that lie with an account, of some days: what was used on the latest day of each key and model.
fn latest(account: &Row, days: &[Day]) -> Result<Vec<Usage>, LedgerError> {
    let mut lines = Vec::new();
    for (column, packed) in account {
        let Some(column) = column.strip_prefix("day:") else {
            continue;
        };
        let [day, sums @ ..] = numbers::<7>(packed)?;
        if let Some(day) = days.iter().find(|known| u64::from(known.number()) == day) {
            lines.push(line(*day, column, sums)?);
        }
    }
    Ok(lines)
}

fn line(day: Day, column: &str, sums: [u64; 6]) -> Result<Usage, LedgerError> {
    let damaged = || LedgerError::Damaged(format!("the use `{column}` cannot be read"));
    // A key's id has no colon, so this has one reading.
    let (key, model) = column.split_once(':').ok_or_else(damaged)?;
    Ok(Usage {
        day,
        key: KeyId::parse(key).map_err(|_| damaged())?,
        model: model.to_owned(),
        sums: UsageSums::from_numbers(sums),
    })
}
