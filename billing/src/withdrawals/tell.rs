//! Tells the ledger what stands in the books, entry by entry and in order.
//!
//! The ledger's bookmark says how far it was told, by an entry's number and hash. A step that comes again, or too late,
//! changes nothing; so several payers may tell it the same at any time.
//!
//! A ledger may lose the last of what it was told: a master of Redis died before its replicas had it. What it then asks to be
//! paid although it is in the books is told to it again, and is not paid again.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::books::{Batch, Books, Told};
use super::entry::{Due, Entry, What};
use super::{BadEntry, PayError, Payer};
use crate::hash::Hash;
use crate::ledger::{LedgerError, Withdrawal, WithdrawalState, WithdrawalStep};
use crate::objects::StoreError;
use crate::outbox::read_entry;

/// Withdrawals that the ledger is told about, or asked about, at a time.
pub(super) const TOLD_AT_ONCE: usize = 32;
/// How far the clocks of gateways and of the chain are apart, at most: a minute.
const CLOCKS_MS: u64 = 60_000;

impl Payer {
    /// The books up to the last entry in the store. The ledger was told all of it by then.
    pub(super) async fn read_books(&mut self, now_ms: u64) -> Result<Books, PayError> {
        let mut books = match self.books.take() {
            Some(books) => books,
            None => self.books_told().await?,
        };
        while let Some((entry, hash)) = self.read(books.next()).await? {
            let before = books.last().map(write_place);
            self.tell_all(&books.apply(entry, hash)?, now_ms).await?;
            let after = books.last().map(write_place).unwrap_or_default();
            // If it is elsewhere, another payer has moved it: it has told as much. A ledger that has lost where it was is
            // told from there, by whoever reads the books next.
            self.ledger
                .move_bookmark(&self.reader(), before.as_deref(), &after, &[])
                .await?;
        }
        Ok(books)
    }

    /// Tells the ledger again what became of what it asks for, if batches had it before. False if none had.
    pub(super) async fn retell(&self, books: &Books, asked: &[Withdrawal], now_ms: u64) -> Result<bool, PayError> {
        let Some(lost) = self.lost(books, asked).await? else {
            return Ok(false);
        };
        tracing::warn!("the ledger has lost what became of withdrawals: it is told again");
        let mut again = Books::from(lost, self.there(lost).await?.0.previous);
        while again.next() < books.next() {
            let (entry, hash) = self.there(again.next()).await?;
            self.tell_all(&again.apply(entry, hash)?, now_ms).await?;
        }
        Ok(true)
    }

    /// The first entry of the earliest batch that had something of what is asked for. Whatever is asked for was asked before
    /// it was taken, so no batch before that is looked at.
    async fn lost(&self, books: &Books, asked: &[Withdrawal]) -> Result<Option<u64>, PayError> {
        let oldest_ms = asked.iter().map(|one| one.asked_ms).min().unwrap_or(u64::MAX);
        let names: BTreeSet<_> = asked.iter().map(|one| (&one.account, &one.id)).collect();
        let (mut batch, mut lost) = (books.batch().map(Batch::number), None);
        while let Some(number) = batch {
            let entry = self.there(number).await?.0;
            if u64::from(entry.time).saturating_mul(1_000).saturating_add(CLOCKS_MS) < oldest_ms {
                break;
            }
            let What::Takes(takes) = entry.what else {
                let wrong = "a batch does not begin with it".to_owned();
                return Err(BadEntry { number, wrong }.into());
            };
            if takes.due.iter().any(|due| names.contains(&(&due.account, &due.id))) {
                lost = Some(number);
            }
            batch = match number.checked_sub(1) {
                Some(before) => Some(self.there(before).await?.0.round),
                None => None,
            };
        }
        Ok(lost)
    }

    async fn there(&self, number: u64) -> Result<(Entry, Hash), PayError> {
        Ok(self.read(number).await?.ok_or(StoreError::Missing(number))?)
    }

    async fn tell_all(&self, told: &[Told], now_ms: u64) -> Result<(), PayError> {
        let told = told.iter().map(|told| self.tell(told, now_ms));
        stream::iter(told.collect::<Vec<_>>())
            .buffer_unordered(TOLD_AT_ONCE)
            .try_collect::<()>()
            .await
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
        let (first, _) = self.there(last.round).await?;
        let mut books = Books::from(first.number, first.previous);
        while books.next() <= number {
            let next = books.next();
            let (entry, hash) = self.there(next).await?;
            books.apply(entry, hash)?;
        }
        Ok(books)
    }

    async fn read(&self, number: u64) -> Result<Option<(Entry, Hash)>, PayError> {
        Ok(read_entry(&self.journal, number).await?)
    }

    async fn tell(&self, (due, step): &Told, now_ms: u64) -> Result<(), PayError> {
        if self.take_step(due, step, now_ms).await? {
            return Ok(());
        }
        let found = self.ledger.withdrawal(&due.account, &due.id).await?;
        let found = found.ok_or_else(|| self.unknown(&due.account, &due.id))?;
        let (WithdrawalStep::Paid { reference, .. }
        | WithdrawalStep::Returned {
            reference: Some(reference),
            ..
        }) = step
        else {
            // It is in this batch already, or was given back before it was taken, and stays out.
            return Ok(());
        };
        if found.state == WithdrawalState::Asked {
            // It has lost that the batch has it.
            let reference = reference.clone();
            self.take_step(due, &WithdrawalStep::Sent { reference }, now_ms).await?;
            self.take_step(due, step, now_ms).await?;
        } else if matches!(step, WithdrawalStep::Paid { .. }) && found.state.reference() != Some(reference) {
            tracing::error!(
                account = %due.account,
                id = due.id,
                amount = %due.amount,
                state = ?found.state,
                "a withdrawal was paid, and the ledger, which has lost that, says something else: the caller may have it twice"
            );
        }
        Ok(())
    }

    /// False if the withdrawal does not stand where the step begins.
    async fn take_step(&self, due: &Due, step: &WithdrawalStep, now_ms: u64) -> Result<bool, PayError> {
        match self.ledger.step_withdrawal(&due.account, &due.id, step, now_ms).await {
            Ok(Some(_)) => Ok(true),
            Err(LedgerError::OutOfTurn(_)) => Ok(false),
            Ok(None) => Err(self.unknown(&due.account, &due.id)),
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
