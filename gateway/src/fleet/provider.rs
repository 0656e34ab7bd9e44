//! One provider: what it offers and how it is reached.

use std::collections::HashMap;
use std::sync::Arc;

use filature_billing::ProviderId as Payee;
use filature_openapi::call::Endpoint;
use filature_provider_sdk::offer::{ModelOffer, OfferPrice};
use filature_router::{Capabilities, Endpoints, ModelId, OfferedModel, Price, ProviderId};

use super::direct::Direct;
use super::tunnel::Tunnel;

/// A provider as the gateway dials it.
pub struct Provider {
    /// Its public key in hex, or `direct.` and its name in the configuration.
    pub id: ProviderId,
    /// The same, as the books name it.
    pub payee: Payee,
    /// What it calls itself. A claim; shown to people, never compared.
    pub name: String,
    /// The way to it.
    pub reach: Reach,
    models: HashMap<String, ModelOffer>,
}

/// The ways to a provider.
#[derive(Clone)]
pub enum Reach {
    /// Its public address.
    Direct(Arc<Direct>),
    /// The connection it holds open to this gateway.
    Tunnel(Arc<Tunnel>),
}

impl Reach {
    /// Whether both are one connection or one address.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Direct(one), Self::Direct(two)) => Arc::ptr_eq(one, two),
            (Self::Tunnel(one), Self::Tunnel(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl Provider {
    /// A provider that sells `models`; of two offers for one model the later holds.
    #[must_use]
    pub fn new(payee: Payee, name: &str, models: Vec<ModelOffer>, reach: Reach) -> Self {
        let models = models.into_iter().map(|model| (model.model.clone(), model)).collect();
        Self {
            id: ProviderId::from(payee.as_str()),
            payee,
            name: name.to_owned(),
            reach,
            models,
        }
    }

    /// Its offer for one model.
    #[must_use]
    pub fn model(&self, model: &str) -> Option<&ModelOffer> {
        self.models.get(model)
    }

    /// All its offers.
    pub fn models(&self) -> impl Iterator<Item = &ModelOffer> {
        self.models.values()
    }

    /// Its offers in the router's terms.
    #[must_use]
    pub fn offered_models(&self) -> Vec<OfferedModel> {
        self.models.values().map(offered_model).collect()
    }
}

fn offered_model(offer: &ModelOffer) -> OfferedModel {
    let mut endpoints = Endpoints::NONE;
    for endpoint in &offer.endpoints {
        match endpoint.as_str() {
            "chat" => endpoints = endpoints.with(Endpoints::CHAT),
            "completions" => endpoints = endpoints.with(Endpoints::COMPLETIONS),
            "embeddings" => endpoints = endpoints.with(Endpoints::EMBEDDINGS),
            _ => {} // a newer agent may offer what this gateway does not know yet
        }
    }
    let mut can = Capabilities::NONE;
    for capability in &offer.capabilities {
        match capability.as_str() {
            "tools" => can = can.with(Capabilities::TOOLS),
            "json_schema" => can = can.with(Capabilities::JSON_SCHEMA),
            "logprobs" => can = can.with(Capabilities::LOGPROBS),
            "images" => can = can.with(Capabilities::IMAGES),
            _ => {}
        }
    }
    OfferedModel {
        model: ModelId::from(offer.model.as_str()),
        price: router_price(&offer.price),
        concurrency_max: offer.concurrency_max,
        context_tokens_max: offer.context_tokens_max,
        output_tokens_max: offer.output_tokens_max,
        can,
        endpoints,
    }
}

fn router_price(price: &OfferPrice) -> Price {
    Price {
        prompt: price.prompt,
        cached_prompt: price.cached_prompt,
        completion: price.completion,
        reasoning: price.reasoning,
        call: price.call,
    }
}

/// The three model endpoints' addresses under one base, built once.
#[derive(Debug, Clone)]
pub struct EndpointUris([http::Uri; 3]);

impl EndpointUris {
    /// The addresses under `base`, a URL with or without `/v1` at its end.
    ///
    /// # Errors
    /// When `base` is no URL.
    pub fn under(base: &str) -> Result<Self, http::uri::InvalidUri> {
        let base = base.trim_end_matches('/').trim_end_matches("/v1");
        let uri = |endpoint: Endpoint| format!("{base}{}", endpoint.path()).parse();
        Ok(Self([
            uri(Endpoint::ChatCompletions)?,
            uri(Endpoint::Completions)?,
            uri(Endpoint::Embeddings)?,
        ]))
    }

    /// The address of one endpoint.
    #[must_use]
    pub fn of(&self, endpoint: Endpoint) -> http::Uri {
        let index = match endpoint {
            Endpoint::ChatCompletions => 0,
            Endpoint::Completions => 1,
            Endpoint::Embeddings => 2,
        };
        self.0[index].clone()
    }
}
