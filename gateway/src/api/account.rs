//! `GET /v1/key` and `/v1/credits`: what the caller's key and account are and have.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use filature_billing::{KeyRecord, KeyUse, Nano, Period};
use filature_openapi::account::{Credits, Data, KeyInfo, RateLimit};
use http::HeaderMap;

use super::{display, rfc3339};
use crate::app::Worker;
use crate::clock::now_ms;
use crate::reject::Reject;
use crate::request::auth;

/// The key this was asked with.
///
/// # Errors
/// [`Reject::Unauthorized`] without a good key, [`Reject::LedgerUnavailable`].
pub async fn key(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> Result<Json<Data<KeyInfo>>, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let used = worker.app.ledger.key_use(&key.account, &key.id, now_ms()).await;
    let used = used.map_err(Reject::ledger)?.unwrap_or_default();
    Ok(Json(Data {
        data: describe(&key, &used),
    }))
}

fn describe(key: &KeyRecord, used: &KeyUse) -> KeyInfo {
    let limits = &key.limits;
    let left = limits.budget.map(|budget| {
        let spent = match budget.period {
            Period::Never => used.spent,
            Period::Day => used.spent_day,
            Period::Week => used.spent_week,
            Period::Month => used.spent_month,
        };
        let taken = spent.get().saturating_add(used.held.get());
        budget.amount.get().saturating_sub(taken)
    });
    let resets = limits.budget.and_then(|budget| match budget.period {
        Period::Never => None,
        Period::Day => Some("daily"),
        Period::Week => Some("weekly"),
        Period::Month => Some("monthly"),
    });
    let (usage, usage_nano) = money(used.spent);
    let (usage_daily, usage_daily_nano) = money(used.spent_day);
    let (usage_weekly, usage_weekly_nano) = money(used.spent_week);
    let (usage_monthly, usage_monthly_nano) = money(used.spent_month);
    KeyInfo {
        label: key.hint.clone(),
        name: Some(key.name.clone()),
        limit: limits.budget.map(|budget| display(budget.amount.get())),
        limit_nano: limits.budget.map(|budget| budget.amount.get()),
        limit_reset: resets.map(str::to_owned),
        limit_remaining: left.map(display),
        limit_remaining_nano: left,
        usage,
        usage_nano,
        usage_daily,
        usage_daily_nano,
        usage_weekly,
        usage_weekly_nano,
        usage_monthly,
        usage_monthly_nano,
        rate_limit: RateLimit {
            requests: limits.requests_per_min.map_or(-1, i64::from),
            tokens: limits
                .tokens_per_min
                .map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX)),
            concurrent: limits.concurrent.map_or(-1, i64::from),
            interval: "60s".to_owned(),
        },
        models: limits.models.clone(),
        is_provisioning_key: false,
        is_free_tier: false,
        created_at: rfc3339(key.created_ms),
        expires_at: key.expires_ms.map(rfc3339),
    }
}

/// An amount to look at, and exactly.
fn money(amount: Nano) -> (f64, u64) {
    (display(amount.get()), amount.get())
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
