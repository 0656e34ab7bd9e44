//! What a simulated engine says about itself (`/v1/models`, `/health`, `/version`, `/stats`, `/calls`, `/metrics`) and
//! about a request.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::body::Body;
use super::refusal::Refusal;
use super::serve::{Shared, response};
use super::stats::Stats;

/// What it says its version is, as vLLM does. By this and by `owned_by` in its list of models an agent takes it for vLLM, and
/// knows how to have an answer continued.
const VERSION: &str = r#"{"version":"0.11.0"}"#;

/// The page at this path.
pub(super) fn page(shared: &Shared, method: &Method, uri: &Uri) -> Result<Response<Body>, Refusal> {
    let path = uri.path();
    if method != Method::GET {
        return Err(Refusal::no_such_path(path));
    }
    let (kind, text) = match path {
        "/v1/models" => ("application/json", models(shared).to_string()),
        "/health" => ("text/plain", String::new()),
        "/version" => ("application/json", VERSION.to_owned()),
        "/stats" => ("application/json", json!(shared.counters.snapshot()).to_string()),
        "/calls" => {
            let call = uri.query().and_then(|query| query.strip_prefix("call="));
            ("application/json", json!(shared.counters.calls(call)).to_string())
        }
        "/metrics" => ("text/plain; version=0.0.4", metrics(shared)),
        _ => return Err(Refusal::no_such_path(path)),
    };
    Ok(response(StatusCode::OK, kind, Body::Whole(Bytes::from(text), None)))
}

fn models(shared: &Shared) -> Value {
    let data = shared.settings.models.iter().map(
        |model| json!({"id": model, "object": "model", "created": 0, "owned_by": "vllm", "max_model_len": 32_768}),
    );
    json!({"object": "list", "data": data.collect::<Vec<_>>()})
}

/// The load under the names vLLM gives it.
fn metrics(shared: &Shared) -> String {
    let stats = match shared.settings.claims_idle {
        true => Stats::default(),
        false => shared.counters.snapshot(),
    };
    let model = shared.settings.models.first().map_or("", String::as_str);
    let mut out = String::new();
    for (name, value) in [
        ("vllm:num_requests_running", stats.running.saturating_sub(stats.waiting)),
        ("vllm:num_requests_waiting", stats.waiting),
    ] {
        let _ = writeln!(out, "# TYPE {name} gauge\n{name}{{model_name=\"{model}\"}} {value}");
    }
    out
}

/// The JSON of `sim_echo`: what arrived, exactly.
pub(super) fn echo_json(path: &str, headers: &HeaderMap, body: &Bytes) -> String {
    let mut named = Map::new();
    for name in headers.keys() {
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        named.insert(name.as_str().to_owned(), Value::from(values.join(", ")));
    }
    json!({"path": path, "headers": named, "body": String::from_utf8_lossy(body)}).to_string()
}
