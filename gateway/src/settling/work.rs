//! Step after step until a settler has to wait, and what is told of each: lines for people, and metrics.

use filature_billing::Nano;
use filature_billing::settle::{Done, Objection, Payees, Round, SettleError, Settler, Waiting};

use crate::telemetry::Metrics;

/// So long before its deadline a contest without an answer is told of, in seconds: an hour after settlement would object
/// whatever else there is to do.
const TOLD_BEFORE_S: u32 = 23 * 3_600;

/// A settler that tells what it does.
pub(super) struct Work {
    pub(super) settler: Settler,
    metrics: Metrics,
    /// Payments found to have reached their payees, and their sum.
    pub(super) paid: (usize, Nano),
    /// What it last said that it waits for, of what people should know.
    waits: Option<Waiting>,
    /// Contests of which it has said that they are about to be lost.
    urgent: Vec<Objection>,
}

impl Work {
    pub(super) const fn new(settler: Settler, metrics: Metrics) -> Self {
        Self {
            settler,
            metrics,
            paid: (0, Nano::ZERO),
            waits: None,
            urgent: Vec::new(),
        }
    }

    /// Steps until it has to wait, and says for what.
    pub(super) async fn until_it_waits(&mut self, payees: &Payees) -> Result<Waiting, SettleError> {
        loop {
            let done = self.settler.step(payees).await?;
            self.tell_chain();
            self.tell_contests();
            match done {
                Done::Waits(why) => {
                    self.tell_waiting(&why);
                    return Ok(why);
                }
                Done::Sent { seqno, hash } => {
                    tracing::debug!(seqno, %hash, "a message was sent");
                    return Ok(Waiting::UnderWay);
                }
                done => self.tell(&done),
            }
        }
    }

    pub(super) fn failed(&self, kind: &'static str) {
        self.metrics.settlement_failed(kind);
    }

    fn tell(&mut self, done: &Done) {
        match done {
            Done::Planned { epoch, payees, sum } => {
                self.metrics.round_planned();
                tracing::info!(epoch, payees, %sum, "a round of payouts is planned");
            }
            Done::Signed { seqno, payments } => tracing::debug!(seqno, payments, "a message is signed and kept"),
            Done::Objects { contests, .. } => tracing::warn!(
                contests,
                "providers contest that they were paid what the books say they were; settlement objects, and the arbiter decides"
            ),
            Done::Anchored { epoch } => {
                tracing::info!(epoch, "the roots of an epoch are in the contract");
                self.tell_end();
            }
            Done::Reconciled { payees, paid, .. } => {
                if *payees > 0 {
                    let sum = Nano::saturating(self.paid.1.get().saturating_add(paid.get()));
                    self.paid = (self.paid.0.saturating_add(*payees), sum);
                    self.metrics.paid_out(*payees, paid.get());
                    tracing::info!(payees, %paid, "providers were paid");
                }
                self.tell_end();
            }
            Done::Overtaken => tracing::info!("another settler was faster"),
            Done::Waits(_) | Done::Sent { .. } => {}
        }
    }

    /// Tells that the round is over, if it is.
    fn tell_end(&self) {
        let round = self.settler.known().and_then(|books| books.round());
        if let Some(round) = round.filter(|round| Round::is_over(round)) {
            let (payees, paid) = round.paid();
            let (epoch, owed) = (round.plan().anchor.epoch, round.plan().owed);
            tracing::info!(epoch, payees, %paid, %owed, "a round of payouts is over");
        }
    }

    fn tell_chain(&self) {
        let Some(view) = self.settler.seen() else { return };
        let nano = |amount: Option<Nano>| amount.map_or(0, Nano::get);
        let contract = view.contract.as_ref();
        let anchored = contract.and_then(|contract| contract.anchor).map(|anchor| anchor.epoch);
        let owed = contract.map(|contract| contract.owed);
        self.metrics
            .settlement(nano(owed), nano(view.wallet.balance.nano().ok()), anchored);
    }

    /// A contest that nobody answers is lost. That settlement does not get to it is told on its last day, once.
    fn tell_contests(&mut self) {
        let unanswered = self.settler.unanswered();
        self.metrics.contests_unanswered(unanswered.len());
        let now = self.settler.seen().map_or(0, |view| view.head.time);
        let urgent = |contest: &Objection| contest.deadline.saturating_sub(now) <= TOLD_BEFORE_S;
        let urgent: Vec<_> = unanswered.into_iter().filter(urgent).collect();
        for Objection { provider, deadline } in urgent.iter().filter(|one| !self.urgent.contains(one)) {
            let left_s = deadline.saturating_sub(now);
            tracing::error!(
                %provider,
                deadline,
                left_s,
                "a provider contests what it was paid, and is paid again unless that is objected to by its deadline: settlement \
                 will as soon as it can; `filature contest object` does it by hand"
            );
        }
        self.urgent = urgent;
    }

    /// What people should know is told when it begins and when it is over.
    fn tell_waiting(&mut self, why: &Waiting) {
        let Some(kind) = kind_of_wait(why) else {
            if self.waits.take().is_some() {
                tracing::info!("settlement goes on");
            }
            return;
        };
        self.metrics.settlement_failed(kind);
        if self.waits.as_ref() != Some(why) {
            tracing::warn!(kind, "settlement waits: {why}");
            self.waits = Some(why.clone());
        }
    }
}

/// The word for what a settler waits for that goes away only when somebody does something. `None` for the rest.
pub(super) const fn kind_of_wait(why: &Waiting) -> Option<&'static str> {
    match why {
        Waiting::NothingDue | Waiting::Paused | Waiting::Lagging | Waiting::UnderWay => None,
        Waiting::Short { .. } => Some("short"),
        Waiting::NoContract(_) | Waiting::NotOperator(_) => Some("contract"),
        Waiting::Stranger => Some("stranger"),
        Waiting::OtherWallet(_) | Waiting::NoWallet(_) => Some("wallet"),
        Waiting::Refused(_) => Some("refused"),
    }
}

/// The word for what failed.
pub(super) const fn kind_of(error: &SettleError) -> &'static str {
    match error {
        SettleError::Chain(_) => "chain",
        SettleError::Store(_) => "store",
        SettleError::Epoch(_) => "epochs",
        SettleError::Books(_) => "books",
        SettleError::Plan(_) => "plan",
        SettleError::Wallet(_) | SettleError::Form(_) => "message",
    }
}
