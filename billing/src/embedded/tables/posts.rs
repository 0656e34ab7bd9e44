//! What a post writes, and what trimming its record takes away again.

use std::collections::hash_map::Entry as Row;

use redb::ReadableTable;

use super::{Entered, Place, SEGMENT_BYTES_MAX, TRIMMED, Tables, balance, spending};
use crate::embedded::entry::PostEntry;
use crate::embedded::store::StoreError;
use crate::ledger::{Cursor, LedgerError, OTHER_MODEL, USAGE_ROWS_MAX, UsageSums};
use crate::money::Nano;

/// Segments forgotten in one transaction, so that posts do not wait for the whole of a large trim.
const TRIMMED_AT_ONCE: usize = 256;
/// Calls looked at in one.
const CALLS_AT_ONCE: usize = 4_096;
/// Bits of a call's number below its time.
const CALL_RANDOM_BITS: u32 = 80;

impl Tables<'_> {
    /// Writes a record, unless the call has one. Returns (fresh, charged).
    pub(in crate::embedded) fn post(&mut self, post: &PostEntry) -> Entered<(bool, Nano)> {
        let cost = post.sums.cost;
        let Ok(spent) = self.changed.spent.plus(cost) else {
            return Ok(Err(LedgerError::TooLarge("the sum of all costs")));
        };
        if self.changed.records.len().saturating_add(post.json.len()) > SEGMENT_BYTES_MAX {
            self.end_segment()?;
        }
        let at = (post.call.number(), post.account.as_str());
        let lengths = [self.changed.records.len(), post.json.len()].map(u64::try_from);
        let [Ok(from), Ok(length)] = lengths else {
            return Ok(Err(LedgerError::TooLarge("the record")));
        };
        let place: Place = (self.changed.segment, from, length, cost.get());
        let earlier = self.calls.insert(at, place)?.map(|earlier| earlier.value());
        if let Some(earlier) = earlier {
            // Posted before, which is rare: the first record stands.
            self.calls.insert(at, earlier)?;
            return Ok(Ok((false, Nano::saturating(earlier.3))));
        }
        self.changed.records.extend_from_slice(&post.json);
        self.changed.spent = spent;
        self.add_to_sums(post)?;
        self.add_to_usage(post)?;
        Ok(Ok((true, cost)))
    }

    /// The account, the key and the providers.
    fn add_to_sums(&mut self, post: &PostEntry) -> Result<(), StoreError> {
        let cost = post.sums.cost;
        let balance = balance(&mut self.changed, &self.balances, &post.account)?;
        balance.1 = balance.1.saturating_add(cost.get());
        let key_spent = match self.changed.key_spent.entry(post.key.clone()) {
            Row::Occupied(row) => row.into_mut(),
            Row::Vacant(row) => {
                let stored = self.key_spent.get(post.key.as_str())?;
                row.insert(stored.map(|spent| spent.value()).unwrap_or_default())
            }
        };
        *key_spent = key_spent.saturating_add(cost.get());
        let key_periods = match self.changed.key_periods.entry(post.key.clone()) {
            Row::Occupied(row) => row.into_mut(),
            Row::Vacant(row) => {
                let stored = self.key_periods.get(post.key.as_str())?;
                row.insert(stored.map(|periods| spending(periods.value())).unwrap_or_default())
            }
        };
        key_periods.add(cost, post.now_ms);
        for (provider, part) in &post.parts {
            let sums = match self.changed.earnings.entry(provider.clone()) {
                Row::Occupied(row) => row.into_mut(),
                Row::Vacant(row) => {
                    let stored = self.earnings.get(provider.as_str())?;
                    row.insert(stored.map(|sums| sums.value()).unwrap_or_default())
                }
            };
            *sums = (
                sums.0.saturating_add(part.fee.get()),
                sums.1.saturating_add(part.earned.get()),
            );
        }
        Ok(())
    }

    /// The day's use of the key and the model.
    fn add_to_usage(&mut self, post: &PostEntry) -> Result<(), StoreError> {
        let (account, day) = (post.account.as_str(), post.day.number());
        let mut row = (post.account.clone(), post.day, post.key.clone(), post.model.clone());
        if !self.changed.usage.contains_key(&row) {
            let is_known = |tables: &Self, model: &str| {
                let stored = tables.usage.get((account, day, post.key.as_str(), model))?;
                Ok::<_, StoreError>(stored.map(|sums| UsageSums::from_numbers(sums.value())))
            };
            let mut stored = is_known(self, &post.model)?;
            if stored.is_none() && self.usage_rows(post)? >= USAGE_ROWS_MAX {
                OTHER_MODEL.clone_into(&mut row.3);
                stored = is_known(self, OTHER_MODEL)?;
            }
            self.changed
                .usage
                .entry(row.clone())
                .or_insert(stored.unwrap_or_default());
        }
        let sums = self.changed.usage.entry(row).or_default();
        *sums = sums.plus(&post.sums);
        Ok(())
    }

    /// How many rows of use the account has on that day, on disk and in this transaction.
    fn usage_rows(&self, post: &PostEntry) -> Result<u64, StoreError> {
        let (account, day) = (post.account.as_str(), post.day.number());
        let from = (account, day, "", "");
        let mut count: u64 = 0;
        for row in self.usage.range(from..(account, day.saturating_add(1), "", ""))? {
            row?;
            count = count.saturating_add(1);
        }
        for (owner, at, key, model) in self.changed.usage.keys() {
            let row = (account, day, key.as_str(), model.as_str());
            if *owner == post.account && *at == post.day && self.usage.get(row)?.is_none() {
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }

    /// Forgets records up to a place, and calls that started before a moment and whose records are gone: some of them.
    /// Returns whether there are more.
    pub(in crate::embedded) fn trim(&mut self, up_to: Cursor, forget_before_ms: u64) -> Entered<bool> {
        let Some(last) = self.changed.segment.checked_sub(1) else {
            return Ok(Ok(false));
        };
        let before = self.places.get(TRIMMED)?.map(|place| place.value());
        let trimmed = before.max(Some((up_to.major, up_to.minor).min((last, u64::MAX))));
        let trimmed = trimmed.unwrap_or_default();
        self.places.insert(TRIMMED, trimmed)?;
        // What is left of the segment that was trimmed last may be nothing; it goes with the next trim.
        let whole = self.records.range(..trimmed.0)?.take(TRIMMED_AT_ONCE);
        let whole: Vec<_> = whole
            .map(|row| row.map(|(segment, _)| segment.value()))
            .collect::<Result<_, _>>()?;
        for segment in &whole {
            self.records.remove(segment)?;
        }
        let before = (u128::from(forget_before_ms) << CALL_RANDOM_BITS, "");
        let mut forgotten = Vec::new();
        for row in self.calls.range(..before)?.take(CALLS_AT_ONCE) {
            let (call, place) = row?;
            let (segment, from, ..) = place.value();
            if (segment, from) <= trimmed {
                let (call, account) = call.value();
                forgotten.push((call, account.to_owned()));
            }
        }
        for (call, account) in &forgotten {
            self.calls.remove((*call, account.as_str()))?;
        }
        Ok(Ok(whole.len() == TRIMMED_AT_ONCE || forgotten.len() == CALLS_AT_ONCE))
    }
}
