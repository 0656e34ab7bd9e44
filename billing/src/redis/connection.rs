//! Commands to the server that keeps their keys: a deadline on each, and the function library, loaded where a server
//! does not have it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, InfoDict, RedisError, RedisResult, from_redis_value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::keys::{FUNCTION_PREFIX, Shard, synced};
use super::link::{Link, Way};
use super::replicas::Replicas;
use super::rows::Row;
use super::{RedisSettings, late, unavailable};
use crate::ledger::LedgerError;

/// The functions, as the server gets them.
const LIBRARY: &str = concat!(
    include_str!("lua/library.lua"),
    include_str!("lua/limits.lua"),
    include_str!("lua/money.lua"),
    include_str!("lua/transfers.lua"),
    include_str!("lua/books.lua"),
);
/// The first version with functions.
const VERSION_MAJOR_MIN: u32 = 7;
/// Hashes read with one command, so that a long list does not outlast the deadline.
const ROWS_AT_ONCE: usize = 500;

/// A connection shared by all.
pub(super) struct Connection {
    link: Link,
    is_cluster: bool,
    deadline: Duration,
    /// Where answers wait for replicas.
    replicas: Option<Replicas>,
}

impl Connection {
    /// Connects, checks that the servers may keep money, and loads the functions.
    pub(super) async fn open(url: &str, settings: &RedisSettings) -> Result<Self, LedgerError> {
        let mut connection = Self::connect(url, settings).await?;
        connection.prepare(settings.wait_replicas).await?;
        if settings.wait_replicas > 0 {
            let way = Arc::new(Way::read(url, settings)?);
            connection.replicas = Some(Replicas::open(way, settings.wait_replicas, settings.deadline).await?);
        }
        Ok(connection)
    }

    /// Connects and no more.
    pub(super) async fn connect(url: &str, settings: &RedisSettings) -> Result<Self, LedgerError> {
        let way = Arc::new(Way::read(url, settings)?);
        Ok(Self {
            is_cluster: way.is_cluster(),
            link: Link::open(way).await.map_err(|error| unavailable(&error))?,
            deadline: settings.deadline,
            replicas: None,
        })
    }

    /// Sends one command. The answer may be lost after the deadline, and the command carried out all the same.
    pub(super) async fn send<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LedgerError> {
        self.in_time(command.query_async(&mut self.link.live())).await
    }

    /// Sends one command about a key, and answers when the replicas that must have what it wrote do.
    pub(super) async fn send_safe<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<T, LedgerError> {
        match &self.replicas {
            Some(replicas) => replicas.after(&synced(key), command).await,
            None => self.send(command).await,
        }
    }

    /// Sends many commands at once, all about keys of one slot.
    async fn send_all<T: FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, LedgerError> {
        self.in_time(commands.query_async(&mut self.link.live())).await
    }

    /// Calls one function of the library, loading the library first if the server lost it (a new server, a failover to
    /// one without it, `FUNCTION FLUSH`).
    pub(super) async fn call<T: FromRedisValue>(&self, call: &Call) -> Result<T, LedgerError> {
        match self.try_send(call.command.query_async(&mut self.link.live())).await {
            Some(Err(error)) if is_function_missing(&error) => {
                self.load(&call.key).await?;
                self.send(&call.command).await
            }
            Some(result) => result.map_err(|error| unavailable(&error)),
            None => Err(late(self.deadline)),
        }
    }

    /// [`Connection::call`], answered when the replicas that must have what it wrote do. A function that can be
    /// repeated without harm.
    pub(super) async fn call_safe<T: FromRedisValue>(&self, shard: Shard, call: &Call) -> Result<T, LedgerError> {
        let answer = self.call(call).await?;
        match &self.replicas {
            Some(replicas) => replicas.after(&shard.synced(), &call.command).await,
            None => Ok(answer),
        }
    }

    /// Waits until the replicas that must have the step that wrote `key` do.
    pub(super) async fn is_safe(&self, shard: Shard, key: String) -> Result<(), LedgerError> {
        match &self.replicas {
            Some(replicas) => replicas.have(shard, key).await,
            None => Ok(()),
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
        let command = |key| {
            let mut command = redis::cmd("HGETALL");
            command.arg(key);
            command
        };
        self.each(keys.iter().map(command).collect()).await
    }

    /// Calls functions that only read, all about keys of one shard.
    pub(super) async fn calls<T: FromRedisValue>(&self, calls: Vec<Call>) -> Result<Vec<T>, LedgerError> {
        let mut calls = calls.into_iter();
        let Some(first) = calls.next() else {
            return Ok(vec![]);
        };
        // The first loads the functions where they are missing.
        let mut answers = vec![self.call(&first).await?];
        answers.extend(self.each::<T>(calls.map(|call| call.command).collect()).await?);
        Ok(answers)
    }

    /// The answers to commands that only read, all about keys of one shard.
    async fn each<T: FromRedisValue>(&self, commands: Vec<Cmd>) -> Result<Vec<T>, LedgerError> {
        let mut answers = Vec::with_capacity(commands.len());
        for commands in commands.chunks(ROWS_AT_ONCE) {
            let mut pipeline = redis::Pipeline::with_capacity(commands.len());
            for command in commands {
                pipeline.add_command(command.clone());
            }
            match self.send_all::<Vec<T>>(&pipeline).await {
                // While a slot moves, some of its keys are here and some there.
                Err(_) if self.is_cluster => {
                    for command in commands {
                        answers.push(self.send(command).await?);
                    }
                }
                found => answers.extend(found?),
            }
        }
        Ok(answers)
    }

    /// Whether a server answers; of a cluster, any master that keeps accounts.
    pub(super) async fn ping(&self) -> Result<(), LedgerError> {
        let mut pings = JoinSet::new();
        for key in self.places() {
            let mut live = self.link.live();
            pings.spawn(async move { live.command_at(&key, &redis::cmd("PING")).await });
        }
        self.in_time(async {
            let mut last = Ok(());
            while let Some(ping) = pings.join_next().await {
                match ping {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => last = Err(error),
                    Err(_) => {}
                }
            }
            last
        })
        .await
    }

    async fn try_send<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Option<RedisResult<T>> {
        let answer = timeout(self.deadline, answer).await.ok();
        match &answer {
            None => self.link.failed(None),
            Some(Err(error)) => self.link.failed(Some(error)),
            Some(Ok(_)) => {}
        }
        answer
    }

    async fn in_time<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> Result<T, LedgerError> {
        match self.try_send(answer).await {
            Some(answer) => answer.map_err(|error| unavailable(&error)),
            None => Err(late(self.deadline)),
        }
    }

    /// Keys that lie on every server there is.
    fn places(&self) -> Vec<String> {
        let count = if self.is_cluster { usize::MAX } else { 1 };
        Shard::all().take(count).map(Shard::totals).collect()
    }

    /// Sends a command that names no key to the server that has `key`.
    async fn send_at<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<T, LedgerError> {
        let answer = self
            .in_time(async { self.link.live().command_at(key, command).await })
            .await?;
        from_redis_value(answer).map_err(|error| LedgerError::Damaged(error.to_string()))
    }

    /// Gives the library to the server that has `key`.
    async fn load(&self, key: &str) -> Result<(), LedgerError> {
        let mut command = redis::cmd("FUNCTION");
        self.send_at(key, command.arg("LOAD").arg("REPLACE").arg(LIBRARY)).await
    }

    async fn prepare(&self, wait_replicas: u32) -> Result<(), LedgerError> {
        let mut known = HashSet::new();
        for key in self.places() {
            let info: InfoDict = self.send_at(&key, &redis::cmd("INFO")).await?;
            if known.insert(info.get::<String>("run_id")) {
                self.check_server(&info, wait_replicas)?;
                self.load(&key).await?;
            }
        }
        Ok(())
    }

    /// Refuses a server that is too old or would throw balances away, and warns of one that forgets them.
    fn check_server(&self, info: &InfoDict, wait_replicas: u32) -> Result<(), LedgerError> {
        let refuse = |why: String| Err(LedgerError::Unavailable(why));
        let version: String = info.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MAJOR_MIN) {
            return refuse(format!(
                "Redis {VERSION_MAJOR_MIN} or newer is needed for functions, this is `{version}`"
            ));
        }
        if !self.is_cluster && info.get("cluster_enabled") == Some(1_u8) {
            return refuse("this is a node of a cluster, whose URL begins with redis+cluster://".into());
        }
        let policy: String = info.get("maxmemory_policy").unwrap_or_default();
        let is_bounded = info.get("maxmemory").is_some_and(|bytes: u64| bytes > 0);
        if is_bounded && policy != "noeviction" {
            return refuse(format!(
                "maxmemory-policy is `{policy}`, which throws balances away: set it to noeviction"
            ));
        }
        if info.get("aof_enabled") != Some(1_u8) {
            tracing::warn!("this Redis forgets posts when it dies: set `appendonly yes`");
        }
        let replicas: u32 = info.get("connected_slaves").unwrap_or_default();
        if replicas < wait_replicas {
            tracing::warn!(
                replicas,
                wait_replicas,
                "this Redis has too few replicas: posts will fail"
            );
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
pub(super) struct Call {
    command: Cmd,
    /// One of its keys.
    key: String,
}

impl Call {
    /// Calls `function` with all the `keys` it touches.
    pub(super) fn new(function: &str, keys: &[String]) -> Self {
        let mut command = redis::cmd("FCALL");
        command
            .arg(format!("{FUNCTION_PREFIX}{function}"))
            .arg(keys.len())
            .arg(keys);
        Self {
            command,
            key: keys.first().cloned().unwrap_or_default(),
        }
    }

    /// Adds an argument.
    pub(super) fn arg(mut self, arg: impl redis::ToSingleRedisArg) -> Self {
        self.command.arg(arg);
        self
    }
}
