//! The operations over HTTP, for those with an admin token, on a port of their own.
//!
//! It speaks plain HTTP: where it must be reached from other machines, a proxy with TLS belongs in front of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use filature_billing::{EpochStore, Ledger};
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::desk::Desk;
use super::operations::router;
use super::token::Tokens;
use super::wire::Failed;
use crate::withdrawals::Destinations;

/// Where the operations are found.
const PREFIX: &str = "/admin/v1";
/// Connections at a time.
const CONNECTIONS_MAX: usize = 128;
/// Time a connection may stay open without a whole request head, and without taking any of an answer.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Time one operation may take, the reading of its body included.
const OPERATION_MAX: Duration = Duration::from_secs(30);
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// The admin API of a ledger and who may use it.
pub struct AdminApi {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where epochs and the books of settlement are.
    pub epochs: EpochStore,
    /// Where withdrawals may go.
    pub destinations: Destinations,
    /// Who may use it.
    pub tokens: Tokens,
}

/// Serves the admin API on `listener` until `stop`. Its connections are among `tasks`.
pub async fn serve(listener: TcpListener, api: AdminApi, tasks: TaskTracker, stop: CancellationToken) {
    let api = Arc::new(api);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be freed.
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (api, stop) = (api.clone(), stop.clone());
        tasks.spawn(async move {
            let _place = place;
            if let Err(error) = connection(socket, peer, &api, &stop).await {
                tracing::debug!(%error, "an admin connection ended early");
            }
        });
    }
}

/// Serves one connection. Every wait on the other side has an end.
async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    api: &Arc<AdminApi>,
    stop: &CancellationToken,
) -> hyper::Result<()> {
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(IDLE_MAX));
    let service = service_fn(|request| {
        let api = api.clone();
        async move { Ok::<_, Infallible>(answer(&api, peer, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Box::pin(socket)), service);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

/// Whoever has no good token learns nothing, not even which operations there are.
async fn answer(api: &AdminApi, peer: SocketAddr, request: Request<Incoming>) -> Response {
    let presented = bearer(request.headers()).unwrap_or_default();
    let Some(operator) = api.tokens.owner(presented).await else {
        tracing::warn!(%peer, "a request to the admin API had no good token");
        let mut refused = failed(StatusCode::UNAUTHORIZED, "the request has no good admin token");
        let headers = refused.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    };
    let (ledger, epochs) = (api.ledger.clone(), Some(api.epochs.clone()));
    let operations = Router::new()
        .nest(
            PREFIX,
            router(Desk {
                ledger,
                epochs,
                destinations: Some(api.destinations),
                operator,
            }),
        )
        .fallback(async || failed(StatusCode::NOT_FOUND, "no such operation"));
    let done = tokio::time::timeout(OPERATION_MAX, operations.oneshot(request.map(Body::new))).await;
    let mut answer = done.map_or_else(
        |_late| failed(StatusCode::REQUEST_TIMEOUT, "the operation took too long"),
        |Ok(answer)| answer,
    );
    // A new key's secret is in one of these answers.
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn failed(status: StatusCode, error: &str) -> Response {
    let error = error.to_owned();
    (status, Json(Failed { error })).into_response()
}
