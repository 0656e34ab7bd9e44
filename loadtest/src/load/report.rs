//! What a load run found: counts, failures by kind, and latencies as histograms.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::Failure;

/// Latencies of one kind, in microseconds, exact to three digits.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are within the library's bounds of zero to five"))
    }
}

/// The percentiles of some latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are below.
    pub p50: u64,
    /// 90 % are below.
    pub p90: u64,
    /// 99 % are below.
    pub p99: u64,
    /// 99.9 % are below.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // The histogram grows by itself; only values beyond 2^63 would not fit, and none is.
        let _ = self.0.record(micros.max(1));
    }

    /// The latency below which this share lies, in microseconds; 0 when there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        if self.0.is_empty() {
            0
        } else {
            self.0.value_at_quantile(share)
        }
    }

    /// The usual percentiles; `None` when there are no latencies.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            mean: self.0.mean(),
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            p999: self.quantile(0.999),
            max: self.0.max(),
        })
    }
}

/// What came of one call.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How late it was sent.
    pub(super) lag: Duration,
    /// From when it was due to its first piece of output.
    pub(super) first: Option<Duration>,
    /// Between pieces of output.
    pub(super) gaps: Vec<Duration>,
    /// From when it was due to its end.
    pub(super) total: Duration,
    pub(super) completion_tokens: u64,
    pub(super) end: Result<(), Failure>,
}

/// What is known while a run goes on.
#[derive(Debug, Default)]
pub(super) struct Tally {
    due: u64,
    ok: u64,
    failures: BTreeMap<Failure, u64>,
    completion_tokens: u64,
    lag: Latencies,
    first: Latencies,
    gap: Latencies,
    total: Latencies,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: &Outcome) {
        self.due += 1;
        self.completion_tokens += outcome.completion_tokens;
        self.lag.record(outcome.lag);
        if let Err(failure) = &outcome.end {
            *self.failures.entry(failure.clone()).or_default() += 1;
            return;
        }
        self.ok += 1;
        self.total.record(outcome.total);
        if let Some(first) = outcome.first {
            self.first.record(first);
        }
        outcome.gaps.iter().for_each(|gap| self.gap.record(*gap));
    }

    /// A call that was due and not sent, because too many were open already.
    pub(super) fn not_sent(&mut self) {
        self.due += 1;
        *self.failures.entry(Failure::NotSent).or_default() += 1;
    }

    pub(super) fn report(self, rate: f64, elapsed: Duration) -> Report {
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let per_second = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / seconds;
        Report {
            rate,
            elapsed_s: seconds,
            due: self.due,
            ok: self.ok,
            failed: self.failures.values().sum(),
            ok_per_s: per_second(self.ok),
            completion_tokens: self.completion_tokens,
            completion_tokens_per_s: per_second(self.completion_tokens),
            failures: self
                .failures
                .into_iter()
                .map(|(failure, count)| (failure.to_string(), count))
                .collect(),
            first_us: self.first.percentiles(),
            gap_us: self.gap.percentiles(),
            total_us: self.total.percentiles(),
            lag_us: self.lag.percentiles(),
        }
    }
}

/// What a run found. Serialised, it is the file that `--json` writes.
///
/// First and total latencies count from when a call was due, not from when it was sent: a server that stalls makes
/// itself look as bad as it was for callers who do not wait for each other.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Calls per second asked for.
    pub rate: f64,
    /// How long it took until the last call had ended.
    pub elapsed_s: f64,
    /// Calls that were due.
    pub due: u64,
    /// Calls that ended well.
    pub ok: u64,
    /// Calls that did not, each counted in `failures` as well.
    pub failed: u64,
    /// Calls per second that ended well.
    pub ok_per_s: f64,
    /// Completion tokens, by the server's own account.
    pub completion_tokens: u64,
    /// The same per second.
    pub completion_tokens_per_s: f64,
    /// Failed calls by what went wrong.
    pub failures: BTreeMap<String, u64>,
    /// From when a call was due to its first piece of output; streams only.
    pub first_us: Option<Percentiles>,
    /// Between pieces of output of a stream.
    pub gap_us: Option<Percentiles>,
    /// From when a call was due to its end.
    pub total_us: Option<Percentiles>,
    /// How late this program was in sending. Long lags mean that it, not the server, was overloaded.
    pub lag_us: Option<Percentiles>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} calls due at {}/s, {} ok ({:.1}/s), {} failed, in {:.1} s",
            self.due, self.rate, self.ok, self.ok_per_s, self.failed, self.elapsed_s
        )?;
        writeln!(
            f,
            "{} completion tokens ({:.0}/s)",
            self.completion_tokens, self.completion_tokens_per_s
        )?;
        for (failure, count) in &self.failures {
            writeln!(f, "  failed {count:>8}  {failure}")?;
        }
        writeln!(
            f,
            "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "ms", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        let rows = [
            ("first token", self.first_us),
            ("token gap", self.gap_us),
            ("total", self.total_us),
            ("send lag", self.lag_us),
        ];
        for (name, row) in rows {
            let Some(row) = row else { continue };
            write!(f, "{name:<12}{:>10.2}", row.mean / 1_000.0)?;
            for micros in [row.p50, row.p90, row.p99, row.p999, row.max] {
                write!(f, "{:>10.2}", Duration::from_micros(micros).as_secs_f64() * 1_000.0)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(total_ms: u64, end: Result<(), Failure>) -> Outcome {
        let total = Duration::from_millis(total_ms);
        Outcome {
            lag: Duration::ZERO,
            first: Some(total / 2),
            gaps: vec![],
            total,
            completion_tokens: 10,
            end,
        }
    }

    #[test]
    fn failures_are_counted_by_kind_and_kept_out_of_the_latencies() {
        let mut tally = Tally::default();
        (1..=100).for_each(|ms| tally.add(&outcome(ms, Ok(()))));
        tally.add(&outcome(9_000, Err(Failure::Status(503))));
        tally.add(&outcome(9_000, Err(Failure::Status(503))));
        tally.not_sent();
        let report = tally.report(10.0, Duration::from_secs(10));
        assert_eq!((report.due, report.ok, report.failed), (103, 100, 3));
        assert_eq!(report.failures["status 503"], 2);
        let total = report.total_us.expect("calls ended well");
        assert!(
            total.max < 101_000 && (49_000..52_000).contains(&total.p50),
            "{total:?}"
        );
        assert!(report.to_string().contains("failed        2  status 503"), "{report}");
    }
}
