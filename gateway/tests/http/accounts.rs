//! What a caller can ask about its key, its credit, a finished call and the receipt of it.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const CALL: &str = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;

#[tokio::test]
async fn a_call_shows_in_the_key_the_credit_the_generation_and_the_receipt() {
    let gateway = Gateway::start().await;
    let mut calls = Exchanges::new(&gateway);
    let call = calls.post("/v1/chat/completions", CALL).await;
    let id = call.header("x-generation-id").to_owned();
    let mut exchanges = Exchanges::new(&gateway);
    for path in [format!("/v1/generation?id={id}"), format!("/v1/receipts/{id}")] {
        assert_eq!(exchanges.get(&path).await.status, 200);
    }
    exchanges.get("/v1/key").await;
    exchanges.get("/v1/credits").await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn calls_of_others_and_of_nobody_are_not_told() {
    let gateway = Gateway::start().await;
    let mut calls = Exchanges::new(&gateway);
    let call = calls.post("/v1/chat/completions", CALL).await;
    let id = call.header("x-generation-id").to_owned();
    let mut exchanges = Exchanges::new(&gateway);
    for path in [
        "/v1/generation",
        "/v1/generation?id=",
        "/v1/generation?id=gen-0",
        "/v1/receipts/nothing",
    ] {
        exchanges.get(path).await;
    }
    exchanges.with_key(&gateway.poor_key);
    assert_eq!(exchanges.get(&format!("/v1/generation?id={id}")).await.status, 404);
    assert_eq!(exchanges.get(&format!("/v1/receipts/{id}")).await.status, 404);
    assert_snapshot!(exchanges.text());
}
