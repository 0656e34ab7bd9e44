//! How a seat did over the last five minutes, half an hour and day: counts and sketches of bounded
//! size, for those who choose among providers.

use crate::preferences::{Quantile, Threshold};
use crate::time::Time;
use crate::view::{Quantiles, WindowView};

/// Buckets of a sketch, half an octave each: a quantile is right to a fifth.
const BUCKETS: usize = 32;

/// Lower bounds of the first bucket: seconds to a first token (up to 650 s), tokens per second (up
/// to 6,500).
const FIRST_TOKEN_MIN_S: f64 = 0.01;
const TOKENS_PER_S_MIN: f64 = 0.1;

/// Lengths of the parts of each window, seconds.
const MINUTE_S: u64 = 60;
const FIVE_MINUTES_S: u64 = 300;
const HOUR_S: u64 = 3600;

/// What ended how, and how fast.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Outcome {
    Served,
    Failed,
    Refused,
    FirstToken { seconds: f64 },
    Speed { tokens_per_s: f64 },
}

/// All windows of one seat: some 5 KB.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct History {
    minutes: [Part; 5],
    five_minutes: [Part; 6],
    hours: [Part; 24],
}

impl Default for History {
    fn default() -> Self {
        Self {
            minutes: [Part::EMPTY; 5],
            five_minutes: [Part::EMPTY; 6],
            hours: [Part::EMPTY; 24],
        }
    }
}

impl History {
    pub(crate) fn note(&mut self, outcome: Outcome, now: Time) {
        note(&mut self.minutes, MINUTE_S, outcome, now);
        note(&mut self.five_minutes, FIVE_MINUTES_S, outcome, now);
        note(&mut self.hours, HOUR_S, outcome, now);
    }

    /// The last 5 minutes, 30 minutes and day.
    pub(crate) fn windows(&self, now: Time) -> [WindowView; 3] {
        [
            sum(&self.minutes, MINUTE_S, now).view(),
            sum(&self.five_minutes, FIVE_MINUTES_S, now).view(),
            sum(&self.hours, HOUR_S, now).view(),
        ]
    }

    /// Whether the last five minutes keep to these thresholds; where nothing was measured they do.
    pub(crate) fn meets(&self, throughput_min: &[Threshold], latency_max: &[Threshold], now: Time) -> bool {
        let window = sum(&self.minutes, MINUTE_S, now);
        let speeds = throughput_min.iter().all(|wish| {
            let reached = window
                .tokens_per_s
                .quantile(1.0 - share(wish.quantile), TOKENS_PER_S_MIN);
            reached.is_none_or(|reached| reached >= wish.value)
        });
        let first_tokens = || {
            latency_max.iter().all(|wish| {
                let took = window.first_token.quantile(share(wish.quantile), FIRST_TOKEN_MIN_S);
                took.is_none_or(|took| took <= wish.value)
            })
        };
        speeds && first_tokens()
    }
}

/// The share of calls that do better than this quantile. Source: `OpenRouter`, "How Percentiles
/// Work": 90% of requests perform better than p90, be it less latency or more throughput.
fn share(quantile: Quantile) -> f64 {
    match quantile {
        Quantile::P50 => 0.5,
        Quantile::P75 => 0.75,
        Quantile::P90 => 0.9,
        Quantile::P99 => 0.99,
    }
}

/// A stretch of time.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Part {
    /// Which stretch since the origin, counted from one; zero is none.
    number: u32,
    served: u32,
    failed: u32,
    refused: u32,
    first_token: [u16; BUCKETS],
    tokens_per_s: [u16; BUCKETS],
}

impl Part {
    const EMPTY: Self = Self {
        number: 0,
        served: 0,
        failed: 0,
        refused: 0,
        first_token: [0; BUCKETS],
        tokens_per_s: [0; BUCKETS],
    };
}

fn number(part_s: u64, now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000 / part_s + 1).unwrap_or(u32::MAX)
}

fn note<const N: usize>(parts: &mut [Part; N], part_s: u64, outcome: Outcome, now: Time) {
    let number = number(part_s, now);
    let part = &mut parts[usize::try_from(number).unwrap_or(0) % N];
    if part.number < number {
        *part = Part { number, ..Part::EMPTY };
    } else if part.number > number {
        return; // Told late, of a time that has made room.
    }
    match outcome {
        Outcome::Served => part.served = part.served.saturating_add(1),
        Outcome::Failed => part.failed = part.failed.saturating_add(1),
        Outcome::Refused => part.refused = part.refused.saturating_add(1),
        Outcome::FirstToken { seconds } => count(&mut part.first_token, seconds, FIRST_TOKEN_MIN_S),
        Outcome::Speed { tokens_per_s } => count(&mut part.tokens_per_s, tokens_per_s, TOKENS_PER_S_MIN),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to the buckets before"
)]
fn count(sketch: &mut [u16; BUCKETS], value: f64, min: f64) {
    let last = BUCKETS as f64 - 1.0;
    // What is no number falls into the first bucket.
    let at = (2.0 * (value / min).log2()).max(0.0).min(last) as usize;
    if sketch[at] == u16::MAX {
        // Shares are kept, and what comes from now on weighs a little more.
        sketch.iter_mut().for_each(|count| *count /= 2);
    }
    sketch[at] += 1;
}

/// A window: the parts of it that are not too old.
#[derive(Default)]
struct Sum {
    served: u64,
    failed: u64,
    refused: u64,
    first_token: Sketch,
    tokens_per_s: Sketch,
}

#[derive(Default)]
struct Sketch([u32; BUCKETS]);

fn sum<const N: usize>(parts: &[Part; N], part_s: u64, now: Time) -> Sum {
    let newest = number(part_s, now);
    let span = u32::try_from(N).unwrap_or(u32::MAX);
    let mut sum = Sum::default();
    for part in parts.iter().filter(|part| part.number > newest.saturating_sub(span)) {
        sum.served += u64::from(part.served);
        sum.failed += u64::from(part.failed);
        sum.refused += u64::from(part.refused);
        sum.first_token.add(&part.first_token);
        sum.tokens_per_s.add(&part.tokens_per_s);
    }
    sum
}

impl Sum {
    #[expect(clippy::cast_precision_loss, reason = "a share, to be read")]
    fn view(&self) -> WindowView {
        let attempts = self.served + self.failed;
        WindowView {
            attempts,
            refused: self.refused,
            uptime: (attempts > 0).then(|| self.served as f64 / attempts as f64),
            first_token_s: self.first_token.quantiles(FIRST_TOKEN_MIN_S, |share| share),
            tokens_per_s: self.tokens_per_s.quantiles(TOKENS_PER_S_MIN, |share| 1.0 - share),
        }
    }
}

impl Sketch {
    fn add(&mut self, part: &[u16; BUCKETS]) {
        for (sum, count) in self.0.iter_mut().zip(part) {
            *sum += u32::from(*count);
        }
    }

    fn quantiles(&self, min: f64, of: impl Fn(f64) -> f64) -> Option<Quantiles> {
        let at = |quantile| self.quantile(of(share(quantile)), min);
        Some(Quantiles {
            p50: at(Quantile::P50)?,
            p75: at(Quantile::P75)?,
            p90: at(Quantile::P90)?,
            p99: at(Quantile::P99)?,
        })
    }

    /// The value that this share of the counts lies below: the middle of its bucket.
    fn quantile(&self, share: f64, min: f64) -> Option<f64> {
        let total: u32 = self.0.iter().sum();
        let mut left = share * f64::from(total);
        let mut found = None;
        for (at, count) in (0_u32..).zip(self.0).filter(|(_, count)| *count > 0) {
            found = Some(min * ((f64::from(at) + 0.5) / 2.0).exp2());
            left -= f64::from(count);
            if left <= 0.0 {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    fn filled(history: &mut History, outcome: Outcome, times: u32, now: Time) {
        for _ in 0..times {
            history.note(outcome, now);
        }
    }

    #[test]
    fn uptime_counts_what_was_served_against_what_failed_and_nothing_else() {
        let mut history = History::default();
        assert_eq!(history.windows(at(5))[0], WindowView::default());
        filled(&mut history, Outcome::Served, 9, at(5));
        filled(&mut history, Outcome::Failed, 1, at(5));
        filled(&mut history, Outcome::Refused, 7, at(5));
        let window = history.windows(at(6))[0];
        assert_eq!((window.attempts, window.refused), (10, 7));
        assert_eq!(window.uptime, Some(0.9));
    }

    #[test]
    fn each_window_forgets_in_its_own_time() {
        let mut history = History::default();
        history.note(Outcome::Failed, at(30));
        let attempts = |now| history.windows(now).map(|window| window.attempts);
        assert_eq!(attempts(at(299)), [1, 1, 1]);
        assert_eq!(attempts(at(301)), [0, 1, 1]);
        assert_eq!(attempts(at(1801)), [0, 0, 1]);
        assert_eq!(attempts(at(24 * 3600 + 1)), [0, 0, 0]);
    }

    #[test]
    fn an_outcome_told_late_does_not_disturb_what_is_newer() {
        let mut history = History::default();
        history.note(Outcome::Served, at(100_000));
        history.note(Outcome::Failed, at(100_000 - 5 * 60));
        assert_eq!(history.windows(at(100_000))[0].uptime, Some(1.0));
    }

    #[test]
    fn quantiles_are_right_to_a_fifth_and_point_to_the_worse_side() {
        let mut history = History::default();
        for n in 1..=1000_u32 {
            let seconds = f64::from(n) / 100.0;
            history.note(Outcome::FirstToken { seconds }, at(1));
            let tokens_per_s = f64::from(n);
            history.note(Outcome::Speed { tokens_per_s }, at(1));
        }
        let window = history.windows(at(1))[0];
        let near = |actual: f64, expected: f64| {
            assert!(
                (actual / expected).log2().abs() <= 0.25 + 1e-3,
                "{actual} is not {expected}"
            );
        };
        let first = window.first_token_s.expect("measured");
        near(first.p50, 5.0);
        near(first.p75, 7.5);
        near(first.p90, 9.0);
        near(first.p99, 9.9);
        let speed = window.tokens_per_s.expect("measured");
        near(speed.p50, 500.0);
        near(speed.p90, 100.0);
    }

    #[test]
    fn thresholds_hold_for_what_was_measured_and_are_met_by_who_is_unknown() {
        let wish = |quantile, value| [Threshold { quantile, value }];
        let mut history = History::default();
        assert!(history.meets(&wish(Quantile::P99, 1e9), &wish(Quantile::P99, 0.0), at(1)));
        filled(&mut history, Outcome::Speed { tokens_per_s: 50.0 }, 95, at(1));
        filled(&mut history, Outcome::Speed { tokens_per_s: 5.0 }, 5, at(1));
        filled(&mut history, Outcome::FirstToken { seconds: 0.4 }, 100, at(1));
        assert!(history.meets(&wish(Quantile::P90, 40.0), &wish(Quantile::P99, 0.6), at(1)));
        assert!(
            !history.meets(&wish(Quantile::P99, 40.0), &[], at(1)),
            "five in a hundred are slow"
        );
        assert!(!history.meets(&[], &wish(Quantile::P50, 0.2), at(1)));
        assert!(history.meets(&wish(Quantile::P50, 1e9), &[], at(400)), "long ago");
    }

    #[test]
    fn counts_that_run_over_keep_their_shares_and_absurd_values_their_bucket() {
        let mut history = History::default();
        filled(&mut history, Outcome::FirstToken { seconds: 1.0 }, 150_000, at(1));
        for seconds in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            history.note(Outcome::FirstToken { seconds }, at(1));
        }
        let first = history.windows(at(1))[0].first_token_s.expect("measured");
        assert!((0.8..1.3).contains(&first.p50), "{first:?}");
        assert!(size_of::<History>() < 5200, "{}", size_of::<History>());
    }
}
