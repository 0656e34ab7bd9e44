//! Every fault of the simulated engine looks on the wire as it is described. Read with a bare socket: no client library
//! smooths anything over.

#![allow(clippy::unwrap_used, missing_docs)]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use filature_loadtest::engine::{Engine, EngineSettings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What came over the wire until the connection ended or fell silent.
struct Wire {
    text: String,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
    Silence,
}

impl Wire {
    fn status(&self) -> u16 {
        self.text.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    fn events(&self) -> usize {
        self.text.matches("data: {").count()
    }

    /// Whether the chunked body came to its own end.
    fn body_is_whole(&self) -> bool {
        self.text.ends_with("\r\n0\r\n\r\n")
    }
}

async fn engine() -> Engine {
    Engine::start(EngineSettings {
        name: "e1".to_owned(),
        ..EngineSettings::default()
    })
    .await
    .unwrap()
}

async fn with_fault(engine: &Engine, stream: bool, fault: Value) -> Wire {
    let sim = json!({"tokens": 8, "fault": fault});
    let body =
        json!({"model": "sim-small", "messages": [{"role": "user", "content": "hi"}], "stream": stream, "sim": sim});
    let body = body.to_string();
    let mut socket = TcpStream::connect(engine.addr()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: e\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = loop {
        match tokio::time::timeout(Duration::from_millis(400), socket.read_buf(&mut bytes)).await {
            Err(_) => break End::Silence,
            Ok(Ok(0)) => break End::Closed,
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
            Ok(Err(error)) => panic!("{error}"),
        }
    };
    Wire {
        text: String::from_utf8_lossy(&bytes).into_owned(),
        end,
    }
}

#[tokio::test]
async fn faults_that_are_answers_of_their_own() {
    let engine = engine().await;
    for stream in [false, true] {
        for (kind, status, holds) in [
            ("http_500", 500, "\"type\":\"server_error\""),
            ("http_429", 429, "retry-after: 1\r\n"),
            ("http_400", 400, "\"type\":\"invalid_request_error\""),
            ("html", 200, "content-type: text/html"),
            ("empty", 200, "content-length: 0\r\n"),
        ] {
            let wire = with_fault(&engine, stream, json!({"kind": kind})).await;
            assert_eq!((wire.status(), &wire.end), (status, &End::Closed), "{kind}");
            assert!(wire.text.contains(holds), "{kind}: {}", wire.text);
        }
    }
    let wire = with_fault(&engine, false, json!({"kind": "http_500", "status": 503})).await;
    assert_eq!(wire.status(), 503);
    assert_eq!(engine.stats().running, 0);
}

#[tokio::test]
async fn a_reset_is_a_reset_before_the_head_and_in_the_middle() {
    let engine = engine().await;
    for stream in [false, true] {
        let early = with_fault(&engine, stream, json!({"kind": "reset"})).await;
        assert_eq!((early.text.as_str(), early.end), ("", End::Reset));
    }
    let late = with_fault(&engine, true, json!({"kind": "reset", "at": 3})).await;
    assert_eq!((late.events(), &late.end), (3, &End::Reset), "{}", late.text);
    let half = with_fault(&engine, false, json!({"kind": "reset", "at": 1})).await;
    assert_eq!((half.status(), half.end), (200, End::Reset));
    assert_eq!(engine.stats().faulted, 4);
}

#[tokio::test]
async fn a_close_is_an_orderly_end_of_the_connection_before_that_of_the_body() {
    let engine = engine().await;
    for stream in [false, true] {
        let early = with_fault(&engine, stream, json!({"kind": "close"})).await;
        assert_eq!((early.text.as_str(), early.end), ("", End::Closed));
    }
    let late = with_fault(&engine, true, json!({"kind": "close", "at": 3})).await;
    assert_eq!((late.events(), &late.end), (3, &End::Closed), "{}", late.text);
    assert!(!late.body_is_whole());
    let mut lengths = Vec::new();
    for at in [1, 6, 11] {
        let part = with_fault(&engine, false, json!({"kind": "close", "at": at})).await;
        assert_eq!((part.status(), part.end), (200, End::Closed));
        lengths.push(part.text.len());
    }
    assert!(lengths.is_sorted_by(|a, b| a < b), "{lengths:?}");
    assert_eq!(json!(engine.stats().faults), json!({"close": 6}));
}

#[tokio::test]
async fn silence_before_the_head_and_in_the_middle() {
    let engine = engine().await;
    let hang = with_fault(&engine, true, json!({"kind": "hang"})).await;
    assert_eq!((hang.text.as_str(), hang.end), ("", End::Silence));
    let stall = with_fault(&engine, true, json!({"kind": "stall", "at": 3})).await;
    assert_eq!((stall.events(), &stall.end), (3, &End::Silence));
    let stall = with_fault(&engine, false, json!({"kind": "stall"})).await;
    assert_eq!((stall.status(), stall.end), (200, End::Silence));
}

#[tokio::test]
async fn bodies_that_end_too_early() {
    let engine = engine().await;
    let cut = with_fault(&engine, true, json!({"kind": "truncate", "at": 3})).await;
    assert_eq!((cut.events(), &cut.end), (3, &End::Closed));
    assert!(cut.body_is_whole() && !cut.text.contains("[DONE]"));
    let half = with_fault(&engine, true, json!({"kind": "half_frame", "at": 3})).await;
    assert_eq!((half.events(), &half.end), (4, &End::Closed));
    assert!(half.body_is_whole() && !half.text.contains("[DONE]"));
    assert!(
        !half.text.trim_end_matches("\r\n0\r\n\r\n").ends_with("\n\n"),
        "the last event should lack its end"
    );

    for (kind, as_promised) in [("truncate", false), ("half_frame", true)] {
        let wire = with_fault(&engine, false, json!({"kind": kind})).await;
        let (head, body) = wire.text.split_once("\r\n\r\n").unwrap();
        let promised = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        assert_eq!(
            body.len() == promised.parse::<usize>().unwrap(),
            as_promised,
            "{kind}: {}",
            wire.text
        );
        assert!(serde_json::from_str::<Value>(body).is_err(), "{kind}");
        assert_eq!(wire.end, End::Closed, "{kind}");
    }
}

#[tokio::test]
async fn answers_that_are_not_what_they_should_be() {
    let engine = engine().await;
    let garbage = with_fault(&engine, true, json!({"kind": "garbage", "at": 2})).await;
    assert!(garbage.text.contains("data: {]") && garbage.text.contains('\u{FFFD}'));
    let garbage = with_fault(&engine, false, json!({"kind": "garbage"})).await;
    assert!(garbage.status() == 200 && garbage.text.contains("\r\n\r\n{]"));

    let error = with_fault(&engine, true, json!({"kind": "ok_with_error", "at": 2})).await;
    assert_eq!(error.events(), 3);
    assert!(error.text.contains("data: {\"error\":") && error.text.contains("data: [DONE]"));
    let error = with_fault(&engine, false, json!({"kind": "ok_with_error"})).await;
    assert!(error.status() == 200 && error.text.contains("\r\n\r\n{\"error\":"));

    for stream in [true, false] {
        let giant = with_fault(
            &engine,
            stream,
            json!({"kind": "giant_line", "at": 1, "bytes": 3_000_000}),
        )
        .await;
        let longest = giant
            .text
            .split("\r\n")
            .flat_map(|chunk| chunk.split('\n'))
            .map(str::len)
            .sum::<usize>();
        assert!(longest > 3_000_000 && giant.end == End::Closed, "{longest}");
        assert_eq!(giant.text.contains("[DONE]"), stream);
    }
}

#[tokio::test]
async fn claims_that_are_missing_or_impossible() {
    let engine = engine().await;
    let usage = |wire: &Wire| -> Value {
        let body: Value = serde_json::from_str(wire.text.split_once("\r\n\r\n").unwrap().1).unwrap();
        body["usage"].clone()
    };
    assert_eq!(
        usage(&with_fault(&engine, false, json!({"kind": "no_usage"})).await),
        Value::Null
    );
    let bad = usage(&with_fault(&engine, false, json!({"kind": "bad_usage"})).await);
    assert_eq!(bad["prompt_tokens"], -5);
    let own = json!({"prompt_tokens": 1, "completion_tokens": 1_000_000});
    assert_eq!(
        usage(&with_fault(&engine, false, json!({"kind": "bad_usage", "usage": own})).await),
        own
    );
}

#[tokio::test]
async fn slowing_down_begins_where_it_is_told_to() {
    let engine = engine().await;
    let begun = Instant::now();
    let wire = with_fault(&engine, true, json!({"kind": "slow_down", "at": 6, "ms": 100})).await;
    // Events 6, 7 and 8 are the last three of eight tokens.
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(wire.text.contains("[DONE]"));
    let begun = Instant::now();
    with_fault(&engine, false, json!({"kind": "slow_down", "ms": 150})).await;
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_fault_meant_for_another_engine_does_not_happen() {
    let engine = engine().await;
    let wire = with_fault(&engine, false, json!({"kind": "http_500", "engines": ["e2", "e3"]})).await;
    assert_eq!(wire.status(), 200);
    let wire = with_fault(&engine, false, json!({"kind": "http_500", "engines": ["e2", "e1"]})).await;
    assert_eq!(wire.status(), 500);
}
