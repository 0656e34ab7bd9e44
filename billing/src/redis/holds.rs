//! What calls do to balances, each one function call: reserve, void, renew; and the sweep over all shards.

use futures_util::future::join_all;

use super::connection::{Call, Connection};
use super::keys::{Shard, member};
use super::rows::{self, nano, packed};
use super::{starts, texts, unexpected};
use crate::calendar::Period;
use crate::id::{AccountId, CallId};
use crate::ledger::{LedgerError, Reserve, ReserveError, Reserved, Swept};
use crate::limits::{Bucket, Limit, RateState, bounded};
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

/// What is used of a limit a minute and what that is, as the function tells them; without a limit there is nothing.
fn bucket(used: &str, limit: &str, now_ms: u64) -> Option<Option<(Bucket, u64)>> {
    if limit.starts_with('-') {
        return Some(None);
    }
    Some(Some((Bucket::new(used.parse().ok()?, now_ms), limit.parse().ok()?)))
}

/// What the function's answer says; `None` if it says nothing known.
fn reserved(answer: &[String], ask: &Reserve) -> Option<Result<Reserved, ReserveError>> {
    let rate = |bucket: Option<(Bucket, u64)>| bucket.map(|(bucket, limit)| bucket.rate(limit));
    Some(Err(match texts(answer)[..] {
        ["ok", held, ref rest @ ..] => {
            let limits = match rest[..] {
                [] => RateState::default(),
                [requests, requests_max, tokens, tokens_max] => RateState {
                    requests: rate(bucket(requests, requests_max, ask.now_ms)?),
                    tokens: rate(bucket(tokens, tokens_max, ask.now_ms)?),
                },
                _ => return None,
            };
            let held = nano(held).ok()?;
            return Some(Ok(Reserved { held, limits }));
        }
        ["limited", what, requests, requests_max, tokens, tokens_max] => {
            let requests = bucket(requests, requests_max, ask.now_ms)?;
            let tokens = bucket(tokens, tokens_max, ask.now_ms)?;
            let wait_ms = |(bucket, limit): (Bucket, u64), count| bucket.wait_ms(limit, count);
            let (what, retry_after_ms) = match what {
                "requests" => (Limit::Requests, wait_ms(requests?, 1)),
                "tokens" => (Limit::Tokens, wait_ms(tokens?, bounded(ask.tokens))),
                "concurrent" => (Limit::Concurrent, None),
                _ => return None,
            };
            ReserveError::RateLimited {
                what,
                retry_after_ms,
                state: RateState {
                    requests: rate(requests),
                    tokens: rate(tokens),
                },
            }
        }
        ["budget", left, period] => ReserveError::BudgetSpent {
            left: left.parse().ok()?,
            resets_ms: period_of(period)?.next_ms(ask.now_ms),
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

/// The period that the functions know by this number.
fn period_of(number: &str) -> Option<Period> {
    Some(match number {
        "7" => Period::Day,
        "9" => Period::Week,
        "11" => Period::Month,
        "13" => Period::Never,
        _ => return None,
    })
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
            match rows::hold_expires_ms(&hold) {
                Ok(expires_ms) if expires_ms > now_ms => {}
                Ok(_) => expired.push(member),
                Err(error) => tracing::error!(hold = member, %error, "a hold cannot be read and is passed over"),
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
        // A member without an account finds none.
        keys.push(shard.account(member.rsplit_once(':').map_or("", |(account, _)| account)));
    }
    let call = Call::new("sweep", &keys).arg(now_ms);
    let call = members.iter().fold(call, |call, member| call.arg(member));
    let released: Vec<i64> = connection.call(&call).await?;
    for amount in released {
        let Some(amount) = u64::try_from(amount).ok().and_then(|amount| Nano::new(amount).ok()) else {
            tracing::error!(
                shard = shard.name().number(),
                "a hold could not be given back: its account cannot be read"
            );
            continue;
        };
        let sum = swept.released.plus(amount);
        swept.released = sum.map_err(|_| LedgerError::TooLarge("the sum of all holds"))?;
        swept.holds = swept.holds.saturating_add(1);
    }
    Ok(())
}
