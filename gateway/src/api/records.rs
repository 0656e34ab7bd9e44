//! `GET /v1/generation` and `/v1/receipts/{id}`: what a finished call was, and the signed proof of it.
//!
//! The record is written when the call is posted; its receipt is that record signed. Ed25519 signatures are
//! deterministic (RFC 8032), so a receipt is the same whenever it is asked for, and signing costs nothing on a call's
//! path (`docs/decisions/003-receipts-signed-when-read.md`).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use filature_billing::{CallId, CallOutcome, Receipt, UsageRecord};
use filature_openapi::account::{Data, Generation};
use http::HeaderMap;
use serde::Deserialize;

use super::{display, rfc3339};
use crate::app::{App, Worker};
use crate::reject::Reject;
use crate::request::auth;

/// A caller may ask before its call is posted, moments after the last byte: that long it is waited for.
const SETTLING_MAX: Duration = Duration::from_secs(5);

/// The query of `/v1/generation`.
#[derive(Debug, Deserialize)]
pub struct Which {
    id: Option<String>,
}

/// One finished call.
///
/// # Errors
/// [`Reject::NotFound`] unless the call is this account's and was charged; [`Reject::BadRequest`] without an id.
pub async fn generation(
    State(worker): State<Arc<Worker>>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Json<Data<Generation>>, Reject> {
    let id = which.id.ok_or_else(|| Reject::BadRequest {
        message: "The query needs `id`: the X-Generation-Id of an answer.".to_owned(),
        param: Some("id".to_owned()),
        code: None,
    })?;
    let record = record(&worker.app, &headers, &id).await?;
    Ok(Json(Data {
        data: describe(&worker.app, record),
    }))
}

/// The signed receipt of one finished call.
///
/// # Errors
/// As [`generation`].
pub async fn receipt(
    State(worker): State<Arc<Worker>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Receipt>, Reject> {
    let record = record(&worker.app, &headers, &id).await?;
    let receipt = worker.app.receipts.sign(record).map_err(|error| {
        tracing::error!(%error, "a receipt could not be signed");
        Reject::Internal
    })?;
    Ok(Json(receipt))
}

async fn record(app: &App, headers: &HeaderMap, id: &str) -> Result<UsageRecord, Reject> {
    let key = auth::holder(app, headers).await?;
    let unknown = || Reject::NotFound(format!("No charged call of this account has the id `{id}`."));
    let call = CallId::parse(id).map_err(|_| unknown())?;
    let _ = tokio::time::timeout(SETTLING_MAX, app.live.settled(&call)).await;
    let record = app.ledger.record(&key.account, &call).await.map_err(Reject::ledger)?;
    record.ok_or_else(unknown)
}

fn describe(app: &App, record: UsageRecord) -> Generation {
    let finisher = record
        .legs
        .last()
        .map(|leg| leg.provider.as_str().to_owned())
        .unwrap_or_default();
    let known = app
        .fleet
        .provider(&finisher.as_str().into())
        .map(|provider| provider.name.clone());
    let duration = record.ended_ms.saturating_sub(record.created_ms);
    let claimed = record.claimed;
    Generation {
        id: record.call.to_string(),
        model: record.model,
        api_type: record.endpoint,
        created_at: rfc3339(record.created_ms),
        streamed: record.stream,
        cancelled: record.outcome == CallOutcome::Cancelled,
        provider_name: known.unwrap_or(finisher),
        finish_reason: record.finish_reason.clone(),
        native_finish_reason: record.finish_reason,
        latency: record.first_token_ms,
        generation_time: record.first_token_ms.map(|first| duration.saturating_sub(first)),
        tokens_prompt: record.billed.prompt,
        tokens_completion: record.billed.completion,
        native_tokens_prompt: claimed.map(|claimed| claimed.prompt),
        native_tokens_completion: claimed.map(|claimed| claimed.completion),
        native_tokens_reasoning: claimed.map(|claimed| claimed.reasoning),
        native_tokens_cached: claimed.map(|claimed| claimed.cached_prompt),
        total_cost: display(record.cost.get()),
        usage: display(record.cost.get()),
        total_cost_nano: record.cost.get(),
    }
}
