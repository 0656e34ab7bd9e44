//! `GET /v1/usage`: what the caller's account used, by day, model and key, as JSON or CSV.
//!
//! Every key sees the use of its whole account, as with `/v1/credits` and `/v1/generation`: the keys of an account are one
//! customer's. Ids of keys are no secrets.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use filature_billing::{KeyRecord, LedgerError, UsageSums};
use filature_openapi::account::{UsageReport, UsageRow};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;

use super::{display, wrong};
use crate::app::Worker;
use crate::reject::Reject;
use crate::request::auth;
use crate::usage::{Row, csv, grouped, span, total};

/// The query of `/v1/usage`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    from: Option<String>,
    to: Option<String>,
    group_by: Option<String>,
    key: Option<String>,
    format: Option<String>,
}

/// What the account used.
///
/// # Errors
/// [`Reject::BadRequest`] that names what of the query is wrong, [`Reject::Unauthorized`] without a good key,
/// [`Reject::LedgerUnavailable`].
pub async fn report(
    State(worker): State<Arc<Worker>>,
    asked: Result<Query<Asked>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let app = &worker.app;
    let key = auth::holder(app, &headers).await?;
    let Query(asked) = asked.map_err(|error| wrong(None, error.body_text()))?;
    let by = read("group_by", asked.group_by.as_deref())?.unwrap_or_default();
    let days = span(read("from", asked.from.as_deref())?, read("to", asked.to.as_deref())?);
    let (from, to) = days.map_err(|why| wrong(Some("from"), why))?;
    let is_csv = is_csv(asked.format.as_deref(), &headers)?;
    let mut usage = app.ledger.usage(&key.account, from, to).await.map_err(failed)?;
    if let Some(only) = of(asked.key.as_deref(), &key) {
        usage.retain(|line| line.key.as_str() == only);
    }
    let rows = grouped(usage, by);
    if is_csv {
        let name = format!("attachment; filename=\"usage-{from}-{to}.csv\"");
        let head = [
            (CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
            (CONTENT_DISPOSITION, name),
        ];
        return Ok((head, csv(&rows, by)).into_response());
    }
    let report = UsageReport {
        from: from.to_string(),
        to: to.to_string(),
        currency: app.config.pricing.symbol.clone(),
        total: sums(&total(&rows)),
        data: rows.into_iter().map(described).collect(),
    };
    Ok(Json(report).into_response())
}

fn described(row: Row) -> UsageRow {
    UsageRow {
        day: row.day.map(|day| day.to_string()),
        model: row.model,
        key: row.key.map(|key| key.to_string()),
        ..sums(&row.sums)
    }
}

fn sums(sums: &UsageSums) -> UsageRow {
    UsageRow {
        calls: sums.calls,
        prompt_tokens: sums.tokens.prompt,
        cached_tokens: sums.tokens.cached_prompt,
        completion_tokens: sums.tokens.completion,
        reasoning_tokens: sums.tokens.reasoning,
        cost: display(sums.cost.get()),
        cost_nano: sums.cost.get(),
        ..UsageRow::default()
    }
}

/// The id of the one key that is asked about.
fn of<'a>(asked: Option<&'a str>, own: &'a KeyRecord) -> Option<&'a str> {
    match asked {
        Some("self") => Some(own.id.as_str()),
        other => other.filter(|id| !id.is_empty()),
    }
}

/// The query's word counts before the header.
fn is_csv(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Reject> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(other) => Err(wrong(Some("format"), format!("`{other}` is neither `json` nor `csv`."))),
        None => {
            let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let first = accept.unwrap_or_default().split([',', ';']).next().unwrap_or_default();
            Ok(first.trim().eq_ignore_ascii_case("text/csv"))
        }
    }
}

fn read<T: std::str::FromStr<Err: std::fmt::Display>>(
    param: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Reject> {
    let read = text.filter(|text| !text.is_empty()).map(str::parse);
    read.transpose()
        .map_err(|error: T::Err| wrong(Some(param), error.to_string()))
}

fn failed(error: LedgerError) -> Reject {
    match error {
        LedgerError::TooLarge(_) => wrong(Some("from"), "At most 400 days can be asked for.".to_owned()),
        other => Reject::ledger(other),
    }
}
