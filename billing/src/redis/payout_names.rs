//! Where providers are to be paid: one hash, which every gateway reads and writes.

use super::connection::{Call, Connection};
use super::keys::Shard;
use super::unexpected;
use crate::id::ProviderId;
use crate::ledger::{LedgerError, PAYOUT_NAMES_MAX, check_text};

/// Providers that are asked about at a time.
const NAMES_AT_ONCE: usize = 1_024;

pub(super) async fn name(
    connection: &Connection,
    provider: &ProviderId,
    from: Option<&str>,
    to: &str,
) -> Result<bool, LedgerError> {
    check_text(to, "where a provider is paid")?;
    let call = Call::new("name_payout", &[Shard::payout_names()]);
    let call = call.arg(provider.as_str()).arg(from.unwrap_or_default()).arg(to);
    let call = call.arg(PAYOUT_NAMES_MAX);
    let status: String = connection.call_safe(Shard::of_bookmarks(), &call).await?;
    match status.as_str() {
        "ok" => Ok(true),
        "other" => Ok(false),
        "too_many" => Err(LedgerError::TooLarge("the list of where providers are paid")),
        _ => Err(unexpected(&[status])),
    }
}

pub(super) async fn of(connection: &Connection, providers: &[ProviderId]) -> Result<Vec<Option<String>>, LedgerError> {
    let mut names = Vec::with_capacity(providers.len());
    for providers in providers.chunks(NAMES_AT_ONCE) {
        let mut command = redis::cmd("HMGET");
        command.arg(Shard::payout_names());
        for provider in providers {
            command.arg(provider.as_str());
        }
        let found: Vec<Option<String>> = connection.send(&command).await?;
        names.extend(found);
    }
    Ok(names)
}
