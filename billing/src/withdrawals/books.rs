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
    /// The number of its first entry.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

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
                    (Fate::Sent(_), None) | (Fate::Reached(_) | Fate::Unread(_), Some(_)) => WithdrawalStep::Paid {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Position;
    use crate::id::AccountId;
    use crate::money::Nano;

    const AT: Position = Position {
        lt: 5,
        hash: Hash::from_bytes([5; 32]),
    };

    fn due(id: &str) -> Due {
        Due {
            account: AccountId::parse("acct_a").expect("an id"),
            id: id.to_owned(),
            payee: Address::basechain([1; 32]),
            amount: Nano::saturating(7),
        }
    }

    fn takes(ids: &[&str], seqno_min: u32) -> What {
        What::Takes(Takes {
            payer: Hash::of(b"a payer"),
            wallet: Address::basechain([9; 32]),
            seqno_min,
            due: ids.iter().map(|id| due(id)).collect(),
        })
    }

    fn held(gone: &[usize]) -> What {
        What::Held(Held { gone: gone.to_vec() })
    }

    fn message(seqno: u32, valid_until: u32, places: &[usize]) -> What {
        What::Message(Message {
            seqno,
            valid_until,
            after: AT,
            hash: Hash::of(&valid_until.to_be_bytes()),
            boc: String::new(),
            order: places
                .iter()
                .map(|place| Payout {
                    place: *place,
                    // Even places have a contract.
                    bounces_after: (place % 2 == 0).then_some(AT),
                })
                .collect(),
        })
    }

    fn ours(seqno: u32, valid_until: u32, payments: &[Fate]) -> What {
        let (hash, payments) = (Hash::of(&valid_until.to_be_bytes()), payments.to_vec());
        let taken = Taken::Ours { hash, at: AT, payments };
        What::Outcome(Outcome { seqno, taken })
    }

    fn foreign(seqno: u32) -> What {
        let taken = Taken::Foreign;
        What::Outcome(Outcome { seqno, taken })
    }

    fn add(books: &mut Books, what: What, time: u32) -> Result<Vec<Told>, BadEntry> {
        let entry = books.entry(what, time);
        let bytes = entry.to_bytes().expect("bytes");
        books.apply(entry, Hash::of(&bytes))
    }

    fn books(entries: &[What]) -> Books {
        let mut books = Books::default();
        for (time, what) in entries.iter().enumerate() {
            add(&mut books, what.clone(), u32::try_from(time).expect("few")).expect("it may follow");
        }
        books
    }

    const REACHED: Fate = Fate::Reached(AT);
    const BACK: Fate = Fate::Returned(AT);

    #[test]
    fn entries_that_may_not_follow_are_refused() {
        let taken = [takes(&["a", "b", "c"], 3)];
        let holds = [&taken[..], &[held(&[1])]].concat();
        let signed = [&holds[..], &[message(3, 100, &[0, 2])]].concat();
        let over = [&signed[..], &[ours(3, 100, &[REACHED, BACK])]].concat();
        for (before, bad) in [
            (&[][..], held(&[])),
            (&[], message(3, 100, &[0])),
            (&[], takes(&[], 3)),
            (&[], takes(&["a", "a"], 3)),
            (&taken, takes(&["d"], 3)),
            (&taken, message(3, 100, &[0, 1, 2])),
            (&taken, held(&[3])),
            (&holds, held(&[])),
            (&holds, message(2, 100, &[0, 2])),
            (&holds, message(3, 100, &[0, 1, 2])),
            (&holds, message(3, 100, &[0])),
            (&holds, message(3, 100, &[2, 0])),
            (&holds, message(3, 100, &[0, 0])),
            (&holds, foreign(3)),
            (&signed, message(3, 200, &[0, 2])),
            (&signed, message(4, 200, &[0, 2])),
            (&signed, takes(&["d"], 4)),
            (&signed, foreign(4)),
            (&signed, ours(3, 101, &[REACHED, REACHED])),
            (&signed, ours(3, 100, &[REACHED])),
            (&signed, ours(3, 100, &[REACHED, Fate::Sent(5)])),
            (&over, takes(&["d"], 3)),
            (&over, message(4, 100, &[0, 2])),
        ] {
            let mut books = books(before);
            assert!(add(&mut books, bad.clone(), 50).is_err(), "{bad:?} after {before:?}");
        }
        let mut books = books(&over);
        let mut stranger = books.entry(takes(&["d"], 4), 60);
        stranger.previous = None;
        assert!(books.apply(stranger, Hash::of(b"x")).is_err());
        assert!(add(&mut books, takes(&["d"], 4), 60).is_ok());
    }

    #[test]
    fn the_ledger_is_told_what_became_of_each() {
        let mut books = books(&[takes(&["a", "b", "c", "d"], 3), held(&[3])]);
        let name = books.batch().expect("a batch").reference();
        let told = |told: Vec<Told>| -> Vec<(String, &'static str)> {
            let word = |step: &WithdrawalStep| match step {
                WithdrawalStep::Sent { reference } if *reference == name => "sent",
                WithdrawalStep::Paid { reference, .. } if *reference == name => "paid",
                WithdrawalStep::Returned { reference, .. } if reference.as_ref() == Some(&name) => "returned",
                _ => "something else",
            };
            told.iter().map(|(due, step)| (due.id.clone(), word(step))).collect()
        };
        let said = |list: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
            list.iter().map(|(id, word)| ((*id).to_owned(), *word)).collect()
        };
        add(&mut books, message(3, 100, &[0, 1, 2]), 5).expect("signed");
        // Too old; another for the same seqno, and the first was taken all the same.
        add(&mut books, message(3, 300, &[0, 1, 2]), 101).expect("signed");
        let first = add(&mut books, ours(3, 100, &[BACK, Fate::Sent(5), Fate::Skipped]), 110);
        assert_eq!(
            told(first.expect("an outcome")),
            said(&[("a", "returned"), ("b", "paid")])
        );
        // What the wallet could not afford is due again.
        let due: Vec<_> = books
            .under_way()
            .expect("a batch")
            .due()
            .map(|(place, _)| place)
            .collect();
        assert_eq!(due, [2]);
        add(&mut books, message(4, 400, &[2]), 120).expect("signed");
        assert_eq!(told(add(&mut books, foreign(4), 130).expect("an outcome")), said(&[]));
        add(&mut books, message(5, 500, &[2]), 140).expect("signed");
        let last = add(&mut books, ours(5, 500, &[REACHED]), 150).expect("an outcome");
        assert_eq!(told(last), said(&[("c", "paid")]));
        assert!(books.under_way().is_none());
    }
}
