//! Engines that misbehave: hidden where another can serve, told plainly where none can.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const CHAT: &str = "/v1/chat/completions";

fn call(model: &str, fault: &Value, stream: bool) -> String {
    let messages = json!([{ "role": "user", "content": "Hi" }]);
    json!({ "model": model, "messages": messages, "stream": stream, "sim": { "fault": fault } }).to_string()
}

#[tokio::test]
async fn one_engine_in_trouble_is_noticed_by_nobody() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for kind in [
        "http_500",
        "http_429",
        "reset",
        "html",
        "garbage",
        "half_frame",
        "ok_with_error",
        "empty",
        "truncate",
    ] {
        for stream in [false, true] {
            let fault = json!({ "kind": kind, "engines": ["first"] });
            let answer = exchanges.post(CHAT, call("sim-pair", &fault, stream)).await;
            assert_eq!(answer.status, 200, "{kind}, stream: {stream}");
            assert_eq!(
                answer.header("filature-provider"),
                "direct.second",
                "{kind}, stream: {stream}"
            );
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("error"), "{kind}, stream: {stream}: {body}");
        }
    }
}

#[tokio::test]
async fn all_engines_in_trouble() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for (kind, status) in [
        ("http_500", 502),
        ("http_429", 429),
        ("http_400", 400),
        ("ok_with_error", 502),
        ("empty", 502),
    ] {
        assert_eq!(
            exchanges
                .post(CHAT, call("sim-small", &json!({ "kind": kind }), false))
                .await
                .status,
            status,
            "{kind}"
        );
        assert_eq!(
            exchanges
                .post(CHAT, call("sim-small", &json!({ "kind": kind }), true))
                .await
                .status,
            status,
            "{kind}"
        );
    }
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn streams_that_break_say_so() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for kind in ["reset", "truncate", "half_frame", "garbage", "ok_with_error"] {
        let answer = exchanges
            .post(CHAT, call("sim-small", &json!({ "kind": kind, "at": 3 }), true))
            .await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(
            body.contains(r#""finish_reason":"error""#) && body.ends_with("data: [DONE]\n\n"),
            "{kind}: {body}"
        );
        assert!(!body.contains(r#""finish_reason":"stop""#), "{kind}: {body}");
    }
    assert_snapshot!(exchanges.text());
}

/// Events of a stream of five tokens: 0 opens it, 1 to 5 are tokens, 6 says why it ended, 7 is usage, 8 is `[DONE]`.
#[tokio::test]
async fn a_stream_that_breaks_after_its_last_word_is_whole() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for kind in ["reset", "truncate", "half_frame"] {
        for at in [7, 8] {
            let answer = exchanges
                .post(CHAT, call("sim-small", &json!({ "kind": kind, "at": at }), true))
                .await;
            let body = String::from_utf8_lossy(&answer.body);
            let ends = body.matches(r#""finish_reason":""#).count();
            assert!(
                ends == 1 && body.contains(r#""finish_reason":"stop""#),
                "{kind} at {at}: {body}"
            );
            assert!(
                body.ends_with("data: [DONE]\n\n") && !body.contains("error"),
                "{kind} at {at}: {body}"
            );
        }
    }
}

/// With two choices: 0 and 1 open them, 2 to 11 are tokens, 12 ends the first choice, 13 the second.
#[tokio::test]
async fn a_stream_whose_second_choice_never_ends_is_broken() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for kind in ["reset", "truncate"] {
        let body = call("sim-small", &json!({ "kind": kind, "at": 13 }), true);
        let answer = exchanges.post(CHAT, body.replacen('{', r#"{"n":2,"#, 1)).await;
        let body = String::from_utf8_lossy(&answer.body);
        assert!(body.contains(r#""finish_reason":"error""#), "{kind}: {body}");
    }
}
