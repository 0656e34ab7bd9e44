//! What an operator or a simulation may turn. Constants that belong to one estimator stay there.

use std::time::Duration;

/// Attempts a plan can hold at most, whatever the policy says. Source: ROUTING, "Attempts ≤ 4".
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// By which algorithm the first attempt and those after it are chosen.
///
/// All but the first are the baselines of the proof. They share the hard filters, the capacity
/// check, the plan's length and the deadlines, so that calls get the same retries under each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Strategy {
    /// This project's: price and expected time, adaptive limits, breakers.
    #[default]
    Filature,
    /// The lesser of two at random by peak-sensitive average time × outstanding (Finagle, tower).
    PeakEwma,
    /// The fewest outstanding, ties at random.
    LeastOutstanding,
    /// One after the other.
    RoundRobin,
    /// At random, weighted by 1/price² (`OpenRouter`).
    InverseSquarePrice,
    /// The least running × average time (Cocoon).
    RunningTimesAverage,
}

/// How the router decides. [`Policy::default`] is what the project recommends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Policy {
    /// Attempts in a plan, 1 to 4; values outside are taken as the nearest.
    pub attempts_max: u32,
    /// Share of calls (0 to 1) whose first attempt goes to a provider little is known about.
    pub exploration: f64,
    /// Standard deviation of the logarithm of the random factor on each score. Near ties then
    /// spread instead of herding; 0 picks the strict minimum.
    pub jitter: f64,
    /// A first token is never given up on earlier than this.
    pub first_token_deadline_min: Duration,
    /// A gap between tokens is never given up on earlier than this.
    pub gap_deadline_min: Duration,
    /// No deadline for a first token, a gap or a whole answer is longer than this.
    pub deadline_max: Duration,
    /// Whether a call may exceed the adaptive limit of a provider, up to what the provider
    /// offered, when every provider is at its limit. Without it such a call is
    /// [`NoRoute::Full`](crate::NoRoute::Full) and waits before the router, not in an engine.
    pub beyond_limit: bool,
    /// Providers the fleet remembers at most; those that join beyond it are ignored.
    pub providers_max: u32,
    /// Gateways that route to the same providers: each takes this part of the exploration.
    pub replicas: u32,
    /// By which algorithm providers are chosen.
    pub strategy: Strategy,
    /// Retries allowed per first attempt, over 30 s; and as many rescues.
    pub retry_share: f64,
    /// Retries allowed beside that, per second; and as many rescues.
    pub retry_per_second: f64,
    /// Hedges allowed per first attempt, over 30 s.
    pub hedge_share: f64,
}

impl Default for Policy {
    /// The figures of the toy simulation that started the design (ROUTING). `beyond_limit` is on:
    /// limits start low, and nobody should wait while a provider has offered to take more.
    fn default() -> Self {
        Self {
            attempts_max: 4,
            exploration: 0.01,
            jitter: 0.05,
            first_token_deadline_min: Duration::from_secs(8),
            gap_deadline_min: Duration::from_secs(2),
            deadline_max: Duration::from_secs(600),
            beyond_limit: true,
            providers_max: 16_384,
            replicas: 1,
            strategy: Strategy::Filature,
            retry_share: 0.2,
            retry_per_second: 10.0,
            hedge_share: 0.05,
        }
    }
}

impl Policy {
    pub(crate) fn attempts(&self) -> usize {
        usize::try_from(self.attempts_max)
            .unwrap_or(ATTEMPTS_MAX)
            .clamp(1, ATTEMPTS_MAX)
    }
}
