//! SHA-256 as receipts and epochs use it: hashes in lowercase hex, and the nonce that salts what callers say and get.
//!
//! A short prompt could be guessed from its bare hash, so a record holds hashes over a nonce that only the caller gets.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::id::ProviderId;

/// A SHA-256 hash; in JSON and in text 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_parts(&[bytes])
    }

    /// The hash of several pieces as if they stood in one.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut sha = Sha256::new();
        for part in parts {
            sha.update(part);
        }
        Self(sha.finalize().into())
    }

    /// A hash that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lowercase hex digits; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hex(text).map(Self)
    }
}

/// Reads exactly `N` bytes of lowercase hex. One text per value: a digit in upper case would be a second one.
pub(crate) fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let upper = text.bytes().any(|b| b.is_ascii_uppercase());
    (!upper && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

macro_rules! hex_text {
    ($name:ident, $wanted:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::encode(self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex::encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                parse_hex(&text)
                    .map(Self)
                    .ok_or_else(|| de::Error::custom($wanted))
            }
        }
    };
}

hex_text!(Hash, "a hash is 64 lowercase hex digits");
hex_text!(Nonce, "a nonce is 64 lowercase hex digits");

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 32 bytes that make the hashes of one call's texts unguessable. The caller gets it with the receipt; it stands in no
/// record and in no epoch.
///
/// The hash of a request is SHA-256 over `filature-request-v1`, a line feed, the nonce's 32 bytes and the body as sent;
/// the hash of an answer is the same with `filature-response-v1` and the body as received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 32]);

impl Nonce {
    /// A nonce from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of the nonce itself, which a record may hold.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }

    /// Starts the hash of a request.
    #[must_use]
    pub fn request(&self) -> Salted {
        self.start(b"filature-request-v1\n")
    }

    /// Starts the hash of an answer.
    #[must_use]
    pub fn response(&self) -> Salted {
        self.start(b"filature-response-v1\n")
    }

    /// The nonce that `provider` gets, to sign hashes of what passed between it and the gateway: SHA-256 over
    /// `filature-salt-v1`, a line feed, this nonce and the provider's id. It does not tell the caller's nonce.
    #[must_use]
    pub fn salt(&self, provider: &ProviderId) -> Self {
        Self(Hash::of_parts(&[b"filature-salt-v1\n", &self.0, provider.as_str().as_bytes()]).0)
    }

    fn start(self, domain: &[u8]) -> Salted {
        let mut sha = Sha256::new();
        sha.update(domain);
        sha.update(self.0);
        Salted(sha)
    }
}

impl fmt::Debug for Nonce {
    /// The caller's secret is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(…)")
    }
}

/// A salted hash under way: bytes are added as they pass.
#[derive(Clone, Debug)]
pub struct Salted(Sha256);

impl Salted {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of these bytes after what was added.
    #[must_use]
    pub fn all_of(mut self, bytes: &[u8]) -> Hash {
        self.update(bytes);
        self.finish()
    }

    /// The hash of all that was added.
    #[must_use]
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_text() {
        let hash = Hash::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(Hash::parse(text), Some(hash));
        for wrong in [
            &text.to_uppercase(),
            &text[1..],
            &format!("{text}0"),
            &text.replace('b', "g"),
        ] {
            assert_eq!(Hash::parse(wrong), None, "{wrong}");
        }
        assert_eq!(
            serde_json::from_str::<Hash>(&format!("\"{text}\"")).expect("a hash"),
            hash
        );
        assert!(serde_json::from_str::<Hash>(&format!("\"{}\"", text.to_uppercase())).is_err());
    }

    #[test]
    fn what_is_hashed_depends_on_the_nonce_and_the_side_and_not_on_the_pieces() {
        let (one, other) = (Nonce::from_bytes([1; 32]), Nonce::from_bytes([2; 32]));
        let hash = |mut salted: Salted, pieces: &[&str]| {
            pieces.iter().for_each(|piece| salted.update(piece.as_bytes()));
            salted.finish()
        };
        let whole = hash(one.request(), &["hello"]);
        assert_eq!(whole, hash(one.request(), &["hel", "", "lo"]));
        assert_eq!(
            whole,
            Hash::of(&[b"filature-request-v1\n".as_slice(), &[1; 32], b"hello"].concat())
        );
        assert_ne!(whole, hash(one.response(), &["hello"]));
        assert_ne!(whole, hash(other.request(), &["hello"]));
        let provider = |name| ProviderId::parse(name).expect("an id");
        assert_ne!(one.salt(&provider("a")), one.salt(&provider("b")));
        assert_eq!(format!("{one:?}"), "Nonce(…)");
    }
}
