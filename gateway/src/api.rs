//! Every route that is not a call to a model. Handlers only extract, ask one thing and shape the answer.

pub mod account;
pub mod endpoints;
pub mod health;
pub mod models;
pub mod records;
pub mod usage;

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
