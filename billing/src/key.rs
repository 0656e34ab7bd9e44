//! API keys: the secret a caller shows, its hash that is stored, and what is known of it.
//!
//! The secret is shown once and stored nowhere. Whether a key may spend is the ledger's decision.

use std::fmt;

use rand::CryptoRng;
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::id::{AccountId, BadId, KeyId};
use crate::ledger::{LedgerError, check_text};
use crate::limits::KeyLimits;

/// What every API key starts with, so that secret scanners can find leaked ones.
const PREFIX: &str = "sk-fil-";
/// Random characters after the prefix: 62⁴³ is about 2²⁵⁶.
const RANDOM_CHARS: usize = 43;
/// Characters of the secret that its hint shows.
const HINT_CHARS: usize = 4;

/// A secret API key: `sk-fil-` and 43 letters and digits. Wiped from memory when dropped; never printed by `Debug`.
pub struct ApiKey(String);

impl ApiKey {
    /// A new random key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut text = String::with_capacity(PREFIX.len().saturating_add(RANDOM_CHARS));
        text.push_str(PREFIX);
        Alphanumeric.append_string(rng, &mut text, RANDOM_CHARS);
        Self(text)
    }

    /// The secret itself, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored instead of the secret.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The prefix and the last four characters: `sk-fil-…abcd`.
    #[must_use]
    pub fn hint(&self) -> String {
        let tail = self
            .0
            .get(self.0.len().saturating_sub(HINT_CHARS)..)
            .unwrap_or_default();
        format!("{PREFIX}…{tail}")
    }
}

impl Drop for ApiKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.hint())
    }
}

/// SHA-256 of an API key: what the ledger stores and looks keys up by.
///
/// A plain hash is enough, since the key carries 256 random bits and cannot be guessed from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of whatever a caller shows as a key.
    #[must_use]
    pub fn of(presented: &str) -> Self {
        Self(Sha256::digest(presented).into())
    }

    /// A hash that was stored.
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        hex::encode(hash.0)
    }
}

impl TryFrom<String> for KeyHash {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        let mut hash = [0_u8; 32];
        hex::decode_to_slice(&text, &mut hash).map_err(|_| BadId::new(&text, "64 hex digits"))?;
        Ok(Self(hash))
    }
}

/// What is known of an API key: everything but the secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Which key.
    pub id: KeyId,
    /// Who pays for calls made with it.
    pub account: AccountId,
    /// What its owner calls it.
    pub name: String,
    /// How its owner recognises it: `sk-fil-…abcd`.
    pub hint: String,
    /// When it was made, in Unix milliseconds.
    pub created_ms: u64,
    /// From when on it is refused, in Unix milliseconds; `None` is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// When it was revoked, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
    /// What it may use.
    #[serde(default, skip_serializing_if = "KeyLimits::is_empty")]
    pub limits: KeyLimits,
}

/// What is to be changed of a key; the rest stays. A revoked key can be changed and stays revoked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyChange {
    /// Another name.
    pub name: Option<String>,
    /// Another expiry, in Unix milliseconds; `Some(None)` is none.
    pub expires_ms: Option<Option<u64>>,
    /// Other limits, in place of all it had.
    pub limits: Option<KeyLimits>,
}

impl KeyChange {
    /// Whether a ledger can keep what the key becomes.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_text(self.name.as_deref().unwrap_or_default(), "the name of a key")?;
        self.limits.as_ref().map_or(Ok(()), KeyLimits::check)
    }

    /// Makes the change.
    pub(crate) fn apply(&self, key: &mut KeyRecord) {
        if let Some(name) = &self.name {
            key.name.clone_from(name);
        }
        if let Some(expires_ms) = self.expires_ms {
            key.expires_ms = expires_ms;
        }
        if let Some(limits) = &self.limits {
            key.limits.clone_from(limits);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_key_is_long_random_and_not_printed() {
        let mut rng = StdRng::seed_from_u64(3);
        let (key, other) = (ApiKey::generate(&mut rng), ApiKey::generate(&mut rng));
        assert_eq!(key.expose().len(), 50);
        assert!(key.expose().starts_with("sk-fil-"));
        assert_ne!(key.hash(), other.hash());
        assert_eq!(key.hash(), KeyHash::of(key.expose()));
        assert!(key.expose().ends_with(&key.hint()["sk-fil-…".len()..]));
        assert!(!format!("{key:?}").contains(key.expose()));
    }

    #[test]
    fn a_record_from_before_there_were_limits_reads_and_is_written_as_it_was() {
        let text = r#"{"id":"key_a","account":"acct_a","name":"n","hint":"h","created_ms":1}"#;
        let mut record: KeyRecord = serde_json::from_str(text).expect("a record");
        assert!(record.limits.is_empty());
        assert_eq!(serde_json::to_string(&record).expect("json"), text);
        let limits = r#"{"requests_per_min":5,"budget":{"amount":9,"period":"week"},"models":["a"]}"#;
        record.limits = serde_json::from_str(limits).expect("limits");
        let text = serde_json::to_string(&record).expect("json");
        assert!(text.ends_with(&format!(r#""limits":{limits}}}"#)), "{text}");
        assert_eq!(serde_json::from_str::<KeyRecord>(&text).expect("a record"), record);
    }

    #[test]
    fn a_hash_reads_back() {
        let hash = KeyHash::of("abc");
        let text = serde_json::to_string(&hash).expect("json");
        // The example of FIPS 180-2, appendix B.1.
        assert_eq!(
            text,
            "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""
        );
        assert_eq!(serde_json::from_str::<KeyHash>(&text).expect("hash"), hash);
        assert!(serde_json::from_str::<KeyHash>("\"ba78\"").is_err());
    }
}
