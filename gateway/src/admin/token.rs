//! The credentials of the admin API over HTTP: tokens, of which only the hashes are configured.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use filature_billing::KeyHash;
use rand::CryptoRng;
use rand::distr::{Alphanumeric, SampleString as _};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tokio::sync::Mutex;

use crate::config::AdminSettings;

/// What every admin token starts with, so that secret scanners can find leaked ones.
const PREFIX: &str = "fil-admin-";
/// Random characters after the prefix: 62⁴³ is about 2²⁵⁶.
const RANDOM_CHARS: usize = 43;
/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How long what the file of tokens says is taken for granted.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How long its file system may take.
const READ_MAX: Duration = Duration::from_secs(5);
/// As much of it is read: some ten thousand tokens.
const FILE_BYTES_MAX: u64 = 1 << 20;

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

/// Who may use the admin API: the tokens in the settings, and those that the file of tokens names at the time.
#[derive(Debug)]
pub struct Tokens {
    settings: Vec<AdminToken>,
    file: Option<PathBuf>,
    read: Mutex<Read>,
}

/// What the file said last.
#[derive(Debug)]
struct Read {
    tokens: Arc<[AdminToken]>,
    at: Instant,
    /// What was wrong with it, so that it is told once.
    wrong: Option<String>,
}

impl Tokens {
    /// All tokens that the settings name.
    ///
    /// # Errors
    /// When the file of tokens cannot be read, or one of them is none; says which.
    pub fn configured(settings: &AdminSettings) -> anyhow::Result<Self> {
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(&settings.tokens) {
            let token = line.parse::<AdminToken>();
            tokens.push(token.with_context(|| format!("admin.tokens: entry {number}"))?);
        }
        let file = settings.tokens_file.as_ref().map(PathBuf::from);
        let (of_file, wrong) = file.as_deref().map(read).unwrap_or_default();
        if let Some(wrong) = wrong {
            anyhow::bail!(wrong);
        }
        Ok(Self {
            settings: tokens,
            file,
            read: Mutex::new(Read {
                tokens: of_file.into(),
                at: Instant::now(),
                wrong: None,
            }),
        })
    }

    /// Whose token it is that was presented. The file is read again if that was longer ago than a second, so that a token
    /// that was taken out of it is good for no longer, and neither is any of a file that cannot be read.
    pub async fn owner(&self, presented: &str) -> Option<Arc<str>> {
        let of_file = self.of_file().await;
        // Both are always looked at, so that nothing is told by the time it takes.
        let found = [owner(&self.settings, presented), owner(&of_file, presented)];
        found.into_iter().flatten().next()
    }

    async fn of_file(&self) -> Arc<[AdminToken]> {
        // Whoever comes while it is read waits for what it says.
        let mut last = self.read.lock().await;
        let Some(file) = self.file.clone().filter(|_| last.at.elapsed() >= GOOD_FOR) else {
            return last.tokens.clone();
        };
        let reading = tokio::task::spawn_blocking(move || read(&file));
        let (tokens, wrong) = match tokio::time::timeout(READ_MAX, reading).await {
            Ok(Ok(read)) => read,
            _ => (Vec::new(), Some("admin.tokens_file cannot be read in time".to_owned())),
        };
        if let Some(wrong) = wrong.as_ref().filter(|wrong| last.wrong.as_ref() != Some(wrong)) {
            tracing::error!(wrong, "some admin tokens are not good any more");
        }
        *last = Read {
            tokens: tokens.into(),
            at: Instant::now(),
            wrong,
        };
        last.tokens.clone()
    }
}

/// The tokens in a file, and what is wrong with it, if anything: a line that is no token is left out.
fn read(path: &Path) -> (Vec<AdminToken>, Option<String>) {
    let mut text = String::new();
    let opened = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    if let Err(error) = opened {
        let wrong = format!("cannot read admin.tokens_file {}: {error}", path.display());
        return (Vec::new(), Some(wrong));
    }
    let (mut tokens, mut wrong) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(token) => tokens.push(token),
            Err(BadAdminToken) => {
                wrong.get_or_insert_with(|| format!("{}: line {number}: {BadAdminToken}", path.display()));
            }
        }
    }
    (tokens, wrong)
}

/// Whose token it is of these. Takes as long for one that nobody has as for the first and for the last.
fn owner(tokens: &[AdminToken], presented: &str) -> Option<Arc<str>> {
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

    #[tokio::test]
    async fn what_is_wrong_with_the_file_is_told_at_the_start_and_lets_nobody_in_later() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("tokens");
        let token = generate(&mut rand::rng());
        let line = AdminToken::new("ada", &token).expect("a name").to_string();
        let settings = AdminSettings {
            tokens_file: Some(file.display().to_string()),
            ..AdminSettings::default()
        };
        let error = Tokens::configured(&settings).expect_err("there is none").to_string();
        assert!(error.contains("cannot read admin.tokens_file"), "{error}");
        std::fs::write(&file, format!("# ada\n{line}\nbob\n")).expect("written");
        let error = Tokens::configured(&settings).expect_err("bob has none").to_string();
        assert!(error.contains("line 3") && error.contains("NAME:HASH"), "{error}");
        std::fs::write(&file, &line).expect("written");
        let tokens = Tokens::configured(&settings).expect("tokens");
        assert_eq!(tokens.owner(&token).await.as_deref(), Some("ada"));

        // What is in the file a second later counts, as far as it can be read.
        let later = async || tokens.read.lock().await.at -= GOOD_FOR;
        std::fs::write(&file, format!("bob\n{line}")).expect("written");
        later().await;
        assert_eq!(tokens.owner(&token).await.as_deref(), Some("ada"));
        assert!(tokens.read.lock().await.wrong.is_some());
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(tokens.owner(&token).await.as_deref(), Some("ada"), "for a second");
        later().await;
        assert_eq!(tokens.owner(&token).await, None);
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
