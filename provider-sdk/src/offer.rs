//! What a provider sells, and its signature. Decides what a well-formed, authentic, current offer is; whether a
//! gateway takes the provider at all, and at what share, is the gateway's business.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{ProviderKey, PublicKey};

/// The version of the offer format this crate writes and reads.
pub const OFFER_VERSION: u32 = 1;

/// The first line of what is signed, so that an offer's signature serves no other purpose.
const DOMAIN: &[u8] = b"filature-offer-v1\n";

/// The most models one offer may name.
pub const MODELS_MAX: usize = 256;
/// The longest name (of a provider, a model, a quantisation, a payout address), in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// The highest price: 10^15 nanoTON is a million TON. Far above any real price, and below 2^53, the largest integer
/// that canonical JSON keeps exact (RFC 8785, section 3.2.2.3).
pub const PRICE_NANO_MAX: u64 = 1_000_000_000_000_000;
/// The capability of an engine that goes on where another broke off
/// ([`Dialect::continues`](crate::Dialect::continues)). An agent adds it by itself, as it knows its engine.
pub const CONTINUE: &str = "continue";
/// The capability of a provider that keeps no prompts and no answers beyond the call. Nothing but the provider's word.
pub const PRIVATE: &str = "private";
/// The most endpoints, capabilities or parameters one model may list.
const LIST_MAX: usize = 16;
/// The largest integer that canonical JSON keeps exact (RFC 8785, section 3.2.2.3).
const EXACT_MAX: u64 = (1 << 53) - 1;

/// What a provider sells until when. Fields a newer version adds are ignored here, and still covered by the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// [`OFFER_VERSION`].
    pub version: u32,
    /// The key that signs this offer: the provider's name.
    pub provider: PublicKey,
    /// What people call the provider. Not unique, and no proof of anything.
    pub name: String,
    /// What it serves; at least one model, no model twice.
    pub models: Vec<ModelOffer>,
    /// The TON address that earnings go to. Without one they wait in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payout: Option<String>,
    /// Grows with every offer of this provider: the highest is the one that counts.
    pub sequence: u64,
    /// When the offer ends, in milliseconds of Unix time.
    pub expires_at_ms: u64,
}

/// One model of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOffer {
    /// The name callers use.
    pub model: String,
    /// The name the engine knows it by, where that differs: the gateway writes it into the body it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_model: Option<String>,
    /// How the weights are stored: `fp8`, `awq-int4`, `q4_k_m` and so on. `None`: as published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// The longest prompt and answer together, in tokens.
    pub context_tokens_max: u32,
    /// The longest answer, in tokens.
    pub output_tokens_max: u32,
    /// The most calls at once.
    pub concurrency_max: u32,
    /// What it costs.
    pub price: OfferPrice,
    /// What it answers: `chat`, `completions`, `embeddings`. Words a reader does not know it passes over.
    pub endpoints: Vec<String>,
    /// What it can do: `tools`, `json_schema`, `logprobs`, `images`, [`PRIVATE`], [`CONTINUE`]. Words a reader does not
    /// know it passes over.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// The sampling parameters the engine honours, by their names in requests (`filature_openapi::Parameters::NAMED`);
    /// `None`: those of OpenAI's own API. Words a reader does not know it passes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Vec<String>>,
}

/// What a call costs: nanoTON per million tokens, and nanoTON per call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferPrice {
    /// Per million prompt tokens the engine had to compute.
    pub prompt: u64,
    /// Per million prompt tokens the engine had in its cache.
    pub cached_prompt: u64,
    /// Per million tokens of the answer.
    pub completion: u64,
    /// Per million tokens of reasoning before the answer.
    pub reasoning: u64,
    /// Per call, whatever its length.
    pub call: u64,
}

/// An offer as it travels: the JSON that was signed, whole, and the signature over its canonical form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedOffer {
    /// The offer, with every field its signer wrote.
    pub offer: Value,
    /// Ed25519 over a domain line and the offer in canonical JSON (RFC 8785): 128 hex characters.
    pub signature: String,
}

/// Why an offer is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// It is not an offer at all.
    #[error("the offer cannot be read: {0}")]
    Unreadable(String),
    /// A version this crate does not know.
    #[error("the offer has version {0}; version {OFFER_VERSION} is understood")]
    Version(u32),
    /// The provider named in it did not sign it.
    #[error("the offer is not signed by the provider it names")]
    Signature,
    /// It has ended.
    #[error("the offer expired at {expires_at_ms} ms of Unix time; it is {now_ms} now")]
    Expired {
        /// When it ended.
        expires_at_ms: u64,
        /// The reader's time.
        now_ms: u64,
    },
    /// A field is out of bounds.
    #[error("the offer's {field} is out of bounds: {problem}")]
    Bounds {
        /// Which, as a path: `models[2].price.prompt`.
        field: String,
        /// What is asked of it.
        problem: &'static str,
    },
}

impl Offer {
    /// Every bound the offer breaks, as path and rule; empty for a good one. [`SignedOffer::verify`] asks for none,
    /// and an agent asks before it signs, so that its operator hears of all of them at once.
    pub fn problems(&self) -> Vec<(String, &'static str)> {
        let mut problems = Vec::new();
        let mut check = |good: bool, field: &str, problem| {
            if !good {
                problems.push((field.to_owned(), problem));
            }
        };
        check(is_name(&self.name), "name", NAME_RULE);
        check(self.payout.as_deref().is_none_or(is_name), "payout", NAME_RULE);
        check(self.sequence <= EXACT_MAX, "sequence", "at most 2^53 - 1");
        check(self.expires_at_ms <= EXACT_MAX, "expires_at_ms", "at most 2^53 - 1");
        check(
            (1..=MODELS_MAX).contains(&self.models.len()),
            "models",
            "1 to 256 models",
        );
        for (index, model) in self.models.iter().take(MODELS_MAX).enumerate() {
            let twice = self.models[..index].iter().any(|earlier| earlier.model == model.model);
            check(!twice, &format!("models[{index}].model"), "no model is named twice");
            model.check(&mut |good, field, problem| check(good, &format!("models[{index}].{field}"), problem));
        }
        problems
    }
}

#[cfg(any(feature = "agent", test))]
impl Offer {
    /// Adds [`CONTINUE`] to every model that chats.
    pub(crate) fn add_continue(&mut self) {
        for model in &mut self.models {
            let chats = model.endpoints.iter().any(|word| word == "chat");
            if chats && !model.capabilities.iter().any(|word| word == CONTINUE) {
                model.capabilities.push(CONTINUE.to_owned());
            }
        }
    }
}

impl ModelOffer {
    fn check(&self, check: &mut impl FnMut(bool, &str, &'static str)) {
        check(is_name(&self.model), "model", NAME_RULE);
        check(
            self.engine_model.as_deref().is_none_or(is_name),
            "engine_model",
            NAME_RULE,
        );
        check(
            self.quantization.as_deref().is_none_or(is_name),
            "quantization",
            NAME_RULE,
        );
        check(self.context_tokens_max > 0, "context_tokens_max", "more than 0");
        check(self.output_tokens_max > 0, "output_tokens_max", "more than 0");
        check(
            self.output_tokens_max <= self.context_tokens_max,
            "output_tokens_max",
            "at most context_tokens_max",
        );
        check(self.concurrency_max > 0, "concurrency_max", "more than 0");
        for (name, nano) in self.price.named() {
            check(
                nano <= PRICE_NANO_MAX,
                &format!("price.{name}"),
                "at most 10^15 nanoTON",
            );
        }
        check(
            (1..=LIST_MAX).contains(&self.endpoints.len()),
            "endpoints",
            "1 to 16 endpoints",
        );
        check(self.endpoints.iter().all(|word| is_name(word)), "endpoints", NAME_RULE);
        check(
            self.capabilities.len() <= LIST_MAX,
            "capabilities",
            "at most 16 capabilities",
        );
        check(
            self.capabilities.iter().all(|word| is_name(word)),
            "capabilities",
            NAME_RULE,
        );
        let parameters = self.parameters.as_deref().unwrap_or_default();
        check(parameters.len() <= LIST_MAX, "parameters", "at most 16 parameters");
        check(parameters.iter().all(|word| is_name(word)), "parameters", NAME_RULE);
    }
}

impl OfferPrice {
    fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("prompt", self.prompt),
            ("cached_prompt", self.cached_prompt),
            ("completion", self.completion),
            ("reasoning", self.reasoning),
            ("call", self.call),
        ]
    }
}

impl SignedOffer {
    /// Signs `offer` as it stands; its bounds are checked where it is read, and by [`Offer::problems`].
    ///
    /// # Errors
    /// [`OfferError::Signature`] if `key` is not the provider's that the offer names.
    pub fn sign(offer: &Offer, key: &ProviderKey) -> Result<Self, OfferError> {
        if offer.provider != key.public() {
            return Err(OfferError::Signature);
        }
        let offer = serde_json::to_value(offer).map_err(|error| OfferError::Unreadable(error.to_string()))?;
        let signature = key.sign(&signed_bytes(&offer)?);
        Ok(Self { offer, signature })
    }

    /// The offer, if its provider signed exactly this, it is current at `now_ms` (Unix time), and every field is in
    /// bounds: at most 256 models, names of 1 to 256 bytes without control characters, prices up to 10^15, limits
    /// above 0. What the provider sells is not judged.
    ///
    /// # Errors
    /// [`OfferError`] says which of these fails.
    pub fn verify(&self, now_ms: u64) -> Result<Offer, OfferError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // The version first: a later one may have changed the shape of everything else.
        let unreadable = |error: serde_json::Error| OfferError::Unreadable(error.to_string());
        let Version { version } = Version::deserialize(&self.offer).map_err(unreadable)?;
        if version != OFFER_VERSION {
            return Err(OfferError::Version(version));
        }
        let offer = Offer::deserialize(&self.offer).map_err(unreadable)?;
        offer
            .provider
            .verify(&signed_bytes(&self.offer)?, &self.signature)
            .map_err(|_| OfferError::Signature)?;
        if let Some((field, problem)) = offer.problems().into_iter().next() {
            return Err(OfferError::Bounds { field, problem });
        }
        if offer.expires_at_ms <= now_ms {
            return Err(OfferError::Expired {
                expires_at_ms: offer.expires_at_ms,
                now_ms,
            });
        }
        Ok(offer)
    }
}

const NAME_RULE: &str = "1 to 256 bytes without control characters";

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn signed_bytes(offer: &Value) -> Result<Vec<u8>, OfferError> {
    let mut bytes = DOMAIN.to_vec();
    serde_jcs::to_writer(&mut bytes, offer).map_err(|error| OfferError::Unreadable(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
