//! The way to the server: one multiplexed connection that reconnects by itself, a deadline on every command, and the
//! function library, loaded when the server does not have it.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, FromRedisValue, InfoDict, IntoConnectionInfo, RedisError};
use tokio::time::timeout;

use super::RedisSettings;
use super::keys::FUNCTION_PREFIX;
use super::rows::Row;
use crate::ledger::LedgerError;

/// The functions, as the server gets them.
const LIBRARY: &str = concat!(
    include_str!("lua/library.lua"),
    include_str!("lua/limits.lua"),
    include_str!("lua/money.lua"),
    include_str!("lua/books.lua"),
);
/// The first version with functions.
const VERSION_MAJOR_MIN: u32 = 7;
/// Commands that may wait for the socket; above that, callers wait until their deadline.
const WAITING_MAX: usize = 1024;
/// Hashes read with one command, so that a long list does not outlast the deadline.
const ROWS_AT_ONCE: usize = 500;
/// Longest pause between two attempts to reconnect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Attempts per failed command; the next command starts over.
const RECONNECT_ATTEMPTS: usize = 3;

/// A connection shared by all.
pub(super) struct Connection {
    manager: ConnectionManager,
    deadline: Duration,
}

fn unavailable(error: &RedisError) -> LedgerError {
    LedgerError::Unavailable(error.to_string())
}

impl Connection {
    /// Connects, checks that the server may keep money, and loads the functions.
    pub(super) async fn open(url: &str, settings: RedisSettings) -> Result<Self, LedgerError> {
        let deadline = settings.deadline;
        // A peer that vanished without a word is given up after a few deadlines instead of the system's quarter hour.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(deadline.saturating_mul(3));
        // The error says what is wrong with the URL, without repeating it: it may hold a password.
        let info = url
            .into_connection_info()
            .map_err(|error| LedgerError::Unavailable(format!("this is no Redis URL: {error}")))?;
        let client = Client::open(info.set_tcp_settings(tcp)).map_err(|error| unavailable(&error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(deadline))
            .set_response_timeout(None)
            .set_number_of_retries(RECONNECT_ATTEMPTS)
            .set_max_delay(RECONNECT_PAUSE_MAX)
            .set_pipeline_buffer_size(WAITING_MAX);
        let manager = ConnectionManager::new_with_config(client, config)
            .await
            .map_err(|error| unavailable(&error))?;
        let connection = Self { manager, deadline };
        connection.check_server().await?;
        connection.load().await?;
        Ok(connection)
    }

    /// Sends one command. The answer may be lost after the deadline, and the command carried out all the same.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LedgerError> {
        match self.try_send(command).await {
            Some(result) => result.map_err(|error| unavailable(&error)),
            None => Err(self.late()),
        }
    }

    /// Sends many commands at once, all about keys of one slot.
    async fn send_all<T: FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, LedgerError> {
        let answer = timeout(self.deadline, commands.query_async(&mut self.manager.clone())).await;
        answer.map_err(|_| self.late())?.map_err(|error| unavailable(&error))
    }

    /// Calls one function of the library, loading the library first if the server lost it (a new server, a failover to
    /// one without it, `FUNCTION FLUSH`).
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, LedgerError> {
        match self.try_send(&call.0).await {
            Some(Err(error)) if is_function_missing(&error) => {
                self.load().await?;
                self.send(&call.0).await
            }
            Some(result) => result.map_err(|error| unavailable(&error)),
            None => Err(self.late()),
        }
    }

    /// The hash in `key`.
    pub(super) async fn row(&self, key: &str) -> Result<Row, LedgerError> {
        self.send(redis::cmd("HGETALL").arg(key)).await
    }

    /// The members of the set in `key`, in order.
    pub(super) async fn members(&self, key: &str) -> Result<Vec<String>, LedgerError> {
        let mut members: Vec<String> = self.send(redis::cmd("SMEMBERS").arg(key)).await?;
        members.sort_unstable();
        Ok(members)
    }

    /// The hashes in `keys`, all of one shard.
    pub(super) async fn rows<T: FromRedisValue>(&self, keys: &[String]) -> Result<Vec<T>, LedgerError> {
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ROWS_AT_ONCE) {
            let mut pipeline = redis::pipe();
            for key in keys {
                pipeline.cmd("HGETALL").arg(key);
            }
            rows.extend(self.send_all::<Vec<T>>(&pipeline).await?);
        }
        Ok(rows)
    }

    async fn try_send<T: FromRedisValue>(&self, command: &Cmd) -> Option<Result<T, RedisError>> {
        timeout(self.deadline, command.query_async(&mut self.manager.clone()))
            .await
            .ok()
    }

    fn late(&self) -> LedgerError {
        LedgerError::Unavailable(format!("Redis did not answer within {} ms", self.deadline.as_millis()))
    }

    async fn load(&self) -> Result<(), LedgerError> {
        self.send(redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(LIBRARY))
            .await
    }

    /// Refuses a server that is too old or would throw balances away, and warns of one that forgets them.
    async fn check_server(&self) -> Result<(), LedgerError> {
        let info: InfoDict = self.send(&redis::cmd("INFO")).await?;
        let version: String = info.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MAJOR_MIN) {
            let why = format!("Redis {VERSION_MAJOR_MIN} or newer is needed for functions, this is `{version}`");
            return Err(LedgerError::Unavailable(why));
        }
        let policy: String = info.get("maxmemory_policy").unwrap_or_default();
        let is_bounded = info.get("maxmemory").is_some_and(|bytes: u64| bytes > 0);
        if is_bounded && policy != "noeviction" {
            let why = format!("maxmemory-policy is `{policy}`, which throws balances away: set it to noeviction");
            return Err(LedgerError::Unavailable(why));
        }
        if info.get("aof_enabled") != Some(1_u8) {
            tracing::warn!("this Redis forgets posts when it dies: set `appendonly yes`");
        }
        Ok(())
    }
}

fn is_function_missing(error: &RedisError) -> bool {
    // The server has no error code of its own for this.
    error
        .detail()
        .is_some_and(|detail| detail.starts_with("Function not found"))
}

/// One function call in the making.
pub(super) struct Call(Cmd);

impl Call {
    /// Calls `function` with all the `keys` it touches.
    pub(super) fn new(function: &str, keys: &[String]) -> Self {
        let mut command = redis::cmd("FCALL");
        command
            .arg(format!("{FUNCTION_PREFIX}{function}"))
            .arg(keys.len())
            .arg(keys);
        Self(command)
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, arg: impl redis::ToSingleRedisArg) -> Self {
        self.0.arg(arg);
        self
    }
}
