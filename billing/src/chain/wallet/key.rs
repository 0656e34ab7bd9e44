//! The wallet's secret: from 24 words, from a seed, or new. Wiped when dropped, and never printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use rand::CryptoRng;
use sha2::Sha512;
use zeroize::Zeroizing;

use crate::hash::{Hash, parse_hex};

/// The English words of BIP-39, one a line.
pub(super) const WORDS: &str = include_str!("words.txt");
/// Longest secret in a file, in bytes: 24 words of eight letters, and room.
const SECRET_BYTES_MAX: usize = 1_024;
/// Words of a wallet's secret.
pub(super) const WORDS_COUNT: usize = 24;
/// Rounds from the words to the key (TON's own derivation, not BIP-39's).
const ROUNDS: u32 = 100_000;
/// Rounds of the check that the words belong together.
const ROUNDS_CHECK: u32 = ROUNDS / 256;

/// A wallet's signing key.
pub struct WalletKey(SigningKey);

/// Why a secret cannot be used. Never says what the secret is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalletKeyError {
    /// Not 24 words.
    #[error("a wallet's secret is {WORDS_COUNT} words or 64 hex digits; this has {0} words")]
    Count(usize),
    /// A word that is not in the list, by its place.
    #[error("word {0} of the wallet's secret is not one of the 2,048 words")]
    Word(usize),
    /// The file cannot be read.
    #[error("the wallet's secret cannot be read from {0}")]
    File(String),
    /// Others than its owner may read the file.
    #[error("{0} holds a wallet's secret and must be readable by its owner only: chmod 600 it")]
    Exposed(String),
    /// The words are right, and do not belong together.
    #[error("the words of the wallet's secret do not belong together: one is wrong, or they are not in order")]
    Checksum,
}

impl WalletKey {
    /// A new random key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0_u8; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key with this seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads a secret as a file or a variable holds it: 24 words, or a seed of 64 hex digits.
    ///
    /// # Errors
    /// [`WalletKeyError`]
    pub fn parse(secret: &str) -> Result<Self, WalletKeyError> {
        let secret = secret.trim();
        match parse_hex(secret).map(Zeroizing::new) {
            Some(seed) => Ok(Self::from_seed(&seed)),
            None => Self::from_words(secret),
        }
    }

    /// Whether a secret can be one, without the long way from words to the key.
    ///
    /// # Errors
    /// [`WalletKeyError`]
    pub fn check(secret: &str) -> Result<(), WalletKeyError> {
        let secret = secret.trim();
        match parse_hex::<32>(secret).map(Zeroizing::new) {
            Some(_seed) => Ok(()),
            None => entropy_of(secret).map(|_entropy| ()),
        }
    }

    /// Reads the secret in a file that only its owner may read.
    ///
    /// # Errors
    /// [`WalletKeyError`]
    pub fn load(path: &Path) -> Result<Self, WalletKeyError> {
        let unreadable = |error: io::Error| WalletKeyError::File(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(WalletKeyError::Exposed(path.display().to_string()));
        }
        let mut secret = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX));
        let bytes_max = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(bytes_max).read_to_string(&mut secret).map_err(unreadable)?;
        Self::parse(&secret)
    }

    /// The key of 24 words, as wallets show them. Words with a password are not supported.
    fn from_words(words: &str) -> Result<Self, WalletKeyError> {
        let entropy = entropy_of(words)?;
        let seed = derive(&entropy, b"TON default seed", ROUNDS);
        let seed = seed.first_chunk::<32>().ok_or(WalletKeyError::Checksum)?;
        Ok(Self::from_seed(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.0.verifying_key()
    }

    /// Signs what [`super::Unsigned::digest`] says.
    #[must_use]
    pub fn sign(&self, digest: &Hash) -> [u8; 64] {
        self.0.sign(digest.as_bytes()).to_bytes()
    }
}

impl fmt::Debug for WalletKey {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WalletKey(…)")
    }
}

/// What 24 words stand for, if they belong together.
fn entropy_of(words: &str) -> Result<Zeroizing<[u8; 64]>, WalletKeyError> {
    let words = Zeroizing::new(words.to_lowercase());
    let count = words.split_whitespace().count();
    if count != WORDS_COUNT {
        return Err(WalletKeyError::Count(count));
    }
    let mut phrase = Zeroizing::new(String::with_capacity(words.len()));
    for (place, word) in words.split_whitespace().enumerate() {
        if !WORDS.lines().any(|known| known == word) {
            return Err(WalletKeyError::Word(place.saturating_add(1)));
        }
        if place > 0 {
            phrase.push(' ');
        }
        phrase.push_str(word);
    }
    let entropy = entropy(phrase.as_bytes());
    if derive(&entropy, b"TON seed version", ROUNDS_CHECK).first() != Some(&0) {
        return Err(WalletKeyError::Checksum);
    }
    Ok(entropy)
}

fn entropy(phrase: &[u8]) -> Zeroizing<[u8; 64]> {
    let mac = Hmac::<Sha512>::new_from_slice(phrase).expect("HMAC takes a key of any length");
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn derive(entropy: &[u8; 64], salt: &[u8], rounds: u32) -> Zeroizing<[u8; 64]> {
    let mut derived = Zeroizing::new([0; 64]);
    pbkdf2_hmac::<Sha512>(entropy, salt, rounds, derived.as_mut());
    derived
}
