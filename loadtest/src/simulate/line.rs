//! Calls that wait, calls that are turned away, and how calls end.

use std::cmp::Reverse;

use super::agenda::{Micros, seconds};
use super::desk::{Route, rank, whole};
use super::tally::Ending;
use super::world::{Step, World};

/// A call that waits asks again after this long even if nobody called it (gateway, `request/queue.rs`).
const ASK_AGAIN: Micros = 100_000;
/// The gateway's `routing.queue_wait_ms`.
const WAIT_MAX: Micros = 10_000_000;

impl World<'_> {
    /// All are full: the call waits, or is turned away.
    pub(super) fn wait(&mut self, call: u32) {
        let tier = self.demand(call).tier as u8;
        let now = filature_router::Time::from_micros(self.now);
        let is_begun = self.calls[call as usize].attempts_all > 0;
        let rank = rank(tier, is_begun);
        let Some(desk) = &mut self.desk else {
            return self.turn_away(call);
        };
        match desk.queue.push(rank, now, call) {
            Err(call) => self.turn_away(call),
            Ok(pushed) => {
                let state = &mut self.calls[call as usize];
                state.ticket = Some(pushed.ticket);
                state.waits_from = self.now;
                let first_look = self.patience(call).min(ASK_AGAIN);
                self.agenda.enter(self.now + first_look, Step::WaitOver(call));
                if let Some(other) = pushed.displaced {
                    self.calls[other as usize].ticket = None;
                    self.turn_away(other);
                }
            }
        }
    }

    /// A call that waits asks again of its own accord, ahead of all others, until its time is over.
    pub(super) fn wait_over(&mut self, call: u32) {
        let state = &self.calls[call as usize];
        let Some(ticket) = state.ticket else {
            return;
        };
        let until = state.waits_from + self.patience(call);
        let left = until.saturating_sub(self.now);
        let is_first = self.desk.as_ref().is_some_and(|desk| desk.queue.is_first(ticket));
        if left > 0 && !(is_first && self.seek(call)) {
            return self.agenda.enter(self.now + left.min(ASK_AGAIN), Step::WaitOver(call));
        }
        self.calls[call as usize].ticket = None;
        if let Some(desk) = &mut self.desk {
            desk.queue.remove(ticket, filature_router::Time::from_micros(self.now));
        }
        if left == 0 {
            self.turn_away(call);
        }
    }

    /// How long the call may wait as things are: patience shrinks while it does. One whose answer has begun is not asked
    /// to be content with less time when the line is long.
    fn patience(&self, call: u32) -> Micros {
        let is_begun = self.calls[call as usize].attempts_all > 0;
        let desk = self.desk.as_ref().filter(|_| !is_begun);
        let now = filature_router::Time::from_micros(self.now);
        let patience = desk.map_or(WAIT_MAX, |desk| whole(desk.queue.patience(now)));
        patience.min(WAIT_MAX)
    }

    /// A place may be free: whoever goes first asks for it, and after one that got it the next.
    pub(super) fn freed(&mut self) {
        let now = filature_router::Time::from_micros(self.now);
        while let Some((ticket, call)) = self.desk.as_mut().and_then(|desk| desk.queue.pop(now)) {
            if !self.seek(call) {
                if let Some(desk) = &mut self.desk {
                    desk.queue.put_back(ticket, call);
                }
                return;
            }
            self.calls[call as usize].ticket = None;
        }
    }

    /// The call gets no place: 429, unless it was under way, when it is a failure.
    pub(super) fn turn_away(&mut self, call: u32) {
        let is_new = self.calls[call as usize].attempts_all == 0;
        if is_new && let Some(desk) = &self.desk {
            let tier = self.demand(call).tier;
            let now = filature_router::Time::from_micros(self.now);
            let after = desk.queue.retry_after(rank(tier as u8, false), now);
            let back = now + after;
            self.told[tier as usize].push(Reverse(back.as_micros()));
            self.tally.told.0 += 1;
            self.tally.told.2 += after.as_secs_f64();
        }
        self.over(call, if is_new { Ending::Shed } else { Ending::Failed });
    }

    pub(super) fn over(&mut self, call: u32, ending: Ending) {
        let demand = *self.demand(call);
        let state = &mut self.calls[call as usize];
        assert!(!state.is_over, "a call ends once");
        state.is_over = true;
        let (met, cost, stands_for) = (state.met, state.cost, state.stands_for);
        let first_at = state.first_at.unwrap_or(self.now);
        // Nothing of it is wanted any more; a million calls are a lot of memory.
        state.route = Route::default();
        state.tried = Vec::new();
        assert!(state.live.is_empty(), "no attempt outlives its call");
        self.open -= 1;
        let is_served = ending == Ending::Served;
        let is_whole = state.delivered == demand.output;
        assert!(!is_served || is_whole, "a call that was served has its whole answer");
        if call < self.case.counted_from {
            self.tally.uncounted += 1;
            return;
        }
        self.tally.paid += if is_served { cost } else { 0.0 };
        let since = |at: Micros| seconds(at - demand.at);
        self.tally
            .ended(demand.tier, ending, since(first_at), since(self.now), met);
        if ending != Ending::Shed {
            self.tally.told.1 += stands_for;
        }
    }

    /// Callers of the same tier who were told to come back by now fare as this call will: it stands for them, so that
    /// the load stays what it is.
    pub(super) fn stand_for_others(&mut self, call: u32) {
        let told = &mut self.told[self.case.demands[call as usize].tier as usize];
        while told.peek().is_some_and(|Reverse(back)| *back <= self.now) {
            told.pop();
            self.calls[call as usize].stands_for += 1;
        }
    }
}
