//! The ledger that several gateways share: Redis 7 or newer, one function call per money step.
//!
//! What a step does is in `redis/lua`, where Redis carries it out as one; here its keys and arguments are put
//! together and its answers read. A post is as durable as the server makes it: `appendonly yes` loses at most what
//! `appendfsync` allows.

mod address;
mod admissions;
mod api_keys;
mod connection;
mod holds;
mod keys;
mod link;
mod payout_names;
mod posts;
mod replicas;
mod rows;
mod stream;
mod together;
mod transfers;
mod usage;
mod withdrawals;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, RedisError};

pub use self::address::RedisTls;
use self::connection::{Call, Connection};
use self::keys::{Shard, member};
use self::posts::Posts;
use self::rows::Row;
use crate::calendar::{Day, Period};
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{
    AUDIT_MAX, Account, Admission, AuditEntry, Cursor, Deposit, Deposited, Earnings, KeyUse, Ledger, LedgerError,
    LedgerShard, POSTED_KEPT, Posted, Reserve, ReserveError, Reserved, Swept, Totals, Uncredited, Usage, Withdraw,
    Withdrawal, WithdrawalStep, Withdrawn, check_text,
};
use crate::money::Nano;
use crate::record::UsageRecord;

/// How long a day's use is kept, unless the settings say otherwise: a year and what an account needs to close it.
const USAGE_KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Longest lease, in milliseconds: a year, which Redis can count.
const LEASE_MS_MAX: u64 = 365 * 86_400_000;

/// How the Redis ledger behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RedisSettings {
    /// How long a command may take. The default is 1 s.
    pub deadline: Duration,
    /// For how long after its record was trimmed a call is remembered to have been posted. The default is 7 days; each
    /// call takes about 200 bytes of the server's memory until then.
    pub posted_kept: Duration,
    /// For how long after its first call a day's use of an account can be read. The default is 400 days.
    pub usage_kept: Duration,
    /// How many entries the audit trail has at most. The default is 1,000,000.
    pub audit_max: u64,
    /// How many replicas of a master must have a post, a deposit or a change of a key before it is answered: as many
    /// as each master has makes them survive a failover. The default is 0: Redis answers for itself.
    pub wait_replicas: u32,
    /// Certificates for `rediss://`.
    pub tls: RedisTls,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            posted_kept: POSTED_KEPT,
            usage_kept: USAGE_KEPT,
            audit_max: AUDIT_MAX,
            wait_replicas: 0,
            tls: RedisTls::default(),
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

/// Whether a URL can be one of [`RedisLedger::open`]'s.
///
/// # Errors
/// [`LedgerError::Unavailable`] says why not, without repeating the URL.
pub fn check_redis_url(url: &str) -> Result<(), LedgerError> {
    address::Address::read(url, &RedisSettings::default()).map(|_| ())
}

/// A connection to the ledger's Redis for what lies beside the ledger: it finds the master again, and has a deadline on
/// every command, as the ledger's own does.
pub struct RedisConnection(Connection);

impl RedisConnection {
    /// Connects to a URL as [`RedisLedger::open`] takes it.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if no server can be reached.
    pub async fn open(url: &str, settings: &RedisSettings) -> Result<Self, LedgerError> {
        Connection::connect(url, settings).await.map(Self)
    }

    /// Sends one command about keys of one slot.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if no answer came in time, or none that can be read.
    pub async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LedgerError> {
        self.0.send(command).await
    }
}

/// The ledger in Redis.
pub struct RedisLedger {
    connection: Connection,
    posts: Posts,
    settings: RedisSettings,
}

impl RedisLedger {
    /// Connects and loads the functions. `url` is one of
    /// - `redis://user:password@host:port/db`, with TLS `rediss://`, or `redis+unix:///path`: one server;
    /// - `redis+cluster://user:password@host:port,host:port`, with TLS `rediss+cluster://`: some nodes of a cluster;
    /// - `redis+sentinel://user:password@host:port,host:port/NAME/db`, with TLS `rediss+sentinel://`: sentinels that
    ///   know the master as NAME. The login is the master's; one for the sentinels follows as
    ///   `?sentinel_user=…&sentinel_password=…`.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if a server cannot be reached, is older than 7.0, or is set to evict keys.
    pub async fn open(url: &str, settings: RedisSettings) -> Result<Self, LedgerError> {
        Ok(Self {
            connection: Connection::open(url, &settings).await?,
            posts: Posts::new(settings.usage_kept),
            settings,
        })
    }
}

fn unavailable(error: &RedisError) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

fn late(deadline: Duration) -> LedgerError {
    LedgerError::Unavailable(format!("Redis did not answer within {} ms", deadline.as_millis()))
}

/// The server answered with something no function of the library answers.
fn unexpected(answer: &[String]) -> LedgerError {
    LedgerError::Damaged(format!("Redis answered {answer:?}"))
}

/// When the periods of budgets began: the functions leave the calendar to this side.
fn starts(now_ms: u64) -> [u64; 3] {
    [Period::Day, Period::Week, Period::Month].map(|period| period.start_ms(now_ms))
}

/// The functions' answers as text: a status, then its particulars.
fn texts(answer: &[String]) -> Vec<&str> {
    answer.iter().map(String::as_str).collect()
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn reserve(&self, ask: &Reserve) -> Result<Reserved, ReserveError> {
        holds::reserve(&self.connection, ask).await
    }

    async fn post(&self, record: &UsageRecord, now_ms: u64) -> Result<Posted, LedgerError> {
        self.posts.post(&self.connection, record, now_ms).await
    }

    async fn void(&self, account: &AccountId, call: &CallId) -> Result<Nano, LedgerError> {
        holds::void(&self.connection, account, call).await
    }

    async fn renew(&self, account: &AccountId, call: &CallId, expires_ms: u64) -> Result<bool, LedgerError> {
        holds::renew(&self.connection, account, call, expires_ms).await
    }

    async fn sweep(&self, now_ms: u64) -> Result<Swept, LedgerError> {
        holds::sweep(&self.connection, now_ms).await
    }

    async fn deposit(&self, deposit: &Deposit) -> Result<Deposited, LedgerError> {
        transfers::deposit(&self.connection, deposit).await
    }

    async fn deposits(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Deposit)>, LedgerError> {
        transfers::deposits(&self.connection, account, after, max).await
    }

    async fn withdraw(&self, ask: &Withdraw) -> Result<Withdrawn, LedgerError> {
        withdrawals::withdraw(&self.connection, ask).await
    }

    async fn step_withdrawal(
        &self,
        account: &AccountId,
        id: &str,
        step: &WithdrawalStep,
        now_ms: u64,
    ) -> Result<Option<Withdrawal>, LedgerError> {
        withdrawals::step(&self.connection, account, id, step, now_ms).await
    }

    async fn withdrawal(&self, account: &AccountId, id: &str) -> Result<Option<Withdrawal>, LedgerError> {
        let found = withdrawals::find(&self.connection, account, id).await?;
        found.map(|json| Withdrawal::read(json.as_bytes())).transpose()
    }

    async fn withdrawals(
        &self,
        account: &AccountId,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, Withdrawal)>, LedgerError> {
        withdrawals::list(&self.connection, account, after, max).await
    }

    async fn open_withdrawals(&self, shard: LedgerShard, max: usize) -> Result<Vec<Withdrawal>, LedgerError> {
        match Shard::named(shard) {
            Some(shard) => withdrawals::open(&self.connection, shard, max).await,
            None => Ok(vec![]),
        }
    }

    async fn bookmark(&self, reader: &str) -> Result<Option<String>, LedgerError> {
        self.connection
            .send(redis::cmd("GET").arg(Shard::bookmark(reader)))
            .await
    }

    async fn move_bookmark(
        &self,
        reader: &str,
        from: Option<&str>,
        to: &str,
        uncredited: &[Uncredited],
    ) -> Result<bool, LedgerError> {
        transfers::move_bookmark(&self.connection, reader, from, to, uncredited).await
    }

    async fn uncredited(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, Uncredited)>, LedgerError> {
        transfers::uncredited(&self.connection, after, max).await
    }

    async fn uncredited_of(&self, account: &AccountId) -> Result<Vec<Uncredited>, LedgerError> {
        transfers::uncredited_of(&self.connection, account).await
    }

    async fn create_account(&self, id: &AccountId, name: &str, now_ms: u64) -> Result<Account, LedgerError> {
        check_text(name, "the name of an account")?;
        let shard = Shard::of(id);
        let call = Call::new("create_account", &[shard.account(id.as_str()), shard.accounts()]);
        let call = call.arg(id.as_str()).arg(name).arg(now_ms);
        let row = self.connection.call_safe(shard, &call).await?;
        rows::account(row)?.ok_or_else(|| LedgerError::UnknownAccount(id.clone()))
    }

    async fn account(&self, id: &AccountId) -> Result<Option<Account>, LedgerError> {
        let call = Call::new("account", &[Shard::of(id).account(id.as_str())]);
        rows::account(self.connection.call(&call).await?)
    }

    async fn accounts(&self) -> Result<Vec<Account>, LedgerError> {
        let mut accounts = Vec::new();
        for shard in Shard::all() {
            let ids = self.connection.members(&shard.accounts()).await?;
            let calls = ids.iter().map(|id| Call::new("account", &[shard.account(id)]));
            for row in self.connection.calls(calls.collect()).await? {
                accounts.extend(rows::account(row)?);
            }
        }
        accounts.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Ok(accounts)
    }

    async fn create_key(&self, key: &KeyRecord, hash: &KeyHash) -> Result<(), LedgerError> {
        api_keys::create(&self.connection, key, hash).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<KeyRecord>, LedgerError> {
        api_keys::find(&self.connection, hash).await
    }

    async fn key(&self, key: &KeyId, account: Option<&AccountId>) -> Result<Option<KeyRecord>, LedgerError> {
        api_keys::one(&self.connection, key, account).await
    }

    async fn keys(&self, account: Option<&AccountId>) -> Result<Vec<KeyRecord>, LedgerError> {
        api_keys::list(&self.connection, account).await
    }

    async fn revoke_key(&self, key: &KeyId, now_ms: u64) -> Result<Option<KeyRecord>, LedgerError> {
        api_keys::revoke(&self.connection, key, now_ms).await
    }

    async fn update_key(&self, key: &KeyId, change: &KeyChange) -> Result<Option<KeyRecord>, LedgerError> {
        api_keys::update(&self.connection, key, change).await
    }

    async fn key_use(&self, account: &AccountId, key: &KeyId, now_ms: u64) -> Result<Option<KeyUse>, LedgerError> {
        api_keys::usage(&self.connection, account, key, now_ms).await
    }

    async fn key_spent(&self, account: &AccountId, key: &KeyId) -> Result<Option<Nano>, LedgerError> {
        api_keys::spent(&self.connection, account, key).await
    }

    async fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        let (shard, member) = (Shard::of(account), member(account, call));
        let call = Call::new("record", &[shard.marker(&member), shard.records()]);
        let json: Option<Vec<u8>> = self.connection.call(&call).await?;
        let record = json.map(|json| serde_json::from_slice(&json)).transpose();
        record.map_err(|_| LedgerError::Damaged(format!("the record of {member} cannot be read")))
    }

    fn shards(&self) -> Vec<LedgerShard> {
        Shard::all().map(Shard::name).collect()
    }

    async fn unsealed(
        &self,
        shard: LedgerShard,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, UsageRecord)>, LedgerError> {
        match Shard::named(shard) {
            Some(shard) => stream::unsealed(&self.connection, shard, after, max).await,
            None => Ok(vec![]),
        }
    }

    async fn trim(&self, shard: LedgerShard, up_to: Cursor, _now_ms: u64) -> Result<(), LedgerError> {
        match Shard::named(shard) {
            Some(shard) => stream::trim(&self.connection, shard, up_to, self.settings.posted_kept).await,
            None => Ok(()),
        }
    }

    async fn usage(&self, account: &AccountId, from: Day, to: Day) -> Result<Vec<Usage>, LedgerError> {
        usage::usage(&self.connection, account, from, to).await
    }

    async fn lease(&self, name: &str, holder: &str, ttl_ms: u64, _now_ms: u64) -> Result<bool, LedgerError> {
        check_text(name, "the name of a lease")?;
        check_text(holder, "the holder of a lease")?;
        // By the server's clock, so that gateways whose clocks differ agree.
        let call = Call::new("lease", &[keys::lease(name)]);
        self.connection
            .call(&call.arg(holder).arg(ttl_ms.min(LEASE_MS_MAX)))
            .await
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), LedgerError> {
        stream::audit(&self.connection, entry, self.settings.audit_max).await
    }

    async fn audit_log(&self, after: Option<Cursor>, max: usize) -> Result<Vec<(Cursor, AuditEntry)>, LedgerError> {
        stream::audit_log(&self.connection, after, max).await
    }

    async fn admit(&self, provider: &ProviderId, admission: Option<Admission>) -> Result<(), LedgerError> {
        admissions::say(&self.connection, provider, admission).await
    }

    async fn admission(&self, provider: &ProviderId) -> Result<Option<Admission>, LedgerError> {
        admissions::of(&self.connection, provider).await
    }

    async fn admissions(&self) -> Result<Vec<(ProviderId, Admission)>, LedgerError> {
        admissions::all(&self.connection).await
    }

    async fn name_payout(&self, provider: &ProviderId, from: Option<&str>, to: &str) -> Result<bool, LedgerError> {
        payout_names::name(&self.connection, provider, from, to).await
    }

    async fn payout_names(&self, providers: &[ProviderId]) -> Result<Vec<Option<String>>, LedgerError> {
        payout_names::of(&self.connection, providers).await
    }

    async fn earnings(&self) -> Result<Vec<Earnings>, LedgerError> {
        let mut all = BTreeMap::new();
        for shard in Shard::all() {
            rows::add_earnings(&mut all, &self.connection.row(&shard.totals()).await?)?;
        }
        Ok(all.into_values().collect())
    }

    async fn totals(&self) -> Result<Totals, LedgerError> {
        let mut totals = Totals::default();
        for shard in Shard::all() {
            let call = Call::new("totals", &[shard.totals(), shard.holds()]);
            let (row, held, holds): (Row, String, u64) = self.connection.call(&call).await?;
            rows::add_totals(&mut totals, &row, rows::nano(&held)?, holds)?;
        }
        Ok(totals)
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.connection.ping().await
    }
}
