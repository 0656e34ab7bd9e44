//! A caller's wishes about providers in the router's terms, and what marks calls with a common opening.

use filature_billing::KeyRecord;
use filature_openapi::call::{
    CallView, DataCollection, Percentiles, ProviderPreferences, QuantizationLevel, SortBy, Variant,
};
use filature_router::{Precisions, Preferences, PriceMax, Quantile, Sort, Threshold};
use sha2::{Digest, Sha256};

/// What the caller wishes, if anything.
#[must_use]
pub fn of(view: &CallView) -> Option<Box<Preferences>> {
    let by_suffix = view.variant.map(|variant| match variant {
        Variant::Floor => Sort::Price,
        Variant::Nitro => Sort::Throughput,
    });
    let Some(wishes) = view.provider.as_deref() else {
        return by_suffix.map(|sort| {
            Box::new(Preferences {
                sort: Some(sort),
                ..Preferences::default()
            })
        });
    };
    let mut preferences = translated(wishes);
    preferences.sort = preferences.sort.or(by_suffix);
    Some(Box::new(preferences))
}

fn translated(wishes: &ProviderPreferences) -> Preferences {
    let precisions = wishes
        .quantizations
        .iter()
        .fold(Precisions::NONE, |set, level| set.with(precision(*level)));
    Preferences {
        order: wishes.order.clone(),
        only: wishes.only.clone(),
        ignore: wishes.ignore.clone(),
        allow_fallbacks: wishes.allow_fallbacks,
        precisions,
        sort: wishes.sort.map(|by| match by {
            SortBy::Price => Sort::Price,
            SortBy::Throughput => Sort::Throughput,
            SortBy::Latency => Sort::Latency,
        }),
        throughput_min: thresholds(&wishes.preferred_min_throughput),
        latency_max: thresholds(&wishes.preferred_max_latency),
        price_max: PriceMax {
            prompt: wishes.max_price.prompt,
            completion: wishes.max_price.completion,
            call: wishes.max_price.request,
        },
        private_only: wishes.zdr || wishes.data_collection == DataCollection::Deny,
    }
}

/// The router's class for OpenRouter's.
#[must_use]
pub fn precision(level: QuantizationLevel) -> Precisions {
    match level {
        QuantizationLevel::Int4 => Precisions::INT4,
        QuantizationLevel::Int8 => Precisions::INT8,
        QuantizationLevel::Fp4 => Precisions::FP4,
        QuantizationLevel::Fp6 => Precisions::FP6,
        QuantizationLevel::Fp8 => Precisions::FP8,
        QuantizationLevel::Fp16 => Precisions::FP16,
        QuantizationLevel::Bf16 => Precisions::BF16,
        QuantizationLevel::Fp32 => Precisions::FP32,
        QuantizationLevel::Unknown => Precisions::UNKNOWN,
    }
}

fn thresholds(of: &Percentiles) -> Vec<Threshold> {
    let all = [
        (Quantile::P50, of.p50),
        (Quantile::P75, of.p75),
        (Quantile::P90, of.p90),
        (Quantile::P99, of.p99),
    ];
    all.into_iter()
        .filter_map(|(quantile, value)| {
            Some(Threshold {
                quantile,
                value: value?,
            })
        })
        .collect()
}

/// What calls share whose prompts are likely to open alike: the session the caller names, else the opening itself. A session
/// is its account's own; an opening (a system prompt) may be everybody's.
#[must_use]
pub fn prefix(key: &KeyRecord, view: &CallView) -> Option<u64> {
    let Some(session) = &view.session else {
        return view.opening;
    };
    // Replicas must agree, and a session must not be steerable into another account's.
    let mut hasher = Sha256::new();
    hasher.update(key.account.as_str());
    hasher.update([0]);
    hasher.update(session.as_bytes());
    hasher.finalize().first_chunk().copied().map(u64::from_le_bytes)
}
