//! Calls the operations: over the socket of a running gateway, or inside this process.

mod settlement;
mod transfers;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use filature_billing::{Account, AccountId, Admission, Cursor, Day, KeyId, KeyRecord, Ledger};
use filature_provider_sdk::PublicKey;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tower::ServiceExt as _;

use super::desk::Desk;
use super::operations::router;
use super::user;
use super::wire::{
    Accounts, Admittance, Admitted, Audit, Books, CreatedKey, Credit, Credited, Failed, KeyPatch, KeyShown, Keys,
    NewAccount, NewKey, Providers, UsageOf,
};

/// Time one operation may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nobody listens on the socket.
    #[error("nothing listens on {}", .0.display())]
    NobodyThere(PathBuf),
    /// The socket is there and cannot be used.
    #[error("cannot use {}: {error}", path.display())]
    Socket {
        /// Which socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The operation was refused; the text says why.
    #[error("{text}")]
    Refused {
        /// The status it was refused with.
        status: StatusCode,
        /// Why, for the operator.
        text: String,
    },
    /// There was no answer, or none that can be read.
    #[error("the gateway did not answer: {0}")]
    NoAnswer(String),
}

/// The operations of a ledger, wherever it is.
pub struct AdminClient {
    transport: Transport,
}

enum Transport {
    /// To a gateway, over its socket.
    Socket(PathBuf),
    /// To a ledger this process has opened.
    Here(Router),
}

impl AdminClient {
    /// Talks to the gateway that listens on `socket`.
    ///
    /// # Errors
    /// [`AdminError::NobodyThere`] where none does.
    pub async fn connect(socket: &Path) -> Result<Self, AdminError> {
        open(socket).await?;
        Ok(Self {
            transport: Transport::Socket(socket.to_owned()),
        })
    }

    /// Works on a ledger that this process has opened, as the user it belongs to.
    #[must_use]
    pub fn here(ledger: Arc<dyn Ledger>) -> Self {
        let operator = user::this();
        Self {
            transport: Transport::Here(router(Desk {
                ledger,
                epochs: None,
                destinations: None,
                operator,
            })),
        }
    }

    /// Whether the ledger is another process's.
    #[must_use]
    pub const fn is_remote(&self) -> bool {
        matches!(self.transport, Transport::Socket(_))
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_account(&self, name: &str) -> Result<Account, AdminError> {
        self.call(Method::POST, "/accounts", Some(&NewAccount { name: name.to_owned() }))
            .await
    }

    /// All accounts.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn accounts(&self) -> Result<Accounts, AdminError> {
        self.get("/accounts").await
    }

    /// One account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn account(&self, id: &AccountId) -> Result<Account, AdminError> {
        self.get(&format!("/accounts/{id}")).await
    }

    /// Adds money to an account.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn credit(&self, account: &AccountId, credit: &Credit) -> Result<Credited, AdminError> {
        self.call(Method::POST, &format!("/accounts/{account}/credit"), Some(credit))
            .await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_key(&self, key: &NewKey) -> Result<CreatedKey, AdminError> {
        self.call(Method::POST, "/keys", Some(key)).await
    }

    /// The keys of an account, or all.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn keys(&self, account: Option<&AccountId>) -> Result<Keys, AdminError> {
        self.get(&account.map_or_else(|| "/keys".to_owned(), |account| format!("/keys?account={account}")))
            .await
    }

    /// One key, and what is used of it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn key(&self, id: &KeyId) -> Result<KeyShown, AdminError> {
        self.get(&format!("/keys/{id}")).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn update_key(&self, id: &KeyId, patch: &KeyPatch) -> Result<KeyRecord, AdminError> {
        self.call(Method::PATCH, &format!("/keys/{id}"), Some(patch)).await
    }

    /// Revokes a key.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_key(&self, id: &KeyId) -> Result<KeyRecord, AdminError> {
        self.call(Method::DELETE, &format!("/keys/{id}"), None::<&()>).await
    }

    /// What an account used from one day to another; without days, the last 30.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn usage(&self, account: &AccountId, from: Option<Day>, to: Option<Day>) -> Result<UsageOf, AdminError> {
        let from = from.map(|from| format!("from={from}"));
        let to = to.map(|to| format!("to={to}"));
        let query = Vec::from_iter(from.into_iter().chain(to)).join("&");
        self.get(&format!("/accounts/{account}/usage?{query}")).await
    }

    /// What operators have said of providers.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn providers(&self) -> Result<Providers, AdminError> {
        self.get("/providers").await
    }

    /// Lets the provider with this public key in or keeps it out; with `None`, what was said of it is forgotten.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn admit(&self, key: &PublicKey, admission: Option<Admission>) -> Result<Admitted, AdminError> {
        let path = format!("/providers/{key}");
        match admission {
            Some(admission) => self.call(Method::PUT, &path, Some(&Admittance { admission })).await,
            None => self.call(Method::DELETE, &path, None::<&()>).await,
        }
    }

    /// At most `max` entries of the audit trail behind `after`, or from the oldest one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn audit(&self, after: Option<Cursor>, max: usize) -> Result<Audit, AdminError> {
        let after = after.map_or_else(String::new, |after| format!("after={after}&"));
        self.get(&format!("/audit?{after}max={max}")).await
    }

    /// The sums over everything.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn books(&self) -> Result<Books, AdminError> {
        self.get("/books").await
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, AdminError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, AdminError> {
        let no_answer = |error: &dyn std::fmt::Display| AdminError::NoAnswer(error.to_string());
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| no_answer(&error))?,
            None => Vec::new(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "admin")
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .map_err(|error| no_answer(&error))?;
        let answer = tokio::time::timeout(DEADLINE, self.transport.send(request))
            .await
            .map_err(|late| no_answer(&late))??;
        if answer.status().is_success() {
            return serde_json::from_slice(answer.body()).map_err(|error| no_answer(&error));
        }
        let status = answer.status();
        let text =
            serde_json::from_slice::<Failed>(answer.body()).map_or_else(|_| status.to_string(), |failed| failed.error);
        Err(AdminError::Refused { status, text })
    }
}

impl Transport {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, AdminError> {
        match self {
            Self::Socket(path) => {
                let stream = open(path).await?;
                exchange(stream, request)
                    .await
                    .map_err(|error| AdminError::NoAnswer(error.to_string()))
            }
            Self::Here(router) => {
                let Ok(answer) = router.clone().oneshot(request.map(Body::from)).await;
                let (head, body) = answer.into_parts();
                let body = body
                    .collect()
                    .await
                    .map_err(|error| AdminError::NoAnswer(error.to_string()))?;
                Ok(Response::from_parts(head, body.to_bytes()))
            }
        }
    }
}

async fn open(path: &Path) -> Result<UnixStream, AdminError> {
    UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AdminError::NobodyThere(path.to_owned()),
        _ => AdminError::Socket {
            path: path.to_owned(),
            error,
        },
    })
}

/// One request over a connection of its own, driven by the same task.
async fn exchange(stream: UnixStream, request: Request<Bytes>) -> Result<Response<Bytes>, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        closed = &mut connection => {
            closed?;
            answer.await
        }
    }
}
