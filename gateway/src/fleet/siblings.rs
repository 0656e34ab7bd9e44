//! What is known of providers outlives a gateway and reaches its siblings: averages of how fast they are, kept beside the
//! ledger, so that a new replica or a restarted one does not start from nothing.
//!
//! With a ledger in Redis they lie in one hash there, else in a file of the data folder. They are hints: losing them costs
//! some exploring, so whatever goes wrong here is logged and nothing more. What a memory is worth beside what this gateway
//! saw itself is the router's matter ([`filature_router::Event::Remembered`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use filature_billing::RedisConnection;
use filature_router::{Memory, ModelId, ProviderId};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::clock::now_ms;
use crate::ledger::redis_settings;

/// How often memories are written and read.
const EVERY: Duration = Duration::from_secs(15);
/// Memories older than this are dropped: engines change.
const LIFE: Duration = Duration::from_secs(3600);
/// Memories kept at most; a file or a hash of more is read so far.
const MEMORIES_MAX: usize = 65_536;
/// Memories written with one command.
const ROWS_AT_ONCE: usize = 500;
/// The hash in Redis: one field for each provider and model.
const KEY: &str = "filature:{fleet}:memories";
/// The file in the data folder.
const FILE: &str = "fleet.json";

/// Where memories are kept.
enum Store {
    File(PathBuf),
    Redis {
        connection: RedisConnection,
        deadline: Duration,
    },
}

/// One memory as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    provider: String,
    model: String,
    base_s: f64,
    prefill_s: f64,
    floor_s: f64,
    gap_s: f64,
    gap_streams: f64,
    first_tokens: u32,
    gaps: u32,
    served: u32,
    errors: f64,
    /// When the last first token was seen, in milliseconds since the Unix epoch.
    seen_ms: u64,
}

/// Reads memories when the gateway starts and keeps exchanging them until it ends.
pub async fn exchange(app: Arc<App>) {
    let store = match Store::open(&app).await {
        Ok(store) => store,
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "what siblings know of providers cannot be read"
            );
            return;
        }
    };
    loop {
        if let Err(error) = round(&app, &store).await {
            tracing::warn!(
                error = format!("{error:#}"),
                "what is known of providers was not exchanged"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.stop.ended.cancelled() => break,
        }
    }
    // The last word of a gateway that stops. Nothing is lost for good if it fails.
    let _ = round(&app, &store).await;
}

async fn round(app: &App, store: &Store) -> anyhow::Result<()> {
    let now = app.clock.now();
    let known: Vec<Row> = app.fleet.memories(now).into_iter().map(Row::of).collect();
    let rows = match store {
        Store::File(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || merge_file(&path, known)).await??
        }
        Store::Redis { connection, deadline } => tokio::time::timeout(*deadline * 4, merge_redis(connection, known))
            .await
            .context("Redis does not answer")??,
    };
    let memories = rows.into_iter().map(|row| row.memory());
    app.fleet.remember(memories.collect(), app.clock.now());
    Ok(())
}

impl Store {
    async fn open(app: &App) -> anyhow::Result<Self> {
        let ledger = &app.config.ledger;
        let Some(url) = &ledger.redis else {
            return Ok(Self::File(ledger.data.join(FILE)));
        };
        let settings = redis_settings(ledger)?;
        let connection = RedisConnection::open(url, &settings).await?;
        let deadline = settings.deadline;
        Ok(Self::Redis { connection, deadline })
    }
}

/// Writes what is known into the file, beside what it holds of others, and returns all of it.
fn merge_file(path: &Path, known: Vec<Row>) -> anyhow::Result<Vec<Row>> {
    let before = match std::fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).context(path.display().to_string()),
    };
    let rows = merged(before, known);
    let draft = path.with_extension("json.new");
    std::fs::write(&draft, serde_json::to_vec(&rows)?).with_context(|| draft.display().to_string())?;
    std::fs::rename(&draft, path).with_context(|| path.display().to_string())?;
    Ok(rows)
}

/// The same with the hash in Redis.
async fn merge_redis(connection: &RedisConnection, known: Vec<Row>) -> anyhow::Result<Vec<Row>> {
    for rows in known.chunks(ROWS_AT_ONCE) {
        let mut command = redis::cmd("HSET");
        command.arg(KEY);
        for row in rows {
            command.arg(row.field()).arg(serde_json::to_string(row)?);
        }
        connection.send::<()>(&command).await?;
    }
    let stored: HashMap<String, String> = connection.send(redis::cmd("HGETALL").arg(KEY)).await?;
    let (mut rows, mut stale) = (Vec::new(), Vec::new());
    for (field, text) in stored {
        match serde_json::from_str::<Row>(&text) {
            Ok(row) if row.is_fresh() => rows.push(row),
            _ => stale.push(field),
        }
    }
    for fields in stale.chunks(ROWS_AT_ONCE) {
        connection.send::<()>(redis::cmd("HDEL").arg(KEY).arg(fields)).await?;
    }
    Ok(merged(rows, known))
}

/// Both, of each provider and model the one seen later, without what is too old.
fn merged(before: Vec<Row>, known: Vec<Row>) -> Vec<Row> {
    let mut rows: HashMap<String, Row> = HashMap::new();
    for row in before.into_iter().chain(known).filter(Row::is_fresh) {
        let known = rows.get(&row.field());
        if known.is_none_or(|known| known.seen_ms <= row.seen_ms) && (known.is_some() || rows.len() < MEMORIES_MAX) {
            rows.insert(row.field(), row);
        }
    }
    rows.into_values().collect()
}

impl Row {
    fn of(memory: Memory) -> Self {
        let age_ms = u64::try_from(memory.age.as_millis()).unwrap_or(u64::MAX);
        Self {
            provider: memory.provider.to_string(),
            model: memory.model.to_string(),
            base_s: memory.base_s,
            prefill_s: memory.prefill_s,
            floor_s: memory.floor_s,
            gap_s: memory.gap_s,
            gap_streams: memory.gap_streams,
            first_tokens: memory.first_tokens,
            gaps: memory.gaps,
            served: memory.served,
            errors: memory.errors,
            seen_ms: now_ms().saturating_sub(age_ms),
        }
    }

    fn memory(self) -> Memory {
        Memory {
            age: Duration::from_millis(now_ms().saturating_sub(self.seen_ms)),
            provider: ProviderId::from(self.provider),
            model: ModelId::from(self.model),
            base_s: self.base_s,
            prefill_s: self.prefill_s,
            floor_s: self.floor_s,
            gap_s: self.gap_s,
            gap_streams: self.gap_streams,
            first_tokens: self.first_tokens,
            gaps: self.gaps,
            served: self.served,
            errors: self.errors,
        }
    }

    /// A provider's id has no space.
    fn field(&self) -> String {
        format!("{} {}", self.provider, self.model)
    }

    fn is_fresh(&self) -> bool {
        u128::from(now_ms().saturating_sub(self.seen_ms)) <= LIFE.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(provider: &str, base_s: f64, seen_ms: u64) -> Row {
        Row {
            provider: provider.to_owned(),
            model: "m".to_owned(),
            base_s,
            prefill_s: 1e-4,
            floor_s: 0.05,
            gap_s: 0.02,
            gap_streams: 2.0,
            first_tokens: 9,
            gaps: 9,
            served: 9,
            errors: 0.0,
            seen_ms,
        }
    }

    #[test]
    fn the_later_memory_of_a_provider_counts_and_an_old_one_is_dropped() {
        let now = now_ms();
        let before = vec![
            row("a", 1.0, now - 10),
            row("b", 1.0, now),
            row("c", 1.0, now - 3_700_000),
        ];
        let mut rows = merged(before, vec![row("a", 2.0, now), row("b", 2.0, now - 10)]);
        rows.sort_by_key(Row::field);
        let told: Vec<(&str, f64)> = rows.iter().map(|row| (row.provider.as_str(), row.base_s)).collect();
        assert_eq!(told, [("a", 2.0), ("b", 1.0)]);
    }

    #[test]
    fn a_file_of_memories_survives_and_a_broken_one_does_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let first = merge_file(&path, vec![row("a", 1.0, now_ms())]).expect("written");
        assert_eq!(first.len(), 1);
        let second = merge_file(&path, vec![row("b", 1.0, now_ms())]).expect("written");
        assert_eq!(second.len(), 2);
        std::fs::write(&path, b"{half").expect("written");
        let third = merge_file(&path, vec![row("b", 1.0, now_ms())]).expect("written");
        assert_eq!(third.len(), 1);
    }
}
