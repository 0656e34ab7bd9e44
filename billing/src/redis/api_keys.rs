//! API keys: what is known of a key lies in its account's slot, where a reserve reads it; the ways to it by hash and by
//! id lie on slots of their own.

use super::connection::{Call, Connection};
use super::keys::{self, Shard};
use super::rows::{self, Row};
use crate::id::{AccountId, KeyId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{KeyUse, LedgerError, check_text};
use crate::money::Nano;

pub(super) async fn create(connection: &Connection, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError> {
    check_text(&key.name, "the name of a key")?;
    check_text(&key.hint, "the hint of a key")?;
    key.limits.check()?;
    let conflict = || LedgerError::Conflict(format!("key {}", key.id));
    // Three slots, so three steps. The way in by the hash comes last: until then the key cannot be used, and
    // repeating the whole finishes what was begun.
    let shard = Shard::of(&key.account);
    let account = shard.account(key.account.as_str());
    let is_known: bool = connection.send(redis::cmd("EXISTS").arg(&account)).await?;
    if !is_known {
        return Err(LedgerError::UnknownAccount(key.account.clone()));
    }
    let found = format!("{} {}", key.account, key.id);
    let taken: Option<String> = connection.send(redis::cmd("GET").arg(keys::by_hash(hash))).await?;
    if taken.is_some_and(|taken| taken != found)
        || !claim(connection, &keys::owner(&key.id), key.account.as_str()).await?
    {
        return Err(conflict());
    }
    let account_keys = shard.account_keys(key.account.as_str());
    let call = Call::new("create_key", &[account, shard.api_key(&key.id), account_keys]);
    let call = call.arg(key.id.as_str()).arg(hash.to_string());
    let columns = rows::key_columns(key);
    let call = columns
        .iter()
        .fold(call, |call, (column, value)| call.arg(*column).arg(value));
    let status: String = connection.call_safe(shard, &call).await?;
    if status != "ok" || !claim(connection, &keys::by_hash(hash), &found).await? {
        return Err(conflict());
    }
    Ok(())
}

pub(super) async fn find(connection: &Connection, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError> {
    let found: Option<String> = connection.send(redis::cmd("GET").arg(keys::by_hash(hash))).await?;
    let Some(found) = found else { return Ok(None) };
    let damaged = || LedgerError::Damaged(format!("`{found}` is no key"));
    let (account, key) = found.split_once(' ').ok_or_else(damaged)?;
    let account = AccountId::parse(account).map_err(|_| damaged())?;
    let key = KeyId::parse(key).map_err(|_| damaged())?;
    rows::key(&connection.row(&Shard::of(&account).api_key(&key)).await?)
}

pub(super) async fn one(
    connection: &Connection,
    key: &KeyId,
    account: Option<&AccountId>,
) -> Result<Option<KeyRecord>, LedgerError> {
    let owner = match account {
        Some(account) => account.clone(),
        None => match owner(connection, key).await? {
            Some(owner) => owner,
            None => return Ok(None),
        },
    };
    let found = rows::key(&connection.row(&Shard::of(&owner).api_key(key)).await?)?;
    Ok(found.filter(|found| found.account == owner))
}

pub(super) async fn list(connection: &Connection, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError> {
    if let Some(account) = account {
        return list_one(connection, Shard::of(account), account.as_str()).await;
    }
    let mut keys = Vec::new();
    for shard in Shard::all() {
        for account in connection.members(&shard.accounts()).await? {
            keys.extend(list_one(connection, shard, &account).await?);
        }
    }
    keys.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    Ok(keys)
}

pub(super) async fn revoke(
    connection: &Connection,
    key: &KeyId,
    now_ms: u64,
) -> Result<Option<KeyRecord>, LedgerError> {
    let Some(owner) = owner(connection, key).await? else {
        return Ok(None);
    };
    let shard = Shard::of(&owner);
    let call = Call::new("revoke_key", &[shard.account(owner.as_str()), shard.api_key(key)]);
    let call = call.arg(key.as_str()).arg(now_ms);
    rows::key(&connection.call_safe(shard, &call).await?)
}

pub(super) async fn update(
    connection: &Connection,
    key: &KeyId,
    change: &KeyChange,
) -> Result<Option<KeyRecord>, LedgerError> {
    change.check()?;
    let Some(owner) = owner(connection, key).await? else {
        return Ok(None);
    };
    let mut columns = Vec::new();
    columns.extend(change.name.clone().map(|name| ("name", Some(name))));
    columns.extend(change.expires_ms.map(|ms| ("expires_ms", ms.map(|ms| ms.to_string()))));
    columns.extend(change.limits.iter().flat_map(rows::limit_columns));
    let gone = columns.iter().filter(|(_, value)| value.is_none());
    let shard = Shard::of(&owner);
    let call = Call::new("update_key", &[shard.account(owner.as_str()), shard.api_key(key)]);
    let call = call.arg(key.as_str()).arg(gone.clone().count());
    let call = gone.fold(call, |call, (column, _)| call.arg(*column));
    let stays = columns
        .iter()
        .filter_map(|(column, value)| Some((column, value.as_ref()?)));
    let call = stays.fold(call, |call, (column, value)| call.arg(*column).arg(value));
    rows::key(&connection.call_safe(shard, &call).await?)
}

/// What is known of a key and what is used of it, if it is the account's.
async fn known(
    connection: &Connection,
    account: &AccountId,
    key: &KeyId,
) -> Result<Option<(Row, Vec<u8>)>, LedgerError> {
    let shard = Shard::of(account);
    let call = Call::new("key_use", &[shard.api_key(key), shard.account(account.as_str())]);
    let (row, packed): (Row, Vec<u8>) = connection.call(&call.arg(key.as_str())).await?;
    let is_owned = row.get("account").is_some_and(|owner| owner == account.as_str());
    Ok(is_owned.then_some((row, packed)))
}

pub(super) async fn usage(
    connection: &Connection,
    account: &AccountId,
    key: &KeyId,
    now_ms: u64,
) -> Result<Option<KeyUse>, LedgerError> {
    let known = known(connection, account, key).await?;
    known
        .map(|(row, packed)| rows::key_use(&row, &packed, now_ms))
        .transpose()
}

pub(super) async fn spent(
    connection: &Connection,
    account: &AccountId,
    key: &KeyId,
) -> Result<Option<Nano>, LedgerError> {
    let known = known(connection, account, key).await?;
    known.map(|(_, packed)| rows::key_spent(&packed)).transpose()
}

/// The account that a key belongs to.
async fn owner(connection: &Connection, key: &KeyId) -> Result<Option<AccountId>, LedgerError> {
    let owner: Option<String> = connection.send(redis::cmd("GET").arg(keys::owner(key))).await?;
    Ok(owner.and_then(|owner| AccountId::parse(&owner).ok()))
}

async fn list_one(connection: &Connection, shard: Shard, account: &str) -> Result<Vec<KeyRecord>, LedgerError> {
    let ids = connection.members(&shard.account_keys(account)).await?;
    let keys = ids.iter().filter_map(|id| KeyId::parse(id).ok());
    let keys: Vec<_> = keys.map(|id| shard.api_key(&id)).collect();
    let rows: Vec<Row> = connection.rows(&keys).await?;
    rows.iter().filter_map(|row| rows::key(row).transpose()).collect()
}

/// Writes `value` to `key` if that is free. False if something else is there.
async fn claim(connection: &Connection, key: &str, value: &str) -> Result<bool, LedgerError> {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value).arg("NX").arg("GET");
    let before: Option<String> = connection.send_safe(key, &command).await?;
    Ok(before.is_none_or(|before| before == value))
}
