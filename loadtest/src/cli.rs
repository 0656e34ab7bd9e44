//! The command line of `filature-loadtest`.

mod bench;
mod engine;
mod fleet;
mod run;
mod simulate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Simulated engines and fleets for Filature, load on a gateway, the benchmark of its hot path, and the router's proof.
#[derive(Debug, Parser)]
#[command(name = "filature-loadtest", version, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Engine(engine::EngineArgs),
    Fleet(fleet::FleetArgs),
    Run(run::RunArgs),
    Bench(bench::BenchArgs),
    Simulate(simulate::SimulateArgs),
}

impl Cli {
    /// Does what the command line says. The exit code is 0 when that went well.
    #[must_use]
    pub fn run(self) -> ExitCode {
        tracing_subscriber::fmt()
            .with_env_filter(
                tracing_subscriber::EnvFilter::builder()
                    .with_default_directive(tracing::Level::WARN.into())
                    .from_env_lossy(),
            )
            .with_writer(std::io::stderr)
            .init();
        let done = match self.command {
            Command::Engine(args) => args.run(),
            Command::Fleet(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Simulate(args) => args.run(),
        };
        match done {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// A runtime with this many threads; one means the thread that called.
pub(crate) fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = if threads <= 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    Ok(builder.worker_threads(threads.max(1)).enable_all().build()?)
}

/// Returns when the process is asked to end: SIGINT or SIGTERM.
pub(crate) async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
