//! The benchmark of the hot path: what a server between client and engine costs, next to others in the same run.
//!
//! Decides the order of measurements. Targets take turns within a round, and figures are medians over rounds, so that a
//! machine that slows down for a while slows all of them.

pub mod case;
mod measure;
pub mod process;
mod table;
pub mod target;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

use crate::client::Client;
use case::{Answer, Case};
use measure::{Found, Probe};
use table::{DIRECT, Round};
use target::Target;

pub use table::{CaseFigures, Figures, Overhead};

/// How thoroughly to measure.
#[derive(Debug, Clone, Copy)]
pub struct BenchSettings {
    /// How often each target is measured in each case.
    pub rounds: usize,
    /// How long one measurement takes.
    pub window: Duration,
    /// How long calls run before anything of a case is measured.
    pub warm_up: Duration,
    /// Callers of the CPU measurement.
    pub callers: usize,
}

impl Default for BenchSettings {
    fn default() -> Self {
        Self {
            rounds: 5,
            window: Duration::from_secs(2),
            warm_up: Duration::from_millis(500),
            callers: 16,
        }
    }
}

/// Measures every target in every case.
///
/// # Errors
/// When a call fails: a benchmark with failing calls measures nothing.
pub async fn run(targets: &[Target], cases: &[Case], settings: &BenchSettings) -> anyhow::Result<Overhead> {
    let mut overhead = Overhead { cases: Vec::new() };
    for case in cases {
        let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); targets.len()];
        let probes = targets
            .iter()
            .map(|target| probe(target, case))
            .collect::<anyhow::Result<Vec<_>>>()?;
        for round in 0..=settings.rounds {
            for ((probe, target), rounds) in probes.iter().zip(targets).zip(&mut rounds) {
                tracing::info!(case = case.name, target = target.name, round, "measuring");
                let at = || format!("{} through {}", case.name, target.base_url);
                if round == 0 {
                    probe
                        .together(settings.callers, Duration::ZERO, settings.warm_up)
                        .await
                        .with_context(at)?;
                } else {
                    rounds.push(measure(probe, case, settings).await.with_context(at)?);
                }
            }
        }
        overhead.cases.extend(case_figures(case, targets, &rounds));
    }
    Ok(overhead)
}

fn probe(target: &Target, case: &Case) -> anyhow::Result<Probe> {
    Ok(Probe {
        client: Client::new(&target.base_url, target.key.as_deref())?,
        body: case.body(target.model.as_deref().unwrap_or(case::MODEL)),
        stream: case.stream(),
        pids: target.pids.clone(),
    })
}

async fn measure(probe: &Probe, case: &Case, settings: &BenchSettings) -> anyhow::Result<Round> {
    if let Answer::Paced { streams, gap } = case.answer {
        // All streams begin at once; what is to be measured is the middle, where they merely flow.
        let settle = gap * 25;
        let found = probe.together(streams, settle, settings.window).await?;
        let streams = f64::from(u32::try_from(streams).unwrap_or(u32::MAX));
        return Ok(Round {
            cpu_per_chunk: per(&found, found.events),
            kib_per_stream: found.grown_kib.map(|kib| kib / streams),
            chunks_per_s: rate(&found, found.events),
            ..Round::default()
        });
    }
    let alone = probe.alone(settings.window).await?;
    let together = probe
        .together(settings.callers, settings.window / 10, settings.window)
        .await?;
    let micros = |latencies: &crate::load::Latencies, share: f64| {
        f64::from(u32::try_from(latencies.quantile(share)).unwrap_or(u32::MAX))
    };
    Ok(Round {
        cpu_per_call: per(&together, together.calls),
        cpu_per_chunk: if case.stream() {
            per(&together, together.events)
        } else {
            None
        },
        calls_per_s: rate(&together, together.calls),
        chunks_per_s: if case.stream() {
            rate(&together, together.events)
        } else {
            None
        },
        first_p50: Some(micros(&alone.first, 0.5)),
        first_p99: Some(micros(&alone.first, 0.99)),
        total_p50: Some(micros(&alone.total, 0.5)),
        kib_per_stream: None,
    })
}

/// CPU microseconds per call or event; `None` when nothing was counted.
fn per(found: &Found, count: u64) -> Option<f64> {
    let count = u32::try_from(count).ok().filter(|count| *count > 0)?;
    Some(found.cpu?.as_secs_f64() * 1e6 / f64::from(count))
}

/// Calls or events per second.
fn rate(found: &Found, count: u64) -> Option<f64> {
    Some(f64::from(u32::try_from(count).ok()?) / found.elapsed.as_secs_f64())
}

/// One entry for the targets without a variant, and one for each variant with the direct way beside it.
fn case_figures(case: &Case, targets: &[Target], rounds: &[Vec<Round>]) -> Vec<CaseFigures> {
    let direct = targets
        .iter()
        .zip(rounds)
        .find(|(target, _)| target.name == DIRECT)
        .map(|(_, rounds)| rounds.as_slice());
    let mut entries: BTreeMap<Option<&str>, BTreeMap<String, Figures>> = BTreeMap::new();
    for (target, rounds) in targets.iter().zip(rounds) {
        let compared = direct.filter(|_| target.name != DIRECT);
        let figures = table::figures(rounds, compared, case.stream());
        entries
            .entry(target.variant.as_deref())
            .or_default()
            .insert(target.name.clone(), figures);
    }
    let named = |variant: Option<&str>| {
        variant.map_or_else(|| case.name.to_owned(), |variant| format!("{}_{variant}", case.name))
    };
    entries
        .into_iter()
        .map(|(variant, mut figures)| {
            if let (Some(direct), Some(_)) = (direct, variant) {
                figures.insert(DIRECT.to_owned(), table::figures(direct, None, case.stream()));
            }
            CaseFigures {
                name: named(variant),
                targets: figures,
            }
        })
        .collect()
}
