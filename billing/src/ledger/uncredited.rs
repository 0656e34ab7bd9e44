//! Transfers that arrived from outside and were credited to nobody, kept so that people can be told.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::ledger::{LedgerError, check_text};

/// Transfers that are kept.
pub(crate) const UNCREDITED_MAX: u64 = 100_000;
/// Those of them that are kept for one account to see.
pub(crate) const UNCREDITED_OF_MAX: usize = 100;
/// Most of them that one question is answered with.
pub(crate) const UNCREDITED_READ_MAX: usize = 1_024;

/// A transfer that was credited to nobody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Uncredited {
    /// Its name: that of the deposit it would have been. At most 256 bytes.
    pub id: String,
    /// When the chain took it, in Unix milliseconds.
    pub at_ms: u64,
    /// Who sent it: an address. At most 256 bytes.
    pub from: String,
    /// How much, in nano and in decimal digits: the chain writes larger amounts than the ledger. At most 256 bytes.
    pub amount: String,
    /// Why.
    pub why: WhyUncredited,
    /// Whom it names, if it names somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// Its comment and what is wrong with it, for people. At most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Why a transfer was credited to nobody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyUncredited {
    /// It has no comment.
    NoComment,
    /// Its comment cannot be read.
    Unreadable,
    /// Its comment names no account.
    Unmatched,
    /// Its comment names an account that is not there.
    UnknownAccount,
    /// It is less than the minimum.
    Dust,
    /// It is more than the ledger can hold.
    TooLarge,
    /// It is a payment of ours that came back.
    Bounced,
    /// It was sent back to where it came from.
    SentBack,
}

impl WhyUncredited {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoComment => "no_comment",
            Self::Unreadable => "unreadable",
            Self::Unmatched => "unmatched",
            Self::UnknownAccount => "unknown_account",
            Self::Dust => "dust",
            Self::TooLarge => "too_large",
            Self::Bounced => "bounced",
            Self::SentBack => "sent_back",
        }
    }
}

impl Uncredited {
    /// The line that is stored. Refuses texts that would bloat the store.
    pub(crate) fn write(&self) -> Result<Vec<u8>, LedgerError> {
        for (text, what) in [
            (&self.id, "the id of a transfer"),
            (&self.from, "the sender of a transfer"),
            (&self.amount, "the amount of a transfer"),
            (&self.detail, "the detail of a transfer"),
        ] {
            check_text(text, what)?;
        }
        serde_json::to_vec(self).map_err(|_| LedgerError::Damaged("the transfer cannot be written".into()))
    }

    /// Reads what [`Uncredited::write`] wrote.
    pub(crate) fn read(json: &[u8]) -> Result<Self, LedgerError> {
        serde_json::from_slice(json).map_err(|_| LedgerError::Damaged("an uncredited transfer cannot be read".into()))
    }
}
