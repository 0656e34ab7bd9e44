//! Calls pass through, byte for byte and as they come.

use bytes::Bytes;
use filature_provider_sdk::tunnel::ENGINE_HEADER;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::play::engine::Engine;
use crate::play::gateway::{Gateway, bytes_of, chat, full, get};
use crate::play::{settings, soon, start, until};

#[tokio::test]
async fn bytes_and_the_headers_that_matter_pass_through() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.set_engine_api_key("sk-engine").unwrap();
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;

    // Not JSON at all: the agent does not look inside.
    let sent = Bytes::from((0..100_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let request = Request::post("http://agent/v1/completions")
        .header("content-type", "application/json; charset=utf-8")
        .header("accept", "text/event-stream")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("filature-call", "gen-1")
        .header("authorization", "Bearer sk-fil-caller")
        .header("cookie", "a=b")
        .header("x-forwarded-for", "203.0.113.7");
    let answer = tunnel.send(request.body(full(sent.clone())).unwrap());
    let serve = async {
        let mut connection = engine.accept().await;
        let asked = connection.request().await;
        let head = "HTTP/1.1 418 Odd\r\ncontent-type: a/b\r\nretry-after: 7\r\nserver: secret\r\nset-cookie: a=b\r\n";
        connection
            .write(format!("{head}content-length: 3\r\n\r\n\0\u{7f}x"))
            .await;
        asked
    };
    let (answer, (head, body)) = soon("a call", async { tokio::join!(answer, serve) }).await;

    assert_eq!(body, sent);
    assert_eq!(head.line, "POST /v1/completions HTTP/1.1");
    let host = engine.url().trim_start_matches("http://").to_owned();
    let expected = [
        ("accept", "text/event-stream"),
        ("authorization", "Bearer sk-engine"),
        ("content-length", "100000"),
        ("content-type", "application/json; charset=utf-8"),
        ("filature-call", "gen-1"),
        ("host", &host),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let found: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, expected);

    let answer = answer.unwrap();
    assert_eq!(answer.status(), 418);
    let mut names: Vec<_> = answer.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "content-type", "retry-after"]);
    assert_eq!(bytes_of(answer).await, "\0\u{7f}x");
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let (answer, mut connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    // Each chunk is written only after the one before has come out at the far end: nothing may hold any back.
    for at in 0..20 {
        let event = format!("data: {{\"token\": {at}}}\n\n");
        connection.chunk(&event).await;
        let frame = soon("the chunk", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    assert_eq!(tunnel.status().await.running, 1);
    connection.end_chunks().await;
    assert_eq!(soon("the end", body.collect()).await.unwrap().to_bytes(), "");
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn a_request_body_is_not_held_back_either() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let (parts, body) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|part| (Ok(Frame::data(part)), body))
    });
    let request = Request::post("http://agent/v1/embeddings").header("content-length", "8");
    let answer = tunnel.send(request.body(StreamBody::new(body).boxed_unsync()).unwrap());
    let serve = async {
        parts.send(Bytes::from_static(b"half")).await.unwrap();
        let mut connection = engine.accept().await;
        assert_eq!(connection.head().await.headers["content-length"], "8");
        assert_eq!(connection.body(4).await, b"half");
        parts.send(Bytes::from_static(b"rest")).await.unwrap();
        assert_eq!(connection.body(4).await, b"rest");
        connection.answer("{}").await;
    };
    let (answer, ()) = soon("a call", async { tokio::join!(answer, serve) }).await;
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn connections_to_the_engine_are_used_again() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let serve = async {
        let mut connection = engine.accept().await;
        for _ in 0..3 {
            connection.request().await;
            connection.answer("{}").await;
        }
    };
    let calls = async {
        for _ in 0..3 {
            assert_eq!(bytes_of(tunnel.call("{}").await).await, "{}");
        }
    };
    soon("three calls over one connection", async { tokio::join!(serve, calls) }).await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_makes_a_502() {
    let gateway = Gateway::new().await;
    let nobody = Engine::new().await.url();
    let _agent = start(settings(&nobody, &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let answer = tunnel.call("{}").await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.headers()[ENGINE_HEADER], "unreachable");
    let body: serde_json::Value = serde_json::from_slice(&bytes_of(answer).await).unwrap();
    assert_eq!(body["error"]["code"], "engine_unreachable");
    assert_eq!(body["error"]["type"], "api_error");
    let port = nobody.rsplit(':').next().unwrap();
    assert!(
        !body.to_string().contains(port),
        "the engine's address stays here: {body}"
    );
    assert_eq!(tunnel.status().await.running, 0);
}

#[tokio::test]
async fn an_engine_that_hangs_up_without_an_answer_makes_a_502() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let hang_up = async {
        let mut connection = engine.accept().await;
        connection.request().await;
    };
    let (answer, ()) = tokio::join!(tunnel.call("{}"), hang_up);
    assert_eq!(answer.status(), 502);
}

#[tokio::test]
async fn a_stream_that_breaks_does_not_end_well() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let (answer, mut connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    connection.chunk("data: 1\n\n").await;
    let mut body = answer.into_body();
    assert_eq!(
        soon("a chunk", body.frame())
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap(),
        "data: 1\n\n"
    );
    drop(connection);
    let broken = soon("the break", body.frame()).await;
    assert!(matches!(broken, Some(Err(_))), "a reset, not an end: {broken:?}");
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn more_calls_than_offered_are_turned_away() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, offer) = gateway.greet().await;
    let mut held = Vec::new();
    for _ in 0..offer.models[0].concurrency_max {
        held.push(tokio::join!(tunnel.call("{}"), engine.begin_stream()));
    }
    let answer = tunnel.call("{}").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    drop(held);
    until("the calls to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn other_paths_are_not_forwarded() {
    let gateway = Gateway::new().await;
    let nobody = Engine::new().await.url();
    let _agent = start(settings(&nobody, &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    for request in [
        get("/v1/chat/completions", None),
        get("/metrics", None),
        Request::post("http://agent/v1/chat/completions/../../admin")
            .body(full(""))
            .unwrap(),
        Request::post("http://agent/v1/files").body(full("")).unwrap(),
    ] {
        assert_eq!(soon("an answer", tunnel.send(request)).await.unwrap().status(), 404);
    }
}

#[tokio::test]
async fn the_engines_own_queue_shows_in_the_status() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.engine_metrics = true;
    settings.set_engine_api_key("sk-engine").unwrap();
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let mut connection = engine.accept().await;
    let head = connection.head().await;
    assert_eq!(head.line, "GET /metrics HTTP/1.1");
    assert_eq!(head.headers["authorization"], "Bearer sk-engine");
    connection
        .answer(
            "vllm:num_requests_waiting{model_name=\"m\"} 9.0\nvllm:num_requests_running{model_name=\"m\"} 3.0\n\
             vllm:kv_cache_usage_perc{model_name=\"m\"} 0.5\n",
        )
        .await;
    until("the status to show it", || async { tunnel.status().await.waiting == 9 }).await;
    let status = tunnel.status().await;
    assert_eq!((status.engine_running, status.cache_use), (Some(3), Some(0.5)));
    assert_eq!(status.running, 0, "none of them came through this agent");
}

#[tokio::test]
async fn the_whole_answer_of_a_large_body_arrives() {
    // Larger than every window and buffer on its way, so that flow control has to work in both directions.
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let large = "x".repeat(12 * 1024 * 1024);
    let serve = async {
        let mut connection = engine.accept().await;
        let (_, body) = connection.request().await;
        connection.answer(std::str::from_utf8(&body).unwrap()).await;
    };
    let call = async { bytes_of(tunnel.send(chat(full(large.clone()))).await.unwrap()).await };
    let (answer, ()) = soon("a call", async { tokio::join!(call, serve) }).await;
    assert!(answer == large, "{} bytes came back", answer.len());
}
