//! Settlement: what settlers ask (whose turn it is, who is paid where), and what its books say.

use axum::Json;
use axum::extract::{Query, State};
use filature_billing::EpochStore;
use filature_billing::settle::{owed as owed_by, payments, payout_names};
use serde::Deserialize;

use super::super::desk::Desk;
use super::super::refused::{Body, In, Refused};
use super::super::wire::{AskedTurn, NextAddress, OwedPayouts, PayeeList, PayeeOne, Payouts, Turn};
use super::AtDesk;
use crate::clock::now_ms;

/// The lease of whoever settles.
const LEASE: &str = "settler";
/// Payments in one answer, where the query names no number, and at most. Whole rounds are told: it may be more.
const PAYOUTS: usize = 100;
const PAYOUTS_MAX: usize = 10_000;

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

/// Query of `GET /payouts`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    before: Option<u64>,
    max: Option<usize>,
}

pub(super) async fn payouts(
    State(desk): AtDesk,
    In(Query(query)): In<Query<Before>>,
) -> Result<Json<Payouts>, Refused> {
    let max = query.max.unwrap_or(PAYOUTS).min(PAYOUTS_MAX);
    let (payouts, next) = payments(epochs(&desk)?, query.before, max).await.map_err(unread)?;
    Ok(Json(Payouts { payouts, next }))
}

pub(super) async fn owed(State(desk): AtDesk) -> Result<Json<OwedPayouts>, Refused> {
    let plan = owed_by(epochs(&desk)?).await.map_err(unread)?;
    Ok(Json(OwedPayouts { plan }))
}

fn epochs(desk: &Desk) -> Result<&EpochStore, Refused> {
    let none = || Refused::NotFound("the books of settlement are not within reach here".to_owned());
    desk.epochs.as_ref().ok_or_else(none)
}

fn unread(error: impl std::fmt::Display) -> Refused {
    Refused::Unavailable(format!("the books of settlement cannot be read: {error}"))
}
