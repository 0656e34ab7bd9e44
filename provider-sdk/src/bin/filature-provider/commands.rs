//! The commands of `filature-provider`. Decides words, output and exit status; the work is the library's.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use filature_provider_sdk::agent::settings::{Flags, resolve, resolve_offer, unknown_environment};
use filature_provider_sdk::agent::{self, AgentSettings};
use filature_provider_sdk::{ProviderKey, SignedOffer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

const EXAMPLES: &str = "\
Examples:
  Make a key once; it is the provider's name, and what it earns belongs to it:
    filature-provider key new --key-file provider.key

  Sell one model of a vLLM server on this machine:
    filature-provider run --gateway https://gate.example --engine http://127.0.0.1:8000 \\
      --key-file provider.key --name mill-1 --model llama-3.1-8b=meta-llama/Llama-3.1-8B-Instruct \\
      --price-prompt 20000000 --price-completion 60000000 --concurrency 32 \\
      --capabilities tools,json_schema

  Several models, from a file:
    filature-provider run --config provider.toml

      gateways = [\"https://a.gate.example\", \"https://b.gate.example\"]
      engine = \"http://127.0.0.1:8000\"
      key_file = \"provider.key\"
      name = \"mill-1\"

      [[models]]
      model = \"llama-3.1-8b\"
      engine_model = \"meta-llama/Llama-3.1-8B-Instruct\"
      quantization = \"fp8\"
      context_tokens_max = 131072
      output_tokens_max = 8192
      concurrency_max = 32
      price = { prompt = 20000000, cached_prompt = 5000000, completion = 60000000 }
      capabilities = [\"tools\", \"json_schema\", \"logprobs\"]
      parameters = [\"seed\", \"top_k\", \"min_p\", \"frequency_penalty\", \"presence_penalty\", \"stop\"]

Exit status: 0 drained after SIGTERM or SIGINT, 1 failed while running, 2 bad usage or settings.";

/// Sells an engine's answers through Filature gateways. Dials out: no port has to be opened.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve calls until SIGTERM or SIGINT, then drain
    #[command(after_help = EXAMPLES)]
    Run(Box<Run>),
    /// Make or show the provider's key
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at the offer
    #[command(subcommand)]
    Offer(OfferCommand),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    flags: Flags,
    /// Which log lines to write: error, warn, info, debug, or by module
    #[arg(long, value_name = "FILTER", env = "FILATURE_PROVIDER_LOG", default_value = "info")]
    log: String,
    /// How to write them
    #[arg(
        long,
        value_name = "FORM",
        env = "FILATURE_PROVIDER_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a new key file and print the provider's id; never overwrites one
    New(KeyFile),
    /// Print the id of the provider whose key this is
    Show(KeyFile),
}

#[derive(Debug, Args)]
struct KeyFile {
    /// File with the provider's key
    #[arg(long, value_name = "FILE", env = "FILATURE_PROVIDER_KEY_FILE")]
    key_file: PathBuf,
}

#[derive(Debug, Subcommand)]
enum OfferCommand {
    /// Print the signed offer that these settings make, as a gateway would get it
    Show(Box<Flags>),
}

/// Does what the command line asks for.
pub fn run(cli: Cli) -> ExitCode {
    match cli.command {
        Command::Run(run) => serve(&run),
        Command::Key(KeyCommand::New(KeyFile { key_file })) => key_new(&key_file),
        Command::Key(KeyCommand::Show(KeyFile { key_file })) => key_show(&key_file),
        Command::Offer(OfferCommand::Show(flags)) => offer_show(&flags),
    }
}

/// Prints a line; a reader that has left (`| head`) is no error.
fn print_line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn key_new(path: &Path) -> ExitCode {
    let key = ProviderKey::generate(&mut rand::rng());
    finish(
        key.store(path)
            .map(|()| print_line(&key.public().to_string()))
            .map_err(|error| vec![error.to_string()]),
    )
}

fn key_show(path: &Path) -> ExitCode {
    finish(
        ProviderKey::load(path)
            .map(|key| print_line(&key.public().to_string()))
            .map_err(|error| vec![error.to_string()]),
    )
}

fn offer_show(flags: &Flags) -> ExitCode {
    let shown = with_environment(resolve_offer(flags)).and_then(|settings| {
        let now_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let now_ms = u64::try_from(now_ms).unwrap_or(u64::MAX);
        let lifetime_ms = u64::try_from(settings.offer_lifetime.as_millis()).unwrap_or(u64::MAX);
        let offer = settings.offer(now_ms, now_ms.saturating_add(lifetime_ms));
        let signed = SignedOffer::sign(&offer, &settings.key).map_err(|error| vec![error.to_string()])?;
        serde_json::to_string_pretty(&signed).map_err(|error| vec![error.to_string()])
    });
    finish(shown.map(|text| print_line(&text)))
}

fn serve(run: &Run) -> ExitCode {
    let filter = EnvFilter::try_new(&run.log).map_err(|error| format!("--log {:?}: {error}", run.log));
    let (settings, filter) = match (with_environment(resolve(&run.flags)), filter) {
        (Ok(settings), Ok(filter)) => (settings, filter),
        (settings, filter) => {
            let problems = settings.err().unwrap_or_default();
            return finish(Err(problems.into_iter().chain(filter.err()).collect()));
        }
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match run.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let served = runtime.block_on(until_signal(settings));
            // A name look-up may still block a thread; nothing waits for it.
            runtime.shutdown_timeout(Duration::from_millis(100));
            served
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filature-provider: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the agent; the first SIGTERM or SIGINT starts the drain, a second one cuts it short.
async fn until_signal(settings: AgentSettings) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let mut agent = std::pin::pin!(agent::run(settings, shutdown.clone()));
    loop {
        tokio::select! {
            ended = agent.as_mut() => return Ok(ended?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            anyhow::bail!("a second signal cut the drain short");
        }
        shutdown.cancel();
    }
}

/// Adds the environment variables that look like settings and are none.
fn with_environment(settings: Result<AgentSettings, Vec<String>>) -> Result<AgentSettings, Vec<String>> {
    let command = Cli::command();
    let known: Vec<String> = command
        .get_subcommands()
        .flat_map(|sub| sub.get_arguments())
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    let set: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    let unknown = unknown_environment(set.iter().map(String::as_str), &known);
    match settings {
        Ok(settings) if unknown.is_empty() => Ok(settings),
        settings => Err(settings.err().into_iter().flatten().chain(unknown).collect()),
    }
}

/// Status 2 and every problem on its own line, if there are any.
fn finish(result: Result<(), Vec<String>>) -> ExitCode {
    let Err(problems) = result else {
        return ExitCode::SUCCESS;
    };
    for problem in problems {
        eprintln!("filature-provider: {problem}");
    }
    ExitCode::from(2)
}
