//! Makes figures of measurements: medians over rounds, what a target adds to the direct way, the table and the JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The target all others are compared with.
pub(super) const DIRECT: &str = "direct";

/// One round's figures of one target in one case. Times in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Round {
    pub(super) cpu_per_call: Option<f64>,
    pub(super) cpu_per_chunk: Option<f64>,
    pub(super) calls_per_s: Option<f64>,
    pub(super) chunks_per_s: Option<f64>,
    pub(super) first_p50: Option<f64>,
    pub(super) first_p99: Option<f64>,
    pub(super) total_p50: Option<f64>,
    /// Memory the streams of a paced case take, each.
    pub(super) kib_per_stream: Option<f64>,
}

/// The figures of one target in one case, each the median over the rounds; times in microseconds.
///
/// `added_*` compares within a round and takes the median of the differences.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// CPU time of the target's processes per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_call: Option<f64>,
    /// The same per event of a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us_per_chunk: Option<f64>,
    /// Until the first event, or the whole answer, one call at a time: median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// The same, 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// What the target adds to the direct way's `p50_us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_p50_us: Option<f64>,
    /// What the target adds to the direct way's `p99_us`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_p99_us: Option<f64>,
    /// What the target adds to the median time until a stream's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_total_p50_us: Option<f64>,
    /// Memory of the target's processes per open stream, in KiB: the most any round added. Later rounds find the memory
    /// of the first still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kib_per_stream: Option<f64>,
    /// Calls per second with several callers. Bounded by engine and client as well: no measure of the target alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls_per_s: Option<f64>,
    /// Events per second of the streams. In a paced case, fewer than streams divided by gap mean overload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks_per_s: Option<f64>,
}

/// The figures of every target in one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseFigures {
    /// The case's name, with the variant's after it.
    pub name: String,
    /// By target.
    #[serde(flatten)]
    pub targets: BTreeMap<String, Figures>,
}

/// What a benchmark found. Serialised, it is `overhead.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Overhead {
    /// In the order measured.
    pub cases: Vec<CaseFigures>,
}

/// Figures of one target from its rounds and the direct way's, round by round.
pub(super) fn figures(rounds: &[Round], direct: Option<&[Round]>, streamed: bool) -> Figures {
    let of = |pick: fn(&Round) -> Option<f64>| median(rounds.iter().filter_map(pick).collect());
    let added = |pick: fn(&Round) -> Option<f64>| {
        let pairs = rounds.iter().zip(direct?);
        median(
            pairs
                .filter_map(|(round, direct)| Some(pick(round)? - pick(direct)?))
                .collect(),
        )
    };
    Figures {
        cpu_us_per_call: of(|round| round.cpu_per_call),
        cpu_us_per_chunk: of(|round| round.cpu_per_chunk),
        p50_us: of(|round| round.first_p50),
        p99_us: of(|round| round.first_p99),
        added_p50_us: added(|round| round.first_p50),
        added_p99_us: added(|round| round.first_p99),
        added_total_p50_us: if streamed { added(|round| round.total_p50) } else { None },
        kib_per_stream: rounds
            .iter()
            .filter_map(|round| round.kib_per_stream)
            .reduce(f64::max)
            .map(tenth),
        calls_per_s: of(|round| round.calls_per_s),
        chunks_per_s: of(|round| round.chunks_per_s),
    }
}

/// The median, to a tenth; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (
        values.get(values.len().checked_sub(1)? / 2)?,
        values.get(values.len() / 2)?,
    );
    Some(tenth((low + high) / 2.0))
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<20}{:<10}{:>12}{:>13}",
            "case", "target", "CPU µs/call", "CPU µs/chunk"
        )?;
        writeln!(
            f,
            "{:>10}{:>10}{:>12}{:>12}{:>13}{:>12}{:>10}{:>10}",
            "p50 µs", "p99 µs", "added p50", "added p99", "added total", "KiB/stream", "calls/s", "chunks/s"
        )?;
        for case in &self.cases {
            let direct_first = |name: &&String| (name.as_str() != DIRECT, (*name).clone());
            let mut names: Vec<&String> = case.targets.keys().collect();
            names.sort_by_key(direct_first);
            for name in names {
                let Some(row) = case.targets.get(name) else { continue };
                write!(f, "{:<20}{name:<10}", case.name)?;
                let cells = [
                    (12, 1, row.cpu_us_per_call),
                    (13, 1, row.cpu_us_per_chunk),
                    (10, 1, row.p50_us),
                    (10, 1, row.p99_us),
                    (12, 1, row.added_p50_us),
                    (12, 1, row.added_p99_us),
                    (13, 1, row.added_total_p50_us),
                    (12, 1, row.kib_per_stream),
                    (10, 0, row.calls_per_s),
                    (10, 0, row.chunks_per_s),
                ];
                for (width, decimals, cell) in cells {
                    match cell {
                        Some(value) => write!(f, "{value:>width$.decimals$}")?,
                        None => write!(f, "{:>width$}", "-")?,
                    }
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(cpu: f64, p50: f64) -> Round {
        Round {
            cpu_per_call: Some(cpu),
            first_p50: Some(p50),
            ..Round::default()
        }
    }

    #[test]
    fn added_latency_is_the_median_of_differences_within_rounds() {
        // The machine slows down from round to round; the differences do not.
        let direct = [round(0.0, 100.0), round(0.0, 200.0), round(0.0, 300.0)];
        let rounds = [round(20.0, 150.0), round(22.0, 251.0), round(90.0, 352.0)];
        let figures = figures(&rounds, Some(&direct), false);
        assert_eq!(figures.added_p50_us, Some(51.0));
        assert_eq!(figures.cpu_us_per_call, Some(22.0));
        assert_eq!(figures.added_p99_us, None);
    }

    #[test]
    fn the_json_has_the_shape_others_read() {
        let direct = Figures {
            p50_us: Some(60.0),
            ..Figures::default()
        };
        let gateway = Figures {
            cpu_us_per_call: Some(40.0),
            added_p50_us: Some(50.0),
            ..Figures::default()
        };
        let targets = BTreeMap::from([("direct".to_owned(), direct), ("gateway".to_owned(), gateway)]);
        let overhead = Overhead {
            cases: vec![CaseFigures {
                name: "chat_1k".to_owned(),
                targets,
            }],
        };
        let json = serde_json::to_value(&overhead).expect("it is plain data");
        assert_eq!(json["cases"][0]["name"], "chat_1k");
        assert_eq!(json["cases"][0]["gateway"]["cpu_us_per_call"], 40.0);
        assert!(json["cases"][0]["direct"].get("added_p50_us").is_none());
        assert!(
            overhead
                .to_string()
                .lines()
                .nth(1)
                .is_some_and(|row| row.contains("direct"))
        );
    }
}
