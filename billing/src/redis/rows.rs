//! Reads accounts, keys and sums out of Redis hashes. What cannot be read is damage, never a guess.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use crate::id::ProviderId;
use crate::key::KeyRecord;
use crate::ledger::{Account, Earnings, LedgerError, Totals};
use crate::money::Nano;

/// A Redis hash: column → value.
pub(super) type Row = HashMap<String, String>;

fn damaged(what: &str) -> LedgerError {
    LedgerError::Damaged(format!("`{what}` cannot be read"))
}

/// An amount in nano.
pub(super) fn nano(text: &str) -> Result<Nano, LedgerError> {
    text.parse()
        .ok()
        .and_then(|nano| Nano::new(nano).ok())
        .ok_or_else(|| damaged("an amount"))
}

fn parse<T: FromStr>(row: &Row, column: &str) -> Result<T, LedgerError> {
    row.get(column)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| damaged(column))
}

fn parse_optional<T: FromStr>(row: &Row, column: &str) -> Result<Option<T>, LedgerError> {
    row.contains_key(column).then(|| parse(row, column)).transpose()
}

fn amount(row: &Row, column: &str) -> Result<Nano, LedgerError> {
    row.get(column).map_or(Ok(Nano::ZERO), |text| nano(text))
}

/// An account, or `None` if the hash is empty.
pub(super) fn account(row: &Row) -> Result<Option<Account>, LedgerError> {
    if row.is_empty() {
        return Ok(None);
    }
    Ok(Some(Account {
        id: parse(row, "id")?,
        name: parse(row, "name")?,
        created_ms: parse(row, "created_ms")?,
        deposited: amount(row, "deposited")?,
        available: parse(row, "available")?,
        held: amount(row, "held")?,
        spent: amount(row, "spent")?,
    }))
}

/// A key, or `None` if the hash is empty.
pub(super) fn key(row: &Row) -> Result<Option<KeyRecord>, LedgerError> {
    if row.is_empty() {
        return Ok(None);
    }
    Ok(Some(KeyRecord {
        id: parse(row, "id")?,
        account: parse(row, "account")?,
        name: parse(row, "name")?,
        hint: parse(row, "hint")?,
        created_ms: parse(row, "created_ms")?,
        expires_ms: parse_optional(row, "expires_ms")?,
        revoked_ms: parse_optional(row, "revoked_ms")?,
    }))
}

/// The columns of a key that never change.
pub(super) fn key_columns(key: &KeyRecord) -> Vec<(&'static str, String)> {
    let mut columns = vec![
        ("account", key.account.to_string()),
        ("name", key.name.clone()),
        ("hint", key.hint.clone()),
        ("created_ms", key.created_ms.to_string()),
    ];
    columns.extend(key.expires_ms.map(|ms| ("expires_ms", ms.to_string())));
    columns.extend(key.revoked_ms.map(|ms| ("revoked_ms", ms.to_string())));
    columns
}

/// Adds one shard's sums and its number of holds to `totals`.
pub(super) fn add_totals(totals: &mut Totals, row: &Row, holds: u64) -> Result<(), LedgerError> {
    let add = |sum: &mut Nano, column| {
        *sum = sum
            .plus(amount(row, column)?)
            .map_err(|_| LedgerError::TooLarge("the sum over all accounts"))?;
        Ok::<_, LedgerError>(())
    };
    add(&mut totals.deposited, "deposited")?;
    add(&mut totals.held, "held")?;
    add(&mut totals.spent, "spent")?;
    add(&mut totals.earned, "earned")?;
    add(&mut totals.fees, "fees")?;
    let available = parse_optional::<i64>(row, "available")?.unwrap_or_default();
    totals.available = totals.available.saturating_add(i128::from(available));
    totals.holds = totals.holds.saturating_add(holds);
    Ok(())
}

/// Adds one shard's earnings to those of the others.
pub(super) fn add_earnings(all: &mut BTreeMap<ProviderId, Earnings>, row: &Row) -> Result<(), LedgerError> {
    for (column, text) in row {
        let (provider, part) = column.rsplit_once(':').ok_or_else(|| damaged(column))?;
        let provider = ProviderId::parse(provider).map_err(|_| damaged(column))?;
        let nothing = Earnings {
            provider: provider.clone(),
            cost: Nano::ZERO,
            fee: Nano::ZERO,
            earned: Nano::ZERO,
        };
        let sums = all.entry(provider).or_insert(nothing);
        let plus = |sum: Nano| sum.plus(nano(text)?).map_err(|_| LedgerError::TooLarge("the earnings"));
        match part {
            "fee" => sums.fee = plus(sums.fee)?,
            "earned" => sums.earned = plus(sums.earned)?,
            _ => return Err(damaged(column)),
        }
        sums.cost = plus(sums.cost)?;
    }
    Ok(())
}
