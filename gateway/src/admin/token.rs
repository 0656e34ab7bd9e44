//! The credentials of the admin API over HTTP: tokens, of which only the hashes are configured.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use filature_billing::KeyHash;
use rand::CryptoRng;
use rand::distr::{Alphanumeric, SampleString as _};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use crate::config::AdminSettings;

/// What every admin token starts with, so that secret scanners can find leaked ones.
const PREFIX: &str = "fil-admin-";
/// Random characters after the prefix: 62⁴³ is about 2²⁵⁶.
const RANDOM_CHARS: usize = 43;
/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A new random admin token. It is shown once and stored nowhere.
pub fn generate(rng: &mut impl CryptoRng) -> String {
    let mut token = PREFIX.to_owned();
    Alphanumeric.append_string(rng, &mut token, RANDOM_CHARS);
    token
}

/// A token as it is configured: `NAME:SHA-256`. A plain hash is enough, since a token carries 256 random bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Whose it is; what the audit trail names.
    pub name: Arc<str>,
    /// The token's hash.
    pub hash: KeyHash,
}

/// A line is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not NAME:HASH, with 1 to 64 letters, digits, `.`, `_`, `-` and the token's SHA-256 in 64 hexadecimal digits"
)]
pub struct BadAdminToken;

impl AdminToken {
    /// The token `token` of whoever goes by `name`.
    ///
    /// # Errors
    /// [`BadAdminToken`] for a name that is empty, too long, or has other characters.
    pub fn new(name: &str, token: &str) -> Result<Self, BadAdminToken> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return Err(BadAdminToken);
        }
        Ok(Self {
            name: name.into(),
            hash: KeyHash::of(token),
        })
    }
}

impl FromStr for AdminToken {
    type Err = BadAdminToken;

    fn from_str(line: &str) -> Result<Self, BadAdminToken> {
        let (name, hash) = line.trim().split_once(':').ok_or(BadAdminToken)?;
        let hash = KeyHash::try_from(hash.to_owned()).map_err(|_| BadAdminToken)?;
        Ok(Self {
            hash,
            ..Self::new(name, "")?
        })
    }
}

impl fmt::Display for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.hash)
    }
}

/// All tokens that the settings name.
///
/// # Errors
/// When the file of tokens cannot be read, or one of them is none; says which.
pub fn configured(settings: &AdminSettings) -> anyhow::Result<Vec<AdminToken>> {
    let read = |line: &str, place: &dyn fmt::Display| line.parse().with_context(|| place.to_string());
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(&settings.tokens) {
        tokens.push(read(line, &format_args!("admin.tokens: entry {number}"))?);
    }
    let Some(path) = &settings.tokens_file else {
        return Ok(tokens);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read admin.tokens_file {path}"))?;
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if !line.is_empty() && !line.starts_with('#') {
            tokens.push(read(line, &format_args!("{path}: line {number}"))?);
        }
    }
    Ok(tokens)
}

/// Whose token it is that was presented. Takes as long for one that nobody has as for the first and for the last.
#[must_use]
pub fn owner(tokens: &[AdminToken], presented: &str) -> Option<Arc<str>> {
    let presented = KeyHash::of(presented);
    let (mut found, mut at) = (Choice::from(0), 0);
    for (number, token) in (0_u64..).zip(tokens) {
        let same = token.hash.as_bytes().ct_eq(presented.as_bytes());
        at.conditional_assign(&number, same);
        found |= same;
    }
    let at = usize::try_from(at).ok()?;
    bool::from(found).then(|| tokens[at].name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash() {
        let (ada, bob) = (generate(&mut rand::rng()), generate(&mut rand::rng()));
        assert!(ada.starts_with(PREFIX) && ada.len() == 53 && ada != bob);
        let lines = [("ada", &ada), ("bob", &bob)].map(|(name, token)| {
            let line = AdminToken::new(name, token).expect("a name").to_string();
            assert!(!line.contains(&token[PREFIX.len()..]));
            line.parse::<AdminToken>().expect("a token")
        });
        let check = |token: &str, name: Option<&str>| assert_eq!(owner(&lines, token).as_deref(), name, "{token}");
        check(&ada, Some("ada"));
        check(&bob, Some("bob"));
        check("", None);
        check(&ada[1..], None);
        check(&lines[0].hash.to_string(), None);
        assert_eq!(owner(&[], &ada), None);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let hash = KeyHash::of("x").to_string();
        assert!(format!(" a.b_C-9:{hash}\n").parse::<AdminToken>().is_ok());
        for line in [
            "".to_owned(),
            hash.clone(),
            format!(":{hash}"),
            format!("a b:{hash}"),
            format!("cli:root:{hash}"),
            format!("ä:{hash}"),
            format!("{}:{hash}", "a".repeat(65)),
            "ada:fil-admin-secret".to_owned(),
            format!("ada:{hash}0"),
        ] {
            assert_eq!(line.parse::<AdminToken>(), Err(BadAdminToken), "{line}");
        }
    }
}
