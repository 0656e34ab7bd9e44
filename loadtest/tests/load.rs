//! Open-loop load on a simulated engine: what is reported is what happened.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use filature_loadtest::client::Client;
use filature_loadtest::engine::{Engine, EngineSettings};
use filature_loadtest::load::{LoadSettings, run};
use serde_json::json;

fn settings() -> LoadSettings {
    LoadSettings {
        model: "sim-small".to_owned(),
        rate: 100.0,
        length: Duration::from_millis(800),
        stream: true,
        tokens_max: 16,
        prompt_bytes: 300,
        sim: None,
        seed: 5,
        timeout: Duration::from_secs(10),
        open_max: 1_000,
    }
}

async fn engine(settings: EngineSettings) -> (Engine, Client) {
    let engine = Engine::start(settings).await.unwrap();
    let client = Client::new(&engine.base_url(), None).unwrap();
    (engine, client)
}

#[tokio::test]
async fn every_call_that_is_due_is_sent_and_counted() {
    let (engine, client) = engine(EngineSettings::default()).await;
    let pace = json!({"ttft_ms": 20, "itl_ms": 5});
    let report = run(
        &client,
        &LoadSettings {
            sim: Some(pace),
            ..settings()
        },
    )
    .await;
    assert!((50..120).contains(&report.due), "{report}");
    assert_eq!((report.ok, report.failed), (report.due, 0), "{report}");
    assert_eq!(engine.stats().started, report.due);
    assert_eq!(report.completion_tokens, 16 * report.due);
    let (first, gap, total) = (
        report.first_us.unwrap(),
        report.gap_us.unwrap(),
        report.total_us.unwrap(),
    );
    assert!(first.p50 >= 20_000 && total.p50 >= 20_000 + 15 * 5_000, "{report}");
    assert_eq!(gap.count, 15 * report.due);
    assert!((4_000..8_000).contains(&gap.p50), "{report}");
}

#[tokio::test]
async fn a_server_that_cannot_keep_up_looks_as_bad_as_it_is() {
    // It serves 20 calls a second and is sent 60: callers who waited for each other would see 50 ms each.
    let (_engine, client) = engine(EngineSettings {
        concurrency_max: Some(1),
        ..EngineSettings::default()
    })
    .await;
    let slow = json!({"ttft_ms": 50, "tokens": 1});
    let report = run(
        &client,
        &LoadSettings {
            rate: 60.0,
            sim: Some(slow),
            ..settings()
        },
    )
    .await;
    assert_eq!(report.failed, 0, "{report}");
    assert!(report.first_us.unwrap().max > 500_000, "{report}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let (_engine, client) = engine(EngineSettings::default()).await;
    for (fault, failure) in [
        (json!({"kind": "http_429"}), "status 429"),
        (json!({"kind": "reset"}), "no answer"),
        (json!({"kind": "reset", "at": 4}), "broken body"),
        (json!({"kind": "truncate", "at": 4}), "stream without [DONE]"),
        (json!({"kind": "ok_with_error", "at": 4}), "error in the answer"),
        (json!({"kind": "stall", "at": 4}), "timeout"),
    ] {
        let sim = Some(json!({ "fault": fault }));
        let timeout = Duration::from_millis(300);
        let brief = LoadSettings {
            length: Duration::from_millis(200),
            sim,
            timeout,
            ..settings()
        };
        let report = run(&client, &brief).await;
        assert!(report.due > 0 && report.ok == 0, "{report}");
        assert_eq!(report.failures.get(failure), Some(&report.due), "{report}");
    }
}

#[tokio::test]
async fn calls_beyond_the_open_limit_count_as_failed() {
    let (_engine, client) = engine(EngineSettings::default()).await;
    let hang = Some(json!({"fault": {"kind": "hang"}}));
    let timeout = Duration::from_secs(1);
    let report = run(
        &client,
        &LoadSettings {
            sim: hang,
            open_max: 3,
            timeout,
            ..settings()
        },
    )
    .await;
    assert_eq!(report.failures.get("timeout"), Some(&3), "{report}");
    assert_eq!(
        report.failures.get("not sent: too many open"),
        Some(&(report.due - 3)),
        "{report}"
    );
}
