//! Receipts: usage records signed by the gateway, so that nobody has to take the operator's word.
//!
//! Ed25519 (RFC 8032) over `filature-receipt-v2`, a line feed, and the record in canonical JSON (RFC 8785); over
//! `filature-receipt-v1` where the record is of version 1. Signing is deterministic, so a receipt may be made when it is
//! asked for rather than on the path of the call. How a receipt proves that it was sealed is `epoch`'s business.

mod key;

use serde::{Deserialize, Serialize};

pub(crate) use self::key::verify;
pub use self::key::{BadSignature, ReceiptKey, ReceiptKeyError};
use crate::epoch::Inclusion;
use crate::hash::Nonce;
use crate::record::{RecordError, UsageRecord};
use crate::served::ServedError;

/// A usage record and the gateway's signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// What is signed.
    pub record: UsageRecord,
    /// Who signed: an Ed25519 public key, 64 lowercase hex digits.
    pub gateway: String,
    /// The signature: 128 lowercase hex digits.
    pub signature: String,
    /// What salts the record's hashes. Only in the copy that the caller gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Nonce>,
    /// The proof that the record stands in an epoch, once it was sealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Inclusion>,
}

/// Why a receipt is worth nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The record does not add up.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The record cannot be written as canonical JSON.
    #[error("the record has no canonical form")]
    NotCanonical,
    /// Key or signature is malformed, the record is not what was signed, or another key signed it.
    #[error("the gateway's signature of the receipt: {0}")]
    Signature(#[from] BadSignature),
    /// A provider's signature does not fit its part.
    #[error("the provider's signature of leg {leg}: {error}")]
    Served {
        /// Which part, from 0.
        leg: usize,
        /// What does not fit.
        error: ServedError,
    },
}

impl ReceiptKey {
    /// Signs a record. An equal record gives an equal receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Record`] if the record does not add up.
    pub fn sign(&self, record: UsageRecord) -> Result<Receipt, ReceiptError> {
        let signature = self.sign_message(&message(&record)?);
        Ok(Receipt {
            record,
            gateway: self.public_hex(),
            signature,
            nonce: None,
            inclusion: None,
        })
    }
}

impl Receipt {
    /// Whether the key in `gateway` signed exactly this record, which adds up, and every provider whose signature it
    /// holds its part. Compare `gateway` with the key the operator publishes; [`crate::verify_receipt`] looks at the inclusion too.
    ///
    /// # Errors
    /// [`ReceiptError`] if anything is amiss.
    pub fn verify(&self) -> Result<(), ReceiptError> {
        verify(&self.gateway, &message(&self.record)?, &self.signature)?;
        verify_served(&self.record)
    }

    /// Whether `body` is the request that the receipt is of. `None` if the receipt has no nonce or no hash of it.
    #[must_use]
    pub fn is_of_request(&self, body: &[u8]) -> Option<bool> {
        let salted = self.nonce?.request();
        self.record.request_hash.map(|hash| hash == salted.all_of(body))
    }

    /// Whether `body` is the answer that the receipt is of. `None` if the receipt has no nonce or no hash of it.
    #[must_use]
    pub fn is_of_response(&self, body: &[u8]) -> Option<bool> {
        let salted = self.nonce?.response();
        self.record.response_hash.map(|hash| hash == salted.all_of(body))
    }

    /// The line that stands for this receipt in an epoch, without its line feed, and the leaf of the epoch's tree: the
    /// record in canonical JSON.
    ///
    /// # Errors
    /// [`ReceiptError::NotCanonical`].
    pub fn line(&self) -> Result<Vec<u8>, ReceiptError> {
        let mut line = Vec::new();
        let written = self.record.write_canonical(&mut line);
        written.map(|()| line).map_err(|_| ReceiptError::NotCanonical)
    }
}

/// Whether a record adds up, and every provider whose signature it holds signed its part: what makes a record worth its
/// place in an epoch, where the seal's signature stands for the gateway's.
pub(crate) fn verify_record(record: &UsageRecord) -> Result<(), ReceiptError> {
    record.check()?;
    verify_served(record)
}

fn verify_served(record: &UsageRecord) -> Result<(), ReceiptError> {
    for (leg, part) in record.legs.iter().enumerate() {
        let Some(served) = &part.served else { continue };
        let fits = served.verify(&record.call, &part.provider);
        let covered = || served.covers(&part.tokens).then_some(()).ok_or(ServedError::Tokens);
        fits.and_then(|()| covered())
            .map_err(|error| ReceiptError::Served { leg, error })?;
    }
    Ok(())
}

/// The bytes under the gateway's signature.
fn message(record: &UsageRecord) -> Result<Vec<u8>, ReceiptError> {
    record.check()?;
    // The domain, so that a signature means nothing anywhere else. `check` knows no other versions.
    let mut message = if record.version == 1 {
        b"filature-receipt-v1\n".to_vec()
    } else {
        b"filature-receipt-v2\n".to_vec()
    };
    let written = record.write_canonical(&mut message);
    written.map(|()| message).map_err(|_| ReceiptError::NotCanonical)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::hash::Hash;
    use crate::money::Nano;
    use crate::price::Tokens;
    use crate::record::tests::example;
    use crate::served;

    fn key(seed: u64) -> ReceiptKey {
        ReceiptKey::generate(&mut StdRng::seed_from_u64(seed))
    }

    #[test]
    fn a_receipt_survives_json_and_nothing_else() {
        let key = key(4);
        let receipt = key.sign(example()).expect("signed");
        assert_eq!(receipt, key.sign(example()).expect("signed"));
        let text = serde_json::to_string(&receipt).expect("json");
        let receipt: Receipt = serde_json::from_str(&text).expect("receipt");
        assert_eq!(receipt.verify(), Ok(()));

        let check = |change: &dyn Fn(&mut Receipt), error| {
            let mut forged = receipt.clone();
            change(&mut forged);
            assert_eq!(forged.verify(), Err(error));
        };
        check(&|r| r.record.ended_ms += 1, BadSignature::Wrong.into());
        check(
            &|r| r.gateway = super::tests::key(5).public_hex(),
            BadSignature::Wrong.into(),
        );
        check(&|r| r.gateway = r.gateway.to_uppercase(), BadSignature::Key.into());
        check(&|r| r.signature.truncate(126), BadSignature::Malformed.into());
        check(
            &|r| r.signature = r.signature.to_uppercase(),
            BadSignature::Malformed.into(),
        );
        check(&|r| r.record.cost = Nano::ZERO, RecordError::Cost.into());
        check(
            &|r| r.record.request_hash = Some(Hash::of(b"")),
            BadSignature::Wrong.into(),
        );
        check(&|r| r.record.version = 1, BadSignature::Wrong.into());
    }

    #[test]
    fn what_is_signed_is_canonical_json() {
        let message = String::from_utf8(message(&example()).expect("a message")).expect("text");
        let json = message.strip_prefix("filature-receipt-v2\n").expect("the domain");
        assert!(
            json.starts_with(r#"{"account":"acct_example","billed":{"cached_prompt":4,"completion":10,"#),
            "{json}"
        );
        assert!(!json.contains([' ', '\n']));
    }

    /// A receipt as the first release gave it out, byte for byte.
    const FIRST_FORM: &str = include_str!("receipt/v1.json");

    #[test]
    fn a_receipt_of_the_first_form_still_verifies() {
        let receipt: Receipt = serde_json::from_str(FIRST_FORM).expect("a receipt");
        assert_eq!(receipt.record.version, 1);
        assert_eq!(receipt.verify(), Ok(()));
        let mut forged = receipt;
        forged.record.response_hash = Some(Hash::of(b""));
        assert!(matches!(
            forged.verify(),
            Err(ReceiptError::Record(RecordError::Newer(1, _)))
        ));
    }

    #[test]
    fn a_providers_signature_that_does_not_fit_makes_the_receipt_worthless() {
        let mut record = example();
        let (provider, signed) = served::tests::example(&record.call, record.claimed);
        record.legs[1].provider = provider;
        record.legs[1].served = Some(signed);
        assert_eq!(key(4).sign(record.clone()).expect("signed").verify(), Ok(()));

        let check = |change: &dyn Fn(&mut UsageRecord), wanted: ServedError| {
            let mut record = record.clone();
            change(&mut record);
            let receipt = key(4).sign(record).expect("signed");
            let error = ReceiptError::Served { leg: 1, error: wanted };
            assert_eq!(receipt.verify(), Err(error));
        };
        let wrong = ServedError::Signature(BadSignature::Wrong);
        check(
            &|r| r.call = "gen-01HF7YAT000000000000000001".parse().expect("an id"),
            wrong,
        );
        check(&|r| served_of(r).response_hash = Hash::of(b""), wrong);
        check(&|r| served_of(r).tokens = Some(Tokens::default()), wrong);
        check(&|r| r.legs[1].tokens.completion = 6, ServedError::Tokens);
    }

    fn served_of(record: &mut UsageRecord) -> &mut served::Served {
        record.legs[1].served.as_mut().expect("a digest")
    }
}
