//! The calls that come: when, how long, how urgent. Open loop: nobody waits for an answer before calling.
//!
//! Either a trace is replayed ([`super::trace`]), or calls are drawn with the quantiles of one. The tables below were
//! measured on: Azure Public Dataset, Splitwise 2023 conversation trace, CC-BY-4.0 (19,366 calls in 58 minutes).
//!
//! What the trace does not tell is assumed here: half of all calls go on with a conversation, which shares all but a
//! fifth of its prompt with the turn before; a fifth of calls is urgent, a fifth can wait.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::agenda::{Micros, micros};
use super::draw::{exponential, normal};
use super::trace::Row;

/// Calls per second of the trace, as it was recorded.
pub const TRACE_RATE: f64 = 5.530;

/// Shares at which the tables below give quantiles.
const SHARES: [f64; 27] = [
    0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.95, 0.98, 0.99, 0.995, 0.999, 1.0,
];

/// Quantiles of `ContextTokens`.
const PROMPT: [f64; 27] = [
    2.0, 29.0, 91.0, 181.0, 207.0, 372.0, 387.0, 396.0, 403.0, 414.0, 703.0, 984.0, 1020.0, 1045.0, 1071.0, 1097.0,
    1130.0, 1189.0, 1315.0, 1876.0, 2734.0, 4083.0, 4098.0, 4142.0, 4831.0, 6179.0, 14_050.0,
];

/// Bands of equal size that calls are put in by their prompt's length. `GeneratedTokens` is anything but monotone in
/// `ContextTokens` (rank correlation .07): the second and the last fifth of the prompts have short answers, the third
/// and fourth long ones. So the answer's quantiles are kept for each fifth.
const BANDS: usize = 5;

/// Quantiles of `GeneratedTokens` for each fifth of the calls by `ContextTokens`.
const OUTPUT: [[f64; 27]; BANDS] = [
    [
        7.0, 12.0, 12.0, 16.0, 27.0, 56.0, 63.0, 69.0, 75.0, 80.0, 87.0, 94.0, 105.0, 118.0, 133.0, 151.0, 162.0,
        167.0, 179.0, 189.0, 212.0, 217.0, 224.0, 261.0, 310.0, 1000.0, 1000.0,
    ],
    [
        24.0, 52.0, 57.0, 73.0, 81.0, 84.0, 86.0, 88.0, 90.0, 92.0, 94.0, 95.0, 97.0, 99.0, 101.0, 104.0, 107.0, 111.0,
        117.0, 125.0, 135.0, 148.0, 168.0, 184.0, 200.0, 389.0, 739.0,
    ],
    [
        10.0, 40.0, 49.0, 76.0, 95.0, 129.0, 375.0, 385.0, 390.0, 394.0, 396.0, 397.0, 399.0, 403.0, 409.0, 413.0,
        415.0, 421.0, 429.0, 438.0, 461.0, 532.0, 601.0, 639.0, 701.0, 956.0, 1000.0,
    ],
    [
        26.0, 44.0, 50.0, 80.0, 138.0, 184.0, 371.0, 378.0, 387.0, 393.0, 396.0, 396.0, 399.0, 404.0, 410.0, 414.0,
        418.0, 424.0, 429.0, 442.0, 477.0, 549.0, 617.0, 653.0, 822.0, 993.0, 1000.0,
    ],
    [
        15.0, 27.0, 28.0, 34.0, 39.0, 43.0, 47.0, 50.0, 55.0, 60.0, 66.0, 71.0, 77.0, 83.0, 90.0, 97.0, 105.0, 115.0,
        128.0, 143.0, 162.0, 200.0, 280.0, 407.0, 470.0, 671.0, 918.0,
    ],
];

/// How the rate of calls wanders: the logarithm of the rate is the sum of two Ornstein-Uhlenbeck processes. Fitted to
/// the dispersion of the trace's counts in windows of 1, 10, 60 and 300 s (1.39, 3.9, 16, 56); the gaps between calls
/// then vary by 1.07 of their mean (the trace: 1.09; a Poisson process: 1).
///
/// Each stays within two deviations: the trace's busiest minute had 1.52 times the calls of the mean one, and
/// e^(2 · .21) is 1.52. Without a bound, the many hours that a fleet of sixty is put through would have bursts that the
/// trace knows nothing of.
const SLOW: Wander = Wander {
    deviation: 0.21,
    memory_s: 600.0,
};
const FAST: Wander = Wander {
    deviation: 0.14,
    memory_s: 2.0,
};

/// Deviations that the logarithm of a rate wanders off at most.
const WANDER_MAX: f64 = 2.0;

struct Wander {
    /// Standard deviation of the rate's logarithm.
    deviation: f64,
    /// Time constant, in seconds of the trace.
    memory_s: f64,
}

/// Share of calls that go on with a conversation.
const CONTINUED: f64 = 0.5;
/// Share of a prompt that it then has in common with the turn before, at most.
const SHARED: f64 = 0.8;
/// Conversations that are going on at a time, per call a second: a turn comes about every 30 s.
const CONVERSATION_S: f64 = 30.0;
/// Shares of urgent calls, and of urgent and ordinary ones.
const TIERS: (f64, f64) = (0.2, 0.8);

/// How urgent a call is: OpenAI's `service_tier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Shed first.
    Flex,
    /// What nobody said anything about.
    Default,
    /// Shed last.
    Priority,
}

impl Tier {
    /// All of them, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Flex, Self::Default, Self::Priority];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Default => "default",
            Self::Priority => "priority",
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demand {
    pub(super) at: Micros,
    pub(super) prompt: u32,
    /// Tokens of its whole answer.
    pub(super) output: u32,
    pub(super) tier: Tier,
    /// The conversation's opening, and how much of the prompt it covers.
    pub(super) opening: u64,
    pub(super) shared: u32,
}

/// Where calls come from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Drawn,
    /// Over and over.
    Trace(&'a [Row]),
}

/// The first `count` calls at `rate` a second on average.
pub(super) fn calls(source: Source<'_>, rate: f64, count: usize, seed: u64) -> Vec<Demand> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x6465_6d61_6e64);
    let sizes = match source {
        Source::Drawn => drawn(rate, count, &mut rng),
        Source::Trace(rows) => replayed(rows, rate, count),
    };
    let room = (rate * CONVERSATION_S).clamp(8.0, 100_000.0) as usize;
    let mut openings: Vec<u64> = Vec::with_capacity(room);
    sizes
        .into_iter()
        .map(|row| demand(&row, room, &mut openings, &mut rng))
        .collect()
}

/// Makes the first `count` calls come `slower` times slower; the rest follows on.
pub(super) fn ease(demands: &mut [Demand], count: usize, slower: f64) {
    let ends = demands.get(count).map_or(0, |first| first.at);
    let later = (ends as f64 * (slower - 1.0)) as Micros;
    for (at, demand) in demands.iter_mut().enumerate() {
        demand.at = if at < count {
            (demand.at as f64 * slower) as Micros
        } else {
            demand.at + later
        };
    }
}

fn demand(row: &Row, room: usize, openings: &mut Vec<u64>, rng: &mut Xoshiro256PlusPlus) -> Demand {
    let goes_on = rng.random::<f64>() < CONTINUED && !openings.is_empty();
    let opening = if goes_on {
        openings[rng.random_range(0..openings.len())]
    } else {
        let new: u64 = rng.random();
        if openings.len() < room {
            openings.push(new);
        } else {
            let at = rng.random_range(0..openings.len());
            openings[at] = new;
        }
        new
    };
    let tier = match rng.random::<f64>() {
        draw if draw < TIERS.0 => Tier::Priority,
        draw if draw < TIERS.1 => Tier::Default,
        _ => Tier::Flex,
    };
    Demand {
        at: micros(row.at_s),
        prompt: row.prompt,
        output: row.output,
        tier,
        opening,
        shared: (f64::from(row.prompt) * SHARED) as u32,
    }
}

/// A trace again and again, faster or slower so that it has the rate.
fn replayed(rows: &[Row], rate: f64, count: usize) -> Vec<Row> {
    let length_s = rows.last().map_or(1.0, |last| last.at_s) * (1.0 + 1.0 / rows.len() as f64);
    let slower = rows.len() as f64 / length_s / rate;
    (0..count)
        .map(|at| {
            let (round, row) = (at / rows.len(), rows[at % rows.len()]);
            Row {
                at_s: (row.at_s + round as f64 * length_s) * slower,
                ..row
            }
        })
        .collect()
}

/// Calls of a Poisson process whose rate wanders. Time runs faster than in the trace by the ratio of the rates, for the
/// wandering too.
fn drawn(rate: f64, count: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<Row> {
    let speed = rate / TRACE_RATE;
    let (mut slow, mut fast) = (SLOW.deviation * normal(rng), FAST.deviation * normal(rng));
    let mut at_s = 0.0;
    let variance = SLOW.deviation * SLOW.deviation + FAST.deviation * FAST.deviation;
    (0..count)
        .map(|_| {
            // The mean of a log-normal rate is put right by half its variance.
            let gap_s = exponential(rng) / (rate * (slow + fast - variance / 2.0).exp());
            at_s += gap_s;
            slow = SLOW.step(slow, gap_s * speed, rng);
            fast = FAST.step(fast, gap_s * speed, rng);
            let (prompt, output) = size(rng);
            Row { at_s, prompt, output }
        })
        .collect()
}

impl Wander {
    fn step(&self, value: f64, passed_s: f64, rng: &mut Xoshiro256PlusPlus) -> f64 {
        let kept = (-passed_s / self.memory_s).exp();
        let next = value * kept + self.deviation * (1.0 - kept * kept).sqrt() * normal(rng);
        let most = WANDER_MAX * self.deviation;
        next.clamp(-most, most)
    }
}

/// Prompt and output tokens of one call.
fn size(rng: &mut Xoshiro256PlusPlus) -> (u32, u32) {
    let rank: f64 = rng.random();
    let band = ((rank * BANDS as f64) as usize).min(BANDS - 1);
    let prompt = quantile(&PROMPT, rank);
    let output = quantile(&OUTPUT[band], rng.random());
    (prompt.round().max(1.0) as u32, output.round().max(1.0) as u32)
}

/// The value below which the share `at` lies, with straight lines between the table's entries.
fn quantile(table: &[f64; 27], at: f64) -> f64 {
    let above = SHARES
        .iter()
        .position(|share| *share >= at)
        .unwrap_or(SHARES.len() - 1)
        .max(1);
    let (low, high) = (SHARES[above - 1], SHARES[above]);
    let part = ((at - low) / (high - low)).clamp(0.0, 1.0);
    table[above - 1] + part * (table[above] - table[above - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn check(what: &str, found: f64, wanted: f64, within: f64) {
        assert!(
            (found / wanted - 1.0).abs() < within,
            "{what}: {found}, the trace has {wanted}"
        );
    }

    #[test]
    fn drawn_calls_have_the_sizes_of_the_trace() {
        let calls = calls(Source::Drawn, 50.0, 100_000, 7);
        let prompts = sorted(calls.iter().map(|call| f64::from(call.prompt)).collect());
        let outputs = sorted(calls.iter().map(|call| f64::from(call.output)).collect());
        check("mean prompt", mean(&prompts), 1154.7, 0.03);
        check("mean output", mean(&outputs), 211.1, 0.03);
        for (share, prompt, output) in [(0.5, 1020.0, 129.0), (0.9, 2734.0, 424.0), (0.99, 4142.0, 601.0)] {
            let at = (share * calls.len() as f64) as usize;
            check("prompt", prompts[at], prompt, 0.05);
            check("output", outputs[at], output, 0.1);
        }
        // Rank correlation .073 over all; Spearman's, from ranks among 100,000 with hardly a tie that matters.
        let rank = |values: &[f64], value: f64| values.partition_point(|other| *other < value) as f64;
        let middle = calls.len() as f64 / 2.0;
        let (mut both, mut prompt, mut output) = (0.0, 0.0, 0.0);
        for call in &calls {
            let x = rank(&prompts, f64::from(call.prompt)) - middle;
            let y = rank(&outputs, f64::from(call.output)) - middle;
            (both, prompt, output) = (both + x * y, prompt + x * x, output + y * y);
        }
        let correlation = both / (prompt * output).sqrt();
        assert!((correlation - 0.073).abs() < 0.03, "{correlation}");
    }

    #[test]
    fn drawn_calls_are_as_bursty_as_the_trace() {
        let calls = calls(Source::Drawn, TRACE_RATE, 200_000, 3);
        let at: Vec<f64> = calls.iter().map(|call| call.at as f64 / 1e6).collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let gap = mean(&gaps);
        let squares: Vec<f64> = gaps.iter().map(|other| (other - gap).powi(2)).collect();
        check("mean gap", gap, 1.0 / TRACE_RATE, 0.08);
        check("variation of gaps", mean(&squares).sqrt() / gap, 1.094, 0.06);
        for (window, wanted) in [(1.0, 1.385), (10.0, 3.86), (60.0, 16.1)] {
            let mut counts = vec![0.0; (at[at.len() - 1] / window) as usize + 1];
            for at in &at {
                counts[(at / window) as usize] += 1.0;
            }
            let average = mean(&counts);
            let squares: Vec<f64> = counts.iter().map(|count| (count - average).powi(2)).collect();
            check("dispersion of counts", mean(&squares) / average, wanted, 0.35);
        }
    }

    #[test]
    fn a_run_may_begin_gently() {
        let mut calls = calls(Source::Drawn, 100.0, 2000, 1);
        let (tenth, last) = (calls[1000].at, calls[1999].at);
        ease(&mut calls, 1000, 3.0);
        assert!(calls.windows(2).all(|pair| pair[0].at <= pair[1].at));
        assert!(calls[1000].at.abs_diff(3 * tenth) <= 1 && calls[1999].at.abs_diff(last + 2 * tenth) <= 1);
    }

    #[test]
    fn a_trace_is_replayed_at_the_rate_and_then_again() {
        let row = |at_s, prompt| Row {
            at_s,
            prompt,
            output: 5,
        };
        let rows = [row(0.0, 10), row(1.0, 20), row(3.0, 30)];
        let calls = calls(Source::Trace(&rows), 1.5, 7, 1);
        let prompts: Vec<u32> = calls.iter().map(|call| call.prompt).collect();
        assert_eq!(prompts, [10, 20, 30, 10, 20, 30, 10]);
        let at: Vec<u64> = calls.iter().map(|call| call.at / 1000).collect();
        assert_eq!(at, [0, 500, 1500, 2000, 2500, 3500, 4000]);
    }
}
