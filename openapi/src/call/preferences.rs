//! What a caller wishes of providers: OpenRouter's object `provider`, with its names and its meaning.
//!
//! Source: <https://openrouter.ai/docs/guides/routing/provider-selection>. Decides what the object says; which
//! providers meet it is decided by the router. A member nobody documents is refused, for a filter that is silently not
//! applied is worse than an error.

use super::nested::{elements, flag, members, texts, word};
use super::{BadCall, decimal};
use crate::walk::{Kind, string};

/// The most providers one list may name.
pub const PROVIDERS_MAX: usize = 64;
/// The longest name of a provider, in bytes.
pub const PROVIDER_BYTES_MAX: usize = 256;

/// A call's wishes. Absent and `null` members have the values of [`ProviderPreferences::default`].
#[derive(Clone, PartialEq, Debug)]
pub struct ProviderPreferences {
    /// Providers to try first, in this order.
    pub order: Vec<Box<str>>,
    /// Providers that may be used; empty: all.
    pub only: Vec<Box<str>>,
    /// Providers that must not be used.
    pub ignore: Vec<Box<str>>,
    /// Whether providers beyond those of `order`, or beyond the best, may be used. By default they may.
    pub allow_fallbacks: bool,
    /// Whether a provider must honour every parameter given.
    pub require_parameters: bool,
    /// What providers may do with prompts.
    pub data_collection: DataCollection,
    /// Whether a provider must keep nothing at all.
    pub zdr: bool,
    /// Ways of storing the weights that will do; empty: all.
    pub quantizations: Vec<QuantizationLevel>,
    /// What to prefer; `None`: the gateway's own balance.
    pub sort: Option<SortBy>,
    /// `sort.partition` is `none`: the providers of all models named are sorted together, not model by model.
    pub sort_across_models: bool,
    /// Tokens per second to expect at least. Providers below are used only where there are no others.
    pub preferred_min_throughput: Percentiles,
    /// Seconds to the first token at most. Providers above are used only where there are no others.
    pub preferred_max_latency: Percentiles,
    /// The highest prices.
    pub max_price: MaxPrice,
}

impl Default for ProviderPreferences {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            require_parameters: false,
            data_collection: DataCollection::Allow,
            zdr: false,
            quantizations: Vec::new(),
            sort: None,
            sort_across_models: false,
            preferred_min_throughput: Percentiles::default(),
            preferred_max_latency: Percentiles::default(),
            max_price: MaxPrice::default(),
        }
    }
}

/// What providers may do with prompts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataCollection {
    /// They may store them and train on them.
    #[default]
    Allow,
    /// They may not.
    Deny,
}

/// How a provider is preferred to others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortBy {
    /// The cheapest.
    Price,
    /// The one with the most tokens per second.
    Throughput,
    /// The one with the earliest first token.
    Latency,
}

/// A class of ways to store weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuantizationLevel {
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
    /// 16-bit floats (IEEE 754).
    Fp16,
    /// 16-bit floats (bfloat16).
    Bf16,
    /// 32-bit floats.
    Fp32,
    /// Not stated.
    Unknown,
}

/// Thresholds by percentile, in the unit of the field; `None`: no threshold. A plain number is one of the median.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Percentiles {
    /// Of the median.
    pub p50: Option<f64>,
    /// Of the 75th percentile.
    pub p75: Option<f64>,
    /// Of the 90th percentile.
    pub p90: Option<f64>,
    /// Of the 99th percentile.
    pub p99: Option<f64>,
}

/// The highest prices, rounded down to whole nano: no integer price is above the caller's that is not above these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MaxPrice {
    /// Nano per million prompt tokens.
    pub prompt: Option<u64>,
    /// Nano per million completion tokens.
    pub completion: Option<u64>,
    /// Nano per call.
    pub request: Option<u64>,
    /// Nano per image.
    pub image: Option<u64>,
}

const QUANTIZATIONS: [(&str, QuantizationLevel); 9] = [
    ("int4", QuantizationLevel::Int4),
    ("int8", QuantizationLevel::Int8),
    ("fp4", QuantizationLevel::Fp4),
    ("fp6", QuantizationLevel::Fp6),
    ("fp8", QuantizationLevel::Fp8),
    ("fp16", QuantizationLevel::Fp16),
    ("bf16", QuantizationLevel::Bf16),
    ("fp32", QuantizationLevel::Fp32),
    ("unknown", QuantizationLevel::Unknown),
];

const SORTS: [(&str, SortBy); 3] = [
    ("price", SortBy::Price),
    ("throughput", SortBy::Throughput),
    ("latency", SortBy::Latency),
];

const PARTITIONS: [(&str, bool); 2] = [("model", false), ("none", true)];

const COLLECTIONS: [(&str, DataCollection); 2] = [("allow", DataCollection::Allow), ("deny", DataCollection::Deny)];

/// Reads `provider`, which is not `null`.
pub(super) fn parse(raw: &str) -> Result<ProviderPreferences, BadCall> {
    let mut wishes = ProviderPreferences::default();
    members("provider", raw, |param, key, raw| {
        if raw == "null" {
            return known(key).then_some(()).ok_or_else(|| BadCall::unknown(param));
        }
        match key {
            "order" => wishes.order = providers(param, raw)?,
            "only" => wishes.only = providers(param, raw)?,
            "ignore" => wishes.ignore = providers(param, raw)?,
            "allow_fallbacks" => wishes.allow_fallbacks = flag(param, raw)?,
            "require_parameters" => wishes.require_parameters = flag(param, raw)?,
            "data_collection" => wishes.data_collection = word(param, raw, &COLLECTIONS)?,
            "zdr" => wishes.zdr = flag(param, raw)?,
            "quantizations" => wishes.quantizations = quantizations(param, raw)?,
            "sort" => (wishes.sort, wishes.sort_across_models) = sort(param, raw)?,
            "preferred_min_throughput" => wishes.preferred_min_throughput = percentiles(param, raw)?,
            "preferred_max_latency" => wishes.preferred_max_latency = percentiles(param, raw)?,
            "max_price" => wishes.max_price = max_price(param, raw)?,
            _ if IGNORED.contains(&key) => {}
            _ => return Err(BadCall::unknown(param)),
        }
        Ok(())
    })?;
    Ok(wishes)
}

const ACTED_ON: [&str; 12] = [
    "order",
    "only",
    "ignore",
    "allow_fallbacks",
    "require_parameters",
    "data_collection",
    "zdr",
    "quantizations",
    "sort",
    "preferred_min_throughput",
    "preferred_max_latency",
    "max_price",
];

/// Members that OpenRouter documents and that mean nothing here: what a model's author allows others to train on is not
/// known to a gateway, and there is no experiment to take part in.
const IGNORED: [&str; 2] = ["enforce_distillable_text", "experimental"];

fn known(key: &str) -> bool {
    ACTED_ON.contains(&key) || IGNORED.contains(&key)
}

/// Every member that is taken, for the document.
#[cfg(test)]
pub(crate) fn provider_members() -> impl Iterator<Item = &'static str> {
    ACTED_ON.into_iter().chain(IGNORED)
}

fn providers(param: &str, raw: &str) -> Result<Vec<Box<str>>, BadCall> {
    texts(param, raw, PROVIDERS_MAX, PROVIDER_BYTES_MAX)
}

fn quantizations(param: &str, raw: &str) -> Result<Vec<QuantizationLevel>, BadCall> {
    let mut levels = Vec::new();
    elements(param, raw, PROVIDERS_MAX, |param, raw| {
        let level = word(param, raw, &QUANTIZATIONS)?;
        if !levels.contains(&level) {
            levels.push(level);
        }
        Ok(())
    })?;
    Ok(levels)
}

/// A word, or an object with the word as `by`.
fn sort(param: &str, raw: &str) -> Result<(Option<SortBy>, bool), BadCall> {
    match Kind::of(raw) {
        Kind::String => Ok((Some(word(param, raw, &SORTS)?), false)),
        Kind::Object => {
            let (mut by, mut across) = (None, false);
            members(param, raw, |param, key, raw| {
                match key {
                    "by" | "partition" if raw == "null" => {}
                    "by" => by = Some(word(param, raw, &SORTS)?),
                    "partition" => across = word(param, raw, &PARTITIONS)?,
                    _ => return Err(BadCall::unknown(param)),
                }
                Ok(())
            })?;
            Ok((by, across))
        }
        kind => Err(BadCall::wrong_type(param, "a string or an object", kind)),
    }
}

/// A number, which is one of the median, or an object of numbers.
fn percentiles(param: &str, raw: &str) -> Result<Percentiles, BadCall> {
    let mut thresholds = Percentiles::default();
    match Kind::of(raw) {
        Kind::Integer | Kind::Decimal => thresholds.p50 = Some(threshold(param, raw)?),
        Kind::Object => members(param, raw, |param, key, raw| {
            let place = match key {
                "p50" => &mut thresholds.p50,
                "p75" => &mut thresholds.p75,
                "p90" => &mut thresholds.p90,
                "p99" => &mut thresholds.p99,
                _ => return Err(BadCall::unknown(param)),
            };
            if raw != "null" {
                *place = Some(threshold(param, raw)?);
            }
            Ok(())
        })?,
        kind => return Err(BadCall::wrong_type(param, "a number or an object", kind)),
    }
    Ok(thresholds)
}

fn threshold(param: &str, raw: &str) -> Result<f64, BadCall> {
    let kind = Kind::of(raw);
    if !matches!(kind, Kind::Integer | Kind::Decimal) {
        return Err(BadCall::wrong_type(param, "a number", kind));
    }
    match raw.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(value) if value < 0.0 => Err(BadCall::negative(param, raw)),
        _ => Err(BadCall::invalid(param, "the number is beyond all bounds")),
    }
}

fn max_price(param: &str, raw: &str) -> Result<MaxPrice, BadCall> {
    let (mut prices, mut audio) = (MaxPrice::default(), None);
    members(param, raw, |param, key, raw| {
        let place = match key {
            "prompt" => &mut prices.prompt,
            "completion" => &mut prices.completion,
            "request" => &mut prices.request,
            "image" => &mut prices.image,
            // No offer charges for audio, so any ceiling is kept.
            "audio" => &mut audio,
            _ => return Err(BadCall::unknown(param)),
        };
        if raw != "null" {
            *place = Some(price(param, raw)?);
        }
        Ok(())
    })?;
    Ok(prices)
}

/// Coins, as a number or the same in a string, in whole nano.
fn price(param: &str, raw: &str) -> Result<u64, BadCall> {
    /// A nano is 10^-9 of a coin.
    const NANO_PLACES: u32 = 9;
    let kind = Kind::of(raw);
    let text = match kind {
        Kind::Integer | Kind::Decimal => raw.into(),
        Kind::String => string(raw).unwrap_or_default(),
        kind => return Err(BadCall::wrong_type(param, "a number or a numeric string", kind)),
    };
    decimal::floor(&text, NANO_PLACES).map_err(|bad| match bad {
        decimal::BadDecimal::Negative => BadCall::negative(param, &text),
        decimal::BadDecimal::NotANumber => BadCall::invalid(param, "the string is no decimal number"),
    })
}

#[cfg(test)]
mod tests;
