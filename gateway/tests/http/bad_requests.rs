//! Requests that are wrong: each gets a clear refusal that names the field, and costs nothing.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn bodies_that_are_no_call() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let (open, close) = ("[".repeat(100), "]".repeat(100));
    let deep = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"Hi"}}],"unknown":{open}{close}}}"#);
    let bodies: [&[u8]; 7] = [
        b"{",
        b"[]",
        b"\"text\"",
        b"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}",
        b"{\"model\":\"m\",\0\"messages\":[]}",
        br#"{"model":"sim-small","model":"sim-large","messages":[{"role":"user","content":"Hi"}]}"#,
        deep.as_bytes(),
    ];
    for body in bodies {
        assert_eq!(exchanges.post(CHAT, body).await.status, 400);
    }
    let empty = exchanges
        .exchange(&format!("POST {CHAT}"), "content-length: 0\r\n", b"")
        .await;
    assert_eq!(empty.status, 400);
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn fields_that_are_wrong() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let messages = r#""messages":[{"role":"user","content":"Hi"}]"#;
    for fields in [
        messages.to_owned(),
        format!(r#""model":7,{messages}"#),
        format!(r#""model":"",{messages}"#),
        r#""model":"sim-small""#.to_owned(),
        r#""model":"sim-small","messages":[]"#.to_owned(),
        r#""model":"sim-small","messages":"Hi""#.to_owned(),
        r#""model":"sim-small","messages":[{"content":"Hi"}]"#.to_owned(),
        format!(r#""model":"sim-small",{messages},"stream":"yes""#),
        format!(r#""model":"sim-small",{messages},"max_tokens":-1"#),
        format!(r#""model":"sim-small",{messages},"max_tokens":0"#),
        format!(r#""model":"sim-small",{messages},"max_tokens":1e300"#),
        format!(r#""model":"sim-small",{messages},"n":0"#),
        format!(r#""model":"sim-small",{messages},"n":1000000"#),
        format!(r#""model":"sim-small",{messages},"stream":true,"stream_options":7"#),
    ] {
        assert_eq!(
            exchanges.post(CHAT, format!("{{{fields}}}")).await.status,
            400,
            "{fields}"
        );
    }
    assert_eq!(
        exchanges
            .post("/v1/completions", r#"{"model":"sim-small"}"#)
            .await
            .status,
        400
    );
    assert_eq!(
        exchanges
            .post("/v1/embeddings", r#"{"model":"sim-small","input":[]}"#)
            .await
            .status,
        400
    );
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn calls_that_nobody_can_serve() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let messages = r#""messages":[{"role":"user","content":"Hi"}]"#;
    let unknown = exchanges.post(CHAT, format!(r#"{{"model":"none",{messages}}}"#)).await;
    assert_eq!(unknown.status, 404);
    exchanges
        .post(
            CHAT,
            format!(r#"{{"model":"sim-small",{messages},"max_tokens":1000000}}"#),
        )
        .await;
    exchanges
        .post("/v1/embeddings", r#"{"model":"sim-large","input":"Hi"}"#)
        .await;
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    exchanges
        .post(CHAT, format!(r#"{{"model":"sim-large",{messages},{tools}}}"#))
        .await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn bodies_too_large_and_too_slow() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    let large = format!(
        r#"{{"model":"sim-small","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(70_000)
    );
    assert_eq!(exchanges.post(CHAT, &large).await.status, 413);
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let line = format!("POST {CHAT}");
    let headers = "transfer-encoding: chunked\r\nx-without: content-length\r\n";
    assert_eq!(exchanges.exchange(&line, headers, chunked.as_bytes()).await.status, 413);
    let slow = exchanges
        .exchange(&line, "content-length: 100\r\n", b"{\"model\":")
        .await;
    assert_eq!(slow.status, 408);
    assert_snapshot!(exchanges.text());
}
