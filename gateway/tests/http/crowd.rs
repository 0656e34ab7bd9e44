//! A thousand calls at once on an account that can pay for ten.

use std::time::Duration;

use filature_loadtest::engine::{Engine, EngineSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, Kept, customer};

const CALLS: usize = 1_000;
const PAID: u64 = 10;
/// What one call costs: nothing but its price per call, so that the quote is the cost.
const PRICE_NANO: u64 = 1_000;
const CALL: &str = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;
const ALL_MAX: Duration = Duration::from_secs(120);

async fn status(port: u16, key: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{CALL}",
        CALL.len()
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {answer}"))
}

async fn exactly_ten_are_served(kept: Kept) {
    let settings = EngineSettings {
        tokens: 3,
        ..EngineSettings::default()
    };
    let engine = Engine::start(settings).await.expect("an engine");
    let rest = format!(
        r#"
        [[providers]]
        name = "only"
        url = "{}"
        [[providers.models]]
        model = "sim-small"
        price = {{ prompt = 0, completion = 0, call = {PRICE_NANO} }}
        "#,
        engine.url()
    );
    let gateway = Gateway::launch_on(kept, "", &rest, vec![engine]).await;
    let (account, key) = customer(&gateway.admin, PAID * PRICE_NANO).await;
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (port, key) = (gateway.port, key.clone());
        calls.spawn(async move { status(port, &key).await });
    }
    let statuses = tokio::time::timeout(ALL_MAX, calls.join_all())
        .await
        .expect("all answer");
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(402)), (10, CALLS - 10), "{kept:?}");
    let began = std::time::Instant::now();
    let after = loop {
        // The last post may still be on its way.
        let after = gateway.admin.account(&account).await.expect("the account");
        if after.held.get() == 0 {
            break after;
        }
        assert!(began.elapsed() < ALL_MAX, "{after:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((after.available, after.spent.get()), (0, PAID * PRICE_NANO));
    let books = gateway.admin.books().await.expect("books");
    assert!(books.conserved, "{books:?}");
}

#[tokio::test]
async fn of_a_thousand_calls_the_ten_that_are_paid_for_are_served_with_the_embedded_ledger() {
    exactly_ten_are_served(Kept::Embedded).await;
}

#[tokio::test]
async fn of_a_thousand_calls_the_ten_that_are_paid_for_are_served_with_redis() {
    exactly_ten_are_served(Kept::Redis).await;
}
