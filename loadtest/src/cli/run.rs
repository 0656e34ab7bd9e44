//! `filature-loadtest run`: open-loop load on a server, and a report.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::runtime;
use crate::client::Client;
use crate::load::{LoadSettings, run};

/// Put open-loop load on an OpenAI-compatible server and report latencies and failures.
///
/// Calls come at random at the rate asked for, whether or not earlier ones have ended, and latencies count from when a
/// call was due. Failed calls are counted by kind and kept out of the latencies.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  filature-loadtest run --api-key sk-fil-… --model sim-small --rate 50 --seconds 30 --stream
  filature-loadtest run --base-url http://127.0.0.1:9001/v1 --model sim-small --rate 200 --json report.json
  filature-loadtest run --model sim-small --stream --sim '{\"tokens\": 200, \"itl_ms\": 20}'")]
pub struct RunArgs {
    /// URL the server's API begins at.
    #[arg(long, env = "OPENAI_BASE_URL", default_value = "http://127.0.0.1:8080/v1")]
    base_url: String,
    /// API key.
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Model to call.
    #[arg(long, default_value = "sim-small")]
    model: String,
    /// Calls per second on average.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// How long calls are sent.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Stream the answers.
    #[arg(long)]
    stream: bool,
    /// `max_tokens` of each call.
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    /// Length of the prompt's text.
    #[arg(long, default_value_t = 1024)]
    prompt_bytes: usize,
    /// Field `sim` of each call, as JSON: knobs of simulated engines.
    #[arg(long, value_name = "JSON")]
    sim: Option<String>,
    /// What the schedule starts from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds after which a call that has not ended counts as failed.
    #[arg(long, default_value_t = 120.0)]
    timeout_s: f64,
    /// Calls open at the same time; one more is not sent and counts as failed.
    #[arg(long, default_value_t = 10_000)]
    open_max: usize,
    /// Also write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with 1 when more calls than this fail.
    #[arg(long)]
    failures_max: Option<u64>,
    /// Threads that send.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl RunArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            self.rate.is_finite() && self.rate > 0.0,
            "--rate is to be above 0, not {}",
            self.rate
        );
        let client =
            Client::new(&self.base_url, self.api_key.as_deref()).context("--base-url or --api-key cannot be used")?;
        let settings = self.settings()?;
        let report = runtime(self.threads)?.block_on(run(&client, &settings));
        print!("{report}");
        if let Some(file) = &self.json {
            let json = serde_json::to_string_pretty(&report)?;
            std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let too_many = self
            .failures_max
            .is_some_and(|failures_max| report.failed > failures_max);
        Ok(if too_many { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn settings(&self) -> anyhow::Result<LoadSettings> {
        let seconds = |seconds: f64, flag: &str| {
            Duration::try_from_secs_f64(seconds).with_context(|| format!("{flag} is no length of time: {seconds}"))
        };
        Ok(LoadSettings {
            model: self.model.clone(),
            rate: self.rate,
            length: seconds(self.seconds, "--seconds")?,
            stream: self.stream,
            tokens_max: self.tokens,
            prompt_bytes: self.prompt_bytes,
            sim: self
                .sim
                .as_deref()
                .map(serde_json::from_str)
                .transpose()
                .context("--sim is not JSON")?,
            seed: self.seed,
            timeout: seconds(self.timeout_s, "--timeout-s")?,
            open_max: self.open_max,
        })
    }
}
