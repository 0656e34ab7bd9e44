//! Finds the record of a call among the epochs. Which of them it may stand in follows from its time; what was learnt
//! of them is kept, since a sealed epoch never changes.

use std::collections::BTreeMap;

use super::lines::Line;
use super::{EpochStore, StoreError};
use crate::epoch::Inclusion;
use crate::id::CallId;
use crate::receipt::verify_record;
use crate::record::UsageRecord;
use crate::verify::{Fault, TrustedKeys, Wrong};

/// How far the clocks of two gateways may differ, in milliseconds.
const CLOCKS_DIFFER_MS: u64 = 60_000;
/// How long a call may last and still be looked for in every epoch of its time, in milliseconds.
const CALL_MS_MAX: u64 = 3_600_000;
/// Epochs beyond that, where a call may stand whose post came late.
const LATE_EPOCHS: u64 = 16;
/// Epochs looked at for one call at most. One that may hold it costs some ten short reads; one that cannot costs one when
/// it is looked at first, and none later.
const EPOCHS_SEARCHED_MAX: u64 = 256;
/// Epochs that are remembered, some 64 bytes each.
const EPOCHS_KNOWN_MAX: usize = 100_000;

/// What is known of the chain.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The last epoch, or one before it.
    last: Option<u64>,
    /// Where in time epochs stand.
    spans: BTreeMap<u64, Span>,
}

/// Where in time an epoch stands.
#[derive(Debug, Clone, Copy)]
struct Span {
    from_ms: u64,
    to_ms: u64,
    /// Its first call, once that is known: no earlier one is in it, since receipts stand in order.
    first: Option<CallId>,
}

/// How a search went.
enum Searched {
    Found(u64, Box<UsageRecord>),
    /// It stands in no epoch so far; it may in this one.
    NotBefore(u64),
    /// It stands in none, and will not.
    Nowhere,
}

impl Known {
    /// Epoch `number` is there.
    pub(super) fn saw(&mut self, number: u64) {
        self.last = self.last.max(Some(number));
    }

    fn keep(&mut self, number: u64, span: Span) {
        if self.spans.len() >= EPOCHS_KNOWN_MAX && !self.spans.contains_key(&number) {
            // The oldest are asked for least.
            self.spans.pop_first();
        }
        self.spans.insert(number, span);
    }
}

impl EpochStore {
    /// The record of a call with the proof that it was sealed; see [`EpochStore::locate`].
    ///
    /// # Errors
    /// [`StoreError::Fault`] for a damaged object, [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn find(
        &self,
        call: &CallId,
        keys: &TrustedKeys,
        now_ms: u64,
    ) -> Result<Option<(UsageRecord, Inclusion)>, StoreError> {
        let Some((number, record)) = self.locate(call, keys, now_ms).await? else {
            return Ok(None);
        };
        let inclusion = self.prove(number, &record, keys).await?;
        Ok(Some((record, inclusion)))
    }

    /// The record of a call as it stands in its epoch, and the epoch's number. It is looked for in the epochs of the
    /// hour after the call began, and in sixteen more. `None` if it stands in none of them: it is not sealed yet, it was
    /// posted very late, or there was no such call.
    ///
    /// Costs some ten short reads for every epoch that may hold the call: one or two of them, as calls are sealed soon. The
    /// others are told by their first call. Nothing is read for a call that is to begin after `now_ms`, or, once the
    /// epochs are known, before the first of them.
    ///
    /// # Errors
    /// [`StoreError::Fault`] for a damaged object, [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn locate(
        &self,
        call: &CallId,
        keys: &TrustedKeys,
        now_ms: u64,
    ) -> Result<Option<(u64, UsageRecord)>, StoreError> {
        if call.started_ms() > now_ms.saturating_add(CLOCKS_DIFFER_MS) {
            return Ok(None);
        }
        let remembered = self.known.lock().last;
        let mut next = 0;
        for last in [remembered, None] {
            let last = match last {
                Some(last) => last,
                // The store is only asked for its end if what is known of it does not settle the matter.
                None => match self.last().await? {
                    Some(last) if last >= next => last,
                    _ => return Ok(None),
                },
            };
            match self.search(call, next, last, keys).await? {
                Searched::Found(number, record) => return Ok(Some((number, *record))),
                Searched::Nowhere => return Ok(None),
                Searched::NotBefore(number) => next = number,
            }
        }
        Ok(None)
    }

    /// Searches the epochs from `next` to `last`.
    async fn search(&self, call: &CallId, next: u64, last: u64, keys: &TrustedKeys) -> Result<Searched, StoreError> {
        let began_ms = call.started_ms();
        let first = self
            .first_after(began_ms.saturating_sub(CLOCKS_DIFFER_MS), last, keys)
            .await?;
        let ended_ms = began_ms.saturating_add(CALL_MS_MAX);
        let mut late = 0_u64;
        for number in first..first.saturating_add(EPOCHS_SEARCHED_MAX) {
            if number > last {
                return Ok(Searched::NotBefore(number));
            }
            let span = self.span(number, keys).await?;
            if span.from_ms > ended_ms {
                late = late.saturating_add(1);
            }
            if late > LATE_EPOCHS {
                break;
            }
            if number < next || self.begins_after(number, span, call).await? {
                continue;
            }
            if let Some(line) = self.line_of(number, call).await? {
                return Ok(Searched::Found(number, Box::new(record_in(number, &line)?)));
            }
        }
        Ok(Searched::Nowhere)
    }

    /// The first epoch that was closed at or after a time; `last + 1` if none was.
    async fn first_after(&self, time_ms: u64, last: u64, keys: &TrustedKeys) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, last.saturating_add(1));
        while low < high {
            let middle = low.midpoint(high);
            if self.span(middle, keys).await?.to_ms < time_ms {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    async fn span(&self, number: u64, keys: &TrustedKeys) -> Result<Span, StoreError> {
        if let Some(span) = self.known.lock().spans.get(&number) {
            return Ok(*span);
        }
        let (seal, head) = self.head(number, keys).await?;
        let span = Span {
            from_ms: seal.header.from_ms,
            to_ms: seal.header.to_ms,
            first: first_call_in(&head, seal.header.providers),
        };
        self.known.lock().keep(number, span);
        Ok(span)
    }

    /// Whether all calls of an epoch began after this one. What many providers have earned pushes the first receipt out
    /// of the object's head; it is then looked for once.
    async fn begins_after(&self, number: u64, span: Span, call: &CallId) -> Result<bool, StoreError> {
        let first = match span.first {
            Some(first) => Some(first),
            None => self.first_call(number).await?,
        };
        self.known.lock().keep(number, Span { first, ..span });
        Ok(first.is_some_and(|first| first > *call))
    }
}

/// The first call, if its line is whole in the head of an object: behind the seal and what so many providers have earned.
fn first_call_in(head: &[u8], providers: u64) -> Option<CallId> {
    let before = usize::try_from(providers).ok()?.checked_add(1)?;
    let mut lines = head.split_inclusive(|&b| b == b'\n').skip(before);
    let line = lines.next()?.strip_suffix(b"\n")?;
    Line::read(line).ok()?.call()
}

fn record_in(number: u64, line: &[u8]) -> Result<UsageRecord, Fault> {
    let damaged = |wrong: String| Fault {
        place: format!("epoch {number}"),
        wrong: Wrong::Form(wrong),
    };
    let record: UsageRecord = serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
    verify_record(&record).map_err(|error| damaged(error.to_string()))?;
    Ok(record)
}
