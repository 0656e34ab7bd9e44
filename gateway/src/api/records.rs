//! `GET /v1/generation` and `/v1/receipts/{id}`: what a finished call was, and the signed proof of it.
//!
//! The record is written when the call is posted; its receipt is that record signed. Once it is sealed it is found in its
//! epoch, and the receipt has the proof of that. Ed25519 signatures are
//! deterministic (RFC 8032), so a receipt is the same whenever it is asked for, and signing costs nothing on a call's
//! path (`docs/decisions/003-receipts-signed-when-read.md`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, Query, State};
use filature_billing::{AccountId, CallId, CallOutcome, Inclusion, Receipt, StoreError, UsageRecord};
use filature_openapi::account::{Data, Generation};
use http::HeaderMap;
use serde::Deserialize;

use super::{display, rfc3339};
use crate::app::{App, Worker};
use crate::clock::now_ms;
use crate::epochs::Crowded;
use crate::reject::Reject;
use crate::request::auth;

/// A caller may ask before its call is posted, moments after the last byte: that long it is waited for.
const SETTLING_MAX: Duration = Duration::from_secs(5);

/// How long the store of epochs may take.
const SEARCH_MAX: Duration = Duration::from_secs(10);

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
    let record = match kept(&worker.app, &headers, &id).await? {
        Kept::Record(record) | Kept::Sealed(record, _) => *record,
    };
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
    let app = &worker.app;
    let (record, inclusion) = match kept(app, &headers, &id).await? {
        Kept::Record(record) => (record, None),
        Kept::Sealed(record, inclusion) => (record, Some(*inclusion)),
    };
    let mut receipt = app.receipts.sign(*record).map_err(|error| {
        tracing::error!(%error, "a receipt could not be signed");
        Reject::Internal
    })?;
    receipt.inclusion = inclusion;
    // A gateway whose key was replaced no longer knows the nonces of before.
    let nonce = app.receipts.nonce(&receipt.record.call);
    receipt.nonce = Some(nonce).filter(|nonce| receipt.record.nonce_hash == Some(nonce.hash()));
    Ok(Json(receipt))
}

/// Where the record of a call is.
enum Kept {
    /// In the ledger, not sealed yet.
    Record(Box<UsageRecord>),
    /// In an epoch, and the proof of it.
    Sealed(Box<UsageRecord>, Box<Inclusion>),
}

/// The record of a call of this account; a stranger's is as unknown as one that never was.
async fn kept(app: &App, headers: &HeaderMap, id: &str) -> Result<Kept, Reject> {
    let key = auth::holder(app, headers).await?;
    let unknown = || Reject::NotFound(format!("No charged call of this account has the id `{id}`."));
    let call = CallId::parse(id).map_err(|_| unknown())?;
    let _ = tokio::time::timeout(SETTLING_MAX, app.live.settled(&call)).await;
    let record = app.ledger.record(&key.account, &call).await.map_err(Reject::ledger)?;
    if let Some(record) = record {
        return Ok(Kept::Record(Box::new(record)));
    }
    match sealed(app, &key.account, &call).await? {
        Some((record, inclusion)) => Ok(Kept::Sealed(Box::new(record), Box::new(inclusion))),
        None => Err(unknown()),
    }
}

/// The record of a call of this account in the epochs, with the proof that it stands there.
async fn sealed(app: &App, account: &AccountId, call: &CallId) -> Result<Option<(UsageRecord, Inclusion)>, Reject> {
    let (epochs, now) = (&app.epochs, Instant::now());
    if epochs.searches.is_missing(account, call, now) {
        return Ok(None);
    }
    let found = in_turn(app, account, epochs.store.locate(call, &epochs.keys, now_ms())).await?;
    let Some((epoch, record)) = found.filter(|(_, record)| record.account == *account) else {
        epochs.searches.missed(account, call, now);
        return Ok(None);
    };
    let inclusion = in_turn(app, account, epochs.store.prove(epoch, &record, &epochs.keys)).await?;
    Ok(Some((record, inclusion)))
}

/// Reads the store of epochs when it is the account's turn, and does not wait for ever.
async fn in_turn<T>(
    app: &App,
    account: &AccountId,
    read: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Reject> {
    const BUSY: &str = "Sealed receipts cannot be read right now. Try again.";
    const CROWDED: &str = "This account is looking for as many sealed receipts as it may at a time. Try again shortly.";
    let read = async {
        let _turn = app.epochs.searches.turn(account).await?;
        Ok::<_, Crowded>(read.await)
    };
    let read = tokio::time::timeout(SEARCH_MAX, read).await;
    let read = match read {
        Ok(Ok(read)) => read.map_err(|error| error.to_string()),
        Ok(Err(Crowded)) => return Err(Reject::Crowded(CROWDED)),
        Err(_elapsed) => Err("it does not answer in time".to_owned()),
    };
    read.map_err(|error| {
        tracing::error!(error, "the epochs could not be read");
        Reject::Overloaded(BUSY)
    })
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
