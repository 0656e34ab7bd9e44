//! Books: entries in canonical JSON (RFC 8785), each naming the one before by its hash.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::objects::{Created, Journal, StoreError};

/// The form that this program writes.
const VERSION: u32 = 1;

/// One entry of the books.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry<W> {
    /// The form of this entry: [`Entry::VERSION`].
    pub version: u32,
    /// Which entry, from 0 without gaps.
    pub number: u64,
    /// The hash of the entry before; none in entry 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// The number of the entry that began this round: its own, if that is this one.
    pub round: u64,
    /// The chain's time, in Unix seconds.
    pub time: u32,
    /// What it says.
    pub what: W,
}

impl<W: Serialize> Entry<W> {
    /// The form that this program writes.
    pub const VERSION: u32 = VERSION;

    /// The entry's bytes.
    ///
    /// # Errors
    /// None that an entry could cause: all its numbers are exact in JSON but for logical times, which are not above 2⁵³ for
    /// a century to come.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_jcs::to_vec(self)
    }
}

/// An entry that cannot follow the ones before.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {number} of the books cannot be right: {wrong}")]
pub struct BadEntry {
    /// Which.
    pub number: u64,
    /// What is wrong.
    pub wrong: String,
}

/// Why books cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BooksError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bad(#[from] BadEntry),
    #[error("the entry cannot be written: {0}")]
    Form(String),
}

/// Where books end: the next entry's number, and the last one's hash.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chained {
    pub(crate) next: u64,
    pub(crate) tip: Option<Hash>,
}

impl Chained {
    /// The entry that would be next. `round` is `None` if it begins one.
    pub(crate) fn entry<W>(&self, what: W, round: Option<u64>, time: u32) -> Entry<W> {
        Entry {
            version: VERSION,
            number: self.next,
            previous: self.tip,
            round: round.unwrap_or(self.next),
            time,
            what,
        }
    }

    /// Whether an entry is the next, by its form, number and the hash it names.
    pub(crate) fn check<W>(&self, entry: &Entry<W>) -> Result<(), &'static str> {
        if entry.version != VERSION {
            Err("its form is unknown")
        } else if entry.number != self.next {
            Err("it has another number")
        } else if entry.previous != self.tip {
            Err("it does not follow the entry before")
        } else {
            Ok(())
        }
    }

    /// Goes on behind an entry with this hash.
    pub(crate) const fn go_on(&mut self, hash: Hash) {
        self.next = self.next.saturating_add(1);
        self.tip = Some(hash);
    }

    /// That the next entry is wrong.
    pub(crate) fn bad(&self, wrong: impl Into<String>) -> BadEntry {
        BadEntry {
            number: self.next,
            wrong: wrong.into(),
        }
    }
}

/// An entry and its hash. `None` if there is none of this number.
pub(crate) async fn read_entry<W: DeserializeOwned>(
    journal: &Journal,
    number: u64,
) -> Result<Option<(Entry<W>, Hash)>, BooksError> {
    let Some(bytes) = journal.read(number).await? else {
        return Ok(None);
    };
    let entry = serde_json::from_slice(&bytes).map_err(|error| BadEntry {
        number,
        wrong: error.to_string(),
    })?;
    Ok(Some((entry, Hash::of(&bytes))))
}

/// Writes an entry down, durably, if `follows` says that it may follow: what cannot could never be taken back. False if
/// somebody else has written one of this number first; then nothing was changed.
pub(crate) async fn write_entry<W: Serialize>(
    journal: &Journal,
    entry: Entry<W>,
    follows: impl FnOnce(Entry<W>, Hash) -> Result<(), BadEntry>,
) -> Result<bool, BooksError> {
    let number = entry.number;
    let bytes = entry.to_bytes().map_err(|error| BooksError::Form(error.to_string()))?;
    follows(entry, Hash::of(&bytes))?;
    Ok(journal.create(number, bytes).await? == Created::Now)
}
