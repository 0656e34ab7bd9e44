//! The OpenAPI document of every route the gateway serves, generated and committed as `openapi/openapi.json`.
//!
//! Decides what is promised to clients in writing. The attributes stand here and not at the handlers, so that handlers
//! stay short and the document can be built without a gateway.

mod answers;
mod failures;
mod rates;
mod routes;
mod routing;
mod schemas;

use utoipa::OpenApi;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, RefOr};

/// The name of the one security scheme: an API key as bearer token.
const BEARER: &str = "api_key";

/// Schemas that must say aloud that further members pass through untouched.
const OPEN_SCHEMAS: [&str; 10] = [
    "ChatRequest",
    "ChatMessage",
    "CompletionRequest",
    "EmbeddingRequest",
    "StreamOptions",
    "ChatAnswer",
    "ChatChunk",
    "CompletionAnswer",
    "EmbeddingAnswer",
    "Usage",
];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Filature",
        description = "One OpenAI-compatible endpoint over many GPU providers, metered and paid in nano-exact steps. \
                       Any OpenAI client works with it: set the base URL and the API key.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        routes::chat_completions,
        routes::completions,
        routes::embeddings,
        routes::models,
        routes::model,
        routes::endpoints,
        routes::key,
        routes::credits,
        routes::ask_deposit,
        routes::deposits,
        routes::ask_withdrawal,
        routes::withdrawals,
        routes::usage,
        routes::generation,
        routes::receipt,
        routes::epochs,
        routes::leaf,
        routes::healthz,
        routes::readyz,
        routes::metrics,
        routes::openapi_json,
    ),
    components(schemas(crate::error::ErrorEnvelope)),
    tags(
        (name = "calls", description = "Calling a model."),
        (name = "models", description = "What can be called."),
        (name = "account", description = "What was used, what it cost, and the proof of it."),
        (name = "proof", description = "What anybody may read to check the operator. No API key needed."),
        (name = "operation", description = "For operators and their machines. No API key needed."),
    ),
)]
struct Document;

/// The whole document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("sk-fil-…")
        .description(Some("An API key made with `filature keys create`."))
        .build();
    components
        .security_schemes
        .insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
    for name in OPEN_SCHEMAS {
        if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(true)));
        }
    }
    rates::describe(&mut document.paths);
    document
}

/// The document as it is committed and served: JSON with an end of line.
#[must_use]
pub fn document_json() -> String {
    let mut json = document()
        .to_pretty_json()
        .expect("the document is made of strings and numbers");
    json.push('\n');
    json
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn value() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    /// `FILATURE_BLESS=1` writes the file anew.
    #[test]
    fn the_committed_document_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let current = document_json();
        if std::env::var_os("FILATURE_BLESS").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        // Compared as values: the order of members in examples depends on which features the whole build turns on.
        let parse = |json: &str| serde_json::from_str::<Value>(json).unwrap_or_default();
        let committed = parse(&std::fs::read_to_string(&path).unwrap_or_default());
        assert!(
            committed == parse(&current),
            "openapi/openapi.json is stale: run the tests with FILATURE_BLESS=1"
        );
    }

    #[test]
    fn every_route_is_documented_once() {
        let document = value();
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(
            paths.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            BTreeSet::from([
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/embeddings",
                "/v1/models",
                "/v1/models/{id}",
                "/v1/models/{id}/endpoints",
                "/v1/key",
                "/v1/credits",
                "/v1/deposits",
                "/v1/withdrawals",
                "/v1/usage",
                "/v1/generation",
                "/v1/receipts/{id}",
                "/v1/epochs",
                "/v1/leaves/{root}/{provider}",
                "/healthz",
                "/readyz",
                "/metrics",
                "/openapi.json",
            ])
        );
        assert_eq!(paths.len(), 19);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn collect(value: &Value, references: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(reference)) = members.get("$ref") {
                        references.insert(reference.clone());
                    }
                    members.values().for_each(|member| collect(member, references));
                }
                Value::Array(elements) => elements.iter().for_each(|element| collect(element, references)),
                _ => {}
            }
        }
        let document = value();
        let mut references = BTreeSet::new();
        collect(&document, &mut references);
        assert!(references.len() > 20, "{references:?}");
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn calls_need_a_key_and_name_every_failure() {
        let document = value();
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
            let operation = &document["paths"][path]["post"];
            assert_eq!(operation["security"], serde_json::json!([{"api_key": []}]), "{path}");
            for status in [
                "400", "401", "402", "403", "404", "408", "413", "422", "429", "500", "502", "503", "504",
            ] {
                let response = &operation["responses"][status];
                let content = &response["content"]["application/json"];
                assert_eq!(
                    content["schema"]["$ref"], "#/components/schemas/ErrorEnvelope",
                    "{path} {status}"
                );
                assert!(content["example"]["error"]["message"].is_string(), "{path} {status}");
                assert_eq!(
                    response["headers"]["Retry-After"].is_object(),
                    ["429", "503"].contains(&status)
                );
            }
        }
        for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
            assert!(document["paths"][path]["get"].get("security").is_none(), "{path}");
        }
        assert_eq!(document["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    }

    #[test]
    fn bodies_that_pass_through_allow_further_members() {
        let document = value();
        for name in OPEN_SCHEMAS {
            assert_eq!(
                document["components"]["schemas"][name]["additionalProperties"], true,
                "{name}"
            );
        }
    }

    #[test]
    fn wishes_about_providers_are_closed_and_complete() {
        let document = value();
        let schema = &document["components"]["schemas"]["ProviderPreferences"];
        assert_eq!(schema["additionalProperties"], false);
        let members: BTreeSet<_> = schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(members, crate::call::provider_members().collect());
        for request in ["ChatRequest", "CompletionRequest", "EmbeddingRequest"] {
            let schema = &document["components"]["schemas"][request];
            for member in [
                "model",
                "models",
                "provider",
                "route",
                "service_tier",
                "session_id",
                "prompt_cache_key",
            ] {
                assert!(schema["properties"][member].is_object(), "{request}.{member}");
            }
            assert!(
                !schema["required"].as_array().unwrap().contains(&"model".into()),
                "{request}"
            );
        }
    }
}
