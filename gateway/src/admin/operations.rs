//! The operations themselves, each a few lines over the [`Ledger`].

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use filature_billing::{Account, AccountId, ApiKey, Deposit, KeyId, KeyLimits, KeyRecord, Ledger, LedgerError, Nano};
use http::StatusCode;
use http::request::Parts;
use rand::RngExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::wire::{Accounts, Books, CreatedKey, Credit, Credited, Failed, Keys, NewAccount, NewKey};
use crate::clock::now_ms;

type Shared = State<Arc<dyn Ledger>>;

/// The operations over `ledger` as a JSON API. Who may reach it may do everything: it asks for no key.
pub fn router(ledger: Arc<dyn Ledger>) -> Router {
    Router::new()
        .route("/accounts", post(create_account).get(accounts))
        .route("/accounts/{id}", get(account))
        .route("/accounts/{id}/credit", post(credit))
        .route("/keys", post(create_key).get(keys))
        .route("/keys/{id}", delete(revoke_key))
        .route("/books", get(books))
        .fallback(async || Refused::NotFound("no such operation".to_owned()))
        .with_state(ledger)
}

async fn create_account(
    State(ledger): Shared,
    Body(new): Body<NewAccount>,
) -> Result<(StatusCode, Json<Account>), Refused> {
    named(&new.name)?;
    let id = AccountId::generate(&mut rand::rng());
    let account = ledger.create_account(&id, &new.name, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(account)))
}

async fn accounts(State(ledger): Shared) -> Result<Json<Accounts>, Refused> {
    Ok(Json(Accounts {
        accounts: ledger.accounts().await?,
    }))
}

async fn account(State(ledger): Shared, In(Path(id)): In<Path<AccountId>>) -> Result<Json<Account>, Refused> {
    let account = ledger.account(&id).await?;
    account
        .map(Json)
        .ok_or_else(|| Refused::NotFound(format!("there is no account {id}")))
}

async fn credit(
    State(ledger): Shared,
    In(Path(account)): In<Path<AccountId>>,
    Body(credit): Body<Credit>,
) -> Result<Json<Credited>, Refused> {
    if credit.amount == Nano::ZERO {
        return Err(Refused::Bad("the amount must be above zero".to_owned()));
    }
    let id = credit
        .id
        .unwrap_or_else(|| format!("{:032x}", rand::rng().random::<u128>()));
    if id.is_empty() {
        return Err(Refused::Bad("the id must not be empty".to_owned()));
    }
    // A name space of its own, so that no operator's id can ever meet a deposit of the chain.
    let deposit = Deposit {
        id: format!("operator:{id}"),
        account,
        amount: credit.amount,
        note: "credited by the operator".to_owned(),
        now_ms: now_ms(),
    };
    let done = ledger.deposit(&deposit).await?;
    Ok(Json(Credited {
        id,
        fresh: done.fresh,
        account: done.account,
    }))
}

async fn create_key(State(ledger): Shared, Body(new): Body<NewKey>) -> Result<(StatusCode, Json<CreatedKey>), Refused> {
    let now_ms = now_ms();
    if new.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
        return Err(Refused::Bad("the key would expire before it is made".to_owned()));
    }
    let key = ApiKey::generate(&mut rand::rng());
    let record = KeyRecord {
        id: KeyId::generate(&mut rand::rng()),
        account: new.account,
        name: new.name,
        hint: key.hint(),
        created_ms: now_ms,
        expires_ms: new.expires_ms,
        revoked_ms: None,
        limits: KeyLimits::default(),
    };
    ledger.create_key(&record, &key.hash()).await?;
    Ok((
        StatusCode::CREATED,
        Json(CreatedKey {
            key: key.expose().to_owned(),
            record,
        }),
    ))
}

/// Query of `GET /keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfAccount {
    account: Option<AccountId>,
}

async fn keys(State(ledger): Shared, In(Query(of)): In<Query<OfAccount>>) -> Result<Json<Keys>, Refused> {
    if let Some(id) = &of.account
        && ledger.account(id).await?.is_none()
    {
        return Err(Refused::NotFound(format!("there is no account {id}")));
    }
    Ok(Json(Keys {
        keys: ledger.keys(of.account.as_ref()).await?,
    }))
}

async fn revoke_key(State(ledger): Shared, In(Path(id)): In<Path<KeyId>>) -> Result<Json<KeyRecord>, Refused> {
    let revoked = ledger.revoke_key(&id, now_ms()).await?;
    revoked
        .map(Json)
        .ok_or_else(|| Refused::NotFound(format!("there is no key {id}")))
}

async fn books(State(ledger): Shared) -> Result<Json<Books>, Refused> {
    let totals = ledger.totals().await?;
    Ok(Json(Books {
        totals,
        earnings: ledger.earnings().await?,
        conserved: totals.are_conserved(),
    }))
}

fn named(name: &str) -> Result<(), Refused> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Refused::Bad("a name must be printable text".to_owned()));
    }
    Ok(())
}

/// Why an operation was not done.
enum Refused {
    Bad(String),
    NotFound(String),
    Conflict(String),
    Unavailable(String),
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        match error {
            LedgerError::UnknownAccount(_) => Self::NotFound(text),
            LedgerError::Conflict(_) => Self::Conflict(text),
            LedgerError::TooLarge(_) => Self::Bad(text),
            LedgerError::InUse(_)
            | LedgerError::Unavailable(_)
            | LedgerError::Damaged(_)
            | LedgerError::Record(_)
            | LedgerError::CostAboveHold { .. } => Self::Unavailable(text),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            Self::Bad(error) => (StatusCode::BAD_REQUEST, error),
            Self::NotFound(error) => (StatusCode::NOT_FOUND, error),
            Self::Conflict(error) => (StatusCode::CONFLICT, error),
            Self::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
        };
        (status, Json(Failed { error })).into_response()
    }
}

/// A JSON body whose refusals look like every other.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(body)| Self(body))
            .map_err(|rejection| Refused::Bad(rejection.body_text()))
    }
}

/// A part of the URL whose refusals look like every other.
struct In<T>(T);

impl<S: Send + Sync, T: FromRequestParts<S>> FromRequestParts<S> for In<T>
where
    T::Rejection: std::fmt::Display,
{
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        T::from_request_parts(parts, state)
            .await
            .map(Self)
            .map_err(|rejection| Refused::Bad(rejection.to_string()))
    }
}
