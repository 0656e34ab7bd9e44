//! `POST` and `GET /v1/deposits`: how the caller's account is paid into, and what was.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use filature_billing::chain::Network;
use filature_billing::deposits::{Invoice, payment_link};
use filature_billing::{AccountId, Deposit, Nano, Uncredited};
use filature_openapi::account::Data;
use filature_openapi::transfers::{DepositInstructions, DepositList, DepositRequest, DepositShown};
use http::HeaderMap;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::{Page, asked, body, rfc3339, sentence, wrong};
use crate::app::Worker;
use crate::deposits::Till;
use crate::reject::Reject;
use crate::request::auth;

/// Smallest drawing of a QR code, in pixels each way.
const QR_PIXELS_MIN: u32 = 240;

/// How to pay in.
///
/// # Errors
/// [`Reject::NotFound`] where no deposits are taken, [`Reject::BadRequest`], [`Reject::Unauthorized`] without a good key.
pub async fn ask(
    State(worker): State<Arc<Worker>>,
    request: Request,
) -> Result<Json<Data<DepositInstructions>>, Reject> {
    let (key, bytes) = asked(&worker.app, request).await?;
    let till = worker.app.till.ok_or_else(not_offered)?;
    let wish: DepositRequest = if bytes.is_empty() {
        DepositRequest::default()
    } else {
        body(&bytes)?
    };
    let amount = wish.amount_nano.map(|nano| amount(nano, &till)).transpose()?;
    let data = instructions(&till, &key.account, amount).ok_or_else(not_offered)?;
    Ok(Json(Data { data }))
}

/// What was paid in.
///
/// # Errors
/// [`Reject::BadRequest`] for a query that makes no sense, [`Reject::Unauthorized`], [`Reject::LedgerUnavailable`].
pub async fn list(
    State(worker): State<Arc<Worker>>,
    query: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<DepositList>, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let (after, max) = Page::read(query)?;
    let ledger = &worker.app.ledger;
    let credited = ledger
        .deposits(&key.account, after, max)
        .await
        .map_err(Reject::ledger)?;
    let uncredited = ledger.uncredited_of(&key.account).await.map_err(Reject::ledger)?;
    Ok(Json(DepositList {
        next: credited.last().map(|(place, _)| place.to_string()),
        data: credited.into_iter().map(|(_, deposit)| shown(deposit)).collect(),
        refused: uncredited.into_iter().map(refused).collect(),
    }))
}

fn not_offered() -> Reject {
    Reject::NotFound("This gateway takes no deposits on TON. Ask its operator for credit.".to_owned())
}

fn amount(nano: u64, till: &Till) -> Result<Nano, Reject> {
    let amount = Nano::new(nano).map_err(|error| wrong(Some("amount_nano"), sentence(&error)))?;
    if amount < till.deposit_min {
        let text = format!("The least that is credited is {} nano.", till.deposit_min.get());
        return Err(wrong(Some("amount_nano"), text));
    }
    Ok(amount)
}

/// `None` for an account whose id no invoice can name: none that is made today.
fn instructions(till: &Till, account: &AccountId, amount: Option<Nano>) -> Option<DepositInstructions> {
    let invoice = Invoice::of(account)?;
    let link = payment_link(till.address, till.network, amount, invoice.as_str());
    let network = match till.network {
        Network::Mainnet => "mainnet",
        Network::Testnet => "testnet",
    };
    Some(DepositInstructions {
        address: till.address.friendly(false, till.network),
        comment: invoice.to_string(),
        amount_nano: amount.map(Nano::get),
        minimum_nano: till.deposit_min.get(),
        network: network.to_owned(),
        qr_svg: qr_svg(&link)?,
        link,
    })
}

/// `None` for a text that no QR code holds, which a link is not.
fn qr_svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let mut drawing = code.render::<svg::Color<'_>>();
    Some(drawing.min_dimensions(QR_PIXELS_MIN, QR_PIXELS_MIN).build())
}

fn shown(deposit: Deposit) -> DepositShown {
    DepositShown {
        id: deposit.id,
        status: "credited".to_owned(),
        amount_nano: Some(deposit.amount.get()),
        created_at: rfc3339(deposit.now_ms),
        note: deposit.note,
        reason: None,
    }
}

/// A transfer that named the account and was not credited.
fn refused(transfer: Uncredited) -> DepositShown {
    let amount = transfer.amount.parse().ok().and_then(|nano| Nano::new(nano).ok());
    DepositShown {
        id: transfer.id,
        status: "refused".to_owned(),
        amount_nano: amount.map(Nano::get),
        created_at: rfc3339(transfer.at_ms),
        note: format!("{} nano from {}", transfer.amount, transfer.from),
        reason: Some(transfer.why.as_str().to_owned()),
    }
}
