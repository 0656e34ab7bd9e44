//! Accounts and their credit.

use axum::Json;
use axum::extract::{Path, State};
use filature_billing::{Account, AccountId, Deposit, Nano};
use http::StatusCode;
use rand::RngExt as _;
use serde_json::json;

use super::super::desk::Change;
use super::super::refused::{Body, In, Refused};
use super::super::wire::{Accounts, Credit, Credited, NewAccount};
use super::{AtDesk, named};
use crate::clock::now_ms;

/// Longest id of a credit, in bytes: with the name space before it, the longest that a deposit may have.
const CREDIT_ID_BYTES_MAX: usize = 256 - "operator:".len();

pub(super) async fn create(
    State(desk): AtDesk,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Refused> {
    named(&new.name)?;
    let id = AccountId::generate(&mut rand::rng());
    let change = Change {
        action: "account.create",
        account: Some(id.clone()),
        subject: String::new(),
        detail: json!({ "name": new.name }),
    };
    let made = async { Ok(desk.ledger.create_account(&id, &new.name, now_ms()).await?) };
    Ok((StatusCode::CREATED, Json(desk.change(change, made).await?)))
}

pub(super) async fn list(State(desk): AtDesk) -> Result<Json<Accounts>, Refused> {
    Ok(Json(Accounts {
        accounts: desk.ledger.accounts().await?,
    }))
}

pub(super) async fn show(State(desk): AtDesk, In(Path(id)): In<Path<AccountId>>) -> Result<Json<Account>, Refused> {
    let account = desk.ledger.account(&id).await?;
    account.map(Json).ok_or_else(|| Refused::no_account(&id))
}

pub(super) async fn credit(
    State(desk): AtDesk,
    In(Path(account)): In<Path<AccountId>>,
    Body(credit): Body<Credit>,
) -> Result<Json<Credited>, Refused> {
    if credit.amount == Nano::ZERO {
        return Err(Refused::Bad("the amount must be above zero".to_owned()));
    }
    let id = credit
        .id
        .unwrap_or_else(|| format!("{:032x}", rand::rng().random::<u128>()));
    if id.is_empty() || id.len() > CREDIT_ID_BYTES_MAX {
        let text = format!("the id must have 1 to {CREDIT_ID_BYTES_MAX} bytes");
        return Err(Refused::Bad(text));
    }
    if desk.ledger.account(&account).await?.is_none() {
        return Err(Refused::no_account(&account));
    }
    let change = Change {
        action: "account.credit",
        account: Some(account.clone()),
        subject: id.clone(),
        detail: json!({ "amount_nano": credit.amount }),
    };
    // A name space of its own, so that no operator's id can ever meet a deposit of the chain.
    let deposit = Deposit {
        id: format!("operator:{id}"),
        account,
        amount: credit.amount,
        note: "credited by the operator".to_owned(),
        now_ms: now_ms(),
    };
    let added = async { Ok(desk.ledger.deposit(&deposit).await?) };
    let done = desk.change(change, added).await?;
    Ok(Json(Credited {
        id,
        fresh: done.fresh,
        account: done.account,
    }))
}
