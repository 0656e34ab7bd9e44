//! What callers may say of how a call is routed. Only what is listed is taken, so that no wish is silently not applied.
#![expect(dead_code, reason = "these types are written down for their schemas and never made")]

use serde_json::Value;
use utoipa::ToSchema;

/// How urgent a call is.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ServiceTier {
    /// As `default`.
    Auto,
    /// Neither.
    Default,
    /// As `default`.
    Standard,
    /// It can wait.
    Flex,
    /// Before the others.
    Priority,
}

/// What is wished of the providers, in OpenRouter's words. Further members are refused.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderPreferences {
    /// Providers to try first, in this order: ids, or the first 16 characters or more of one.
    #[schema(max_items = 64)]
    order: Option<Vec<String>>,
    /// The only providers to use.
    #[schema(max_items = 64)]
    only: Option<Vec<String>>,
    /// Providers not to use.
    #[schema(max_items = 64)]
    ignore: Option<Vec<String>>,
    /// Whether others may be used when those of `order`, or the best one, fail.
    #[schema(default = true)]
    allow_fallbacks: Option<bool>,
    /// Whether a provider must honour every parameter given.
    #[schema(default = false)]
    require_parameters: Option<bool>,
    /// Whether a provider may keep prompts.
    data_collection: Option<DataCollection>,
    /// Whether a provider must keep nothing at all.
    zdr: Option<bool>,
    /// The ways of storing weights that will do.
    quantizations: Option<Vec<Quantization>>,
    sort: Option<Sort>,
    /// Tokens per second to expect at least. Others are used only where there are none such.
    preferred_min_throughput: Option<Threshold>,
    /// Seconds to the first token at most. Others are used only where there are none such.
    preferred_max_latency: Option<Threshold>,
    max_price: Option<MaxPrice>,
    /// Taken, and without effect.
    enforce_distillable_text: Option<bool>,
    /// Taken, and without effect.
    #[schema(value_type = Option<Object>)]
    experimental: Option<Value>,
}

/// Whether a provider may keep prompts.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum DataCollection {
    /// It may.
    Allow,
    /// It must not.
    Deny,
}

/// A class of ways to store weights.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Quantization {
    /// 4-bit integers.
    Int4,
    /// 8-bit integers.
    Int8,
    /// 4-bit floats.
    Fp4,
    /// 6-bit floats.
    Fp6,
    /// 8-bit floats.
    Fp8,
    /// 16-bit floats.
    Fp16,
    /// 16-bit floats (bfloat16).
    Bf16,
    /// 32-bit floats.
    Fp32,
    /// Not stated.
    Unknown,
}

/// What to prefer among providers.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Sort {
    /// One thing.
    By(SortBy),
    /// One thing, among the providers of each model or of all.
    Partitioned(PartitionedSort),
}

/// One thing to prefer.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SortBy {
    /// The lowest price.
    Price,
    /// The most tokens per second.
    Throughput,
    /// The earliest first token.
    Latency,
}

/// What to prefer, and among whom.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PartitionedSort {
    by: Option<SortBy>,
    partition: Option<Partition>,
}

/// Among whom.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Partition {
    /// The providers of each model, one model after the other.
    Model,
    /// The providers of all models together.
    None,
}

/// A threshold of the median, or several by percentile.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Threshold {
    /// Of the median.
    Median(f64),
    /// By percentile.
    Percentiles(PercentileThresholds),
}

/// Thresholds by percentile.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PercentileThresholds {
    #[schema(minimum = 0.0)]
    p50: Option<f64>,
    #[schema(minimum = 0.0)]
    p75: Option<f64>,
    #[schema(minimum = 0.0)]
    p90: Option<f64>,
    #[schema(minimum = 0.0)]
    p99: Option<f64>,
}

/// The highest prices, in the display currency. Strings are read exactly.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MaxPrice {
    /// For a million prompt tokens.
    prompt: Option<Amount>,
    /// For a million completion tokens.
    completion: Option<Amount>,
    /// For one call.
    request: Option<Amount>,
    /// For one image; no provider charges for images.
    image: Option<Amount>,
    /// For audio; no provider charges for it.
    audio: Option<Amount>,
}

/// An amount of money, not below 0.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Amount {
    /// As a number.
    Number(f64),
    /// As a decimal in a string.
    Decimal(String),
}
