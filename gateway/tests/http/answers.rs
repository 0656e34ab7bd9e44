//! Calls that are served: whole and streamed, on every endpoint, with the engine's name for a model or without.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

#[tokio::test]
async fn answers_in_one_piece() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let chat = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;
    exchanges.post("/v1/chat/completions", chat).await;
    let renamed = r#"{"messages":[{"role":"user","content":"Hi"}],"model":"sim-large"}"#;
    exchanges.post("/v1/chat/completions", renamed).await;
    exchanges
        .post("/v1/completions", r#"{"model":"sim-small","prompt":["Once","Twice"]}"#)
        .await;
    exchanges
        .post(
            "/v1/embeddings",
            r#"{"model":"sim-small","input":"reel","dimensions":4}"#,
        )
        .await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn answers_in_a_stream() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let stream = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"stream":true}"#;
    exchanges.post("/v1/chat/completions", stream).await;
    let usage = stream
        .replace("true}", r#"true,"stream_options":{"include_usage":true}}"#)
        .replace("small", "large");
    exchanges.post("/v1/chat/completions", usage).await;
    exchanges
        .post(
            "/v1/completions",
            r#"{"model":"sim-small","prompt":"Once","stream":true,"max_tokens":2}"#,
        )
        .await;
    assert_snapshot!(exchanges.text());
}
