//! `filature-loadtest simulate`: the router's proof in virtual time.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use crate::simulate::{self, REPORTED_SEED, SCENARIOS, Scenario, Settings, TUNING_SEED};

/// Simulate fleets, faults and calls in virtual time around the real router, and compare policies.
///
/// Equal seeds give equal figures. Figures are means over the seeds, with 95% intervals.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  filature-loadtest simulate
  filature-loadtest simulate --scenario flaky15 --tuning --seeds 4
  filature-loadtest simulate --trace azure-llm-conv-2023.csv --speed 7 --scenario flaky15")]
pub struct SimulateArgs {
    /// A scenario to run; all of them when absent. May be repeated.
    #[arg(long = "scenario", value_name = "NAME")]
    scenarios: Vec<String>,
    /// A contender to run; all of them when absent. May be repeated.
    #[arg(long = "only", value_name = "NAME")]
    only: Vec<String>,
    /// How many seeds.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// Take the seeds that the router is tuned on, not those that are reported.
    #[arg(long)]
    tuning: bool,
    /// Also run Filature without hedging, without rescue and without affinity.
    #[arg(long)]
    ablations: bool,
    /// One seed, few calls, no `big`: a look whether all of it works.
    #[arg(long)]
    quick: bool,
    /// Calls of a scenario, in place of its own number.
    #[arg(long)]
    calls: Option<usize>,
    /// Replay this trace: CSV with TIMESTAMP,ContextTokens,GeneratedTokens.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// How many times faster than the trace was recorded (5.53 calls/s) calls come, in place of the scenario's load.
    #[arg(long)]
    speed: Option<f64>,
    /// Threads; as many as there are cores when absent.
    #[arg(long)]
    threads: Option<usize>,
    /// Folder for summary.json and report.html.
    #[arg(long, value_name = "FOLDER", default_value = "target/simulate")]
    out: PathBuf,
}

/// Calls of a scenario with `--quick`.
const QUICK_CALLS: usize = 6_000;

impl SimulateArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let settings = self.settings()?;
        let began = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        let progress = |done: usize, of: usize, what: &str| {
            let at_s = began.elapsed().as_secs();
            if is_terminal {
                eprint!(
                    "\r\x1b[2K[{done}/{of}, {at_s} s] {what}{}",
                    if done == of { "\n" } else { "" }
                );
            } else if done == of || done.is_multiple_of((of / 20).max(1)) {
                eprintln!("[{done}/{of}, {at_s} s] {what}");
            }
        };
        let summary = simulate::simulate(&settings, &progress);
        print!("{}", simulate::table(&summary, std::io::stdout().is_terminal()));
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        for (name, text) in [
            ("summary.json", serde_json::to_string_pretty(&summary.json())?),
            ("report.html", simulate::html(&summary)),
        ] {
            let file = self.out.join(name);
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            println!("written to {}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        anyhow::ensure!(self.seeds > 0, "--seeds is to be at least 1");
        if let Some(speed) = self.speed {
            anyhow::ensure!(
                speed.is_finite() && speed > 0.0,
                "--speed is to be above 0, not {speed}"
            );
        }
        anyhow::ensure!(self.calls != Some(0), "--calls is to be at least 1");
        let seeds = if self.quick { 1 } else { self.seeds };
        let first = if self.tuning { TUNING_SEED } else { REPORTED_SEED };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Settings {
            seeds: (first..first + seeds).collect(),
            scenarios: self.scenarios()?,
            ablations: self.ablations || self.quick,
            exchanges: true,
            only: self.only.clone(),
            trace: self.trace.as_deref().map(simulate::trace::read_file).transpose()?,
            speed: self.speed,
            threads: self.threads.unwrap_or(cores),
        })
    }

    fn scenarios(&self) -> anyhow::Result<Vec<Scenario>> {
        let known = || SCENARIOS.map(|scenario| scenario.name).join(", ");
        let find =
            |name: &String| Scenario::named(name).with_context(|| format!("no scenario {name}; there are {}", known()));
        let mut scenarios = if self.scenarios.is_empty() {
            SCENARIOS
                .into_iter()
                .filter(|scenario| !self.quick || scenario.name != "big")
                .collect()
        } else {
            self.scenarios.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?
        };
        for scenario in &mut scenarios {
            let most = if self.quick { QUICK_CALLS } else { usize::MAX };
            scenario.calls = self.calls.unwrap_or(scenario.calls.min(most));
        }
        Ok(scenarios)
    }
}
