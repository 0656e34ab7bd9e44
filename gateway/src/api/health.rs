//! `/healthz`, `/readyz`, `/metrics`: for orchestrators and Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use crate::app::Worker;

/// The text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process runs and answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Calls can be served: not stopping, the ledger answers, at least one provider is here.
pub async fn ready(State(worker): State<Arc<Worker>>) -> Response {
    let app = &worker.app;
    let problem = if app.stop.announced.is_cancelled() {
        Some("stopping\n")
    } else if app.ledger.ping().await.is_err() {
        Some("the ledger does not answer\n")
    } else if app.fleet.is_empty() {
        Some("no provider is connected\n")
    } else {
        None
    };
    match problem {
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem).into_response(),
        None => "ready\n".into_response(),
    }
}

/// The metrics in Prometheus' text format.
pub async fn metrics(State(worker): State<Arc<Worker>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], worker.app.metrics.render())
}
