//! `GET /v1/models` and `/v1/models/{id}`: what the fleet serves now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use filature_openapi::models::{ModelList, ModelObject, PricingNano};
use filature_provider_sdk::offer::ModelOffer;
use http::HeaderMap;

use crate::app::{App, Worker};
use crate::reject::Reject;
use crate::request::auth;

/// Every model some provider serves, by name.
///
/// # Errors
/// [`Reject::Unauthorized`] without a good key.
pub async fn list(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> Result<Json<ModelList>, Reject> {
    auth::holder(&worker.app, &headers).await?;
    Ok(Json(ModelList::new(models(&worker.app).into_values().collect())))
}

/// One model.
///
/// # Errors
/// [`Reject::UnknownModel`] if nobody serves it, [`Reject::Unauthorized`] without a good key.
pub async fn show(
    State(worker): State<Arc<Worker>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<ModelObject>, Reject> {
    auth::holder(&worker.app, &headers).await?;
    models(&worker.app)
        .remove(&id)
        .map(Json)
        .ok_or(Reject::UnknownModel(id))
}

fn models(app: &App) -> BTreeMap<String, ModelObject> {
    let mut models: BTreeMap<String, ModelObject> = BTreeMap::new();
    for provider in app.fleet.providers() {
        for offer in provider.models() {
            let first = || ModelObject::new(offer.model.clone(), app.started_ms / 1000, "filature");
            add(models.entry(offer.model.clone()).or_insert_with(first), offer);
        }
    }
    models
}

/// Widens what is known of a model by one more offer: the longest limits, the lowest prices.
fn add(model: &mut ModelObject, offer: &ModelOffer) {
    let price = &offer.price;
    let offered = PricingNano {
        prompt: price.prompt,
        completion: price.completion,
        request: price.call,
        input_cache_read: price.cached_prompt,
        internal_reasoning: price.reasoning,
    };
    let lowest = model.pricing_nano.map_or(offered, |known| PricingNano {
        prompt: known.prompt.min(offered.prompt),
        completion: known.completion.min(offered.completion),
        request: known.request.min(offered.request),
        input_cache_read: known.input_cache_read.min(offered.input_cache_read),
        internal_reasoning: known.internal_reasoning.min(offered.internal_reasoning),
    });
    model.pricing = Some(lowest.to_display());
    model.pricing_nano = Some(lowest);
    model.context_length = model.context_length.max(Some(offer.context_tokens_max));
    model.max_completion_tokens = model.max_completion_tokens.max(Some(offer.output_tokens_max));
    model.providers = Some(model.providers.unwrap_or(0) + 1);
    for capability in &offer.capabilities {
        if !model.supported_parameters.contains(capability) {
            model.supported_parameters.push(capability.clone());
        }
    }
    model.supported_parameters.sort_unstable();
}
