//! `GET /v1/models`, `/v1/models/{id}` and `/v1/models/{id}/endpoints`: what the fleet serves now.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use filature_openapi::account::Data;
use filature_openapi::models::{ModelList, ModelObject, PricingNano};
use filature_provider_sdk::offer::{CONTINUE, ModelOffer, PRIVATE};
use http::HeaderMap;

use super::endpoints;
use crate::app::{App, Worker};
use crate::reject::Reject;
use crate::request::auth;

/// Every model some provider serves and the key may call, by name.
///
/// # Errors
/// [`Reject::Unauthorized`] without a good key.
pub async fn list(State(worker): State<Arc<Worker>>, headers: HeaderMap) -> Result<Json<ModelList>, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let models = models(&worker.app).into_values();
    let allowed = models.filter(|model| key.limits.allows(&model.id));
    Ok(Json(ModelList::new(allowed.collect())))
}

/// One model, or with `/endpoints` behind its name who serves it. A model's name may hold slashes.
///
/// # Errors
/// [`Reject::UnknownModel`] if nobody serves it or the key may not call it, [`Reject::Unauthorized`] without a good key.
pub async fn show(
    State(worker): State<Arc<Worker>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Reject> {
    let key = auth::holder(&worker.app, &headers).await?;
    let model = id.strip_suffix("/endpoints");
    if !key.limits.allows(model.unwrap_or(&id)) {
        return Err(Reject::UnknownModel(model.unwrap_or(&id).to_owned()));
    }
    if let Some(model) = model {
        let data = endpoints::of(&worker.app, model)?;
        return Ok(Json(Data { data }).into_response());
    }
    let model = models(&worker.app).remove(&id).ok_or(Reject::UnknownModel(id))?;
    Ok(Json(model).into_response())
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
    // These two are about the provider, not about what a request may hold.
    let of_requests = |word: &&String| ![CONTINUE, PRIVATE].contains(&word.as_str());
    for capability in offer.capabilities.iter().filter(of_requests) {
        if !model.supported_parameters.contains(capability) {
            model.supported_parameters.push(capability.clone());
        }
    }
    model.supported_parameters.sort_unstable();
}
