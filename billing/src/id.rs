//! Typed identifiers: who pays, with which key, for which call, served by whom.
//!
//! Randomness and time are arguments, so a test can repeat them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::{CryptoRng, RngExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Crockford's base 32: digits and letters without I, L, O, U, so that an identifier survives being read aloud.
pub(crate) const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Digits of a call's 128 bits in base 32.
const CALL_DIGITS: usize = 26;
/// What every call id starts with.
const CALL_PREFIX: &str = "gen-";
/// Random characters of a generated account or key id: 100 bits.
pub(crate) const RANDOM_CHARS: usize = 20;
/// Longest identifier, prefix included, in bytes.
const ID_BYTES_MAX: usize = 128;

/// A text is not an identifier of the wanted kind.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct BadId {
    text: String,
    wanted: &'static str,
}

impl BadId {
    pub(crate) fn new(text: &str, wanted: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            wanted,
        }
    }
}

/// Letters, digits and the marks that are safe in a URL, a file name and a Redis key.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads an identifier: its prefix, then 1 or more of letters, digits, `_`, `-` and `.`, 128 bytes in all.
            ///
            /// # Errors
            /// [`BadId`] for anything else.
            pub fn parse(text: &str) -> Result<Self, BadId> {
                match text.strip_prefix($prefix) {
                    Some(rest) if !rest.is_empty() && text.len() <= ID_BYTES_MAX && is_plain(rest) => Ok(Self(text.into())),
                    _ => Err(BadId::new(text, $wanted)),
                }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }
    };
}

text_id! {
    /// Who pays: `acct_…`.
    AccountId, "acct_", "an account id (acct_…)"
}
text_id! {
    /// One API key of an account: `key_…`. Says which key, and is no secret.
    KeyId, "key_", "a key id (key_…)"
}
text_id! {
    /// Who served: the provider's public key in hex, or whatever name the fleet gives it.
    ProviderId, "", "a provider id"
}

impl AccountId {
    /// A new random identifier.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(format!("acct_{}", random_chars(rng)).into())
    }
}

impl KeyId {
    /// A new random identifier.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(format!("key_{}", random_chars(rng)).into())
    }
}

fn random_chars(rng: &mut impl CryptoRng) -> String {
    let mut digit = || char::from(CROCKFORD[rng.random_range(0..CROCKFORD.len())].to_ascii_lowercase());
    (0..RANDOM_CHARS).map(|_| digit()).collect()
}

/// One call: `gen-` and 26 characters of Crockford's base 32, ordered by time.
///
/// The upper 48 bits are milliseconds since the Unix epoch and the lower 80 are random, as in a ULID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u128);

impl CallId {
    /// A new identifier for a call that starts at `now_ms` (Unix milliseconds).
    pub fn generate(now_ms: u64, rng: &mut impl CryptoRng) -> Self {
        let random = rng.random::<u128>() >> 48;
        Self((u128::from(now_ms) << 80) | random)
    }

    /// Reads `gen-` and 26 characters.
    ///
    /// # Errors
    /// [`BadId`] for anything else.
    pub fn parse(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::new(text, "a call id (gen-…)");
        let digits = text.strip_prefix(CALL_PREFIX).ok_or_else(bad)?.as_bytes();
        // 26 digits carry 130 bits; the first may only hold the upper three of 128.
        if digits.len() != CALL_DIGITS || digits[0] > b'7' {
            return Err(bad());
        }
        let digit = |&b: &u8| {
            CROCKFORD
                .iter()
                .position(|&c| c == b)
                .and_then(|at| u128::try_from(at).ok())
        };
        let number = digits
            .iter()
            .try_fold(0_u128, |sum, b| digit(b).map(|digit| (sum << 5) | digit));
        number.map(Self).ok_or_else(bad)
    }

    /// When the call started, in Unix milliseconds.
    #[must_use]
    pub fn started_ms(self) -> u64 {
        u64::try_from(self.0 >> 80).unwrap_or_default()
    }

    /// The identifier as a number that sorts by time.
    pub(crate) const fn number(self) -> u128 {
        self.0
    }
}

impl FromStr for CallId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        Self::parse(text)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0_u8; CALL_PREFIX.len() + CALL_DIGITS];
        text[..CALL_PREFIX.len()].copy_from_slice(CALL_PREFIX.as_bytes());
        let mut rest = self.0;
        for place in text[CALL_PREFIX.len()..].iter_mut().rev() {
            *place = CROCKFORD[usize::try_from(rest & 31).unwrap_or_default()];
            rest >>= 5;
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CallId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_call_id_reads_back_and_sorts_by_time() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut before = CallId::generate(0, &mut rng);
        for now_ms in [1, 2, 1_700_000_000_000, (1 << 48) - 1] {
            let call = CallId::generate(now_ms, &mut rng);
            assert_eq!(CallId::parse(&call.to_string()), Ok(call));
            assert_eq!(call.started_ms(), now_ms);
            assert!(call > before && call.to_string() > before.to_string());
            before = call;
        }
        assert_eq!(CallId(u128::MAX).to_string(), "gen-7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in [
            "",
            "gen-",
            "gen-8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "gen-7ZZZZZZZZZZZZZZZZZZZZZZZZU",
            "gen-7zzzzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(CallId::parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "acct_",
            "key_x",
            "acct_a b",
            "acct_a}",
            "acct_ä",
            &format!("acct_{}", "a".repeat(124)),
        ] {
            assert!(AccountId::parse(text).is_err(), "{text}");
        }
        assert!(ProviderId::parse("").is_err());
        assert!(KeyId::parse("key_ci.runner-7").is_ok());
    }

    #[test]
    fn generated_ids_parse() {
        let mut rng = StdRng::seed_from_u64(2);
        let account = AccountId::generate(&mut rng);
        assert_eq!(AccountId::parse(account.as_str()), Ok(account));
        let key = KeyId::generate(&mut rng);
        assert_eq!(
            serde_json::from_str::<KeyId>(&serde_json::to_string(&key).expect("json")).expect("key"),
            key
        );
    }
}
