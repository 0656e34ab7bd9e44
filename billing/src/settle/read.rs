//! Reads the books of settlement in a store of epochs: where they stand, and the plans of the last rounds.

use super::books::Books;
use super::entry::{Entry, What};
use super::plan::Plan;
use super::{BOOKS, BadEntry, SettleError};
use crate::hash::Hash;
use crate::objects::{EpochStore, Journal, StoreError};
use crate::outbox::read_entry;

/// How many rounds back a plan is looked for. Rounds that the contract refused are rare.
const ROUNDS_BACK_MAX: usize = 64;

/// Reads the settlement's books in a store of epochs, from the last round on: for whoever wants to look, or to claim by the last
/// plan.
///
/// # Errors
/// [`SettleError::Store`], [`SettleError::Books`]
pub async fn read_books(epochs: &EpochStore) -> Result<Books, SettleError> {
    read_on(&Journal::new(epochs.clone(), BOOKS), None).await
}

/// Reads the plan whose leaves lead to this root, in a store of epochs. `None` if none of the last rounds says so. Whether
/// they do lead there is for the reader to check.
///
/// # Errors
/// [`SettleError::Store`], [`SettleError::Books`]
pub async fn read_plan(epochs: &EpochStore, earnings_root: &Hash) -> Result<Option<Plan>, SettleError> {
    let journal = Journal::new(epochs.clone(), BOOKS);
    let mut last = journal.last().await?;
    // The contract's last anchor is of the last round, or of the one before whose anchor was taken.
    for _ in 0..ROUNDS_BACK_MAX {
        let Some((first, plan)) = plan_of(&journal, last).await? else {
            break;
        };
        if plan.anchor.earnings_root == *earnings_root {
            return Ok(Some(plan));
        }
        last = first.checked_sub(1);
    }
    Ok(None)
}

/// Reads the plans of the last rounds in a store of epochs, the newest first.
///
/// # Errors
/// [`SettleError::Store`], [`SettleError::Books`]
pub async fn last_plans(epochs: &EpochStore, count_max: usize) -> Result<Vec<Plan>, SettleError> {
    let journal = Journal::new(epochs.clone(), BOOKS);
    let (mut last, mut plans) = (journal.last().await?, Vec::new());
    while plans.len() < count_max {
        let Some((first, plan)) = plan_of(&journal, last).await? else {
            break;
        };
        plans.push(plan);
        last = first.checked_sub(1);
    }
    Ok(plans)
}

/// The plan of the round that an entry belongs to, and the number of the round's first entry. `None` without an entry.
async fn plan_of(journal: &Journal, entry: Option<u64>) -> Result<Option<(u64, Plan)>, SettleError> {
    let Some(number) = entry else { return Ok(None) };
    let there = |entry: Option<(Entry, Hash)>| entry.map(|(entry, _)| entry).ok_or(StoreError::Missing(number));
    let first = there(read_entry(journal, number).await?)?.round;
    let wrong = |wrong: &str| BadEntry {
        number,
        wrong: wrong.to_owned(),
    };
    if first > number {
        return Err(wrong("its round begins after it").into());
    }
    match there(read_entry(journal, first).await?)?.what {
        What::Plan(plan) => Ok(Some((first, plan))),
        _ => Err(wrong("its round does not begin with a plan").into()),
    }
}

/// Reads on from what is known; from the last round, if nothing is.
pub(super) async fn read_on(journal: &Journal, known: Option<Books>) -> Result<Books, SettleError> {
    let mut books = match known {
        Some(books) => books,
        None => match journal.last().await? {
            None => Books::default(),
            Some(last) => {
                let last: Entry = read_entry(journal, last).await?.ok_or(StoreError::Missing(last))?.0;
                let first = read_entry(journal, last.round).await?;
                let first: Entry = first.ok_or(StoreError::Missing(last.round))?.0;
                Books::from(first.number, first.previous)
            }
        },
    };
    while let Some((entry, hash)) = read_entry(journal, books.next()).await? {
        books.apply(entry, hash)?;
    }
    Ok(books)
}
