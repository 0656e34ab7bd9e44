//! Deposits: reads what arrived at the operator's address and credits whom the comment names, once each.
//!
//! Decides who is credited, and what is told of a transfer that credits nobody. Where reading stands is in the ledger, as
//! a bookmark: it moves in the same step in which the transfers credited to nobody are written down, and only from where
//! it was read. So whatever is stopped, repeated or run twice, a transfer is credited once and reported once.

mod invoice;
mod judge;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::invoice::{BadInvoice, Invoice, LINK_SCHEME, payment_link};
use self::judge::{Verdict, is_late, judge};
use crate::chain::{Address, Chain, ChainError, PAGE_MAX, Position, Transaction};
use crate::hash::Hash;
use crate::ledger::{Deposit, Ledger, LedgerError, Uncredited, WhyUncredited};
use crate::money::Nano;

/// What is watched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DepositSettings {
    /// Where deposits arrive.
    pub address: Address,
    /// The least that is credited: below it a transfer is dust.
    pub minimum: Nano,
}

/// Reads one address and credits what arrives there.
pub struct Watcher {
    chain: Arc<dyn Chain>,
    ledger: Arc<dyn Ledger>,
    settings: DepositSettings,
    /// Where the bookmark was when it was last read or moved.
    known: Option<Position>,
}

/// What one step did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Watched {
    /// Transactions read. When it is none, there is nothing new.
    pub transactions: usize,
    /// Deposits credited by this step.
    pub credited: u64,
    /// Their sum.
    pub amount: Nano,
    /// Those of them that were late.
    pub late: u64,
    /// Transfers that were credited to nobody.
    pub uncredited: Vec<Uncredited>,
    /// Whether another watcher has moved the bookmark meanwhile: what it read is what counts.
    pub overtaken: bool,
}

/// Why a step failed. The next one begins where this one did.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WatchError {
    /// The chain gave no answer, or none that can be right.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The ledger did not take a step.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Watcher {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(chain: Arc<dyn Chain>, ledger: Arc<dyn Ledger>, settings: DepositSettings) -> Self {
        Self {
            chain,
            ledger,
            settings,
            known: None,
        }
    }

    /// The bookmark's name in the ledger: every address has its own.
    fn reader(&self) -> String {
        format!("deposits:{}", self.settings.address)
    }

    /// Reads some transactions behind the bookmark and credits what they brought.
    ///
    /// # Errors
    /// [`WatchError`]; some deposits may have been credited by then, and will not be again.
    pub async fn step(&mut self, now_ms: u64) -> Result<Watched, WatchError> {
        let from = match self.known {
            Some(known) => known,
            None => self.bookmark().await?,
        };
        let address = self.settings.address;
        let page = self.chain.transactions(address, from, PAGE_MAX).await?;
        check(address, from, &page)?;
        self.known = Some(from);
        let Some(last) = page.last() else {
            return Ok(Watched::default());
        };
        let mut watched = Watched {
            transactions: page.len(),
            ..Watched::default()
        };
        for transaction in &page {
            self.take(transaction, now_ms, &mut watched).await?;
        }
        watched.overtaken = !self.turn_page(from, last.at, &watched.uncredited).await?;
        Ok(watched)
    }

    async fn bookmark(&self) -> Result<Position, WatchError> {
        let bookmark = self.ledger.bookmark(&self.reader()).await?;
        let Some(text) = bookmark else {
            return Ok(Position::START);
        };
        let damaged = || LedgerError::Damaged(format!("`{text}` is no place in a history"));
        Ok(read_position(&text).ok_or_else(damaged)?)
    }

    /// Moves the bookmark; false if it was not where this watcher had found it.
    async fn turn_page(&mut self, from: Position, to: Position, found: &[Uncredited]) -> Result<bool, WatchError> {
        let before = (from != Position::START).then(|| write_position(from));
        // Whatever comes of it, an answer that is lost must be looked up.
        self.known = None;
        let moved = self
            .ledger
            .move_bookmark(&self.reader(), before.as_deref(), &write_position(to), found)
            .await?;
        self.known = moved.then_some(to);
        Ok(moved)
    }

    /// Credits a transaction's transfer, or notes why it credits nobody.
    async fn take(&self, transaction: &Transaction, now_ms: u64, watched: &mut Watched) -> Result<(), WatchError> {
        let (deposit, uncredited) = match judge(transaction, self.settings.minimum, now_ms) {
            Verdict::Nothing => return Ok(()),
            Verdict::Nobody(uncredited) => {
                watched.uncredited.push(uncredited);
                return Ok(());
            }
            Verdict::Credit { deposit, otherwise } => (deposit, otherwise),
        };
        let why = match self.ledger.deposit(&deposit).await {
            Ok(done) => {
                if done.fresh {
                    watched.count(&deposit, uncredited.at_ms, now_ms);
                }
                return Ok(());
            }
            Err(LedgerError::UnknownAccount(_)) => WhyUncredited::UnknownAccount,
            Err(LedgerError::TooLarge(_)) => WhyUncredited::TooLarge,
            Err(error) => return Err(error.into()),
        };
        watched.uncredited.push(Uncredited { why, ..uncredited });
        Ok(())
    }
}

impl Watched {
    fn count(&mut self, deposit: &Deposit, at_ms: u64, now_ms: u64) {
        self.credited = self.credited.saturating_add(1);
        self.amount = Nano::saturating(self.amount.get().saturating_add(deposit.amount.get()));
        self.late = self.late.saturating_add(u64::from(is_late(at_ms, now_ms)));
    }
}

/// Believes a page only if it is the address' own history right behind what is known: whoever answers, nothing is read
/// twice and nothing skipped.
fn check(address: Address, from: Position, page: &[Transaction]) -> Result<(), ChainError> {
    let mut known = from;
    for transaction in page {
        if transaction.account != address || !transaction.follows(known) {
            return Err(ChainError::damaged(
                "a history that does not go on where it was read to",
            ));
        }
        known = transaction.at;
    }
    Ok(())
}

/// A place as the bookmark has it: `47:` and 64 hex digits.
fn write_position(position: Position) -> String {
    format!("{}:{}", position.lt, position.hash)
}

fn read_position(text: &str) -> Option<Position> {
    let (lt, hash) = text.split_once(':')?;
    Some(Position {
        lt: lt.parse().ok()?,
        hash: Hash::parse(hash)?,
    })
}
