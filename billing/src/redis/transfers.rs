//! What arrives from outside: deposits, and how far the world outside was read.

use super::connection::{Call, Connection};
use super::keys::Shard;
use super::stream::{Row, entries, range};
use super::{rows, unexpected};
use crate::id::AccountId;
use crate::ledger::{
    Cursor, Deposit, Deposited, LedgerError, TRANSFERS_READ_MAX, UNCREDITED_MAX, UNCREDITED_OF_MAX,
    UNCREDITED_READ_MAX, Uncredited, check_text,
};
use crate::money::Nano;

/// How long an account sees what named it and was not credited, in seconds: 90 days. Anybody can name any account.
const UNCREDITED_OF_KEPT_S: u64 = 90 * 86_400;

pub(super) async fn deposit(connection: &Connection, deposit: &Deposit) -> Result<Deposited, LedgerError> {
    let Deposit {
        id,
        account,
        amount,
        note,
        now_ms,
    } = deposit;
    check_text(id, "the id of a deposit")?;
    check_text(note, "the note of a deposit")?;
    let entry = serde_json::to_string(deposit);
    let entry = entry.map_err(|_| LedgerError::Damaged("the deposit cannot be written".into()))?;
    let shard = Shard::of(account);
    let keys = [
        shard.account(account.as_str()),
        shard.deposit(account, id),
        shard.deposits(account),
        shard.totals(),
    ];
    let call = Call::new("deposit", &keys).arg(amount.get()).arg(Nano::MAX.get());
    let call = call.arg(format!("{} {now_ms} {note}", amount.get())).arg(entry);
    let (status, row): (String, Vec<Option<String>>) = connection.call(&call).await?;
    if let "ok" | "again" = status.as_str() {
        connection.is_safe(shard, shard.deposit(account, id)).await?;
    }
    let fresh = match status.as_str() {
        "ok" => true,
        "again" => false,
        "too_large" => return Err(LedgerError::TooLarge("the sum of all deposits")),
        "unknown_account" => return Err(LedgerError::UnknownAccount(account.clone())),
        _ => return Err(unexpected(&[status])),
    };
    let account = rows::account(row)?.ok_or_else(|| LedgerError::UnknownAccount(account.clone()))?;
    Ok(Deposited { fresh, account })
}

/// The entries of a stream behind a place.
pub(super) async fn read(
    connection: &Connection,
    stream: &str,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, Vec<u8>)>, LedgerError> {
    let rows: Vec<Row> = connection.send(&range(stream, after, None, max)).await?;
    entries(stream, rows)
}

pub(super) async fn deposits(
    connection: &Connection,
    account: &AccountId,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, Deposit)>, LedgerError> {
    let stream = Shard::of(account).deposits(account);
    let entries = read(connection, &stream, after, max.min(TRANSFERS_READ_MAX)).await?;
    let deposits = entries.into_iter().map(|(place, json)| {
        let damaged = |_| LedgerError::Damaged(format!("the deposit {place} of {account} cannot be read"));
        Ok((place, serde_json::from_slice(&json).map_err(damaged)?))
    });
    deposits.collect()
}

pub(super) async fn move_bookmark(
    connection: &Connection,
    reader: &str,
    from: Option<&str>,
    to: &str,
    uncredited: &[Uncredited],
) -> Result<bool, LedgerError> {
    check_text(reader, "the name of a reader")?;
    check_text(to, "a bookmark")?;
    let mut keys = vec![Shard::bookmark(reader), Shard::uncredited()];
    keys.extend(uncredited.iter().map(|transfer| match &transfer.account {
        Some(account) => Shard::uncredited_of(account),
        None => Shard::uncredited(),
    }));
    let mut call = Call::new("move_bookmark", &keys)
        .arg(from.unwrap_or_default())
        .arg(to)
        .arg(UNCREDITED_MAX)
        .arg(UNCREDITED_OF_MAX)
        .arg(UNCREDITED_OF_KEPT_S);
    for transfer in uncredited {
        call = call.arg(transfer.write()?);
    }
    connection.call_safe(Shard::of_bookmarks(), &call).await
}

pub(super) async fn uncredited(
    connection: &Connection,
    after: Option<Cursor>,
    max: usize,
) -> Result<Vec<(Cursor, Uncredited)>, LedgerError> {
    let entries = read(connection, &Shard::uncredited(), after, max.min(UNCREDITED_READ_MAX)).await?;
    let transfers = entries
        .into_iter()
        .map(|(place, json)| Ok((place, Uncredited::read(&json)?)));
    transfers.collect()
}

pub(super) async fn uncredited_of(
    connection: &Connection,
    account: &AccountId,
) -> Result<Vec<Uncredited>, LedgerError> {
    let entries = read(connection, &Shard::uncredited_of(account), None, UNCREDITED_OF_MAX).await?;
    entries.into_iter().map(|(_, json)| Uncredited::read(&json)).collect()
}
