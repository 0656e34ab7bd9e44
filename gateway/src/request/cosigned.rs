//! What a provider signs about its part: taken from the trailer of its answer, compared with what passed here, and
//! written into the record. One that is absent or wrong costs the caller nothing; it is counted.
//!
//! While an answer comes it is hashed; all else is done when it is out, on a thread of its own.

mod checker;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use filature_billing::{CallId, Nonce, ProviderId, Salted, Seen, Served as Signed, Tokens, UsageRecord};
use filature_openapi::edit::Segments;
use filature_openapi::usage::UsageClaim;
use filature_provider_sdk::tunnel::SERVED_TRAILER;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

pub use self::checker::Checker;
use super::Call;
use super::dispatch::Outcome;
use crate::app::App;
use crate::fleet::provider::{Provider, Reach};

/// Longest trailer that is read, in bytes. One takes about 450.
const TRAILER_BYTES_MAX: usize = 1024;

/// The salt that a provider is to sign with; `None` where it is not asked to.
#[must_use]
pub fn salt(app: &App, call: &Call, provider: &Provider) -> Option<Nonce> {
    let asked = app.config.tunnels.cosign && matches!(provider.reach, Reach::Tunnel(_));
    asked.then(|| app.receipts.nonce(&call.id).salt(&provider.payee))
}

/// The body of a provider's answer.
pub struct Answer {
    inner: Incoming,
    unchecked: Option<Box<Unchecked>>,
}

/// What is needed to check what a provider signed.
pub struct Unchecked {
    salt: Nonce,
    sent: Segments,
    received: Salted,
    trailer: Option<HeaderValue>,
}

impl Answer {
    /// An answer to `sent`; hashed if there is a salt for it.
    #[must_use]
    pub fn new(inner: Incoming, salt: Option<Nonce>, sent: Segments) -> Self {
        let unchecked = salt.map(|salt| {
            Box::new(Unchecked {
                salt,
                sent,
                received: salt.response(),
                trailer: None,
            })
        });
        Self { inner, unchecked }
    }

    /// What came beside the answer, once it has come to its end.
    #[must_use]
    pub fn unchecked(&mut self) -> Option<Box<Unchecked>> {
        self.unchecked.take()
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(unchecked)) = (&polled, &mut self.unchecked) {
            if let Some(data) = frame.data_ref() {
                unchecked.received.update(data);
            } else if let Some(trailers) = frame.trailers_ref() {
                unchecked.trailer = trailers.get(SERVED_TRAILER).cloned();
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What became of a provider's signature.
#[derive(Debug)]
enum Refused {
    /// There was none.
    Absent,
    /// It does not fit, and why.
    Wrong(String),
}

impl Unchecked {
    fn check(self, call: &CallId, provider: &ProviderId, claimed: Option<Tokens>) -> Result<Signed, Refused> {
        let trailer = self.trailer.ok_or(Refused::Absent)?;
        if trailer.len() > TRAILER_BYTES_MAX {
            return Err(Refused::Wrong("it is too long".to_owned()));
        }
        let signed: Signed =
            serde_json::from_slice(trailer.as_bytes()).map_err(|error| Refused::Wrong(error.to_string()))?;
        let mut request = self.salt.request();
        self.sent.iter().for_each(|piece| request.update(piece));
        let seen = Seen {
            request_hash: request.finish(),
            response_hash: self.received.finish(),
            claimed,
        };
        let fits = signed.check(call, provider, &seen);
        fits.map_err(|error| Refused::Wrong(error.to_string()))?;
        Ok(signed)
    }
}

/// Writes into the record what its providers signed.
pub async fn enter(app: &App, call: &Call, record: &mut UsageRecord, outcome: &mut Outcome) {
    for part in &mut outcome.parts {
        let Some(unchecked) = part.unchecked.take() else {
            continue;
        };
        let (id, provider) = (call.id, part.provider.payee.clone());
        let claimed = part.meter.claim.map(tokens);
        let checked = app.signatures.check(move || unchecked.check(&id, &provider, claimed));
        let Some(checked) = checked.await else { continue };
        let leg = record.legs.iter_mut();
        let leg = leg
            .filter(|leg| leg.provider == part.provider.payee && leg.from_byte == part.from_byte)
            .find(|leg| leg.served.is_none());
        let Some(leg) = leg else { continue };
        let outcome = match checked {
            Ok(signed) if signed.covers(&leg.tokens) => {
                leg.served = Some(signed);
                "taken"
            }
            Ok(_) => "short",
            Err(Refused::Absent) => "absent",
            Err(Refused::Wrong(why)) => {
                tracing::warn!(call = %call.id, provider = %leg.provider, why, "what a provider signed does not fit");
                "wrong"
            }
        };
        app.metrics.cosigned(outcome);
    }
}

fn tokens(claim: UsageClaim) -> Tokens {
    Tokens {
        prompt: claim.prompt.unwrap_or(0),
        cached_prompt: claim.cached_prompt.unwrap_or(0),
        completion: claim.completion.unwrap_or(0),
        reasoning: claim.reasoning.unwrap_or(0),
    }
}

/// Asks for a signature.
pub fn ask(salt: Option<Nonce>, headers: &mut HeaderMap) {
    let value = salt.and_then(|salt| HeaderValue::from_str(&salt.to_string()).ok());
    if let Some(value) = value {
        headers.insert(filature_provider_sdk::tunnel::SALT_HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use filature_openapi::edit::Edits;
    use filature_provider_sdk::ProviderKey;
    use filature_provider_sdk::served::{self, Salted as AgentsSalted};

    use super::*;

    const CALL: &str = "gen-01HF7YAT000000000000000000";

    /// What an agent signs about a call with this request and answer, as its trailer.
    fn trailer(
        key: &ProviderKey,
        salt: [u8; 32],
        call: &str,
        request: &[u8],
        answer: &[u8],
        prompt: u64,
    ) -> HeaderValue {
        let (mut sent, mut came) = (AgentsSalted::request(&salt), AgentsSalted::response(&salt));
        sent.update(request);
        came.update(answer);
        let tokens = served::Tokens {
            prompt,
            completion: 2,
            ..served::Tokens::default()
        };
        let signed = served::Served::sign(key, call, sent, came, Some(tokens));
        HeaderValue::from_bytes(&serde_json::to_vec(&signed).expect("json")).expect("a value")
    }

    fn check(key: &ProviderKey, trailer: Option<HeaderValue>) -> Result<Signed, String> {
        let salt = Nonce::from_bytes([7; 32]);
        let mut received = salt.response();
        received.update(b"ans");
        received.update(b"wer");
        let sent = Edits::default().apply(&Bytes::from_static(b"request"));
        let unchecked = Unchecked {
            salt,
            sent,
            received,
            trailer,
        };
        let provider = ProviderId::parse(&key.public().to_string()).expect("an id");
        let claimed = Tokens {
            prompt: 3,
            completion: 2,
            ..Tokens::default()
        };
        let checked = unchecked.check(&CALL.parse().expect("an id"), &provider, Some(claimed));
        checked.map_err(|refused| format!("{refused:?}"))
    }

    #[test]
    fn what_an_agent_signs_is_taken_if_it_fits_what_passed() {
        let key = ProviderKey::generate(&mut rand::rng());
        let good = trailer(&key, [7; 32], CALL, b"request", b"answer", 3);
        assert!(good.len() < TRAILER_BYTES_MAX / 2, "{}", good.len());
        let signed = check(&key, Some(good)).expect("it fits");
        assert_eq!(signed.tokens.map(|tokens| tokens.prompt), Some(3));
    }

    #[test]
    fn no_byte_of_a_trailer_can_be_another() {
        let key = ProviderKey::generate(&mut rand::rng());
        let good = trailer(&key, [7; 32], CALL, b"request", b"answer", 3);
        for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            // What HTTP does not carry never gets here.
            if let Ok(wrong) = HeaderValue::from_bytes(&bytes) {
                assert!(check(&key, Some(wrong)).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let key = ProviderKey::generate(&mut rand::rng());
        let refused = |trailer: Option<HeaderValue>, why: &str| {
            let said = check(&key, trailer).expect_err(why);
            assert!(said.contains(why), "{said}");
        };
        let (salt, other) = ([7; 32], "gen-01HF7YAT000000000000000001");
        refused(None, "Absent");
        refused(
            Some(trailer(&key, [8; 32], CALL, b"request", b"answer", 3)),
            "another request",
        );
        refused(
            Some(trailer(&key, salt, CALL, b"another", b"answer", 3)),
            "another request",
        );
        refused(
            Some(trailer(&key, salt, CALL, b"request", b"answer, and more", 3)),
            "another answer",
        );
        refused(
            Some(trailer(&key, salt, CALL, b"request", b"answer", 4)),
            "other tokens",
        );
        refused(
            Some(trailer(&key, salt, other, b"request", b"answer", 3)),
            "does not belong",
        );
        let stranger = ProviderKey::generate(&mut rand::rng());
        refused(
            Some(trailer(&stranger, salt, CALL, b"request", b"answer", 3)),
            "does not belong",
        );
        refused(Some(HeaderValue::from_static("nonsense")), "expected");
        refused(HeaderValue::from_str(&"x".repeat(1_025)).ok(), "too long");
    }
}
