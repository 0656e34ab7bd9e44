//! What an account used, as JSON and as CSV.

use serde_json::Value;

use crate::exchange::Exchanges;
use crate::gateway::{Gateway, Kept, engines, providers};

fn call(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}],"max_tokens":3}}"#)
}

async fn usage_is_told(kept: Kept) {
    let engines = engines().await;
    let rest = providers(&engines);
    let gateway = Gateway::launch_on(kept, "", &rest, engines).await;
    let other = gateway.limited("{}").await;
    let mut exchanges = Exchanges::new(&gateway);
    let mut ids = Vec::new();
    for (key, model) in [
        (&gateway.key, "sim-small"),
        (&gateway.key, "sim-small"),
        (&gateway.key, "sim-large"),
        (&other.key, "sim-small"),
    ] {
        exchanges.with_key(key);
        let answer = exchanges.post("/v1/chat/completions", call(model)).await;
        assert_eq!(answer.status, 200);
        ids.push(answer.header("x-generation-id").to_owned());
    }
    let mut cost = 0;
    for id in &ids {
        // It waits until the call is posted.
        let generation = exchanges.get(&format!("/v1/generation?id={id}")).await;
        let generation: Value = serde_json::from_slice(&generation.body).expect("json");
        cost += generation["data"]["total_cost_nano"].as_u64().expect("a cost");
    }
    let get = async |exchanges: &mut Exchanges<'_>, query: &str| {
        let answer = exchanges.get(&format!("/v1/usage{query}")).await;
        assert_eq!(answer.status, 200, "{query}");
        serde_json::from_slice::<Value>(&answer.body).expect("json")
    };
    let all = get(&mut exchanges, "").await;
    assert_eq!(
        (&all["total"]["calls"], &all["total"]["cost_nano"]),
        (&4.into(), &cost.into())
    );
    assert_eq!(all["data"].as_array().map(Vec::len), Some(3));
    let by_model = get(&mut exchanges, "?group_by=model").await;
    let rows: Vec<_> = by_model["data"].as_array().expect("rows").iter().collect();
    let row = |row: &Value| (row["model"].clone(), row["calls"].clone(), row.get("day").is_some());
    assert_eq!(
        rows.into_iter().map(row).collect::<Vec<_>>(),
        [
            ("sim-large".into(), 1.into(), false),
            ("sim-small".into(), 3.into(), false)
        ]
    );
    let own = get(&mut exchanges, "?group_by=key&key=self").await;
    assert_eq!(own["data"][0]["key"], other.record.id.as_str());
    assert_eq!(own["total"]["calls"], 1);
    let past = get(&mut exchanges, "?from=2020-01-01&to=2020-01-31").await;
    assert_eq!(
        (&past["data"], &past["total"]["calls"]),
        (&Value::Array(Vec::new()), &0.into())
    );

    let csv = exchanges.get("/v1/usage?group_by=model&format=csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8; header=present");
    let text = String::from_utf8_lossy(&csv.body).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[1].starts_with("sim-large,1,") && lines[2].starts_with("sim-small,3,"),
        "{text}"
    );
    let accepted = exchanges
        .exchange("GET /v1/usage?group_by=model", "accept: text/csv\r\n", b"")
        .await;
    assert_eq!(accepted.body, csv.body);

    // Nobody sees another account's.
    exchanges.with_key(&gateway.poor_key);
    assert_eq!(get(&mut exchanges, "").await["total"]["calls"], 0);
    let told = gateway.admin.usage(&gateway.account, None, None).await.expect("usage");
    assert_eq!(told.usage.iter().map(|line| line.sums.cost.get()).sum::<u64>(), cost);
}

#[tokio::test]
async fn usage_is_told_by_the_embedded_ledger() {
    usage_is_told(Kept::Embedded).await;
}

#[tokio::test]
async fn usage_is_told_by_redis() {
    usage_is_told(Kept::Redis).await;
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    for query in [
        "from=yesterday",
        "from=2026-11-02&to=2026-11-01",
        "from=2020-01-01&to=2026-01-01",
        "group_by=hour",
        "format=xml",
        "form=2026-11-01",
    ] {
        assert_eq!(
            exchanges.get(&format!("/v1/usage?{query}")).await.status,
            400,
            "{query}"
        );
    }
    insta::assert_snapshot!(exchanges.text());
}
