//! The path of a call, read as a table of contents.
//!
//! ```text
//! auth → parse ─┐  in the connection's task: if it refuses, nothing was held
//!               └─ admit → dispatch ⇄ router → upstream → relay ⇄ resume → settle   in a task that owns the hold
//! ```
//!
//! The task that owns the hold outlives its caller: a client that leaves only closes a channel, and every way out of
//! the task ends in [`settle`]. That is why reserving happens there and not before.

pub mod admit;
pub mod attempt;
pub mod auth;
pub mod dispatch;
pub mod frames;
pub mod lengths;
pub mod live;
pub mod meter;
pub mod parse;
pub mod preferences;
pub mod queue;
pub mod relay;
pub mod resume;
pub mod settle;
pub mod upstream;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use filature_billing::{CallId, KeyRecord};
use filature_openapi::call::{CallView, Endpoint};
use filature_router::Preferences;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use tokio::sync::oneshot;
use tracing::Span;

use dispatch::Outcome;

use crate::app::{Place, Worker};
use crate::clock::now_ms;
use crate::reject::Reject;
use crate::routes::REQUEST_ID;
use crate::telemetry::trace;

/// One call: who asks for what, and since when.
pub struct Call {
    /// Names the call everywhere: in the ledger, the receipt, the logs.
    pub id: CallId,
    /// The same, as headers carry it.
    pub id_header: HeaderValue,
    /// Who pays.
    pub key: Arc<KeyRecord>,
    /// The request as the caller sent it.
    pub body: Bytes,
    /// What the gateway needs to know of it.
    pub view: CallView,
    /// What the caller wishes of its providers.
    pub preferences: Option<Box<Preferences>>,
    /// What it shares with calls whose prompts open alike.
    pub prefix: Option<u64>,
    /// The caller's headers; only the trace context is read.
    pub headers: HeaderMap,
    /// When it came, for measuring.
    pub started: Instant,
    /// When it came, for records.
    pub created_ms: u64,
    /// Its place among the concurrent calls, kept until it is settled.
    pub place: Place,
    /// Its span; disabled where no traces are exported.
    pub span: Span,
}

/// Where the answer's head goes. Closed when the caller has left.
pub type Answer = oneshot::Sender<Result<Response, Reject>>;

/// Serves one call on any of the three model endpoints.
pub async fn serve(worker: Arc<Worker>, endpoint: Endpoint, request: Request) -> Response {
    let metrics = worker.app.metrics.clone();
    let id = CallId::generate(now_ms(), &mut rand::rng());
    let id_header = HeaderValue::from_str(&id.to_string()).expect("a call's id is made of letters and digits");
    let answered = AssertUnwindSafe(answer(worker, endpoint, id, id_header.clone(), request))
        .catch_unwind()
        .await;
    let mut response = answered.unwrap_or(Err(Reject::Internal)).unwrap_or_else(|reject| {
        metrics.rejected(reject.label());
        reject.into_response()
    });
    response.headers_mut().insert(REQUEST_ID, id_header);
    response
}

async fn answer(
    worker: Arc<Worker>,
    endpoint: Endpoint,
    id: CallId,
    id_header: HeaderValue,
    request: Request,
) -> Result<Response, Reject> {
    let (started, created_ms) = (Instant::now(), now_ms());
    let app = &worker.app;
    if app.stop.draining.is_cancelled() {
        return Err(Reject::Overloaded(
            "This gateway is stopping. Try again: another one will answer.",
        ));
    }
    let (head, body) = request.into_parts();
    let key = match auth::caller(app, &head.headers).await {
        Ok(key) => key,
        Err(reject) => {
            parse::discard(body, parse::STRANGER_BYTES_MAX).await;
            return Err(reject);
        }
    };
    let place = app
        .room
        .enter()
        .ok_or(Reject::Overloaded("This gateway is at its limit of concurrent calls."))?;
    let body = parse::read_body(app, &head.headers, body).await?;
    let view = parse::view(endpoint, &body)?;
    let span = match trace::is_on() {
        true => trace::call_span(
            trace::context(&head.headers),
            endpoint.operation(),
            &view.model,
            &id.to_string(),
        ),
        false => Span::none(),
    };
    let call = Call {
        id,
        id_header,
        preferences: preferences::of(&view),
        prefix: preferences::prefix(&key, &view),
        key,
        body,
        view,
        headers: head.headers,
        started,
        created_ms,
        place,
        span,
    };
    let (answer, answered) = oneshot::channel();
    // Boxed before it is spawned: spawning moves a future several times, and this one is some kilobytes.
    app.tasks.spawn(Box::pin(run(worker.clone(), call, answer)));
    // The sender is dropped unused only if the task panicked; the hold then expires and is swept.
    answered.await.unwrap_or(Err(Reject::Internal))
}

/// The task that owns the hold.
async fn run(worker: Arc<Worker>, call: Call, mut answer: Answer) {
    match admit::admit(&worker, &call, &mut answer).await {
        Ok(Some((admitted, slot))) => {
            worker.app.metrics.call_started();
            let served = AssertUnwindSafe(dispatch::dispatch(&worker, &call, &admitted, slot, answer))
                .catch_unwind()
                .await;
            // A defect on the way must not keep the caller's money: the hold is given back.
            let outcome = served.unwrap_or_else(|_panic| Outcome::nothing("panic"));
            settle::settle(&worker.app, call, admitted, outcome).await;
        }
        Ok(None) => {} // the caller left while waiting; nothing is held
        Err(reject) => {
            // A caller that has left does not need the reason.
            let _ = answer.send(Err(reject));
        }
    }
}
