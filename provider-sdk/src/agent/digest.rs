//! Hashes a call's bodies as they pass and signs them at the end. Decides what the engine claims to have used, as the
//! gateway will read it; the form of what is signed is `served`'s.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use filature_openapi::Endpoint;
use filature_openapi::answer::parse_answer;
use filature_openapi::chunk::parse_chunk;
use filature_openapi::sse::{self, EventDecoder};
use filature_openapi::usage::UsageClaim;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use super::Agent;
use crate::served::{Salted, Served, Tokens};
use crate::tunnel::{CALL_HEADER, SALT_HEADER, SERVED_TRAILER};

/// Longest id of a call that is signed for.
const CALL_BYTES_MAX: usize = 64;
/// Longest event of a stream that is searched for a claim, in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Longest answer in one piece that is kept to be searched, in bytes; larger ones are not signed.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The gateway's body of a call, hashed as it passes.
pub(crate) struct Heard {
    inner: Incoming,
    hash: Option<Arc<Mutex<Salted>>>,
}

impl Body for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(hash)) = (&polled, &self.hash)
            && let Some(data) = frame.data_ref()
        {
            hash.lock().update(data);
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

/// The digest of one call under way.
pub(crate) struct Digest {
    agent: Arc<Agent>,
    call: String,
    request: Arc<Mutex<Salted>>,
    response: Salted,
    claims: Claims,
}

/// What of the answer may hold the engine's claim.
enum Claims {
    Stream {
        decoder: EventDecoder,
        claim: Option<UsageClaim>,
        done: bool,
    },
    Whole {
        endpoint: Endpoint,
        body: BytesMut,
        too_large: bool,
    },
}

/// Takes the gateway's salt out of a call, which is nothing for the engine, and begins the digest if there was one.
pub(crate) fn begin(agent: &Arc<Agent>, mut request: Request<Incoming>) -> (Request<Heard>, Option<Digest>) {
    let salt = request.headers_mut().remove(SALT_HEADER);
    let salt = salt.and_then(|salt| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(salt.as_bytes(), &mut bytes).ok()?;
        Some(bytes)
    });
    let call = request.headers().get(CALL_HEADER).and_then(|call| call.to_str().ok());
    let call = call.filter(|call| call.len() <= CALL_BYTES_MAX).map(str::to_owned);
    let endpoints = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings];
    let endpoint = endpoints.into_iter().find(|one| one.path() == request.uri().path());
    let (Some(salt), Some(call), Some(endpoint)) = (salt, call, endpoint) else {
        return (request.map(|inner| Heard { inner, hash: None }), None);
    };
    let digest = Digest {
        agent: Arc::clone(agent),
        call,
        request: Arc::new(Mutex::new(Salted::request(&salt))),
        response: Salted::response(&salt),
        claims: Claims::Whole {
            endpoint,
            body: BytesMut::new(),
            too_large: false,
        },
    };
    let hash = Some(Arc::clone(&digest.request));
    (request.map(|inner| Heard { inner, hash }), Some(digest))
}

impl Digest {
    /// The head of the answer is here.
    pub(crate) fn answered(mut self, headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
        if kind.starts_with(b"text/event-stream") {
            self.claims = Claims::Stream {
                decoder: EventDecoder::new(EVENT_BYTES_MAX),
                claim: None,
                done: false,
            };
        }
        self
    }

    /// The next bytes of the answer.
    pub(crate) fn saw(&mut self, bytes: &Bytes) {
        self.response.update(bytes);
        match &mut self.claims {
            Claims::Stream { decoder, claim, done } => {
                decoder.push(bytes.clone());
                while !*done && let Ok(Some(event)) = decoder.next_event() {
                    let Some(data) = event.data else { continue };
                    *done = data.as_ref() == sse::DONE;
                    // Most events claim nothing, and are not looked into.
                    if memchr::memmem::find(&data, b"\"usage\"").is_some()
                        && let Some(later) = parse_chunk(&data).ok().and_then(|chunk| chunk.usage)
                    {
                        *claim = Some(merged(claim.unwrap_or_default(), later));
                    }
                }
            }
            Claims::Whole { body, too_large, .. } => {
                *too_large |= body.len().saturating_add(bytes.len()) > ANSWER_BYTES_MAX;
                if !*too_large {
                    body.extend_from_slice(bytes);
                }
            }
        }
    }

    /// The answer is whole: the trailers that go after it.
    pub(crate) fn sign(self) -> Option<HeaderMap> {
        let claim = match self.claims {
            Claims::Stream { claim, .. } => claim,
            Claims::Whole { too_large: true, .. } => return None,
            Claims::Whole { endpoint, body, .. } => parse_answer(endpoint, &body).ok()?.usage,
        };
        let tokens = claim.map(|claim| Tokens {
            prompt: claim.prompt.unwrap_or(0),
            cached_prompt: claim.cached_prompt.unwrap_or(0),
            completion: claim.completion.unwrap_or(0),
            reasoning: claim.reasoning.unwrap_or(0),
        });
        let request = self.request.lock().clone();
        let served = Served::sign(&self.agent.settings.key, &self.call, request, self.response, tokens);
        let value = HeaderValue::from_bytes(&serde_json::to_vec(&served).ok()?).ok()?;
        Some(HeaderMap::from_iter([(HeaderName::from_static(SERVED_TRAILER), value)]))
    }
}

/// The later claim of each kind, as the gateway takes it.
fn merged(earlier: UsageClaim, later: UsageClaim) -> UsageClaim {
    UsageClaim {
        prompt: later.prompt.or(earlier.prompt),
        cached_prompt: later.cached_prompt.or(earlier.cached_prompt),
        completion: later.completion.or(earlier.completion),
        reasoning: later.reasoning.or(earlier.reasoning),
    }
}
