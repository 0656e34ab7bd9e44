//! Simulated engines and fleets, open-loop load with a report, the benchmark of the hot path, and the simulation that
//! proves the router.
//!
//! Tests borrow [`engine`] and [`fleet`]; people use the same through the program `filature-loadtest`.

pub mod bench;
pub mod cli;
pub mod client;
pub mod engine;
pub mod fleet;
pub mod load;
pub mod simulate;
