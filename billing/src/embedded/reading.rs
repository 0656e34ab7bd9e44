//! What the embedded ledger looks up on disk: records, the use of days, the audit trail. Each from one snapshot.

use redb::{ReadTransaction, ReadableDatabase};

use super::store::{Store, StoreError, damaged};
use super::tables::{ADMISSIONS, AUDIT, CALLS, PAYOUT_NAMES, PLACES, RECORDS, TRIMMED, USAGE};
use crate::calendar::Day;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::ledger::{AUDIT_READ_MAX, Admission, AuditEntry, Cursor, LedgerError, RECORDS_MAX, Usage, UsageSums};
use crate::record::UsageRecord;

/// The last record that was trimmed.
fn trimmed(txn: &ReadTransaction) -> Result<Option<Cursor>, StoreError> {
    let place = txn.open_table(PLACES)?.get(TRIMMED)?.map(|place| place.value());
    Ok(place.map(|(major, minor)| Cursor { major, minor }))
}

impl Store {
    /// The record of a posted call, unless it was trimmed.
    pub(super) fn record(&self, account: &AccountId, call: &CallId) -> Result<Option<UsageRecord>, LedgerError> {
        let read = || -> Result<_, StoreError> {
            let txn = self.0.begin_read()?;
            let place = txn
                .open_table(CALLS)?
                .get((call.number(), account.as_str()))?
                .map(|place| place.value());
            let Some((major, minor, length, _)) = place else {
                return Ok(None);
            };
            if trimmed(&txn)? >= Some(Cursor { major, minor }) {
                return Ok(None);
            }
            let json = txn.open_table(RECORDS)?.get(major)?;
            Ok(Some(json.and_then(|json| {
                let range = usize::try_from(minor).ok()?..usize::try_from(minor.checked_add(length)?).ok()?;
                serde_json::from_slice(json.value().get(range)?).ok()
            })))
        };
        read()?
            .map(|record| record.ok_or_else(|| damaged("a record")))
            .transpose()
    }

    /// Records that were not trimmed, in order, behind `after`.
    pub(super) fn unsealed(
        &self,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, UsageRecord)>, LedgerError> {
        let max = max.min(RECORDS_MAX);
        let mut records = Vec::new();
        let mut read = || -> Result<bool, StoreError> {
            let txn = self.0.begin_read()?;
            let after = after.max(trimmed(&txn)?);
            let first = after.map_or(0, |after| after.major);
            for row in txn.open_table(RECORDS)?.range(first..)? {
                let (segment, json) = row?;
                if records.len() >= max {
                    break;
                }
                if !read_segment(segment.value(), json.value(), after, max, &mut records) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let is_whole = read()?;
        if is_whole {
            Ok(records)
        } else {
            Err(damaged("a segment of records"))
        }
    }

    /// What an account used from one day to another.
    pub(super) fn usage(&self, account: &AccountId, from: Day, to: Day) -> Result<Vec<Usage>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let txn = self.0.begin_read()?;
            let table = txn.open_table(USAGE)?;
            let (first, end) = (from.number(), to.number().saturating_add(1));
            let range = (account.as_str(), first, "", "")..(account.as_str(), end, "", "");
            let mut rows = Vec::new();
            for row in table.range(range)? {
                let (at, sums) = row?;
                let (_, day, key, model) = at.value();
                rows.push((day, key.to_owned(), model.to_owned(), sums.value()));
            }
            Ok(rows)
        };
        let mut lines = Vec::new();
        for (day, key, model, sums) in read()? {
            lines.push(Usage {
                day: Day::new(day).map_err(|_| damaged("a day"))?,
                key: KeyId::parse(&key).map_err(|_| damaged("a key"))?,
                model,
                sums: UsageSums::from_numbers(sums),
            });
        }
        Ok(lines)
    }

    /// What operators have said of a provider.
    pub(super) fn admission(&self, provider: &ProviderId) -> Result<Option<Admission>, LedgerError> {
        let read = || -> Result<_, StoreError> {
            let table = self.0.begin_read()?.open_table(ADMISSIONS)?;
            let said = table.get(provider.as_str())?;
            Ok(said.map(|said| said.value().to_owned()))
        };
        read()?.as_deref().map(Admission::named).transpose()
    }

    /// Where each of these providers is to be paid.
    pub(super) fn payout_names(&self, providers: &[ProviderId]) -> Result<Vec<Option<String>>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let table = self.0.begin_read()?.open_table(PAYOUT_NAMES)?;
            let mut names = Vec::with_capacity(providers.len());
            for provider in providers {
                names.push(table.get(provider.as_str())?.map(|name| name.value().to_owned()));
            }
            Ok(names)
        };
        Ok(read()?)
    }

    /// All that operators have said of providers.
    pub(super) fn admissions(&self) -> Result<Vec<(ProviderId, Admission)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let table = self.0.begin_read()?.open_table(ADMISSIONS)?;
            let mut rows = Vec::new();
            for row in table.range::<&str>(..)? {
                let (provider, said) = row?;
                rows.push((provider.value().to_owned(), said.value().to_owned()));
            }
            Ok(rows)
        };
        let rows = read()?.into_iter().map(|(provider, said)| {
            let provider = ProviderId::parse(&provider).map_err(|_| damaged("a provider"))?;
            Ok((provider, Admission::named(&said)?))
        });
        rows.collect()
    }

    /// Entries of the audit trail, in order, behind `after`.
    pub(super) fn audit_log(
        &self,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Vec<(Cursor, AuditEntry)>, LedgerError> {
        let read = || -> Result<Vec<_>, StoreError> {
            let table = self.0.begin_read()?.open_table(AUDIT)?;
            let first = after.map_or(0, |after| after.major.saturating_add(1));
            let mut rows = Vec::new();
            for row in table.range(first..)?.take(max.min(AUDIT_READ_MAX)) {
                let (number, json) = row?;
                rows.push((number.value(), json.value().to_owned()));
            }
            Ok(rows)
        };
        let entries = read()?.into_iter().map(|(major, json)| {
            let entry = serde_json::from_slice(&json).map_err(|_| damaged("an audit entry"))?;
            Ok((Cursor { major, minor: 0 }, entry))
        });
        entries.collect()
    }
}

/// Reads a segment's records behind `after`. False if something in it is no record.
fn read_segment(
    major: u64,
    json: &[u8],
    after: Option<Cursor>,
    max: usize,
    records: &mut Vec<(Cursor, UsageRecord)>,
) -> bool {
    // A place inside this segment is where a record begins, so reading starts there.
    let start = after
        .filter(|after| after.major == major)
        .map_or(0, |after| after.minor);
    let Ok(start) = usize::try_from(start) else {
        return true;
    };
    let mut stream = serde_json::Deserializer::from_slice(json.get(start..).unwrap_or_default()).into_iter();
    loop {
        let minor = u64::try_from(start.saturating_add(stream.byte_offset())).unwrap_or(u64::MAX);
        let place = Cursor { major, minor };
        match stream.next() {
            Some(Ok(record)) if records.len() < max => {
                if after.is_none_or(|after| place > after) {
                    records.push((place, record));
                }
            }
            Some(Err(_)) => return false,
            Some(Ok(_)) | None => return true,
        }
    }
}
