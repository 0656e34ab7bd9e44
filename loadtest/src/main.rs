//! The program `filature-loadtest`.

use std::process::ExitCode;

use clap::Parser as _;
use filature_loadtest::cli::Cli;

/// Engine and client should take as little as possible of the time that they measure.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
