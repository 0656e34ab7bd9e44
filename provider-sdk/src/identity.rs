//! Who a provider is: an Ed25519 key (RFC 8032), its public half in hex, and the file the secret half lives in.
//! Decides how keys are written, read and used; what is signed is decided beside each signed thing.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// The permission bits of a key file: its owner reads and writes it, nobody else does anything.
const KEY_FILE_MODE: u32 = 0o600;

/// A provider's public key: what names it everywhere. In JSON and in text, 64 lower-case hex characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// Why a text is not a [`PublicKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a public key is 64 hex characters that name a point of the Ed25519 curve")]
pub struct BadPublicKey;

/// A signature that its key did not make over that message, or that is no signature at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032, section 5.1.5.
    ///
    /// # Errors
    /// [`BadPublicKey`] if they are no point of the curve.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadPublicKey> {
        VerifyingKey::from_bytes(&bytes)
            .map(|_| Self(bytes))
            .map_err(|_| BadPublicKey)
    }

    /// The 32 bytes of RFC 8032, section 5.1.5.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks that this key made `signature_hex` (128 lower-case hex characters) over `message`. Strict: a key of small
    /// order, under which one signature fits many messages, is refused.
    ///
    /// # Errors
    /// [`BadSignature`] for anything but a true signature.
    pub fn verify(&self, message: &[u8], signature_hex: &str) -> Result<(), BadSignature> {
        // One spelling per signature: nobody on the way can change what was signed and have it pass.
        if signature_hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BadSignature);
        }
        let mut bytes = [0; 64];
        hex::decode_to_slice(signature_hex, &mut bytes).map_err(|_| BadSignature)?;
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        key.verify_strict(message, &Signature::from_bytes(&bytes))
            .map_err(|_| BadSignature)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        // One spelling per key: an id in upper case would be a second name for the same provider.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(BadPublicKey);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadPublicKey)?;
        Self::from_bytes(bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A provider's secret key. Wiped from memory when dropped; never shown by `Debug`.
#[derive(Clone)]
pub struct ProviderKey(SigningKey);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A new key must not overwrite an old one: the old one's earnings would be lost.
    #[error("key file {path} exists already; a provider that loses its key loses its name and its earnings")]
    Exists {
        /// The file.
        path: String,
    },
    /// Somebody else than the owner may read or write the file.
    #[error("key file {path} is open to others (mode {mode:o}); run: chmod 600 {path}")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file's content is no key.
    #[error("key file {path} does not hold a key: 64 hex characters are expected")]
    NotAKey {
        /// The file.
        path: String,
    },
}

impl ProviderKey {
    /// Makes a new key from the randomness given.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key of a 32-byte seed (RFC 8032's private key). The seed must be secret and random; a simulated fleet uses
    /// fixed ones.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the key a provider stored with [`ProviderKey::store`].
    ///
    /// # Errors
    /// [`KeyFileError`] if the file is missing, readable by others, or holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let name = || path.display().to_string();
        let io_error = |source| KeyFileError::Io { path: name(), source };
        let file = File::open(path).map_err(io_error)?;
        check_owner_only(&file, path)?;
        let mut text = Zeroizing::new(String::with_capacity(128));
        // A key file has 65 bytes; the bound keeps a wrong path (a model file, a device) from being read whole.
        file.take(128).read_to_string(&mut text).map_err(io_error)?;
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), &mut *seed).map_err(|_| KeyFileError::NotAKey { path: name() })?;
        Ok(Self::from_seed(&seed))
    }

    /// Writes the key to a new file only its owner may read, and waits until it is on disk.
    ///
    /// # Errors
    /// [`KeyFileError::Exists`] rather than overwriting anything; [`KeyFileError::Io`] otherwise.
    pub fn store(&self, path: &Path) -> Result<(), KeyFileError> {
        let name = || path.display().to_string();
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(self.0.as_bytes()))));
        let written = create_owner_only(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: name() },
            _ => KeyFileError::Io { path: name(), source },
        })
    }

    /// The public half: the provider's name.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` (Ed25519): 128 hex characters. Callers put a domain line first, so that no signature made for
    /// one purpose serves another.
    pub fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderKey({})", self.public())
    }
}

fn create_owner_only(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, KEY_FILE_MODE);
    options.open(path)
}

fn check_owner_only(file: &File, path: &Path) -> Result<(), KeyFileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let name = || path.display().to_string();
        let metadata = file
            .metadata()
            .map_err(|source| KeyFileError::Io { path: name(), source })?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & !KEY_FILE_MODE != 0 {
            return Err(KeyFileError::Open { path: name(), mode });
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ProviderKey {
        ProviderKey::generate(&mut rand::rng())
    }

    #[test]
    fn a_signature_fits_its_message_and_its_key_only() {
        let (mine, other) = (key(), key());
        let signature = mine.sign(b"one");
        assert_eq!(mine.public().verify(b"one", &signature), Ok(()));
        assert_eq!(mine.public().verify(b"two", &signature), Err(BadSignature));
        assert_eq!(other.public().verify(b"one", &signature), Err(BadSignature));
        assert_eq!(mine.public().verify(b"one", "zz"), Err(BadSignature));
    }

    #[test]
    fn signs_the_first_test_vector_of_rfc_8032() {
        let mut seed = [0; 32];
        hex::decode_to_slice(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            &mut seed,
        )
        .unwrap();
        let key = ProviderKey::from_seed(&seed);
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert_eq!(
            key.sign(b""),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The identity point: without the strict check, one fixed signature would fit every message under it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let weak = PublicKey::from_bytes(identity).unwrap();
        let mut signature = [0; 64];
        signature[0] = 1;
        assert_eq!(weak.verify(b"anything", &hex::encode(signature)), Err(BadSignature));
    }

    #[test]
    fn a_public_key_has_one_spelling() {
        let text = key().public().to_string();
        assert_eq!(text.parse::<PublicKey>().map(|key| key.to_string()), Ok(text.clone()));
        assert_eq!(text.to_uppercase().parse::<PublicKey>(), Err(BadPublicKey));
        assert_eq!(text[2..].parse::<PublicKey>(), Err(BadPublicKey));
        assert_eq!(
            serde_json::to_string(&text.parse::<PublicKey>().unwrap()).unwrap(),
            format!("\"{text}\"")
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = ProviderKey::from_seed(&[7; 32]);
        assert!(!format!("{key:?}").contains(&hex::encode([7; 32])));
    }

    #[test]
    fn a_key_file_comes_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/provider.key");
        let key = key();
        key.store(&path).unwrap();
        assert_eq!(ProviderKey::load(&path).unwrap().public(), key.public());
        assert!(matches!(key.store(&path), Err(KeyFileError::Exists { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provider.key");
        key().store(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            ProviderKey::load(&path),
            Err(KeyFileError::Open { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provider.key");
        create_owner_only(&path).unwrap().write_all(b"not a key\n").unwrap();
        assert!(matches!(ProviderKey::load(&path), Err(KeyFileError::NotAKey { .. })));
        assert!(matches!(
            ProviderKey::load(&folder.path().join("absent")),
            Err(KeyFileError::Io { .. })
        ));
    }
}
