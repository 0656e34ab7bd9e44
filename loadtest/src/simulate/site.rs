//! The providers' side of a run: what reaches them, what their engines do, and what befalls them.

use filature_router::End;

use super::agenda::{Micros, micros, seconds};
use super::calls::Attempt;
use super::engine::{Did, Job, Work};
use super::faults::{Fault, Luck};
use super::world::{HEARTBEAT, News, Step, World, work_s};

/// How long an error takes a provider that fails fast.
const ERROR_AFTER: Micros = 10_000;
/// Attempts that are looked through for those of a provider that is gone: the latest, far more than wait anywhere.
const NOTICED_LOOK_BACK: usize = 200_000;

impl World<'_> {
    pub(super) fn reaches(&mut self, id: u32) {
        let attempt = &self.attempts[id as usize];
        let (at, call, nth) = (attempt.choice.provider, attempt.call, attempt.nth);
        if attempt.is_over {
            return;
        }
        let provider = self.provider(at);
        if self.is_away[at as usize] {
            self.met(call, Fault::Loss);
            if provider.fate.absence.is_some_and(|gone| gone.noticed <= self.now) {
                self.tell(id, News::Early(End::FailedEarly), 0);
            }
            return;
        }
        let luck = provider.fate.luck(self.case.seed, call, at, nth, self.now);
        self.attempts[id as usize].luck = luck;
        match luck {
            Luck::Early(fault @ (Fault::Error | Fault::Crash)) => {
                self.met(call, fault);
                return self.tell(id, News::Early(End::FailedEarly), ERROR_AFTER);
            }
            Luck::Early(Fault::Hang) => return self.met(call, Fault::Hang),
            Luck::Early(fault) | Luck::Breaks(fault, _) => self.met(call, fault),
            Luck::Good if self.engines[at as usize].slowed() > 1.0 => self.met(call, Fault::Slow),
            Luck::Good => {}
        }
        let engine = &self.engines[at as usize];
        if engine.running() + engine.queued() >= provider.offered {
            return self.tell(id, News::Early(End::Refused), 0);
        }
        let job = self.job(id);
        self.engines[at as usize].submit(id, job, seconds(self.now));
        self.retick(at);
    }

    /// The attempt as its engine sees it.
    fn job(&self, id: u32) -> Job {
        let attempt = &self.attempts[id as usize];
        let demand = &self.case.demands[attempt.call as usize];
        let stop = match attempt.luck {
            Luck::Early(_) => 1,
            // At least one token comes, and at least the last does not.
            Luck::Breaks(_, share) if attempt.tokens > 1 => 1 + (share * f64::from(attempt.tokens - 2)) as u32,
            Luck::Good | Luck::Breaks(..) => attempt.tokens,
        };
        Job {
            prompt: attempt.prompt,
            shared: demand.shared,
            opening: Some(demand.opening),
            stop,
        }
    }

    pub(super) fn ticked(&mut self, at: u32) {
        let mut did = std::mem::take(&mut self.did);
        self.engines[at as usize].tick(seconds(self.now), &mut did);
        for did in did.drain(..) {
            match did {
                Did::First(id) => self.engine_began(id),
                Did::Last(id) => self.engine_ended(id),
            }
        }
        self.did = did;
        self.retick(at);
    }

    fn engine_began(&mut self, id: u32) {
        if let Luck::Early(_) = self.attempts[id as usize].luck {
            let wasted = work_s(
                self.provider(self.attempts[id as usize].choice.provider),
                f64::from(self.attempts[id as usize].prompt),
                0.0,
            );
            self.tally.wasted_s += wasted;
            self.tell(id, News::Early(End::FailedEarly), 0);
        } else {
            self.tell(id, News::First, 0);
        }
    }

    fn engine_ended(&mut self, id: u32) {
        let attempt = &self.attempts[id as usize];
        let stop = self.job(id).stop;
        self.tally.tokens_known += f64::from(stop - 1);
        match attempt.luck {
            Luck::Early(_) => {}
            Luck::Breaks(fault, _) if stop < attempt.tokens => {
                // What stalls is found out when no token has come for the time of a gap.
                let silent = if fault == Fault::Stall {
                    attempt.choice.gap_deadline
                } else {
                    0
                };
                self.tell(id, News::Broken(stop), silent);
            }
            Luck::Good | Luck::Breaks(..) => self.tell(id, News::Last, 0),
        }
    }

    pub(super) fn cancelled(&mut self, id: u32) {
        let at = self.attempts[id as usize].choice.provider;
        if let Some(work) = self.engines[at as usize].cancel(id, seconds(self.now)) {
            self.tally.tokens_known += f64::from(work.tokens.saturating_sub(1));
            self.tally.wasted_s += work_s(self.provider(at), work.prefilled, f64::from(work.tokens));
            self.retick(at);
        }
    }

    /// Enters the engine's next moment anew.
    fn retick(&mut self, at: u32) {
        let generation = &mut self.ticks[at as usize];
        *generation += 1;
        if let Some(next_s) = self.engines[at as usize].next_s() {
            self.agenda
                .enter(micros(next_s).max(self.now), Step::Ticks(at, *generation));
        }
    }

    pub(super) fn heartbeat(&mut self, at: u32) {
        let Some(desk) = &mut self.desk else {
            return;
        };
        if !self.is_away[at as usize] {
            let engine = &self.engines[at as usize];
            let (running, waiting) = if self.case.providers[at as usize].fate.is_honest() {
                (engine.running(), engine.queued())
            } else {
                (0, 0)
            };
            desk.heartbeat(at, running, waiting, self.now);
        }
        self.agenda.enter(self.now + HEARTBEAT, Step::Heartbeat(at));
    }

    pub(super) fn episode_begins(&mut self, at: u32, nth: u32) {
        let episode = self.provider(at).fate.episodes[nth as usize];
        match episode.kind {
            Fault::Slow => self.slow(at, episode.strength),
            Fault::Crash => {
                let lost = self.engines[at as usize].crash(seconds(self.now));
                self.lose(at, &lost, Fault::Crash, true);
            }
            _ => {}
        }
    }

    pub(super) fn slow(&mut self, at: u32, factor: f64) {
        let always = self.provider(at).slowed;
        self.engines[at as usize].slow(always * factor, seconds(self.now));
        self.retick(at);
    }

    pub(super) fn vanishes(&mut self, at: u32) {
        self.is_away[at as usize] = true;
        let lost = self.engines[at as usize].crash(seconds(self.now));
        let is_noticed = self
            .provider(at)
            .fate
            .absence
            .is_some_and(|gone| gone.noticed <= self.now);
        self.lose(at, &lost, Fault::Loss, is_noticed);
    }

    /// All that an engine was doing is lost. Whoever notices hears of it; others wait in vain.
    fn lose(&mut self, at: u32, lost: &[(u32, Work)], fault: Fault, is_noticed: bool) {
        for (id, work) in lost {
            let attempt = &self.attempts[*id as usize];
            self.met(attempt.call, fault);
            let attempt = &self.attempts[*id as usize];
            let silent = if is_noticed { 0 } else { attempt.choice.gap_deadline };
            self.tally.tokens_known += f64::from(work.tokens.saturating_sub(1));
            if work.tokens > 0 {
                self.tell(*id, News::Broken(work.tokens), silent);
            } else {
                self.tally.wasted_s += work_s(self.provider(at), work.prefilled, 0.0);
                if is_noticed {
                    self.tell(*id, News::Early(End::FailedEarly), 0);
                }
            }
        }
        self.retick(at);
    }

    pub(super) fn noticed(&mut self, at: u32) {
        if let Some(desk) = &mut self.desk {
            desk.left(at, self.now);
        }
        // The connection is gone, and with it whatever still waited for a first token.
        let waits = |attempt: &Attempt| attempt.choice.provider == at && !attempt.is_over && attempt.first_at.is_none();
        let waiting: Vec<u32> = (0..self.attempts.len() as u32)
            .rev()
            .take(NOTICED_LOOK_BACK)
            .filter(|id| waits(&self.attempts[*id as usize]))
            .collect();
        for id in waiting {
            self.hears(id, News::Early(End::FailedEarly));
        }
    }

    pub(super) fn returns(&mut self, at: u32) {
        self.is_away[at as usize] = false;
        if let Some(desk) = &mut self.desk {
            desk.joined(at, &self.case.providers[at as usize], self.now);
        }
        self.freed();
    }
}
