//! Measures one target in one case: a fixed number of callers, each of which calls again as soon as it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::process::{Usage, usage};
use crate::client::{Client, Failure};
use crate::load::Latencies;

const CHAT: &str = "/chat/completions";

/// Something to measure: a target's client and the bytes to send.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) client: Client,
    pub(super) body: Bytes,
    pub(super) stream: bool,
    pub(super) pids: Vec<u32>,
}

/// What one measurement found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) calls: u64,
    pub(super) events: u64,
    pub(super) elapsed: Duration,
    /// CPU time of the target's processes; `None` without processes.
    pub(super) cpu: Option<Duration>,
    /// By how much their memory grew since before the first call, in KiB.
    pub(super) grown_kib: Option<f64>,
    /// Until the first event, or the whole answer where it is not streamed.
    pub(super) first: Latencies,
    /// Until the end of the answer.
    pub(super) total: Latencies,
}

impl Probe {
    /// One call; adds the number of its events as they come, and returns when the first came.
    async fn call(&self, events: &AtomicU64) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let mut first = None;
        let seen = |now: Instant, _| {
            events.fetch_add(1, Relaxed);
            first.get_or_insert(now - begun);
        };
        self.client.call(CHAT, self.body.clone(), self.stream, seen).await?;
        Ok(first.unwrap_or_default())
    }

    /// One caller for a while: latencies that nothing else disturbs.
    pub(super) async fn alone(&self, length: Duration) -> anyhow::Result<Found> {
        let (events, begun) = (AtomicU64::new(0), Instant::now());
        let mut found = Found::default();
        while begun.elapsed() < length {
            let sent = Instant::now();
            let first = self.call(&events).await.context("a call of the benchmark failed")?;
            found.total.record(sent.elapsed());
            found.first.record(first);
            found.calls += 1;
        }
        Ok(Found {
            events: events.into_inner(),
            elapsed: begun.elapsed(),
            ..found
        })
    }

    /// Many callers for a while, and what that costs the target per call and event.
    ///
    /// Calls and events count if they end within the window whose CPU time is taken; at both its edges calls are under
    /// way, which evens out.
    pub(super) async fn together(&self, callers: usize, settle: Duration, length: Duration) -> anyhow::Result<Found> {
        let idle = self.usage()?;
        let (calls, events, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicU64::new(0)),
            CancellationToken::new(),
        );
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (probe, calls, events, stop) = (self.clone(), Arc::clone(&calls), Arc::clone(&events), stop.clone());
            tasks.spawn(async move {
                while let Some(ended) = stop.run_until_cancelled(probe.call(&events)).await {
                    ended?;
                    calls.fetch_add(1, Relaxed);
                }
                Ok::<(), Failure>(())
            });
        }
        tokio::time::sleep(settle).await;
        let (calls_before, events_before, begun) = (calls.load(Relaxed), events.load(Relaxed), Instant::now());
        let before = self.usage()?;
        tokio::time::sleep(length).await;
        let after = self.usage()?;
        let (calls, events) = (calls.load(Relaxed) - calls_before, events.load(Relaxed) - events_before);
        let elapsed = begun.elapsed();
        stop.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended?.context("a call of the benchmark failed")?;
        }
        let cpu = before
            .zip(after)
            .map(|(before, after)| after.cpu.saturating_sub(before.cpu));
        let grown_kib = idle.zip(after).map(|(idle, after)| {
            f64::from(u32::try_from(after.resident_kib.saturating_sub(idle.resident_kib)).unwrap_or(u32::MAX))
        });
        Ok(Found {
            calls,
            events,
            elapsed,
            cpu,
            grown_kib,
            ..Found::default()
        })
    }

    fn usage(&self) -> anyhow::Result<Option<Usage>> {
        if self.pids.is_empty() {
            return Ok(None);
        }
        usage(&self.pids)
            .map(Some)
            .with_context(|| format!("processes {:?} cannot be measured", self.pids))
    }
}
