//! Receipts: usage records signed by the gateway, so that nobody has to take the operator's word.
//!
//! Ed25519 (RFC 8032) over `filature-receipt-v1`, a newline, and the record in canonical JSON (RFC 8785). Signing is
//! deterministic, so a receipt may be made when it is asked for rather than on the path of the call.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::record::{RecordError, UsageRecord};

/// What is signed starts with this, so that a signature means nothing anywhere else.
const DOMAIN: &[u8] = b"filature-receipt-v1\n";
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

    fn load(path: &Path) -> Result<Self, ReceiptKeyError> {
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

    /// Signs a record. An equal record gives an equal receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Record`] if the record does not add up.
    pub fn sign(&self, record: UsageRecord) -> Result<Receipt, ReceiptError> {
        let signature = self.0.sign(&message(&record)?);
        Ok(Receipt {
            record,
            gateway: self.public_hex(),
            signature: hex::encode(signature.to_bytes()),
        })
    }
}

impl fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiptKey({})", self.public_hex())
    }
}

/// A usage record and the gateway's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What is signed.
    pub record: UsageRecord,
    /// Who signed: an Ed25519 public key, 64 hex digits.
    pub gateway: String,
    /// The signature: 128 hex digits.
    pub signature: String,
}

/// Why a receipt is worth nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The record does not add up.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Key or signature is not what it should be.
    #[error("{0} of the receipt is malformed")]
    Malformed(&'static str),
    /// The record is not what was signed, or another key signed it.
    #[error("the signature does not belong to this record and key")]
    Signature,
}

impl Receipt {
    /// Whether the key in `gateway` signed exactly this record. Compare `gateway` with the key the operator publishes.
    ///
    /// # Errors
    /// [`ReceiptError`] if anything is amiss.
    pub fn verify(&self) -> Result<(), ReceiptError> {
        let mut key = [0_u8; 32];
        hex::decode_to_slice(&self.gateway, &mut key).map_err(|_| ReceiptError::Malformed("the public key"))?;
        let key = VerifyingKey::from_bytes(&key).map_err(|_| ReceiptError::Malformed("the public key"))?;
        let mut signature = [0_u8; 64];
        hex::decode_to_slice(&self.signature, &mut signature).map_err(|_| ReceiptError::Malformed("the signature"))?;
        key.verify_strict(&message(&self.record)?, &Signature::from_bytes(&signature))
            .map_err(|_| ReceiptError::Signature)
    }
}

fn message(record: &UsageRecord) -> Result<Vec<u8>, ReceiptError> {
    record.check()?;
    let mut message = DOMAIN.to_vec();
    serde_jcs::to_writer(&mut message, record).map_err(|_| ReceiptError::Malformed("the record"))?;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::money::Nano;
    use crate::record::tests::example;

    #[test]
    fn a_receipt_survives_json_and_nothing_else() {
        let key = ReceiptKey::generate(&mut StdRng::seed_from_u64(4));
        let receipt = key.sign(example()).expect("signed");
        assert_eq!(receipt, key.sign(example()).expect("signed"));
        let text = serde_json::to_string(&receipt).expect("json");
        let receipt: Receipt = serde_json::from_str(&text).expect("receipt");
        assert_eq!(receipt.verify(), Ok(()));

        let mut forged = receipt.clone();
        forged.record.ended_ms += 1;
        assert_eq!(forged.verify(), Err(ReceiptError::Signature));
        let mut forged = receipt.clone();
        forged.gateway = ReceiptKey::generate(&mut StdRng::seed_from_u64(5)).public_hex();
        assert_eq!(forged.verify(), Err(ReceiptError::Signature));
        let mut forged = receipt.clone();
        forged.signature.truncate(126);
        assert_eq!(forged.verify(), Err(ReceiptError::Malformed("the signature")));
        let mut forged = receipt;
        forged.record.cost = Nano::ZERO;
        assert_eq!(forged.verify(), Err(ReceiptError::Record(RecordError::Cost)));
    }

    #[test]
    fn what_is_signed_is_canonical_json() {
        let message = String::from_utf8(message(&example()).expect("a message")).expect("text");
        let json = message.strip_prefix("filature-receipt-v1\n").expect("the domain");
        assert!(
            json.starts_with(r#"{"account":"acct_example","billed":{"cached_prompt":2,"completion":5,"#),
            "{json}"
        );
        assert!(!json.contains([' ', '\n']));
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
