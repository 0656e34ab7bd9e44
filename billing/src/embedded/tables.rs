//! The tables of the embedded ledger, and one transaction over them. What an entry writes is in `posts`, `people` and
//! `transfers`.
//!
//! Hot columns (balances, earnings, what a key spent) are fixed-width numbers; a record is its JSON, stored once.
//! A row is written once per transaction, however many entries touch it. Whether an entry is new is decided here, by
//! what is on disk.

mod people;
mod posts;
mod transfers;

use std::collections::HashMap;
use std::collections::hash_map::Entry as Row;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::store::StoreError;
use crate::calendar::Day;
use crate::id::{AccountId, KeyId, ProviderId};
use crate::ledger::{LedgerError, Totals, UsageSums};
use crate::limits::{Spending, Spent};
use crate::money::Nano;

/// Account → (name, created in Unix milliseconds).
pub(super) const ACCOUNTS: TableDefinition<&str, (&str, u64)> = TableDefinition::new("accounts");
/// Account → (deposited, spent) in nano.
pub(super) const BALANCES: TableDefinition<&str, (u64, u64)> = TableDefinition::new("balances");
/// (Account, deposit id) → (nano, note, when in Unix milliseconds).
pub(super) const DEPOSITS: TableDefinition<(&str, &str), (u64, &str, u64)> = TableDefinition::new("deposits");
/// Key → (its record in JSON, hash of the secret).
pub(super) const KEYS: TableDefinition<&str, (&[u8], [u8; 32])> = TableDefinition::new("keys");
/// Hash of the secret → key.
pub(super) const HASHES: TableDefinition<[u8; 32], &str> = TableDefinition::new("hashes");
/// Key → spent in nano.
pub(super) const KEY_SPENT: TableDefinition<&str, u64> = TableDefinition::new("key_spent");
/// Key → what it spent in a day, a week and a month: each as (its first moment in Unix milliseconds, nano).
pub(super) const KEY_PERIODS: TableDefinition<&str, Periods> = TableDefinition::new("key_periods");
/// Provider → (fee, earned) in nano.
pub(super) const EARNINGS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("earnings");
/// Number of a segment → its records in JSON, one after the other: over all segments, the order of posting.
///
/// Segments instead of single records halve the pages to write, and the stream can be read and trimmed from its start.
pub(super) const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// (Call, account) → where its record is and what it cost. Calls sort by time, so new rows land side by side.
pub(super) const CALLS: TableDefinition<(u128, &str), Place> = TableDefinition::new("calls");

/// (Account, day, key, model) → calls, four kinds of tokens, nano.
pub(super) const USAGE: TableDefinition<(&str, u32, &str, &str), [u64; 6]> = TableDefinition::new("usage");
/// Number → an audit entry in JSON.
pub(super) const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit");
/// Provider → what operators have said of it.
pub(super) const ADMISSIONS: TableDefinition<&str, &str> = TableDefinition::new("admissions");
/// Provider → where it is to be paid, in the words of whoever wrote it.
pub(super) const PAYOUT_NAMES: TableDefinition<&str, &str> = TableDefinition::new("payout_names");
/// [`TRIMMED`] → the last (segment, first byte) whose record was trimmed.
pub(super) const PLACES: TableDefinition<&str, (u64, u64)> = TableDefinition::new("places");
/// The row of [`PLACES`].
pub(super) const TRIMMED: &str = "trimmed";

/// (Account, number) → the id of a deposit: the order in which they were made.
pub(super) const DEPOSIT_ORDER: TableDefinition<(&str, u64), &str> = TableDefinition::new("deposit_order");
/// Account → withdrawn in nano.
pub(super) const WITHDRAWN: TableDefinition<&str, u64> = TableDefinition::new("withdrawn");
/// (Account, number) → a withdrawal in JSON, in the order of asking.
pub(super) const WITHDRAWALS: TableDefinition<(&str, u64), &str> = TableDefinition::new("withdrawals");
/// (Account, withdrawal's id) → its number.
pub(super) const WITHDRAWAL_IDS: TableDefinition<(&str, &str), u64> = TableDefinition::new("withdrawal_ids");
/// (When it was asked for in Unix milliseconds, account, number) of a withdrawal that waits to be paid.
pub(super) const WITHDRAWALS_OPEN: TableDefinition<(u64, &str, u64), ()> = TableDefinition::new("withdrawals_open");
/// Reader of something outside → where it has got to.
pub(super) const BOOKMARKS: TableDefinition<&str, &str> = TableDefinition::new("bookmarks");
/// Number → a transfer that was credited to nobody, in JSON.
pub(super) const UNCREDITED: TableDefinition<u64, &[u8]> = TableDefinition::new("uncredited");

/// (Account, number) of a transfer in [`UNCREDITED`] that names the account.
pub(super) const UNCREDITED_OF: TableDefinition<(&str, u64), ()> = TableDefinition::new("uncredited_of");

/// Three periods: (first moment, nano) each.
pub(super) type Periods = (u64, u64, u64, u64, u64, u64);

/// (Segment in [`RECORDS`], first byte, length in bytes, cost in nano).
pub(super) type Place = (u64, u64, u64, u64);

/// Longest segment, in bytes. redb stores a large value in a power of two of pages; this just fits 32 KiB.
const SEGMENT_BYTES_MAX: usize = (32 << 10) - 256;

/// The tables of one transaction, and the rows it has changed so far.
pub(super) struct Tables<'t> {
    /// For tables that few transactions touch.
    txn: &'t WriteTransaction,
    accounts: Table<'t, &'static str, (&'static str, u64)>,
    balances: Table<'t, &'static str, (u64, u64)>,
    deposits: Table<'t, (&'static str, &'static str), (u64, &'static str, u64)>,
    keys: Table<'t, &'static str, (&'static [u8], [u8; 32])>,
    hashes: Table<'t, [u8; 32], &'static str>,
    key_spent: Table<'t, &'static str, u64>,
    key_periods: Table<'t, &'static str, Periods>,
    usage: Table<'t, (&'static str, u32, &'static str, &'static str), [u64; 6]>,
    audit: Table<'t, u64, &'static [u8]>,
    admissions: Table<'t, &'static str, &'static str>,
    places: Table<'t, &'static str, (u64, u64)>,
    earnings: Table<'t, &'static str, (u64, u64)>,
    calls: Table<'t, (u128, &'static str), Place>,
    records: Table<'t, u64, &'static [u8]>,
    changed: Changed,
}

/// Sums of this transaction, written when it ends.
struct Changed {
    deposited: Nano,
    spent: Nano,
    segment: u64,
    records: Vec<u8>,
    balances: HashMap<AccountId, (u64, u64)>,
    key_spent: HashMap<KeyId, u64>,
    key_periods: HashMap<KeyId, Spending>,
    usage: HashMap<(AccountId, Day, KeyId, String), UsageSums>,
    earnings: HashMap<ProviderId, (u64, u64)>,
}

/// What came of an entry: whether it was new, or why it is refused.
pub(super) type Entered<T> = Result<Result<T, LedgerError>, StoreError>;

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, totals: &Totals) -> Result<Self, StoreError> {
        let records = txn.open_table(RECORDS)?;
        let places = txn.open_table(PLACES)?;
        let last = records.last()?.map(|(segment, _)| segment.value());
        // Segments that were trimmed away have used up their numbers.
        let last = last.max(places.get(TRIMMED)?.map(|place| place.value().0));
        Ok(Self {
            txn,
            accounts: txn.open_table(ACCOUNTS)?,
            balances: txn.open_table(BALANCES)?,
            deposits: txn.open_table(DEPOSITS)?,
            keys: txn.open_table(KEYS)?,
            hashes: txn.open_table(HASHES)?,
            key_spent: txn.open_table(KEY_SPENT)?,
            key_periods: txn.open_table(KEY_PERIODS)?,
            usage: txn.open_table(USAGE)?,
            audit: txn.open_table(AUDIT)?,
            admissions: txn.open_table(ADMISSIONS)?,
            places,
            earnings: txn.open_table(EARNINGS)?,
            calls: txn.open_table(CALLS)?,
            records,
            changed: Changed {
                deposited: totals.deposited,
                spent: totals.spent,
                segment: last.map_or(0, |last| last.saturating_add(1)),
                records: Vec::new(),
                balances: HashMap::new(),
                key_spent: HashMap::new(),
                key_periods: HashMap::new(),
                usage: HashMap::new(),
                earnings: HashMap::new(),
            },
        })
    }

    /// Makes the tables that [`Tables::open`] leaves closed.
    pub(super) fn make_others(&self) -> Result<(), StoreError> {
        self.txn.open_table(DEPOSIT_ORDER)?;
        self.txn.open_table(WITHDRAWN)?;
        self.txn.open_table(WITHDRAWALS)?;
        self.txn.open_table(WITHDRAWAL_IDS)?;
        self.txn.open_table(WITHDRAWALS_OPEN)?;
        self.txn.open_table(BOOKMARKS)?;
        self.txn.open_table(UNCREDITED)?;
        self.txn.open_table(UNCREDITED_OF)?;
        self.txn.open_table(PAYOUT_NAMES)?;
        Ok(())
    }

    /// Writes the records gathered so far, if any, and begins another segment.
    fn end_segment(&mut self) -> Result<(), StoreError> {
        if !self.changed.records.is_empty() {
            self.records
                .insert(self.changed.segment, self.changed.records.as_slice())?;
            self.changed.records.clear();
            self.changed.segment = self.changed.segment.saturating_add(1);
        }
        Ok(())
    }

    /// Writes the sums. Whoever opened the transaction commits it.
    pub(super) fn flush(mut self) -> Result<(), StoreError> {
        self.end_segment()?;
        for (account, balance) in &self.changed.balances {
            self.balances.insert(account.as_str(), balance)?;
        }
        for (key, spent) in &self.changed.key_spent {
            self.key_spent.insert(key.as_str(), spent)?;
        }
        for (key, spending) in &self.changed.key_periods {
            self.key_periods.insert(key.as_str(), periods(spending))?;
        }
        for ((account, day, key, model), sums) in &self.changed.usage {
            let row = (account.as_str(), day.number(), key.as_str(), model.as_str());
            self.usage.insert(row, sums.numbers())?;
        }
        for (provider, sums) in &self.changed.earnings {
            self.earnings.insert(provider.as_str(), sums)?;
        }
        Ok(())
    }
}

/// The account's (deposited, spent) in this transaction.
fn balance<'c>(
    changed: &'c mut Changed,
    stored: &Table<'_, &'static str, (u64, u64)>,
    account: &AccountId,
) -> Result<&'c mut (u64, u64), StoreError> {
    match changed.balances.entry(account.clone()) {
        Row::Occupied(row) => Ok(row.into_mut()),
        Row::Vacant(row) => {
            let stored = stored.get(account.as_str())?;
            Ok(row.insert(stored.map(|balance| balance.value()).unwrap_or_default()))
        }
    }
}

/// What a key spent in its periods, as it is stored.
fn periods(Spending { day, week, month }: &Spending) -> Periods {
    let [day, week, month] = [day, week, month].map(|spent| (spent.start_ms, spent.amount.get()));
    (day.0, day.1, week.0, week.1, month.0, month.1)
}

/// What was stored of a key's periods.
pub(super) fn spending((day_ms, day, week_ms, week, month_ms, month): Periods) -> Spending {
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
