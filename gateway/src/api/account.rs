//! `GET /v1/key` and `/v1/credits`: what the caller's key and account are and have.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use filature_openapi::account::{Credits, Data, KeyInfo};
use http::HeaderMap;

use super::{display, rfc3339};
use crate::app::Worker;
use crate::reject::Reject;
use crate::request::auth;

/// The key this was asked with.
///
/// # Errors
/// [`Reject::Unauthorized`] without a good key, [`Reject::LedgerUnavailable`].
pub async fn key(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> Result<Json<Data<KeyInfo>>, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let spent = worker
        .app
        .ledger
        .key_spent(&key.account, &key.id)
        .await
        .map_err(Reject::ledger)?
        .unwrap_or_default();
    let data = KeyInfo {
        label: key.hint.clone(),
        name: Some(key.name.clone()),
        limit: None,
        limit_remaining: None,
        usage: display(spent.get()),
        usage_nano: spent.get(),
        is_free_tier: false,
        created_at: rfc3339(key.created_ms),
        expires_at: key.expires_ms.map(rfc3339),
    };
    Ok(Json(Data { data }))
}

/// The account behind the key.
///
/// # Errors
/// [`Reject::Unauthorized`] without a good key, [`Reject::LedgerUnavailable`].
pub async fn credits(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> Result<Json<Data<Credits>>, Reject> {
    let app = &worker.app;
    let key = auth::holder(app, &headers).await?;
    let account = app.ledger.account(&key.account).await.map_err(Reject::ledger)?;
    let account = account.ok_or(Reject::Unauthorized("This API key belongs to no account."))?;
    let data = Credits {
        total_credits: display(account.deposited.get()),
        total_usage: display(account.spent.get()),
        total_credits_nano: account.deposited.get(),
        total_usage_nano: account.spent.get(),
        available_nano: account.available,
        held_nano: account.held.get(),
        currency: app.config.pricing.symbol.clone(),
    };
    Ok(Json(Data { data }))
}
