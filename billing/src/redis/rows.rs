//! Reads accounts, keys and sums out of Redis hashes. What cannot be read is damage, never a guess.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use crate::calendar::Period;
use crate::id::ProviderId;
use crate::key::KeyRecord;
use crate::ledger::{Account, Earnings, KeyUse, LedgerError, Totals};
use crate::limits::{Bucket, Budget, KeyLimits, RateState, Spending, Spent};
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

/// An account's columns, in the order in which the functions answer them.
const ACCOUNT: [&str; 8] = [
    "id",
    "name",
    "created_ms",
    "deposited",
    "withdrawn",
    "available",
    "held",
    "spent",
];

/// An account, or `None` if there are no columns.
pub(super) fn account(columns: Vec<Option<String>>) -> Result<Option<Account>, LedgerError> {
    let columns = ACCOUNT.iter().zip(columns);
    let row: Row = columns
        .filter_map(|(name, value)| Some(((*name).to_owned(), value?)))
        .collect();
    if row.is_empty() {
        return Ok(None);
    }
    Ok(Some(Account {
        id: parse(&row, "id")?,
        name: parse(&row, "name")?,
        created_ms: parse(&row, "created_ms")?,
        deposited: amount(&row, "deposited")?,
        withdrawn: amount(&row, "withdrawn")?,
        available: parse(&row, "available")?,
        held: amount(&row, "held")?,
        spent: amount(&row, "spent")?,
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
        limits: limits(row)?,
    }))
}

fn limits(row: &Row) -> Result<KeyLimits, LedgerError> {
    let models = row.get("models").map(|json| serde_json::from_str(json));
    let models = models.transpose().map_err(|_| damaged("models"))?.unwrap_or_default();
    let packed = row.get("limits").map(|packed| packed_limits(packed));
    let limits = packed.transpose()?.unwrap_or_default();
    Ok(KeyLimits { models, ..limits })
}

/// Limits as the functions read them: requests, tokens, concurrent calls, budget and its period, `-` for none.
fn packed_limits(packed: &str) -> Result<KeyLimits, LedgerError> {
    fn limit<T: FromStr>(text: &str) -> Result<Option<T>, LedgerError> {
        let limit = (text != NONE).then(|| text.parse().map_err(|_| damaged("a limit")));
        limit.transpose()
    }
    let [requests, tokens, concurrent, amount, period] = packed.split(' ').collect::<Vec<_>>()[..] else {
        return Err(damaged("limits"));
    };
    let budget = |period| {
        let amount = nano(amount)?;
        Ok::<_, LedgerError>(Budget { amount, period })
    };
    Ok(KeyLimits {
        requests_per_min: limit(requests)?,
        tokens_per_min: limit(tokens)?,
        concurrent: limit(concurrent)?,
        budget: limit(period)?.map(budget).transpose()?,
        models: vec![],
    })
}

/// No limit, in a text of several.
const NONE: &str = "-";

/// The columns of a key's limits, each with its value or without one.
pub(super) fn limit_columns(limits: &KeyLimits) -> [(&'static str, Option<String>); 2] {
    fn text(limit: Option<impl ToString>) -> String {
        limit.map_or_else(|| NONE.to_owned(), |limit| limit.to_string())
    }
    let packed = [
        text(limits.requests_per_min),
        text(limits.tokens_per_min),
        text(limits.concurrent),
        text(limits.budget.map(|budget| budget.amount.get())),
        text(limits.budget.map(|budget| budget.period.as_str())),
    ];
    let is_limited = packed.iter().any(|limit| limit != NONE);
    let models = || serde_json::to_string(&limits.models).ok();
    [
        ("limits", is_limited.then(|| packed.join(" "))),
        ("models", (!limits.models.is_empty()).then(models).flatten()),
    ]
}

/// Integers that a function packed, 64 bits each, lowest byte first. Nothing at all is all zero.
pub(super) fn numbers<const COUNT: usize>(packed: &[u8]) -> Result<[u64; COUNT], LedgerError> {
    if packed.is_empty() {
        return Ok([0; COUNT]);
    }
    let (numbers, rest) = packed.as_chunks::<8>();
    let numbers: Vec<_> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let numbers = numbers.try_into().ok().filter(|_| rest.is_empty());
    numbers.ok_or_else(|| damaged("a row of numbers"))
}

/// Numbers as the functions take several of them: what [`numbers`] reads.
pub(super) fn packed<const COUNT: usize>(numbers: [u64; COUNT]) -> Vec<u8> {
    numbers.map(u64::to_le_bytes).as_flattened().to_vec()
}

/// What is used of a key: the first numbers of it as the functions pack it.
fn packed_use(packed: &[u8]) -> Result<[u64; 14], LedgerError> {
    numbers(packed.get(..14 * 8).unwrap_or(packed))
}

/// When a hold expires, in Unix milliseconds.
pub(super) fn hold_expires_ms(packed: &[u8]) -> Result<u64, LedgerError> {
    let [_, _, _, _, expires_ms] = numbers(packed.get(..40).ok_or_else(|| damaged("a hold"))?)?;
    Ok(expires_ms)
}

/// All that was ever spent with a key.
pub(super) fn key_spent(packed: &[u8]) -> Result<Nano, LedgerError> {
    let [.., spent, _] = packed_use(packed)?;
    Ok(Nano::saturating(spent))
}

/// What is used of a key at a moment.
pub(super) fn key_use(row: &Row, packed: &[u8], now_ms: u64) -> Result<KeyUse, LedgerError> {
    let [
        holds,
        held,
        requests,
        requests_ms,
        tokens,
        tokens_ms,
        periods @ ..,
        _,
        _,
    ] = packed_use(packed)?;
    let limits = limits(row)?;
    let spent = key_spent(packed)?;
    let spending = spending(periods);
    let since = |period| spending.since(period, spent, now_ms);
    let rate =
        |used, at_ms, limit: Option<u64>| limit.map(|limit| Bucket::new(used, at_ms).at(limit, now_ms).rate(limit));
    Ok(KeyUse {
        spent,
        spent_day: since(Period::Day),
        spent_week: since(Period::Week),
        spent_month: since(Period::Month),
        held: Nano::saturating(held),
        holds,
        limits: RateState {
            requests: rate(requests, requests_ms, limits.requests_per_min.map(u64::from)),
            tokens: rate(tokens, tokens_ms, limits.tokens_per_min),
        },
    })
}

fn spending([day_ms, day, week_ms, week, month_ms, month]: [u64; 6]) -> Spending {
    let spent = |start_ms, amount| Spent {
        start_ms,
        amount: Nano::saturating(amount),
    };
    Spending {
        day: spent(day_ms, day),
        week: spent(week_ms, week),
        month: spent(month_ms, month),
    }
}

/// The columns that a new key has.
pub(super) fn key_columns(key: &KeyRecord) -> Vec<(&'static str, String)> {
    let mut columns = vec![
        ("account", key.account.to_string()),
        ("name", key.name.clone()),
        ("hint", key.hint.clone()),
        ("created_ms", key.created_ms.to_string()),
    ];
    columns.extend(key.expires_ms.map(|ms| ("expires_ms", ms.to_string())));
    columns.extend(key.revoked_ms.map(|ms| ("revoked_ms", ms.to_string())));
    let limits = limit_columns(&key.limits).into_iter();
    columns.extend(limits.filter_map(|(column, value)| Some((column, value?))));
    columns
}

/// Adds one shard's sums, what is held in it and its number of holds to `totals`.
pub(super) fn add_totals(totals: &mut Totals, row: &Row, held: Nano, holds: u64) -> Result<(), LedgerError> {
    let plus = |sum: &mut Nano, more: Nano| {
        *sum = sum
            .plus(more)
            .map_err(|_| LedgerError::TooLarge("the sum over all accounts"))?;
        Ok::<_, LedgerError>(())
    };
    let (deposited, spent) = (amount(row, "deposited")?, amount(row, "spent")?);
    let withdrawn = amount(row, "withdrawn")?;
    plus(&mut totals.deposited, deposited)?;
    plus(&mut totals.withdrawn, withdrawn)?;
    plus(&mut totals.held, held)?;
    plus(&mut totals.spent, spent)?;
    let [deposited, withdrawn, held, spent] = [deposited, withdrawn, held, spent].map(|sum| i128::from(sum.get()));
    let available = deposited
        .saturating_sub(withdrawn)
        .saturating_sub(held)
        .saturating_sub(spent);
    totals.available = totals.available.saturating_add(available);
    let mut earnings = BTreeMap::new();
    add_earnings(&mut earnings, row)?;
    for earned in earnings.into_values() {
        plus(&mut totals.fees, earned.fee)?;
        plus(&mut totals.earned, earned.earned)?;
    }
    totals.holds = totals.holds.saturating_add(holds);
    Ok(())
}

/// Adds one shard's earnings to those of the others.
pub(super) fn add_earnings(all: &mut BTreeMap<ProviderId, Earnings>, row: &Row) -> Result<(), LedgerError> {
    for (column, text) in row {
        // The other columns are the shard's sums.
        let Some((provider, part)) = column.rsplit_once(':') else {
            continue;
        };
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
