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
pub mod cosigned;
pub mod count;
pub mod dispatch;
pub mod frames;
pub mod hashes;
pub mod lengths;
pub mod live;
pub mod meter;
pub mod parse;
pub mod preferences;
pub mod queue;
pub mod rates;
pub mod relay;
pub mod resume;
pub mod room;
pub mod settle;
pub mod size;
pub mod upstream;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use filature_billing::{CallId, KeyHash, KeyRecord, RateState};
use filature_openapi::call::{CallView, Endpoint};
use filature_router::Preferences;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use tokio::sync::oneshot;
use tracing::Span;

use dispatch::Outcome;

use crate::app::Worker;
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
    /// The key's hash, where what is known of it must be read anew.
    pub stale_key: Option<KeyHash>,
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
    /// Its place among the concurrent calls and its body's bytes, kept until it is settled.
    pub place: room::Place,
    /// Its span; disabled where no traces are exported.
    pub span: Span,
}

/// Where the answer's head goes. Closed when the caller has left.
pub struct Answer {
    head: oneshot::Sender<Result<Response, Reject>>,
    /// What is left of the key's limits per minute, as the reservation found it.
    limits: RateState,
}

impl Answer {
    /// Resolves when the caller has left.
    pub fn closed(&mut self) -> impl Future<Output = ()> {
        self.head.closed()
    }

    /// Sends the head of the answer, with what is left of the key's limits; gives it back if the caller has left.
    ///
    /// # Errors
    /// What was to be sent.
    #[expect(
        clippy::result_large_err,
        reason = "the caller has left: nobody looks at what comes back"
    )]
    pub fn send(self, mut head: Result<Response, Reject>) -> Result<(), Result<Response, Reject>> {
        if let Ok(response) = &mut head {
            rates::tell(response.headers_mut(), &self.limits);
        }
        self.head.send(head)
    }
}

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
    let caller = match auth::caller(app, &head.headers).await {
        Ok(caller) => caller,
        Err(reject) => {
            parse::discard(body, parse::STRANGER_BYTES_MAX).await;
            return Err(reject);
        }
    };
    let (place, body) = parse::read_body(app, &head.headers, &caller.key.account, body).await?;
    let mut view = parse::view(endpoint, &body)?;
    let caller = admit::allow(app, &mut view, caller).await?;
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
        prefix: preferences::prefix(&caller.key, &view),
        key: caller.key,
        stale_key: caller.stale,
        body,
        view,
        headers: head.headers,
        started,
        created_ms,
        place,
        span,
    };
    let (head, answered) = oneshot::channel();
    let limits = RateState::default();
    let answer = Answer { head, limits };
    // Boxed before it is spawned: spawning moves a future several times, and this one is some kilobytes.
    app.tasks.spawn(Box::pin(run(worker.clone(), call, answer)));
    // The sender is dropped unused only if the task panicked; the hold then expires and is swept.
    answered.await.unwrap_or(Err(Reject::Internal))
}

/// The task that owns the hold.
async fn run(worker: Arc<Worker>, mut call: Call, mut answer: Answer) {
    let app = &worker.app;
    let (admitted, key) = tokio::join!(
        admit::admit(&worker, &call, &mut answer),
        auth::renewed(app, &call.key, call.stale_key),
    );
    match admitted {
        Ok(Some((mut admitted, slot))) => {
            app.metrics.call_started();
            answer.limits = admitted.limits;
            let outcome = match key.and_then(|key| admit::confirm(&mut call, &mut admitted, key)) {
                Ok(()) => {
                    let served = AssertUnwindSafe(dispatch::dispatch(&worker, &call, &admitted, slot, answer))
                        .catch_unwind()
                        .await;
                    // A defect on the way must not keep the caller's money: the hold is given back.
                    served.unwrap_or_else(|_panic| Outcome::nothing("panic"))
                }
                Err(reject) => {
                    let error = reject.label();
                    let _ = answer.send(Err(reject));
                    Outcome::nothing(error)
                }
            };
            settle::settle(app, call, admitted, outcome).await;
        }
        Ok(None) => {} // the caller left while waiting; nothing is held
        Err(reject) => {
            // A caller that has left does not need the reason.
            let _ = answer.send(Err(reject));
        }
    }
}
