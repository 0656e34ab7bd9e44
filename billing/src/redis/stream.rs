//! The stream of records, shard by shard, and the trail of what operators did.

use std::time::Duration;

use redis::Cmd;
use serde::Deserialize;

use super::connection::{Call, Connection};
use super::keys::{AUDIT, Shard, member};
use crate::id::{AccountId, CallId};
use crate::ledger::{AUDIT_READ_MAX, AuditEntry, Cursor, LedgerError, RECORDS_MAX};
use crate::record::UsageRecord;

/// Records read or forgotten by one command, so that neither outlasts the deadline.
const RECORDS_AT_ONCE: usize = 256;

/// A stream's entry: its place and its columns.
pub(super) type Row = (String, Vec<(String, Vec<u8>)>);

/// What a trim needs of a record.
#[derive(Deserialize)]
struct Named {
    account: AccountId,
    call: CallId,
}

/// Asks for entries behind `after`, up to a place, and no more than `max`.
pub(super) fn range(stream: &str, after: Option<Cursor>, up_to: Option<Cursor>, max: usize) -> Cmd {
    let after = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
    let up_to = up_to.map_or_else(|| "+".to_owned(), |up_to| up_to.to_string());
    let mut command = redis::cmd("XRANGE");
    command.arg(stream).arg(after).arg(up_to).arg("COUNT").arg(max);
    command
}

/// The places of entries, and what they say.
pub(super) fn entries(stream: &str, rows: Vec<Row>) -> Result<Vec<(Cursor, Vec<u8>)>, LedgerError> {
    let rows = rows.into_iter().map(|(place, mut columns)| {
        let damaged = || LedgerError::Damaged(format!("the entry {place} of {stream} cannot be read"));
        let json = columns.pop().ok_or_else(damaged)?.1;
        Ok((place.parse().map_err(|_| damaged())?, json))
    });
    rows.collect()
}

pub(super) async fn unsealed(
    connection: &Connection,
    shard: Shard,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, UsageRecord)>, LedgerError> {
    let (max, stream) = (max.min(RECORDS_MAX), shard.records());
    let (mut records, mut last) = (Vec::new(), after);
    while records.len() < max {
        let wanted = max.saturating_sub(records.len()).min(RECORDS_AT_ONCE);
        // Whoever reads them seals them, so no failover may take them back.
        let rows = connection
            .send_safe(&stream, &range(&stream, last, None, wanted))
            .await?;
        let rows = entries(&stream, rows)?;
        let is_end = rows.len() < wanted;
        for (place, json) in rows {
            let record = serde_json::from_slice(&json);
            let damaged = |_| LedgerError::Damaged(format!("the record {place} of {stream} cannot be read"));
            records.push((place, record.map_err(damaged)?));
            last = Some(place);
        }
        if is_end {
            break;
        }
    }
    Ok(records)
}

pub(super) async fn trim(
    connection: &Connection,
    shard: Shard,
    up_to: Cursor,
    kept: Duration,
) -> Result<(), LedgerError> {
    let stream = shard.records();
    let kept_ms = u64::try_from(kept.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, KEPT_MS_MAX);
    loop {
        let rows = connection
            .send(&range(&stream, None, Some(up_to), RECORDS_AT_ONCE))
            .await?;
        let rows = entries(&stream, rows)?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        let before = Cursor {
            minor: last.minor.saturating_add(1),
            ..*last
        };
        let mut keys = vec![stream.clone()];
        for (place, json) in &rows {
            let named: Result<Named, _> = serde_json::from_slice(json);
            let Ok(Named { account, call }) = named else {
                return Err(LedgerError::Damaged(format!(
                    "the record {place} of {stream} cannot be read"
                )));
            };
            keys.push(shard.marker(&member(&account, &call)));
        }
        let call = Call::new("trim", &keys).arg(before.to_string()).arg(kept_ms);
        let _count: u64 = connection.call(&call).await?;
    }
}

/// Longest time that a mark is kept, in milliseconds: 100 years, which Redis can count.
const KEPT_MS_MAX: u64 = 100 * 365 * 86_400_000;

pub(super) async fn audit(connection: &Connection, entry: &AuditEntry, entries_max: u64) -> Result<(), LedgerError> {
    entry.check()?;
    let json = serde_json::to_vec(entry).map_err(|_| LedgerError::Damaged("the entry cannot be written".into()))?;
    let mut command = redis::cmd("XADD");
    command
        .arg(AUDIT)
        .arg("MAXLEN")
        .arg(entries_max)
        .arg("*")
        .arg("entry")
        .arg(json);
    let _place: String = connection.send_safe(AUDIT, &command).await?;
    Ok(())
}

pub(super) async fn audit_log(
    connection: &Connection,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, AuditEntry)>, LedgerError> {
    let rows = connection
        .send(&range(AUDIT, after, None, max.min(AUDIT_READ_MAX)))
        .await?;
    let entries = entries(AUDIT, rows)?.into_iter().map(|(place, json)| {
        let damaged = |_| LedgerError::Damaged(format!("the audit entry {place} cannot be read"));
        Ok((place, serde_json::from_slice(&json).map_err(damaged)?))
    });
    entries.collect()
}
