//! Finds the line of a call in an epoch's object without reading the object: records stand in order of call, so a few
//! short reads halve the way there.

use bytes::Bytes;
use serde::Deserialize;

use super::{EpochStore, StoreError};
use crate::id::CallId;
use crate::verify::{Fault, Wrong};

/// A stretch of the object that is read whole rather than halved again, in bytes: some sixty records.
const STRETCH_BYTES: u64 = 64 << 10;
/// What is read to look at one line, in bytes: it finds a whole line behind nearly every place.
const LOOK_BYTES: u64 = 8 << 10;
/// Longest line of a record, in bytes: sixteen providers, each with a signature, take about 20,000.
const LINE_BYTES_MAX: u64 = 128 << 10;

/// What the lines behind the seal are told apart by.
#[derive(Deserialize)]
pub(super) struct Line {
    call: Option<CallId>,
}

impl Line {
    pub(super) fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }

    /// The call of a record; `None` for what a provider has earned and for the seal, which stand before all records.
    pub(super) const fn call(&self) -> Option<CallId> {
        self.call
    }
}

/// One line of an object: where it begins, what it says, where the next one begins.
struct Placed {
    start: u64,
    line: Bytes,
    end: u64,
}

impl EpochStore {
    /// The line of a call's receipt in epoch `number`. `None` if the call is not there.
    pub(super) async fn line_of(&self, number: u64, call: &CallId) -> Result<Option<Bytes>, StoreError> {
        let (mut low, mut high) = (0, self.size(number).await?);
        while high.saturating_sub(low) > STRETCH_BYTES {
            let Some(placed) = self.line_behind(number, low.midpoint(high), high).await? else {
                break;
            };
            match call_in(number, &placed)? {
                Some(found) if found == *call => return Ok(Some(placed.line)),
                Some(found) if found > *call => high = placed.start,
                _ => low = placed.end,
            }
        }
        let stretch = self.bytes(number, low..high).await?;
        let lines = stretch.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            let placed = Placed {
                start: low,
                line: stretch.slice_ref(line),
                end: high,
            };
            if call_in(number, &placed)? == Some(*call) {
                return Ok(Some(placed.line));
            }
        }
        Ok(None)
    }

    /// The first call of epoch `number`. `None` if it has none.
    pub(super) async fn first_call(&self, number: u64) -> Result<Option<CallId>, StoreError> {
        let (mut low, mut high) = (0, self.size(number).await?);
        let mut first = None;
        while high.saturating_sub(low) > STRETCH_BYTES {
            let Some(placed) = self.line_behind(number, low.midpoint(high), high).await? else {
                break;
            };
            match call_in(number, &placed)? {
                Some(found) => (first, high) = (Some(found), placed.start),
                None => low = placed.end,
            }
        }
        let stretch = self.bytes(number, low..high).await?;
        for line in stretch.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            let placed = Placed {
                start: low,
                line: stretch.slice_ref(line),
                end: high,
            };
            if let Some(found) = call_in(number, &placed)? {
                return Ok(Some(found));
            }
        }
        Ok(first)
    }

    /// The first line that begins behind `place` and ends at or before `end`.
    async fn line_behind(&self, number: u64, place: u64, end: u64) -> Result<Option<Placed>, StoreError> {
        let mut length = LOOK_BYTES;
        loop {
            let to = place.saturating_add(length).min(end);
            let bytes = self.bytes(number, place..to).await?;
            let mut feeds = bytes.iter().zip(0_usize..).filter(|(byte, _)| **byte == b'\n');
            if let (Some((_, before)), Some((_, after))) = (feeds.next(), feeds.next()) {
                let first = before.saturating_add(1);
                let at = |offset: usize| place.saturating_add(u64::try_from(offset).unwrap_or(u64::MAX));
                return Ok(Some(Placed {
                    start: at(first),
                    line: bytes.slice(first..after),
                    end: at(after.saturating_add(1)),
                }));
            }
            if to == end || length > LINE_BYTES_MAX {
                return Ok(None);
            }
            length = length.saturating_mul(4);
        }
    }

    async fn size(&self, number: u64) -> Result<u64, StoreError> {
        // One byte tells the size as well.
        Ok(self.get(number, Some(0..1)).await?.meta.size)
    }

    async fn bytes(&self, number: u64, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(self.get(number, Some(range)).await?.bytes().await?)
    }
}

fn call_in(number: u64, placed: &Placed) -> Result<Option<CallId>, Fault> {
    let line = Line::read(&placed.line).map_err(|error| Fault {
        place: format!("epoch {number}, near byte {}", placed.start),
        wrong: Wrong::Form(error.to_string()),
    })?;
    Ok(line.call())
}
