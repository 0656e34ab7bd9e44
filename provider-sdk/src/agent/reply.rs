//! The answers the agent gives itself, in OpenAI's form. Decides their words; when one is due is decided elsewhere.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use filature_openapi::error::ErrorEnvelope;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;

use super::digest::Digest;
use super::drain::{NotTaken, Running};
use crate::tunnel::{DRAINING_HEADER, ENGINE_HEADER};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What goes back up the tunnel.
pub(crate) type Reply = Response<Either<EngineBody, Full<Bytes>>>;

/// The engine's own body, passed on as it comes, and after its end what the agent signs about it. The call counts as
/// running until this is dropped.
pub(crate) struct EngineBody {
    inner: Incoming,
    digest: Option<Digest>,
    _running: Running,
}

impl EngineBody {
    pub(crate) fn new(inner: Incoming, digest: Option<Digest>, running: Running) -> Self {
        Self {
            inner,
            digest,
            _running: running,
        }
    }
}

impl Body for EngineBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match polled {
            Some(Ok(frame)) if frame.is_data() => {
                if let (Some(digest), Some(data)) = (&mut self.digest, frame.data_ref()) {
                    digest.saw(data);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.digest = None;
                Poll::Ready(Some(Err(error)))
            }
            // The engine's own trailers, if it has any, are of no use to a gateway.
            Some(Ok(_)) | None => {
                let trailers = self.digest.take().and_then(Digest::sign);
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.digest.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A 200 with `value` as its body.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => with_body(StatusCode::OK, body.into()),
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "api_error",
            "internal",
            "The agent cannot write this down.",
        ),
    }
}

/// An error in OpenAI's form.
pub(crate) fn error(status: StatusCode, kind: &str, code: &str, message: &str) -> Reply {
    let envelope = ErrorEnvelope::new(kind, message).with_code(code);
    with_body(status, envelope.to_json())
}

/// The call is not taken: 503 while draining, 429 when full; both say that another provider may well take it.
pub(crate) fn not_taken(why: NotTaken) -> Reply {
    let one_second = HeaderValue::from_static("1");
    match why {
        NotTaken::Draining => {
            let mut reply = error(
                StatusCode::SERVICE_UNAVAILABLE,
                "api_error",
                "draining",
                "The provider is shutting down.",
            );
            reply
                .headers_mut()
                .insert(HeaderName::from_static(DRAINING_HEADER), one_second);
            reply
        }
        NotTaken::Full => {
            let mut reply = error(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "provider_full",
                "The provider runs as many calls as it offers.",
            );
            reply.headers_mut().insert(RETRY_AFTER, one_second);
            reply
        }
    }
}

/// The engine gave no answer. Nothing of its address or its error goes up the tunnel: that is the operator's to see.
pub(crate) fn engine_unreachable() -> Reply {
    let mut reply = error(
        StatusCode::BAD_GATEWAY,
        "api_error",
        "engine_unreachable",
        "The provider's engine cannot be reached.",
    );
    reply.headers_mut().insert(
        HeaderName::from_static(ENGINE_HEADER),
        HeaderValue::from_static("unreachable"),
    );
    reply
}

/// The engine has no way to go on where another broke off.
pub(crate) fn cannot_go_on() -> Reply {
    error(
        StatusCode::NOT_IMPLEMENTED,
        "api_error",
        "cannot_continue",
        "The provider's engine cannot continue an answer that another began.",
    )
}

/// A body that has to be changed is larger than the agent keeps.
pub(crate) fn too_large(bytes_max: usize) -> Reply {
    let message = format!("The agent changes bodies of at most {bytes_max} bytes.");
    error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "invalid_request_error",
        "body_too_large",
        &message,
    )
}

/// Reads a call's body and throws it away: an answer before the end of a request resets its stream, and HTTP/2 closes a
/// connection on which too many streams were reset.
pub(crate) async fn throw_away(body: impl Body<Data = Bytes, Error = hyper::Error>) {
    /// The most bytes that are read for that.
    const BYTES_MAX: usize = 16 * 1024 * 1024;
    let _ = Limited::new(body, BYTES_MAX).collect().await;
}

/// No such path, or not by this method.
pub(crate) fn unknown_path() -> Reply {
    error(
        StatusCode::NOT_FOUND,
        "invalid_request_error",
        "unknown_path",
        "The agent does not serve this path.",
    )
}

fn with_body(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(Either::Right(Full::new(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply
}
