//! The simulated engine does what its knobs say, on real sockets.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use filature_loadtest::client::{Client, Failure, Seen};
use filature_loadtest::engine::{Engine, EngineSettings, Stats};
use serde_json::{Value, json};

const CHAT: &str = "/chat/completions";

async fn engine() -> (Engine, Client) {
    engine_with(EngineSettings {
        name: "e1".to_owned(),
        ..EngineSettings::default()
    })
    .await
}

async fn engine_with(settings: EngineSettings) -> (Engine, Client) {
    let key = settings.api_key.clone();
    let engine = Engine::start(settings).await.unwrap();
    let client = Client::new(&engine.base_url(), key.as_deref()).unwrap();
    (engine, client)
}

/// A chat request of `hi` with these fields besides.
fn chat(more: Value) -> Value {
    let mut body = json!({"model": "sim-small", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn whole(client: &Client, path: &str, body: Value) -> Result<Value, Failure> {
    let mut answer = Value::Null;
    client
        .call(path, Bytes::from(body.to_string()), false, |_, seen| {
            if let Seen::Answer(bytes) = seen {
                answer = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            }
        })
        .await
        .map(|()| answer)
}

async fn stream(client: &Client, path: &str, body: Value) -> (Vec<Value>, Result<(), Failure>) {
    let mut events = Vec::new();
    let end = client
        .call(path, Bytes::from(body.to_string()), true, |_, seen| {
            if let Seen::Event(data) = seen {
                events.push(serde_json::from_slice(&data).unwrap_or(Value::Null));
            }
        })
        .await;
    (events, end)
}

fn streamed_text(events: &[Value]) -> String {
    events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect()
}

/// Waits until the engine's counts are as expected: its books are closed a moment after the client has its answer.
async fn expect_stats(engine: &Engine, expected: impl Fn(&Stats) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !expected(&engine.stats()) {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_says_what_the_whole_answer_says() {
    let (engine, client) = engine().await;
    let answer = whole(&client, CHAT, chat(json!({}))).await.unwrap();
    let (events, end) = stream(&client, CHAT, chat(json!({"stream": true}))).await;
    assert_eq!(end, Ok(()));
    assert_eq!(
        answer["choices"][0]["message"]["content"].as_str().unwrap(),
        streamed_text(&events)
    );
    assert_eq!(answer["usage"]["completion_tokens"], 32);
    // The role, 32 tokens, the finish reason; no usage, which was not asked for.
    assert_eq!(events.len(), 34);
    assert_eq!(events[33]["choices"][0]["finish_reason"], "stop");
    assert!(events.iter().all(|event| event["usage"].is_null()));
    expect_stats(&engine, |stats| {
        stats.finished == 2 && stats.running == 0 && stats.tokens_sent == 64
    })
    .await;
}

#[tokio::test]
async fn usage_comes_last_in_a_stream_that_asks_for_it() {
    let (_engine, client) = engine().await;
    let sim = json!({"tokens": 3, "reasoning": 2, "cached_tokens": 1});
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}, "sim": sim}));
    let (events, _) = stream(&client, CHAT, body).await;
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 5);
    assert_eq!(last["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
    assert_eq!(last["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
    assert!(events[1]["choices"][0]["delta"]["reasoning_content"].is_string());
}

#[tokio::test]
async fn seed_n_and_stop_and_max_tokens_shape_the_answer() {
    let (_engine, client) = engine().await;
    let text = |answer: &Value, choice: usize| {
        answer["choices"][choice]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let plain = whole(&client, CHAT, chat(json!({"seed": 1}))).await.unwrap();
    let again = whole(&client, CHAT, chat(json!({"seed": 1}))).await.unwrap();
    let other = whole(&client, CHAT, chat(json!({"seed": 2}))).await.unwrap();
    assert_eq!(text(&plain, 0), text(&again, 0));
    assert_ne!(text(&plain, 0), text(&other, 0));
    assert_ne!(plain["id"], again["id"]);

    let two = whole(&client, CHAT, chat(json!({"seed": 1, "n": 2}))).await.unwrap();
    assert_eq!(text(&two, 0), text(&plain, 0));
    assert_ne!(text(&two, 1), text(&plain, 0));
    assert_eq!(two["usage"]["completion_tokens"], 64);

    let stop: String = text(&plain, 0).chars().skip(40).take(9).collect();
    let stopped = whole(&client, CHAT, chat(json!({"seed": 1, "stop": [stop]})))
        .await
        .unwrap();
    let before = text(&plain, 0).split(&stop).next().unwrap().to_owned();
    assert_eq!(text(&stopped, 0), before);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");

    for field in ["max_tokens", "max_completion_tokens"] {
        let short = whole(&client, CHAT, chat(json!({"seed": 1, field: 4}))).await.unwrap();
        assert_eq!(short["usage"]["completion_tokens"], 4);
        assert_eq!(short["choices"][0]["finish_reason"], "length");
        assert!(text(&plain, 0).starts_with(&text(&short, 0)));
    }
}

#[tokio::test]
async fn an_insisted_tool_is_called_with_arguments_that_fit() {
    let (_engine, client) = engine().await;
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
    let tools = json!([{"type": "function", "function": {"name": "look", "parameters": {}}},
                       {"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
    let named = json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "weather"}}});
    let answer = whole(&client, CHAT, chat(named.clone())).await.unwrap();
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "silk", "days": 7}));

    let mut body = chat(named);
    body["stream"] = json!(true);
    let (events, end) = stream(&client, CHAT, body).await;
    assert_eq!(end, Ok(()));
    let pieces: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), arguments);

    let required = whole(&client, CHAT, chat(json!({"tools": tools, "tool_choice": "required"})))
        .await
        .unwrap();
    assert_eq!(
        required["choices"][0]["message"]["tool_calls"][0]["function"]["name"],
        "look"
    );
    let free = whole(&client, CHAT, chat(json!({"tools": tools, "tool_choice": "auto"})))
        .await
        .unwrap();
    assert!(free["choices"][0]["message"]["content"].is_string());
}

#[tokio::test]
async fn a_json_schema_is_answered_with_an_object_that_fits() {
    let (_engine, client) = engine().await;
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}, "old": {"type": "boolean"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "person", "schema": schema}});
    let answer = whole(&client, CHAT, chat(json!({"response_format": format})))
        .await
        .unwrap();
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        json!({"name": "silk", "old": true})
    );
}

#[tokio::test]
async fn log_probabilities_come_in_the_shape_of_each_endpoint() {
    let (_engine, client) = engine().await;
    let body = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 3});
    let answer = whole(&client, CHAT, chat(body.clone())).await.unwrap();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap().clone();
    assert_eq!(content.len(), 3);
    assert_eq!(content[0]["top_logprobs"].as_array().unwrap().len(), 2);
    assert!(content.iter().all(|token| token["logprob"].as_f64().unwrap() <= 0.0));

    let mut streamed = chat(body);
    streamed["stream"] = json!(true);
    let (events, _) = stream(&client, CHAT, streamed).await;
    assert_eq!(events[1]["choices"][0]["logprobs"]["content"][0], content[0]);

    let body = json!({"model": "sim-small", "prompt": "hi", "logprobs": 1, "max_tokens": 3});
    let answer = whole(&client, "/completions", body).await.unwrap();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(logprobs["text_offset"][0], 0);
}

#[tokio::test]
async fn completions_answer_every_prompt() {
    let (_engine, client) = engine().await;
    let body = json!({"model": "sim-small", "prompt": ["a", "b"], "n": 2, "max_tokens": 2});
    let answer = whole(&client, "/completions", body).await.unwrap();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 4);
    assert_eq!(answer["choices"][3]["index"], 3);
    let body = json!({"model": "sim-small", "prompt": [1, 2, 3], "stream": true, "sim": {"tokens": 4, "echo": true}});
    let (events, end) = stream(&client, "/completions", body).await;
    assert_eq!((events.len(), end), (5, Ok(())));
    assert!(events[0]["sim_echo"]["body"].is_string());
}

#[tokio::test]
async fn embeddings_are_the_same_vectors_as_floats_and_as_base64() {
    let (_engine, client) = engine().await;
    let body = json!({"model": "sim-small", "input": ["a", "b"], "dimensions": 3});
    let floats = whole(&client, "/embeddings", body.clone()).await.unwrap();
    assert_eq!(floats["data"].as_array().unwrap().len(), 2);
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 3);
    assert_ne!(floats["data"][0]["embedding"], floats["data"][1]["embedding"]);
    let mut coded = body;
    coded["encoding_format"] = json!("base64");
    let coded = whole(&client, "/embeddings", coded).await.unwrap();
    // Three floats are twelve bytes, which are sixteen letters without padding.
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), 16);
    assert_eq!(coded["usage"], floats["usage"]);
}

#[tokio::test]
async fn echo_gives_back_the_exact_body_and_headers() {
    let settings = EngineSettings {
        api_key: Some("engine-key".to_owned()),
        ..EngineSettings::default()
    };
    let (engine, client) = engine_with(settings).await;
    let body = r#"{ "model":"sim-small", "messages":[{"role":"user","content":"hü\u00e9"}],  "x_unknown":1.50,"sim":{"echo":true}}"#;
    let mut answer = Value::Null;
    client
        .call(CHAT, Bytes::from(body), false, |_, seen| {
            let Seen::Answer(bytes) = seen else { return };
            answer = serde_json::from_slice(&bytes).unwrap();
        })
        .await
        .unwrap();
    assert_eq!(answer["sim_echo"]["body"], body);
    assert_eq!(answer["sim_echo"]["path"], "/v1/chat/completions");
    assert_eq!(answer["sim_echo"]["headers"]["authorization"], "Bearer engine-key");
    let stranger = Client::new(&engine.base_url(), None).unwrap();
    assert_eq!(whole(&stranger, CHAT, chat(json!({}))).await, Err(Failure::Status(401)));
}

#[tokio::test]
async fn tokens_come_at_the_pace_asked_for() {
    let (_engine, client) = engine().await;
    let begun = Instant::now();
    let mut arrivals = Vec::new();
    let body = chat(json!({"stream": true, "sim": {"tokens": 5, "ttft_ms": 60, "itl_ms": 30}}));
    let call = client.call(CHAT, Bytes::from(body.to_string()), true, |now, _| {
        arrivals.push(now.duration_since(begun))
    });
    call.await.unwrap();
    assert!(arrivals[0] >= Duration::from_millis(60), "{arrivals:?}");
    // The role comes with the first token; then four gaps of 30 ms.
    assert!(arrivals[5] >= Duration::from_millis(60 + 4 * 30), "{arrivals:?}");
    assert!(arrivals[5] < Duration::from_millis(600), "{arrivals:?}");
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_cancelled_at_once() {
    let (engine, client) = engine().await;
    for body in [
        json!({"stream": true, "sim": {"tokens": 1000, "itl_ms": 20}}),
        json!({"sim": {"ttft_ms": 60_000}}),
        json!({"sim": {"fault": {"kind": "hang"}}}),
        json!({"stream": true, "sim": {"fault": {"kind": "stall", "at": 2}}}),
    ] {
        let before = engine.stats().cancelled;
        let body = Bytes::from(chat(body).to_string());
        let call = client.call(CHAT, body, true, |_, _| {});
        let outcome = tokio::time::timeout(Duration::from_millis(100), call).await;
        assert!(
            outcome.is_err(),
            "the call should have been left in its middle: {outcome:?}"
        );
        expect_stats(&engine, |stats| stats.cancelled == before + 1 && stats.running == 0).await;
    }
}

#[tokio::test]
async fn calls_over_the_limit_wait_for_a_place() {
    let settings = EngineSettings {
        concurrency_max: Some(1),
        ..EngineSettings::default()
    };
    let (engine, client) = engine_with(settings).await;
    let slow = chat(json!({"sim": {"ttft_ms": 150}}));
    let begun = Instant::now();
    let calls = (0..3).map(|_| whole(&client, CHAT, slow.clone()));
    let both = futures_util::future::join_all(calls);
    let watch = async {
        expect_stats(&engine, |stats| stats.running == 3 && stats.waiting == 2).await;
    };
    let (answers, ()) = tokio::join!(both, watch);
    assert!(answers.iter().all(Result::is_ok));
    assert!(begun.elapsed() >= Duration::from_millis(450));
}

#[tokio::test]
async fn other_models_and_broken_bodies_are_refused() {
    let (_engine, client) = engine().await;
    let mut body = chat(json!({}));
    body["model"] = json!("other");
    assert_eq!(whole(&client, CHAT, body).await, Err(Failure::Status(404)));
    assert_eq!(
        whole(&client, CHAT, json!({"model": "sim-small"})).await,
        Err(Failure::Status(400))
    );
    assert_eq!(
        whole(&client, CHAT, chat(json!({"sim": {"typo": 1}}))).await,
        Err(Failure::Status(400))
    );
    assert_eq!(
        whole(&client, "/nowhere", chat(json!({}))).await,
        Err(Failure::Status(404))
    );
    let models: Value = serde_json::from_slice(&client.get("/models").await.unwrap()).unwrap();
    assert_eq!(models["data"][0]["id"], "sim-small");
}

#[tokio::test]
async fn a_stopped_engine_breaks_its_streams_and_refuses_connections() {
    let (engine, client) = engine().await;
    let body = chat(json!({"stream": true, "sim": {"tokens": 1000, "itl_ms": 20}}));
    let (outcome, ()) = tokio::join!(stream(&client, CHAT, body), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        engine.shutdown().await;
    });
    assert_eq!(outcome.1, Err(Failure::BrokenBody));
    assert_eq!(whole(&client, CHAT, chat(json!({}))).await, Err(Failure::NoAnswer));
}
