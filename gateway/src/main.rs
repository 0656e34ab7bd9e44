//! The `filature` program: see [`filature_gateway::cli`].

use std::process::ExitCode;

/// Calls are made of many short-lived buffers that cross threads, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    filature_gateway::cli::main(std::env::args_os())
}
