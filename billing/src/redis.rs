//! The ledger that several gateways share: Redis 7 or newer, one function call per money step.
//!
//! What a step does is in `redis/ledger.lua`, where Redis carries it out as one; here its keys and arguments are put
//! together and its answers read. A post is as durable as the server makes it: `appendonly yes` loses at most what
//! `appendfsync` allows.

mod connection;
mod keys;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use self::connection::{Call, Connection};
use self::keys::{Shard, member};
use self::rows::{Row, nano};
use crate::id::{AccountId, CallId, KeyId};
use crate::key::{KeyHash, KeyRecord};
use crate::ledger::{
    Account, Deposit, Deposited, Earnings, Ledger, LedgerError, Posted, Reserve, ReserveError, Reserved, Swept, Totals,
    check_text,
};
use crate::money::Nano;
use crate::record::UsageRecord;

/// Holds given back by one command, so that no sweep keeps the server for long.
const SWEEP_BATCH: usize = 128;

/// How the Redis ledger behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisSettings {
    /// How long a command may take. The default is 1 s.
    pub deadline: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
        }
    }
}

/// Opens the ledger at `url` with the default settings; see [`RedisLedger::open`].
///
/// # Errors
/// Those of [`RedisLedger::open`].
pub async fn open_redis(url: &str) -> Result<RedisLedger, LedgerError> {
    RedisLedger::open(url, RedisSettings::default()).await
}

/// The ledger in a Redis server.
pub struct RedisLedger {
    connection: Connection,
}

impl RedisLedger {
    /// Connects to `url` (`redis://host:port/db` or `redis+unix:///path`) and loads the functions.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the server cannot be reached, is older than 7.0, or is set to evict keys.
    pub async fn open(url: &str, settings: RedisSettings) -> Result<Self, LedgerError> {
        Ok(Self {
            connection: Connection::open(url, settings).await?,
        })
    }

    /// The hash in `key`.
    async fn row(&self, key: &str) -> Result<Row, LedgerError> {
        self.connection.send(redis::cmd("HGETALL").arg(key)).await
    }

    /// The members of the set in `key`, in order.
    async fn members(&self, key: &str) -> Result<Vec<String>, LedgerError> {
        let mut members: Vec<String> = self.connection.send(redis::cmd("SMEMBERS").arg(key)).await?;
        members.sort_unstable();
        Ok(members)
    }

    /// The hashes in `keys`, all of one shard.
    async fn rows(&self, keys: impl IntoIterator<Item = String>) -> Result<Vec<Row>, LedgerError> {
        let mut pipeline = redis::pipe();
        for key in keys {
            pipeline.cmd("HGETALL").arg(key);
        }
        if pipeline.is_empty() {
            Ok(vec![])
        } else {
            self.connection.send_all(&pipeline).await
        }
    }

    async fn keys_of(&self, shard: Shard, account: &str) -> Result<Vec<KeyRecord>, LedgerError> {
        let ids = self.members(&shard.account_keys(account)).await?;
        let keys = ids
            .iter()
            .filter_map(|id| KeyId::parse(id).ok())
            .map(|id| shard.api_key(&id));
        let rows = self.rows(keys).await?;
        rows.iter().filter_map(|row| rows::key(row).transpose()).collect()
    }

    /// Gives back up to a batch of a shard's expired holds. True if there may be more.
    async fn sweep_batch(&self, shard: Shard, now_ms: u64, swept: &mut Swept) -> Result<bool, LedgerError> {
        let expiry = shard.expiry();
        let mut find = redis::cmd("ZRANGEBYSCORE");
        find.arg(&expiry)
            .arg("-inf")
            .arg(now_ms)
            .arg("LIMIT")
            .arg(0)
            .arg(SWEEP_BATCH);
        let members: Vec<String> = self.connection.send(&find).await?;
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
        let released: Vec<String> = self.connection.call(&call).await?;
        for amount in &released {
            let sum = swept.released.plus(nano(amount)?);
            swept.released = sum.map_err(|_| LedgerError::TooLarge("the sum of all holds"))?;
            swept.holds = swept.holds.saturating_add(1);
        }
        Ok(members.len() == SWEEP_BATCH)
    }
}

/// The server answered with something no function of the library answers.
fn unexpected(answer: &[String]) -> LedgerError {
    LedgerError::Damaged(format!("Redis answered {answer:?}"))
}

/// The functions' answers as text: a status, then its particulars.
fn texts(answer: &[String]) -> Vec<&str> {
    answer.iter().map(String::as_str).collect()
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn reserve(&self, ask: &Reserve) -> Result<Reserved, ReserveError> {
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
        let answer: Vec<String> = self.connection.call(&call).await?;
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

    async fn post(&self, record: &UsageRecord, _now_ms: u64) -> Result<Posted, LedgerError> {
        record.check()?;
        let json =
            serde_json::to_vec(record).map_err(|_| LedgerError::Damaged("the record cannot be written".into()))?;
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
        let answer: Vec<String> = self.connection.call(&call).await?;
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

    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
        let (shard, member) = (Shard::of(account), member(account, call));
        let keys = [
            shard.account(account.as_str()),
            shard.hold(&member),
            shard.expiry(),
            shard.totals(),
        ];
        let released: String = self.connection.call(&Call::new("void", &keys).arg(&member)).await?;
        nano(&released)
    }

    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError> {
        let (shard, member) = (Shard::of(account), member(account, call));
        let call = Call::new("renew", &[shard.hold(&member), shard.expiry()])
            .arg(&member)
            .arg(expires_ms);
        self.connection.call(&call).await
    }

    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError> {
        let mut swept = Swept::default();
        for shard in Shard::all() {
            while self.sweep_batch(shard, now_ms, &mut swept).await? {}
        }
        Ok(swept)
    }

    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError> {
        let Deposit {
            id,
            account,
            amount,
            note,
            now_ms,
        } = deposit;
        check_text(id, "the id of a deposit")?;
        check_text(note, "the note of a deposit")?;
        let shard = Shard::of(account);
        let keys = [
            shard.account(account.as_str()),
            shard.deposit(account, id),
            shard.totals(),
        ];
        let call = Call::new("deposit", &keys).arg(amount.get()).arg(Nano::MAX.get());
        let call = call.arg(format!("{} {now_ms} {note}", amount.get()));
        let (status, row): (String, Row) = self.connection.call(&call).await?;
        let fresh = match status.as_str() {
            "ok" => true,
            "again" => false,
            "too_large" => return Err(LedgerError::TooLarge("the sum of all deposits")),
            "unknown_account" => return Err(LedgerError::UnknownAccount(account.clone())),
            _ => return Err(unexpected(&[status])),
        };
        let account = rows::account(&row)?.ok_or_else(|| LedgerError::UnknownAccount(account.clone()))?;
        Ok(Deposited { fresh, account })
    }

    async fn create_account(&self, id: &AccountId, name: &str, now_ms: u64) -> Result<Account, LedgerError> {
        check_text(name, "the name of an account")?;
        let shard = Shard::of(id);
        let call = Call::new("create_account", &[shard.account(id.as_str()), shard.accounts()]);
        let row: Row = self
            .connection
            .call(&call.arg(id.as_str()).arg(name).arg(now_ms))
            .await?;
        rows::account(&row)?.ok_or_else(|| LedgerError::UnknownAccount(id.clone()))
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, LedgerError> {
        rows::account(&self.row(&Shard::of(id).account(id.as_str())).await?)
    }

    async fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let mut accounts = Vec::new();
        for shard in Shard::all() {
            let ids = self.members(&shard.accounts()).await?;
            let rows = self.rows(ids.iter().map(|id| shard.account(id))).await?;
            for row in &rows {
                accounts.extend(rows::account(row)?);
            }
        }
        accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(accounts)
    }

    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError> {
        check_text(&key.name, "the name of a key")?;
        check_text(&key.hint, "the hint of a key")?;
        let conflict = || LedgerError::Conflict(format!("key {}", key.id));
        // Three slots, so three steps. The way in by the hash comes last: until then the key cannot be used, and
        // repeating the whole finishes what was begun.
        let shard = Shard::of(&key.account);
        let account = shard.account(key.account.as_str());
        let is_known: bool = self.connection.send(redis::cmd("EXISTS").arg(&account)).await?;
        if !is_known {
            return Err(LedgerError::UnknownAccount(key.account.clone()));
        }
        let found = format!("{} {}", key.account, key.id);
        let taken: Option<String> = self.connection.send(redis::cmd("GET").arg(keys::by_hash(hash))).await?;
        if taken.is_some_and(|taken| taken != found) || !self.claim(&keys::owner(&key.id), key.account.as_str()).await?
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
        let status: String = self.connection.call(&call).await?;
        if status != "ok" || !self.claim(&keys::by_hash(hash), &found).await? {
            return Err(conflict());
        }
        Ok(())
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError> {
        let found: Option<String> = self.connection.send(redis::cmd("GET").arg(keys::by_hash(hash))).await?;
        let Some(found) = found else { return Ok(None) };
        let damaged = || LedgerError::Damaged(format!("`{found}` is no key"));
        let (account, key) = found.split_once(' ').ok_or_else(damaged)?;
        let account = AccountId::parse(account).map_err(|_| damaged())?;
        let key = KeyId::parse(key).map_err(|_| damaged())?;
        rows::key(&self.row(&Shard::of(&account).api_key(&key)).await?)
    }

    async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError> {
        if let Some(account) = account {
            return self.keys_of(Shard::of(account), account.as_str()).await;
        }
        let mut keys = Vec::new();
        for shard in Shard::all() {
            for account in self.members(&shard.accounts()).await? {
                keys.extend(self.keys_of(shard, &account).await?);
            }
        }
        keys.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(keys)
    }

    async fn revoke_key(&self, key: &KeyId, now_ms: u64) -> Result<Option<KeyRecord>, LedgerError> {
        let owner: Option<String> = self.connection.send(redis::cmd("GET").arg(keys::owner(key))).await?;
        let Some(owner) = owner.and_then(|owner| AccountId::parse(&owner).ok()) else {
            return Ok(None);
        };
        let call = Call::new("revoke_key", &[Shard::of(&owner).api_key(key)]).arg(now_ms);
        rows::key(&self.connection.call(&call).await?)
    }

    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError> {
        let mut command = redis::cmd("HMGET");
        command.arg(Shard::of(account).api_key(key)).arg("account").arg("spent");
        let (owner, spent): (Option<String>, Option<String>) = self.connection.send(&command).await?;
        let spent = spent.filter(|_| owner.as_deref() == Some(account.as_str()));
        spent.as_deref().map(nano).transpose()
    }

    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        let (shard, member) = (Shard::of(account), member(account, call));
        let call = Call::new("record", &[shard.marker(&member), shard.records()]);
        let json: Option<Vec<u8>> = self.connection.call(&call).await?;
        let record = json.map(|json| serde_json::from_slice(&json)).transpose();
        record.map_err(|_| LedgerError::Damaged(format!("the record of {member} cannot be read")))
    }

    async fn earnings(&self) -> Result<Vec<Earnings>, LedgerError> {
        let mut all = BTreeMap::new();
        for shard in Shard::all() {
            rows::add_earnings(&mut all, &self.row(&shard.earnings()).await?)?;
        }
        Ok(all.into_values().collect())
    }

    async fn totals(&self) -> Result<Totals, LedgerError> {
        let mut totals = Totals::default();
        for shard in Shard::all() {
            let call = Call::new("totals", &[shard.totals(), shard.expiry()]);
            let (row, holds): (Row, u64) = self.connection.call(&call).await?;
            rows::add_totals(&mut totals, &row, holds)?;
        }
        Ok(totals)
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.connection.send(&redis::cmd("PING")).await
    }
}

impl RedisLedger {
    /// Writes `value` to `key` if that is free. False if something else is there.
    async fn claim(&self, key: &str, value: &str) -> Result<bool, LedgerError> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("NX").arg("GET");
        let before: Option<String> = self.connection.send(&command).await?;
        Ok(before.is_none_or(|before| before == value))
    }
}
