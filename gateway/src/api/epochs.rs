//! `GET /v1/epochs` and `/v1/leaves/{root}/{provider}`: what anybody may read to check this operator, without a key.
//!
//! Both answer with what is signed, or stands under a root that is on chain: nobody has to believe this gateway.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use filature_billing::settle::ProvenLeaf;
use filature_billing::{Hash, ProviderId, Seal, StoreError};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::wrong;
use crate::app::{App, Worker};
use crate::reject::Reject;

/// Seals in one answer, at most: 1,500 bytes each.
const SEALS_MAX: usize = 32;
/// How long the store of epochs may take.
const READ_MAX: Duration = Duration::from_secs(10);

const BUSY: &str = "Epochs cannot be read right now. Try again.";
const CROWDED: &str = "Too many are reading epochs right now. Try again.";

/// The query of `/v1/epochs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    from: u64,
    limit: Option<usize>,
}

/// Seals in their order.
#[derive(Debug, Serialize)]
pub struct SealList {
    object: &'static str,
    data: Vec<Seal>,
}

/// The seals of epochs from a number on.
///
/// # Errors
/// [`Reject::BadRequest`] without a number, [`Reject::Overloaded`] if too many read at a time or the store does not answer.
pub async fn seals(
    State(worker): State<Arc<Worker>>,
    query: Result<Query<Range>, QueryRejection>,
) -> Result<Json<SealList>, Reject> {
    let Query(Range { from, limit }) = query.map_err(|error| wrong(Some("from"), error.body_text()))?;
    let limit = limit.unwrap_or(SEALS_MAX).min(SEALS_MAX);
    let place = place(&worker.app)?;
    let (app, runtime) = (worker.app.clone(), Handle::current());
    // Signatures are checked on a thread that serves no calls. The place is free again when that is, however long it takes.
    let read = tokio::task::spawn_blocking(move || {
        let _place = place;
        runtime.block_on(read_seals(&app, from, limit))
    });
    let read = async {
        read.await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    };
    let data = reading(read).await?;
    Ok(Json(SealList { object: "list", data }))
}

async fn read_seals(app: &App, from: u64, limit: usize) -> Result<Vec<Seal>, StoreError> {
    let mut seals = Vec::new();
    for number in (0..limit).map_while(|place| from.checked_add(u64::try_from(place).ok()?)) {
        match app.epochs.store.seal(number, &app.epochs.keys).await {
            Ok(seal) => seals.push(seal),
            Err(StoreError::Missing(_)) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(seals)
}

/// A provider's leaf under an anchored root of earnings, with its proof: what it claims with.
///
/// # Errors
/// [`Reject::NotFound`] if no plan of the last rounds has this root, or the provider is not in it; [`Reject::Overloaded`] as
/// [`seals`].
pub async fn leaf(
    State(worker): State<Arc<Worker>>,
    Path((root, provider)): Path<(String, String)>,
) -> Result<Json<ProvenLeaf>, Reject> {
    let unknown = || Reject::NotFound(format!("There is no leaf of `{provider}` under the root `{root}`."));
    let (hash, id) = (Hash::parse(&root), ProviderId::parse(&provider));
    let (Some(hash), Ok(id)) = (hash, id) else {
        return Err(unknown());
    };
    let app = &worker.app;
    let _place = place(app)?;
    let leaf = reading(app.epochs.plans.leaf(&app.epochs.store, &hash, &id)).await?;
    leaf.map(Json).ok_or_else(unknown)
}

/// Room to read, before anything is read.
fn place(app: &App) -> Result<OwnedSemaphorePermit, Reject> {
    let readers = app.epochs.readers.clone();
    readers.try_acquire_owned().map_err(|_full| Reject::Overloaded(CROWDED))
}

/// Does not wait for ever.
async fn reading<T, E: std::fmt::Display>(read: impl Future<Output = Result<T, E>>) -> Result<T, Reject> {
    let read = match tokio::time::timeout(READ_MAX, read).await {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_elapsed) => Err("it does not answer in time".to_owned()),
    };
    read.map_err(|error| {
        tracing::error!(error, "the epochs could not be read");
        Reject::Overloaded(BUSY)
    })
}
