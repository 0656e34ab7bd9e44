//! Keys: missing, malformed, unknown, revoked, and of an account that cannot pay.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const CALL: &str = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}]}"#;

#[tokio::test]
async fn calls_need_a_good_key() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let unknown = format!("sk-fil-{}", "A".repeat(43));
    for key in ["", "nonsense", &unknown, &gateway.revoked_key] {
        exchanges.with_key(key);
        assert_eq!(exchanges.post("/v1/chat/completions", CALL).await.status, 401);
        assert_eq!(exchanges.get("/v1/models").await.status, 401);
    }
    exchanges.with_key("");
    exchanges
        .exchange(
            "POST /v1/embeddings",
            "authorization: Basic bm9ib2R5\r\n",
            CALL.as_bytes(),
        )
        .await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn calls_need_credit() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&gateway.poor_key);
    assert_eq!(exchanges.post("/v1/chat/completions", CALL).await.status, 402);
    assert_snapshot!(exchanges.text());
}
