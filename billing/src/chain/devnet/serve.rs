//! Serves the devnet's face over HTTP/1.1. It is for trying: whoever can connect may ask for coins.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Devnet;
use super::face::{Answer, Question, answer};

/// Longest request, in bytes: an external message of 64 KiB in base64, and room.
const REQUEST_BYTES_MAX: usize = 256 << 10;
/// Connections at a time; others wait.
const CONNECTIONS_MAX: usize = 256;
/// How long nobody is let in after a connection could not be accepted: most often, too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A request's head that is not there by then is given up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves toncenter's API (v2 and v3, as far as this crate's client needs it) on `listener` until `stop`.
pub async fn serve_devnet(devnet: Devnet, listener: TcpListener, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                match accepted {
                    Ok((stream, _)) => drop(connections.spawn(connection(devnet.clone(), stream))),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(devnet: Devnet, stream: TcpStream) {
    let service = service_fn(|request| respond(devnet.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection to the devnet broke");
    }
}

async fn respond(devnet: Devnet, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answer = match Limited::new(body, REQUEST_BYTES_MAX).collect().await {
        Ok(body) => {
            let body = body.to_bytes();
            let answered = tokio::task::spawn_blocking(move || {
                let question = Question {
                    post: head.method == Method::POST,
                    path: head.uri.path(),
                    query: head.uri.query().unwrap_or_default(),
                    body: &body,
                };
                answer(&devnet, &question)
            });
            answered.await.unwrap_or_else(|error| failed(500, &error))
        }
        Err(error) => failed(413, error.as_ref()),
    };
    let mut response = Response::new(Full::from(answer.body.to_string()));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn failed(status: u16, error: &dyn std::fmt::Display) -> Answer {
    Answer {
        status,
        body: serde_json::json!({ "error": error.to_string() }),
    }
}
