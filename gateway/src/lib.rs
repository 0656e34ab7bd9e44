//! The gateway: an OpenAI-compatible endpoint in front of a fleet of independent GPU providers.
//!
//! Read in this order: [`serve`] starts and stops a gateway, [`routes`] is the table of every URL, [`request`] is the
//! path of a call, [`fleet`] holds the providers it can reach, [`journal`] keeps posts the
//! ledger cannot take yet, [`epochs`] and [`sealing`] put receipts where anybody can check them, [`reject`] is the closed
//! list of what callers are told when a call fails. [`usage`] sums up what accounts used, [`deposits`] watches what is
//! paid in and [`withdrawals`] pays out, both in [`turns`]; [`settling`] pays providers. [`config`], [`telemetry`], [`cli`]
//! and [`admin`] are the operator's side.

pub mod admin;
pub mod api;
pub mod app;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod deposits;
pub mod epochs;
pub mod fleet;
pub mod journal;
pub mod ledger;
pub mod reject;
pub mod request;
pub mod routes;
pub mod sealing;
pub mod serve;
pub mod settling;
pub mod telemetry;
pub mod tokens;
pub mod turns;
pub mod usage;
pub mod withdrawals;
pub mod workers;
