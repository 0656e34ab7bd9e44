//! Who serves a model, at what price, and how well: OpenRouter's list of a model's endpoints, with Filature's
//! additions.
//!
//! Source of the shape: <https://openrouter.ai/docs/api/api-reference/endpoints/list-endpoints>. Decides the shape; the
//! figures are the router's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Pricing, PricingNano};

/// A model and everyone who serves it: what `data` of `GET /v1/models/{author}/{slug}/endpoints` holds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelEndpoints {
    /// The name to call it by.
    #[schema(examples("smollm2-135m-instruct"))]
    pub id: String,
    /// The name to show.
    #[schema(examples("smollm2-135m-instruct"))]
    pub name: String,
    /// When the gateway first saw it, in seconds since 1970.
    pub created: u64,
    /// What there is to know of it; may be empty.
    pub description: String,
    /// What goes in and what comes out.
    pub architecture: Architecture,
    /// One for each provider.
    pub endpoints: Vec<ModelEndpoint>,
}

/// What goes into a model and what comes out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Architecture {
    /// Both in one word.
    #[schema(examples("text->text"))]
    pub modality: String,
    /// What goes in: `text`, `image`.
    pub input_modalities: Vec<String>,
    /// What comes out: `text`, `embeddings`.
    pub output_modalities: Vec<String>,
    /// The family of its tokenizer; `Other` where it is not known.
    #[schema(examples("Other"))]
    pub tokenizer: String,
    /// The form of its instructions, where that is known.
    pub instruct_type: Option<String>,
}

impl Architecture {
    /// A model that is given text, and perhaps images, and writes text.
    #[must_use]
    pub fn of_text(images: bool) -> Self {
        let text = || "text".to_owned();
        Self {
            modality: if images { "text+image->text" } else { "text->text" }.to_owned(),
            input_modalities: if images {
                vec![text(), "image".to_owned()]
            } else {
                vec![text()]
            },
            output_modalities: vec![text()],
            tokenizer: "Other".to_owned(),
            instruct_type: None,
        }
    }

    /// A model that turns text into vectors.
    #[must_use]
    pub fn of_embeddings() -> Self {
        Self {
            modality: "text->embeddings".to_owned(),
            output_modalities: vec!["embeddings".to_owned()],
            ..Self::of_text(false)
        }
    }
}

/// One provider of a model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ModelEndpoint {
    /// Provider and model in one, to show.
    #[schema(examples("mill-1 | smollm2-135m-instruct"))]
    pub name: String,
    /// The model's name to call it by.
    pub model_id: String,
    /// The model's name to show.
    pub model_name: String,
    /// The longest prompt and output together, in tokens.
    pub context_length: u32,
    /// The prices, in the display currency.
    pub pricing: Pricing,
    /// The same prices, exactly.
    pub pricing_nano: PricingNano,
    /// What people call the provider. Not unique.
    #[schema(examples("mill-1"))]
    pub provider_name: String,
    /// What `provider.order`, `only` and `ignore` name it by: the provider's id.
    pub tag: String,
    /// How the weights are stored: `int4`, `int8`, `fp4`, `fp6`, `fp8`, `fp16`, `bf16`, `fp32` or `unknown`.
    #[schema(examples("fp8"))]
    pub quantization: Option<String>,
    /// How the weights are stored, in the provider's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("awq-int4"))]
    pub quantization_label: Option<String>,
    /// The longest output, in tokens.
    pub max_completion_tokens: Option<u32>,
    /// The longest prompt, in tokens.
    pub max_prompt_tokens: Option<u32>,
    /// Request fields that it honours.
    pub supported_parameters: Vec<String>,
    /// How it is: 0 well; below 0 the worse the lower: -1 short of calls or slow, -2 failing, -5 not called at all for
    /// now.
    pub status: i32,
    /// The share of attempts that succeeded in the last 5 minutes, in percent; `null` without attempts.
    pub uptime_last_5m: Option<f64>,
    /// The share of attempts that succeeded in the last 30 minutes, in percent; `null` without attempts.
    pub uptime_last_30m: Option<f64>,
    /// The share of attempts that succeeded in the last day, in percent; `null` without attempts.
    pub uptime_last_1d: Option<f64>,
    /// Time to the first token in the last 30 minutes, in milliseconds.
    pub latency_last_30m: Option<PercentileStats>,
    /// Tokens per second of one answer in the last 30 minutes. The percentiles are of speed: the 99th is the fastest.
    pub throughput_last_30m: Option<PercentileStats>,
    /// Whether prompts the engine had in its cache cost less without being asked for.
    pub supports_implicit_caching: bool,
    /// What it did lately, window by window.
    pub windows: EndpointWindows,
}

/// What a provider did lately.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct EndpointWindows {
    /// In the last 5 minutes.
    pub last_5m: WindowStats,
    /// In the last 30 minutes.
    pub last_30m: WindowStats,
    /// In the last day.
    pub last_1d: WindowStats,
}

/// What a provider did in one window.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct WindowStats {
    /// Attempts that ended.
    pub attempts: u64,
    /// The share of them that succeeded, in percent; `null` without attempts.
    pub uptime: Option<f64>,
    /// Time to the first token, in milliseconds.
    pub latency: Option<PercentileStats>,
    /// Tokens per second of one answer.
    pub throughput: Option<PercentileStats>,
}

/// A distribution by its percentiles.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct PercentileStats {
    /// The median.
    pub p50: f64,
    /// The 75th percentile.
    pub p75: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_models_endpoints_are_those_of_openrouter_and_more() {
        let nano = PricingNano {
            prompt: 150_000_000,
            completion: 600_000_000,
            request: 0,
            input_cache_read: 75_000_000,
            internal_reasoning: 600_000_000,
        };
        let percentiles = PercentileStats {
            p50: 250.0,
            p75: 350.0,
            p90: 480.5,
            p99: 850.0,
        };
        let endpoint = ModelEndpoint {
            name: "mill-1 | m".to_owned(),
            model_id: "m".to_owned(),
            model_name: "m".to_owned(),
            context_length: 8192,
            pricing: nano.to_display(),
            pricing_nano: nano,
            provider_name: "mill-1".to_owned(),
            tag: "ab12".to_owned(),
            quantization: Some("fp8".to_owned()),
            quantization_label: None,
            max_completion_tokens: Some(4096),
            max_prompt_tokens: None,
            supported_parameters: vec!["seed".to_owned()],
            status: 0,
            uptime_last_5m: None,
            uptime_last_30m: Some(99.5),
            uptime_last_1d: Some(100.0),
            latency_last_30m: Some(percentiles),
            throughput_last_30m: None,
            supports_implicit_caching: true,
            windows: EndpointWindows::default(),
        };
        let model = ModelEndpoints {
            id: "m".to_owned(),
            name: "m".to_owned(),
            created: 7,
            description: String::new(),
            architecture: Architecture::of_text(true),
            endpoints: vec![endpoint],
        };
        let shown = serde_json::to_value(&model).unwrap();
        assert_eq!(serde_json::from_value::<ModelEndpoints>(shown.clone()).unwrap(), model);
        assert_eq!(
            shown["architecture"],
            json!({"modality": "text+image->text", "input_modalities": ["text", "image"], "output_modalities": ["text"],
                "tokenizer": "Other", "instruct_type": null})
        );
        let endpoint = shown["endpoints"][0].as_object().unwrap();
        // What OpenRouter's own client (`PublicEndpoint` of its TypeScript SDK) asks for, `null` where it is not known.
        for member in [
            "name",
            "model_id",
            "model_name",
            "context_length",
            "pricing",
            "provider_name",
            "tag",
            "quantization",
            "max_completion_tokens",
            "max_prompt_tokens",
            "supported_parameters",
            "uptime_last_30m",
            "supports_implicit_caching",
            "latency_last_30m",
            "throughput_last_30m",
        ] {
            assert!(endpoint.contains_key(member), "{member}");
        }
        assert_eq!(endpoint["pricing"]["prompt"], "0.00000015");
        assert_eq!(endpoint["latency_last_30m"]["p90"], 480.5);
        assert_eq!(endpoint["max_prompt_tokens"], Value::Null);
        let window = json!({"attempts": 0, "uptime": null, "latency": null, "throughput": null});
        assert_eq!(
            endpoint["windows"],
            json!({"last_5m": window, "last_30m": window, "last_1d": window})
        );
    }
}
