//! One run in virtual time: what happens, in order. The providers' side of it is in [`super::site`], the gateway's in
//! [`super::calls`].

use filature_router::End;

use super::agenda::{Agenda, Micros, micros, seconds};
use super::calls::{Attempt, Call};
use super::contender::{Contender, Judge};
use super::demand::Demand;
use super::desk::Desk;
use super::engine::{Did, Engine};
use super::faults::Fault;
use super::providers::Provider;
use super::tally::Tally;

/// How often the gateway hears what an engine says of itself (gateway, `fleet/tunnel.rs`: a status every 2 s).
pub(super) const HEARTBEAT: Micros = 2_000_000;

/// What one run is about.
pub(super) struct Case<'a> {
    pub(super) providers: &'a [Provider],
    pub(super) demands: &'a [Demand],
    pub(super) contender: &'a Contender,
    pub(super) is_overload: bool,
    /// Calls before this one warm up and are not counted.
    pub(super) counted_from: u32,
    pub(super) seed: u64,
}

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The call comes.
    Arrives(u32),
    /// The attempt reaches its provider.
    Reaches(u32),
    /// The engine has something to tell, unless something else came in between.
    Ticks(u32, u32),
    /// The gateway hears of an attempt.
    Hears(u32, News),
    /// No first token came in time, or it came.
    FirstTokenDue(u32),
    /// A second attempt may be started beside this one.
    HedgeDue(u32),
    /// The provider hears that nobody wants the attempt any more.
    Cancelled(u32),
    Heartbeat(u32),
    EpisodeBegins(u32, u32),
    EpisodeEnds(u32),
    Vanishes(u32),
    /// The gateway notices that a provider is gone.
    Noticed(u32),
    Returns(u32),
    /// The call has waited long enough.
    WaitOver(u32),
}

/// What the gateway hears of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    First,
    Last,
    /// An error before the first token.
    Early(End),
    /// The stream is over, or silent for too long, after so many tokens.
    Broken(u32),
}

/// A run under way.
pub(super) struct World<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) agenda: Agenda<Step>,
    pub(super) engines: Vec<Engine>,
    /// The generation of each engine's entry in the agenda: older entries mean nothing.
    pub(super) ticks: Vec<u32>,
    pub(super) is_away: Vec<bool>,
    /// The router; the bounds do without.
    pub(super) desk: Option<Desk>,
    pub(super) calls: Vec<Call>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) tally: Tally,
    /// Calls that are not over yet.
    pub(super) open: usize,
    pub(super) now: Micros,
    /// Times at which callers who were turned away were told to come back, by tier.
    pub(super) told: [std::collections::BinaryHeap<std::cmp::Reverse<Micros>>; 3],
    pub(super) did: Vec<Did>,
}

/// Lets all calls of the case come and end.
pub(super) fn run(case: &Case<'_>) -> Tally {
    let mut world = World::new(case);
    world.enter_all();
    while world.open > 0
        && let Some((at, step)) = world.agenda.next()
    {
        world.now = at;
        world.step(step);
    }
    world.finished()
}

impl<'a> World<'a> {
    fn new(case: &'a Case<'a>) -> Self {
        let desk = match case.contender.judge {
            Judge::Router(strategy) => Some(Desk::new(strategy, case.providers, case.seed)),
            Judge::Oracle | Judge::OracleOfFirstToken | Judge::Central => None,
        };
        let mut engines: Vec<Engine> = case
            .providers
            .iter()
            .map(|provider| Engine::new(provider.make))
            .collect();
        for (engine, provider) in engines.iter_mut().zip(case.providers) {
            engine.slow(provider.slowed, 0.0);
        }
        Self {
            case,
            agenda: Agenda::default(),
            ticks: vec![0; engines.len()],
            is_away: vec![false; engines.len()],
            engines,
            desk,
            calls: vec![Call::default(); case.demands.len()],
            attempts: Vec::with_capacity(case.demands.len() * 5 / 4),
            tally: Tally::default(),
            open: case.demands.len(),
            now: 0,
            told: Default::default(),
            did: Vec::new(),
        }
    }

    /// All that is known before it begins. Of each endless series only the first.
    fn enter_all(&mut self) {
        if let Some(first) = self.case.demands.first() {
            self.agenda.enter(first.at, Step::Arrives(0));
        }
        let count = self.case.providers.len() as u64;
        for (at, provider) in self.case.providers.iter().enumerate() {
            let at = at as u32;
            // Providers did not all connect in the same moment.
            self.agenda
                .enter(HEARTBEAT * u64::from(at) / count, Step::Heartbeat(at));
            for (nth, episode) in provider.fate.episodes.iter().enumerate() {
                self.agenda.enter(episode.from, Step::EpisodeBegins(at, nth as u32));
                self.agenda.enter(episode.to, Step::EpisodeEnds(at));
            }
            if let Some(gone) = provider.fate.absence {
                self.agenda.enter(gone.from, Step::Vanishes(at));
                self.agenda.enter(gone.noticed, Step::Noticed(at));
                self.agenda.enter(gone.to.max(gone.noticed), Step::Returns(at));
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Arrives(call) => self.arrives(call),
            Step::Reaches(attempt) => self.reaches(attempt),
            Step::Ticks(at, generation) if self.ticks[at as usize] == generation => self.ticked(at),
            Step::Ticks(..) => {}
            Step::Hears(attempt, news) => self.hears(attempt, news),
            Step::FirstTokenDue(attempt) => self.first_token_due(attempt),
            Step::HedgeDue(attempt) => self.hedge_due(attempt),
            Step::Cancelled(attempt) => self.cancelled(attempt),
            Step::Heartbeat(at) => self.heartbeat(at),
            Step::EpisodeBegins(at, nth) => self.episode_begins(at, nth),
            Step::EpisodeEnds(at) => self.slow(at, 1.0),
            Step::Vanishes(at) => self.vanishes(at),
            Step::Noticed(at) => self.noticed(at),
            Step::Returns(at) => self.returns(at),
            Step::WaitOver(call) => self.wait_over(call),
        }
    }

    fn finished(mut self) -> Tally {
        for (engine, provider) in self.engines.iter_mut().zip(self.case.providers) {
            // What is still there was cancelled a moment ago.
            for (_, work) in engine.crash(seconds(self.now)) {
                self.tally.tokens_known += f64::from(work.tokens.saturating_sub(1));
            }
            self.tally.work_s += work_s(provider, engine.prefilled, engine.decoded);
            self.tally.tokens_made += engine.decoded;
        }
        self.tally.left_over = self.desk.as_ref().map_or(0, |desk| desk.in_flight(self.now));
        self.tally
    }

    pub(super) fn provider(&self, at: u32) -> &'a Provider {
        &self.case.providers[at as usize]
    }

    /// Microseconds a message takes one way. The bounds know what is on its way: for them requests arrive at once, and
    /// answers take the whole round trip.
    pub(super) fn there(&self, at: u32) -> Micros {
        if self.desk.is_none() {
            return 0;
        }
        micros(self.provider(at).round_trip_s / 2.0)
    }

    fn back(&self, at: u32) -> Micros {
        micros(self.provider(at).round_trip_s) - self.there(at)
    }

    /// The gateway will hear this.
    pub(super) fn tell(&mut self, attempt: u32, news: News, after: Micros) {
        let back = self.back(self.attempts[attempt as usize].choice.provider);
        self.agenda.enter(self.now + after + back, Step::Hears(attempt, news));
    }

    pub(super) fn met(&mut self, call: u32, fault: Fault) {
        self.calls[call as usize].met |= 1 << fault as u16;
    }
}

/// Engine time of this much work, with all slots busy.
pub(super) fn work_s(provider: &Provider, prefilled: f64, tokens: f64) -> f64 {
    let slots = f64::from(provider.make.slots);
    prefilled * provider.make.prefill_s + tokens * provider.make.gap_at(slots) / slots
}
