//! Tells the ledger what stands in the books, entry by entry and in order.
//!
//! The ledger's bookmark says how far it was told, by an entry's number and hash. A step that comes again, or too late,
//! changes nothing; so several payers may tell it the same at any time.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::books::{Books, Told};
use super::entry::Entry;
use super::{PayError, Payer};
use crate::hash::Hash;
use crate::ledger::LedgerError;
use crate::objects::StoreError;
use crate::outbox::read_entry;

/// Withdrawals that the ledger is told about, or asked about, at a time.
pub(super) const TOLD_AT_ONCE: usize = 32;

impl Payer {
    /// The books up to the last entry in the store. The ledger was told all of it by then.
    pub(super) async fn read_books(&mut self, now_ms: u64) -> Result<Books, PayError> {
        let mut books = match self.books.take() {
            Some(books) => books,
            None => self.books_told().await?,
        };
        while let Some((entry, hash)) = self.read(books.next()).await? {
            let before = books.last().map(write_place);
            for told in books.apply(entry, hash)?.chunks(TOLD_AT_ONCE) {
                let told = told.iter().map(|told| self.tell(told, now_ms));
                stream::iter(told.collect::<Vec<_>>())
                    .buffer_unordered(TOLD_AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
            let after = books.last().map(write_place).unwrap_or_default();
            // If it is elsewhere, another payer has moved it: it has told as much.
            self.ledger
                .move_bookmark(&self.reader(), before.as_deref(), &after, &[])
                .await?;
        }
        Ok(books)
    }

    /// The books as far as the ledger was told.
    async fn books_told(&self) -> Result<Books, PayError> {
        let Some(place) = self.ledger.bookmark(&self.reader()).await? else {
            return Ok(Books::default());
        };
        let damaged = || LedgerError::Damaged(format!("`{place}` is no place in the books of withdrawals"));
        let (number, hash) = read_place(&place).ok_or_else(damaged)?;
        let last = self.read(number).await?.filter(|(_, found)| *found == hash);
        let (last, _) = last.ok_or_else(|| PayError::OtherBooks(place))?;
        let (first, _) = self.read(last.round).await?.ok_or(StoreError::Missing(last.round))?;
        let mut books = Books::from(first.number, first.previous);
        while books.next() <= number {
            let next = books.next();
            let (entry, hash) = self.read(next).await?.ok_or(StoreError::Missing(next))?;
            books.apply(entry, hash)?;
        }
        Ok(books)
    }

    async fn read(&self, number: u64) -> Result<Option<(Entry, Hash)>, PayError> {
        Ok(read_entry(&self.journal, number).await?)
    }

    async fn tell(&self, (due, step): &Told, now_ms: u64) -> Result<(), PayError> {
        let (account, id) = (&due.account, &due.id);
        match self.ledger.step_withdrawal(account, id, step, now_ms).await {
            // Out of its turn: it was told before, and more. Or it was given back before it was taken, and stays out.
            Ok(Some(_)) | Err(LedgerError::OutOfTurn(_)) => Ok(()),
            Ok(None) => Err(self.unknown(account, id)),
            Err(error) => Err(error.into()),
        }
    }
}

/// A place as the bookmark has it: `47:` and 64 hex digits.
fn write_place((number, hash): (u64, Hash)) -> String {
    format!("{number}:{hash}")
}

fn read_place(text: &str) -> Option<(u64, Hash)> {
    let (number, hash) = text.split_once(':')?;
    Some((number.parse().ok()?, Hash::parse(hash)?))
}
