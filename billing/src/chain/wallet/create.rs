//! New wallets: 24 words in a file that only its owner may read.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::{CryptoRng, RngExt};
use zeroize::Zeroizing;

use super::key::{WORDS, WORDS_COUNT, WalletKey, WalletKeyError};

impl WalletKey {
    /// Makes a new key and writes its 24 words into a new file, which only its owner may read. Any wallet program takes them.
    ///
    /// # Errors
    /// If there is such a file already ([`io::ErrorKind::AlreadyExists`]), which stays as it is, or it cannot be written.
    pub fn create(path: &Path, rng: &mut impl CryptoRng) -> io::Result<Self> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let (key, words) = generate_words(rng).map_err(io::Error::other)?;
        let written = file.write_all(words.as_bytes()).and_then(|()| file.write_all(b"\n"));
        written.and_then(|()| file.sync_all())?;
        Ok(key)
    }
}

/// Random words, until they belong together: one in 256 does.
fn generate_words(rng: &mut impl CryptoRng) -> Result<(WalletKey, Zeroizing<String>), WalletKeyError> {
    let list: Vec<_> = WORDS.lines().collect();
    loop {
        let drawn: Vec<_> = (0..WORDS_COUNT)
            .filter_map(|_| list.get(rng.random_range(0..list.len())).copied())
            .collect();
        let words = Zeroizing::new(drawn.join(" "));
        match WalletKey::parse(&words) {
            Ok(key) => return Ok((key, words)),
            Err(WalletKeyError::Checksum) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_key_is_read_back_from_its_words_and_never_written_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("wallet.words");
        let key = WalletKey::create(&path, &mut rand::rng()).expect("made");
        assert_eq!(WalletKey::load(&path).expect("read").public(), key.public());
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let words = std::fs::read_to_string(&path).expect("text");
        assert_eq!(words.split_whitespace().count(), 24);
        let again = WalletKey::create(&path, &mut rand::rng()).expect_err("there is one");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("text"), words);
    }
}
