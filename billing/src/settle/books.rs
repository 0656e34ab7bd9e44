//! Settlement's books, as far as they matter now: the last round. Decides which entry may follow which; an entry that may
//! not is refused, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::Anchor;
use super::entry::{Anchored, Entry, Fate, Message, Objection, Order, Outcome, Payout, Taken, What};
use super::plan::{Before, Plan, Returned, Row};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::money::Nano;
pub use crate::outbox::BadEntry;
use crate::outbox::{Chained, Outgoing};

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Books {
    chained: Chained,
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
    outgoing: Outgoing<Order>,
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

impl Books {
    /// Books that begin with the plan of a round, at this entry and after an entry of this hash.
    pub(super) const fn from(number: u64, previous: Option<Hash>) -> Self {
        let chained = Chained {
            next: number,
            tip: previous,
        };
        Self { chained, round: None }
    }

    /// The number of the next entry.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.chained.next
    }

    /// The last round; none in empty books.
    #[must_use]
    pub const fn round(&self) -> Option<&Round> {
        self.round.as_ref()
    }

    /// The entry that would be next.
    pub(super) fn entry(&self, what: What, time: u32) -> Entry {
        let begun = self.round.as_ref().map(|round| round.number);
        let round = begun.filter(|_| !matches!(what, What::Plan(_)));
        self.chained.entry(what, round, time)
    }

    /// Takes in the next entry, whose bytes have this hash.
    ///
    /// # Errors
    /// [`BadEntry`]; the books are as before.
    pub fn apply(&mut self, entry: Entry, hash: Hash) -> Result<(), BadEntry> {
        let (chained, number) = (self.chained, self.chained.next);
        let check = |good: bool, wrong: &str| if good { Ok(()) } else { Err(chained.bad(wrong)) };
        chained.check(&entry).map_err(|wrong| chained.bad(wrong))?;
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
                let remembers = before.is_none_or(|before| plan.seqno_min >= before.seqno_min());
                check(remembers, "it forgets what the wallet has sent")?;
                self.round = Some(Round::new(number, time, plan));
            }
            what => {
                let round = self.round.as_mut().filter(|round| round.number == entry.round);
                let round = round.ok_or_else(|| chained.bad("it is of another round"))?;
                let applied = match what {
                    What::Message(message) => round.add(message, time),
                    What::Outcome(outcome) => round.end(&outcome, time),
                    What::Anchored(anchored) => round.anchored(anchored),
                    What::Plan(_) => Ok(()),
                };
                applied.map_err(|wrong| chained.bad(wrong))?;
            }
        }
        self.chained.go_on(hash);
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
            outgoing: Outgoing::none(plan.seqno_min),
            plan,
            stage: Stage::Planned,
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
        self.outgoing.open()
    }

    pub(super) const fn outgoing(&self) -> &Outgoing<Order> {
        &self.outgoing
    }

    /// Least seqno that the wallet can have now.
    #[must_use]
    pub const fn seqno_min(&self) -> u32 {
        self.outgoing.seqno_min()
    }

    /// Whether nothing is left to do: nobody is left to be paid, and no message is open.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let done = match self.stage {
            Stage::Planned | Stage::Landed => false,
            Stage::Refused => true,
            Stage::Paying(_) => self.due().next().is_none(),
        };
        done && self.open().is_empty()
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
        self.outgoing.check(&message, time)?;
        let fits = match &message.order {
            Order::Anchor(_) => matches!(self.stage, Stage::Planned),
            Order::Pay(payouts) => self.owes(payouts),
            Order::Object(objections) => !objections.contests.is_empty(),
        };
        if !fits {
            return Err("it orders what is not due");
        }
        self.outgoing.add(message);
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
        let order = self.outgoing.taken(outcome)?.map(|taken| taken.order.clone());
        if let (Some(order), Taken::Ours { payments, .. }) = (order, &outcome.taken) {
            match order {
                Order::Anchor(_) => self.end_anchor(payments)?,
                Order::Pay(payouts) => self.end_payouts(&payouts, payments, time)?,
                Order::Object(objections) => self.end_objections(objections.contests, payments)?,
            }
        }
        self.outgoing.close(outcome);
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
                (Fate::Sent(_), None) | (Fate::Reached(_) | Fate::Unread(_), Some(_)) => Settled::Paid(payout.amount),
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
