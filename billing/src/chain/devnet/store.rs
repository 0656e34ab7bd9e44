//! The devnet's file. A block is written in one transaction, before anybody sees it: what was answered is there after a
//! crash, and half a block never is.

use std::path::Path;

use redb::{Database, DatabaseError, ReadableTable, ReadableTableMetadata, TableDefinition};
use tycho_types::cell::Cell;

use super::DevnetError;
use super::record::Record;
use super::state::{State, Waiting};
use crate::chain::cell::{read_cell, write_cell};

/// The file's name inside the devnet's folder.
const FILE: &str = "devnet.redb";
/// Transactions by their number.
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("transactions");
/// When each block was made, by its number.
const BLOCKS: TableDefinition<'_, u64, u32> = TableDefinition::new("blocks");
/// Messages between accounts that are not delivered, in order.
const QUEUE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("queue");
/// External messages that wait: the block they wait for, and the message.
const WAITING: TableDefinition<'_, u64, (u32, &[u8])> = TableDefinition::new("waiting");
/// Single figures by their name.
const FIGURES: TableDefinition<'_, &str, u64> = TableDefinition::new("figures");
/// The logical time of the last message.
const LT: &str = "lt";

pub(super) struct Store(Database);

impl Store {
    pub(super) fn open(dir: &Path) -> Result<Self, DevnetError> {
        let unusable = |error: &dyn std::fmt::Display| DevnetError::Folder(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(dir).map_err(|error| unusable(&error))?;
        match Database::create(dir.join(FILE)) {
            Ok(database) => Ok(Self(database)),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(unusable(&"another process uses it")),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Fills `state` with what is in the file. `false`: nothing is.
    pub(super) fn load(&self, state: &mut State) -> Result<bool, DevnetError> {
        let read = self.0.begin_write()?;
        {
            let figures = read.open_table(FIGURES)?;
            let Some(lt) = figures.get(LT)?.map(|lt| lt.value()) else {
                return Ok(false);
            };
            state.lt = lt;
            state.blocks.clear();
            for row in read.open_table(BLOCKS)?.iter()? {
                state.blocks.push(row?.1.value());
            }
            for row in read.open_table(RECORDS)?.iter()? {
                let record = Record::read(row?.1.value());
                state.append(record.ok_or_else(|| DevnetError::Damaged("a transaction".into()))?);
            }
            for row in read.open_table(QUEUE)?.iter()? {
                state.queue.push_back(message(row?.1.value())?);
            }
            for row in read.open_table(WAITING)?.iter()? {
                let row = row?.1;
                let (due, bytes) = row.value();
                let message = message(bytes)?;
                state.waiting.push(Waiting { due, message });
            }
        }
        read.abort()?;
        Ok(true)
    }

    /// Writes what is new in `state`.
    pub(super) fn save(&self, state: &State) -> Result<(), DevnetError> {
        let write = self.0.begin_write()?;
        {
            let mut records = write.open_table(RECORDS)?;
            let known = number(records.len()?);
            for (place, record) in state.history.iter().enumerate().skip(known) {
                records.insert(key(place), record.write()?.as_slice())?;
            }
            let mut blocks = write.open_table(BLOCKS)?;
            let known = number(blocks.len()?);
            for (place, time) in state.blocks.iter().enumerate().skip(known) {
                blocks.insert(key(place), time)?;
            }
            let mut queue = write.open_table(QUEUE)?;
            queue.retain(|_, _| false)?;
            for (place, message) in state.queue.iter().enumerate() {
                queue.insert(key(place), write_cell(message.as_ref()).as_slice())?;
            }
            let mut waiting = write.open_table(WAITING)?;
            waiting.retain(|_, _| false)?;
            for (place, one) in state.waiting.iter().enumerate() {
                let bytes = write_cell(one.message.as_ref());
                waiting.insert(key(place), (one.due, bytes.as_slice()))?;
            }
            write.open_table(FIGURES)?.insert(LT, state.lt)?;
        }
        Ok(write.commit()?)
    }
}

fn message(bytes: &[u8]) -> Result<Cell, DevnetError> {
    read_cell(bytes).map_err(|error| DevnetError::Damaged(error.to_string()))
}

fn key(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX)
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for DevnetError {
            fn from(error: $error) -> Self {
                Self::Folder(error.to_string())
            }
        }
    )*};
}

from_redb!(
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError
);
