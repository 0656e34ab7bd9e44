//! API keys: made, shown, changed, revoked.

use axum::Json;
use axum::extract::{Path, Query, State};
use filature_billing::{AccountId, ApiKey, KeyChange, KeyId, KeyRecord};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::super::desk::{Change, Desk};
use super::super::refused::{Body, In, Refused};
use super::super::wire::{CreatedKey, KeyPatch, KeyShown, Keys, NewKey};
use super::{AtDesk, printable};
use crate::clock::now_ms;

pub(super) async fn create(
    State(desk): AtDesk,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<CreatedKey>), Refused> {
    printable(&new.name)?;
    unexpired(new.expires_ms)?;
    new.limits.check()?;
    if desk.ledger.account(&new.account).await?.is_none() {
        return Err(Refused::no_account(&new.account));
    }
    let key = ApiKey::generate(&mut rand::rng());
    let record = KeyRecord {
        id: KeyId::generate(&mut rand::rng()),
        account: new.account,
        name: new.name,
        hint: key.hint(),
        created_ms: now_ms(),
        expires_ms: new.expires_ms,
        revoked_ms: None,
        limits: new.limits,
    };
    let detail = json!({ "name": record.name, "expires_ms": record.expires_ms, "limits": record.limits });
    let made = async { Ok(desk.ledger.create_key(&record, &key.hash()).await?) };
    desk.change(to(&record, "key.create", detail), made).await?;
    let created = CreatedKey {
        key: key.expose().to_owned(),
        record,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// Query of `GET /keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfAccount {
    account: Option<AccountId>,
}

pub(super) async fn list(State(desk): AtDesk, In(Query(of)): In<Query<OfAccount>>) -> Result<Json<Keys>, Refused> {
    if let Some(id) = &of.account
        && desk.ledger.account(id).await?.is_none()
    {
        return Err(Refused::no_account(id));
    }
    Ok(Json(Keys {
        keys: desk.ledger.keys(of.account.as_ref()).await?,
    }))
}

pub(super) async fn show(State(desk): AtDesk, In(Path(id)): In<Path<KeyId>>) -> Result<Json<KeyShown>, Refused> {
    let record = known(&desk, &id).await?;
    let used = desk.ledger.key_use(&record.account, &id, now_ms()).await?;
    Ok(Json(KeyShown {
        used: used.unwrap_or_default(),
        record,
    }))
}

/// Two changes of one key's limits at the same moment: the later one stands whole.
pub(super) async fn update(
    State(desk): AtDesk,
    In(Path(id)): In<Path<KeyId>>,
    Body(patch): Body<KeyPatch>,
) -> Result<Json<KeyRecord>, Refused> {
    let before = known(&desk, &id).await?;
    printable(patch.name.as_deref().unwrap_or_default())?;
    unexpired(patch.expires_ms.flatten())?;
    let limits = patch.limits.as_ref().map(|limits| limits.applied(&before.limits));
    let limits = limits.transpose().map_err(|why| Refused::Bad(why.to_owned()))?;
    if let Some(limits) = &limits {
        limits.check()?;
    }
    let detail = json!(patch);
    let change = KeyChange {
        name: patch.name,
        expires_ms: patch.expires_ms,
        limits,
    };
    let made = async {
        let changed = desk.ledger.update_key(&id, &change).await?;
        changed.ok_or_else(|| Refused::no_key(&id))
    };
    Ok(Json(desk.change(to(&before, "key.update", detail), made).await?))
}

pub(super) async fn revoke(State(desk): AtDesk, In(Path(id)): In<Path<KeyId>>) -> Result<Json<KeyRecord>, Refused> {
    let before = known(&desk, &id).await?;
    let made = async {
        let revoked = desk.ledger.revoke_key(&id, now_ms()).await?;
        revoked.ok_or_else(|| Refused::no_key(&id))
    };
    Ok(Json(desk.change(to(&before, "key.revoke", json!({})), made).await?))
}

async fn known(desk: &Desk, id: &KeyId) -> Result<KeyRecord, Refused> {
    let found = desk.ledger.key(id, None).await?;
    found.ok_or_else(|| Refused::no_key(id))
}

fn unexpired(expires_ms: Option<u64>) -> Result<(), Refused> {
    if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms()) {
        return Err(Refused::Bad(
            "the key would have expired already; to end it, revoke it".to_owned(),
        ));
    }
    Ok(())
}

fn to(key: &KeyRecord, action: &'static str, detail: serde_json::Value) -> Change {
    Change {
        action,
        account: Some(key.account.clone()),
        subject: key.id.to_string(),
        detail,
    }
}
