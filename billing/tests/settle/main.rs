//! Settlement over a real store of epochs and the devnet: after whatever fails, every provider has been paid exactly what
//! the epochs say, and the books equal the chain.

mod claims;
mod contests;
mod crash;
mod faults;
mod history;
mod report;
mod rounds;
mod world;
