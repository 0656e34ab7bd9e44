//! One account that takes all it can get, and another that is served all the same.

use tokio::net::TcpStream;

use crate::gateway::{Gateway, customer, engines, providers};
use crate::raw::{call, read_until, send, until};

const CALL: &str = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;

/// Calls of the gateway's account whose bodies are announced and do not come, but for the first byte.
async fn slow(gateway: &Gateway, calls: usize, bytes: usize) -> Vec<TcpStream> {
    let announced = call(&gateway.key, &"x".repeat(bytes));
    let mut slow = Vec::new();
    for _ in 0..calls {
        slow.push(send(gateway, announced.trim_end_matches('x').to_owned() + "{").await);
    }
    slow
}

/// The whole answer to one call.
async fn answer(gateway: &Gateway, request: String) -> String {
    let is_whole = |answer: &str| {
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        body.is_some_and(|body| body.ends_with('}'))
    };
    read_until(&mut send(gateway, request).await, is_whole).await
}

/// Calls until one is refused, and looks at what is said.
async fn is_refused(gateway: &Gateway, why: &str) {
    let mut said = String::new();
    until("a call is refused", async || {
        said = answer(gateway, call(&gateway.key, CALL)).await;
        !said.starts_with("HTTP/1.1 200 ")
    })
    .await;
    is_told_to_come_back(&said, why);
}

fn is_told_to_come_back(said: &str, why: &str) {
    for part in [
        "HTTP/1.1 429 ",
        "retry-after: 1\r\n",
        "\"code\":\"too_many_at_once\"",
        why,
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

async fn is_served(gateway: &Gateway, key: &str, body: &str) -> bool {
    answer(gateway, call(key, body)).await.starts_with("HTTP/1.1 200 ")
}

#[tokio::test]
async fn slow_bodies_of_one_account_leave_places_to_others() {
    let engines = engines().await;
    let rest = providers(&engines);
    let gateway = Gateway::launch("concurrent_calls_max = 6", &rest, engines).await;
    let (_, other) = customer(&gateway.admin, 1_000_000_000).await;
    let slow = slow(&gateway, 3, 100).await;
    is_refused(&gateway, "its share of the calls").await;
    assert!(is_served(&gateway, &other, CALL).await);
    // Whoever leaves makes room.
    drop(slow);
    until("the account is served again", async || {
        is_served(&gateway, &gateway.key, CALL).await
    })
    .await;
}

#[tokio::test]
async fn large_bodies_of_one_account_leave_bytes_to_others() {
    let engines = engines().await;
    let rest = providers(&engines);
    let server = "body_bytes_max = 100_000\nbodies_bytes_max = 400_000";
    let gateway = Gateway::launch(server, &rest, engines).await;
    let (_, other) = customer(&gateway.admin, 1_000_000_000).await;
    let _slow = slow(&gateway, 2, 100_000).await;
    is_refused(&gateway, "its share of the bytes").await;
    // A body of unknown length does not get around it.
    let chunked = call(&gateway.key, "").replace("content-length: 0", "transfer-encoding: chunked");
    let said = answer(&gateway, format!("{chunked}{:x}\r\n{CALL}\r\n0\r\n\r\n", CALL.len())).await;
    is_told_to_come_back(&said, "its share of the bytes");
    let long = CALL.replace("Hi", &"Hi ".repeat(10_000));
    assert!(is_served(&gateway, &other, &long).await);
}
