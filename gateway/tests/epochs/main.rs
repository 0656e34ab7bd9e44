//! From a call to a proof that anybody can check: real gateways on both ledgers, their epochs and receipts, verified by
//! the command line and by the Python of `docs/verify-receipt.md`.

mod chain;
#[path = "../faults/caller/client.rs"]
#[expect(dead_code, reason = "the kill tests use more of it")]
mod client;
mod contests;
mod contract_chain;
mod cosigned;
mod crash;
#[path = "../faults/stack/home.rs"]
#[expect(dead_code, reason = "the kill tests use more of it")]
mod home;
mod house;
mod onchain;
#[path = "../faults/operator.rs"]
#[expect(dead_code, reason = "the kill tests use more of it")]
mod operator;
mod orders;
#[path = "../faults/process.rs"]
#[expect(dead_code, reason = "the kill tests use more of it")]
mod process;
mod receipts;
mod settlement;
mod turns;
#[path = "../faults/wait.rs"]
mod wait;
mod wallets;
