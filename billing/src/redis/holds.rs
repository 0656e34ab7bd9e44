//! What calls do to balances, each one function call: reserve, void, renew; and the sweep over all shards.

use futures_util::future::join_all;

use super::connection::{Call, Connection};
use super::keys::{Shard, member};
use super::rows::{self, nano, packed, packed_limits};
use super::{starts, texts, unexpected};
use crate::id::{AccountId, CallId};
use crate::ledger::{LedgerError, Reserve, ReserveError, Reserved, Swept};
use crate::limits::{Bucket, KeyLimits, Limit, RateState, bounded};
use crate::money::Nano;

/// Holds looked at by one command, and given back by one, so that no sweep keeps the server for long.
const HOLDS_AT_ONCE: usize = 1_000;
const SWEEP_BATCH: usize = 128;

pub(super) async fn reserve(connection: &Connection, ask: &Reserve) -> Result<Reserved, ReserveError> {
    let (shard, member) = (Shard::of(&ask.account), member(&ask.account, &ask.call));
    let keys = [shard.account(ask.account.as_str()), shard.holds()];
    let [day, week, month] = starts(ask.now_ms);
    let numbers = packed([
        ask.quote.get(),
        ask.quote_min.min(ask.quote).get(),
        bounded(ask.tokens),
        ask.now_ms,
        ask.expires_ms,
        day,
        week,
        month,
    ]);
    let call = Call::new("reserve", &keys)
        .arg(&member)
        .arg(ask.key.as_str())
        .arg(numbers);
    let answer: Vec<String> = connection.call(&call).await?;
    reserved(&answer, ask).unwrap_or_else(|| Err(unexpected(&answer).into()))
}

/// What the function's answer says; `None` if it says nothing known.
fn reserved(answer: &[String], ask: &Reserve) -> Option<Result<Reserved, ReserveError>> {
    let bucket = |used: &str| Some(Bucket::new(used.parse().ok()?, ask.now_ms));
    let state = |requests: &str, tokens: &str, limits: &KeyLimits| {
        let (requests, tokens) = (bucket(requests)?, bucket(tokens)?);
        Some(RateState {
            requests: limits.requests_per_min.map(|limit| requests.rate(limit.into())),
            tokens: limits.tokens_per_min.map(|limit| tokens.rate(limit)),
        })
    };
    Some(Err(match texts(answer)[..] {
        ["ok", held, ref rest @ ..] => {
            let limits = match rest[..] {
                [] => RateState::default(),
                [requests, tokens, limits] => state(requests, tokens, &packed_limits(limits).ok()?)?,
                _ => return None,
            };
            let held = nano(held).ok()?;
            return Some(Ok(Reserved { held, limits }));
        }
        ["limited", requests, tokens, limits, what] => {
            let limits = packed_limits(limits).ok()?;
            let (what, retry_after_ms) = match what {
                "requests" => {
                    let limit = limits.requests_per_min?.into();
                    (Limit::Requests, bucket(requests)?.wait_ms(limit, 1))
                }
                "tokens" => {
                    let limit = limits.tokens_per_min?;
                    (Limit::Tokens, bucket(tokens)?.wait_ms(limit, bounded(ask.tokens)))
                }
                "concurrent" => (Limit::Concurrent, None),
                _ => return None,
            };
            ReserveError::RateLimited {
                what,
                retry_after_ms,
                state: state(requests, tokens, &limits)?,
            }
        }
        ["budget", left, limits] => ReserveError::BudgetSpent {
            left: left.parse().ok()?,
            resets_ms: packed_limits(limits).ok()?.budget?.period.next_ms(ask.now_ms),
        },
        ["insufficient", available] => ReserveError::Insufficient {
            available: available.parse().ok()?,
        },
        ["unknown_account"] => ReserveError::UnknownAccount,
        ["unknown_key"] => ReserveError::UnknownKey,
        ["key_revoked"] => ReserveError::KeyRevoked,
        ["key_expired"] => ReserveError::KeyExpired,
        ["already_reserved"] => ReserveError::AlreadyReserved,
        _ => return None,
    }))
}

pub(super) async fn void(connection: &Connection, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
    let (shard, member) = (Shard::of(account), member(account, call));
    let keys = [shard.account(account.as_str()), shard.holds()];
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
    let call = Call::new("renew", &[shard.holds()]).arg(&member).arg(expires_ms);
    connection.call(&call).await
}

/// Gives back what has expired in every shard that can be reached.
///
/// # Errors
/// The first of the shards that cannot be, once the others have been swept.
pub(super) async fn sweep(connection: &Connection, now_ms: u64) -> Result<Swept, LedgerError> {
    let shards = join_all(Shard::all().map(|shard| sweep_shard(connection, shard, now_ms))).await;
    shards.into_iter().try_fold(Swept::default(), |swept, shard| {
        let shard = shard?;
        let released = swept.released.plus(shard.released);
        Ok(Swept {
            holds: swept.holds.saturating_add(shard.holds),
            released: released.map_err(|_| LedgerError::TooLarge("the sum of all holds"))?,
        })
    })
}

/// Looks through a shard's holds, of which there are as many as calls that live.
async fn sweep_shard(connection: &Connection, shard: Shard, now_ms: u64) -> Result<Swept, LedgerError> {
    let (mut swept, mut cursor) = (Swept::default(), 0_u64);
    loop {
        let mut look = redis::cmd("HSCAN");
        look.arg(shard.holds()).arg(cursor).arg("COUNT").arg(HOLDS_AT_ONCE);
        let (next, found): (u64, Vec<(String, Vec<u8>)>) = connection.send(&look).await?;
        let mut expired = Vec::new();
        for (member, hold) in found {
            if rows::hold_expires_ms(&hold)? <= now_ms {
                expired.push(member);
            }
        }
        for members in expired.chunks(SWEEP_BATCH) {
            give_back(connection, shard, members, now_ms, &mut swept).await?;
        }
        cursor = next;
        if cursor == 0 {
            return Ok(swept);
        }
    }
}

async fn give_back(
    connection: &Connection,
    shard: Shard,
    members: &[String],
    now_ms: u64,
    swept: &mut Swept,
) -> Result<(), LedgerError> {
    let mut keys = vec![shard.holds()];
    for member in members {
        let account = member.rsplit_once(':').map(|(account, _)| account);
        let account = account.ok_or_else(|| LedgerError::Damaged(format!("`{member}` is no hold")))?;
        keys.push(shard.account(account));
    }
    let call = Call::new("sweep", &keys).arg(now_ms);
    let call = members.iter().fold(call, |call, member| call.arg(member));
    let released: Vec<String> = connection.call(&call).await?;
    for amount in &released {
        let sum = swept.released.plus(nano(amount)?);
        swept.released = sum.map_err(|_| LedgerError::TooLarge("the sum of all holds"))?;
        swept.holds = swept.holds.saturating_add(1);
    }
    Ok(())
}
