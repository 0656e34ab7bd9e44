//! `filature-loadtest fleet`: simulated providers on a gateway until SIGTERM, then an orderly drain.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::{asked_to_end, runtime};
use crate::fleet::{Fleet, FleetSettings, Provider, Spread};

/// Run simulated providers: engines of different speed and price, each behind the real agent and tunnel.
///
/// Prints one line per provider, and `ready providers=N` once the gateways have all tunnels. On SIGTERM the agents
/// drain, and the program ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  filature-loadtest fleet --gateway http://127.0.0.1:8080 --providers 4 --seed 7
  filature-loadtest fleet --providers 20 --ttft-ms 200 --itl-ms 25 --sigma 0.8 --data target/fleet")]
pub struct FleetArgs {
    /// URL of a gateway; may be repeated.
    #[arg(long = "gateway", env = "FILATURE_GATEWAY", default_value = "http://127.0.0.1:8080")]
    gateways: Vec<String>,
    /// How many providers.
    #[arg(long, default_value_t = 4)]
    providers: u16,
    /// What the draw of speeds and prices starts from.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// A model every provider serves; may be repeated.
    #[arg(long = "model", default_value = "sim-small")]
    models: Vec<String>,
    /// An address on TON that a provider is paid at, for the first, the second and so on.
    #[arg(long = "payout", value_name = "ADDRESS")]
    payouts: Vec<String>,
    /// Calls a provider serves at the same time.
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
    /// Median milliseconds to the first token.
    #[arg(long, default_value_t = Spread::default().ttft_ms)]
    ttft_ms: f64,
    /// Median milliseconds between two tokens.
    #[arg(long, default_value_t = Spread::default().itl_ms)]
    itl_ms: f64,
    /// Median price of a million prompt tokens, in nano; answers cost four times as much.
    #[arg(long, default_value_t = Spread::default().price_prompt)]
    price_prompt: f64,
    /// How much providers differ: standard deviation of the logarithm. 0 makes them alike.
    #[arg(long, default_value_t = Spread::default().sigma)]
    sigma: f64,
    /// Folder that keeps the providers' keys from one run to the next. New keys each time when absent.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Seconds to wait for the tunnels before giving up.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
    /// Threads that serve; all providers share them.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

impl FleetArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (threads, patience) = (self.threads, Duration::from_secs(self.patience_s));
        let settings = self.settings();
        runtime(threads)?.block_on(async {
            let mut fleet = Fleet::start(settings).await.context("the fleet does not start")?;
            fleet
                .providers()
                .iter()
                .for_each(|provider| println!("{}", line(provider)));
            let ending = asked_to_end();
            tokio::pin!(ending);
            tokio::select! {
                ready = fleet.ready(patience) => ready?,
                ended = &mut ending => {
                    ended?;
                    fleet.shutdown().await?;
                    return Ok(ExitCode::SUCCESS);
                }
            }
            println!("ready providers={}", fleet.providers().len());
            tokio::select! {
                failed = fleet.failed() => match failed {
                    Some(error) => return Err(error).context("a provider gave up"),
                    None => anyhow::bail!("every provider has ended"),
                },
                ended = ending => ended?,
            }
            fleet.shutdown().await?;
            Ok(ExitCode::SUCCESS)
        })
    }

    fn settings(self) -> FleetSettings {
        FleetSettings {
            gateways: self.gateways,
            providers: self.providers,
            seed: self.seed,
            spread: Spread {
                ttft_ms: self.ttft_ms,
                itl_ms: self.itl_ms,
                price_prompt: self.price_prompt,
                sigma: self.sigma,
            },
            models: self.models,
            payouts: self.payouts,
            concurrency_max: self.concurrency,
            keys: self.data,
            ..FleetSettings::default()
        }
    }
}

fn line(provider: &Provider) -> String {
    let (traits, price) = (&provider.traits, &provider.traits.price);
    format!(
        "provider name={} id={} ttft_ms={:.1} itl_ms={:.1} price_prompt={} price_completion={} engine={}",
        provider.name,
        provider.id,
        traits.ttft.as_secs_f64() * 1_000.0,
        traits.itl.as_secs_f64() * 1_000.0,
        price.prompt,
        price.completion,
        provider.engine.url(),
    )
}
