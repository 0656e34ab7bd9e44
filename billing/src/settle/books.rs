//! Settlement's books, as far as they matter now: the last round. Decides which entry may follow which; an entry that may
//! not is refused, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::Anchor;
use super::entry::{Anchored, Entry, Fate, Message, Objection, Order, Outcome, Payout, Taken, What};
use super::plan::{Before, Plan, Returned, Row};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::money::Nano;

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The number of the next entry.
    next: u64,
    /// The hash of the last one.
    tip: Option<Hash>,
    round: Option<Round>,
}

/// The last round.
#[derive(Clone, Debug)]
pub struct Round {
    number: u64,
    /// When it was planned, in Unix seconds of the chain.
    begun: u32,
    plan: Plan,
    stage: Stage,
    /// Messages for one seqno, of which the fate is not known: the last may still be sent.
    open: Vec<Message>,
    /// The wallet's next seqno is not less.
    seqno_min: u32,
    /// What became of payments.
    settled: BTreeMap<ProviderId, Settled>,
    /// Contests that the contract was told an objection to, whatever it made of it.
    objected: BTreeSet<Objection>,
}

/// How far a round is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// The anchor is to be sent.
    Planned,
    /// The contract took the anchor; what it has paid by now is to be read.
    Landed,
    /// The contract did not take the anchor: this round pays nobody.
    Refused,
    /// Paying, with what the contract had paid to whom it was something else than planned.
    Paying(BTreeMap<ProviderId, Nano>),
}

#[derive(Clone, Copy, Debug)]
enum Settled {
    Paid(Nano),
    Returned(Returned),
}

/// An entry that cannot follow the ones before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {number} of the settlement's books cannot be right: {wrong}")]
pub struct BadEntry {
    /// Which.
    pub number: u64,
    /// What is wrong.
    pub wrong: String,
}

impl Books {
    /// Books that begin with the plan of a round, at this entry and after an entry of this hash.
    pub(super) const fn from(number: u64, previous: Option<Hash>) -> Self {
        Self {
            next: number,
            tip: previous,
            round: None,
        }
    }

    /// The number of the next entry.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The last round; none in empty books.
    #[must_use]
    pub const fn round(&self) -> Option<&Round> {
        self.round.as_ref()
    }

    /// The entry that would be next.
    pub(super) fn entry(&self, what: What, time: u32) -> Entry {
        let round = match (&what, &self.round) {
            (What::Plan(_), _) | (_, None) => self.next,
            (_, Some(round)) => round.number,
        };
        Entry {
            version: Entry::VERSION,
            number: self.next,
            previous: self.tip,
            round,
            time,
            what,
        }
    }

    /// Takes in the next entry, whose bytes have this hash.
    ///
    /// # Errors
    /// [`BadEntry`]; the books are as before.
    pub fn apply(&mut self, entry: Entry, hash: Hash) -> Result<(), BadEntry> {
        let number = self.next;
        let check = |good: bool, wrong: &str| {
            let bad = || BadEntry {
                number,
                wrong: wrong.to_owned(),
            };
            if good { Ok(()) } else { Err(bad()) }
        };
        check(entry.version == Entry::VERSION, "its form is unknown")?;
        check(entry.number == number, "it has another number")?;
        check(entry.previous == self.tip, "it does not follow the entry before")?;
        let time = entry.time;
        match entry.what {
            What::Plan(plan) => {
                check(
                    self.round.as_ref().is_none_or(Round::is_over),
                    "the round before is not over",
                )?;
                check(
                    plan.payables().root() == plan.anchor.earnings_root,
                    "its root is not that of its rows",
                )?;
                let before = self.round.as_ref().filter(|before| before.plan.wallet == plan.wallet);
                let remembers = before.is_none_or(|before| plan.seqno_min >= before.seqno_min);
                check(remembers, "it forgets what the wallet has sent")?;
                self.round = Some(Round::new(number, time, plan));
            }
            what => {
                let round = self.round.as_mut().filter(|round| round.number == entry.round);
                let round = round.ok_or_else(|| BadEntry {
                    number,
                    wrong: "it is of another round".into(),
                })?;
                let applied = match what {
                    What::Message(message) => round.add(message, time),
                    What::Outcome(outcome) => round.end(&outcome, time),
                    What::Anchored(anchored) => round.anchored(anchored),
                    What::Plan(_) => Ok(()),
                };
                applied.or_else(|wrong| check(false, wrong))?;
            }
        }
        self.next = number.saturating_add(1);
        self.tip = Some(hash);
        Ok(())
    }

    /// What is known of every provider, for the next plan.
    #[must_use]
    pub fn before(&self) -> BTreeMap<ProviderId, Before> {
        let Some(round) = &self.round else {
            return BTreeMap::new();
        };
        let rows = round.plan.rows.iter();
        rows.map(|row| (row.provider.clone(), round.before(row))).collect()
    }

    /// The anchor that the contract should have as its last, as long as no round is under way.
    #[must_use]
    pub fn anchor(&self) -> Option<Anchor> {
        let round = self.round.as_ref()?;
        match round.stage {
            Stage::Planned | Stage::Refused => round.plan.after,
            Stage::Landed | Stage::Paying(_) => Some(round.plan.anchor),
        }
    }
}

impl Round {
    fn new(number: u64, begun: u32, plan: Plan) -> Self {
        Self {
            number,
            begun,
            seqno_min: plan.seqno_min,
            plan,
            stage: Stage::Planned,
            open: Vec::new(),
            settled: BTreeMap::new(),
            objected: BTreeSet::new(),
        }
    }

    /// The number of the entry with its plan.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// When it was planned, in Unix seconds of the chain.
    #[must_use]
    pub const fn begun(&self) -> u32 {
        self.begun
    }

    /// Its plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How far it is.
    #[must_use]
    pub const fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The messages of the seqno whose fate is not known, oldest first.
    #[must_use]
    pub fn open(&self) -> &[Message] {
        &self.open
    }

    /// Least seqno that the wallet can have now.
    #[must_use]
    pub const fn seqno_min(&self) -> u32 {
        self.seqno_min
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_done() && self.open.is_empty()
    }

    /// Whether nobody is left to be paid. What was signed since then objects to contests.
    fn is_done(&self) -> bool {
        match self.stage {
            Stage::Planned | Stage::Landed => false,
            Stage::Refused => true,
            Stage::Paying(_) => self.due().next().is_none(),
        }
    }

    /// Contests that the contract was told an objection to.
    #[must_use]
    pub const fn objected(&self) -> &BTreeSet<Objection> {
        &self.objected
    }

    /// Who is still to be paid, where, and how much.
    pub fn due(&self) -> impl Iterator<Item = (&Row, Nano)> {
        let rows = match self.stage {
            Stage::Paying(_) => self.plan.rows.as_slice(),
            _ => &[],
        };
        let unsettled = rows.iter().filter(|row| !self.settled.contains_key(&row.provider));
        let amounts = unsettled.map(|row| (row, self.due_of(row)));
        amounts.filter(|(row, due)| row.payee.is_some() && !due.is_zero())
    }

    /// How many were paid in this round, and how much.
    #[must_use]
    pub fn paid(&self) -> (usize, Nano) {
        let paid = self.settled.values().filter_map(|settled| match settled {
            Settled::Paid(amount) => Some(amount.get()),
            Settled::Returned(_) => None,
        });
        let (count, sum) = paid.fold((0_usize, 0_u64), |(count, sum), nano| {
            (count.saturating_add(1), sum.saturating_add(nano))
        });
        (count, Nano::saturating(sum))
    }

    fn due_of(&self, row: &Row) -> Nano {
        let now = match &self.stage {
            Stage::Paying(claimed) => claimed.get(&row.provider),
            _ => None,
        };
        row.due(now.copied().unwrap_or(row.claimed))
    }

    fn before(&self, row: &Row) -> Before {
        let before = Before {
            pushed: row.pushed,
            returned: row.returned,
        };
        match self.settled.get(&row.provider) {
            None => before,
            // Never above what is planned, and so never above what can be counted.
            Some(Settled::Paid(paid)) => Before {
                pushed: row.pushed.plus(*paid).unwrap_or(Nano::MAX),
                returned: None,
            },
            Some(Settled::Returned(returned)) => Before {
                returned: Some(*returned),
                ..before
            },
        }
    }

    fn add(&mut self, message: Message, time: u32) -> Result<(), &'static str> {
        match self.open.last() {
            Some(last) if last.seqno != message.seqno => return Err("the seqno before is not settled"),
            Some(last) if last.valid_until > time => return Err("the message before is still good"),
            _ => {}
        }
        if message.seqno < self.seqno_min {
            return Err("its seqno was used before");
        }
        let fits = match &message.order {
            Order::Anchor(_) => matches!(self.stage, Stage::Planned),
            Order::Pay(payouts) => self.owes(payouts),
            Order::Object(objections) => self.is_done() && !objections.contests.is_empty(),
        };
        if !fits {
            return Err("it orders what is not due");
        }
        self.open.push(message);
        Ok(())
    }

    /// Whether exactly these amounts are due, to each once.
    fn owes(&self, payouts: &[Payout]) -> bool {
        let mut due: BTreeMap<_, _> = self.due().map(|(row, due)| (&row.provider, (row.payee, due))).collect();
        for payout in payouts {
            if due.remove(&payout.provider) != Some((Some(payout.payee), payout.amount)) {
                return false;
            }
        }
        !payouts.is_empty()
    }

    fn end(&mut self, outcome: &Outcome, time: u32) -> Result<(), &'static str> {
        if self.open.first().is_none_or(|open| open.seqno != outcome.seqno) {
            return Err("no message of its seqno is open");
        }
        if let Taken::Ours { hash, payments, .. } = &outcome.taken {
            let taken = self.open.iter().find(|message| message.hash == *hash);
            match &taken.ok_or("it names no open message")?.order {
                Order::Anchor(_) => self.end_anchor(payments)?,
                Order::Pay(payouts) => {
                    let payouts = payouts.clone();
                    self.end_payouts(&payouts, payments, time)?;
                }
                Order::Object(objections) => {
                    let contests = objections.contests.clone();
                    self.end_objections(contests, payments)?;
                }
            }
        }
        self.open.clear();
        self.seqno_min = outcome.seqno.saturating_add(1);
        Ok(())
    }

    fn end_anchor(&mut self, payments: &[Fate]) -> Result<(), &'static str> {
        self.stage = match payments {
            [Fate::Reached(_)] => Stage::Landed,
            [Fate::Returned(_)] => Stage::Refused,
            // The wallet was short: to be sent again.
            [Fate::Skipped] => Stage::Planned,
            _ => return Err("an anchor is one message that may come back"),
        };
        Ok(())
    }

    fn end_payouts(&mut self, payouts: &[Payout], fates: &[Fate], time: u32) -> Result<(), &'static str> {
        if payouts.len() != fates.len() {
            return Err("it tells of more or fewer payments than were ordered");
        }
        for (payout, fate) in payouts.iter().zip(fates) {
            let settled = match (fate, payout.bounces_after) {
                (Fate::Sent(_), None) | (Fate::Reached(_), Some(_)) => Settled::Paid(payout.amount),
                (Fate::Returned(_), Some(_)) => Settled::Returned(Returned {
                    payee: payout.payee,
                    time,
                }),
                // Still due.
                (Fate::Skipped, _) => continue,
                _ => return Err("a payment that cannot come back did, or one that can is not followed"),
            };
            self.settled.insert(payout.provider.clone(), settled);
        }
        Ok(())
    }

    fn end_objections(&mut self, contests: Vec<Objection>, fates: &[Fate]) -> Result<(), &'static str> {
        if contests.len() != fates.len() {
            return Err("it tells of more or fewer objections than were ordered");
        }
        let told = contests.into_iter().zip(fates);
        // The wallet could not afford it: to be sent again.
        let told = told.filter(|(_, fate)| !matches!(fate, Fate::Skipped));
        self.objected.extend(told.map(|(contest, _)| contest));
        Ok(())
    }

    fn anchored(&mut self, anchored: Anchored) -> Result<(), &'static str> {
        if !matches!(self.stage, Stage::Landed) {
            return Err("the anchor is not in the contract yet, or was read before");
        }
        let claimed = anchored.claimed.into_iter().map(|now| (now.provider, now.claimed));
        self.stage = Stage::Paying(claimed.collect());
        Ok(())
    }
}
