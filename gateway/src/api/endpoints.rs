//! `GET /v1/models/{id}/endpoints`: who serves a model, at what price, and how well of late.

use filature_openapi::call::Parameters;
use filature_openapi::models::{
    Architecture, EndpointWindows, ModelEndpoint, ModelEndpoints, PercentileStats, PricingNano, WindowStats,
};
use filature_router::{BreakerState, Capabilities, EndpointView, Endpoints, Precisions, Quantiles, WindowView};

use crate::app::App;
use crate::fleet::router_parameters;
use crate::reject::Reject;

/// Every provider of `model`.
///
/// # Errors
/// [`Reject::UnknownModel`] if there is none.
pub fn of(app: &App, model: &str) -> Result<ModelEndpoints, Reject> {
    let views = app.fleet.endpoints(model, app.clock.now());
    if views.is_empty() {
        return Err(Reject::UnknownModel(model.to_owned()));
    }
    let can = views.iter().fold(Capabilities::NONE, |set, view| set.with(view.can));
    let serves = views.iter().fold(Endpoints::NONE, |set, view| set.with(view.endpoints));
    let writes = serves.contains(Endpoints::CHAT) || serves.contains(Endpoints::COMPLETIONS);
    Ok(ModelEndpoints {
        id: model.to_owned(),
        name: model.to_owned(),
        created: app.started_ms / 1000,
        description: String::new(),
        architecture: if writes {
            Architecture::of_text(can.contains(Capabilities::IMAGES))
        } else {
            Architecture::of_embeddings()
        },
        endpoints: views.into_iter().map(|view| endpoint(app, model, view)).collect(),
    })
}

fn endpoint(app: &App, model: &str, view: EndpointView) -> ModelEndpoint {
    let id = &view.seat.provider;
    let name = match app.fleet.provider(id) {
        Some(provider) => provider.name.clone(),
        None => id.to_string(),
    };
    let price = view.seat.price;
    let pricing_nano = PricingNano {
        prompt: price.prompt,
        completion: price.completion,
        request: price.call,
        input_cache_read: price.cached_prompt,
        internal_reasoning: price.reasoning,
    };
    let windows = view.windows.map(window);
    let [last_5m, last_30m, last_1d] = windows;
    ModelEndpoint {
        name: format!("{name} | {model}"),
        model_id: model.to_owned(),
        model_name: model.to_owned(),
        context_length: view.context_tokens_max,
        pricing: pricing_nano.to_display(),
        pricing_nano,
        provider_name: name,
        tag: id.to_string(),
        quantization: Some(quantization(view.precision).to_owned()),
        quantization_label: view.quantization.as_ref().map(ToString::to_string),
        max_completion_tokens: Some(view.output_tokens_max),
        max_prompt_tokens: None,
        supported_parameters: supported(view.can),
        status: status(&view),
        uptime_last_5m: last_5m.uptime,
        uptime_last_30m: last_30m.uptime,
        uptime_last_1d: last_1d.uptime,
        latency_last_30m: last_30m.latency,
        throughput_last_30m: last_30m.throughput,
        supports_implicit_caching: price.cached_prompt < price.prompt,
        windows: EndpointWindows {
            last_5m,
            last_30m,
            last_1d,
        },
    }
}

fn window(view: WindowView) -> WindowStats {
    WindowStats {
        attempts: view.attempts,
        uptime: view.uptime.map(|share| share * 100.0),
        latency: view.first_token_s.map(|quantiles| stats(quantiles, 1000.0)),
        throughput: view.tokens_per_s.map(|quantiles| stats(quantiles, 1.0)),
    }
}

fn stats(quantiles: Quantiles, unit: f64) -> PercentileStats {
    PercentileStats {
        p50: quantiles.p50 * unit,
        p75: quantiles.p75 * unit,
        p90: quantiles.p90 * unit,
        p99: quantiles.p99 * unit,
    }
}

/// OpenRouter's word for a class.
fn quantization(class: Precisions) -> &'static str {
    const WORDS: [(Precisions, &str); 8] = [
        (Precisions::INT4, "int4"),
        (Precisions::INT8, "int8"),
        (Precisions::FP4, "fp4"),
        (Precisions::FP6, "fp6"),
        (Precisions::FP8, "fp8"),
        (Precisions::FP16, "fp16"),
        (Precisions::BF16, "bf16"),
        (Precisions::FP32, "fp32"),
    ];
    let found = WORDS.iter().find(|(known, _)| *known == class);
    found.map_or("unknown", |(_, word)| word)
}

/// The request fields that a provider of these abilities honours.
fn supported(can: Capabilities) -> Vec<String> {
    let always = ["max_tokens", "temperature", "top_p"].map(str::to_owned);
    let by_ability = [
        (Capabilities::TOOLS, "tools"),
        (Capabilities::TOOLS, "tool_choice"),
        (Capabilities::JSON_SCHEMA, "response_format"),
        (Capabilities::JSON_SCHEMA, "structured_outputs"),
        (Capabilities::LOGPROBS, "logprobs"),
        (Capabilities::LOGPROBS, "top_logprobs"),
    ];
    let abilities = by_ability.into_iter().filter(|(ability, _)| can.contains(*ability));
    let sampling = Parameters::NAMED
        .into_iter()
        .filter(|(_, parameter)| can.contains(router_parameters(*parameter)));
    let mut words: Vec<String> = always.into();
    words.extend(abilities.map(|(_, word)| word.to_owned()));
    words.extend(sampling.map(|(word, _)| word.to_owned()));
    words.sort_unstable();
    words
}

/// OpenRouter's figure for how a provider is.
fn status(view: &EndpointView) -> i32 {
    let seat = &view.seat;
    match seat.breaker {
        BreakerState::Open => -5,
        _ if seat.is_draining => -5,
        BreakerState::HalfOpen => -2,
        BreakerState::Closed if seat.is_backing_off || seat.load >= f64::from(seat.limit) => -1,
        BreakerState::Closed => 0,
    }
}
