//! The embedded ledger's file: opens and locks it, and reads it at the start. What a transaction writes is in `tables`,
//! what is looked up later in `reading`; nothing else knows redb.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError};

use super::keys::KeyState;
use super::state::Earned;
use super::tables::{ACCOUNTS, BALANCES, EARNINGS, KEY_PERIODS, KEY_SPENT, KEYS, Tables, WITHDRAWN, spending};
use crate::id::{AccountId, ProviderId};
use crate::key::{KeyHash, KeyRecord};
use crate::ledger::{Account, LedgerError, Totals};
use crate::money::Nano;

/// The file's name inside the ledger's folder.
const FILE: &str = "ledger.redb";
/// Pages kept in memory, in bytes: enough for the upper levels of the trees and the newest records.
const CACHE_BYTES: usize = 32 << 20;

/// What a start finds on disk.
pub(super) struct Durable {
    pub(super) accounts: Vec<Account>,
    pub(super) keys: Vec<(KeyHash, KeyState)>,
    pub(super) earnings: Vec<(ProviderId, Earned)>,
}

/// The open file.
pub(super) struct Store(pub(super) Database);

/// Why a transaction came to nothing: the disk's reason, worded for the operator.
#[derive(Debug)]
pub(super) struct StoreError(String);

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.0)
    }
}

/// Something stored is not what this program wrote.
pub(super) fn damaged(what: &str) -> LedgerError {
    LedgerError::Damaged(format!("{what} cannot be read"))
}

/// Whether the file is not one that redb wrote, as opposed to one that cannot be opened now.
fn is_damage(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::UpgradeRequired(_) | DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

impl Store {
    /// Opens or makes the file in `dir`, and locks it.
    pub(super) fn open(dir: &Path) -> Result<Self, LedgerError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| {
            LedgerError::Unavailable(format!("the folder {} cannot be made: {error}", dir.display()))
        })?;
        let file = dir.join(FILE);
        let about = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        // Made here so that others cannot read it, whoever made the folder.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(&file);
        made.map_err(|error| LedgerError::Unavailable(about(&error)))?;
        match Database::builder().set_cache_size(CACHE_BYTES).create(&file) {
            Ok(db) => Self::new(db),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(LedgerError::InUse(dir.display().to_string())),
            Err(error) if is_damage(&error) => Err(LedgerError::Damaged(about(&error))),
            Err(error) => Err(LedgerError::Unavailable(about(&error))),
        }
    }

    /// The store in an open file, with all its tables.
    pub(super) fn new(db: Database) -> Result<Self, LedgerError> {
        let store = Self(db);
        store.make_tables()?;
        Ok(store)
    }

    fn make_tables(&self) -> Result<(), StoreError> {
        let txn = self.0.begin_write()?;
        Tables::open(&txn, &Totals::default())?.make_others()?;
        Ok(txn.commit()?)
    }

    /// Reads everything that is kept in memory.
    pub(super) fn load(&self) -> Result<Durable, LedgerError> {
        Ok(Durable {
            accounts: self.load_accounts()?,
            keys: self.load_keys()?,
            earnings: self.load_earnings()?,
        })
    }

    fn load_accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let (names, balances) = (txn.open_table(ACCOUNTS)?, txn.open_table(BALANCES)?);
            let withdrawn = txn.open_table(WITHDRAWN)?;
            let mut rows = Vec::new();
            for row in names.iter()? {
                let (id, about) = row?;
                let (name, created_ms) = about.value();
                let balance = balances.get(id.value())?.map(|balance| balance.value());
                let withdrawn = withdrawn.get(id.value())?.map(|sum| sum.value());
                rows.push((
                    id.value().to_owned(),
                    name.to_owned(),
                    created_ms,
                    balance.unwrap_or_default(),
                    withdrawn.unwrap_or_default(),
                ));
            }
            Ok(rows)
        };
        type Row = (String, String, u64, (u64, u64), u64);
        let account = |(id, name, created_ms, (deposited, spent), withdrawn): Row| {
            let deposited = Nano::new(deposited).ok()?;
            let spent = Nano::new(spent).ok()?;
            let withdrawn = Nano::new(withdrawn).ok()?;
            let left = deposited.signed().checked_sub(spent.signed())?;
            let available = left.checked_sub(withdrawn.signed())?;
            let id = AccountId::parse(&id).ok()?;
            Some(Account {
                id,
                name,
                created_ms,
                deposited,
                withdrawn,
                available,
                held: Nano::ZERO,
                spent,
            })
        };
        read()?
            .into_iter()
            .map(|row| account(row).ok_or_else(|| damaged("an account")))
            .collect()
    }

    fn load_keys(&self) -> Result<Vec<(KeyHash, KeyState)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let (keys, spent) = (txn.open_table(KEYS)?, txn.open_table(KEY_SPENT)?);
            let periods = txn.open_table(KEY_PERIODS)?;
            let mut rows = Vec::new();
            for row in keys.iter()? {
                let (id, about) = row?;
                let (json, hash) = about.value();
                let spent = spent.get(id.value())?.map(|spent| spent.value());
                let periods = periods.get(id.value())?.map(|periods| spending(periods.value()));
                rows.push((
                    serde_json::from_slice::<KeyRecord>(json),
                    hash,
                    spent.unwrap_or_default(),
                    periods.unwrap_or_default(),
                ));
            }
            Ok(rows)
        };
        let keys = read()?.into_iter().map(|(record, hash, spent, periods)| {
            let record = record.map_err(|_| damaged("a key"))?;
            let spent = Nano::new(spent).map_err(|_| damaged("a key"))?;
            Ok((KeyHash::from_bytes(hash), KeyState::new(record, spent, periods)))
        });
        keys.collect()
    }

    fn load_earnings(&self) -> Result<Vec<(ProviderId, Earned)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let table = txn.open_table(EARNINGS)?;
            let rows = table
                .iter()?
                .map(|row| row.map(|(id, sums)| (id.value().to_owned(), sums.value())));
            Ok(rows.collect::<Result<_, _>>()?)
        };
        let earned = |(id, (fee, earned)): (String, (u64, u64))| {
            let earned = Earned {
                fee: Nano::new(fee).ok()?,
                earned: Nano::new(earned).ok()?,
            };
            Some((ProviderId::parse(&id).ok()?, earned))
        };
        read()?
            .into_iter()
            .map(|row| earned(row).ok_or_else(|| damaged("a provider's earnings")))
            .collect()
    }

    /// Does `work` in one transaction, which is on disk when this returns. `totals` are those before it.
    pub(super) fn write<R>(
        &self,
        totals: &Totals,
        work: impl FnOnce(&mut Tables<'_>) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let txn = self.0.begin_write()?;
        let mut tables = Tables::open(&txn, totals)?;
        let result = work(&mut tables)?;
        tables.flush()?;
        txn.commit()?;
        Ok(result)
    }
}
