//! Withdrawals: asked for in an account's name, listed, and given back while they are not sent.

use axum::Json;
use axum::extract::{Path, Query, State};
use filature_billing::chain::{Address, Network};
use filature_billing::{AccountId, Nano, Withdraw, Withdrawal, WithdrawalStep};
use http::StatusCode;
use serde_json::json;

use super::super::desk::Change;
use super::super::refused::{Body, In, Refused};
use super::super::wire::{NewWithdrawal, Return, Withdrawals};
use super::reading::Page;
use super::{AtDesk, printable};
use crate::clock::now_ms;

/// Longest id of a withdrawal, in bytes.
const ID_BYTES_MAX: usize = 64;
/// Open withdrawals of one shard in the list.
const OPEN_MAX: usize = 1_024;

pub(super) async fn ask(
    State(desk): AtDesk,
    In(Path(account)): In<Path<AccountId>>,
    Body(new): Body<NewWithdrawal>,
) -> Result<(StatusCode, Json<Withdrawal>), Refused> {
    check(&new)?;
    let to = match desk.destinations {
        Some(destinations) => destinations.parse(&new.to).map_err(Refused::Bad)?.to_string(),
        None => raw(new.to)?,
    };
    let change = Change {
        action: "withdrawal.ask",
        account: Some(account.clone()),
        subject: new.id.clone(),
        detail: json!({ "amount_nano": new.amount, "to": to }),
    };
    let ask = Withdraw {
        id: new.id,
        account,
        amount: new.amount,
        to,
        now_ms: now_ms(),
    };
    let asked = async { Ok(desk.ledger.withdraw(&ask).await?) };
    let done = desk.change(change, asked).await?;
    let status = if done.fresh {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(done.withdrawal)))
}

fn check(new: &NewWithdrawal) -> Result<(), Refused> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if new.id.is_empty() || new.id.len() > ID_BYTES_MAX || !new.id.bytes().all(plain) {
        let text = format!("the id must have 1 to {ID_BYTES_MAX} letters, digits, `_`, `-` and `.`");
        return Err(Refused::Bad(text));
    }
    if new.amount == Nano::ZERO {
        return Err(Refused::Bad("the amount must be above zero".to_owned()));
    }
    Ok(())
}

/// An address in its raw form, which is the same on every network, and one text per address.
fn raw(to: String) -> Result<String, Refused> {
    let address = Address::parse(&to, Network::Mainnet).map_err(|error| Refused::Bad(error.to_string()))?;
    if address.address.to_string() == to {
        return Ok(to);
    }
    let text = "the address must be in its raw form: 0: and 64 lowercase hexadecimal digits".to_owned();
    Err(Refused::Bad(text))
}

pub(super) async fn of_account(
    State(desk): AtDesk,
    In(Path(account)): In<Path<AccountId>>,
    In(Query(page)): In<Query<Page>>,
) -> Result<Json<Withdrawals>, Refused> {
    let found = desk.ledger.withdrawals(&account, page.after, page.max()).await?;
    Ok(Json(Withdrawals {
        next: found.last().map(|(cursor, _)| *cursor),
        withdrawals: found.into_iter().map(|(_, withdrawal)| withdrawal).collect(),
    }))
}

pub(super) async fn open(State(desk): AtDesk) -> Result<Json<Withdrawals>, Refused> {
    let mut withdrawals = Vec::new();
    for shard in desk.ledger.shards() {
        withdrawals.extend(desk.ledger.open_withdrawals(shard, OPEN_MAX).await?);
    }
    withdrawals.sort_by_key(|withdrawal| withdrawal.asked_ms);
    Ok(Json(Withdrawals {
        withdrawals,
        next: None,
    }))
}

pub(super) async fn give_back(
    State(desk): AtDesk,
    In(Path((account, id))): In<Path<(AccountId, String)>>,
    Body(Return { why }): Body<Return>,
) -> Result<Json<Withdrawal>, Refused> {
    printable(&why)?;
    let nothing = || Refused::NotFound(format!("{account} has no withdrawal {id}"));
    if desk.ledger.withdrawal(&account, &id).await?.is_none() {
        return Err(nothing());
    }
    let change = Change {
        action: "withdrawal.return",
        account: Some(account.clone()),
        subject: id.clone(),
        detail: json!({ "why": why }),
    };
    let step = WithdrawalStep::Returned { reference: None, why };
    let returned = async {
        let after = desk.ledger.step_withdrawal(&account, &id, &step, now_ms()).await?;
        after.ok_or_else(nothing)
    };
    Ok(Json(desk.change(change, returned).await?))
}
