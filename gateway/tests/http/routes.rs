//! What is at every path besides the calls: health, models, metrics, documents, and nothing.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

#[tokio::test]
async fn every_route_answers() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for path in ["/healthz", "/readyz", "/v1/models", "/v1/models/sim-large"] {
        assert_eq!(exchanges.get(path).await.status, 200);
    }
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn what_is_not_there_is_told_in_openai_form() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/models/none",
        "/v1/chat/completions",
        "/healthz/",
    ] {
        exchanges.get(path).await;
    }
    exchanges.exchange("DELETE /v1/models", "", b"").await;
    exchanges.exchange("PUT /v1/embeddings", "", b"{}").await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn documents_and_metrics_are_served() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key("");
    let document = exchanges.get("/openapi.json").await;
    assert_eq!(document.status, 200);
    let document: serde_json::Value = serde_json::from_slice(&document.body).expect("JSON");
    assert!(document["paths"]["/v1/chat/completions"].is_object());
    let page = exchanges.get("/docs/").await;
    assert_eq!(page.status, 200);
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(
        !page.contains("https://") && !page.contains("http://"),
        "the page loads nothing from elsewhere: {page}"
    );
    let metrics = exchanges.get("/metrics").await;
    assert_eq!(
        (metrics.status, metrics.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
}
