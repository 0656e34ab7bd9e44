//! How busy the engine says it is. Reads what runs, what waits and how full the cache is from the engine's own metrics,
//! beside the call path; of an engine without metrics nothing is known.

use std::time::Duration;

use parking_lot::Mutex;

use super::ask::{Asker, Silent};
use super::presence::Presence;
use super::settings::AgentSettings;

/// How often the metrics are read. A gateway asks for the status about as often.
const PERIOD: Duration = Duration::from_secs(2);
/// How often an engine that showed no such metric is asked again: it may have been starting.
const PERIOD_WITHOUT: Duration = Duration::from_secs(30);

/// The gauges of running calls: vLLM, SGLang, llama.cpp (with `--metrics`).
const RUNNING: [&str; 3] = [
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "llamacpp:requests_processing",
];
/// The gauges of waiting calls.
const WAITING: [&str; 3] = [
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "llamacpp:requests_deferred",
];
/// The gauges of the cache's use, all from 0 to 1: vLLM's newer and its older name, SGLang's, and the one llama.cpp had
/// until it unified its cache.
const CACHE_USE: [&str; 4] = [
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "sglang:token_usage",
    "llamacpp:kv_cache_usage_ratio",
];

/// What the engine says of itself; `None` where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Now {
    /// Calls that run inside the engine.
    pub(crate) running: Option<u32>,
    /// Calls that wait inside the engine.
    pub(crate) waiting: Option<u32>,
    /// How much of the cache is in use, 0 to 1; of several caches that of the fullest.
    pub(crate) cache_use: Option<f32>,
}

/// What the engine last said.
pub(crate) struct Load {
    asker: Option<Asker>,
    now: Mutex<Now>,
}

impl Load {
    pub(crate) fn new(settings: &AgentSettings, tls: rustls::ClientConfig) -> Self {
        Self {
            asker: settings.engine_metrics.then(|| Asker::new(settings, tls)),
            now: Mutex::default(),
        }
    }

    /// What the engine last said.
    pub(crate) fn now(&self) -> Now {
        *self.now.lock()
    }

    /// Reads for ever.
    pub(crate) async fn watch(&self, presence: &Presence) {
        let Some(asker) = &self.asker else { return };
        let mut has_metrics = false;
        loop {
            let said = asker.get("/metrics").await;
            let now = match &said {
                Ok(said) if said.status.is_success() => Now::read(&String::from_utf8_lossy(&said.body)),
                _ => Now::default(),
            };
            *self.now.lock() = now;
            has_metrics |= now != Now::default();
            match said {
                Ok(_) => presence.answered(),
                Err(Silent::Gone(why)) => presence.lost(&why),
                Err(Silent::Busy) => {}
            }
            tokio::time::sleep(if has_metrics { PERIOD } else { PERIOD_WITHOUT }).await;
        }
    }
}

impl Now {
    /// Adds up every sample of the gauges in `metrics` (Prometheus text format). Lines that cannot be read are passed
    /// over.
    fn read(metrics: &str) -> Self {
        let (mut running, mut waiting, mut cache_use) = (None::<f64>, None::<f64>, None::<f64>);
        for (name, value) in metrics.lines().filter_map(sample) {
            if !value.is_finite() || value < 0.0 {
                continue;
            }
            if RUNNING.contains(&name) {
                running = Some(running.unwrap_or(0.0) + value);
            } else if WAITING.contains(&name) {
                waiting = Some(waiting.unwrap_or(0.0) + value);
            } else if CACHE_USE.contains(&name) {
                cache_use = Some(cache_use.unwrap_or(0.0).max(value));
            }
        }
        // A float beyond the range saturates, which is what is wanted here.
        let count = |sum: f64| sum.round() as u32;
        Self {
            running: running.map(count),
            waiting: waiting.map(count),
            cache_use: cache_use.map(|share| share.min(1.0) as f32),
        }
    }
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

    #[track_caller]
    fn check(metrics: &str, running: Option<u32>, waiting: Option<u32>, cache_use: Option<f32>) {
        let expected = Now {
            running,
            waiting,
            cache_use,
        };
        assert_eq!(Now::read(metrics), expected, "{metrics}");
    }

    #[test]
    fn each_engine_is_understood() {
        let vllm = "# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n\
                    # TYPE vllm:num_requests_waiting gauge\n\
                    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 7.0\n\
                    vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 3.0\n\
                    vllm:num_requests_waiting{engine=\"1\",model_name=\"m\"} 2.0\n\
                    vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 90\n\
                    vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"m\"} 0.25\n\
                    vllm:kv_cache_usage_perc{engine=\"1\",model_name=\"m\"} 0.75\n";
        check(vllm, Some(7), Some(5), Some(0.75));
        check("vllm:gpu_cache_usage_perc{model_name=\"m\"} 0.5", None, None, Some(0.5));
        check(
            "sglang:num_running_reqs{model_name=\"m\"} 2.0\nsglang:num_queue_reqs{model_name=\"m\"} 4.0 1790000000000\r\n\
             sglang:token_usage{model_name=\"m\"} 0.5",
            Some(2),
            Some(4),
            Some(0.5),
        );
        check(
            "llamacpp:requests_processing 1\nllamacpp:requests_deferred 2\nllamacpp:kv_cache_usage_ratio 1.5\n",
            Some(1),
            Some(2),
            Some(1.0),
        );
    }

    #[test]
    fn labels_may_hold_anything() {
        check(r#"vllm:num_requests_waiting{m="a} 9 \" }"} 6"#, None, Some(6), None);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        for nothing in [
            "",
            "<html>no metrics here</html>",
            "vllm:num_requests_waiting",
            "vllm:num_requests_waiting{m=\"open 5",
            "vllm:num_requests_waiting NaN\nvllm:num_requests_waiting -1\nvllm:kv_cache_usage_perc -0.5",
        ] {
            check(nothing, None, None, None);
        }
        check(
            "junk\nvllm:num_requests_waiting x\nvllm:num_requests_waiting 1",
            None,
            Some(1),
            None,
        );
        check("vllm:num_requests_running 1e300", Some(u32::MAX), None, None);
    }
}
