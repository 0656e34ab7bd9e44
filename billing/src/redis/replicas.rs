//! Answers that a failover must not take back: a step is answered once its replicas have it, too.
//!
//! Redis answers before its replicas know. Where `wait_replicas` is set, whoever must not lose a step asks here
//! afterwards: on a connection of its own (`WAIT` keeps all that comes behind it waiting), one question for all that
//! came meanwhile. Between a step and the question another server may have become the master, so it is asked first
//! whether it knows of the step at all; what is then written behind that, and reaches the replicas, follows the step.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};
use tokio::time::timeout;

use super::keys::{SHARDS, Shard};
use super::link::{Link, Way};
use super::together::Together;
use super::{late, unavailable};
use crate::ledger::LedgerError;

/// Answers of one server that are waited for together.
const BATCH_MAX: usize = 1024;

/// For how long what is written for the question is kept, in seconds.
const SYNCED_KEPT_S: u64 = 60;

/// The way to the replicas' answer.
pub(super) struct Replicas {
    link: Link,
    /// How many replicas of a master must have a step.
    count: u32,
    deadline: Duration,
    /// Of each shard the keys that steps wrote which wait for replicas.
    shards: Vec<Together<String, Result<(), LedgerError>>>,
}

impl Replicas {
    pub(super) async fn open(way: Arc<Way>, count: u32, deadline: Duration) -> Result<Self, LedgerError> {
        Ok(Self {
            link: Link::open(way).await.map_err(|error| unavailable(&error))?,
            count,
            deadline,
            shards: (0..SHARDS).map(|_| Together::default()).collect(),
        })
    }

    /// Waits until the replicas have the step that wrote `key` of a shard.
    pub(super) async fn have(&self, shard: Shard, key: String) -> Result<(), LedgerError> {
        // No deadline here: each question has its own, and whoever gave up with the turn would give up for all.
        let Some(together) = self.shards.get(usize::from(shard.name().number())) else {
            return Ok(());
        };
        let lost = || LedgerError::Unavailable("the question for the replicas was given up".into());
        let answer = together.join(key, BATCH_MAX, |keys| self.ask(shard, keys)).await;
        answer.unwrap_or_else(|| Err(lost()))
    }

    async fn ask(&self, shard: Shard, keys: Vec<String>) -> Vec<Result<(), LedgerError>> {
        let mut exists = redis::cmd("EXISTS");
        exists.arg(&keys);
        let found: Result<usize, _> = self.after(&shard.synced(), &exists).await;
        let lost = || LedgerError::Unavailable("another server became the master and does not know the step".into());
        let answer = found.and_then(|found| (found == keys.len()).then_some(()).ok_or_else(lost));
        vec![answer; keys.len()]
    }

    /// Sends a command to the server that has `synced`, and answers once its replicas have all that was written there
    /// before and by it.
    pub(super) async fn after<T: FromRedisValue>(&self, synced: &str, command: &Cmd) -> Result<T, LedgerError> {
        let mut commands = Pipeline::with_capacity(3);
        let wait_ms = self.deadline.as_millis().saturating_mul(4) / 5;
        commands.add_command(command.clone());
        // What is waited for is the last write of this connection, so there must be one.
        commands.cmd("SET").arg(synced).arg(1).arg("EX").arg(SYNCED_KEPT_S);
        commands
            .cmd("WAIT")
            .arg(self.count)
            .arg(u64::try_from(wait_ms).unwrap_or(u64::MAX).max(1));
        let mut live = self.link.live();
        let answers = timeout(self.deadline, live.commands_at(synced, commands)).await;
        let Ok(answers) = answers else {
            self.link.failed(None);
            return Err(late(self.deadline));
        };
        let answers = answers.map_err(|error| {
            self.link.failed(Some(&error));
            unavailable(&error)
        })?;
        let [answer, _, Value::Int(count)] = <[Value; 3]>::try_from(answers).unwrap_or_default() else {
            return Err(LedgerError::Damaged("Redis answered WAIT with no number".into()));
        };
        if count < i64::from(self.count) {
            return Err(LedgerError::Unavailable(format!(
                "{count} of {} replicas have the step",
                self.count
            )));
        }
        from_redis_value(answer).map_err(|error| LedgerError::Damaged(error.to_string()))
    }
}
