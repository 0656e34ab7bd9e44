//! Answers that go wrong before their first byte, and answers in one piece that go wrong in their middle. Streams break
//! in `stream`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Response, StatusCode};

use super::body::{Body, Then};
use super::refusal::Refusal;
use super::serve::{EVENT_STREAM, Exchange, JSON, refused, response};
use super::sim::{Fault, FaultKind};
use super::stats::Running;
use super::stream::{Broken, GARBAGE};

const HTML: &str =
    "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\n";

impl Exchange<'_> {
    pub(super) async fn fail_at_the_head(
        &self,
        fault: &Fault,
        stream: bool,
        mut running: Running,
    ) -> Result<Response<Body>, Broken> {
        let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
        running.suffers(fault.kind);
        let refuse =
            |usual: StatusCode, running| Ok(refused(&Refusal::simulated(status.unwrap_or(usual)), Some(running)));
        match fault.kind {
            FaultKind::Http429 => refuse(StatusCode::TOO_MANY_REQUESTS, running),
            FaultKind::Http400 => refuse(StatusCode::BAD_REQUEST, running),
            FaultKind::Html => Ok(response(
                status.unwrap_or_default(),
                "text/html; charset=utf-8",
                Body::Whole(HTML.into(), Some(running)),
            )),
            FaultKind::Empty => {
                running.finish();
                let kind = if stream { EVENT_STREAM } else { JSON };
                Ok(response(status.unwrap_or_default(), kind, Body::Empty))
            }
            FaultKind::Hang => std::future::pending().await,
            FaultKind::Close => {
                running.fault();
                Err(Broken)
            }
            FaultKind::Reset => {
                running.fault();
                self.reset.store(true, Ordering::Relaxed);
                Err(Broken)
            }
            _ => refuse(StatusCode::INTERNAL_SERVER_ERROR, running),
        }
    }

    /// Sends an answer that is not streamed, after `wait`, as the fault has it.
    pub(super) async fn whole(
        &self,
        answer: Vec<u8>,
        tokens: u64,
        wait: Duration,
        fault: Option<&Fault>,
        mut running: Running,
    ) -> Result<Response<Body>, Broken> {
        if let Some(fault) = fault {
            running.suffers(fault.kind);
        }
        let extra = fault
            .filter(|fault| fault.kind == FaultKind::SlowDown)
            .map_or(Duration::ZERO, Fault::gap);
        if !(wait + extra).is_zero() {
            tokio::time::sleep(wait + extra).await;
        }
        let bytes_in_all = answer.len();
        let sent = fault.map_or(0, |fault| fault.bytes_sent(bytes_in_all, tokens));
        let mut answer = Bytes::from(answer);
        let then = match fault.map(|fault| fault.kind) {
            Some(FaultKind::Reset) => Then::Reset(Arc::clone(&self.reset)),
            Some(FaultKind::Stall) => Then::Silence,
            Some(FaultKind::Truncate | FaultKind::Close) => Then::Close,
            other => {
                let body = match (other, fault) {
                    (Some(FaultKind::GiantLine), Some(fault)) => Body::Giant {
                        left: fault.line_bytes(),
                        running,
                        started: false,
                    },
                    (Some(FaultKind::Garbage), _) => Body::Whole(Bytes::from_static(GARBAGE), Some(running)),
                    (Some(FaultKind::HalfFrame), _) => Body::Whole(answer.split_to(sent), Some(running)),
                    (Some(FaultKind::OkWithError), _) => Body::Whole(
                        Refusal::simulated(StatusCode::INTERNAL_SERVER_ERROR).json().into(),
                        Some(running),
                    ),
                    _ => {
                        running.tokens(tokens);
                        Body::Whole(answer, Some(running))
                    }
                };
                return Ok(response(StatusCode::OK, JSON, body));
            }
        };
        let mut response = response(
            StatusCode::OK,
            JSON,
            Body::Part {
                bytes: answer.split_to(sent),
                then,
                running,
                written: false,
            },
        );
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(bytes_in_all));
        Ok(response)
    }
}

/// Whether it stands in place of an answer.
pub(super) const fn happens_at_the_head(fault: &Fault) -> bool {
    use FaultKind::{Close, Empty, Hang, Html, Http400, Http429, Http500, Reset};
    match fault.kind {
        Http500 | Http429 | Http400 | Html | Empty | Hang => true,
        Reset | Close => fault.at == 0,
        _ => false,
    }
}

/// Whether it shows in the usage only.
pub(super) const fn spoils_the_usage(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::NoUsage | FaultKind::BadUsage)
}
