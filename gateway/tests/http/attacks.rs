//! Callers, engines and strangers who mean ill, each by the way that once worked. What ends them here is always the
//! gateway's own limit: everything a test does not set is longer than its patience.

use std::net::TcpStream as EngineStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use filature_loadtest::engine::{Engine, EngineSettings};
use filature_provider_sdk::agent::{self, AgentSettings};
use filature_provider_sdk::{ModelOffer, OfferPrice, ProviderKey};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine_by_hand::{Flood, engine, says_and_stays, says_whole};
use crate::exchange::Exchanges;
use crate::gateway::Gateway;
use crate::raw::{PATIENCE, call, metric, read_to_end, read_until, send, send_from_a_narrow_socket, status, until};

const CHAT: &str = "/v1/chat/completions";
const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n";
const UPGRADE: &str = "GET /provider/v1/tunnel HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
                       upgrade: filature-tunnel\r\n\r\n";
/// `STRANGERS_MAX` of the gateway.
const STRANGERS_MAX: usize = 256;
/// Strangers then keep their places for as long as they are connected.
const PATIENT_WITH_STRANGERS: &str = "hello_timeout_ms = 3_600_000";

fn provider(url: &str, concurrency_max: u32) -> String {
    format!(
        r#"
        [[providers]]
        name = "only"
        url = "{url}"
        [[providers.models]]
        model = "sim-small"
        context_tokens_max = 1_000_000
        output_tokens_max = 100_000
        concurrency_max = {concurrency_max}
        price = {{ prompt = 1_000_000, completion = 1_000_000 }}
        "#
    )
}

fn ask(model: &str, stream: bool, sim: &Value) -> String {
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    json!({ "model": model, "messages": messages, "stream": stream, "sim": sim }).to_string()
}

#[tokio::test]
async fn connections_that_ask_nothing_are_closed() {
    let gateway = Gateway::launch("idle_timeout_ms = 100", "", Vec::new()).await;
    for start in ["", "P", HEALTH, &UPGRADE[..UPGRADE.len() - 2]] {
        let mut stream = send(&gateway, start).await;
        let said = read_to_end(&mut stream).await;
        let said = String::from_utf8_lossy(&said);
        assert_eq!(said.contains("200 OK"), start == HEALTH, "{start:?}: {said:?}");
    }
}

#[tokio::test]
async fn strangers_do_not_take_every_tunnel() {
    let tunnels = format!("[tunnels]\n{PATIENT_WITH_STRANGERS}");
    let gateway = Gateway::launch("", &tunnels, Vec::new()).await;
    upgrades_are_limited_to(&gateway, STRANGERS_MAX).await;
}

#[tokio::test]
async fn no_more_tunnels_open_than_may() {
    let tunnels = format!("[tunnels]\ntunnels_max = 2\n{PATIENT_WITH_STRANGERS}");
    let gateway = Gateway::launch("", &tunnels, Vec::new()).await;
    upgrades_are_limited_to(&gateway, 2).await;
}

#[tokio::test]
async fn strangers_that_do_not_say_who_they_are_are_closed() {
    let gateway = Gateway::launch("", "[tunnels]\nhello_timeout_ms = 100", Vec::new()).await;
    let mut stream = send(&gateway, UPGRADE).await;
    assert_eq!(status(&mut stream).await, 101);
    read_to_end(&mut stream).await;
}

/// Opens `max` tunnels, is refused one more, and gets all of them again once the first have gone.
async fn upgrades_are_limited_to(gateway: &Gateway, max: usize) {
    let mut tunnels = Vec::new();
    for _ in 0..max {
        let mut stream = send(gateway, UPGRADE).await;
        assert_eq!(status(&mut stream).await, 101, "tunnel {}", tunnels.len());
        tunnels.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(status(&mut send(gateway, UPGRADE).await).await, 503);
    }
    drop(tunnels);
    let mut tunnels = Vec::new();
    until("all places are back", async || {
        let mut stream = send(gateway, UPGRADE).await;
        if status(&mut stream).await == 101 {
            tunnels.push(stream);
        }
        tunnels.len() == max
    })
    .await;
    assert_eq!(status(&mut send(gateway, UPGRADE).await).await, 503);
}

#[tokio::test]
async fn a_key_has_one_tunnel() {
    let engine = Engine::start(EngineSettings::default()).await.expect("an engine");
    let gateway = Gateway::launch("", "", Vec::new()).await;
    let models = vec![ModelOffer {
        model: "sim-small".to_owned(),
        engine_model: None,
        quantization: None,
        context_tokens_max: 8192,
        output_tokens_max: 4096,
        concurrency_max: 8,
        price: OfferPrice::default(),
        endpoints: vec!["chat".to_owned()],
        capabilities: Vec::new(),
        parameters: None,
    }];
    let key = ProviderKey::generate(&mut rand::rng());
    let url = format!("http://127.0.0.1:{}", gateway.port);
    let (engine_url, gateway_url) = (engine.url().parse().expect("a URL"), url.parse().expect("a URL"));
    let mut settings = AgentSettings::new(key, "twice", engine_url, vec![gateway_url], models);
    // One that dials again would replace the newer in turn.
    settings.once = true;
    let shutdown = CancellationToken::new();
    let (mut older, mut newer) = (JoinSet::new(), JoinSet::new());
    older.spawn(agent::run(settings.clone(), shutdown.clone()));
    until("the first tunnel is open", async || tunnels_open(&gateway).await == 1).await;
    newer.spawn(agent::run(settings, shutdown.clone()));
    let replaced = tokio::time::timeout(PATIENCE, older.join_next());
    let replaced = replaced
        .await
        .expect("the older ends")
        .expect("it ran")
        .expect("no panic");
    assert!(replaced.is_err(), "the older tunnel is lost");
    until("one tunnel is left", async || tunnels_open(&gateway).await == 1).await;
    let answer = Exchanges::new(&gateway)
        .post(CHAT, ask("sim-small", false, &json!({})))
        .await;
    assert_eq!(answer.status, 200);
    assert!(newer.try_join_next().is_none(), "the newer one stays");
    assert_eq!(tunnels_open(&gateway).await, 1);
    shutdown.cancel();
}

async fn tunnels_open(gateway: &Gateway) -> u64 {
    metric(gateway, "filature_tunnels_open", "").await
}

#[tokio::test]
async fn one_engine_that_objects_to_everything_turns_nobody_away() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let objects = json!({ "fault": { "kind": "http_400", "engines": ["first"] } });
    for stream in [false, true] {
        let answer = exchanges.post(CHAT, ask("sim-pair", stream, &objects)).await;
        assert_eq!(answer.status, 200, "stream: {stream}");
        assert_eq!(answer.header("filature-provider"), "direct.second", "stream: {stream}");
    }
    let objections = metric(&gateway, "filature_attempts_total", "\"objected\"").await;
    assert!(objections > 0, "the cheap objector is asked first");
    let all_object = json!({ "fault": { "kind": "http_400" } });
    for stream in [false, true] {
        let answer = exchanges.post(CHAT, ask("sim-pair", stream, &all_object)).await;
        assert_eq!(answer.status, 400, "stream: {stream}");
    }
    let agreed = metric(&gateway, "filature_attempts_total", "\"caller_error\"").await;
    assert_eq!(agreed, 4, "two providers were asked, twice, and both are believed");
}

#[tokio::test]
async fn callers_without_money_do_not_wait_in_the_queue() {
    let engine = Engine::start(EngineSettings::default()).await.expect("an engine");
    let routing = "[routing]\nqueue_max = 1\nqueue_wait_ms = 3_600_000\n";
    let settings = routing.to_owned() + &provider(&engine.url(), 1);
    let gateway = Gateway::launch("", &settings, vec![engine]).await;
    let stalls = ask("sim-small", true, &json!({ "fault": { "kind": "stall", "at": 3 } }));
    let mut running = send(&gateway, call(&gateway.key, &stalls)).await;
    assert_eq!(status(&mut running).await, 200);
    // The provider is full now. Of two who can pay, one waits and the other finds the queue full.
    let body = ask("sim-small", false, &json!({}));
    let mut one = send(&gateway, call(&gateway.key, &body)).await;
    let mut other = send(&gateway, call(&gateway.key, &body)).await;
    let turned_away = tokio::select! {
        status = status(&mut one) => status,
        status = status(&mut other) => status,
    };
    assert_eq!(turned_away, 429);
    let mut poor = send(&gateway, call(&gateway.poor_key, &body)).await;
    assert_eq!(status(&mut poor).await, 402);
    drop((running, one, other));
    // With the queue empty as well: a place in it is nothing for those who cannot pay.
    let mut running = send(&gateway, call(&gateway.key, &stalls)).await;
    assert_eq!(status(&mut running).await, 200);
    let mut poor = send(&gateway, call(&gateway.poor_key, &body)).await;
    assert_eq!(status(&mut poor).await, 402);
}

#[tokio::test]
async fn callers_that_never_read_are_disconnected() {
    const ANSWER_BYTES: usize = 12 << 20;
    let content = "~".repeat(ANSWER_BYTES);
    let message = json!({ "role": "assistant", "content": content });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    let answer =
        json!({ "id": "c", "object": "chat.completion", "created": 1, "model": "sim-small", "choices": choices });
    let answer = answer.to_string();
    let url = engine(move |stream| says_whole(stream, &answer));
    let gateway = Gateway::launch("write_timeout_ms = 100", &provider(&url, 8), Vec::new()).await;
    let body = ask("sim-small", false, &json!({}));
    let mut caller = send_from_a_narrow_socket(&gateway, call(&gateway.key, &body)).await;
    until("the answer is there", async || {
        metric(&gateway, "filature_attempts_total", "\"served\"").await == 1
    })
    .await;
    // The one that is left asks for the metrics.
    until("the caller is disconnected", async || {
        metric(&gateway, "filature_connections_open", "").await == 1
    })
    .await;
    let read = read_to_end(&mut caller).await.len();
    assert!(read < ANSWER_BYTES, "{read} bytes lay in the kernel's buffers");
}

#[tokio::test]
async fn streams_that_are_left_early_are_paid_by_their_bytes() {
    const EVENTS: usize = 4;
    const EVENT_BYTES: usize = 4000;
    let delta = json!({ "role": "assistant", "content": "~".repeat(EVENT_BYTES) });
    let choices = json!([{ "index": 0, "delta": delta, "finish_reason": null }]);
    let chunk =
        json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "sim-small", "choices": choices });
    let events = format!("data: {chunk}\n\n").repeat(EVENTS);
    let url = engine(move |stream| says_and_stays(stream, &events));
    let gateway = Gateway::launch("", &provider(&url, 8), Vec::new()).await;
    let body = ask("sim-small", true, &json!({}));
    let mut caller = send(&gateway, call(&gateway.key, &body)).await;
    let all = |text: &str| text.matches('~').count() == EVENTS * EVENT_BYTES;
    let text = read_until(&mut caller, all).await;
    assert!(all(&text), "the stream ended early");
    drop(caller);
    let (_, id) = text.split_once("x-generation-id: ").expect("an id");
    let id = id.lines().next().expect("a line");
    let receipt = Exchanges::new(&gateway).get(&format!("/v1/receipts/{id}")).await;
    assert_eq!(receipt.status, 200);
    let receipt: Value = serde_json::from_slice(&receipt.body).expect("JSON");
    let record = &receipt["record"];
    assert_eq!(record["outcome"], "cancelled", "{record}");
    let billed = record["billed"]["completion"].as_u64().expect("a count");
    assert!(billed >= (EVENTS * EVENT_BYTES / 8) as u64, "{record}");
}

/// Sends `piece` for ever as the answer of the only provider, and asks the only worker for its health meanwhile.
async fn health_is_answered_during(piece: &'static str) {
    const CHUNKS_BETWEEN: u64 = 20_000;
    let flood = Arc::new(Flood::default());
    let pouring = flood.clone();
    let url = engine(move |stream: EngineStream| pouring.pour(stream, piece));
    let upstream = "[upstream]\nevent_bytes_max = 1_073_741_824\nfirst_token_timeout_ms = 600_000\n";
    let settings = upstream.to_owned() + &provider(&url, 8);
    let gateway = Gateway::launch("", &settings, Vec::new()).await;
    let body = ask("sim-small", true, &json!({}));
    let _caller = send(&gateway, call(&gateway.key, &body)).await;
    for round in 1..=5 {
        until("the flood goes on", async || {
            flood.chunks.load(Ordering::Relaxed) > round * CHUNKS_BETWEEN
        })
        .await;
        assert_eq!(status(&mut send(&gateway, HEALTH).await).await, 200);
        assert!(!flood.is_over.load(Ordering::Relaxed), "the flood was on all the time");
    }
}

#[tokio::test]
async fn an_engine_that_sends_single_bytes_keeps_nobody_else_waiting() {
    health_is_answered_during(":").await;
}

#[tokio::test]
async fn an_engine_that_only_comments_is_given_up() {
    let flood = Arc::new(Flood::default());
    let pouring = flood.clone();
    let url = engine(move |stream: EngineStream| pouring.pour(stream, ": still here\n\n"));
    // So that it is the number of pieces that ends it, and not their bytes.
    let settings = "[upstream]\nevent_bytes_max = 1_073_741_824\n".to_owned() + &provider(&url, 8);
    let gateway = Gateway::launch("", &settings, Vec::new()).await;
    let body = ask("sim-small", true, &json!({}));
    let mut caller = send(&gateway, call(&gateway.key, &body)).await;
    assert_eq!(status(&mut caller).await, 502);
    until("the engine is left", async || flood.is_over.load(Ordering::Relaxed)).await;
    assert_eq!(status(&mut send(&gateway, HEALTH).await).await, 200);
}
