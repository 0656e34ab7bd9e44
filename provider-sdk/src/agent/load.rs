//! How busy the engine says it is. Reads the number of waiting calls from the engine's own metrics, beside the call
//! path; an engine without metrics counts as having nobody waiting.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::forward::{EngineConnector, connector};
use super::settings::AgentSettings;

/// How often the metrics are read. A gateway asks for the status about as often.
const PERIOD: Duration = Duration::from_secs(2);
/// How often an engine that showed no such metric is asked again: it may have been starting.
const PERIOD_WITHOUT: Duration = Duration::from_secs(30);
/// How long one reading may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The most bytes of metrics that are read. vLLM's have some 100 KiB.
const METRICS_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The gauges that count waiting calls: vLLM, SGLang, llama.cpp (with `--metrics`).
const GAUGES: [&str; 3] = [
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "llamacpp:requests_deferred",
];

/// What the engine last said.
pub(crate) struct Load {
    client: Client<EngineConnector, Empty<Bytes>>,
    metrics: Option<Uri>,
    authorization: Option<HeaderValue>,
    waiting: AtomicU32,
}

impl Load {
    pub(crate) fn new(settings: &AgentSettings, tls: rustls::ClientConfig) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_max_idle_per_host(0)
                .build(connector(tls)),
            metrics: settings.engine_metrics.then(|| settings.engine.uri("/metrics")),
            authorization: settings.engine_authorization.clone(),
            waiting: AtomicU32::new(0),
        }
    }

    /// Calls that wait inside the engine.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Reads for ever.
    pub(crate) async fn watch(&self) {
        let Some(metrics) = &self.metrics else { return };
        let mut has_metrics = false;
        loop {
            let read = tokio::time::timeout(TIMEOUT, self.read(metrics)).await.ok().flatten();
            self.waiting.store(read.unwrap_or(0), Ordering::Relaxed);
            has_metrics |= read.is_some();
            tokio::time::sleep(if has_metrics { PERIOD } else { PERIOD_WITHOUT }).await;
        }
    }

    /// `None` if the engine cannot be asked or does not say.
    async fn read(&self, metrics: &Uri) -> Option<u32> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = metrics.clone();
        if let Some(authorization) = &self.authorization {
            request
                .headers_mut()
                .insert(http::header::AUTHORIZATION, authorization.clone());
        }
        let answer = self.client.request(request).await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let body = Limited::new(answer.into_body(), METRICS_BYTES_MAX)
            .collect()
            .await
            .ok()?
            .to_bytes();
        waiting(&String::from_utf8_lossy(&body))
    }
}

/// The sum of every sample of a waiting gauge in `metrics` (Prometheus text format); `None` if there is none.
/// Lines that cannot be read are passed over.
fn waiting(metrics: &str) -> Option<u32> {
    let samples = metrics.lines().filter_map(sample);
    let mut sum = None;
    for (_, value) in samples.filter(|(name, _)| GAUGES.contains(name)) {
        if value.is_finite() && value >= 0.0 {
            sum = Some(sum.unwrap_or(0.0) + value);
        }
    }
    // A float beyond the range saturates, which is what is wanted here.
    sum.map(|sum: f64| sum.round() as u32)
}

/// Splits `name{labels} value [timestamp]`. A label's value may hold any character, braces too.
fn sample(line: &str) -> Option<(&str, f64)> {
    let line = line.trim();
    let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
    let (name, rest) = line.split_at(end);
    let rest = match rest.strip_prefix('{') {
        Some(labels) => &labels[labels_end(labels)? + 1..],
        None => rest,
    };
    Some((name, rest.split_ascii_whitespace().next()?.parse().ok()?))
}

/// Where the brace is that closes the labels.
fn labels_end(labels: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in labels.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_is_understood() {
        let vllm = "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n\
                    # TYPE vllm:num_requests_waiting gauge\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 7.0\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3.0\n\
                    vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 2.0\n\
                    vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 90\n";
        assert_eq!(waiting(vllm), Some(5));
        assert_eq!(
            waiting("sglang:num_queue_reqs{model_name=\"m\"} 4.0 1790000000000\r\n"),
            Some(4)
        );
        assert_eq!(
            waiting("llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\n"),
            Some(2)
        );
    }

    #[test]
    fn labels_may_hold_anything() {
        assert_eq!(waiting(r#"vllm:num_requests_waiting{m="a} 9 \" }"} 6"#), Some(6));
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        assert_eq!(waiting(""), None);
        assert_eq!(waiting("<html>no metrics here</html>"), None);
        assert_eq!(waiting("vllm:num_requests_waiting"), None);
        assert_eq!(waiting("vllm:num_requests_waiting{m=\"open 5"), None);
        assert_eq!(
            waiting("vllm:num_requests_waiting NaN\nvllm:num_requests_waiting -1"),
            None
        );
        assert_eq!(
            waiting("junk\nvllm:num_requests_waiting x\nvllm:num_requests_waiting 1"),
            Some(1)
        );
        assert_eq!(waiting("vllm:num_requests_waiting 1e300"), Some(u32::MAX));
    }
}
