//! What an operator decides: one typed [`Config`] from a TOML file, then the environment, then flags.
//!
//! A later layer overrides an earlier one. Unknown keys are refused, and every problem is reported at once with its
//! place, what is wrong and what is allowed. Loading is pure: [`Sources`] holds what was written where, and only
//! [`Sources::gather`] touches the system.

mod check;
#[cfg(test)]
pub(crate) mod committed;
pub(crate) mod declare;
mod file;
mod load;
pub(crate) mod names;
mod problem;
mod providers;
mod reference;
mod settings;
mod source;
mod tokenizers;
pub(crate) mod value;

pub use load::{Effective, Inspection};
pub use problem::{Origin, Problem, Problems};
pub use providers::DirectProvider;
pub use reference::reference;
pub use settings::{
    AdminSettings, Config, KeysSettings, LedgerSettings, PricingSettings, RoutingSettings, ServerSettings,
    SettlementSettings, TelemetrySettings, TunnelsSettings, UpstreamSettings,
};
pub use source::{Flag, Sources, Written};
pub use tokenizers::TokenizerSettings;
pub use value::{LogFormat, Registration};

#[cfg(test)]
mod tests;
