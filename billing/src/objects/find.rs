//! Finds the receipt of a call among the epochs, with its proof.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{EpochStore, StoreError};
use crate::epoch::{Inclusion, Seal};
use crate::id::CallId;
use crate::merkle::{MerkleTree, leaf_hash};
use crate::receipt::Receipt;
use crate::verify::{Fault, TrustedKeys, Wrong, verify_seal};

/// Epochs searched from the first that a call can stand in: it is posted when it ends, and a post may come late.
const EPOCHS_SEARCHED_MAX: u64 = 16;
/// Epochs whose places are remembered, about 100 bytes a receipt.
const EPOCHS_REMEMBERED: usize = 16;

/// The epochs that receipts were asked of lately.
#[derive(Debug, Default)]
pub(super) struct Found(VecDeque<Arc<Places>>);

/// Where the receipts of an epoch stand in its object.
#[derive(Debug)]
struct Places {
    seal: Seal,
    /// The calls, in order.
    calls: Vec<CallId>,
    /// The bytes of each receipt's line, without its line feed.
    lines: Vec<Range<u64>>,
    tree: MerkleTree,
}

impl EpochStore {
    /// The receipt of a call with the proof that it was sealed. `None` if it stands in none of the sixteen epochs from
    /// the one that was open when the call began: it is not sealed yet, or was posted very late.
    ///
    /// # Errors
    /// [`StoreError::Fault`] for a damaged object, [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn find(&self, call: &CallId, keys: &TrustedKeys) -> Result<Option<Receipt>, StoreError> {
        let Some(last) = self.last().await? else {
            return Ok(None);
        };
        let first = self.first_after(call.started_ms(), last, keys).await?;
        let end = first.saturating_add(EPOCHS_SEARCHED_MAX).min(last.saturating_add(1));
        for number in first..end {
            let places = self.places(number, keys).await?;
            if let Ok(at) = places.calls.binary_search(call) {
                return self.receipt_at(number, &places, at).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The first epoch that was closed at or after a time; `last + 1` if none was.
    async fn first_after(&self, time_ms: u64, last: u64, keys: &TrustedKeys) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, last.saturating_add(1));
        while low < high {
            let middle = low.midpoint(high);
            if self.seal(middle, keys).await?.header.to_ms < time_ms {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Only one object is read at a time, however many receipts are asked for.
    async fn places(&self, number: u64, keys: &TrustedKeys) -> Result<Arc<Places>, StoreError> {
        let mut found = self.found.lock().await;
        if let Some(places) = found.0.iter().find(|places| places.seal.header.number == number) {
            return Ok(Arc::clone(places));
        }
        let (object, keys) = (self.object(number).await?, keys.clone());
        let places = tokio::task::spawn_blocking(move || Places::read(&object, number, &keys));
        let places = Arc::new(places.await.map_err(std::io::Error::other)??);
        found.0.push_front(Arc::clone(&places));
        found.0.truncate(EPOCHS_REMEMBERED);
        Ok(places)
    }

    async fn receipt_at(&self, number: u64, places: &Places, at: usize) -> Result<Receipt, StoreError> {
        let place = || format!("epoch {number}, receipt {at}");
        let damaged = |wrong: String| Fault {
            place: place(),
            wrong: Wrong::Form(wrong),
        };
        let range = places.lines.get(at).cloned();
        let line = self.get(number, range).await?.bytes().await?;
        let receipt: Receipt = serde_json::from_slice(&line).map_err(|error| damaged(error.to_string()))?;
        receipt.verify().map_err(|error| damaged(error.to_string()))?;
        Ok(Receipt {
            inclusion: Some(Inclusion {
                epoch: places.seal.clone(),
                index: u64::try_from(at).unwrap_or(u64::MAX),
                path: places.tree.path(at).unwrap_or_default(),
            }),
            ..receipt
        })
    }
}

impl Places {
    fn read(object: &Bytes, number: u64, keys: &TrustedKeys) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        struct Line {
            record: Record,
        }
        #[derive(Deserialize)]
        struct Record {
            call: CallId,
        }
        let damaged = |wrong: &str| Fault {
            place: format!("epoch {number}"),
            wrong: Wrong::Form(wrong.to_owned()),
        };
        let mut lines = object.split(|&b| b == b'\n');
        let seal = Seal::read(lines.next().unwrap_or_default(), number)?;
        verify_seal(&seal, keys)?;
        let before = usize::try_from(seal.header.providers).unwrap_or(usize::MAX);
        let (mut calls, mut ranges, mut leaves) = (Vec::new(), Vec::new(), Vec::new());
        // The last line feed is followed by nothing.
        for line in lines.skip(before).filter(|line| !line.is_empty()) {
            let start = line.as_ptr().addr().saturating_sub(object.as_ptr().addr());
            let end = start.saturating_add(line.len());
            let Line { record } = serde_json::from_slice(line).map_err(|error| damaged(&error.to_string()))?;
            calls.push(record.call);
            ranges.push(u64::try_from(start).unwrap_or(u64::MAX)..u64::try_from(end).unwrap_or(u64::MAX));
            leaves.push(leaf_hash(line));
        }
        let tree = MerkleTree::new(leaves);
        if tree.root() != seal.header.receipts_root || !calls.is_sorted() {
            return Err(damaged("its receipts are not those that were sealed"));
        }
        Ok(Self {
            seal,
            calls,
            lines: ranges,
            tree,
        })
    }
}
