//! What the embedded ledger looks up on disk of what crossed its border: deposits, withdrawals, bookmarks, and what was
//! credited to nobody.

use redb::ReadableDatabase;

use super::store::{Store, StoreError, damaged};
use super::tables::{
    BOOKMARKS, DEPOSIT_ORDER, DEPOSITS, UNCREDITED, UNCREDITED_OF, WITHDRAWAL_IDS, WITHDRAWALS, WITHDRAWALS_OPEN,
};
use crate::id::AccountId;
use crate::ledger::{
    Cursor, Deposit, LedgerError, TRANSFERS_READ_MAX, UNCREDITED_OF_MAX, UNCREDITED_READ_MAX, Uncredited, Withdrawal,
};
use crate::money::Nano;

/// The number of the first row behind a place.
fn behind(after: Option<Cursor>) -> u64 {
    after.map_or(0, |after| after.major.saturating_add(1))
}

const fn place(major: u64) -> Cursor {
    Cursor { major, minor: 0 }
}

impl Store {
    /// An account's deposits behind `after`.
    pub(super) fn deposits(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Deposit)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let (order, deposits) = (txn.open_table(DEPOSIT_ORDER)?, txn.open_table(DEPOSITS)?);
            let range = (account.as_str(), behind(after))..=(account.as_str(), u64::MAX);
            let mut rows = Vec::new();
            for row in order.range(range)?.take(max.min(TRANSFERS_READ_MAX)) {
                let (at, id) = row?;
                let found = deposits.get((account.as_str(), id.value()))?.map(|row| {
                    let (amount, note, now_ms) = row.value();
                    (amount, note.to_owned(), now_ms)
                });
                rows.push((at.value().1, id.value().to_owned(), found));
            }
            Ok(rows)
        };
        let deposits = read()?.into_iter().map(|(number, id, found)| {
            let (amount, note, now_ms) = found.ok_or_else(|| damaged("a deposit"))?;
            let deposit = Deposit {
                id,
                account: account.clone(),
                amount: Nano::new(amount).map_err(|_| damaged("a deposit"))?,
                note,
                now_ms,
            };
            Ok((place(number), deposit))
        });
        deposits.collect()
    }

    /// One withdrawal.
    pub(super) fn withdrawal(&self, account: &AccountId, id: &str) -> Result<Option<Withdrawal>, LedgerError> {
        let read = || -> Result<_, StoreError> {
            let txn = self.0.begin_read()?;
            let number = txn.open_table(WITHDRAWAL_IDS)?.get((account.as_str(), id))?;
            let Some(number) = number.map(|number| number.value()) else {
                return Ok(None);
            };
            let json = txn.open_table(WITHDRAWALS)?.get((account.as_str(), number))?;
            Ok(json.map(|json| json.value().to_owned()))
        };
        read()?.map(|json| Withdrawal::read(json.as_bytes())).transpose()
    }

    /// An account's withdrawals behind `after`.
    pub(super) fn withdrawals(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Withdrawal)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let table = self.0.begin_read()?.open_table(WITHDRAWALS)?;
            let range = (account.as_str(), behind(after))..=(account.as_str(), u64::MAX);
            let mut rows = Vec::new();
            for row in table.range(range)?.take(max.min(TRANSFERS_READ_MAX)) {
                let (at, json) = row?;
                rows.push((at.value().1, json.value().to_owned()));
            }
            Ok(rows)
        };
        let withdrawals = read()?.into_iter();
        let withdrawals = withdrawals.map(|(number, json)| Ok((place(number), Withdrawal::read(json.as_bytes())?)));
        withdrawals.collect()
    }

    /// Withdrawals that wait to be paid, those asked for first first.
    pub(super) fn open_withdrawals(&self, max: usize) -> Result<Vec<Withdrawal>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let (open, withdrawals) = (txn.open_table(WITHDRAWALS_OPEN)?, txn.open_table(WITHDRAWALS)?);
            let mut rows = Vec::new();
            for row in open.range::<(u64, &str, u64)>(..)?.take(max) {
                let (at, ()) = (row?.0, ());
                let (_, account, number) = at.value();
                rows.push(withdrawals.get((account, number))?.map(|json| json.value().to_owned()));
            }
            Ok(rows)
        };
        let rows = read()?.into_iter();
        let withdrawals = rows.map(|json| Withdrawal::read(json.ok_or_else(|| damaged("a withdrawal"))?.as_bytes()));
        withdrawals.collect()
    }

    /// Where a reader has got to.
    pub(super) fn bookmark(&self, reader: &str) -> Result<Option<String>, LedgerError> {
        let read = || -> Result<_, StoreError> {
            let bookmark = self.0.begin_read()?.open_table(BOOKMARKS)?.get(reader)?;
            Ok(bookmark.map(|bookmark| bookmark.value().to_owned()))
        };
        Ok(read()?)
    }

    /// What was credited to nobody, behind `after`.
    pub(super) fn uncredited(
        &self,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Uncredited)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let table = self.0.begin_read()?.open_table(UNCREDITED)?;
            let mut rows = Vec::new();
            for row in table.range(behind(after)..)?.take(max.min(UNCREDITED_READ_MAX)) {
                let (number, json) = row?;
                rows.push((number.value(), json.value().to_owned()));
            }
            Ok(rows)
        };
        let transfers = read()?.into_iter();
        let transfers = transfers.map(|(number, json)| Ok((place(number), Uncredited::read(&json)?)));
        transfers.collect()
    }

    /// The last of them that named an account, the oldest first.
    pub(super) fn uncredited_of(&self, account: &AccountId) -> Result<Vec<Uncredited>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let (of, uncredited) = (txn.open_table(UNCREDITED_OF)?, txn.open_table(UNCREDITED)?);
            let own = of.range((account.as_str(), 0)..=(account.as_str(), u64::MAX))?;
            let mut rows = Vec::new();
            for row in own.rev().take(UNCREDITED_OF_MAX) {
                let number = row?.0.value().1;
                rows.extend(uncredited.get(number)?.map(|json| json.value().to_owned()));
            }
            rows.reverse();
            Ok(rows)
        };
        read()?.iter().map(|json| Uncredited::read(json)).collect()
    }
}
