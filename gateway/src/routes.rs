//! Every URL of the gateway, in one table, and the thin shell around it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use filature_openapi::call::Endpoint;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::Worker;
use crate::reject::Reject;
use crate::{api, fleet, request};

/// OpenAI's header for the id of a request; its clients show it in their errors.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Builds the router of one worker.
///
/// Calls to models come first and have no layer around them: they name themselves and catch their own panics.
pub fn table(worker: Arc<Worker>) -> Router {
    let calls = Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(completions))
        .route("/v1/embeddings", post(embeddings));
    let others = Router::new()
        .route("/v1/models", get(api::models::list))
        .route("/v1/models/{*id}", get(api::models::show))
        .route("/v1/key", get(api::account::key))
        .route("/v1/credits", get(api::account::credits))
        .route("/v1/deposits", post(api::deposits::ask).get(api::deposits::list))
        .route(
            "/v1/withdrawals",
            post(api::withdrawals::ask).get(api::withdrawals::list),
        )
        .route("/v1/usage", get(api::usage::report))
        .route("/v1/generation", get(api::records::generation))
        .route("/v1/receipts/{id}", get(api::records::receipt))
        .route("/v1/epochs", get(api::epochs::seals))
        .route("/v1/leaves/{root}/{provider}", get(api::epochs::leaf))
        .route("/healthz", get(api::health::alive))
        .route("/readyz", get(api::health::ready))
        .route("/metrics", get(api::health::metrics))
        .route(filature_provider_sdk::tunnel::TUNNEL_PATH, get(fleet::tunnel::accept))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", filature_openapi::spec::document()))
        .fallback(no_such_path)
        .layer(middleware::from_fn(name_request))
        .layer(CatchPanicLayer::custom(|_panic: Box<dyn std::any::Any + Send>| {
            Reject::Internal.into_response()
        }));
    calls
        .merge(others)
        .method_not_allowed_fallback(no_such_method)
        .with_state(worker)
}

async fn chat_completions(State(worker): State<Arc<Worker>>, request: Request) -> Response {
    request::serve(worker, Endpoint::ChatCompletions, request).await
}

async fn completions(State(worker): State<Arc<Worker>>, request: Request) -> Response {
    request::serve(worker, Endpoint::Completions, request).await
}

async fn embeddings(State(worker): State<Arc<Worker>>, request: Request) -> Response {
    request::serve(worker, Endpoint::Embeddings, request).await
}

async fn no_such_path(request: Request) -> Reject {
    Reject::NotFound(format!(
        "There is nothing at `{}`. See /docs for what there is.",
        request.uri().path()
    ))
}

async fn no_such_method() -> Reject {
    Reject::MethodNotAllowed
}

/// Gives every answer an `x-request-id`; a call's own id where it has one.
async fn name_request(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !response.headers().contains_key(REQUEST_ID) {
        let id = format!("req_{:032x}", rand::random::<u128>());
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
    }
    response
}
