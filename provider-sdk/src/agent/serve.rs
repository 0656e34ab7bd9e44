//! Serves one tunnel: HTTP/2, with the gateway as the client. Decides which path is answered by whom: hello, status
//! and refusal here, calls by the engine.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Either, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::printable;
use super::digest;
use super::forward::chain;
use super::go_on;
use super::offers::now_ms;
use super::reply::{self, EngineBody, Reply};
use super::settings::BaseUrl;
use super::{AGENT, Agent, FLUSH_TIMEOUT};
use crate::tunnel::{self, CHALLENGE_HEADER, HELLO_PATH, REFUSED_PATH, Refused, STATUS_PATH, Status};

/// How long a gateway may take to greet a new tunnel.
const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a silent gateway is asked whether it lives, and how long it may take to say so. NAT boxes forget a
/// silent connection after a minute or so; the gateway's own status requests come more often than that, too.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of one request body, and of all together, may be on its way unread: 1 MiB and 4 MiB.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The most bytes of header a request may have.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// The most bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// Streams beside calls: hello, status, and calls that are only there to be refused.
const STREAMS_SPARE: u32 = 64;

/// How a tunnel went.
pub(crate) struct Served {
    /// From the hello to the end; `None` if there was no hello.
    pub(crate) up_for: Option<Duration>,
    /// Why it ended, for the operator.
    pub(crate) problem: String,
}

/// What one tunnel knows of itself.
struct Tunnel {
    agent: Arc<Agent>,
    gateway: BaseUrl,
    up_since: OnceLock<Instant>,
    refused: OnceLock<String>,
    /// Ends this tunnel in good order.
    close: CancellationToken,
}

/// Serves the gateway at the other end of `io` until it goes away, or until `close`, which ends the tunnel in good
/// order: GOAWAY, then the last answers.
pub(crate) async fn serve(agent: &Arc<Agent>, io: Upgraded, gateway: &BaseUrl, close: &CancellationToken) -> Served {
    let tunnel = Arc::new(Tunnel {
        agent: Arc::clone(agent),
        gateway: gateway.clone(),
        up_since: OnceLock::new(),
        refused: OnceLock::new(),
        close: close.child_token(),
    });
    let service = {
        let tunnel = Arc::clone(&tunnel);
        service_fn(move |request| {
            let tunnel = Arc::clone(&tunnel);
            async move { Ok::<_, Infallible>(tunnel.answer(request).await) }
        })
    };
    let mut connection = pin!(http2(agent).serve_connection(io, service));
    let mut deadline = pin!(tokio::time::sleep(HELLO_TIMEOUT));
    let mut deadline_holds = true;
    let mut closing = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended.err().map_or("the gateway closed the tunnel".to_owned(), |error| chain(&error)),
            () = tunnel.close.cancelled(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
                deadline.as_mut().reset(tokio::time::Instant::now() + FLUSH_TIMEOUT);
                deadline_holds = true;
            }
            () = deadline.as_mut(), if deadline_holds => {
                if closing {
                    break "the tunnel did not close in time and was cut".to_owned();
                }
                if tunnel.up_since.get().is_none() {
                    break "the gateway sent no hello".to_owned();
                }
                deadline_holds = false;
            }
        }
    };
    let refused = tunnel
        .refused
        .get()
        .map(|reason| format!("the gateway refuses this provider: {reason}"));
    Served {
        up_for: tunnel.up_since.get().map(Instant::elapsed),
        problem: refused.unwrap_or(ended),
    }
}

fn http2(agent: &Agent) -> http2::Builder<Tracked> {
    let streams_max = agent
        .settings
        .calls_max()
        .saturating_mul(2)
        .saturating_add(STREAMS_SPARE);
    let mut builder = http2::Builder::new(Tracked(agent.streams.clone()));
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(streams_max)
        .max_header_list_size(HEADER_BYTES_MAX)
        // Calls given up before they were taken, when a gateway's callers leave all at once: above 20, h2 would take
        // them for an attack and close the tunnel.
        .max_pending_accept_reset_streams(streams_max as usize)
        // Counted over a connection's whole life, and a tunnel lives for weeks; its gateway is one the operator chose.
        .max_local_error_reset_streams(None)
        .auto_date_header(false);
    builder
}

/// Starts hyper's stream tasks under the agent's tracker.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Tunnel {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        if *request.method() == Method::POST {
            if let Some(target) = self.agent.engine.target(request.uri().path()) {
                let target = target.clone();
                return self.call(request, target).await;
            }
            if request.uri().path() == REFUSED_PATH {
                return self.refused(request.into_body()).await;
            }
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, STATUS_PATH) => self.status(),
            (&Method::GET, HELLO_PATH) => self.hello(&request),
            _ => reply::unknown_path(),
        }
    }

    async fn call(&self, request: Request<Incoming>, target: http::Uri) -> Reply {
        let running = match self.agent.calls.begin() {
            Ok(running) => running,
            Err(why) => {
                reply::throw_away(request.into_body()).await;
                return reply::not_taken(why);
            }
        };
        let (request, digest) = digest::begin(&self.agent, request);
        let request = match go_on::prepare(request, self.agent.probe.manner()).await {
            Ok(request) => request,
            Err(reply) => return *reply,
        };
        match self.agent.engine.forward(request, target).await {
            Ok(answer) => {
                // Only what is paid for is signed.
                let digest = digest.filter(|_| answer.status() == StatusCode::OK);
                let digest = digest.map(|digest| digest.answered(answer.headers()));
                answer.map(|body| Either::Left(EngineBody::new(body, digest, running)))
            }
            Err(_) => reply::engine_unreachable(),
        }
    }

    fn status(&self) -> Reply {
        let Ok((_, sequence)) = self.agent.offers.current(now_ms()) else {
            return no_offer();
        };
        let load = self.agent.load.now();
        reply::json(&Status {
            running: self.agent.calls.running(),
            waiting: load.waiting.unwrap_or(0),
            engine_running: load.running,
            cache_use: load.cache_use,
            draining: self.agent.calls.draining(),
            sequence,
        })
    }

    fn hello<B>(&self, request: &Request<B>) -> Reply {
        let challenge = request
            .headers()
            .get(CHALLENGE_HEADER)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let Ok((offer, sequence)) = self.agent.offers.current(now_ms()) else {
            return no_offer();
        };
        let key = &self.agent.settings.key;
        match tunnel::sign_hello(key, &offer, challenge, self.gateway.authority(), AGENT) {
            Ok(hello) => {
                if self.up_since.set(Instant::now()).is_ok() {
                    tracing::info!(provider = self.agent.settings.name, gateway = %self.gateway, sequence, "tunnel is up");
                }
                reply::json(&hello)
            }
            Err(error) => {
                let message = error.to_string();
                reply::error(
                    StatusCode::BAD_REQUEST,
                    "invalid_request_error",
                    "bad_challenge",
                    &message,
                )
            }
        }
    }

    /// Keeps the gateway's reason for the operator, and lets go of the tunnel: it is of no use to either.
    async fn refused(&self, body: Incoming) -> Reply {
        let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let reason = match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) => printable(&refused.reason),
            Err(_) => "it gives no reason".to_owned(),
        };
        // The first reason counts.
        let _ = self.refused.set(reason);
        self.close.cancel();
        reply::json(&serde_json::json!({}))
    }
}

fn no_offer() -> Reply {
    reply::error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "api_error",
        "no_offer",
        "The agent cannot sign its offer.",
    )
}
