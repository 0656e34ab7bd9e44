//! The books of withdrawals, as far as they matter now: the last batch. Decides which entry may follow which, and what the
//! ledger is to be told of it. Pure.

use std::collections::BTreeSet;

use super::entry::{Due, Entry, Held, Message, Payout, Takes, What};
use crate::chain::{Address, BATCH_MAX};
use crate::hash::Hash;
use crate::ledger::WithdrawalStep;
use crate::outbox::{BadEntry, Chained, Fate, Ordered, Outcome, Outgoing, Taken};

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    chained: Chained,
    batch: Option<Batch>,
}

/// The last batch.
#[derive(Clone, Debug)]
pub struct Batch {
    number: u64,
    name: Hash,
    wallet: Address,
    due: Vec<Due>,
    /// Whether the ledger knows it.
    held: bool,
    /// Places that are paid, came back or were given back before.
    settled: BTreeSet<usize>,
    outgoing: Outgoing<Vec<Payout>>,
}

/// A withdrawal of the batch, and what the ledger is to be told of it.
pub(super) type Told = (Due, WithdrawalStep);

impl Books {
    /// Books that begin with a batch, at this entry and after an entry of this hash.
    pub(super) const fn from(number: u64, previous: Option<Hash>) -> Self {
        let chained = Chained {
            next: number,
            tip: previous,
        };
        Self { chained, batch: None }
    }

    /// The number of the next entry.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.chained.next
    }

    /// The last entry, by number and hash. `None` before the first.
    pub(super) fn last(&self) -> Option<(u64, Hash)> {
        Some((self.chained.next.checked_sub(1)?, self.chained.tip?))
    }

    /// The last batch; none in empty books.
    #[must_use]
    pub const fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The batch that is not over.
    #[must_use]
    pub fn under_way(&self) -> Option<&Batch> {
        self.batch.as_ref().filter(|batch| !batch.is_over())
    }

    /// The entry that would be next.
    pub(super) fn entry(&self, what: What, time: u32) -> Entry {
        let begun = self.batch.as_ref().map(|batch| batch.number);
        let round = begun.filter(|_| !matches!(what, What::Takes(_)));
        self.chained.entry(what, round, time)
    }

    /// Takes in the next entry, whose bytes have this hash. Returns what the ledger is to be told.
    pub(super) fn apply(&mut self, entry: Entry, hash: Hash) -> Result<Vec<Told>, BadEntry> {
        let chained = self.chained;
        let told = chained.check(&entry).and_then(|()| match entry.what {
            What::Takes(takes) => self.begin(takes, hash),
            what => {
                let batch = self.batch.as_mut().filter(|batch| batch.number == entry.round);
                let batch = batch.ok_or("it is of another batch")?;
                match what {
                    What::Held(held) => batch.hold(&held),
                    What::Message(message) => batch.add(message, entry.time),
                    What::Outcome(outcome) => batch.end(&outcome),
                    What::Takes(_) => Ok(Vec::new()),
                }
            }
        });
        let told = told.map_err(|wrong| chained.bad(wrong))?;
        self.chained.go_on(hash);
        Ok(told)
    }

    fn begin(&mut self, takes: Takes, name: Hash) -> Result<Vec<Told>, &'static str> {
        if self.under_way().is_some() {
            return Err("the batch before is not over");
        }
        if self.seqno_min(takes.wallet) > takes.seqno_min {
            return Err("it forgets what the wallet has sent");
        }
        let names: BTreeSet<_> = takes.due.iter().map(|due| (&due.account, &due.id)).collect();
        if names.len() != takes.due.len() || names.is_empty() || names.len() > BATCH_MAX {
            return Err("it takes a withdrawal twice, none, or too many");
        }
        let batch = Batch {
            number: self.chained.next,
            name,
            wallet: takes.wallet,
            due: takes.due,
            held: false,
            settled: BTreeSet::new(),
            outgoing: Outgoing::none(takes.seqno_min),
        };
        let told = batch.due.iter().map(|due| {
            let reference = batch.reference();
            (due.clone(), WithdrawalStep::Sent { reference })
        });
        let told = told.collect();
        self.batch = Some(batch);
        Ok(told)
    }

    /// Least seqno that this wallet can have now, as far as is known.
    pub(super) fn seqno_min(&self, wallet: Address) -> u32 {
        let batch = self.batch.as_ref().filter(|batch| batch.wallet == wallet);
        batch.map_or(0, |batch| batch.outgoing.seqno_min())
    }
}

impl Batch {
    /// Its name in the ledger.
    #[must_use]
    pub fn reference(&self) -> String {
        self.name.to_string()
    }

    /// The wallet that pays it.
    #[must_use]
    pub const fn wallet(&self) -> Address {
        self.wallet
    }

    /// All its withdrawals.
    #[must_use]
    pub fn all(&self) -> &[Due] {
        &self.due
    }

    /// Whether the ledger knows it, so that it may be paid.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held
    }

    /// What is still to be paid, with its place.
    pub fn due(&self) -> impl Iterator<Item = (usize, &Due)> {
        let due = self.due.iter().enumerate();
        due.filter(|(place, _)| !self.settled.contains(place))
    }

    /// The messages of the seqno whose fate is not known, oldest first.
    #[must_use]
    pub fn open(&self) -> &[Message] {
        self.outgoing.open()
    }

    pub(super) const fn outgoing(&self) -> &Outgoing<Vec<Payout>> {
        &self.outgoing
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.held && self.open().is_empty() && self.due().next().is_none()
    }

    /// What payments a message's order comes to.
    pub(super) fn ordered(&self, order: &[Payout]) -> Vec<Ordered> {
        let ordered = order.iter().filter_map(|payout| {
            let due = self.due.get(payout.place)?;
            Some(Ordered {
                to: due.payee,
                amount: due.amount,
                bounces_after: payout.bounces_after,
                must_run: false,
            })
        });
        ordered.collect()
    }

    fn hold(&mut self, held: &Held) -> Result<Vec<Told>, &'static str> {
        if self.held {
            return Err("the batch was held before");
        }
        let mut told = Vec::new();
        for place in &held.gone {
            let due = self.due.get(*place).ok_or("it names no withdrawal of the batch")?;
            // For a ledger that has lost that it was given back: it must not stay in this batch.
            told.push((due.clone(), self.returned("it was given back before".to_owned())));
            self.settled.insert(*place);
        }
        self.held = true;
        Ok(told)
    }

    fn add(&mut self, message: Message, time: u32) -> Result<Vec<Told>, &'static str> {
        self.outgoing.check(&message, time)?;
        let ordered = message.order.iter().map(|payout| payout.place);
        if !self.held || !ordered.eq(self.due().map(|(place, _)| place)) {
            return Err("it orders something else than what is due");
        }
        self.outgoing.add(message);
        Ok(Vec::new())
    }

    fn end(&mut self, outcome: &Outcome) -> Result<Vec<Told>, &'static str> {
        let order = self.outgoing.taken(outcome)?.map(|taken| taken.order.clone());
        let mut told = Vec::new();
        if let (Some(order), Taken::Ours { at, payments, .. }) = (order, &outcome.taken) {
            if order.len() != payments.len() {
                return Err("it tells of more or fewer payments than were ordered");
            }
            for (payout, fate) in order.iter().zip(payments) {
                let step = match (fate, payout.bounces_after) {
                    (Fate::Sent(_), None) | (Fate::Reached(_), Some(_)) => WithdrawalStep::Paid {
                        reference: self.reference(),
                        transaction: at.hash.to_string(),
                    },
                    (Fate::Returned(back), Some(_)) => {
                        let hash = back.hash;
                        self.returned(format!("the payee sent it back in its transaction {hash}"))
                    }
                    // Still due.
                    (Fate::Skipped, _) => continue,
                    _ => return Err("a payment that cannot come back did, or one that can is not followed"),
                };
                let due = self.due.get(payout.place).ok_or("it pays nobody of the batch")?;
                told.push((due.clone(), step));
                self.settled.insert(payout.place);
            }
        }
        self.outgoing.close(outcome);
        Ok(told)
    }

    fn returned(&self, why: String) -> WithdrawalStep {
        let reference = Some(self.reference());
        WithdrawalStep::Returned { reference, why }
    }
}
