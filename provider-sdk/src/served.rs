//! What an agent signs about each call it served, so that its operator can prove it and cannot deny it. Decides the form;
//! hashing what passes is the agent's, and believing it the gateway's.
//!
//! The gateway sends a salt with a call ([`crate::tunnel::SALT_HEADER`]). After the last byte of the answer the agent sends
//! a [`Served`] as JSON in the trailer [`crate::tunnel::SERVED_TRAILER`]. A hash is SHA-256 over a domain line
//! (`filature-request-v1`, or `filature-response-v1` for the answer), the salt's 32 bytes, and the body as it crossed the
//! tunnel. Signed is `filature-served-v1`, a line feed, and in canonical JSON (RFC 8785) an object of `call`,
//! `request_hash`, `response_hash` and, where the engine told any, `tokens`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::identity::ProviderKey;

/// What the agent sends: hashes in lower-case hex, the tokens its engine claimed, and its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The body it received.
    pub request_hash: String,
    /// The body it answered with.
    pub response_hash: String,
    /// What its engine says it used; `None` where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// 128 hex characters.
    pub signature: String,
}

/// Tokens as an engine claims them; 0 where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All prompt tokens.
    pub prompt: u64,
    /// Those of them that the engine had cached.
    pub cached_prompt: u64,
    /// All completion tokens.
    pub completion: u64,
    /// Those of them that are reasoning.
    pub reasoning: u64,
}

/// A hash under way.
#[derive(Debug, Clone)]
pub struct Salted(Sha256);

impl Salted {
    /// Starts the hash of a request.
    #[must_use]
    pub fn request(salt: &[u8; 32]) -> Self {
        Self::start(b"filature-request-v1\n", salt)
    }

    /// Starts the hash of an answer.
    #[must_use]
    pub fn response(salt: &[u8; 32]) -> Self {
        Self::start(b"filature-response-v1\n", salt)
    }

    fn start(domain: &[u8], salt: &[u8; 32]) -> Self {
        Self(Sha256::new().chain_update(domain).chain_update(salt))
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was added, in hex.
    #[must_use]
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

impl Served {
    /// Signs what was served of `call`.
    #[must_use]
    pub fn sign(key: &ProviderKey, call: &str, request: Salted, response: Salted, tokens: Option<Tokens>) -> Self {
        let (request_hash, response_hash) = (request.finish(), response.finish());
        let signature = key.sign(&message(call, &request_hash, &response_hash, tokens));
        Self {
            request_hash,
            response_hash,
            tokens,
            signature,
        }
    }
}

fn message(call: &str, request_hash: &str, response_hash: &str, tokens: Option<Tokens>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Digest<'a> {
        call: &'a str,
        request_hash: &'a str,
        response_hash: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tokens: Option<Tokens>,
    }
    let mut message = b"filature-served-v1\n".to_vec();
    let digest = Digest {
        call,
        request_hash,
        response_hash,
        tokens,
    };
    // Texts and integers only: a vector takes them all, and the message of a failure fits no call.
    if serde_jcs::to_writer(&mut message, &digest).is_err() {
        message.clear();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_canonical_json_behind_a_domain_line() {
        let key = ProviderKey::generate(&mut rand::rng());
        let mut request = Salted::request(&[7; 32]);
        request.update(b"hel");
        request.update(b"lo");
        let tokens = Tokens {
            prompt: 3,
            completion: 2,
            ..Tokens::default()
        };
        let served = Served::sign(&key, "gen-1", request, Salted::response(&[7; 32]), Some(tokens));
        let whole = [b"filature-request-v1\n".as_slice(), &[7; 32], b"hello"].concat();
        assert_eq!(served.request_hash, hex::encode(Sha256::digest(whole)));
        let (request, response) = (&served.request_hash, &served.response_hash);
        let signed = format!(
            "filature-served-v1\n{{\"call\":\"gen-1\",\"request_hash\":\"{request}\",\"response_hash\":\"{response}\",\
             \"tokens\":{{\"cached_prompt\":0,\"completion\":2,\"prompt\":3,\"reasoning\":0}}}}"
        );
        assert_eq!(key.public().verify(signed.as_bytes(), &served.signature), Ok(()));
    }
}
