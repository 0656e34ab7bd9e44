//! Routes a simulated engine's requests and decides which body answers them. What is said is decided in `script`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use super::body::Body;
use super::call::{Call, Operation};
use super::failing::{happens_at_the_head, spoils_the_usage};
use super::refusal::Refusal;
use super::script::{self, Usual};
use super::settings::EngineSettings;
use super::sim::duration_ms;
use super::stats::{Counters, Running};
use super::stream::{Broken, Pace, Stream};
use super::wire::Wire;
use super::{embeddings, pages};

/// Larger requests are no use to any test.
const BODY_BYTES_MAX: usize = 256 << 20;

/// What all connections of an engine share.
pub(super) struct Shared {
    pub(super) settings: EngineSettings,
    pub(super) counters: Arc<Counters>,
    pub(super) places: Option<Arc<Semaphore>>,
    fingerprint: String,
    calls: AtomicU64,
}

impl Shared {
    pub(super) fn new(settings: EngineSettings) -> Self {
        let places = settings.concurrency_max.map(|places| Arc::new(Semaphore::new(places)));
        let fingerprint = format!("sim-{}", settings.name);
        Self {
            settings,
            counters: Arc::default(),
            places,
            fingerprint,
            calls: AtomicU64::new(1),
        }
    }
}

/// Answers one request. An error closes the connection; `reset` makes that a TCP reset.
pub(super) async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Body>, Broken> {
    let (head, body) = request.into_parts();
    let Some(operation) = Operation::at(head.uri.path()).filter(|_| head.method == Method::POST) else {
        let page = pages::page(&shared, &head.method, &head.uri).unwrap_or_else(|refusal| refused(&refusal, None));
        return Ok(page);
    };
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Err(Broken);
    };
    if let Some(refusal) = wrong_key(&shared, &head.headers) {
        return Ok(refused(&refusal, None));
    }
    let mut running = Running::start(&shared.counters, &head.headers);
    if let Some(places) = &shared.places {
        let waiting = shared.counters.wait();
        let place = Arc::clone(places).acquire_owned().await.map_err(|_| Broken)?;
        drop(waiting);
        running.takes(place);
    }
    let exchange = Exchange {
        shared: &shared,
        path: head.uri.path(),
        headers: &head.headers,
        body: &body.to_bytes(),
        reset,
    };
    exchange.answer(operation, running).await
}

fn wrong_key(shared: &Shared, headers: &HeaderMap) -> Option<Refusal> {
    let key = shared.settings.api_key.as_ref()?;
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    (sent != Some(key.as_str())).then(Refusal::wrong_key)
}

/// One request with all that answering it takes.
pub(super) struct Exchange<'a> {
    shared: &'a Shared,
    path: &'a str,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    pub(super) reset: Arc<AtomicBool>,
}

impl Exchange<'_> {
    async fn answer(&self, operation: Operation, mut running: Running) -> Result<Response<Body>, Broken> {
        let settings = &self.shared.settings;
        let mut call = match self.call(operation) {
            Ok(call) => call,
            Err(refusal) => return Ok(refused(&refusal, Some(running))),
        };
        let sim = call.sim();
        let attempt = running.attempt();
        let own = settings
            .fault
            .as_ref()
            .filter(|fault| fault.is_meant_for(&settings.name, attempt));
        let fault = sim.fault_on(&settings.name, attempt).or(own).cloned();
        if let Some(fault) = &fault
            && happens_at_the_head(fault)
        {
            return self.fail_at_the_head(fault, call.stream(), running).await;
        }
        let pace = Pace {
            first: sim.ttft_ms.map_or(settings.ttft, duration_ms),
            gap: sim.itl_ms.map_or(settings.itl, duration_ms),
        };
        let echo = sim.echo.then(|| pages::echo_json(self.path, self.headers, self.body));
        if operation == Operation::Embedding {
            return match embeddings::answer(&call, echo.as_deref()) {
                Ok(answer) => self.whole(answer, 0, pace.first, fault.as_ref(), running).await,
                Err(refusal) => Ok(refused(&refusal, Some(running))),
            };
        }
        let usual = Usual {
            tokens: settings.tokens,
            trim: settings.trim,
        };
        let mut script = match script::write(operation, &call, &sim, fault.as_ref(), usual) {
            Ok(script) => script,
            Err(refusal) => {
                if refusal.is_not_the_beginning() {
                    self.shared.counters.misbegun();
                }
                return Ok(refused(&refusal, Some(running)));
            }
        };
        if let Some(bytes) = script.continued {
            running.continues(bytes);
        }
        if let Some(fault) = fault.as_ref().filter(|fault| spoils_the_usage(fault)) {
            running.suffers(fault.kind);
        }
        script.echo = echo;
        script.id ^= self.shared.calls.fetch_add(1, Ordering::Relaxed) << 20;
        let wire = Wire::new(
            &script,
            &self.shared.fingerprint,
            now_s(),
            call.stream() && call.include_usage(),
        );
        if call.stream() {
            let stream = Stream::new(
                script,
                wire,
                call.include_usage(),
                pace,
                fault,
                running,
                Arc::clone(&self.reset),
            );
            return Ok(response(StatusCode::OK, EVENT_STREAM, Body::Stream(Box::new(stream))));
        }
        let longest = script.choices.iter().map(script::Choice::tokens).max().unwrap_or(0);
        let tokens = script.choices.iter().map(|choice| u64::from(choice.tokens())).sum();
        let wait = pace.first + pace.gap * longest.saturating_sub(1);
        self.whole(wire.answer(&script), tokens, wait, fault.as_ref(), running)
            .await
    }

    fn call(&self, operation: Operation) -> Result<Call<'_>, Refusal> {
        let call = Call::parse(operation, self.body)?;
        if self.shared.settings.models.iter().any(|model| *model == call.model) {
            Ok(call)
        } else {
            Err(Refusal::no_such_model(&call.model))
        }
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

pub(super) fn refused(refusal: &Refusal, running: Option<Running>) -> Response<Body> {
    let mut response = response(refusal.status, JSON, Body::Whole(refusal.json().into(), running));
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// A response of this kind.
pub(super) fn response(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
