//! `filature-provider`: the agent beside an engine, its key, and a look at its offer.
//! Exit status: 0 drained, 1 failed while running, 2 bad usage or settings.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    commands::run(commands::Cli::parse())
}
