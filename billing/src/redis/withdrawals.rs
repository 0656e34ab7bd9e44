//! Withdrawals: what a step makes of one is decided by [`WithdrawalStep::take`]; the function carries it out if the
//! withdrawal still stands as it was read.

use super::connection::{Call, Connection};
use super::keys::Shard;
use super::{rows, transfers, unexpected};
use crate::id::AccountId;
use crate::ledger::{
    Cursor, LedgerError, TRANSFERS_READ_MAX, WITHDRAWALS_OPEN_MAX, Withdraw, Withdrawal, WithdrawalStep, Withdrawn,
};

/// Looks at a withdrawal that others change meanwhile: there are only three states.
const LOOKS_MAX: usize = 8;

/// A withdrawal's name inside its shard. An account id has no colon, so this has one reading.
fn member(account: &AccountId, id: &str) -> String {
    format!("{account}:{id}")
}

pub(super) async fn withdraw(connection: &Connection, ask: &Withdraw) -> Result<Withdrawn, LedgerError> {
    ask.check()?;
    let (shard, account) = (Shard::of(&ask.account), &ask.account);
    let withdrawal = shard.withdrawal(account, &ask.id);
    let keys = [
        shard.account(account.as_str()),
        withdrawal.clone(),
        shard.withdrawals(account),
        shard.withdrawals_open(),
        shard.totals(),
    ];
    let call = Call::new("withdraw", &keys)
        .arg(ask.amount.get())
        .arg(&ask.id)
        .arg(member(account, &ask.id))
        .arg(ask.begun().write()?)
        .arg(WITHDRAWALS_OPEN_MAX);
    let (status, said, row): (String, String, Vec<Option<String>>) = connection.call(&call).await?;
    let fresh = match status.as_str() {
        "ok" => true,
        "again" => false,
        "insufficient" => {
            let available = said.parse().map_err(|_| unexpected(&[status, said]))?;
            return Err(LedgerError::Insufficient { available });
        }
        "too_many" => return Err(LedgerError::TooLarge("the list of open withdrawals")),
        "unknown_account" => return Err(LedgerError::UnknownAccount(account.clone())),
        _ => return Err(unexpected(&[status])),
    };
    connection.is_safe(shard, withdrawal).await?;
    let withdrawal = Withdrawal::read(said.as_bytes())?;
    ask.is(&withdrawal)?;
    let account = rows::account(row)?.ok_or_else(|| LedgerError::UnknownAccount(account.clone()))?;
    Ok(Withdrawn {
        fresh,
        withdrawal,
        account,
    })
}

/// A withdrawal as it is stored.
pub(super) async fn find(
    connection: &Connection,
    account: &AccountId,
    id: &str,
) -> Result<Option<String>, LedgerError> {
    let key = Shard::of(account).withdrawal(account, id);
    connection.send(redis::cmd("GET").arg(key)).await
}

pub(super) async fn step(
    connection: &Connection,
    account: &AccountId,
    id: &str,
    step: &WithdrawalStep,
    now_ms: u64,
) -> Result<Option<Withdrawal>, LedgerError> {
    step.check()?;
    let shard = Shard::of(account);
    let keys = [
        shard.account(account.as_str()),
        shard.withdrawal(account, id),
        shard.withdrawals_open(),
        shard.totals(),
    ];
    let Some(mut json) = find(connection, account, id).await? else {
        return Ok(None);
    };
    for _ in 0..LOOKS_MAX {
        let before = Withdrawal::read(json.as_bytes())?;
        let Some(after) = step.take(&before, now_ms)? else {
            connection.is_safe(shard, shard.withdrawal(account, id)).await?;
            return Ok(Some(before));
        };
        let wanted = after.write()?;
        let call = Call::new("step_withdrawal", &keys)
            .arg(&json)
            .arg(&wanted)
            .arg(member(account, id))
            .arg(u8::from(after.is_open()))
            .arg(after.given_back().get());
        json = connection.call_safe(shard, &call).await?;
        if json == wanted {
            return Ok(Some(after));
        }
    }
    Err(LedgerError::Unavailable(format!(
        "the withdrawal {id} changes too often"
    )))
}

pub(super) async fn list(
    connection: &Connection,
    account: &AccountId,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, Withdrawal)>, LedgerError> {
    let shard = Shard::of(account);
    let stream = shard.withdrawals(account);
    let entries = transfers::read(connection, &stream, after, max.min(TRANSFERS_READ_MAX)).await?;
    let damaged = || LedgerError::Damaged(format!("the withdrawals of {account} cannot be read"));
    let mut keys = Vec::new();
    for (_, id) in &entries {
        let id = std::str::from_utf8(id).map_err(|_| damaged())?;
        keys.push(shard.withdrawal(account, id));
    }
    if keys.is_empty() {
        return Ok(vec![]);
    }
    let found: Vec<Option<String>> = connection.call(&Call::new("withdrawals", &keys)).await?;
    let withdrawals = entries.into_iter().zip(found).map(|((place, _), json)| {
        let json = json.ok_or_else(damaged)?;
        Ok((place, Withdrawal::read(json.as_bytes())?))
    });
    withdrawals.collect()
}

pub(super) async fn open(connection: &Connection, shard: Shard, max: usize) -> Result<Vec<Withdrawal>, LedgerError> {
    let row = connection.row(&shard.withdrawals_open()).await?;
    let open = row.values().map(|json| Withdrawal::read(json.as_bytes()));
    let mut open = open.collect::<Result<Vec<_>, _>>()?;
    open.sort_unstable_by(|a, b| (a.asked_ms, &a.account, &a.id).cmp(&(b.asked_ms, &b.account, &b.id)));
    open.truncate(max);
    Ok(open)
}
