//! `filature-loadtest engine`: one simulated engine until SIGTERM.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::cli::{asked_to_end, runtime};
use crate::engine::sim::{Fault, duration_ms};
use crate::engine::{Engine, EngineSettings};

/// Run one simulated engine: an OpenAI-compatible server with a deterministic model and faults on demand.
///
/// Prints `ready base_url=…` once it listens. Requests steer it through their field `sim`, for example
/// {"sim": {"tokens": 40, "ttft_ms": 5, "itl_ms": 2, "echo": true, "fault": {"kind": "reset", "at": 5}}}
#[derive(Debug, Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  filature-loadtest engine --listen 127.0.0.1:9001 --name e1 --model sim-small --ttft-ms 50 --itl-ms 10
  curl http://127.0.0.1:9001/v1/chat/completions -d '{\"model\":\"sim-small\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}'
  curl http://127.0.0.1:9001/stats"
)]
pub struct EngineArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Name that `sim.fault.engines` and `system_fingerprint` know it by.
    #[arg(long, default_value = "sim")]
    name: String,
    /// A model it serves; may be repeated. Any other is answered with 404.
    #[arg(long = "model", default_value = "sim-small")]
    models: Vec<String>,
    /// Tokens per answer, unless the call says otherwise.
    #[arg(long, default_value_t = 32)]
    tokens: u32,
    /// Milliseconds to the first token, unless the call says otherwise.
    #[arg(long, default_value_t = 0.0)]
    ttft_ms: f64,
    /// Milliseconds between two tokens, unless the call says otherwise.
    #[arg(long, default_value_t = 0.0)]
    itl_ms: f64,
    /// Calls that run at the same time; more wait their turn. No limit when absent.
    #[arg(long)]
    concurrency: Option<usize>,
    /// API key it asks for, as `Authorization: Bearer KEY`.
    #[arg(long, env = "FILATURE_ENGINE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Fault of every call that brings none of its own, as JSON: '{"kind":"reset","at":5}'.
    #[arg(long, value_name = "JSON")]
    fault: Option<String>,
    /// Strip white space around the text so far before a chat is continued, as chat templates of Llama 3's kind do.
    #[arg(long)]
    trim: bool,
    /// Threads that serve.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl EngineArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let threads = self.threads;
        let settings = self.settings()?;
        runtime(threads)?.block_on(async {
            let listen = settings.listen;
            let engine = Engine::start(settings)
                .await
                .with_context(|| format!("cannot listen on {listen}"))?;
            println!("ready base_url={}", engine.base_url());
            asked_to_end().await?;
            engine.shutdown().await;
            Ok(ExitCode::SUCCESS)
        })
    }

    fn settings(self) -> anyhow::Result<EngineSettings> {
        let fault: Option<Fault> = self
            .fault
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .context("--fault is not a fault in JSON")?;
        Ok(EngineSettings {
            listen: self.listen,
            name: self.name,
            models: self.models,
            tokens: self.tokens,
            ttft: duration_ms(self.ttft_ms),
            itl: duration_ms(self.itl_ms),
            concurrency_max: self.concurrency,
            api_key: self.api_key,
            fault,
            trim: self.trim,
            ..EngineSettings::default()
        })
    }
}
