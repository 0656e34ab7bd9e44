//! The gateway's side of a run: a call from its arrival to its end, as `gateway/src/request` takes it there.
//!
//! Plan, or wait in the queue; attempts in order, a second one beside the first when it is slow, another one after each
//! failure within the budget; a stream that breaks is continued by another provider, with what came so far as part of
//! the prompt. All calls are plain streamed chats: none of those whose streams cannot be continued (tools, schemas).

use filature_router::{End, Ticket, Try};

use super::agenda::Micros;
use super::bounds::{self, Wanted, cost_nano};
use super::contender::Judge;
use super::demand::Demand;
use super::desk::{Choice, Question, Route, rank};
use super::engine::Job;
use super::faults::Luck;
use super::tally::Ending;
use super::world::{News, Step, World, work_s};

/// Attempts before the first token. Source: ROUTING, "Attempts ≤ 4".
const ATTEMPTS_MAX: u32 = 4;
/// Attempts in all of a call whose stream broke (gateway, `request/resume.rs`).
const RESUMED_MAX: u32 = 8;
/// Attempts of one call in all, refusals included: beyond it nothing will help.
const ATTEMPTS_ALL_MAX: u32 = 40;

/// A call under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    pub(super) route: Route,
    /// The next of the route's choices.
    pub(super) next: usize,
    /// Providers that had it.
    pub(super) tried: Vec<u32>,
    /// Attempts that are not over.
    pub(super) live: Vec<u32>,
    /// Attempts since it came, or since its stream broke last; and in all.
    pub(super) attempts: u32,
    pub(super) attempts_all: u32,
    pub(super) rescues: u32,
    /// Tokens that its caller has.
    pub(super) delivered: u32,
    pub(super) first_at: Option<Micros>,
    /// NanoTON owed for what was delivered.
    pub(super) cost: f64,
    /// Faults met, a bit each.
    pub(super) met: u16,
    pub(super) ticket: Option<Ticket>,
    /// Since when it waits, if it does.
    pub(super) waits_from: Micros,
    /// Callers told to come back who would have come now, and would fare the same.
    pub(super) stands_for: u64,
    pub(super) is_over: bool,
}

/// An attempt under way.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) call: u32,
    pub(super) choice: Choice,
    /// The how-manieth of its call.
    pub(super) nth: u32,
    /// Prompt tokens, with what was delivered before; and tokens it is to give.
    pub(super) prompt: u32,
    pub(super) tokens: u32,
    started: Micros,
    pub(super) first_at: Option<Micros>,
    pub(super) is_over: bool,
    pub(super) luck: Luck,
}

impl World<'_> {
    pub(super) fn demand(&self, call: u32) -> &Demand {
        &self.case.demands[call as usize]
    }

    pub(super) fn arrives(&mut self, call: u32) {
        if let Some(next) = self.case.demands.get(call as usize + 1) {
            self.agenda.enter(next.at, Step::Arrives(call + 1));
        }
        self.stand_for_others(call);
        let rank = rank(self.demand(call).tier as u8, false);
        let must_wait = self
            .desk
            .as_ref()
            .is_some_and(|desk| !desk.queue.is_empty() && !desk.queue.is_better_than_all(rank));
        if must_wait || !self.seek(call) {
            self.wait(call);
        }
    }

    /// Finds the call a place and starts its attempt there, or says that there is none.
    pub(super) fn seek(&mut self, call: u32) -> bool {
        let Some(route) = self.route(call) else {
            return false;
        };
        if let Some(desk) = &mut self.desk {
            desk.queue.served(filature_router::Time::from_micros(self.now));
        }
        let state = &mut self.calls[call as usize];
        state.route = route;
        state.next = 0;
        let kind = match (state.rescues, state.attempts) {
            (0, 0) => Try::First,
            (0, _) => Try::Retry,
            _ => Try::Rescue,
        };
        if self.permits(kind) {
            self.start_next(call, kind);
        } else {
            self.over(call, Ending::Failed);
        }
        true
    }

    fn route(&mut self, call: u32) -> Option<Route> {
        let (demand, contender, state) = (*self.demand(call), self.case.contender, &self.calls[call as usize]);
        if let Some(desk) = &mut self.desk {
            let question = Question {
                prompt: demand.prompt + state.delivered,
                exchange: contender.exchange,
                opening: contender.affinity.then_some(demand.opening),
                tried: &state.tried,
            };
            return desk.route(&question, self.now);
        }
        let job = Job {
            prompt: demand.prompt + state.delivered,
            shared: demand.shared,
            opening: Some(demand.opening),
            stop: demand.output - state.delivered,
        };
        let wanted = Wanted {
            call,
            nth: state.attempts_all,
            job,
            exchange: contender.exchange,
            only_first: contender.judge == Judge::OracleOfFirstToken,
            only_free: self.case.is_overload && state.attempts_all == 0,
        };
        let at = bounds::pick(self.case.providers, &self.engines, &wanted, self.case.seed, self.now)?;
        // Whoever knows the future waits no longer than it must, and notices at once what fails.
        let choice = Choice {
            provider: at,
            prefill_tokens: job.prompt,
            first_token_deadline: 60_000_000,
            gap_deadline: 0,
        };
        Some(Route {
            choices: vec![choice],
            hedge_after: None,
        })
    }

    fn permits(&mut self, kind: Try) -> bool {
        let now = self.now;
        self.desk.as_mut().is_none_or(|desk| desk.permits(kind, now))
    }

    /// Starts the attempt that is next; the route has one.
    fn start_next(&mut self, call: u32, kind: Try) {
        let demand = *self.demand(call);
        let state = &mut self.calls[call as usize];
        let choice = state.route.choices[state.next];
        let hedge_after = state
            .route
            .hedge_after
            .filter(|_| state.next == 0 && state.rescues == 0);
        state.next += 1;
        let id = self.attempts.len() as u32;
        let attempt = Attempt {
            call,
            choice,
            nth: state.attempts_all,
            prompt: demand.prompt + state.delivered,
            tokens: demand.output - state.delivered,
            started: self.now,
            first_at: None,
            is_over: false,
            luck: Luck::Good,
        };
        state.attempts += 1;
        state.attempts_all += 1;
        state.tried.push(choice.provider);
        state.live.push(id);
        self.attempts.push(attempt);
        if let Some(desk) = &mut self.desk {
            desk.started(&choice, kind, self.now);
        }
        self.tally.started(kind, self.provider(choice.provider).fate.character);
        let reaches = self.now + self.there(choice.provider);
        self.agenda.enter(reaches, Step::Reaches(id));
        self.agenda
            .enter(self.now + choice.first_token_deadline, Step::FirstTokenDue(id));
        if let Some(after) = hedge_after.filter(|_| self.case.contender.hedges) {
            self.agenda.enter(self.now + after, Step::HedgeDue(id));
        }
    }

    pub(super) fn hedge_due(&mut self, id: u32) {
        let attempt = &self.attempts[id as usize];
        let (call, state) = (attempt.call, &self.calls[attempt.call as usize]);
        let is_alone = state.live == [id] && attempt.first_at.is_none() && !attempt.is_over;
        let has_next = state.next < state.route.choices.len() && state.attempts < ATTEMPTS_MAX;
        if is_alone && has_next && self.permits(Try::Hedge) {
            self.start_next(call, Try::Hedge);
        }
    }

    pub(super) fn first_token_due(&mut self, id: u32) {
        let attempt = &self.attempts[id as usize];
        if !attempt.is_over && attempt.first_at.is_none() {
            self.cancel(id);
            self.hears(id, News::Early(End::FailedEarly));
        }
    }

    pub(super) fn hears(&mut self, id: u32, news: News) {
        let attempt = &self.attempts[id as usize];
        if attempt.is_over {
            return;
        }
        match news {
            News::First => self.began(id),
            News::Last => {
                let (tokens, call) = (attempt.tokens, attempt.call);
                let end = End::Served {
                    completion_tokens: tokens,
                    after_first_token: std::time::Duration::from_micros(
                        self.now - attempt.first_at.unwrap_or(self.now),
                    ),
                };
                self.ended(id, end);
                self.delivered(id, tokens);
                self.over(call, Ending::Served);
                self.freed();
            }
            News::Early(end) => {
                let call = attempt.call;
                self.ended(id, end);
                if self.calls[call as usize].live.is_empty() {
                    self.proceed(call, end);
                }
                self.freed();
            }
            News::Broken(tokens) => {
                let call = attempt.call;
                self.ended(id, End::Broke);
                self.delivered(id, tokens);
                self.rescue(call);
                self.freed();
            }
        }
    }

    fn began(&mut self, id: u32) {
        self.attempts[id as usize].first_at = Some(self.now);
        let attempt = self.attempts[id as usize].clone();
        let opening = self.demand(attempt.call).opening;
        let affinity = self.case.contender.affinity;
        if let Some(desk) = &mut self.desk {
            desk.first_token(&attempt.choice, self.now - attempt.started, self.now);
            if affinity {
                desk.saw(attempt.choice.provider, opening, attempt.prompt, self.now);
            }
        }
        let state = &mut self.calls[attempt.call as usize];
        state.first_at.get_or_insert(self.now);
        let losers: Vec<u32> = state.live.iter().copied().filter(|other| *other != id).collect();
        for loser in losers {
            self.cancel(loser);
            self.ended(loser, End::Cancelled);
        }
    }

    /// Tells the provider that nobody waits for the attempt any more.
    fn cancel(&mut self, id: u32) {
        let there = self.there(self.attempts[id as usize].choice.provider);
        self.agenda.enter(self.now + there, Step::Cancelled(id));
    }

    fn ended(&mut self, id: u32, end: End) {
        let attempt = &mut self.attempts[id as usize];
        attempt.is_over = true;
        let (choice, is_seen) = (attempt.choice, attempt.first_at.is_some());
        self.calls[attempt.call as usize].live.retain(|other| *other != id);
        if let Some(desk) = &mut self.desk {
            desk.ended(&choice, is_seen, end, self.now);
        }
    }

    /// The caller has `tokens` more, at the price of who gave them. A prompt that was read again is paid again.
    fn delivered(&mut self, id: u32, tokens: u32) {
        let attempt = &self.attempts[id as usize];
        let provider = self.provider(attempt.choice.provider);
        let state = &mut self.calls[attempt.call as usize];
        if state.delivered > 0 {
            self.tally.wasted_s += work_s(provider, f64::from(attempt.prompt), 0.0);
        }
        state.delivered += tokens;
        state.cost += cost_nano(&provider.price, attempt.prompt, tokens);
    }

    /// After a failure before the first token: the next of the plan, or a new plan.
    fn proceed(&mut self, call: u32, end: End) {
        let state = &self.calls[call as usize];
        let is_refusal = end == End::Refused;
        let is_resumed = state.rescues > 0;
        let (made, most) = if is_resumed {
            (state.attempts_all, RESUMED_MAX)
        } else {
            (state.attempts, ATTEMPTS_MAX)
        };
        if (made >= most && !is_refusal) || state.attempts_all >= ATTEMPTS_ALL_MAX {
            return self.over(call, Ending::Failed);
        }
        if state.next < state.route.choices.len() {
            let kind = if is_resumed { Try::Rescue } else { Try::Retry };
            // A refusal costs nobody anything, so it needs no budget.
            if is_refusal || self.permits(kind) {
                return self.start_next(call, kind);
            }
            return self.over(call, Ending::Failed);
        }
        if is_refusal {
            // All of the plan were full: it was the plan that was out of date.
            let state = &mut self.calls[call as usize];
            state.attempts = state.attempts.saturating_sub(1);
            state.tried.clear();
        }
        if !self.seek(call) {
            self.wait(call);
        }
    }

    fn rescue(&mut self, call: u32) {
        let state = &mut self.calls[call as usize];
        if !self.case.contender.rescues || state.attempts_all >= RESUMED_MAX {
            return self.over(call, Ending::Failed);
        }
        state.rescues += 1;
        state.attempts = 0;
        if !self.seek(call) {
            self.wait(call);
        }
    }
}
