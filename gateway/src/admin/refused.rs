//! Why an operation was not done, and what operations read of a request, so that every refusal looks alike.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use filature_billing::{AccountId, KeyId, LedgerError};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::wire::Failed;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The request is wrong.
    #[error("{0}")]
    Bad(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Something else has this name.
    #[error("{0}")]
    Conflict(String),
    /// The ledger could not do it.
    #[error("{0}")]
    Unavailable(String),
}

impl Refused {
    pub(super) fn no_account(id: &AccountId) -> Self {
        Self::NotFound(format!("there is no account {id}"))
    }

    pub(super) fn no_key(id: &KeyId) -> Self {
        Self::NotFound(format!("there is no key {id}"))
    }
}

impl From<LedgerError> for Refused {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        match error {
            LedgerError::UnknownAccount(_) => Self::NotFound(text),
            LedgerError::Conflict(_) | LedgerError::OutOfTurn(_) | LedgerError::Insufficient { .. } => {
                Self::Conflict(text)
            }
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

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(body)| Self(body))
            .map_err(|rejection| Refused::Bad(rejection.body_text()))
    }
}

/// A part of the URL.
pub(super) struct In<T>(pub(super) T);

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
