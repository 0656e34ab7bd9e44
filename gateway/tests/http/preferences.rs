//! What callers wish of providers, in OpenRouter's words: who serves, who does not, and what is said where nobody may.

use filature_loadtest::engine::{Engine, EngineSettings};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::exchange::{Answer, Exchanges};
use crate::gateway::Gateway;

const CHAT: &str = "/v1/chat/completions";
/// Serves one model, dearly, in fp16, keeps no prompts and honours `top_k`.
const CAREFUL: &str = "direct.the-careful-one";
/// The same for half the price, in fp8, with tools.
const CHEAP: &str = "direct.the-cheap-one";
/// Says nothing of its weights and stands between the two. Also serves a model of its own.
const PLAIN: &str = "direct.the-plain-one";

async fn gateway() -> Gateway {
    let mut engines = Vec::new();
    for name in ["careful", "cheap", "plain"] {
        let settings = EngineSettings {
            name: name.to_owned(),
            models: ["sim-trio", "sim-solo"].map(str::to_owned).to_vec(),
            tokens: 5,
            ..EngineSettings::default()
        };
        engines.push(Engine::start(settings).await.expect("an engine"));
    }
    let [careful, cheap, plain] = [0, 1, 2].map(|at: usize| engines[at].url());
    let rest = format!(
        r#"
        [routing]
        queue_wait_ms = 300

        [[providers]]
        name = "the-careful-one"
        url = "{careful}"
        [[providers.models]]
        model = "sim-trio"
        quantization = "fp16"
        capabilities = ["private"]
        parameters = ["seed", "top_k", "stop"]
        price = {{ prompt = 40_000_000, completion = 120_000_000 }}

        [[providers]]
        name = "the-cheap-one"
        url = "{cheap}"
        [[providers.models]]
        model = "sim-trio"
        quantization = "FP8"
        capabilities = ["tools"]
        price = {{ prompt = 20_000_000, completion = 60_000_000 }}

        [[providers]]
        name = "the-plain-one"
        url = "{plain}"
        [[providers.models]]
        model = "sim-trio"
        price = {{ prompt = 30_000_000, completion = 90_000_000 }}
        [[providers.models]]
        model = "sim-solo"
        price = {{ prompt = 30_000_000, completion = 90_000_000, call = 10 }}
        "#
    );
    Gateway::launch("", &rest, engines).await
}

fn call(model: &str, more: &Value) -> String {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hi" }], "max_tokens": 5 });
    let fields = more.as_object().expect("fields").clone();
    body.as_object_mut().expect("an object").extend(fields);
    body.to_string()
}

fn served_by(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.header("filature-provider")
}

#[tokio::test]
async fn wishes_decide_who_serves() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    for (wish, provider) in [
        (json!({ "only": [PLAIN] }), PLAIN),
        (json!({ "only": [CHEAP, CAREFUL], "ignore": [CHEAP] }), CAREFUL),
        (json!({ "ignore": [CHEAP, PLAIN] }), CAREFUL),
        (json!({ "order": [PLAIN, CAREFUL] }), PLAIN),
        (
            json!({ "order": ["direct.nobody-at-all", CAREFUL], "sort": "price" }),
            CAREFUL,
        ),
        (json!({ "order": [CAREFUL], "allow_fallbacks": false }), CAREFUL),
        (json!({ "quantizations": ["fp8"] }), CHEAP),
        (json!({ "quantizations": ["fp16", "bf16"] }), CAREFUL),
        (json!({ "quantizations": ["unknown"] }), PLAIN),
        (json!({ "data_collection": "deny" }), CAREFUL),
        (json!({ "zdr": true }), CAREFUL),
        (json!({ "sort": "price" }), CHEAP),
        (json!({ "sort": "price", "ignore": [CHEAP] }), PLAIN),
        (json!({ "max_price": { "prompt": 0.025 } }), CHEAP),
        (json!({ "max_price": { "completion": 0.06 } }), CHEAP),
        (json!({ "max_price": { "prompt": "0.03" }, "ignore": [CHEAP] }), PLAIN),
    ] {
        let body = call("sim-trio", &json!({ "provider": wish }));
        assert_eq!(served_by(&exchanges.post(CHAT, body).await), provider, "{wish}");
    }
    let body = call(
        "sim-trio",
        &json!({ "provider": { "require_parameters": true }, "top_k": 3 }),
    );
    assert_eq!(served_by(&exchanges.post(CHAT, body).await), CAREFUL);
    let tools = json!([{ "type": "function", "function": { "name": "look", "parameters": {} } }]);
    let body = call("sim-trio", &json!({ "tools": tools }));
    assert_eq!(served_by(&exchanges.post(CHAT, body).await), CHEAP);
}

#[tokio::test]
async fn a_variant_of_a_model_is_a_way_to_sort() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    for _ in 0..6 {
        let answer = exchanges.post(CHAT, call("sim-trio:floor", &json!({}))).await;
        assert_eq!(served_by(&answer), CHEAP);
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(body["model"], "sim-trio");
    }
    let answer = exchanges.post(CHAT, call("sim-trio:nitro", &json!({}))).await;
    assert!(!served_by(&answer).is_empty());
}

#[tokio::test]
async fn the_next_model_serves_where_the_first_cannot() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    let model = |answer: &Answer| -> Value {
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        body["model"].clone()
    };
    let body = call("nobody-has-this", &json!({ "models": ["sim-solo"] }));
    let answer = exchanges.post(CHAT, body).await;
    assert_eq!((served_by(&answer), model(&answer)), (PLAIN, json!("sim-solo")));
    // Every provider of the first fails; the second is asked then.
    let fault = json!({ "kind": "http_500", "attempts": [1, 2, 3] });
    let body = call(
        "sim-trio",
        &json!({ "models": ["sim-solo"], "sim": { "fault": fault } }),
    );
    let answer = exchanges.post(CHAT, body).await;
    assert_eq!((served_by(&answer), model(&answer)), (PLAIN, json!("sim-solo")));
    let mut body: Value =
        serde_json::from_str(&call("", &json!({ "models": ["sim-solo", "sim-trio"] }))).expect("JSON");
    body.as_object_mut().expect("an object").remove("model");
    let answer = exchanges.post(CHAT, body.to_string()).await;
    assert_eq!((served_by(&answer), model(&answer)), (PLAIN, json!("sim-solo")));
}

#[tokio::test]
async fn engines_see_nothing_of_it() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    let wishes = json!({ "provider": { "only": [PLAIN] }, "models": ["sim-solo"], "route": "fallback",
        "x_unknown": 1, "sim": { "echo": true } });
    let answer = exchanges.post(CHAT, call("sim-trio:floor", &wishes)).await;
    assert_eq!(served_by(&answer), PLAIN);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let seen: Value = serde_json::from_str(body["sim_echo"]["body"].as_str().expect("text")).expect("JSON");
    assert_eq!((&seen["model"], &seen["x_unknown"]), (&json!("sim-trio"), &json!(1)));
    for field in ["provider", "models", "route"] {
        assert!(seen.get(field).is_none(), "{seen}");
    }
}

#[tokio::test]
async fn wishes_that_nobody_meets_name_the_filter() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    for wish in [
        json!({ "only": ["direct.nobody-at-all"] }),
        json!({ "ignore": [CHEAP, PLAIN, CAREFUL] }),
        json!({ "order": ["direct.nobody-at-all"], "allow_fallbacks": false }),
        json!({ "quantizations": ["int4"] }),
        json!({ "max_price": { "prompt": 0.001 } }),
        json!({ "only": [CHEAP], "zdr": true }),
    ] {
        let answer = exchanges
            .post(CHAT, call("sim-trio", &json!({ "provider": wish })))
            .await;
        assert!([404, 503].contains(&answer.status), "{wish}: {}", answer.status);
    }
    let require = json!({ "provider": { "require_parameters": true, "only": [CHEAP] }, "top_k": 3 });
    exchanges.post(CHAT, call("sim-trio", &require)).await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn wishes_that_are_none_are_refused() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    for wish in [
        json!("cheap"),
        json!({ "onyl": [CHEAP] }),
        json!({ "only": CHEAP }),
        json!({ "sort": "beauty" }),
        json!({ "quantizations": ["fp7"] }),
        json!({ "max_price": { "prompt": -1 } }),
        json!({ "allow_fallbacks": "no" }),
    ] {
        let answer = exchanges
            .post(CHAT, call("sim-trio", &json!({ "provider": wish })))
            .await;
        assert_eq!(answer.status, 400, "{wish}");
    }
    assert_eq!(
        exchanges
            .post(CHAT, call("sim-trio", &json!({ "models": "sim-solo" })))
            .await
            .status,
        400
    );
    assert_eq!(
        exchanges.post(CHAT, call("sim-trio:best", &json!({}))).await.status,
        404
    );
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn who_serves_a_model_is_told() {
    let gateway = gateway().await;
    let mut exchanges = Exchanges::new(&gateway);
    let answer = exchanges.get("/v1/models/sim-trio/endpoints").await;
    assert_eq!(answer.status, 200);
    assert_eq!(exchanges.get("/v1/models/nobody/endpoints").await.status, 404);
    assert_eq!(exchanges.get("/v1/models/some/author/endpoints").await.status, 404);
    assert_snapshot!(exchanges.text());
    for _ in 0..4 {
        let body = call("sim-trio", &json!({ "stream": true, "provider": { "only": [CHEAP] } }));
        assert_eq!(served_by(&exchanges.post(CHAT, body).await), CHEAP);
    }
    let fault = json!({ "kind": "http_500" });
    let body = call(
        "sim-trio",
        &json!({ "provider": { "only": [PLAIN] }, "sim": { "fault": fault } }),
    );
    exchanges.post(CHAT, body).await;
    let page = exchanges.get("/v1/models/sim-trio/endpoints").await;
    let page: Value = serde_json::from_slice(&page.body).expect("JSON");
    let of = |tag: &str| -> Value {
        let endpoints = page["data"]["endpoints"].as_array().expect("a list");
        endpoints
            .iter()
            .find(|each| each["tag"] == tag)
            .expect("listed")
            .clone()
    };
    assert_eq!(of(CHEAP)["uptime_last_5m"], 100.0, "{page}");
    assert_eq!(of(PLAIN)["uptime_last_5m"], 0.0, "{page}");
    assert!(
        of(CHEAP)["latency_last_30m"]["p50"].as_f64().expect("a figure") > 0.0,
        "{page}"
    );
    assert_eq!(
        of(CAREFUL)["uptime_last_1d"],
        Value::Null,
        "nobody has called it: {page}"
    );
}
