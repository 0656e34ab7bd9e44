//! `filature providers`.

use anyhow::Context as _;
use clap::Subcommand;
use filature_billing::Admission;
use filature_provider_sdk::PublicKey;

use super::Failure;
use super::output::{self, Table};
use super::reach::{Missing, Where};
use crate::admin::Admitted;

const EXAMPLES: &str = "\
Examples:
  filature providers allow 5f1d…
  filature providers deny 5f1d…
  filature providers forget 5f1d…
  filature providers list

A provider is its public key, 64 hexadecimal digits. What is said here counts before `tunnels.open`
and `tunnels.allow`, at every gateway of the ledger. One that is denied loses its tunnel within five
statuses (`tunnels.status_every_ms`).";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Providers {
    /// Let a provider join.
    Allow {
        /// Its public key.
        provider: PublicKey,
        #[command(flatten)]
        at: Where,
    },
    /// Keep a provider out.
    Deny {
        /// Its public key.
        provider: PublicKey,
        #[command(flatten)]
        at: Where,
    },
    /// Leave it to the settings again.
    Forget {
        /// Its public key.
        provider: PublicKey,
        #[command(flatten)]
        at: Where,
    },
    /// List the providers that are let in or kept out by name.
    List {
        #[command(flatten)]
        at: Where,
    },
}

pub(super) fn run(command: Providers) -> Result<(), Failure> {
    let (provider, admission, at) = match command {
        Providers::Allow { provider, at } => (provider, Some(Admission::Allow), at),
        Providers::Deny { provider, at } => (provider, Some(Admission::Deny), at),
        Providers::Forget { provider, at } => (provider, None, at),
        Providers::List { at } => return list(&at),
    };
    output::block_on(async {
        let ledger = at.reach(Missing::Make).await?;
        let admitted = ledger.admin.admit(&provider, admission).await;
        let admitted = admitted.context("nothing was changed")?;
        output::show(at.json, &admitted, || {
            output::facts(&[
                ("provider", admitted.provider.to_string()),
                ("admission", word(&admitted).to_owned()),
            ])
        })
    })
}

fn list(at: &Where) -> Result<(), Failure> {
    output::block_on(async {
        let ledger = at.reach(Missing::Refuse).await?;
        let said = ledger.admin.providers().await.context("nothing to list")?;
        output::show(at.json, &said, || {
            let mut table = Table::new(&["PROVIDER", "ADMISSION"]);
            for admitted in &said.providers {
                table.row([admitted.provider.to_string(), word(admitted).to_owned()]);
            }
            table.to_string()
        })
    })
}

fn word(admitted: &Admitted) -> &'static str {
    admitted.admission.map_or("as the settings say", Admission::as_str)
}
