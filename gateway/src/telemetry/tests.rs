use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

use super::series::{LABELS_MAX, SERIES_MAX};
use super::*;

/// Telemetry that leaves the process's logs alone.
fn metrics() -> Telemetry {
    let config = Config::default();
    let (metrics, meters) = metrics::start(&resource(&config.telemetry), None).expect("metrics without a collector");
    Telemetry {
        metrics,
        meters,
        tracers: None,
    }
}

fn sample<'a>(model: &'a str, provider: Option<&'a str>) -> CallSample<'a> {
    CallSample {
        operation: "chat",
        model,
        provider,
        error_type: None,
        duration: Duration::from_millis(30),
        first_token: Some(Duration::from_millis(7)),
        per_output_token: Some(Duration::from_millis(2)),
        prompt_tokens: 12,
        completion_tokens: 40,
        cost_nano: 1000,
        fee_nano: 50,
    }
}

/// The value of the line of a scrape that has this name and these labels.
fn value(scrape: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = scrape
        .lines()
        .find(|line| line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_metric_of_the_table_is_scraped_under_the_name_of_the_reference() {
    let telemetry = metrics();
    let metrics = telemetry.metrics();
    metrics.call_started();
    metrics.call_started();
    metrics.call_ended(&sample("m", Some("p")));
    metrics.call_ended(&CallSample {
        error_type: Some("timeout"),
        cost_nano: 0,
        ..sample("m", None)
    });
    metrics.attempt_started(filature_router::Try::Rescue);
    metrics.attempt("p", "served");
    metrics.overclaimed("p", 7, 9);
    metrics.rejected("model_not_found");
    metrics.ledger_step("reserve", Duration::from_micros(20), true);
    metrics.cosigned("taken");
    metrics.uncredited("dust");
    metrics.settlement_failed("short");
    metrics.payout_address("named");
    let scrape = metrics.render();
    for metric in names::ALL {
        let name = reference::scrape_name(metric);
        assert!(
            scrape.contains(&format!("# HELP {name} {}\n", metric.doc.trim())),
            "{name} is missing in\n{scrape}"
        );
    }
    let types = scrape
        .lines()
        .filter(|line| line.starts_with("# TYPE ") && !line.contains(" target_info "));
    assert_eq!(
        types.count(),
        names::ALL.len(),
        "a metric outside of the table in\n{scrape}"
    );
}

#[test]
fn a_call_is_recorded_once_with_its_labels() {
    let telemetry = metrics();
    let metrics = telemetry.metrics();
    metrics.call_started();
    metrics.call_started();
    for _ in 0..2 {
        metrics.call_ended(&sample("m", Some("p")));
    }
    metrics.call_started();
    let scrape = metrics.render();
    let who = [
        "gen_ai_operation_name=\"chat\"",
        "gen_ai_request_model=\"m\"",
        "gen_ai_provider_name=\"p\"",
    ];
    assert_eq!(
        value(&scrape, "gen_ai_server_request_duration_seconds_count", &who),
        Some(2.0)
    );
    assert_eq!(
        value(&scrape, "gen_ai_server_time_to_first_token_seconds_sum", &who),
        Some(0.014)
    );
    let output = [who[0], who[1], who[2], "gen_ai_token_type=\"output\""];
    assert_eq!(value(&scrape, "gen_ai_client_token_usage_sum", &output), Some(80.0));
    assert_eq!(value(&scrape, "filature_cost_nano_total", &who[1..]), Some(2000.0));
    assert_eq!(value(&scrape, "filature_earned_nano_total", &who[1..]), Some(1900.0));
    assert_eq!(value(&scrape, "filature_calls_active", &[]), Some(1.0));
    assert!(!scrape.contains("error_type"), "{scrape}");
}

#[test]
fn levels_are_shown_before_anything_happens() {
    let scrape = metrics().metrics().render();
    for name in [
        "filature_calls_active",
        "filature_tunnels_open",
        "filature_connections_open",
    ] {
        assert_eq!(value(&scrape, name, &[]), Some(0.0), "{name} in\n{scrape}");
    }
    assert_eq!(
        value(
            &scrape,
            "filature_build_info",
            &[&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))]
        ),
        Some(1.0)
    );
}

#[test]
fn labels_from_outside_are_bounded() {
    let telemetry = metrics();
    let metrics = telemetry.metrics();
    let many = 3 * LABELS_MAX;
    for n in 0..many {
        let (model, provider) = (format!("model-{n}"), format!("provider-{n}"));
        metrics.call_ended(&sample(&model, Some(&provider)));
        metrics.attempt(&provider, "served");
        metrics.overclaimed(&provider, 1, 2);
    }
    let scrape = metrics.render();
    let series = |name: &str| {
        scrape
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
            .count()
    };
    let calls = series("gen_ai_server_request_duration_seconds_count");
    assert!(calls > LABELS_MAX && calls <= SERIES_MAX + 1, "{calls}");
    assert!(series("filature_attempts_total") <= LABELS_MAX + 1);
    assert!(series("filature_tokens_overclaimed_total") <= SERIES_MAX + 2);
    assert!(!scrape.contains("otel_metric_overflow"), "the SDK dropped labels");
    let counted: f64 = scrape
        .lines()
        .filter(|line| line.starts_with("gen_ai_server_request_duration_seconds_count{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(counted, many as f64, "every call is counted somewhere");
    assert!(scrape.contains("gen_ai_request_model=\"other\""));
}

#[test]
fn what_a_label_says_is_escaped() {
    let telemetry = metrics();
    let metrics = telemetry.metrics();
    metrics.call_ended(&sample("a\"b\\c\nd", Some("p")));
    let scrape = metrics.render();
    assert!(scrape.contains(r#"gen_ai_request_model="a\"b\\c\nd""#), "{scrape}");
}

#[test]
fn the_reference_is_current() {
    crate::config::committed::check("metrics.md", &reference());
}

/// What a collector was sent: the head of a request in lower case, and its body.
struct Export {
    head: String,
    body: Vec<u8>,
}

impl Export {
    fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// A collector that takes everything. Its threads end with the connections.
fn collector() -> (String, Receiver<Export>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, exports) = channel();
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            let sender = sender.clone();
            std::thread::spawn(move || take(connection, &sender));
        }
    });
    (url, exports)
}

fn take(connection: TcpStream, exports: &Sender<Export>) -> Option<()> {
    let mut answers = connection.try_clone().ok()?;
    let mut requests = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (requests.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let head = head.to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))?
            .parse()
            .ok()?;
        let mut body = vec![0; length];
        requests.read_exact(&mut body).ok()?;
        exports.send(Export { head, body }).ok()?;
        answers
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
    }
}

fn exporting_to(url: &str) -> Config {
    let mut config = Config::default();
    config.telemetry.otlp_endpoint = Some(url.to_owned());
    config.telemetry.otlp_headers = Some("authorization=Bearer hush".to_owned());
    config.telemetry.otlp_every_ms = 100;
    config
}

#[test]
fn a_collector_gets_metrics_and_one_trace_from_caller_to_provider() {
    let (url, exports) = collector();
    let telemetry = Telemetry::start(&exporting_to(&format!("{url}/base/"))).expect("telemetry");
    assert!(trace::is_on());
    let incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HeaderMap::from_iter([(
        "traceparent".parse().expect("a name"),
        HeaderValue::from_static(incoming),
    )]);
    let call = trace::call_span(trace::context(&headers), "chat", "some-model", "gen-1");
    let attempt = trace::attempt_span(&call, "some-provider", 1);
    let mut outgoing = HeaderMap::new();
    trace::inject(&attempt, &headers, &mut outgoing);
    let traceparent = outgoing["traceparent"].to_str().expect("text").to_owned();
    assert!(
        traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
        "{traceparent}"
    );
    assert_ne!(traceparent, incoming, "the provider's parent is the attempt");
    trace::attempt_ended(&attempt, "timed_out", true);
    trace::call_ended(&call, &sample("some-model", Some("some-provider")));
    drop((attempt, call));
    telemetry
        .metrics()
        .call_ended(&sample("some-model", Some("some-provider")));
    telemetry.shutdown();

    let exports: Vec<_> = exports.try_iter().collect();
    let sent = |path: &str, text: &str| {
        let first_line = format!("post /base/v1/{path} http/1.1\r\n");
        exports
            .iter()
            .any(|export| export.head.starts_with(&first_line) && export.says(text))
    };
    for text in [
        "gen_ai.server.request.duration",
        "filature.build.info",
        "service.name",
        "some-model",
    ] {
        assert!(sent("metrics", text), "{text} is in no export of metrics");
    }
    let parent = hex::decode("b7ad6b7169203331").expect("hex");
    assert!(
        exports
            .iter()
            .any(|export| export.body.windows(8).any(|window| window == parent)),
        "not the caller's child"
    );
    for text in [
        "chat some-model",
        "some-provider",
        "timed_out",
        "gen_ai.usage.output_tokens",
        "gen-1",
    ] {
        assert!(sent("traces", text), "{text} is in no export of traces");
    }
    for export in &exports {
        assert!(
            export.head.contains("authorization: bearer hush\r\n"),
            "{}",
            export.head
        );
        assert!(
            export.head.contains("content-type: application/x-protobuf\r\n"),
            "{}",
            export.head
        );
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_stops_nobody() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let began = Instant::now();
    let telemetry = Telemetry::start(&exporting_to(&format!("http://{gone}"))).expect("telemetry");
    let call = trace::call_span(trace::context(&HeaderMap::new()), "chat", "m", "gen-1");
    drop(call);
    telemetry.metrics().call_ended(&sample("m", None));
    assert!(
        telemetry.metrics().render().contains("gen_ai_request_model=\"m\""),
        "a scrape still works"
    );
    telemetry.shutdown();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
