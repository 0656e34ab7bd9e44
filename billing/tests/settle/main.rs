//! Settlement and withdrawals over a real store of epochs and the devnet: after whatever fails, every provider has been paid
//! exactly what the epochs say, every caller what it took back, and the books equal the chain.

mod claims;
mod contests;
mod crash;
mod faults;
mod history;
#[allow(dead_code, reason = "the ledger's suite does more with it")]
#[path = "../ledger/home.rs"]
mod home;
mod payees;
mod quorum;
mod report;
mod rounds;
#[allow(dead_code, reason = "the ledger's suite does more with it")]
#[path = "../ledger/server.rs"]
mod server;
mod withdrawals;
mod world;
