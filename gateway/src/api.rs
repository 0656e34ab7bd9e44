//! Every route that is not a call to a model. Handlers only extract, ask one thing and shape the answer.

pub mod account;
pub mod deposits;
pub mod endpoints;
pub mod epochs;
pub mod health;
pub mod models;
pub mod records;
pub mod usage;
pub mod withdrawals;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use bytes::Bytes;
use filature_billing::{Cursor, KeyRecord};
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::reject::Reject;
use crate::request::auth;
use crate::request::parse::{STRANGER_BYTES_MAX, discard, read_body};

/// Entries of a list in one answer, where the query names no number.
const LISTED: usize = 100;

/// The query of a list that is read page by page.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    after: Option<String>,
    limit: Option<usize>,
}

impl Page {
    /// Behind which place, and how many at most.
    fn read(asked: Result<Query<Self>, QueryRejection>) -> Result<(Option<Cursor>, usize), Reject> {
        let Query(asked) = asked.map_err(|error| wrong(None, error.body_text()))?;
        let after = asked.after.filter(|after| !after.is_empty());
        let after = after.map(|after| after.parse::<Cursor>()).transpose();
        let after = after.map_err(|error| wrong(Some("after"), error.to_string()))?;
        Ok((after, asked.limit.unwrap_or(LISTED)))
    }
}

/// Who asks, and the body: read of callers with a good key only, bounded in size and time as a call's is.
///
/// # Errors
/// Those of [`auth::holder`] and [`read_body`].
async fn asked(app: &App, request: Request) -> Result<(Arc<KeyRecord>, Bytes), Reject> {
    let (head, rest) = request.into_parts();
    let key = match auth::holder(app, &head.headers).await {
        Ok(key) => key,
        Err(reject) => {
            discard(rest, STRANGER_BYTES_MAX).await;
            return Err(reject);
        }
    };
    let (_place, bytes) = read_body(app, &head.headers, &key.account, rest).await?;
    Ok((key, bytes))
}

/// A JSON body.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Reject> {
    serde_json::from_slice(bytes).map_err(|error| wrong(None, format!("The body cannot be read: {error}.")))
}

/// An error's words as a sentence.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).chain(['.']).collect()
}

fn wrong(param: Option<&str>, message: String) -> Reject {
    Reject::BadRequest {
        message,
        param: param.map(str::to_owned),
        code: None,
    }
}

/// A time in milliseconds since the Unix epoch as RFC 3339, in UTC.
fn rfc3339(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Nano as the display currency's number, as OpenRouter's fields want it. The exact integer always stands beside it.
#[expect(
    clippy::cast_precision_loss,
    reason = "a number to look at; the exact integer stands beside it"
)]
fn display(nano: u64) -> f64 {
    nano as f64 / 1e9
}
