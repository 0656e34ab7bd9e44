//! The gateway's signing key: made once, kept in a file, never shown; and the check of a signature in hex.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::hash::{Hash, Nonce, parse_hex};
use crate::id::CallId;

/// Bytes of a key file: 64 hex digits, and room for line ends.
const KEY_FILE_BYTES_MAX: u64 = 80;

/// The gateway's signing key. Wiped from memory when dropped; never printed.
pub struct ReceiptKey(SigningKey);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptKeyError {
    /// The file cannot be read or written.
    #[error("the receipt key file cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The file holds something else.
    #[error("the receipt key file must hold 64 hex digits")]
    Malformed,
    /// Others than its owner may read the file.
    #[error("the receipt key file must be readable by its owner only: chmod 600 it")]
    Exposed,
}

impl ReceiptKey {
    /// A new random key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0_u8; 32]);
        rng.fill_bytes(seed.as_mut());
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the key in `path`; where there is no file, makes a new key and stores it there, readable by its owner only.
    ///
    /// # Errors
    /// [`ReceiptKeyError`] if the file is unusable, malformed, or open to others.
    pub fn load_or_create(path: &Path, rng: &mut impl CryptoRng) -> Result<Self, ReceiptKeyError> {
        match Self::load(path) {
            Err(ReceiptKeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let key = Self::generate(rng);
        match key.store(path) {
            // Another process was faster: its key is the one that counts.
            Err(ReceiptKeyError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            result => result.map(|()| key),
        }
    }

    /// Reads the key in `path`.
    ///
    /// # Errors
    /// [`ReceiptKeyError`] if there is none, or the file is unusable, malformed, or open to others.
    pub fn load(path: &Path) -> Result<Self, ReceiptKeyError> {
        let file = File::open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            return Err(ReceiptKeyError::Exposed);
        }
        let mut text = Zeroizing::new(String::new());
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text)?;
        let mut seed = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(text.trim(), seed.as_mut()).map_err(|_| ReceiptKeyError::Malformed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Writes a file beside `path` and links it into place, so that a reader never finds half a key.
    fn store(&self, path: &Path) -> Result<(), ReceiptKeyError> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let seed = Zeroizing::new(self.0.to_bytes());
        let text = Zeroizing::new(hex::encode(seed.as_ref()));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let linked = written.and_then(|()| std::fs::hard_link(&unfinished, path));
        std::fs::remove_file(&unfinished)?;
        Ok(linked?)
    }

    /// The public key in hex: what receipts are checked against, to be published by the operator.
    #[must_use]
    pub fn public_hex(&self) -> String {
        hex::encode(self.0.verifying_key().as_bytes())
    }

    /// The nonce that salts the hashes of one call's texts. It is computed from the key, so it need not be kept: SHA-256
    /// over `filature-nonce-v1`, a line feed, the secret key's 32 bytes and the call's id, which is always 30 characters.
    #[must_use]
    pub fn nonce(&self, call: &CallId) -> Nonce {
        let seed = Zeroizing::new(self.0.to_bytes());
        let hash = Hash::of_parts(&[b"filature-nonce-v1\n", seed.as_ref(), call.to_string().as_bytes()]);
        Nonce::from_bytes(*hash.as_bytes())
    }

    /// Signs a message that begins with a domain line: 128 hex digits.
    pub(crate) fn sign_message(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptKey({})", self.public_hex())
    }
}

/// Why a signature is worth nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadSignature {
    /// The key is not 64 lowercase hex digits, or no point of the curve.
    #[error("the public key is malformed")]
    Key,
    /// The signature is not 128 lowercase hex digits.
    #[error("the signature is malformed")]
    Malformed,
    /// The key did not sign this.
    #[error("the signature does not belong to this text and key")]
    Wrong,
}

/// Whether the key signed the message (RFC 8032, section 5.1.7; keys and signatures of small order are refused, so that
/// one signature fits one message only).
pub(crate) fn verify(key: &str, message: &[u8], signature: &str) -> Result<(), BadSignature> {
    let key = parse_hex(key).and_then(|key| VerifyingKey::from_bytes(&key).ok());
    let key = key.ok_or(BadSignature::Key)?;
    let signature = parse_hex(signature).ok_or(BadSignature::Malformed)?;
    key.verify_strict(message, &Signature::from_bytes(&signature))
        .map_err(|_| BadSignature::Wrong)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_nonce_belongs_to_one_key_and_one_call() {
        let mut rng = StdRng::seed_from_u64(7);
        let (key, other) = (ReceiptKey::generate(&mut rng), ReceiptKey::generate(&mut rng));
        let (call, next) = (CallId::generate(1, &mut rng), CallId::generate(1, &mut rng));
        assert_eq!(key.nonce(&call), key.nonce(&call));
        assert_ne!(key.nonce(&call), key.nonce(&next));
        assert_ne!(key.nonce(&call), other.nonce(&call));
    }

    #[test]
    fn a_key_file_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("receipt.key");
        let mut rng = StdRng::seed_from_u64(6);
        let key = ReceiptKey::load_or_create(&path, &mut rng).expect("made");
        assert_eq!(
            std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777,
            0o600
        );
        let again = ReceiptKey::load_or_create(&path, &mut rng).expect("read");
        assert_eq!(key.public_hex(), again.public_hex());
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 1);

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("changed");
        assert!(matches!(
            ReceiptKey::load_or_create(&path, &mut rng),
            Err(ReceiptKeyError::Exposed)
        ));
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("changed");
        std::fs::write(&path, "abc").expect("written");
        assert!(matches!(
            ReceiptKey::load_or_create(&path, &mut rng),
            Err(ReceiptKeyError::Malformed)
        ));
    }
}
