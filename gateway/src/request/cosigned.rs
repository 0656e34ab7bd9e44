//! What a provider signs about its part: taken from the trailer of its answer, compared with what passed here, and
//! written into the record. One that is absent or wrong costs the caller nothing; it is counted.
//!
//! While an answer comes it is hashed; all else is done when it is out, on a thread of its own.

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
        let checked = tokio::task::spawn_blocking(move || unchecked.check(&id, &provider, claimed)).await;
        let Ok(checked) = checked else { continue };
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
