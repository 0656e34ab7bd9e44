//! Providers at a public address, as the operator wrote them into the configuration.
//!
//! The operator vouches for these, so their addresses may be private. Addresses that strangers send are another matter
//! and are not dialled by this gateway at all: strangers come through [`super::tunnel`].

use std::sync::Arc;

use anyhow::{Context, bail};
use filature_billing::ProviderId as Payee;
use filature_openapi::call::Endpoint;
use filature_provider_sdk::Dialect;
use http::{HeaderValue, Uri};

use super::provider::{EndpointUris, Provider, Reach};
use crate::config::DirectProvider;

/// An address, and what to say there to be let in.
pub struct Direct {
    uris: EndpointUris,
    /// The `Authorization` header, marked sensitive; absent where the engine wants none.
    pub authorization: Option<HeaderValue>,
    /// How its engine is told to go on with a partial answer.
    pub dialect: Dialect,
}

impl Direct {
    /// The address of one endpoint.
    #[must_use]
    pub fn uri(&self, endpoint: Endpoint) -> Uri {
        self.uris.of(endpoint)
    }
}

/// The provider that a block of the configuration describes.
///
/// # Errors
/// When its URL is none, or the environment variable with its key is not set.
pub fn provider(config: &DirectProvider) -> anyhow::Result<Provider> {
    let name = &config.name;
    let uris = EndpointUris::under(&config.url).with_context(|| format!("providers `{name}`: url `{}`", config.url))?;
    if !matches!(uris.of(Endpoint::ChatCompletions).scheme_str(), Some("http" | "https")) {
        bail!(
            "providers `{name}`: url `{}` must begin with http:// or https://",
            config.url
        );
    }
    let authorization = config
        .api_key_env
        .as_deref()
        .map(|variable| authorization(name, variable))
        .transpose()?;
    let dialect = config.dialect;
    let mut models = config.models.clone();
    if dialect.continues() {
        models
            .iter_mut()
            .for_each(|model| model.capabilities.push("continue".to_owned()));
    }
    let reach = Reach::Direct(Arc::new(Direct {
        uris,
        authorization,
        dialect,
    }));
    Ok(Provider::new(payee(name)?, name, models, reach))
}

/// How the ids of providers of the configuration begin.
pub const ID_PREFIX: &str = "direct.";

/// By which id a provider of the configuration earns.
///
/// # Errors
/// When its name does not fit an id.
pub fn payee(name: &str) -> anyhow::Result<Payee> {
    Payee::parse(&format!("{ID_PREFIX}{name}"))
        .with_context(|| format!("providers `{name}`: a name is made of letters, digits, `_`, `-` and `.`"))
}

fn authorization(name: &str, variable: &str) -> anyhow::Result<HeaderValue> {
    let key = std::env::var(variable).with_context(|| {
        format!("providers `{name}`: the environment variable `{variable}` with its key is not set")
    })?;
    let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
        .with_context(|| format!("providers `{name}`: the key in `{variable}` has characters no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}
