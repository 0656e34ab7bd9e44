//! Providers that dial in: the agent's connection is upgraded, and the gateway becomes the HTTP/2 client on it.
//!
//! A tunnel's life: upgrade → hello (who are you, what do you sell, prove it) → calls and a status every few seconds →
//! the provider leaves the fleet when the connection ends. Multiplexing, flow control and cancelling are HTTP/2's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use filature_billing::{Admission, ProviderId as Payee};
use filature_openapi::call::Endpoint;
use filature_provider_sdk::offer::Offer;
use filature_provider_sdk::tunnel::{
    CHALLENGE_HEADER, HELLO_PATH, Hello, REFUSED_PATH, Refused, STATUS_PATH, Status, UPGRADE, verify_hello,
};
use filature_router::Event;
use http::header::{CONNECTION, HOST, UPGRADE as UPGRADE_HEADER};
use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::provider::{EndpointUris, Provider, Reach};
use crate::app::{App, Place, Worker};
use crate::clock::now_ms;
use crate::config::Registration;
use crate::reject::Reject;
use crate::request::upstream::{EngineBody, OpenError, chain};
use crate::settling::addresses;

/// What one stalled stream may keep in flight; and all streams of a tunnel together.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// The largest hello or status that is read: 256 models with every field at its longest stay below.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A connection that answers no ping for this long is gone.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// After so many statuses it is asked again whether the provider may be here.
const STATUSES_PER_ADMISSION: u64 = 5;
/// The authority that requests in a tunnel carry; the agent has no other.
const AUTHORITY: &str = "http://provider";

/// The gateway's end of one tunnel.
pub struct Tunnel {
    /// Set when its provider has opened a newer one.
    pub replaced: CancellationToken,
    sender: SendRequest<EngineBody>,
    uris: EndpointUris,
}

impl Tunnel {
    /// The address of one endpoint.
    #[must_use]
    pub fn uri(&self, endpoint: Endpoint) -> Uri {
        self.uris.of(endpoint)
    }

    /// Sends a request down the tunnel and waits for the head of its answer.
    ///
    /// # Errors
    /// [`OpenError`] when the tunnel is closed or breaks.
    pub async fn send(&self, request: http::Request<EngineBody>) -> Result<Response<Incoming>, OpenError> {
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|_closed| OpenError::TunnelClosed)?;
        sender
            .send_request(request)
            .await
            .map_err(|error| OpenError::Unreachable(chain(&error)))
    }

    /// A small request of the tunnel's own, answered whole within `timeout`.
    async fn ask(&self, path: &str, header: Option<(&'static str, &str)>, timeout: Duration) -> anyhow::Result<Bytes> {
        let mut request = http::Request::new(EngineBody::empty());
        *request.uri_mut() = format!("{AUTHORITY}{path}").parse()?;
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        let answered = async {
            let response = self.send(request).await?;
            if response.status() != StatusCode::OK {
                bail!("the agent answered {path} with {}", response.status());
            }
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            Ok(body.collect().await.map_err(|error| anyhow::anyhow!(error))?.to_bytes())
        };
        tokio::time::timeout(timeout, answered)
            .await
            .with_context(|| format!("no answer to {path} in {timeout:?}"))?
    }
}

/// `GET /provider/v1/tunnel`: switches the connection to a tunnel.
pub async fn accept(State(worker): State<Arc<Worker>>, mut request: Request) -> Response {
    let app = worker.app.clone();
    let asks = request
        .headers()
        .get(UPGRADE_HEADER)
        .and_then(|protocol| protocol.to_str().ok());
    if asks != Some(UPGRADE) {
        return refuse(format!(
            "This path is for provider agents: it takes `Upgrade: {UPGRADE}`."
        ));
    }
    let Some(authority) = authority(&app, &request) else {
        return refuse(
            "This gateway was not told its name: its operator must set server.public_authority to what agents dial."
                .to_owned(),
        );
    };
    if app.stop.draining.is_cancelled() {
        return Reject::Overloaded("This gateway is stopping.").into_response();
    }
    let (Some(place), Some(stranger)) = (app.tunnels.enter(), app.strangers.enter()) else {
        return Reject::Overloaded("This gateway holds as many tunnels as it may.").into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    app.tasks.clone().spawn(async move {
        let _place = place;
        if let Err(error) = run(&app, upgrade, &authority, stranger).await {
            tracing::info!(error = format!("{error:#}"), "a tunnel ended");
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
        .headers_mut()
        .insert(UPGRADE_HEADER, HeaderValue::from_static(UPGRADE));
    response
}

fn refuse(message: String) -> Response {
    Reject::BadRequest {
        message,
        param: None,
        code: None,
    }
    .into_response()
}

/// The authority that the agent's proof must name: the operator's word, else the host the agent dialled, if nobody else can
/// have been dialled by that name.
fn authority(app: &App, request: &Request) -> Option<String> {
    let configured = &app.config.server.public_authority;
    if !configured.is_empty() {
        return Some(configured.clone());
    }
    let host = request.headers().get(HOST)?.to_str().ok()?;
    is_own_machine(host).then(|| host.to_owned())
}

/// Whether an authority can only be dialled on this machine.
fn is_own_machine(authority: &str) -> bool {
    let host = authority.parse::<http::uri::Authority>();
    let host = host.as_ref().map_or("", http::uri::Authority::host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// One tunnel from upgrade to end.
async fn run(app: &Arc<App>, upgrade: OnUpgrade, authority: &str, stranger: Place) -> anyhow::Result<()> {
    let hello_timeout = Duration::from_millis(app.config.tunnels.hello_timeout_ms);
    let upgraded = tokio::time::timeout(hello_timeout, upgrade)
        .await
        .context("the upgrade did not finish")??;
    let (tunnel, connection) = handshake(upgraded).await?;
    let mut connection = std::pin::pin!(connection);
    let lived = live(app, &tunnel, authority, hello_timeout, stranger);
    tokio::select! {
        ended = connection.as_mut() => ended.context("the connection broke"),
        lived = lived => lived,
        () = tunnel.replaced.cancelled() => {
            let why = anyhow::anyhow!("the same key has opened a newer tunnel; every agent needs a key of its own");
            tell_refused(&tunnel, &why, hello_timeout).await;
            Err(why)
        }
        () = app.stop.ended.cancelled() => Ok(()),
    }
}

async fn handshake(upgraded: Upgraded) -> anyhow::Result<(Arc<Tunnel>, impl Future<Output = hyper::Result<()>>)> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        // Counted over a connection's whole life, and a tunnel lives for weeks.
        .max_local_error_reset_streams(1 << 20)
        .handshake::<_, EngineBody>(upgraded)
        .await
        .context("no HTTP/2 on the tunnel")?;
    let uris = EndpointUris::under(AUTHORITY).expect("the tunnel's authority is a URL");
    let replaced = CancellationToken::new();
    Ok((Arc::new(Tunnel { replaced, sender, uris }), connection))
}

/// What happens in a tunnel while its connection is driven: hello, then a status every few seconds.
async fn live(
    app: &Arc<App>,
    tunnel: &Arc<Tunnel>,
    authority: &str,
    hello_timeout: Duration,
    stranger: Place,
) -> anyhow::Result<()> {
    let offer = match introduce(app, tunnel, authority, hello_timeout).await {
        Ok(offer) => offer,
        Err(refused) => {
            tell_refused(tunnel, &refused, hello_timeout).await;
            return Err(refused);
        }
    };
    drop(stranger);
    let provider = Arc::new(provider(tunnel, &offer));
    tracing::info!(provider = %provider.id, name = provider.name, models = offer.models.len(), "a provider joined");
    app.fleet.join(provider.clone(), app.clock.now());
    app.metrics.tunnel(1);
    let _joined = Joined {
        app: app.clone(),
        provider,
    };
    watch(app, tunnel, authority, offer, hello_timeout).await
}

/// A provider in the fleet; leaves it when its tunnel's task ends, however it ends.
struct Joined {
    app: Arc<App>,
    provider: Arc<Provider>,
}

impl Drop for Joined {
    fn drop(&mut self) {
        tracing::info!(provider = %self.provider.id, name = self.provider.name, "a provider left");
        self.app.fleet.leave(&self.provider, self.app.clock.now());
        self.app.metrics.tunnel(-1);
    }
}

fn provider(tunnel: &Arc<Tunnel>, offer: &Offer) -> Provider {
    Provider::new(
        payee(offer),
        &offer.name,
        offer.models.clone(),
        Reach::Tunnel(tunnel.clone()),
    )
}

/// Asks for the hello and checks it.
async fn introduce(app: &App, tunnel: &Tunnel, authority: &str, timeout: Duration) -> anyhow::Result<Offer> {
    let challenge = hex::encode(rand::random::<[u8; 32]>());
    let answer = tunnel
        .ask(HELLO_PATH, Some((CHALLENGE_HEADER, &challenge)), timeout)
        .await?;
    let hello: Hello = serde_json::from_slice(&answer).context("the hello is not understood")?;
    let offer = verify_hello(&hello, &challenge, authority, now_ms())?;
    let said = app.ledger.admission(&payee(&offer)).await;
    let said = said.context("the ledger cannot say now who may join")?;
    check_admission(app, &offer, said)?;
    if let Some(payout) = &offer.payout {
        addresses::note_offered(app, &payee(&offer), offer.sequence, payout).await?;
    }
    Ok(offer)
}

/// Whether a provider may be here: what operators have said of it counts before the settings.
fn check_admission(app: &App, offer: &Offer, said: Option<Admission>) -> anyhow::Result<()> {
    let tunnels = &app.config.tunnels;
    let is_listed = || {
        let key = offer.provider.to_string();
        tunnels.allow.contains(&key)
    };
    match said {
        Some(Admission::Deny) => bail!("the provider {} is kept out by the operator", offer.provider),
        None if tunnels.open == Registration::AllowList && !is_listed() => {
            bail!("the provider {} is not on this gateway's allow-list", offer.provider)
        }
        Some(Admission::Allow) | None => Ok(()),
    }
}

fn payee(offer: &Offer) -> Payee {
    Payee::parse(&offer.provider.to_string()).expect("a key in hex is an id")
}

/// Polls the agent's status until it stops answering or its offer ends.
async fn watch(
    app: &Arc<App>,
    tunnel: &Arc<Tunnel>,
    authority: &str,
    mut offer: Offer,
    timeout: Duration,
) -> anyhow::Result<()> {
    let every = Duration::from_millis(app.config.tunnels.status_every_ms);
    for status_number in 1_u64.. {
        tokio::time::sleep(every).await;
        let status: Status = serde_json::from_slice(&tunnel.ask(STATUS_PATH, None, timeout).await?)?;
        let id = provider(tunnel, &offer).id;
        if status.sequence > offer.sequence {
            let newer = introduce(app, tunnel, authority, timeout).await?;
            if newer.provider != offer.provider {
                bail!("the tunnel's provider changed its key");
            }
            offer = newer;
            app.fleet.join(Arc::new(provider(tunnel, &offer)), app.clock.now());
        }
        if offer.expires_at_ms <= now_ms() {
            bail!("the offer has expired");
        }
        // Who has joined stays while the ledger cannot say.
        if status_number % STATUSES_PER_ADMISSION == 0
            && let Ok(said) = app.ledger.admission(&payee(&offer)).await
            && let Err(refused) = check_admission(app, &offer, said)
        {
            tell_refused(tunnel, &refused, timeout).await;
            return Err(refused);
        }
        let now = app.clock.now();
        if status.draining {
            app.fleet.tell(Event::Draining { provider: id }, now);
        } else {
            let event = Event::Heartbeat {
                provider: id,
                // Calls from elsewhere run inside the engine unseen by the agent.
                running: status.running.max(status.engine_running.unwrap_or(0)),
                waiting: status.waiting,
                cache_use: status.cache_use.unwrap_or(0.0),
            };
            app.fleet.tell(event, now);
        }
    }
    Ok(())
}

/// Tells the agent why it is not let in, for its operator to read. Best effort.
async fn tell_refused(tunnel: &Tunnel, why: &anyhow::Error, timeout: Duration) {
    let refused = Refused {
        reason: format!("{why:#}"),
    };
    let Ok(body) = serde_json::to_vec(&refused) else { return };
    let mut request = http::Request::new(EngineBody::one(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    if let Ok(uri) = format!("{AUTHORITY}{REFUSED_PATH}").parse() {
        *request.uri_mut() = uri;
        let _ = tokio::time::timeout(timeout, tunnel.send(request)).await;
    }
}
