//! What settlers ask of the ledger: whose turn it is, and who is paid where.

use axum::Json;
use axum::extract::State;
use filature_billing::settle::payout_names;

use super::super::refused::{Body, Refused};
use super::super::wire::{AskedTurn, NextAddress, PayeeList, PayeeOne, Turn};
use super::AtDesk;
use crate::clock::now_ms;

/// The lease of whoever settles.
const LEASE: &str = "settler";

/// Not a change that an operator makes, and so not in the audit trail.
pub(super) async fn turn(State(desk): AtDesk, Body(asked): Body<AskedTurn>) -> Result<Json<Turn>, Refused> {
    let yours = desk.ledger.lease(LEASE, &asked.holder, asked.ttl_ms, now_ms()).await?;
    Ok(Json(Turn { yours }))
}

pub(super) async fn payees(State(desk): AtDesk) -> Result<Json<PayeeList>, Refused> {
    let now_ms = now_ms();
    let named = payout_names(&*desk.ledger).await?.into_iter();
    let payees = named.map(|(provider, names)| PayeeOne {
        provider,
        address: names.at(now_ms),
        next: names
            .next()
            .filter(|(_, from_ms)| *from_ms > now_ms)
            .map(|(address, from_ms)| NextAddress { address, from_ms }),
    });
    Ok(Json(PayeeList {
        payees: payees.collect(),
    }))
}
