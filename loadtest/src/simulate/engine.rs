//! One provider's inference engine: continuous batching as a queueing model.
//!
//! Up to `slots` calls run; more wait in the engine, first come first served. Running calls are first *prefilled*, one
//! at a time in order, then *decoded* together: each of n streams gets a token every `gap · (n + 9) / 10` seconds, which
//! is how the step time of a batch grows with its size (ROUTING, "ITL̂"). While a prompt is being prefilled, chunks of
//! it share steps with the streams (chunked prefill, Agrawal et al., Sarathi-Serve, OSDI '24): prefill then runs at
//! [`PREFILL_SHARE`] and decoding at [`DECODE_SHARE`] of its speed.
//!
//! No event per token. All streams advance at one common rate that changes only when a call comes, ends, or is
//! prefilled, so the engine keeps one count of tokens per stream since its start (the *virtual time* of processor
//! sharing), and a stream ends when that count reaches the value it was at when the stream began plus its length. The
//! next moment at which anything happens is known exactly: O(log n) per call, whatever its length.

mod cache;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use cache::Cache;

/// Speed of prefill while streams are decoded, as a share of its speed alone.
pub(super) const PREFILL_SHARE: f64 = 0.7;
/// Speed of decoding while a prompt is prefilled, as a share of its speed otherwise.
pub(super) const DECODE_SHARE: f64 = 0.6;
/// Streams that slow an engine down as much as one more does at the margin; see the head of this file.
const BATCH_SLACK: f64 = 9.0;
/// What rounding may leave of a token when its moment has come.
const TOKEN_SLACK: f64 = 1e-3;

/// What an engine can do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Make {
    /// Calls that run at a time.
    pub(super) slots: u32,
    /// Seconds between the tokens of a stream that is alone.
    pub(super) gap_s: f64,
    /// Seconds per prompt token, alone.
    pub(super) prefill_s: f64,
}

impl Make {
    /// Seconds between the tokens of each of `streams`.
    pub(super) fn gap_at(&self, streams: f64) -> f64 {
        self.gap_s * (streams.max(1.0) + BATCH_SLACK) / (1.0 + BATCH_SLACK)
    }

    /// Calls per second of this size that it can serve at most, with all slots busy.
    ///
    /// Of each second the share f goes by while something is prefilled: f = x · prompt · prefill / PREFILL_SHARE; tokens
    /// come at D for (1 − f) of it and at D · DECODE_SHARE for f of it; x · output of them are needed. Solved for x.
    pub(super) fn calls_per_s(&self, prompt: f64, output: f64) -> f64 {
        let slots = f64::from(self.slots);
        let decoded = slots / self.gap_at(slots);
        let prefill = prompt * self.prefill_s / PREFILL_SHARE;
        let sharing = decoded / (output + decoded * (1.0 - DECODE_SHARE) * prefill);
        // Never more than prefill alone allows.
        sharing.min(1.0 / prefill)
    }
}

/// A call as an engine sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Job {
    /// Prompt tokens.
    pub(super) prompt: u32,
    /// Of those, the leading ones that calls with the same `opening` share, and that opening.
    pub(super) shared: u32,
    /// Calls with the same value begin with the same text.
    pub(super) opening: Option<u64>,
    /// Tokens after which it ends here, whatever for; at least one.
    pub(super) stop: u32,
}

/// Something an engine has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// The first token of a call.
    First(u32),
    /// The last one that it was asked for.
    Last(u32),
}

/// Work done for a call.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Work {
    /// Prompt tokens prefilled.
    pub(super) prefilled: f64,
    /// Tokens that came out, whole ones.
    pub(super) tokens: u32,
}

#[derive(Debug)]
struct Running {
    job: Job,
    /// Prompt tokens to prefill: those that were not cached.
    prefill: f64,
    /// The common count of tokens when its first token came.
    began: Option<f64>,
}

/// An engine at work.
#[derive(Debug)]
pub(super) struct Engine {
    make: Make,
    /// Slower than its make by this factor, now.
    slowed: f64,
    /// Up to when everything below holds, seconds.
    at_s: f64,
    /// Tokens each stream would have had since the start.
    count: f64,
    jobs: BTreeMap<u32, Running>,
    waiting: VecDeque<(u32, Job)>,
    prefilling: VecDeque<u32>,
    /// Prompt tokens left of the one being prefilled.
    left: f64,
    /// Streams by the count at which they end; also some that are gone.
    decoding: BinaryHeap<Reverse<(Count, u32)>>,
    streams: u32,
    cache: Cache,
    /// Prompt tokens and stream tokens worked on in all, fractions included.
    pub(super) prefilled: f64,
    /// See `prefilled`.
    pub(super) decoded: f64,
}

/// A count that never is NaN, so that it has an order.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Count(f64);

impl Eq for Count {}

impl PartialOrd for Count {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Count {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Engine {
    pub(super) fn new(make: Make) -> Self {
        Self {
            make,
            slowed: 1.0,
            at_s: 0.0,
            count: 0.0,
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            prefilling: VecDeque::new(),
            left: 0.0,
            decoding: BinaryHeap::new(),
            streams: 0,
            cache: Cache::default(),
            prefilled: 0.0,
            decoded: 0.0,
        }
    }

    /// Calls that run.
    pub(super) fn running(&self) -> u32 {
        self.jobs.len() as u32
    }

    /// Calls that wait in the engine.
    pub(super) fn queued(&self) -> u32 {
        self.waiting.len() as u32
    }

    /// Its present slow-down.
    pub(super) fn slowed(&self) -> f64 {
        self.slowed
    }

    /// Takes a call in at `now_s`, which may not lie before the last call of any method.
    pub(super) fn submit(&mut self, id: u32, job: Job, now_s: f64) {
        self.advance(now_s);
        self.waiting.push_back((id, job));
        self.admit();
    }

    /// Drops a call, wherever it is; gives the work that went into it.
    pub(super) fn cancel(&mut self, id: u32, now_s: f64) -> Option<Work> {
        self.advance(now_s);
        if let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == id) {
            self.waiting.remove(at);
            return Some(Work::default());
        }
        let work = self.drop_running(id)?;
        self.admit();
        Some(work)
    }

    /// The engine's process dies: all calls are gone, with the work that went into each, and so is its cache.
    pub(super) fn crash(&mut self, now_s: f64) -> Vec<(u32, Work)> {
        self.advance(now_s);
        let waiting: Vec<u32> = self.waiting.drain(..).map(|(id, _)| id).collect();
        let running: Vec<u32> = self.jobs.keys().copied().collect();
        let mut lost: Vec<(u32, Work)> = running
            .into_iter()
            .filter_map(|id| Some((id, self.drop_running(id)?)))
            .collect();
        lost.extend(waiting.into_iter().map(|id| (id, Work::default())));
        self.cache = Cache::default();
        self.decoding.clear();
        lost
    }

    /// From now on it is slower than its make by `factor`.
    pub(super) fn slow(&mut self, factor: f64, now_s: f64) {
        self.advance(now_s);
        self.slowed = factor;
    }

    /// When it will next have something to tell, if nothing else happens; seconds.
    pub(super) fn next_s(&mut self) -> Option<f64> {
        while let Some(Reverse((_, id))) = self.decoding.peek() {
            if self.jobs.contains_key(id) {
                break;
            }
            self.decoding.pop();
        }
        let prefilled = (!self.prefilling.is_empty()).then(|| self.left / self.prefill_rate());
        let ended = self
            .decoding
            .peek()
            .map(|Reverse((end, _))| (end.0 - self.count) / self.decode_rate());
        let soonest = match (prefilled, ended) {
            (Some(one), Some(other)) => one.min(other),
            (one, other) => one.or(other)?,
        };
        Some(self.at_s + soonest.max(0.0))
    }

    /// Lets time pass up to `now_s` and says what has just happened.
    pub(super) fn tick(&mut self, now_s: f64, did: &mut Vec<Did>) {
        self.advance(now_s);
        if self.left <= TOKEN_SLACK
            && let Some(id) = self.prefilling.pop_front()
        {
            self.prefilled_one(id, did);
        }
        while let Some(Reverse((end, id))) = self.decoding.peek().copied() {
            if end.0 > self.count + TOKEN_SLACK {
                break;
            }
            self.decoding.pop();
            if self.jobs.remove(&id).is_some() {
                self.streams -= 1;
                did.push(Did::Last(id));
            }
        }
        self.admit();
    }

    /// Seconds until the first token of a further call like `job`, were nothing else to come: for bounds that may know.
    pub(super) fn first_token_s(&self, job: &Job, now_s: f64) -> f64 {
        let ahead: f64 = self.prefilling.iter().skip(1).map(|id| self.jobs[id].prefill).sum();
        let queued: f64 = self.waiting.iter().map(|(_, job)| f64::from(job.prompt)).sum();
        let left = if self.prefilling.is_empty() { 0.0 } else { self.left };
        let passed = (now_s - self.at_s).max(0.0) * self.prefill_rate();
        let tokens = (left - passed).max(0.0) + ahead + queued + self.cache.uncached(job);
        let share = if self.streams > 0 || self.running() > 0 {
            PREFILL_SHARE
        } else {
            1.0
        };
        let prefill_s = tokens * self.make.prefill_s * self.slowed / share;
        prefill_s + self.slot_wait_s()
    }

    /// Seconds between tokens with one stream more.
    pub(super) fn gap_with_one_more(&self) -> f64 {
        let streams = self.running().min(self.make.slots.saturating_sub(1)) + 1;
        self.make.gap_at(f64::from(streams)) * self.slowed
    }

    /// Seconds until a slot is free for a further call: from the ends of the streams that are now in them.
    fn slot_wait_s(&self) -> f64 {
        let running = self.jobs.len() + self.waiting.len();
        let slots = self.make.slots as usize;
        if running < slots {
            return 0.0;
        }
        // The (running − slots + 1)-th end; ends of calls that wait are not known yet and stand for themselves.
        let mut ends: Vec<f64> = self
            .jobs
            .values()
            .filter_map(|running| self.tokens_left(running))
            .collect();
        ends.sort_unstable_by(f64::total_cmp);
        let nth = (running - slots).min(ends.len().saturating_sub(1));
        ends.get(nth).map_or(0.0, |tokens| tokens / self.decode_rate())
    }

    fn tokens_left(&self, running: &Running) -> Option<f64> {
        let began = running.began?;
        Some((began + f64::from(running.job.stop) - 1.0 - self.count).max(0.0))
    }

    fn prefilled_one(&mut self, id: u32, did: &mut Vec<Did>) {
        let next = self.prefilling.front().map(|next| self.jobs[next].prefill);
        self.left = next.unwrap_or(0.0);
        let Some(running) = self.jobs.get_mut(&id) else {
            return;
        };
        running.began = Some(self.count);
        let job = running.job;
        did.push(Did::First(id));
        self.cache.remember(&job);
        if job.stop <= 1 {
            self.jobs.remove(&id);
            did.push(Did::Last(id));
        } else {
            self.streams += 1;
            let end = Count(self.count + f64::from(job.stop - 1));
            self.decoding.push(Reverse((end, id)));
        }
    }

    fn admit(&mut self) {
        while self.running() < self.make.slots {
            let Some((id, job)) = self.waiting.pop_front() else {
                return;
            };
            let prefill = self.cache.uncached(&job);
            if self.prefilling.is_empty() {
                self.left = prefill;
            }
            self.prefilling.push_back(id);
            let began = None;
            self.jobs.insert(id, Running { job, prefill, began });
        }
    }

    fn drop_running(&mut self, id: u32) -> Option<Work> {
        let running = self.jobs.remove(&id)?;
        if let Some(began) = running.began {
            self.streams -= 1;
            let tokens = (self.count - began + TOKEN_SLACK).floor() as u32 + 1;
            return Some(Work {
                prefilled: running.prefill,
                // The last one would have ended it.
                tokens: tokens.min(running.job.stop - 1),
            });
        }
        let at = self.prefilling.iter().position(|other| *other == id)?;
        self.prefilling.remove(at);
        if at > 0 {
            return Some(Work::default());
        }
        let prefilled = running.prefill - self.left;
        let next = self.prefilling.front().map(|next| self.jobs[next].prefill);
        self.left = next.unwrap_or(0.0);
        Some(Work { prefilled, tokens: 0 })
    }

    fn advance(&mut self, now_s: f64) {
        let passed = (now_s - self.at_s).max(0.0);
        if self.streams > 0 {
            let tokens = passed * self.decode_rate();
            self.decoded += tokens * f64::from(self.streams);
            self.count += tokens;
        }
        if !self.prefilling.is_empty() {
            let tokens = (passed * self.prefill_rate()).min(self.left);
            self.prefilled += tokens;
            self.left -= tokens;
        }
        self.at_s = self.at_s.max(now_s);
    }

    /// Prompt tokens per second.
    fn prefill_rate(&self) -> f64 {
        let share = if self.streams > 0 { PREFILL_SHARE } else { 1.0 };
        share / (self.make.prefill_s * self.slowed)
    }

    /// Tokens per second of each stream.
    fn decode_rate(&self) -> f64 {
        let share = if self.prefilling.is_empty() { 1.0 } else { DECODE_SHARE };
        share / (self.make.gap_at(f64::from(self.streams)) * self.slowed)
    }
}

#[cfg(test)]
mod tests;
