//! Epochs: records sealed together, each epoch naming the one before. Decides what an epoch's object says, byte for
//! byte; when one is closed is `seal`'s business, whether one is right is `verify`'s, where it is kept `objects`'.
//!
//! An object is lines of canonical JSON (RFC 8785), each ended by a line feed: the seal, then what every provider has
//! earned so far ordered by provider, then the records ordered by call. Lines rather than one document: a record's line
//! is the leaf of the tree as it stands there, the seal can be read without the rest, and a reader needs to hold one
//! line. The seal commits to every other line by count and root, so its hash names the whole object, its signature is
//! under every record, and a chain of seals can be checked without the objects.

mod figures;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::figures::{earnings, earnings_root, next_number, records_tree, sums, totals};
use crate::hash::Hash;
use crate::id::{CallId, ProviderId};
use crate::money::{Nano, Overflow};
use crate::receipt::ReceiptKey;
use crate::record::{RecordError, UsageRecord};

/// What a record's line takes in bytes, more or less.
const LINE_BYTES: usize = 1_024;
/// What is signed starts with this.
const DOMAIN: &[u8] = b"filature-epoch-v2\n";

/// What an epoch is and what it commits to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochHeader {
    /// The form of this epoch: [`EpochHeader::VERSION`].
    pub version: u32,
    /// Which epoch, from 0 without gaps.
    pub number: u64,
    /// The hash of the seal before ([`Seal::hash`]); none in epoch 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// When the epoch before was closed, in Unix milliseconds; in epoch 0 when the first of its calls arrived.
    pub from_ms: u64,
    /// When it was closed, in Unix milliseconds.
    pub to_ms: u64,
    /// The sums over its receipts.
    pub sums: Sums,
    /// The sums over all receipts since epoch 0.
    pub totals: Sums,
    /// The root over its receipts: a leaf is a record's line.
    pub receipts_root: Hash,
    /// How many providers have earned since epoch 0.
    pub providers: u64,
    /// The root over what they have earned: a leaf is [`Earned::leaf`].
    pub earnings_root: Hash,
    /// Per shard of the ledger's stream, up to where its records are sealed.
    pub cursors: Cursors,
}

/// Per shard of the ledger's stream a place in it, as the ledger writes it.
pub type Cursors = BTreeMap<String, String>;

impl EpochHeader {
    /// The form that this program writes.
    pub const VERSION: u32 = 2;
}

/// An epoch's header, signed by the gateway: Ed25519 over `filature-epoch-v2`, a line feed, and the header in canonical
/// JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seal {
    /// What is signed.
    pub header: EpochHeader,
    /// Who signed: an Ed25519 public key, 64 lowercase hex digits.
    pub gateway: String,
    /// The signature: 128 lowercase hex digits.
    pub signature: String,
}

/// Calls and money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sums {
    /// How many calls.
    pub calls: u64,
    /// What callers paid: `fee` and `earned` together.
    pub cost: Nano,
    /// The operator's part.
    pub fee: Nano,
    /// The providers' part.
    pub earned: Nano,
}

/// What one provider has earned since epoch 0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Earned {
    /// Who.
    pub provider: ProviderId,
    /// How much in all, never less than in the epoch before.
    pub earned: Nano,
}

/// The proof that a receipt stands in an epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Inclusion {
    /// The epoch's seal.
    pub epoch: Seal,
    /// The receipt's place among the epoch's receipts, from 0.
    pub index: u64,
    /// Its siblings on the way to the root, from the leaf up (RFC 6962, section 2.1.1).
    pub path: Vec<Hash>,
}

/// An epoch with all that stands in its object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// The first line.
    pub seal: Seal,
    /// What every provider has earned since epoch 0, ordered by provider.
    pub earnings: Vec<Earned>,
    /// The records, ordered by call.
    pub records: Vec<UsageRecord>,
    /// Their lines, each ended by a line feed.
    pub(crate) lines: Vec<u8>,
}

/// What the next epoch goes on from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The seal of the last epoch.
    pub seal: Seal,
    /// Its hash.
    pub hash: Hash,
    /// What every provider has earned up to then.
    pub earnings: BTreeMap<ProviderId, Nano>,
}

/// Why an epoch cannot be closed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EpochError {
    /// A record does not add up.
    #[error("the record of {call} cannot be sealed: {error}")]
    Record {
        /// Of which call.
        call: CallId,
        /// What does not.
        error: RecordError,
    },
    /// Two records of one call.
    #[error("there are two records of {0}")]
    Twice(CallId),
    /// More money than can be counted.
    #[error("the sum of all epochs: {0}")]
    Overflow(#[from] Overflow),
    /// A value that canonical JSON cannot hold.
    #[error("the epoch has no canonical form")]
    NotCanonical,
}

impl Epoch {
    /// Closes the epoch after `previous` over these records, which may come in any order.
    ///
    /// Equal arguments give an equal epoch, down to the bytes of its object.
    ///
    /// # Errors
    /// [`EpochError`]: a record that does not add up, two of one call, or too much money.
    pub fn close(
        previous: Option<&Tip>,
        mut records: Vec<UsageRecord>,
        cursors: Cursors,
        now_ms: u64,
        key: &ReceiptKey,
    ) -> Result<Self, EpochError> {
        records.sort_by_key(|record| record.call);
        if let Some([_, twice]) = records.array_windows().find(|[one, next]| one.call == next.call) {
            return Err(EpochError::Twice(twice.call));
        }
        let first_ms = records.iter().map(|record| record.created_ms).min();
        let lines = lines(&records)?;
        let sums = sums(&records)?;
        let earnings = earnings(previous, &records)?;
        let now_ms = now_ms.min(Nano::MAX.get());
        let from_ms = previous.map_or(first_ms.unwrap_or(now_ms), |tip| tip.seal.header.to_ms);
        let header = EpochHeader {
            version: EpochHeader::VERSION,
            number: next_number(previous).ok_or(Overflow)?,
            previous: previous.map(|tip| tip.hash),
            from_ms,
            // Clocks of two machines may differ: time does not run backwards from epoch to epoch.
            to_ms: now_ms.max(from_ms),
            sums,
            totals: totals(previous, &sums)?,
            receipts_root: records_tree(&lines).root(),
            providers: u64::try_from(earnings.len()).map_err(|_| Overflow)?,
            earnings_root: earnings_root(&earnings),
            cursors,
        };
        let seal = Seal::sign(header, key)?;
        Ok(Self {
            seal,
            earnings,
            records,
            lines,
        })
    }

    /// The object: its lines, each ended by a line feed.
    ///
    /// # Errors
    /// [`EpochError::NotCanonical`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, EpochError> {
        let mut bytes = self.seal.line()?;
        bytes.push(b'\n');
        for earned in &self.earnings {
            bytes.extend(earned.line()?);
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(&self.lines);
        Ok(bytes)
    }

    /// What the next epoch goes on from.
    ///
    /// # Errors
    /// [`EpochError::NotCanonical`].
    pub fn tip(&self) -> Result<Tip, EpochError> {
        let earnings = self.earnings.iter();
        Ok(Tip {
            seal: self.seal.clone(),
            hash: self.seal.hash()?,
            earnings: earnings
                .map(|earned| (earned.provider.clone(), earned.earned))
                .collect(),
        })
    }

    /// The proof that the record of a call stands here. `None` if it does not.
    #[must_use]
    pub fn inclusion(&self, call: &CallId) -> Option<Inclusion> {
        let at = self.records.binary_search_by_key(call, |record| record.call).ok()?;
        Some(Inclusion {
            epoch: self.seal.clone(),
            index: u64::try_from(at).ok()?,
            path: records_tree(&self.lines).path(at)?,
        })
    }
}

/// The lines of records that add up, each ended by a line feed.
fn lines(records: &[UsageRecord]) -> Result<Vec<u8>, EpochError> {
    let mut lines = Vec::with_capacity(records.len().saturating_mul(LINE_BYTES));
    for record in records {
        let call = record.call;
        record.check().map_err(|error| EpochError::Record { call, error })?;
        record
            .write_canonical(&mut lines)
            .map_err(|_| EpochError::NotCanonical)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

impl Seal {
    fn sign(header: EpochHeader, key: &ReceiptKey) -> Result<Self, EpochError> {
        let signature = key.sign_message(&header.message()?);
        Ok(Self {
            header,
            gateway: key.public_hex(),
            signature,
        })
    }

    /// The line of the seal, without its line feed.
    ///
    /// # Errors
    /// [`EpochError::NotCanonical`].
    pub fn line(&self) -> Result<Vec<u8>, EpochError> {
        serde_jcs::to_vec(self).map_err(|_| EpochError::NotCanonical)
    }

    /// The hash of the line: what the next epoch names, and what can be anchored elsewhere.
    ///
    /// # Errors
    /// [`EpochError::NotCanonical`].
    pub fn hash(&self) -> Result<Hash, EpochError> {
        self.line().map(|line| Hash::of(&line))
    }
}

impl EpochHeader {
    /// The bytes under the gateway's signature.
    pub(crate) fn message(&self) -> Result<Vec<u8>, EpochError> {
        let mut message = DOMAIN.to_vec();
        serde_jcs::to_writer(&mut message, self).map_err(|_| EpochError::NotCanonical)?;
        Ok(message)
    }
}

impl Earned {
    /// The leaf that stands for it in the tree of earnings: the amount in nano as 8 bytes, most significant first, then
    /// the provider's id. Binary, so that a contract can build it.
    #[must_use]
    pub fn leaf(&self) -> Vec<u8> {
        [&self.earned.get().to_be_bytes(), self.provider.as_str().as_bytes()].concat()
    }

    pub(crate) fn line(&self) -> Result<Vec<u8>, EpochError> {
        serde_jcs::to_vec(self).map_err(|_| EpochError::NotCanonical)
    }
}

#[cfg(test)]
pub(crate) mod tests;
