//! What calls do to balances, each one function call: reserve, post, void, renew; and the sweep over all shards.

use super::connection::{Call, Connection};
use super::keys::{Shard, member};
use super::rows::nano;
use super::{texts, unexpected};
use crate::id::{AccountId, CallId};
use crate::ledger::{LedgerError, Posted, Reserve, ReserveError, Reserved, Swept};
use crate::money::Nano;
use crate::record::UsageRecord;

/// Holds given back by one command, so that no sweep keeps the server for long.
const SWEEP_BATCH: usize = 128;

pub(super) async fn reserve(connection: &Connection, ask: &Reserve) -> Result<Reserved, ReserveError> {
    let (shard, member) = (Shard::of(&ask.account), member(&ask.account, &ask.call));
    let account = shard.account(ask.account.as_str());
    let keys = [
        account,
        shard.api_key(&ask.key),
        shard.hold(&member),
        shard.expiry(),
        shard.totals(),
    ];
    let call = Call::new("reserve", &keys)
        .arg(ask.account.as_str())
        .arg(&member)
        .arg(ask.quote.get());
    let call = call
        .arg(ask.quote_min.min(ask.quote).get())
        .arg(ask.now_ms)
        .arg(ask.expires_ms);
    let answer: Vec<String> = connection.call(&call).await?;
    Err(match texts(&answer)[..] {
        ["ok", held] => return Ok(Reserved { held: nano(held)? }),
        ["insufficient", available] => ReserveError::Insufficient {
            available: available.parse().map_err(|_| unexpected(&answer))?,
        },
        ["unknown_account"] => ReserveError::UnknownAccount,
        ["unknown_key"] => ReserveError::UnknownKey,
        ["key_revoked"] => ReserveError::KeyRevoked,
        ["key_expired"] => ReserveError::KeyExpired,
        ["already_reserved"] => ReserveError::AlreadyReserved,
        _ => unexpected(&answer).into(),
    })
}

pub(super) async fn post(connection: &Connection, record: &UsageRecord) -> Result<Posted, LedgerError> {
    record.check()?;
    let json = serde_json::to_vec(record).map_err(|_| LedgerError::Damaged("the record cannot be written".into()))?;
    let earned = record.cost.minus(record.fee).unwrap_or_default();
    let (shard, member) = (Shard::of(&record.account), member(&record.account, &record.call));
    let keys = [
        shard.account(record.account.as_str()),
        shard.api_key(&record.key),
        shard.hold(&member),
        shard.expiry(),
        shard.records(),
        shard.marker(&member),
        shard.earnings(),
        shard.totals(),
    ];
    let call = Call::new("post", &keys)
        .arg(record.account.as_str())
        .arg(&member)
        .arg(json.as_slice());
    let call = call.arg(record.cost.get()).arg(record.fee.get()).arg(earned.get());
    let call = record.legs.iter().fold(call, |call, leg| {
        call.arg(leg.provider.as_str()).arg(leg.fee.get()).arg(leg.earned.get())
    });
    let answer: Vec<String> = connection.call(&call).await?;
    match texts(&answer)[..] {
        [status @ ("ok" | "again"), charged, released] => Ok(Posted {
            fresh: status == "ok",
            charged: nano(charged)?,
            released: nano(released)?,
        }),
        ["above_hold", held] => Err(LedgerError::CostAboveHold {
            cost: record.cost,
            held: nano(held)?,
        }),
        ["unknown_account"] => Err(LedgerError::UnknownAccount(record.account.clone())),
        _ => Err(unexpected(&answer)),
    }
}

pub(super) async fn void(connection: &Connection, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
    let (shard, member) = (Shard::of(account), member(account, call));
    let keys = [
        shard.account(account.as_str()),
        shard.hold(&member),
        shard.expiry(),
        shard.totals(),
    ];
    let released: String = connection.call(&Call::new("void", &keys).arg(&member)).await?;
    nano(&released)
}

pub(super) async fn renew(
    connection: &Connection,
    account: &AccountId,
    call: &CallId,
    expires_ms: u64,
) -> Result<bool, LedgerError> {
    let (shard, member) = (Shard::of(account), member(account, call));
    let call = Call::new("renew", &[shard.hold(&member), shard.expiry()])
        .arg(&member)
        .arg(expires_ms);
    connection.call(&call).await
}

pub(super) async fn sweep(connection: &Connection, now_ms: u64) -> Result<Swept, LedgerError> {
    let mut swept = Swept::default();
    for shard in Shard::all() {
        while sweep_batch(connection, shard, now_ms, &mut swept).await? {}
    }
    Ok(swept)
}

/// Gives back up to a batch of a shard's expired holds. True if there may be more.
async fn sweep_batch(
    connection: &Connection,
    shard: Shard,
    now_ms: u64,
    swept: &mut Swept,
) -> Result<bool, LedgerError> {
    let expiry = shard.expiry();
    let mut find = redis::cmd("ZRANGEBYSCORE");
    find.arg(&expiry)
        .arg("-inf")
        .arg(now_ms)
        .arg("LIMIT")
        .arg(0)
        .arg(SWEEP_BATCH);
    let members: Vec<String> = connection.send(&find).await?;
    if members.is_empty() {
        return Ok(false);
    }
    let mut keys = vec![expiry, shard.totals()];
    for member in &members {
        let account = member.rsplit_once(':').map(|(account, _)| account);
        let account = account.ok_or_else(|| LedgerError::Damaged(format!("`{member}` is no hold")))?;
        keys.extend([shard.account(account), shard.hold(member)]);
    }
    let call = Call::new("sweep", &keys).arg(now_ms);
    let call = members.iter().fold(call, |call, member| call.arg(member));
    let released: Vec<String> = connection.call(&call).await?;
    for amount in &released {
        let sum = swept.released.plus(nano(amount)?);
        swept.released = sum.map_err(|_| LedgerError::TooLarge("the sum of all holds"))?;
        swept.holds = swept.holds.saturating_add(1);
    }
    Ok(members.len() == SWEEP_BATCH)
}
