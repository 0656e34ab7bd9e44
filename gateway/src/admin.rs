//! What an operator may do to a ledger: accounts, credit, keys. One set of operations, as a small JSON API.
//!
//! The gateway that owns an embedded ledger serves it on a Unix socket in the ledger's folder, readable by its owner
//! only; the command line is its client. Where no gateway runs, or the ledger is in Redis, the command line calls the
//! same router inside its own process.

mod client;
mod operations;
mod socket;
mod wire;

pub use client::{AdminClient, AdminError};
pub use operations::router;
pub use socket::{SOCKET, listen};
pub use wire::{Accounts, Books, CreatedKey, Credit, Credited, Keys, NewAccount, NewKey};

#[cfg(test)]
mod tests;
