//! What one transaction of the embedded ledger writes, entry by entry.
//!
//! Hot columns (balances, earnings, what a key spent) are fixed-width numbers; a record is its JSON, stored once.
//! A row is written once per transaction, however many entries touch it. Whether an entry is new is decided here, by
//! what is on disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Row;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::entry::PostEntry;
use super::store::{StoreError, damaged};
use crate::id::{AccountId, KeyId, ProviderId};
use crate::key::{KeyHash, KeyRecord};
use crate::ledger::{Deposit, LedgerError, Totals};
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
/// Provider → (fee, earned) in nano.
pub(super) const EARNINGS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("earnings");
/// Number of a segment → its records in JSON, one after the other: over all segments, the order of posting.
///
/// Segments instead of single records halve the pages to write, and the stream can be read and trimmed from its start.
pub(super) const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
/// (Call, account) → where its record is and what it cost. Calls sort by time, so new rows land side by side.
pub(super) const CALLS: TableDefinition<(u128, &str), Place> = TableDefinition::new("calls");

/// (Segment in [`RECORDS`], first byte, length in bytes, cost in nano).
pub(super) type Place = (u64, u64, u64, u64);

/// Longest segment, in bytes. redb stores a large value in a power of two of pages; this just fits 32 KiB.
const SEGMENT_BYTES_MAX: usize = (32 << 10) - 256;

/// The tables of one transaction, and the rows it has changed so far.
pub(super) struct Tables<'t> {
    accounts: Table<'t, &'static str, (&'static str, u64)>,
    balances: Table<'t, &'static str, (u64, u64)>,
    deposits: Table<'t, (&'static str, &'static str), (u64, &'static str, u64)>,
    keys: Table<'t, &'static str, (&'static [u8], [u8; 32])>,
    hashes: Table<'t, [u8; 32], &'static str>,
    key_spent: Table<'t, &'static str, u64>,
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
    earnings: HashMap<ProviderId, (u64, u64)>,
}

/// What came of an entry: whether it was new, or why it is refused.
pub(super) type Entered<T> = Result<Result<T, LedgerError>, StoreError>;

impl<'t> Tables<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, totals: &Totals) -> Result<Self, StoreError> {
        let records = txn.open_table(RECORDS)?;
        let last = records.last()?.map(|(segment, _)| segment.value());
        Ok(Self {
            accounts: txn.open_table(ACCOUNTS)?,
            balances: txn.open_table(BALANCES)?,
            deposits: txn.open_table(DEPOSITS)?,
            keys: txn.open_table(KEYS)?,
            hashes: txn.open_table(HASHES)?,
            key_spent: txn.open_table(KEY_SPENT)?,
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
                earnings: HashMap::new(),
            },
        })
    }

    /// Writes a record, unless the call has one. Returns (fresh, charged).
    pub(super) fn post(&mut self, post: &PostEntry) -> Entered<(bool, Nano)> {
        let Ok(spent) = self.changed.spent.plus(post.cost) else {
            return Ok(Err(LedgerError::TooLarge("the sum of all costs")));
        };
        if self.changed.records.len().saturating_add(post.json.len()) > SEGMENT_BYTES_MAX {
            self.end_segment()?;
        }
        let at = (post.call.number(), post.account.as_str());
        let lengths = [self.changed.records.len(), post.json.len()].map(u64::try_from);
        let [Ok(from), Ok(length)] = lengths else {
            return Ok(Err(LedgerError::TooLarge("the record")));
        };
        let place = (self.changed.segment, from, length, post.cost.get());
        let earlier = self.calls.insert(at, place)?.map(|earlier| earlier.value());
        if let Some(earlier) = earlier {
            // Posted before, which is rare: the first record stands.
            self.calls.insert(at, earlier)?;
            return Ok(Ok((false, Nano::saturating(earlier.3))));
        }
        self.changed.records.extend_from_slice(&post.json);
        self.changed.spent = spent;
        let cost = post.cost.get();
        let balance = balance(&mut self.changed, &self.balances, &post.account)?;
        balance.1 = balance.1.saturating_add(cost);
        let key_spent = match self.changed.key_spent.entry(post.key.clone()) {
            Row::Occupied(row) => row.into_mut(),
            Row::Vacant(row) => {
                let stored = self.key_spent.get(post.key.as_str())?;
                row.insert(stored.map(|spent| spent.value()).unwrap_or_default())
            }
        };
        *key_spent = key_spent.saturating_add(cost);
        for (provider, part) in &post.parts {
            let sums = match self.changed.earnings.entry(provider.clone()) {
                Row::Occupied(row) => row.into_mut(),
                Row::Vacant(row) => {
                    let stored = self.earnings.get(provider.as_str())?;
                    row.insert(stored.map(|sums| sums.value()).unwrap_or_default())
                }
            };
            *sums = (
                sums.0.saturating_add(part.fee.get()),
                sums.1.saturating_add(part.earned.get()),
            );
        }
        Ok(Ok((true, post.cost)))
    }

    /// Writes a deposit, unless its id is known. Returns whether it was new.
    pub(super) fn deposit(&mut self, deposit: &Deposit) -> Entered<bool> {
        let Deposit {
            id,
            account,
            amount,
            note,
            now_ms,
        } = deposit;
        if self.accounts.get(account.as_str())?.is_none() {
            return Ok(Err(LedgerError::UnknownAccount(account.clone())));
        }
        if self.deposits.get((account.as_str(), id.as_str()))?.is_some() {
            return Ok(Ok(false));
        }
        let Ok(deposited) = self.changed.deposited.plus(*amount) else {
            return Ok(Err(LedgerError::TooLarge("the sum of all deposits")));
        };
        self.changed.deposited = deposited;
        self.deposits
            .insert((account.as_str(), id.as_str()), (amount.get(), note.as_str(), *now_ms))?;
        let balance = balance(&mut self.changed, &self.balances, account)?;
        balance.0 = balance.0.saturating_add(amount.get());
        Ok(Ok(true))
    }

    /// Writes an account, unless it exists. Returns whether it was new.
    pub(super) fn account(&mut self, id: &AccountId, name: &str, created_ms: u64) -> Entered<bool> {
        if self.accounts.get(id.as_str())?.is_some() {
            return Ok(Ok(false));
        }
        self.accounts.insert(id.as_str(), (name, created_ms))?;
        Ok(Ok(true))
    }

    /// Writes a key, unless it exists. Returns whether it was new.
    pub(super) fn key(&mut self, record: &KeyRecord, hash: &KeyHash) -> Entered<bool> {
        if self.accounts.get(record.account.as_str())?.is_none() {
            return Ok(Err(LedgerError::UnknownAccount(record.account.clone())));
        }
        let id = record.id.as_str();
        let owner = self.hashes.get(*hash.as_bytes())?.map(|key| key.value().to_owned());
        if owner.as_deref() == Some(id) {
            return Ok(Ok(false));
        }
        if owner.is_some() || self.keys.get(id)?.is_some() {
            return Ok(Err(LedgerError::Conflict(format!("key {id}"))));
        }
        let Ok(json) = serde_json::to_vec(record) else {
            return Ok(Err(damaged("the key")));
        };
        self.keys.insert(id, (json.as_slice(), *hash.as_bytes()))?;
        self.hashes.insert(*hash.as_bytes(), id)?;
        Ok(Ok(true))
    }

    /// Writes when a key was revoked, unless it was. Returns whether this was new.
    pub(super) fn revoke(&mut self, key: &KeyId, revoked_ms: u64) -> Entered<bool> {
        let stored = self
            .keys
            .get(key.as_str())?
            .map(|row| (row.value().0.to_owned(), row.value().1));
        let Some((json, hash)) = stored else {
            return Ok(Ok(false));
        };
        let Ok(mut record) = serde_json::from_slice::<KeyRecord>(&json) else {
            return Ok(Err(damaged("a key")));
        };
        if record.revoked_ms.is_some() {
            return Ok(Ok(false));
        }
        record.revoked_ms = Some(revoked_ms);
        let Ok(json) = serde_json::to_vec(&record) else {
            return Ok(Err(damaged("the key")));
        };
        self.keys.insert(key.as_str(), (json.as_slice(), hash))?;
        Ok(Ok(true))
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
