//! `POST` and `GET /v1/withdrawals`: unused credit, back to an address of the caller's.
//!
//! An API key lies on many machines and is meant for calls: only keys the operator has named may withdraw.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use filature_billing::chain::Address;
use filature_billing::{KeyRecord, LedgerError, Nano, Withdraw, Withdrawal, WithdrawalState};
use filature_openapi::account::Data;
use filature_openapi::transfers::{WithdrawalList, WithdrawalRequest, WithdrawalShown};
use http::HeaderMap;

use super::{Page, asked, body, rfc3339, sentence, wrong};
use crate::app::{App, Worker};
use crate::clock::now_ms;
use crate::deposits::Till;
use crate::reject::Reject;
use crate::request::auth;

/// Longest name of a withdrawal, in bytes.
const ID_BYTES_MAX: usize = 64;

/// Withdraws.
///
/// # Errors
/// [`Reject::NotFound`] where nothing is paid out, [`Reject::NotPermitted`] with a key that may not,
/// [`Reject::BadRequest`], [`Reject::TooLittle`], [`Reject::Conflict`], [`Reject::Unauthorized`],
/// [`Reject::LedgerUnavailable`].
pub async fn ask(State(worker): State<Arc<Worker>>, request: Request) -> Result<Json<Data<WithdrawalShown>>, Reject> {
    let app = &worker.app;
    let (key, bytes) = asked(app, request).await?;
    let till = permitted(app, &key)?;
    let ask = read(&body(&bytes)?, &key, &till)?;
    let done = app.ledger.withdraw(&ask).await.map_err(refused)?;
    if done.fresh {
        let (account, amount) = (&ask.account, ask.amount);
        tracing::info!(%account, id = ask.id, %amount, to = ask.to, "a withdrawal is asked for");
    }
    Ok(Json(Data {
        data: shown(done.withdrawal),
    }))
}

/// What was withdrawn.
///
/// # Errors
/// [`Reject::BadRequest`] for a query that makes no sense, [`Reject::Unauthorized`], [`Reject::LedgerUnavailable`].
pub async fn list(
    State(worker): State<Arc<Worker>>,
    query: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<WithdrawalList>, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let (after, max) = Page::read(query)?;
    let found = worker.app.ledger.withdrawals(&key.account, after, max).await;
    let found = found.map_err(Reject::ledger)?;
    Ok(Json(WithdrawalList {
        next: found.last().map(|(place, _)| place.to_string()),
        data: found.into_iter().map(|(_, withdrawal)| shown(withdrawal)).collect(),
    }))
}

fn permitted(app: &App, key: &KeyRecord) -> Result<Till, Reject> {
    let not_offered = || Reject::NotFound("This gateway pays nothing out on TON. Ask its operator.".to_owned());
    let till = app.till.ok_or_else(not_offered)?;
    let keys = &app.config.settlement.withdrawal_keys;
    if keys.iter().any(|id| id == key.id.as_str()) {
        Ok(till)
    } else {
        Err(Reject::NotPermitted("This API key may not withdraw. Ask the operator."))
    }
}

fn read(wish: &WithdrawalRequest, key: &KeyRecord, till: &Till) -> Result<Withdraw, Reject> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if wish.id.is_empty() || wish.id.len() > ID_BYTES_MAX || !wish.id.bytes().all(plain) {
        let text = "A name is 1 to 64 letters, digits, `_`, `-` and `.`.".to_owned();
        return Err(wrong(Some("id"), text));
    }
    let amount = Nano::new(wish.amount_nano).map_err(|error| wrong(Some("amount_nano"), sentence(&error)))?;
    if amount < till.withdrawal_min {
        let text = format!("The least that is withdrawn is {} nano.", till.withdrawal_min.get());
        return Err(wrong(Some("amount_nano"), text));
    }
    let to = Address::parse(&wish.address, till.network);
    let to = to.map_err(|error| wrong(Some("address"), sentence(&error)))?.address;
    if let Some(why) = till.refuses(to) {
        return Err(wrong(Some("address"), why.to_owned()));
    }
    Ok(Withdraw {
        id: wish.id.clone(),
        account: key.account.clone(),
        amount,
        to: to.to_string(),
        now_ms: now_ms(),
    })
}

fn refused(error: LedgerError) -> Reject {
    match error {
        LedgerError::Insufficient { available } => Reject::TooLittle {
            available_nano: available,
        },
        LedgerError::Conflict(_) => Reject::Conflict(sentence(&error)),
        other => Reject::ledger(other),
    }
}

fn shown(withdrawal: Withdrawal) -> WithdrawalShown {
    let (status, reference, transaction, reason) = match withdrawal.state {
        WithdrawalState::Asked => ("asked", None, None, None),
        WithdrawalState::Sent { reference, .. } => ("sent", Some(reference), None, None),
        WithdrawalState::Paid {
            reference, transaction, ..
        } => ("paid", Some(reference), Some(transaction), None),
        WithdrawalState::Returned { reference, why, .. } => ("returned", reference, None, Some(why)),
    };
    WithdrawalShown {
        id: withdrawal.id,
        status: status.to_owned(),
        amount_nano: withdrawal.amount.get(),
        address: withdrawal.to,
        created_at: rfc3339(withdrawal.asked_ms),
        reference,
        transaction,
        reason,
    }
}
