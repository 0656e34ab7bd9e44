//! `filature-loadtest bench`: the table of what servers between client and engine cost.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::bench::case::{CASES, Case};
use crate::bench::target::Target;
use crate::bench::{BenchSettings, run};
use crate::cli::runtime;

/// Measure CPU time per call and added latency of servers in front of a simulated engine.
///
/// Pin the servers to one core and this program and the engine to another, or they take time from each other;
/// loadtest/bench.sh does all of that. The target `direct` is the engine itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  filature-loadtest bench --target direct=http://127.0.0.1:9001/v1 \\
    --target nginx=http://127.0.0.1:9080/v1,pid=4711 \\
    --target gateway=http://127.0.0.1:8080/v1,pid=4712,key=sk-fil-… \\
    --target gateway:tunnel=http://127.0.0.1:8080/v1,pid=4712,key=sk-fil-…,model=bench-tunnel")]
pub struct BenchArgs {
    /// A server to measure: its name, the URL its API begins at, and its processes. May be repeated.
    #[arg(
        long = "target",
        required = true,
        value_name = "NAME[:VARIANT]=URL[,pid=PID]…[,key=API_KEY][,model=MODEL]"
    )]
    targets: Vec<Target>,
    /// A case to measure; all of them when absent. May be repeated.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// How often each target is measured in each case; the figures are medians.
    #[arg(long, default_value_t = BenchSettings::default().rounds)]
    rounds: usize,
    /// Seconds one measurement takes.
    #[arg(long, default_value_t = BenchSettings::default().window.as_secs_f64())]
    window_s: f64,
    /// Callers of the CPU measurement.
    #[arg(long, default_value_t = BenchSettings::default().callers)]
    callers: usize,
    /// Where to write the figures.
    #[arg(long, value_name = "FILE", default_value = "target/bench/overhead.json")]
    json: PathBuf,
}

impl BenchArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let cases = self.cases()?;
        let settings = BenchSettings {
            rounds: self.rounds.max(1),
            window: Duration::try_from_secs_f64(self.window_s).context("--window-s is no length of time")?,
            callers: self.callers.max(1),
            ..BenchSettings::default()
        };
        let overhead = runtime(1)?.block_on(run(&self.targets, &cases, &settings))?;
        print!("{overhead}");
        if let Some(folder) = self.json.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&self.json, serde_json::to_string_pretty(&overhead)?)
            .with_context(|| format!("cannot write {}", self.json.display()))?;
        println!("written to {}", self.json.display());
        Ok(ExitCode::SUCCESS)
    }

    fn cases(&self) -> anyhow::Result<Vec<Case>> {
        if self.cases.is_empty() {
            return Ok(CASES.to_vec());
        }
        let known = || CASES.map(|case| case.name).join(", ");
        let find = |name: &String| CASES.into_iter().find(|case| case.name == name);
        self.cases
            .iter()
            .map(|name| find(name).with_context(|| format!("no case {name}; there are {}", known())))
            .collect()
    }
}
