//! Verification, for whoever does not trust the operator: of receipts, of epochs, of the chain. Needs bytes and public
//! keys, nothing else; every figure is derived again, and an error says what is wrong and where.

mod chain;
mod epoch;

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::chain::{Chain, SealPath, verify_seals};
pub use self::epoch::verify_epoch;
use crate::epoch::{EpochHeader, Seal};
use crate::merkle::{leaf_hash, root_from_path};
use crate::money::Nano;
use crate::price::Tokens;
use crate::receipt::{BadSignature, Receipt, ReceiptError, verify};
use crate::record::UsageRecord;

/// Largest receipt file, in bytes. A receipt with its proof takes about four thousand.
const RECEIPT_BYTES_MAX: usize = 1 << 20;

/// What is wrong with a receipt, an epoch or the chain, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {wrong}")]
pub struct Fault {
    /// Where, for people: `epoch 3, line 7`.
    pub place: String,
    /// What.
    pub wrong: Wrong,
}

/// What can be wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Wrong {
    /// Not the JSON it should be, too large, or cut off.
    #[error("{0}")]
    Form(String),
    /// A receipt that is worth nothing by itself.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The seal's signature is malformed or not that of its gateway.
    #[error("the gateway's signature of the epoch: {0}")]
    Signature(#[from] BadSignature),
    /// Signed by a key that was not named as the operator's.
    #[error("signed by {0}, which is not a key of this operator")]
    Stranger(String),
    /// A figure is not what is derived from the rest.
    #[error("{what} is said to be {stated}, and is {derived}")]
    Figure {
        /// Which figure.
        what: &'static str,
        /// What is said.
        stated: String,
        /// What it is.
        derived: String,
    },
}

/// The public keys an operator publishes: today's and those before. Without any, every key is taken, and who signed is
/// for the reader to compare.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedKeys(Vec<String>);

impl TrustedKeys {
    /// These keys, 64 lowercase hex digits each. None: any key.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        Self(keys.into_iter().collect())
    }

    /// These keys and one more.
    #[must_use]
    pub fn and(mut self, key: String) -> Self {
        self.0.push(key);
        self
    }

    /// Whether any key is taken.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    fn check(&self, key: &str) -> Result<(), Wrong> {
        if self.0.is_empty() || self.0.iter().any(|trusted| trusted == key) {
            return Ok(());
        }
        Err(Wrong::Stranger(key.chars().take(80).collect()))
    }
}

/// Verifies a receipt as a caller keeps it: the gateway's signature, that the record adds up, the providers'
/// signatures, the nonce, and, where it holds a proof, that it stands in an epoch which the gateway signed.
///
/// That the epoch is part of the one chain is shown by [`Chain::follow`] over the seals up to it: the seal there
/// must equal the one here.
///
/// # Errors
/// [`Fault`] says what is wrong.
pub fn verify_receipt(file: &[u8], keys: &TrustedKeys) -> Result<Receipt, Fault> {
    let at = |wrong| fault("the receipt", wrong);
    if file.len() > RECEIPT_BYTES_MAX {
        return Err(at(Wrong::Form("it is too large to be a receipt".into())));
    }
    let receipt: Receipt = exactly(file).map_err(at)?;
    keys.check(&receipt.gateway).map_err(at)?;
    receipt.verify().map_err(|error| at(error.into()))?;
    verify_figures(&receipt.record).map_err(at)?;
    let nonce_hash = receipt.nonce.map(|nonce| nonce.hash());
    if nonce_hash.is_some() {
        same("the nonce's hash", receipt.record.nonce_hash, nonce_hash).map_err(at)?;
    }
    verify_inclusion(&receipt, keys)?;
    Ok(receipt)
}

/// Derives a record's figures from its tokens, prices and basis points. That they add up was checked by
/// [`UsageRecord::check`]; records of version 1 were not held to more.
fn verify_figures(record: &UsageRecord) -> Result<(), Wrong> {
    if record.version == 1 {
        return Ok(());
    }
    let tokens = record
        .legs
        .iter()
        .fold(Tokens::default(), |sum, leg| sum.plus(&leg.tokens));
    same("what was billed", record.billed, tokens)?;
    for leg in &record.legs {
        let priced = leg.price.cost(&leg.tokens).unwrap_or(Nano::MAX);
        // A cost above the quote was cut to it: the call then costs exactly its quote.
        if leg.cost > priced || record.cost != record.quote {
            same("the cost of a leg", leg.cost, priced)?;
        }
        same("the fee of a leg", leg.fee, record.fee_bps.split(leg.cost).0)?;
    }
    Ok(())
}

/// Whether the proof in a receipt leads to the root that its epoch's seal names.
fn verify_inclusion(receipt: &Receipt, keys: &TrustedKeys) -> Result<(), Fault> {
    let Some(inclusion) = &receipt.inclusion else {
        return Ok(());
    };
    let seal = &inclusion.epoch;
    verify_seal(seal, keys)?;
    let at = |wrong| fault("the proof of inclusion", wrong);
    if keys.is_any() {
        // An operator may have had another key when it sealed: whoever knows its keys names them.
        same("the key of the epoch", &seal.gateway, &receipt.gateway).map_err(at)?;
    }
    let line = receipt.line().map_err(|error| at(error.into()))?;
    let header = &seal.header;
    let root = root_from_path(leaf_hash(&line), inclusion.index, header.sums.calls, &inclusion.path);
    let Some(root) = root else {
        let wrong = format!(
            "a path of {} steps from place {} fits no epoch of {} receipts",
            inclusion.path.len(),
            inclusion.index,
            header.sums.calls
        );
        return Err(at(Wrong::Form(wrong)));
    };
    same("the root of the receipts", header.receipts_root, root).map_err(at)
}

/// Verifies a seal by itself: its form, its signature, its figures among themselves.
///
/// # Errors
/// [`Fault`] says what is wrong.
pub fn verify_seal(seal: &Seal, keys: &TrustedKeys) -> Result<(), Fault> {
    let header = &seal.header;
    let at = |wrong| fault(format!("the seal of epoch {}", header.number), wrong);
    same("the version", header.version, EpochHeader::VERSION).map_err(at)?;
    keys.check(&seal.gateway).map_err(at)?;
    let message = header.message().map_err(|error| at(Wrong::Form(error.to_string())))?;
    verify(&seal.gateway, &message, &seal.signature).map_err(|error| at(error.into()))?;
    for (what, sums) in [("the cost", &header.sums), ("the cost in all", &header.totals)] {
        same(what, Ok(sums.cost), sums.fee.plus(sums.earned)).map_err(at)?;
    }
    if header.from_ms > header.to_ms {
        return Err(at(Wrong::Form("it ends before it begins".into())));
    }
    if (header.number == 0) != header.previous.is_none() {
        let wrong = "every epoch but the first names the one before".into();
        return Err(at(Wrong::Form(wrong)));
    }
    Ok(())
}

impl Seal {
    /// Reads the seal of epoch `number` from an object's first line.
    pub(crate) fn read(line: &[u8], number: u64) -> Result<Self, Fault> {
        let at = |wrong| fault(format!("epoch {number}, line 1"), wrong);
        let seal: Self = canonical(line, |seal: &Self| seal.line().ok()).map_err(at)?;
        same("the number", seal.header.number, number).map_err(at)?;
        Ok(seal)
    }
}

/// Reads JSON that says nothing but what `T` says: no unknown field, nothing twice, no other way to write a value.
fn exactly<T: DeserializeOwned + Serialize>(text: &[u8]) -> Result<T, Wrong> {
    let form = |error: serde_json::Error| Wrong::Form(error.to_string());
    let value: T = serde_json::from_slice(text).map_err(form)?;
    let stated: Value = serde_json::from_slice(text).map_err(form)?;
    if serde_json::to_value(&value).map_err(form)? == stated {
        return Ok(value);
    }
    Err(Wrong::Form("it says something that does not belong there".into()))
}

/// Reads a line that is the canonical text of what it says.
fn canonical<T: DeserializeOwned>(line: &[u8], text: impl FnOnce(&T) -> Option<Vec<u8>>) -> Result<T, Wrong> {
    let value: T = serde_json::from_slice(line).map_err(|error| Wrong::Form(error.to_string()))?;
    if text(&value).as_deref() == Some(line) {
        return Ok(value);
    }
    Err(Wrong::Form("it is not the canonical text of what it says".into()))
}

fn same<T: PartialEq + fmt::Debug>(what: &'static str, stated: T, derived: T) -> Result<(), Wrong> {
    if stated == derived {
        return Ok(());
    }
    let (stated, derived) = (format!("{stated:?}"), format!("{derived:?}"));
    Err(Wrong::Figure { what, stated, derived })
}

fn fault(place: impl Into<String>, wrong: Wrong) -> Fault {
    Fault {
        place: place.into(),
        wrong,
    }
}

#[cfg(test)]
mod tests;
