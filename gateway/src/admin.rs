//! What an operator may do to a ledger: accounts, credit, withdrawals, keys, providers, usage, the audit trail. One set of
//! operations, as a small JSON API.
//!
//! The gateway that owns an embedded ledger serves it on a Unix socket in the ledger's folder, readable by its owner
//! only; the command line is its client. Where no gateway runs, or the ledger is in Redis, the command line calls the
//! same router inside its own process. With `admin.listen` every gateway also serves it over HTTP, under `/admin/v1` on
//! a port of its own, to those with an admin token.
//!
//! Whichever way an operator comes, every change is written into the audit trail before it is made, with their name.

mod client;
mod desk;
mod listener;
mod operations;
mod refused;
mod socket;
mod token;
pub mod user;
mod wire;

pub use client::{AdminClient, AdminError};
pub use desk::Desk;
pub use listener::{AdminApi, serve};
pub use operations::router;
pub use socket::{SOCKET, listen};
pub use token::{AdminToken, BadAdminToken, Tokens, generate as generate_token};
pub use wire::{
    Accounts, Admittance, Admitted, Audit, Audited, Books, BudgetPatch, CreatedKey, Credit, Credited, KeyPatch,
    KeyShown, Keys, LimitsPatch, NewAccount, NewKey, NewWithdrawal, OwedPayouts, PayeeList, PayeeOne, Payouts,
    Providers, Return, UncreditedList, UncreditedOne, UsageOf, Withdrawals,
};

#[cfg(test)]
mod tests;
