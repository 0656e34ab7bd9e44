//! What accounts used, day by day.

use std::collections::HashMap;

use super::connection::Connection;
use super::keys::Shard;
use super::rows::numbers;
use crate::calendar::Day;
use crate::id::{AccountId, KeyId};
use crate::ledger::{LedgerError, Usage, UsageSums, days};

/// A day's hash: `key:model` → packed sums.
type Row = HashMap<String, Vec<u8>>;

/// Days read by one command: each may have thousands of rows.
const DAYS_AT_ONCE: usize = 31;

pub(super) async fn usage(
    connection: &Connection,
    account: &AccountId,
    from: Day,
    to: Day,
) -> Result<Vec<Usage>, LedgerError> {
    let days: Vec<_> = days(from, to)?.collect();
    let mut lines = Vec::new();
    for days in days.chunks(DAYS_AT_ONCE) {
        let keys: Vec<_> = days.iter().map(|day| Shard::of(account).usage(account, *day)).collect();
        for (day, row) in days.iter().zip(connection.rows::<Row>(&keys).await?) {
            lines.extend(read(*day, &row)?);
        }
    }
    lines.sort_by(|a, b| (a.day, &a.key, &a.model).cmp(&(b.day, &b.key, &b.model)));
    Ok(lines)
}

fn read(day: Day, row: &Row) -> Result<Vec<Usage>, LedgerError> {
    let line = |(column, packed): (&String, &Vec<u8>)| {
        let damaged = || LedgerError::Damaged(format!("the use `{column}` cannot be read"));
        // A key's id has no colon, so this has one reading.
        let (key, model) = column.split_once(':').ok_or_else(damaged)?;
        Ok(Usage {
            day,
            key: KeyId::parse(key).map_err(|_| damaged())?,
            model: model.to_owned(),
            sums: UsageSums::from_numbers(numbers(packed)?),
        })
    };
    row.iter().map(line).collect()
}
