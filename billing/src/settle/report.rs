//! What the books say to people: who was paid what by which message, and what is owed and why it waits.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::books::{Books, Round, Stage};
use super::entry::{Entry, Fate, Message, Order, Taken, What};
use super::plan::{Before, Row};
use super::{BOOKS, SettleError, read_books};
use crate::chain::{Address, Position};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::money::Nano;
use crate::objects::{EpochStore, Journal, StoreError};
use crate::outbox::read_entry;

/// A payment that was ordered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ordered {
    /// Whose earnings.
    pub provider: ProviderId,
    /// To which account.
    pub payee: Address,
    /// How much.
    pub amount: Nano,
    /// Up to which epoch it pays what was earned.
    pub epoch: u64,
    /// When it was signed, or when it was found out what became of it: in Unix seconds of the chain.
    pub time: u32,
    /// The wallet's seqno.
    pub seqno: u32,
    /// The normalised hash of the wallet's message.
    pub message: Hash,
    /// The wallet's transaction, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
    /// What became of it.
    pub state: OrderedState,
}

/// What became of a payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderedState {
    /// Signed, and perhaps sent.
    UnderWay,
    /// The provider has it.
    Paid,
    /// The payee sent it back: it is owed again.
    Returned,
    /// The wallet could not afford it: it is owed still.
    Skipped,
    /// It was sent, and what the payee's account did with it could not be read for an hour: it counts as paid.
    Unread,
}

/// What is owed to one provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owed {
    /// Whom.
    pub provider: ProviderId,
    /// Where it is to be paid, as the last plan knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Address>,
    /// What it earned since ever.
    pub earned: Nano,
    /// What reached it from the wallet.
    pub pushed: Nano,
    /// What the contract paid it.
    pub claimed: Nano,
    /// What is left.
    pub owed: Nano,
    /// Why it waits.
    pub why: WhyOwed,
}

/// Why a provider waits for what it is owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyOwed {
    /// The round that is under way pays it.
    UnderWay,
    /// It named no address.
    NoAddress,
    /// Its account sent the last payment back.
    Returned,
    /// It contests what it was paid.
    Contests,
    /// It is less than is paid.
    BelowThreshold,
    /// The next round pays it.
    NextRound,
}

impl WhyOwed {
    /// In words for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "is being paid",
            Self::NoAddress => "named no payout address",
            Self::Returned => "sent the last payment back",
            Self::Contests => "contests what it was paid",
            Self::BelowThreshold => "below the threshold",
            Self::NextRound => "paid in the next round",
        }
    }
}

/// Who is owed what, as of the last plan.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwedList {
    /// Up to which epoch.
    pub epoch: u64,
    /// When it was planned, in Unix seconds of the chain.
    pub time: u32,
    /// Whoever is owed something, ordered by provider.
    pub owed: Vec<Owed>,
}

/// Payments of whole rounds, the last round first: of as many rounds as make `count` payments, before the one whose number
/// is `before`. With them the number to go on with; `None` at the first round.
///
/// # Errors
/// [`SettleError::Store`], [`SettleError::Books`]
pub async fn payments(
    epochs: &EpochStore,
    before: Option<u64>,
    count: usize,
) -> Result<(Vec<Ordered>, Option<u64>), SettleError> {
    let journal = Journal::new(epochs.clone(), BOOKS);
    let mut next = match before {
        Some(before) => Some(before),
        None => journal.last().await?.map(|last| last.saturating_add(1)),
    };
    let mut payments = Vec::new();
    while payments.len() < count
        && let Some(last) = next.and_then(|next| next.checked_sub(1))
    {
        let round = entry(&journal, last).await?.round;
        let mut entries = Vec::new();
        for number in round..=last {
            entries.push(entry(&journal, number).await?);
        }
        payments.extend(payments_of(&entries));
        next = Some(round);
    }
    Ok((payments, next.filter(|next| *next > 0)))
}

async fn entry(journal: &Journal, number: u64) -> Result<Entry, SettleError> {
    let found = read_entry(journal, number).await?;
    Ok(found.ok_or(StoreError::Missing(number))?.0)
}

/// The payments of one round, the last first.
fn payments_of(entries: &[Entry]) -> Vec<Ordered> {
    let mut epoch = 0;
    let (mut payments, mut open) = (Vec::new(), Vec::<(&Message, u32)>::new());
    for entry in entries {
        match &entry.what {
            What::Plan(plan) => epoch = plan.anchor.epoch,
            What::Message(message) => open.push((message, entry.time)),
            What::Outcome(outcome) => {
                if let Taken::Ours {
                    hash,
                    at,
                    payments: fates,
                } = &outcome.taken
                    && let Some((message, _)) = open.iter().find(|(message, _)| message.hash == *hash)
                {
                    let states = fates.iter().map(|fate| match fate {
                        Fate::Sent(_) | Fate::Reached(_) => OrderedState::Paid,
                        Fate::Returned(_) => OrderedState::Returned,
                        Fate::Skipped => OrderedState::Skipped,
                        Fate::Unread(_) => OrderedState::Unread,
                    });
                    payments.extend(ordered(message, epoch, entry.time, Some(*at), states));
                }
                // Of what was signed for a seqno the chain takes one message; the others never happened.
                open.clear();
            }
            What::Anchored(_) => {}
        }
    }
    if let Some((message, time)) = open.last() {
        let states = std::iter::repeat(OrderedState::UnderWay);
        payments.extend(ordered(message, epoch, *time, None, states));
    }
    payments.reverse();
    payments
}

fn ordered(
    message: &Message,
    epoch: u64,
    time: u32,
    at: Option<Position>,
    states: impl Iterator<Item = OrderedState>,
) -> Vec<Ordered> {
    let Order::Pay(payouts) = &message.order else {
        return Vec::new();
    };
    let payouts = payouts.iter().zip(states);
    payouts
        .map(|(payout, state)| Ordered {
            provider: payout.provider.clone(),
            payee: payout.payee,
            amount: payout.amount,
            epoch,
            time,
            seqno: message.seqno,
            message: message.hash,
            at,
            state,
        })
        .collect()
}

/// Who is owed what, as of the last plan. `None` if there was none.
///
/// # Errors
/// [`SettleError::Store`], [`SettleError::Books`]
pub async fn owed(epochs: &EpochStore) -> Result<Option<OwedList>, SettleError> {
    Ok(owed_by(&read_books(epochs).await?))
}

fn owed_by(books: &Books) -> Option<OwedList> {
    let (round, before) = (books.round()?, books.before());
    let paying = paid_by(round);
    let owed = round.plan().rows.iter().filter_map(|row| {
        let before = before.get(&row.provider).copied().unwrap_or_default();
        let claimed = match round.stage() {
            Stage::Paying(claimed) => claimed.get(&row.provider).copied(),
            _ => None,
        };
        let claimed = claimed.unwrap_or(row.claimed);
        let left = row.earned.minus(before.pushed).and_then(|left| left.minus(claimed));
        let owed = left.filter(|owed| !owed.is_zero())?;
        Some(Owed {
            provider: row.provider.clone(),
            payee: row.payee,
            earned: row.earned,
            pushed: before.pushed,
            claimed,
            owed,
            why: why(
                row,
                &before,
                owed,
                round.plan().threshold,
                paying.contains(&row.provider),
            ),
        })
    });
    Some(OwedList {
        epoch: round.plan().anchor.epoch,
        time: round.begun(),
        owed: owed.collect(),
    })
}

/// Why a provider waits for what it is owed.
fn why(row: &Row, before: &Before, owed: Nano, threshold: Nano, paying: bool) -> WhyOwed {
    let returned = before.returned.map(|returned| returned.payee);
    if paying {
        WhyOwed::UnderWay
    } else if row.payee.is_none() {
        WhyOwed::NoAddress
    } else if returned.is_some() && returned == row.payee {
        WhyOwed::Returned
    } else if row.contests {
        WhyOwed::Contests
    } else if owed < threshold {
        WhyOwed::BelowThreshold
    } else {
        WhyOwed::NextRound
    }
}

/// Whom a round that is under way is to pay.
fn paid_by(round: &Round) -> BTreeSet<&ProviderId> {
    match round.stage() {
        Stage::Planned | Stage::Landed => {
            let planned = round.plan().rows.iter().filter(|row| !row.planned.is_zero());
            planned.map(|row| &row.provider).collect()
        }
        Stage::Paying(_) => round.due().map(|(row, _)| &row.provider).collect(),
        Stage::Refused => BTreeSet::new(),
    }
}
