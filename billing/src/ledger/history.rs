//! What the ledger remembers: the stream of records for the sealer, the use of days, and what operators did.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::calendar::Day;
use crate::id::{AccountId, KeyId};
use crate::ledger::{LedgerError, check_text};
use crate::money::Nano;
use crate::price::Tokens;
use crate::record::UsageRecord;

/// Most records that one [`Ledger::unsealed`](crate::Ledger::unsealed) returns.
pub(crate) const RECORDS_MAX: usize = 4_096;
/// Most entries that one [`Ledger::audit_log`](crate::Ledger::audit_log) returns.
pub(crate) const AUDIT_READ_MAX: usize = 1_024;
/// Most days that one [`Ledger::usage`](crate::Ledger::usage) covers.
const USAGE_DAYS_MAX: u32 = 400;
/// Most combinations of key and model that are counted apart for one account and day.
pub(crate) const USAGE_ROWS_MAX: u64 = 4_096;
/// The model that further ones are counted as.
pub(crate) const OTHER_MODEL: &str = "other";
/// Largest count of tokens: as with money, what every JSON reader keeps exact.
const TOKENS_MAX: u64 = Nano::MAX.get();
/// Longest detail of an audit entry, in bytes.
const DETAIL_BYTES_MAX: usize = 2_048;

/// A part of the ledger with a stream of records of its own; [`Ledger::shards`](crate::Ledger::shards) lists them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LedgerShard(pub(crate) u8);

impl LedgerShard {
    /// Its number, from 0.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A place in a stream: of a record, or of an entry of the audit trail. As text and in JSON: `12-34`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cursor {
    /// Where: a time or the number of a segment.
    pub(crate) major: u64,
    /// Where inside of it.
    pub(crate) minor: u64,
}

/// A text is not a place in a stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a place in a stream (12-34)")]
pub struct BadCursor(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let numbers = text
            .split_once('-')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers.ok_or_else(|| BadCursor(text.chars().take(50).collect()))?;
        Ok(Self { major, minor })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What a key of an account used of a model on a day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// The day of UTC on which the calls arrived.
    pub day: Day,
    /// Which key.
    pub key: KeyId,
    /// The model the callers asked for; `other` where an account used more than 4,096 combinations on a day.
    pub model: String,
    /// The sums.
    #[serde(flatten)]
    pub sums: UsageSums,
}

/// The sums over some posted calls. Tokens stop at 2⁵³ − 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UsageSums {
    /// How many calls.
    pub calls: u64,
    /// The tokens that were billed.
    #[serde(flatten)]
    pub tokens: Tokens,
    /// What they cost.
    pub cost: Nano,
}

impl UsageSums {
    /// What one record adds.
    #[must_use]
    pub fn of(record: &UsageRecord) -> Self {
        Self {
            calls: 1,
            tokens: record.billed,
            cost: record.cost,
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let tokens = self.tokens.plus(&other.tokens);
        Self {
            calls: self.calls.saturating_add(other.calls).min(TOKENS_MAX),
            tokens: Tokens {
                prompt: tokens.prompt.min(TOKENS_MAX),
                cached_prompt: tokens.cached_prompt.min(TOKENS_MAX),
                completion: tokens.completion.min(TOKENS_MAX),
                reasoning: tokens.reasoning.min(TOKENS_MAX),
            },
            cost: Nano::saturating(self.cost.get().saturating_add(other.cost.get())),
        }
    }

    /// The six numbers that are stored.
    pub(crate) const fn numbers(&self) -> [u64; 6] {
        let Tokens {
            prompt,
            cached_prompt,
            completion,
            reasoning,
        } = self.tokens;
        [
            self.calls,
            prompt,
            cached_prompt,
            completion,
            reasoning,
            self.cost.get(),
        ]
    }

    /// The sums that were stored as six numbers.
    pub(crate) fn from_numbers(numbers: [u64; 6]) -> Self {
        let [calls, prompt, cached_prompt, completion, reasoning, cost] = numbers;
        Self {
            calls,
            tokens: Tokens {
                prompt,
                cached_prompt,
                completion,
                reasoning,
            },
            cost: Nano::saturating(cost),
        }
    }
}

/// Something an operator did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditEntry {
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// Who: the operator's name, or how they came in. At most 256 bytes.
    pub actor: String,
    /// What: a fixed word such as `key.update`. At most 256 bytes.
    pub action: String,
    /// The account, if one was touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// What else was touched: a key, a provider, a deposit. At most 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// The particulars, such as the new limits in JSON; never a secret. At most 2,048 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl AuditEntry {
    /// Refuses entries that would bloat the store.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_text(&self.actor, "the actor of an audit entry")?;
        check_text(&self.action, "the action of an audit entry")?;
        check_text(&self.subject, "the subject of an audit entry")?;
        if self.detail.len() <= DETAIL_BYTES_MAX {
            Ok(())
        } else {
            Err(LedgerError::TooLarge("the detail of an audit entry"))
        }
    }
}

/// The days from `from` to `to`, both included.
pub(crate) fn days(from: Day, to: Day) -> Result<impl Iterator<Item = Day>, LedgerError> {
    let count = to.number().saturating_add(1).saturating_sub(from.number());
    if count > USAGE_DAYS_MAX {
        return Err(LedgerError::TooLarge("the span of days"));
    }
    Ok((0..count).map(move |more| from.plus(more)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_sorts() {
        let cursor = |text: &str| text.parse::<Cursor>();
        let place = cursor("1800000000000-7").expect("a cursor");
        assert_eq!(place.to_string(), "1800000000000-7");
        assert!(cursor("9-9").expect("a cursor") < cursor("10-0").expect("a cursor"));
        for text in ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "18446744073709551616-0"] {
            assert!(cursor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_span_of_days_is_bounded() {
        let day = |number| Day::new(number).expect("a day");
        let count = |from, to| days(day(from), day(to)).map(Iterator::count);
        assert_eq!(count(5, 5), Ok(1));
        assert_eq!(count(5, 4), Ok(0));
        assert_eq!(count(0, 399), Ok(400));
        assert!(count(0, 400).is_err());
        assert!(count(0, 2_932_895).is_err());
    }

    #[test]
    fn sums_stop_where_json_readers_lose_digits() {
        let most = UsageSums::from_numbers([1, u64::MAX, 0, TOKENS_MAX, 1, TOKENS_MAX]);
        let sums = most.plus(&most);
        assert_eq!(sums.numbers(), [2, TOKENS_MAX, 0, TOKENS_MAX, 2, TOKENS_MAX]);
    }

    #[test]
    fn a_line_of_usage_is_flat_json() {
        let line = Usage {
            day: Day::default(),
            key: KeyId::parse("key_a").expect("an id"),
            model: "m".into(),
            sums: UsageSums::from_numbers([1, 2, 3, 4, 5, 6]),
        };
        let text = serde_json::to_string(&line).expect("json");
        assert_eq!(
            text,
            r#"{"day":"1970-01-01","key":"key_a","model":"m","calls":1,"cached_prompt":3,"completion":4,"prompt":2,"reasoning":5,"cost":6}"#
        );
        assert_eq!(serde_json::from_str::<Usage>(&text).expect("a line"), line);
    }
}
