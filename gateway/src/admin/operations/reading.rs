//! What an operator reads: usage, the books, the audit trail.

use axum::Json;
use axum::extract::{Path, Query, State};
use filature_billing::{AccountId, Cursor, Day};
use serde::Deserialize;

use super::super::refused::{In, Refused};
use super::super::wire::{Audit, Audited, Books, UncreditedList, UncreditedOne, UsageOf};
use super::AtDesk;
use crate::usage;

/// Entries of such a list in one answer, where the query names no number.
const ENTRIES: usize = 100;

/// Query of `GET /accounts/{id}/usage`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    from: Option<Day>,
    to: Option<Day>,
}

pub(super) async fn usage(
    State(desk): AtDesk,
    In(Path(account)): In<Path<AccountId>>,
    In(Query(span)): In<Query<Span>>,
) -> Result<Json<UsageOf>, Refused> {
    let (from, to) = usage::span(span.from, span.to).map_err(Refused::Bad)?;
    if desk.ledger.account(&account).await?.is_none() {
        return Err(Refused::no_account(&account));
    }
    let usage = desk.ledger.usage(&account, from, to).await?;
    Ok(Json(UsageOf {
        account,
        from,
        to,
        usage,
    }))
}

pub(super) async fn books(State(desk): AtDesk) -> Result<Json<Books>, Refused> {
    let totals = desk.ledger.totals().await?;
    Ok(Json(Books {
        totals,
        earnings: desk.ledger.earnings().await?,
        conserved: totals.are_conserved(),
    }))
}

/// Query of a list that is read page by page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    pub(super) after: Option<Cursor>,
    pub(super) max: Option<usize>,
}

impl Page {
    pub(super) fn max(&self) -> usize {
        self.max.unwrap_or(ENTRIES)
    }
}

pub(super) async fn uncredited(
    State(desk): AtDesk,
    In(Query(page)): In<Query<Page>>,
) -> Result<Json<UncreditedList>, Refused> {
    let found = desk.ledger.uncredited(page.after, page.max()).await?;
    let transfers = found
        .into_iter()
        .map(|(cursor, transfer)| UncreditedOne { cursor, transfer });
    Ok(Json(UncreditedList {
        transfers: transfers.collect(),
    }))
}

pub(super) async fn audit(State(desk): AtDesk, In(Query(page)): In<Query<Page>>) -> Result<Json<Audit>, Refused> {
    let log = desk.ledger.audit_log(page.after, page.max()).await?;
    let entries = log.into_iter().map(|(cursor, entry)| Audited { cursor, entry });
    Ok(Json(Audit {
        entries: entries.collect(),
    }))
}
