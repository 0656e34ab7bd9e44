//! The benchmark measures what it says, on a simulated engine.

#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use filature_loadtest::bench::case::{CASES, MODEL};
use filature_loadtest::bench::{BenchSettings, run};
use filature_loadtest::client::{Client, Seen};
use filature_loadtest::engine::{Engine, EngineSettings};

async fn engine() -> Engine {
    let models = vec![MODEL.to_owned(), "bench-tunnel".to_owned()];
    Engine::start(EngineSettings {
        models,
        ..EngineSettings::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn answers_have_the_sizes_that_the_cases_name() {
    let engine = engine().await;
    let client = Client::new(&engine.base_url(), None).unwrap();
    for case in CASES {
        if case.name == "paced_300" {
            continue;
        }
        let (mut parts, mut bytes) = (0, 0);
        let seen = |_, seen| {
            parts += 1;
            bytes += match seen {
                Seen::Event(data) | Seen::Answer(data) => data.len(),
            };
        };
        client
            .call("/chat/completions", case.body(MODEL), case.stream(), seen)
            .await
            .unwrap();
        if case.stream() {
            // `[DONE]` is the 104th.
            assert_eq!(parts, 103);
            assert!((180..230).contains(&(bytes / parts)), "{bytes} bytes in {parts} events");
        } else {
            assert!((900..1_200).contains(&bytes), "{bytes} bytes");
        }
    }
}

#[tokio::test]
async fn targets_are_compared_with_the_direct_way() {
    let engine = engine().await;
    let url = engine.base_url();
    let me = std::process::id();
    let targets = [
        format!("direct={url}"),
        format!("gateway={url},pid={me}"),
        format!("gateway:tunnel={url},pid={me},model=bench-tunnel"),
    ]
    .map(|target| target.parse().unwrap());
    let settings = BenchSettings {
        rounds: 1,
        window: Duration::from_millis(200),
        warm_up: Duration::from_millis(20),
        callers: 2,
    };
    let cases = CASES
        .into_iter()
        .filter(|case| ["chat_1k", "stream_100"].contains(&case.name))
        .collect::<Vec<_>>();
    let overhead = run(&targets, &cases, &settings).await.unwrap();
    let names: Vec<_> = overhead.cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, ["chat_1k", "chat_1k_tunnel", "stream_100", "stream_100_tunnel"]);
    for case in &overhead.cases {
        let (direct, gateway) = (&case.targets["direct"], &case.targets["gateway"]);
        assert!(direct.p50_us.unwrap() > 0.0 && direct.added_p50_us.is_none() && direct.cpu_us_per_call.is_none());
        assert!(gateway.cpu_us_per_call.unwrap() > 0.0 && gateway.added_p99_us.is_some());
        let is_stream = case.name.starts_with("stream");
        assert_eq!(
            (gateway.cpu_us_per_chunk.is_some(), gateway.added_total_p50_us.is_some()),
            (is_stream, is_stream)
        );
    }
}

#[tokio::test]
async fn a_failing_call_ends_the_benchmark() {
    let engine = engine().await;
    let targets = [format!("direct={},model=unknown", engine.base_url()).parse().unwrap()];
    let settings = BenchSettings {
        rounds: 1,
        ..BenchSettings::default()
    };
    let error = run(&targets, &CASES[..1], &settings).await.unwrap_err();
    assert!(format!("{error:#}").contains("status 404"), "{error:#}");
}
