//! What an operator publishes, as those see it who are not the operator: a store of epochs, or the gateway's public routes.
//! Nothing here is believed; whoever asks verifies it.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use clap::Args;
use filature_billing::settle::{Anchor, ProvenLeaf, read_plan};
use filature_billing::{EpochStore, Fault, ProviderId, Seal, StoreError, TrustedKeys};
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Failure;
use super::onchain::flag;
use crate::config::{Config, Flag};
use crate::epochs::Place;

/// Longest answer of a gateway, in bytes: a page of seals takes a tenth of it.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a gateway may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Who is asked for what the operator publishes.
#[derive(Args, Debug)]
pub(super) struct From {
    /// A folder with epochs, or `s3://bucket/prefix` [env: FILATURE_EPOCHS_STORE].
    #[arg(long, value_name = "STORE", conflicts_with = "gateway")]
    epochs: Option<String>,
    /// The gateway's data folder, with its epochs [env: FILATURE_LEDGER_DATA; default: data].
    #[arg(long, value_name = "DIR", conflicts_with = "gateway")]
    data: Option<String>,
    /// The operator's gateway, such as `https://gateway.example`.
    #[arg(long, value_name = "URL")]
    gateway: Option<Uri>,
}

impl From {
    /// The settings that these flags give.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let epochs = self
            .epochs
            .iter()
            .map(|store| flag("--epochs", "epochs", "store", store));
        let data = self.data.iter().map(|data| flag("--data", "ledger", "data", data));
        epochs.chain(data).collect()
    }

    /// Who is asked. `None` if nobody was named and there are no epochs where the settings say.
    pub(super) fn open(&self, config: &Config) -> Result<Option<Published>, Failure> {
        if let Some(uri) = &self.gateway {
            return Ok(Some(Published::Gateway(Box::new(Gateway::new(uri)?))));
        }
        let place = Place::of(config).map_err(Failure::Usage)?;
        if !place.is_there() {
            let named = self.epochs.is_some() || self.data.is_some();
            if named {
                return Err(anyhow!("there are no epochs in {place}").into());
            }
            return Ok(None);
        }
        let store = place.open().context("the epochs cannot be opened")?;
        Ok(Some(Published::Store { store, place }))
    }
}

/// Somebody who has what the operator publishes.
pub(super) enum Published {
    /// A store.
    Store { store: EpochStore, place: Place },
    /// A gateway.
    Gateway(Box<Gateway>),
}

#[derive(Deserialize)]
struct Seals {
    data: Vec<Seal>,
}

impl Published {
    /// Some seals, the one of epoch `from` first; none if it is not there (yet). A fault if it is not what was sealed.
    pub(super) async fn seals(&self, from: u64, keys: &TrustedKeys) -> anyhow::Result<Result<Vec<Seal>, Fault>> {
        match self {
            Self::Store { store, .. } => match store.seal(from, keys).await {
                Ok(seal) => Ok(Ok(vec![seal])),
                Err(StoreError::Missing(_)) => Ok(Ok(Vec::new())),
                Err(StoreError::Fault(fault)) => Ok(Err(fault)),
                Err(error) => Err(error.into()),
            },
            Self::Gateway(gateway) => {
                let seals: Option<Seals> = gateway.get(&format!("/v1/epochs?from={from}")).await?;
                Ok(Ok(seals.map(|seals| seals.data).unwrap_or_default()))
            }
        }
    }

    /// A provider's leaf under an anchor; `None` if the plan of that anchor is not there, or the provider not in it.
    pub(super) async fn leaf(&self, anchor: &Anchor, provider: &ProviderId) -> anyhow::Result<Option<ProvenLeaf>> {
        match self {
            Self::Store { store, .. } => {
                let plan = read_plan(store, &anchor.earnings_root).await?;
                Ok(plan.and_then(|plan| ProvenLeaf::of(&plan, provider)))
            }
            Self::Gateway(gateway) => {
                let path = format!("/v1/leaves/{}/{}", anchor.earnings_root, provider.as_str());
                gateway.get(&path).await
            }
        }
    }
}

impl std::fmt::Display for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store { place, .. } => place.fmt(f),
            Self::Gateway(gateway) => f.write_str(&gateway.base),
        }
    }
}

/// A gateway's public routes.
pub(super) struct Gateway {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Gateway {
    fn new(uri: &Uri) -> Result<Self, Failure> {
        let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none();
        if !plain {
            let wrong = format!("--gateway: {uri} is not a URL such as https://gateway.example");
            return Err(Failure::Usage(wrong));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .context("TLS cannot be set up")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            base: uri.to_string().trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// What a route answers; `None` if it says that there is no such thing.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        let url = format!("{}{path}", self.base);
        let asked = tokio::time::timeout(ANSWER_MAX, self.ask(&url)).await;
        let answer = asked.unwrap_or_else(|_| bail!("no answer in time"));
        let (status, body) = answer.with_context(|| format!("{} cannot be asked", self.base))?;
        match status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => bail!("{url} answered {status}"),
        }
        let read = serde_json::from_slice(&body);
        read.map(Some)
            .with_context(|| format!("{url} answered what cannot be read"))
    }

    async fn ask(&self, url: &str) -> anyhow::Result<(StatusCode, Bytes)> {
        let (head, body) = self.client.get(url.parse()?).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?;
        Ok((head.status, body.to_bytes()))
    }
}
