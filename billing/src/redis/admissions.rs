//! What operators have said of providers: one hash, which every gateway reads.

use super::connection::Connection;
use super::keys::ADMISSIONS;
use super::rows::Row;
use crate::id::ProviderId;
use crate::ledger::{ADMISSIONS_MAX, Admission, LedgerError};

pub(super) async fn say(
    connection: &Connection,
    provider: &ProviderId,
    admission: Option<Admission>,
) -> Result<(), LedgerError> {
    let Some(admission) = admission else {
        let mut command = redis::cmd("HDEL");
        command.arg(ADMISSIONS).arg(provider.as_str());
        let _gone: u64 = connection.send(&command).await?;
        return Ok(());
    };
    let known: u64 = connection.send(redis::cmd("HLEN").arg(ADMISSIONS)).await?;
    if known >= ADMISSIONS_MAX && of(connection, provider).await?.is_none() {
        return Err(LedgerError::TooLarge("the list of providers"));
    }
    let mut command = redis::cmd("HSET");
    command.arg(ADMISSIONS).arg(provider.as_str()).arg(admission.as_str());
    let _new: u64 = connection.send(&command).await?;
    Ok(())
}

pub(super) async fn of(connection: &Connection, provider: &ProviderId) -> Result<Option<Admission>, LedgerError> {
    let mut command = redis::cmd("HGET");
    command.arg(ADMISSIONS).arg(provider.as_str());
    let said: Option<String> = connection.send(&command).await?;
    said.as_deref().map(Admission::named).transpose()
}

pub(super) async fn all(connection: &Connection) -> Result<Vec<(ProviderId, Admission)>, LedgerError> {
    let row: Row = connection.row(ADMISSIONS).await?;
    let all = row.iter().map(|(provider, said)| {
        let damaged = |_| LedgerError::Damaged(format!("`{provider}` is no provider"));
        Ok((ProviderId::parse(provider).map_err(damaged)?, Admission::named(said)?))
    });
    let mut all = all.collect::<Result<Vec<_>, LedgerError>>()?;
    all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(all)
}
