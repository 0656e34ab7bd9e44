//! The list of models, in OpenAI's shape with OpenRouter's additions.
//!
//! Decides the shape and how a price is written. Which models there are is decided by the fleet.

mod endpoints;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use endpoints::{Architecture, EndpointWindows, ModelEndpoint, ModelEndpoints, PercentileStats, WindowStats};

/// The answer of `GET /v1/models`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    #[schema(examples("list"))]
    pub object: String,
    /// The models that can be called now.
    pub data: Vec<ModelObject>,
}

impl ModelList {
    /// A list of `data`.
    #[must_use]
    pub fn new(data: Vec<ModelObject>) -> Self {
        Self {
            object: "list".to_owned(),
            data,
        }
    }
}

/// One model: an element of the list, and the answer of `GET /v1/models/{id}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelObject {
    /// The name to call it by.
    #[schema(examples("smollm2-135m-instruct"))]
    pub id: String,
    /// Always `model`.
    #[schema(examples("model"))]
    pub object: String,
    /// When the gateway first saw it, in seconds since 1970.
    pub created: u64,
    /// Who answers for it.
    #[schema(examples("filature"))]
    pub owned_by: String,
    /// The longest prompt and output together that any provider takes, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// The longest output any provider makes, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<u32>,
    /// The lowest prices on offer, in the display currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<Pricing>,
    /// The same prices, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing_nano: Option<PricingNano>,
    /// Request fields that at least one provider honours beyond the plain ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supported_parameters: Vec<String>,
    /// How many providers serve it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub providers: Option<u32>,
}

impl ModelObject {
    /// A model with OpenAI's own fields only. `created` is in seconds since 1970.
    #[must_use]
    pub fn new(id: impl Into<String>, created: u64, owned_by: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            object: "model".to_owned(),
            created,
            owned_by: owned_by.into(),
            context_length: None,
            max_completion_tokens: None,
            pricing: None,
            pricing_nano: None,
            supported_parameters: Vec::new(),
            providers: None,
        }
    }
}

/// Prices as OpenRouter writes them: decimal strings, in the display currency.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Pricing {
    /// For one prompt token.
    #[schema(examples("0.00000015"))]
    pub prompt: String,
    /// For one completion token.
    #[schema(examples("0.0000006"))]
    pub completion: String,
    /// For one call.
    #[schema(examples("0"))]
    pub request: String,
    /// For one prompt token that was cached.
    #[schema(examples("0.000000075"))]
    pub input_cache_read: String,
    /// For one reasoning token.
    #[schema(examples("0.0000006"))]
    pub internal_reasoning: String,
}

/// Prices as exact integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PricingNano {
    /// Nano per million prompt tokens.
    pub prompt: u64,
    /// Nano per million completion tokens.
    pub completion: u64,
    /// Nano per call.
    pub request: u64,
    /// Nano per million prompt tokens that were cached.
    pub input_cache_read: u64,
    /// Nano per million reasoning tokens.
    pub internal_reasoning: u64,
}

impl PricingNano {
    /// The prices as decimal strings, where the display currency is the ledger's own.
    #[must_use]
    pub fn to_display(&self) -> Pricing {
        /// A nano per million tokens is 10^-15 of a coin per token.
        const PER_TOKEN_PLACES: usize = 15;
        /// A nano is 10^-9 of a coin.
        const NANO_PLACES: usize = 9;
        Pricing {
            prompt: decimal(self.prompt, PER_TOKEN_PLACES),
            completion: decimal(self.completion, PER_TOKEN_PLACES),
            request: decimal(self.request, NANO_PLACES),
            input_cache_read: decimal(self.input_cache_read, PER_TOKEN_PLACES),
            internal_reasoning: decimal(self.internal_reasoning, PER_TOKEN_PLACES),
        }
    }
}

/// `units` × 10^-`places` as the shortest exact decimal.
#[must_use]
pub fn decimal(units: u64, places: usize) -> String {
    let digits = format!("{units:0width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    match fraction.trim_end_matches('0') {
        "" => whole.to_owned(),
        fraction => format!("{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_and_short() {
        for (units, places, written) in [
            (0, 15, "0"),
            (1, 15, "0.000000000000001"),
            (150_000_000, 15, "0.00000015"),
            (1_000_000_000, 9, "1"),
            (1_500_000_000, 9, "1.5"),
            (u64::MAX, 9, "18446744073.709551615"),
            (7, 0, "7"),
            (70, 0, "70"),
        ] {
            assert_eq!(decimal(units, places), written);
        }
    }

    #[test]
    fn prices_are_shown_per_token_and_per_call() {
        let prices = PricingNano {
            prompt: 150_000_000,
            completion: 600_000_000,
            request: 5_000,
            input_cache_read: 0,
            internal_reasoning: 1,
        };
        let shown = prices.to_display();
        assert_eq!(
            (&*shown.prompt, &*shown.completion, &*shown.request),
            ("0.00000015", "0.0000006", "0.000005")
        );
        assert_eq!(
            (&*shown.input_cache_read, &*shown.internal_reasoning),
            ("0", "0.000000000000001")
        );
    }

    #[test]
    fn a_plain_model_has_openais_fields_only() {
        let list = ModelList::new(vec![ModelObject::new("m", 7, "filature")]);
        assert_eq!(
            serde_json::to_value(list).unwrap(),
            serde_json::json!({"object": "list", "data": [{"id": "m", "object": "model", "created": 7, "owned_by": "filature"}]})
        );
    }
}
