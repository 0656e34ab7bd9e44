//! What a provider signs about its part in a call, and whether that fits what the gateway saw.
//!
//! With it an operator cannot invent a call for a provider, nor a provider deny or enlarge one. How the digest travels
//! (a trailer of the answer) is the tunnel's business.

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::hash::{Hash, parse_hex};
use crate::id::{CallId, ProviderId};
use crate::price::Tokens;
use crate::receipt::{BadSignature, verify};

/// What is signed starts with this.
const DOMAIN: &[u8] = b"filature-served-v1\n";

/// A provider's signed digest of what it served.
///
/// Ed25519 by the provider's key over `filature-served-v1`, a line feed, and in canonical JSON (RFC 8785) an object of
/// `call`, `request_hash`, `response_hash` and, where the engine told any, `tokens`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Served {
    /// The body the provider received, hashed with its salt ([`crate::Nonce::salt`], then [`crate::Nonce::request`]).
    pub request_hash: Hash,
    /// The body the provider answered with, hashed with its salt.
    pub response_hash: Hash,
    /// The signature: 128 lowercase hex digits.
    pub signature: String,
    /// The tokens it claims; `None` where its engine told none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
}

/// What the gateway saw of the same part of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The body it sent, hashed with the provider's salt.
    pub request_hash: Hash,
    /// The body it received, hashed with the provider's salt.
    pub response_hash: Hash,
    /// The tokens that the answer claimed.
    pub claimed: Option<Tokens>,
}

/// Why a provider's digest is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ServedError {
    /// The signature is malformed, or the provider's key did not make it.
    #[error("{0}")]
    Signature(#[from] BadSignature),
    /// It received another request than the gateway sent.
    #[error("the provider signed another request than was sent to it")]
    Request,
    /// It answered something else than the gateway received.
    #[error("the provider signed another answer than came from it")]
    Response,
    /// It signed other tokens than it claimed in its answer, or fewer than it is paid for.
    #[error("the provider signed other tokens than it claimed")]
    Tokens,
}

/// The text under the signature; its fields in the order of their names.
#[derive(Serialize)]
struct Digest<'a> {
    call: &'a CallId,
    request_hash: &'a Hash,
    response_hash: &'a Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: &'a Option<Tokens>,
}

impl Served {
    /// The bytes that a provider signs.
    #[must_use]
    pub fn message(call: &CallId, request_hash: &Hash, response_hash: &Hash, tokens: &Option<Tokens>) -> Vec<u8> {
        let mut message = DOMAIN.to_vec();
        let digest = Digest {
            call,
            request_hash,
            response_hash,
            tokens,
        };
        // Texts and integers only: a vector takes them all, and the message of a failure fits no signature.
        if canonical::write(&digest, &mut message).is_err() {
            message.clear();
        }
        message
    }

    /// Whether the provider signed this digest for this call.
    ///
    /// # Errors
    /// [`ServedError::Signature`], also where the provider's id is no public key.
    pub fn verify(&self, call: &CallId, provider: &ProviderId) -> Result<(), ServedError> {
        let message = Self::message(call, &self.request_hash, &self.response_hash, &self.tokens);
        Ok(verify(provider.as_str(), &message, &self.signature)?)
    }

    /// Whether the digest is the provider's and fits what the gateway saw. A digest that does not must not get into a
    /// record.
    ///
    /// # Errors
    /// [`ServedError`] says what does not fit.
    pub fn check(&self, call: &CallId, provider: &ProviderId, seen: &Seen) -> Result<(), ServedError> {
        if self.request_hash != seen.request_hash {
            return Err(ServedError::Request);
        }
        if self.response_hash != seen.response_hash {
            return Err(ServedError::Response);
        }
        if self.tokens != seen.claimed {
            return Err(ServedError::Tokens);
        }
        self.verify(call, provider)
    }

    /// Whether a provider that signed this may be paid for `tokens`: never for more than it says it served.
    #[must_use]
    pub fn covers(&self, tokens: &Tokens) -> bool {
        let covers = |signed: Tokens| tokens.prompt <= signed.prompt && tokens.completion <= signed.completion;
        self.tokens.is_none_or(covers)
    }

    /// Whether the signature has the length and the digits of one.
    pub(crate) fn is_well_formed(&self) -> bool {
        parse_hex::<64>(&self.signature).is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::hash::Nonce;
    use crate::receipt::ReceiptKey;

    /// A provider with a key, and its digest of one call.
    pub(crate) fn example(call: &CallId, tokens: Option<Tokens>) -> (ProviderId, Served) {
        let key = ReceiptKey::generate(&mut StdRng::seed_from_u64(11));
        let provider = ProviderId::parse(&key.public_hex()).expect("an id");
        let salt = Nonce::from_bytes([3; 32]).salt(&provider);
        let (request_hash, response_hash) = (salt.request().finish(), salt.response().finish());
        let message = Served::message(call, &request_hash, &response_hash, &tokens);
        let signature = key.sign_message(&message);
        let served = Served {
            request_hash,
            response_hash,
            tokens,
            signature,
        };
        (provider, served)
    }

    #[test]
    fn a_digest_that_does_not_fit_is_refused() {
        let call = CallId::parse("gen-01HF7YAT000000000000000000").expect("an id");
        let tokens = Tokens {
            prompt: 10,
            completion: 5,
            ..Tokens::default()
        };
        let (provider, served) = example(&call, Some(tokens));
        let seen = Seen {
            request_hash: served.request_hash,
            response_hash: served.response_hash,
            claimed: Some(tokens),
        };
        let check = |seen: Seen, error| assert_eq!(served.check(&call, &provider, &seen), error);
        check(seen, Ok(()));
        let hash = Hash::of(b"something else");
        check(
            Seen {
                request_hash: hash,
                ..seen
            },
            Err(ServedError::Request),
        );
        check(
            Seen {
                response_hash: hash,
                ..seen
            },
            Err(ServedError::Response),
        );
        check(Seen { claimed: None, ..seen }, Err(ServedError::Tokens));

        let wrong = Err(ServedError::Signature(BadSignature::Wrong));
        let other = CallId::parse("gen-01HF7YAT000000000000000001").expect("an id");
        assert_eq!(served.check(&other, &provider, &seen), wrong);
        let stranger = ReceiptKey::generate(&mut StdRng::seed_from_u64(12)).public_hex();
        let stranger = ProviderId::parse(&stranger).expect("an id");
        assert_eq!(served.check(&call, &stranger, &seen), wrong);
        let direct = ProviderId::parse("direct.one").expect("an id");
        assert_eq!(
            served.check(&call, &direct, &seen),
            Err(ServedError::Signature(BadSignature::Key))
        );
    }

    #[test]
    fn nobody_is_paid_for_more_than_it_signed() {
        let call = CallId::parse("gen-01HF7YAT000000000000000000").expect("an id");
        let tokens = |prompt, completion| Tokens {
            prompt,
            completion,
            ..Tokens::default()
        };
        let (_, served) = example(&call, Some(tokens(10, 5)));
        assert!(served.covers(&tokens(10, 5)) && served.covers(&tokens(0, 3)));
        assert!(!served.covers(&tokens(11, 5)) && !served.covers(&tokens(10, 6)));
        assert!(example(&call, None).1.covers(&tokens(11, 6)));
    }

    #[test]
    fn what_is_signed_is_canonical_json() {
        let call = CallId::parse("gen-01HF7YAT000000000000000000").expect("an id");
        let (_, served) = example(&call, None);
        let message = Served::message(&call, &served.request_hash, &served.response_hash, &served.tokens);
        let (request, response) = (served.request_hash, served.response_hash);
        assert_eq!(
            String::from_utf8(message).expect("text"),
            format!(
                "filature-served-v1\n{{\"call\":\"{call}\",\"request_hash\":\"{request}\",\"response_hash\":\"{response}\"}}"
            )
        );
    }
}
