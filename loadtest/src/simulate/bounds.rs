//! What no router can beat: a choice that knows everything.
//!
//! The oracle knows the true state of every engine, with all that is on its way to it, and which attempts will fail. Each
//! call goes where cost and time come out least *for this call*: greedy, so not the optimum over all calls, but nothing
//! that decides call by call and in order does better on what it is judged by. The central pool is judged the same way;
//! its servers are alike, so that this is: join the shortest true work.

use filature_router::Price;

use super::agenda::{Micros, micros, seconds};
use super::engine::{Engine, Job};
use super::faults::{Fault, Luck};
use super::providers::Provider;

/// What a second of reading along weighs against a second of waiting, and how much worse each second of waiting makes the
/// next: as in the router's score (`router/src/route/score.rs`), so that both want the same.
const READING_WEIGHT: f64 = 0.1;
const IMPATIENCE: f64 = 4.0;
/// A provider is avoided that fails within this many times the time that the call is expected to take there.
const CAUTION: f64 = 1.5;

/// A call for which a place is wanted.
pub(super) struct Wanted {
    pub(super) call: u32,
    /// How many attempts it had.
    pub(super) nth: u32,
    pub(super) job: Job,
    pub(super) exchange: f64,
    /// Whether nothing counts but the time to first token.
    pub(super) only_first: bool,
    /// Whether only a free slot will do: under overload the rest is turned away.
    pub(super) only_free: bool,
}

/// The best provider for the call, if one has room.
pub(super) fn pick(providers: &[Provider], engines: &[Engine], wanted: &Wanted, seed: u64, now: Micros) -> Option<u32> {
    let mut best: Option<(bool, f64, u32)> = None;
    for (at, (provider, engine)) in providers.iter().zip(engines).enumerate() {
        let at = at as u32;
        let taken = engine.running() + engine.queued();
        let room = if wanted.only_free {
            provider.make.slots
        } else {
            provider.offered
        };
        if taken >= room {
            continue;
        }
        let first_s = provider.round_trip_s + engine.first_token_s(&wanted.job, seconds(now));
        let reading_s = f64::from(wanted.job.stop) * engine.gap_with_one_more();
        let will_fail = fails(provider, engine, wanted, (at, first_s + reading_s), seed, now);
        if will_fail && wanted.only_free {
            continue;
        }
        let cost = cost_nano(&provider.price, wanted.job.prompt, wanted.job.stop);
        let score = if wanted.only_first {
            // Of those alike in this, the quicker reader.
            first_s + reading_s / 1000.0
        } else {
            let waiting_s = first_s * (1.0 + IMPATIENCE * first_s);
            cost + wanted.exchange * (waiting_s + READING_WEIGHT * reading_s)
        };
        if best.is_none_or(|(failed, least, _)| (will_fail, score) < (failed, least)) {
            best = Some((will_fail, score, at));
        }
    }
    best.map(|(_, _, at)| at)
}

/// Whether the call would fail there, or be slowed down by an episode that is still to come.
fn fails(provider: &Provider, engine: &Engine, wanted: &Wanted, there: (u32, f64), seed: u64, now: Micros) -> bool {
    let (at, takes_s) = there;
    let fate = &provider.fate;
    let until = now + micros(takes_s * CAUTION + 1.0);
    let is_away = fate.absence.is_some_and(|gone| gone.from <= now && now < gone.to);
    let slows = fate.episodes.iter().any(|episode| {
        let is_coming = now < episode.from && episode.from <= until;
        episode.kind == Fault::Slow && is_coming && engine.slowed() < episode.strength
    });
    is_away || slows || fate.dies_within(now, until) || fate.luck(seed, wanted.call, at, wanted.nth, now) != Luck::Good
}

/// NanoTON, not rounded.
pub(super) fn cost_nano(price: &Price, prompt: u32, output: u32) -> f64 {
    let tokens = f64::from(prompt) * price.prompt as f64 + f64::from(output) * price.completion as f64;
    tokens / 1e6 + price.call as f64
}
