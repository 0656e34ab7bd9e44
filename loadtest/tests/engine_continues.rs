//! A simulated engine goes on where another one broke off, and tells when what it is given is not where that was.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use filature_loadtest::client::{Client, Failure, Seen};
use filature_loadtest::engine::{CallSeen, Ending, Engine, EngineSettings, SEPARATOR};
use serde_json::{Value, json};

const CHAT: &str = "/chat/completions";
const COMPLETIONS: &str = "/completions";

/// Makes a request that goes on from a text, with these fields besides.
type Request = fn(Option<&str>, Value) -> Value;
const REQUESTS: [(&str, Request); 2] = [(CHAT, chat), (COMPLETIONS, completion)];

async fn engine(settings: EngineSettings) -> (Engine, Client) {
    let engine = Engine::start(settings).await.unwrap();
    let client = Client::new(&engine.base_url(), None).unwrap();
    (engine, client)
}

/// A whole stream: the pieces of its text, its finish reason and its usage.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    id: String,
    pieces: Vec<String>,
    finish: Option<String>,
    usage: Value,
}

impl Answer {
    fn text(&self) -> String {
        self.pieces.concat()
    }
}

async fn ask(client: &Client, path: &str, mut body: Value) -> Result<Answer, Failure> {
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let mut answer = Answer::default();
    let called = client.call(path, Bytes::from(body.to_string()), true, |_, seen| {
        let Seen::Event(data) = seen else { return };
        let chunk: Value = serde_json::from_slice(&data).unwrap();
        let choice = &chunk["choices"][0];
        let piece = choice["delta"]["content"].as_str().or(choice["text"].as_str());
        answer
            .pieces
            .extend(piece.filter(|piece| !piece.is_empty()).map(str::to_owned));
        if let Some(finish) = choice["finish_reason"].as_str() {
            answer.finish = Some(finish.to_owned());
        }
        if chunk["usage"].is_object() {
            answer.usage = chunk["usage"].clone();
        }
        answer.id = chunk["id"].as_str().unwrap().to_owned();
    });
    called.await.map(|()| answer)
}

fn chat(so_far: Option<&str>, more: Value) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "hi, \"you\""})];
    let mut body = json!({"model": "sim-small"});
    if let Some(text) = so_far {
        messages.push(json!({"role": "assistant", "content": text}));
        body["continue_final_message"] = json!(true);
        body["add_generation_prompt"] = json!(false);
    }
    body["messages"] = json!(messages);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn completion(so_far: Option<&str>, more: Value) -> Value {
    let separator: String = serde_json::from_str(&format!("\"{SEPARATOR}\"")).unwrap();
    let prompt = ["hi, \"you\"", &separator, so_far.unwrap_or_default()].concat();
    let mut body = json!({"model": "sim-small", "prompt": prompt});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn an_answer_goes_on_after_every_token_of_it() {
    let (engine, client) = engine(EngineSettings::default()).await;
    for (path, request) in REQUESTS {
        for spaces in [false, true] {
            let sim = json!({"tokens": 24, "spaces": spaces});
            let whole = ask(&client, path, request(None, json!({"seed": 3, "sim": sim})))
                .await
                .unwrap();
            assert_eq!(whole.pieces.len(), 24);
            for cut in 1..=24 {
                let so_far = whole.pieces[..cut].concat();
                let rest = request(Some(&so_far), json!({"seed": 3, "sim": sim}));
                let rest = ask(&client, path, rest).await.unwrap();
                assert_eq!(rest.pieces, whole.pieces[cut..], "{path}, {spaces}, after {cut}");
                assert_ne!(rest.id, whole.id);
                assert_eq!(rest.finish.as_deref(), Some("stop"));
                assert_eq!(rest.usage["completion_tokens"], 24 - cut);
                let prompt = |usage: &Value| usage["prompt_tokens"].as_u64().unwrap();
                assert_eq!(prompt(&rest.usage), prompt(&whole.usage) + cut as u64);
            }
        }
    }
    assert_eq!((engine.stats().continued, engine.stats().misbegun), (4 * 24, 0));
}

#[tokio::test]
async fn the_limit_counts_new_tokens_only() {
    let (_engine, client) = engine(EngineSettings::default()).await;
    let whole = ask(&client, CHAT, chat(None, json!({}))).await.unwrap();
    let so_far = whole.pieces[..10].concat();
    let rest = ask(&client, CHAT, chat(Some(&so_far), json!({"max_tokens": 5})))
        .await
        .unwrap();
    assert_eq!(rest.pieces, whole.pieces[10..15]);
    assert_eq!(rest.finish.as_deref(), Some("length"));
    let stop = whole.pieces[20].clone();
    let stopped = ask(&client, CHAT, chat(Some(&so_far), json!({"stop": stop})))
        .await
        .unwrap();
    assert!(whole.text().starts_with(&(so_far + &stopped.text())));
    assert!(stopped.pieces.len() <= 10 && stopped.finish.as_deref() == Some("stop"));
}

#[tokio::test]
async fn without_the_flag_an_assistants_message_is_a_message_like_any_other() {
    let (engine, client) = engine(EngineSettings::default()).await;
    let whole = ask(&client, CHAT, chat(None, json!({}))).await.unwrap();
    let mut body = chat(Some(&whole.pieces[..10].concat()), json!({}));
    body.as_object_mut().unwrap().remove("continue_final_message");
    let afresh = ask(&client, CHAT, body.clone()).await.unwrap();
    assert_eq!(afresh.pieces.len(), 32);
    assert_ne!(afresh.pieces, whole.pieces);
    assert_eq!(engine.stats().continued, 0);
    // vLLM has both true by default and refuses that.
    body["continue_final_message"] = json!(true);
    body.as_object_mut().unwrap().remove("add_generation_prompt");
    assert_eq!(ask(&client, CHAT, body).await, Err(Failure::Status(400)));
}

#[tokio::test]
async fn lost_and_doubled_text_is_refused() {
    let (engine, client) = engine(EngineSettings::default()).await;
    for (path, request) in REQUESTS {
        let whole = ask(&client, path, request(None, json!({}))).await.unwrap();
        let pieces = &whole.pieces;
        let lost = [&pieces[..4], &pieces[5..9]].concat().concat();
        let doubled = [&pieces[..4], &pieces[3..9]].concat().concat();
        let reordered = [&pieces[..4], &pieces[5..6], &pieces[4..5]].concat().concat();
        let too_long = whole.text() + " and on";
        for wrong in [lost, doubled, reordered, too_long] {
            let answer = ask(&client, path, request(Some(&wrong), json!({}))).await;
            assert_eq!(answer, Err(Failure::Status(400)), "{wrong}");
        }
    }
    assert_eq!(engine.stats().misbegun, 8);
}

#[tokio::test]
async fn an_engine_that_trims_says_the_white_space_again() {
    let (_engine, client) = engine(EngineSettings {
        trim: true,
        ..EngineSettings::default()
    })
    .await;
    let sim = json!({"tokens": 40, "spaces": true});
    let whole = ask(&client, CHAT, chat(None, json!({"sim": sim}))).await.unwrap();
    let mut seen = 0;
    for cut in 1..40 {
        let so_far = whole.pieces[..cut].concat();
        let rest = ask(&client, CHAT, chat(Some(&so_far), json!({"sim": sim})))
            .await
            .unwrap();
        assert_eq!(so_far.trim_end().to_owned() + &rest.text(), whole.text(), "after {cut}");
        seen += usize::from(so_far.ends_with(char::is_whitespace));
    }
    assert!(seen > 3, "{seen} texts ended in white space");
}

#[tokio::test]
async fn a_fault_of_some_attempts_happens_on_no_other() {
    let (engine, _) = engine(EngineSettings::default()).await;
    let (url, http) = (engine.base_url() + CHAT, Http::new());
    let body = chat(
        None,
        json!({"sim": {"fault": {"kind": "http_500", "attempts": [1, 3]}}}),
    )
    .to_string();
    let mut statuses = Vec::new();
    for attempt in [Some("1"), Some("2"), Some("3"), None] {
        let mut headers = vec![("filature-call", "gen-7")];
        headers.extend(attempt.map(|attempt| ("filature-attempt", attempt)));
        statuses.push(http.post(&url, &headers, &body).await);
    }
    assert_eq!(statuses, [500, 200, 500, 200]);
    assert_eq!(
        json!(engine.stats().faults),
        json!({"http_500": 2}),
        "counted where it happened"
    );
    let client = Client::new(&engine.url(), None).unwrap();
    let page = client.get("/calls?call=gen-7").await.unwrap();
    let calls: Vec<CallSeen> = serde_json::from_slice(&page).unwrap();
    let attempts: Vec<_> = calls.iter().map(|call| call.attempt).collect();
    assert_eq!(attempts, [Some(1), Some(2), Some(3), None]);
    assert_eq!(client.get("/calls?call=gen-8").await.unwrap(), "[]");
    let version: Value = serde_json::from_slice(&client.get("/version").await.unwrap()).unwrap();
    assert!(version["version"].is_string());
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_within_50_ms_and_the_moment_is_kept() {
    let (engine, client) = engine(EngineSettings::default()).await;
    for (number, body) in [
        json!({"stream": true, "sim": {"tokens": 1000, "itl_ms": 20}}),
        json!({"stream": true, "sim": {"fault": {"kind": "stall", "at": 2}}}),
        json!({"sim": {"ttft_ms": 60_000}}),
        json!({"sim": {"fault": {"kind": "hang"}}}),
    ]
    .into_iter()
    .enumerate()
    {
        let body = Bytes::from(chat(None, body).to_string());
        let call = tokio::time::timeout(Duration::from_millis(60), client.call(CHAT, body, true, |_, _| {}));
        assert!(call.await.is_err(), "it should have been left in its middle");
        let left_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let deadline = Instant::now() + Duration::from_secs(5);
        while engine.calls().len() <= number {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        let last = engine.calls().pop().unwrap();
        let lag_us = last.ended_us.saturating_sub(left_us);
        assert!(
            last.ending == Ending::Cancelled && lag_us < 50_000,
            "{last:?}, {lag_us} µs after"
        );
    }
}

/// A client that sends headers of the test's own.
struct Http(hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, Body>);

type Body = http_body_util::Full<Bytes>;

impl Http {
    fn new() -> Self {
        let builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
        Self(builder.build_http())
    }

    async fn post(&self, url: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let mut request = http::Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let answer = self.0.request(request).await.unwrap();
        let status = answer.status().as_u16();
        http_body_util::BodyExt::collect(answer.into_body()).await.unwrap();
        status
    }
}
