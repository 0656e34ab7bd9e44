//! The proof of the router: a fleet and its calls in virtual time, with the real [`filature_router`] between them.
//!
//! Seeded, open loop, event-driven: a run of 40,000 calls takes about a second, and equal seeds give equal figures. What
//! is simulated: unlike providers whose engines batch continuously (`engine.rs`), their faults (`faults.rs`), calls
//! with the sizes and the burstiness of a public trace (`demand.rs`), and a gateway that keeps its word to the router
//! event by event as the real one does (`calls.rs`). What decides is the router itself: its fleet, its plans, its
//! queue, its budgets. The bounds (`bounds.rs`) know what no router can.
//!
//! Constants of the router are tuned on seeds from [`TUNING_SEED`] on; what is reported comes from seeds from
//! [`REPORTED_SEED`] on. Never the same.
//!
//! What this does not show: anything of the gateway's own cost, networks that differ by the call, engines that keep
//! other work than ours, callers who leave, streams that cannot be continued. Those are measured on the real program.

mod agenda;
mod bounds;
mod calls;
mod contender;
mod demand;
mod desk;
mod draw;
mod engine;
mod faults;
mod goals;
mod line;
mod plot;
mod providers;
mod report;
mod scenario;
mod site;
mod summary;
mod table;
mod tally;
pub mod trace;
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use demand::Source;
use providers::Provider;
use tally::Figures;
use world::Case;

pub use contender::{Contender, EXCHANGE, Judge};
pub use demand::{TRACE_RATE, Tier};
pub use faults::{Character, Fault};
pub use goals::{Goal, goals};
pub use report::html;
pub use scenario::{SCENARIOS, Scenario};
pub use summary::{Entry, Estimate, ScenarioSummary, Summary};
pub use table::table;
pub use tally::{FAILED_S, Tally};

/// The first of the seeds that constants are tuned on.
pub const TUNING_SEED: u64 = 1;
/// The first of the seeds that are reported.
pub const REPORTED_SEED: u64 = 4001;
const _: () = assert!(TUNING_SEED + 500 < REPORTED_SEED, "seeds of tuning are not reported");

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// One run of each contender in each scenario for each seed.
    pub seeds: Vec<u64>,
    /// The situations.
    pub scenarios: Vec<Scenario>,
    /// Whether Filature is also run with parts of it taken away.
    pub ablations: bool,
    /// Whether Filature is also run at further rates of exchange, in `flaky15`.
    pub exchanges: bool,
    /// Only contenders whose names are among these; all when empty.
    pub only: Vec<String>,
    /// Calls from here, in place of drawn ones.
    pub trace: Option<Vec<trace::Row>>,
    /// How many times faster than the trace was recorded calls come, in place of each scenario's own load.
    pub speed: Option<f64>,
    /// Threads to use.
    pub threads: usize,
}

/// One run to be made.
#[derive(Debug, Clone)]
struct Run {
    scenario: usize,
    contender: Contender,
    seed: u64,
    /// With next to nothing to do: what overload is compared with.
    is_unloaded: bool,
}

/// Makes all runs; tells `progress` of each: how many are done, of how many, and which was the last.
#[must_use]
pub fn simulate(settings: &Settings, progress: &(dyn Fn(usize, usize, &str) + Sync)) -> Summary {
    let runs = runs(settings);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<Option<Figures>>> = Mutex::new(vec![None; runs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..settings.threads.clamp(1, runs.len().max(1)) {
            scope.spawn(|| {
                while let Some((at, run)) = take(&runs, &next) {
                    let began = Instant::now();
                    let scenario = &settings.scenarios[run.scenario];
                    let figures = figures(settings, run);
                    results.lock()[at] = Some(figures);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let (name, contender) = (scenario.name, &run.contender.name);
                    let took_s = began.elapsed().as_secs_f64();
                    progress(
                        done,
                        runs.len(),
                        &format!("{name} {contender} seed {} in {took_s:.1} s", run.seed),
                    );
                }
            });
        }
    });
    let results = results.into_inner();
    let figures = runs
        .iter()
        .zip(results)
        .filter_map(|(run, figures)| Some((run, figures?)));
    summary::collect(settings, figures.collect())
}

fn take<'a>(runs: &'a [Run], next: &AtomicUsize) -> Option<(usize, &'a Run)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, runs.get(at)?))
}

/// All runs, the longest first, so that no thread is left alone with one at the end.
fn runs(settings: &Settings) -> Vec<Run> {
    let mut runs = Vec::new();
    for (at, scenario) in settings.scenarios.iter().enumerate() {
        for contender in contenders(settings, scenario) {
            if !settings.only.is_empty() && !settings.only.contains(&contender.name) {
                continue;
            }
            for seed in &settings.seeds {
                let run = |is_unloaded| Run {
                    scenario: at,
                    contender: contender.clone(),
                    seed: *seed,
                    is_unloaded,
                };
                runs.push(run(false));
                if scenario.is_overload {
                    runs.push(run(true));
                }
            }
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(settings.scenarios[run.scenario].calls));
    runs
}

fn contenders(settings: &Settings, scenario: &Scenario) -> Vec<Contender> {
    if scenario.providers > FLEET_SMALL {
        // A million calls are long: the policy that matters, the best of the others, and the bound.
        let named = ["filature", "least_outstanding", "peak_ewma", "central"];
        let mut all = Contender::exchanges();
        all.extend(Contender::baselines());
        all.extend(Contender::bounds());
        all.retain(|contender| named.contains(&contender.name.as_str()));
        return all;
    }
    let mut all = Contender::exchanges();
    let is_swept = settings.exchanges && scenario.name == "flaky15";
    all.retain(|contender| {
        is_swept || ["filature", "filature_floor", "filature_fast"].contains(&contender.name.as_str())
    });
    if settings.ablations && scenario.flaky > 0.0 && !scenario.is_overload {
        all.extend(Contender::ablations());
    }
    all.extend(Contender::baselines());
    all.extend(Contender::bounds());
    all
}

/// Fleets above this size are run with few contenders.
const FLEET_SMALL: usize = 200;

fn figures(settings: &Settings, run: &Run) -> Figures {
    let scenario = if run.is_unloaded {
        settings.scenarios[run.scenario].unloaded()
    } else {
        settings.scenarios[run.scenario]
    };
    tally(settings, &scenario, &run.contender, run.seed).figures(scenario.is_overload)
}

/// One run.
#[must_use]
pub fn tally(settings: &Settings, scenario: &Scenario, contender: &Contender, seed: u64) -> Tally {
    let fleet = providers::draw(&scenario.fleet(0.0), seed);
    let capacity: f64 = fleet.iter().map(Provider::calls_per_s).sum();
    let rate = settings
        .speed
        .map_or(capacity * scenario.load, |speed| speed * TRACE_RATE);
    let source = settings.trace.as_deref().map_or(Source::Drawn, Source::Trace);
    let mut demands = demand::calls(source, rate, scenario.calls, seed);
    let warm_up = scenario.warm_up();
    if let Some((count, slower)) = warm_up {
        demand::ease(&mut demands, count, slower);
    }
    let length_s = demands.last().map_or(0.0, |last| agenda::seconds(last.at));
    let fleet = providers::draw(&scenario.fleet(length_s), seed);
    let central = (contender.judge == Judge::Central).then(|| providers::central(&fleet));
    world::run(&Case {
        providers: central.as_deref().unwrap_or(&fleet),
        demands: &demands,
        contender,
        is_overload: scenario.is_overload,
        counted_from: warm_up.map_or(0, |(count, _)| count as u32),
        seed,
    })
}
