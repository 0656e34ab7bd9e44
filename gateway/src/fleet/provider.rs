//! One provider: what it offers and how it is reached.

use std::collections::HashMap;
use std::sync::Arc;

use filature_billing::ProviderId as Payee;
use filature_openapi::call::{Endpoint, Parameters};
use filature_provider_sdk::offer::{CONTINUE, ModelOffer, OfferPrice, PRIVATE};
use filature_router::{Capabilities, Endpoints, ModelId, OfferedModel, Precisions, Price, ProviderId, Quantization};

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
    let label = offer.quantization.as_deref().map(str::to_lowercase);
    OfferedModel {
        model: ModelId::from(offer.model.as_str()),
        price: router_price(&offer.price),
        concurrency_max: offer.concurrency_max,
        context_tokens_max: offer.context_tokens_max,
        output_tokens_max: offer.output_tokens_max,
        can: abilities(offer),
        endpoints,
        precision: precision(label.as_deref().unwrap_or_default()),
        quantization: label.map(Quantization::from),
    }
}

/// What an offer says its engine can do, and which sampling parameters it honours.
fn abilities(offer: &ModelOffer) -> Capabilities {
    let mut can = match &offer.parameters {
        None => super::router_parameters(Parameters::STANDARD),
        Some(words) => Parameters::NAMED
            .iter()
            .filter(|(name, _)| words.iter().any(|word| word == name))
            .map(|(_, parameter)| super::router_parameters(*parameter))
            .fold(Capabilities::NONE, Capabilities::with),
    };
    for capability in &offer.capabilities {
        can = can.with(match capability.as_str() {
            "tools" => Capabilities::TOOLS,
            "json_schema" => Capabilities::JSON_SCHEMA,
            "logprobs" => Capabilities::LOGPROBS,
            "images" => Capabilities::IMAGES,
            PRIVATE => Capabilities::PRIVATE,
            CONTINUE => Capabilities::CONTINUE,
            _ => Capabilities::NONE,
        });
    }
    can
}

/// OpenRouter's class of a quantisation's name, which providers write in many ways. What is none of its classes is unknown:
/// two, three, five and six bits are none.
fn precision(label: &str) -> Precisions {
    const CLASSES: [(&[&str], Precisions); 8] = [
        (&["fp4", "mxfp4", "nvfp4"], Precisions::FP4),
        (&["fp6"], Precisions::FP6),
        (&["fp8", "f8", "e4m3", "e5m2"], Precisions::FP8),
        (&["bf16", "bfloat16"], Precisions::BF16),
        (&["fp16", "f16", "float16", "half"], Precisions::FP16),
        (&["fp32", "f32", "float32"], Precisions::FP32),
        (&["int8", "q8", "8bit", "w8a8", "w8a16"], Precisions::INT8),
        (&["int4", "q4", "iq4", "4bit", "w4a16", "awq", "gptq"], Precisions::INT4),
    ];
    let words = || label.split(|c: char| !c.is_ascii_alphanumeric());
    let found = CLASSES
        .iter()
        .find(|(names, _)| words().any(|word| names.contains(&word)));
    found.map_or(Precisions::UNKNOWN, |(_, class)| *class)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantisations_have_a_class_however_they_are_written() {
        let check = |label: &str, class| assert_eq!(precision(label), class, "{label}");
        check("int4", Precisions::INT4);
        check("awq-int4", Precisions::INT4);
        check("awq", Precisions::INT4);
        check("gptq-int8", Precisions::INT8);
        check("q4_k_m", Precisions::INT4);
        check("q8_0", Precisions::INT8);
        check("fp8", Precisions::FP8);
        check("fp8_e4m3", Precisions::FP8);
        check("mxfp4", Precisions::FP4);
        check("bf16", Precisions::BF16);
        check("f16", Precisions::FP16);
        check("q6_k", Precisions::UNKNOWN);
        check("", Precisions::UNKNOWN);
        check("secret sauce", Precisions::UNKNOWN);
    }
}
