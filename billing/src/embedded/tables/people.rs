//! What operators write: accounts, keys, what they say of providers, and the audit trail; and where providers are paid.

use redb::{ReadableTable, ReadableTableMetadata};

use super::{Entered, PAYOUT_NAMES, Tables};
use crate::embedded::store::damaged;
use crate::id::{AccountId, KeyId, ProviderId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{ADMISSIONS_MAX, Admission, LedgerError, PAYOUT_NAMES_MAX};

impl Tables<'_> {
    /// Writes an account, unless it exists. Returns whether it was new.
    pub(in crate::embedded) fn account(&mut self, id: &AccountId, name: &str, created_ms: u64) -> Entered<bool> {
        if self.accounts.get(id.as_str())?.is_some() {
            return Ok(Ok(false));
        }
        self.accounts.insert(id.as_str(), (name, created_ms))?;
        Ok(Ok(true))
    }

    /// Writes a key, unless it exists. Returns whether it was new.
    pub(in crate::embedded) fn key(&mut self, record: &KeyRecord, hash: &KeyHash) -> Entered<bool> {
        if self.accounts.get(record.account.as_str())?.is_none() {
            return Ok(Err(LedgerError::UnknownAccount(record.account.clone())));
        }
        let id = record.id.as_str();
        let owner = self.hashes.get(*hash.as_bytes())?.map(|key| key.value().to_owned());
        if owner.as_deref() == Some(id) {
            return Ok(Ok(false));
        }
        if owner.is_some() || self.keys.get(id)?.is_some() {
            return Ok(Err(LedgerError::Conflict(format!("key {id}"))));
        }
        let Ok(json) = serde_json::to_vec(record) else {
            return Ok(Err(damaged("the key")));
        };
        self.keys.insert(id, (json.as_slice(), *hash.as_bytes()))?;
        self.hashes.insert(*hash.as_bytes(), id)?;
        Ok(Ok(true))
    }

    /// Writes when a key was revoked, unless it was. Returns whether this was new.
    pub(in crate::embedded) fn revoke(&mut self, key: &KeyId, revoked_ms: u64) -> Entered<bool> {
        self.change_key(key, |record| record.revoked_ms = record.revoked_ms.or(Some(revoked_ms)))
    }

    /// Writes what is to be changed of a key. Returns whether anything was.
    pub(in crate::embedded) fn update_key(&mut self, key: &KeyId, change: &KeyChange) -> Entered<bool> {
        self.change_key(key, |record| change.apply(record))
    }

    fn change_key(&mut self, key: &KeyId, change: impl FnOnce(&mut KeyRecord)) -> Entered<bool> {
        let stored = self
            .keys
            .get(key.as_str())?
            .map(|row| (row.value().0.to_owned(), row.value().1));
        let Some((json, hash)) = stored else {
            return Ok(Ok(false));
        };
        let Ok(before) = serde_json::from_slice::<KeyRecord>(&json) else {
            return Ok(Err(damaged("a key")));
        };
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(Ok(false));
        }
        let Ok(json) = serde_json::to_vec(&after) else {
            return Ok(Err(damaged("the key")));
        };
        self.keys.insert(key.as_str(), (json.as_slice(), hash))?;
        Ok(Ok(true))
    }

    /// Appends to the audit trail, and lets the oldest entry go where there are too many.
    pub(in crate::embedded) fn audit(&mut self, json: &[u8], entries_max: u64) -> Entered<bool> {
        let first = self.audit.first()?.map(|(number, _)| number.value());
        let next = self
            .audit
            .last()?
            .map_or(0, |(number, _)| number.value().saturating_add(1));
        self.audit.insert(next, json)?;
        if let Some(first) = first.filter(|first| next.saturating_sub(*first) >= entries_max) {
            // One too many where the maximum stayed as it was; two while a smaller one is being reached.
            for number in [first, first.saturating_add(1)] {
                if next.saturating_sub(number) >= entries_max {
                    self.audit.remove(number)?;
                }
            }
        }
        Ok(Ok(true))
    }

    /// Writes what operators say of a provider, or forgets it.
    pub(in crate::embedded) fn admit(&mut self, provider: &ProviderId, admission: Option<Admission>) -> Entered<bool> {
        let Some(admission) = admission else {
            return Ok(Ok(self.admissions.remove(provider.as_str())?.is_some()));
        };
        let is_known = self.admissions.get(provider.as_str())?.is_some();
        if !is_known && self.admissions.len()? >= ADMISSIONS_MAX {
            return Ok(Err(LedgerError::TooLarge("the list of providers")));
        }
        self.admissions.insert(provider.as_str(), admission.as_str())?;
        Ok(Ok(true))
    }

    /// Writes where a provider is to be paid, if `from` stands there. Returns whether `to` does now.
    pub(in crate::embedded) fn name_payout(
        &mut self,
        provider: &ProviderId,
        from: Option<&str>,
        to: &str,
    ) -> Entered<bool> {
        let mut names = self.txn.open_table(PAYOUT_NAMES)?;
        let known = names.get(provider.as_str())?.map(|known| known.value().to_owned());
        if known.as_deref() == Some(to) {
            return Ok(Ok(true));
        }
        if known.as_deref() != from {
            return Ok(Ok(false));
        }
        if known.is_none() && names.len()? >= PAYOUT_NAMES_MAX {
            return Ok(Err(LedgerError::TooLarge("the list of where providers are paid")));
        }
        names.insert(provider.as_str(), to)?;
        Ok(Ok(true))
    }
}
