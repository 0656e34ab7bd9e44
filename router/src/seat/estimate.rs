//! How fast a provider is with a model, learnt from calls that worked. Failures never enter here:
//! a provider that fails fast must not look fast.

use crate::memory::Memory;
use crate::time::Time;

/// Expected overhead before a first token, seconds, of a provider nobody has tried. Chosen here: a
/// round trip and a short queue.
const BASE_PRIOR_S: f64 = 0.3;

/// Seconds per prompt token before anything is known: 10,000 tokens/s.
const PREFILL_PRIOR_S: f64 = 1e-4;

/// Bounds of seconds per prompt token. Source: ROUTING, "kept in 2e-5..1e-3 s/token".
const PREFILL_MIN_S: f64 = 2e-5;
const PREFILL_MAX_S: f64 = 1e-3;

/// Seconds per completion token before anything is known: 33 tokens/s.
const GAP_PRIOR_S: f64 = 0.03;

/// Bounds of seconds per completion token, so that one absurd measurement cannot blind the average.
const GAP_MIN_S: f64 = 1e-5;
const GAP_MAX_S: f64 = 10.0;

/// Weight of a new first token and of a new gap against what was known. Source: ROUTING, "Score".
const FIRST_TOKEN_WEIGHT: f64 = 0.15;
const GAP_WEIGHT: f64 = 0.2;

/// Prompt length, tokens, at which an error is put down to the base and to the prefill rate in
/// equal parts: shorter prompts tell of the base, longer ones of the rate. About the median prompt
/// of the Azure conversation trace (2023); of no great matter.
const PREFILL_SCALE_TOKENS: f64 = 1000.0;

/// Streams that slow an engine down as much as one more stream does at the margin: gaps grow with
/// (streams + 8). Source: ROUTING, "ITL̂".
const BATCH_SLACK: f64 = 8.0;

/// How fast the least overhead ever seen gives way to what is seen now, per first token.
const FLOOR_RISE: f64 = 0.01;

/// Least overhead that "ideal" may mean, seconds: below it the network's own jitter would read as
/// congestion.
const FLOOR_MIN_S: f64 = 0.05;

/// First tokens after which a provider is no newcomer; chosen here, where `FIRST_TOKEN_WEIGHT` takes
/// over from plain averaging.
const NEWCOMER_UNTIL: u32 = 6;

/// Bounds of what a sibling may say: an hour, and more streams than any engine has.
const SECONDS_MAX: f64 = 3600.0;
const STREAMS_MAX: f64 = 1e6;

/// An estimate this old, seconds, is as good as none: a provider that was slow once gets a new look.
const STALE_S: f64 = 60.0;

/// Estimates of one seat.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Latency {
    base_s: f64,
    prefill_s: f64,
    floor_s: f64,
    gap_s: f64,
    gap_streams: f64,
    first_tokens: u32,
    gaps: u32,
    seen_at: Time,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            base_s: BASE_PRIOR_S,
            prefill_s: PREFILL_PRIOR_S,
            floor_s: f64::INFINITY,
            gap_s: GAP_PRIOR_S,
            gap_streams: 1.0,
            first_tokens: 0,
            gaps: 0,
            seen_at: Time::default(),
        }
    }
}

impl Latency {
    /// Expected seconds to the first token of a prompt that waits behind `tokens_ahead`.
    pub(crate) fn first_token_s(&self, tokens_ahead: u64, prompt_tokens: u32) -> f64 {
        self.base_s + tokens(tokens_ahead, prompt_tokens) * self.prefill_s
    }

    /// The same, as bad as it may be: the slowest prefill rate while the rate is hardly known.
    pub(crate) fn first_token_worst_s(&self, tokens_ahead: u64, prompt_tokens: u32) -> f64 {
        let rate = if self.first_tokens < NEWCOMER_UNTIL {
            PREFILL_MAX_S
        } else {
            self.prefill_s
        };
        self.first_token_s(tokens_ahead, 0) + tokens(0, prompt_tokens) * rate
    }

    /// Seconds to the first token were nothing else going on.
    pub(crate) fn ideal_s(&self, prompt_tokens: u32) -> f64 {
        let floor = if self.floor_s.is_finite() {
            self.floor_s
        } else {
            self.base_s
        };
        floor.max(FLOOR_MIN_S) + f64::from(prompt_tokens) * self.prefill_s
    }

    /// Expected seconds between tokens for one more stream beside `streams`.
    pub(crate) fn gap_s(&self, streams: f64) -> f64 {
        self.gap_s * (streams + 1.0 + BATCH_SLACK) / (self.gap_streams + BATCH_SLACK)
    }

    /// Learns from a first token that took `took_s` behind `tokens_ahead`.
    pub(crate) fn saw_first_token(&mut self, took_s: f64, tokens_ahead: u64, prompt_tokens: u32, now: Time) {
        let error = took_s - self.first_token_s(tokens_ahead, prompt_tokens);
        // A normalised least-mean-squares step (Kaczmarz 1937): straight towards the nearest pair
        // (base, rate) that explains this first token. Correcting each figure by a fixed share of
        // the error instead drives the rate to its bound where prompts differ in length.
        let length = tokens(tokens_ahead, prompt_tokens) / PREFILL_SCALE_TOKENS;
        let step = warm(FIRST_TOKEN_WEIGHT, self.first_tokens) * error / (1.0 + length * length);
        self.base_s = (self.base_s + step).max(0.0);
        self.prefill_s = (self.prefill_s + step * length / PREFILL_SCALE_TOKENS).clamp(PREFILL_MIN_S, PREFILL_MAX_S);
        let overhead = (took_s - f64::from(prompt_tokens) * self.prefill_s).max(0.0);
        self.floor_s = if overhead < self.floor_s {
            overhead
        } else {
            self.floor_s + FLOOR_RISE * (overhead - self.floor_s)
        };
        self.first_tokens = self.first_tokens.saturating_add(1);
        self.seen_at = self.seen_at.max(now);
    }

    /// Learns from a stream whose tokens came `gap_s` apart beside `streams` (itself included).
    pub(crate) fn saw_gap(&mut self, gap_s: f64, streams: u32) {
        let weight = warm(GAP_WEIGHT, self.gaps);
        self.gap_s += weight * (gap_s.clamp(GAP_MIN_S, GAP_MAX_S) - self.gap_s);
        self.gap_streams += weight * (f64::from(streams.max(1)) - self.gap_streams);
        self.gaps = self.gaps.saturating_add(1);
    }

    /// Learns from an answer that came whole: nobody saw its first token, so the time is split in
    /// the proportion that was expected. Returns the seconds that fall to the first token.
    pub(crate) fn saw_whole_answer(&mut self, took_s: f64, answer: &WholeAnswer, now: Time) -> f64 {
        let first = self.first_token_s(answer.tokens_ahead, answer.prompt_tokens);
        let gap = self.gap_s(f64::from(answer.streams.saturating_sub(1)));
        let gaps = f64::from(answer.completion_tokens.saturating_sub(1));
        // The prefill rate has a minimum but an empty prompt has no prefill: keep off 0/0.
        let ratio = took_s / (first + gaps * gap).max(GAP_MIN_S);
        let first_s = first * ratio;
        self.saw_first_token(first_s, answer.tokens_ahead, answer.prompt_tokens, now);
        if gaps > 0.0 {
            self.saw_gap(gap * ratio, answer.streams);
        }
        first_s
    }

    /// Whether the provider deserves a look whatever its score: hardly known, or known long ago.
    pub(crate) fn is_newcomer(&self, now: Time) -> bool {
        self.first_tokens < NEWCOMER_UNTIL || now.saturating_since(self.seen_at).as_secs_f64() > STALE_S
    }

    /// What a sibling should know, for [`Memory`]; nothing before the first measurement.
    pub(crate) fn tell(&self, memory: &mut Memory, now: Time) {
        memory.base_s = self.base_s;
        memory.prefill_s = self.prefill_s;
        memory.floor_s = self.floor_s;
        memory.gap_s = self.gap_s;
        memory.gap_streams = self.gap_streams;
        memory.first_tokens = self.first_tokens;
        memory.gaps = self.gaps;
        memory.age = now.saturating_since(self.seen_at);
    }

    /// Takes over what a sibling knows, if that is more. Figures that cannot be are brought within
    /// bounds: they come from a store.
    pub(crate) fn adopt(&mut self, memory: &Memory, now: Time) {
        if memory.first_tokens > self.first_tokens {
            self.base_s = bounded(memory.base_s, 0.0, SECONDS_MAX, BASE_PRIOR_S);
            self.prefill_s = bounded(memory.prefill_s, PREFILL_MIN_S, PREFILL_MAX_S, PREFILL_PRIOR_S);
            self.floor_s = bounded(memory.floor_s, 0.0, SECONDS_MAX, f64::INFINITY);
            self.first_tokens = memory.first_tokens;
            self.seen_at = now.saturating_before(memory.age);
        }
        if memory.gaps > self.gaps {
            self.gap_s = bounded(memory.gap_s, GAP_MIN_S, GAP_MAX_S, GAP_PRIOR_S);
            self.gap_streams = bounded(memory.gap_streams, 1.0, STREAMS_MAX, 1.0);
            self.gaps = memory.gaps;
        }
    }

    pub(crate) fn gap_is_known(&self) -> bool {
        self.gaps > 0
    }

    pub(crate) fn first_tokens(&self) -> u32 {
        self.first_tokens
    }
}

/// What is known of an answer that came whole.
pub(crate) struct WholeAnswer {
    pub(crate) tokens_ahead: u64,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    pub(crate) streams: u32,
}

/// A figure from outside within its bounds; the prior where it is no number.
fn bounded(value: f64, min: f64, max: f64, prior: f64) -> f64 {
    if value.is_nan() { prior } else { value.clamp(min, max) }
}

/// The first few observations count fully (a plain average), later ones with `weight`.
fn warm(weight: f64, seen: u32) -> f64 {
    weight.max(1.0 / (f64::from(seen) + 1.0))
}

/// Prompt tokens as a float; a fleet never holds so many that precision matters.
#[expect(clippy::cast_precision_loss, reason = "an estimate; 2^53 tokens are never in flight")]
fn tokens(ahead: u64, own: u32) -> f64 {
    ahead.saturating_add(u64::from(own)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(actual: f64, expected: f64, tolerance: f64) {
        assert!(
            (actual - expected).abs() <= tolerance,
            "{actual} is not {expected} ± {tolerance}"
        );
    }

    fn after(calls: u32, mut observe: impl FnMut(&mut Latency, u32)) -> Latency {
        let mut latency = Latency::default();
        for n in 0..calls {
            observe(&mut latency, n);
        }
        latency
    }

    #[test]
    fn one_first_token_replaces_the_prior() {
        let latency = after(1, |l, _| l.saw_first_token(2.0, 0, 100, Time::default()));
        check(latency.first_token_s(0, 100), 2.0, 0.01);
    }

    #[test]
    fn overhead_and_prefill_are_told_apart() {
        // Truth: 200 ms, and 5,000 tokens/s.
        let truth = |tokens: u32| 0.2 + f64::from(tokens) * 2e-4;
        let latency = after(2000, |l, n| {
            let prompt = [50, 500, 4000][(n % 3) as usize];
            l.saw_first_token(truth(prompt), 0, prompt, Time::default());
        });
        for prompt in [50, 500, 4000] {
            check(latency.first_token_s(0, prompt), truth(prompt), 0.08);
        }
        check(latency.first_token_s(2000, 50), truth(2050), 0.1);
        check(latency.ideal_s(50), truth(50), 0.08);
    }

    #[test]
    fn estimates_stay_in_bounds_whatever_is_measured() {
        for took_s in [0.0, 1e-9, 1e6] {
            let latency = after(500, |l, n| {
                l.saw_first_token(took_s, u64::from(n), n, Time::default());
                l.saw_gap(took_s, n);
            });
            let (first, gap) = (latency.first_token_s(u64::MAX, u32::MAX), latency.gap_s(1e9));
            assert!(first.is_finite() && first >= 0.0, "{first}");
            assert!(gap.is_finite() && gap > 0.0, "{gap}");
            assert!(latency.first_token_s(0, 0) >= 0.0);
        }
    }

    #[test]
    fn gaps_grow_with_the_streams_beside() {
        let latency = after(50, |l, _| l.saw_gap(0.02, 1));
        check(latency.gap_s(0.0), 0.02, 1e-6);
        check(latency.gap_s(9.0), 0.04, 1e-6);
    }

    #[test]
    fn whole_answers_teach_both_figures() {
        // Truth: one second to the first token, 100 ms each for 20 more.
        let latency = after(200, |l, _| {
            let answer = WholeAnswer {
                tokens_ahead: 0,
                prompt_tokens: 100,
                completion_tokens: 21,
                streams: 1,
            };
            l.saw_whole_answer(3.0, &answer, Time::default());
        });
        let whole = latency.first_token_s(0, 100) + 20.0 * latency.gap_s(0.0);
        check(whole, 3.0, 0.05);
    }

    #[test]
    fn a_few_first_tokens_make_a_newcomer_known_until_they_are_old() {
        let seen_at = Time::from_micros(1_000_000);
        let few = after(NEWCOMER_UNTIL - 1, |l, _| l.saw_first_token(1.0, 0, 1, seen_at));
        assert!(few.is_newcomer(seen_at));
        let enough = after(NEWCOMER_UNTIL, |l, _| l.saw_first_token(1.0, 0, 1, seen_at));
        assert!(!enough.is_newcomer(seen_at));
        assert!(enough.is_newcomer(Time::from_micros(61_000_001)));
    }
}
