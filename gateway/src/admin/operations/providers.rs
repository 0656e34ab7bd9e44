//! Which providers may join through a tunnel, whatever the settings say.

use axum::Json;
use axum::extract::{Path, State};
use filature_billing::{Admission, ProviderId};
use filature_provider_sdk::PublicKey;
use serde_json::json;

use super::super::desk::{Change, Desk};
use super::super::refused::{Body, In, Refused};
use super::super::wire::{Admittance, Admitted, Providers};
use super::AtDesk;

pub(super) async fn list(State(desk): AtDesk) -> Result<Json<Providers>, Refused> {
    let said = desk.ledger.admissions().await?.into_iter();
    let providers = said.map(|(provider, admission)| Admitted {
        provider,
        admission: Some(admission),
    });
    Ok(Json(Providers {
        providers: providers.collect(),
    }))
}

pub(super) async fn say(
    State(desk): AtDesk,
    In(Path(key)): In<Path<String>>,
    Body(said): Body<Admittance>,
) -> Result<Json<Admitted>, Refused> {
    admit(&desk, &key, Some(said.admission)).await
}

pub(super) async fn forget(State(desk): AtDesk, In(Path(key)): In<Path<String>>) -> Result<Json<Admitted>, Refused> {
    admit(&desk, &key, None).await
}

async fn admit(desk: &Desk, key: &str, admission: Option<Admission>) -> Result<Json<Admitted>, Refused> {
    let bad = || Refused::Bad("a provider is its public key: 64 hexadecimal digits".to_owned());
    let key: PublicKey = key.parse().map_err(|_| bad())?;
    let provider = ProviderId::parse(&key.to_string()).map_err(|_| bad())?;
    let change = Change {
        action: match admission {
            Some(Admission::Allow) => "provider.allow",
            Some(Admission::Deny) => "provider.deny",
            None => "provider.forget",
        },
        account: None,
        subject: provider.to_string(),
        detail: json!({}),
    };
    let made = async { Ok(desk.ledger.admit(&provider, admission).await?) };
    desk.change(change, made).await?;
    Ok(Json(Admitted { provider, admission }))
}
