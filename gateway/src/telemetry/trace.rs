//! The trace of a call: what came from the caller, our own spans, what goes on to the provider (W3C Trace Context).
//!
//! Without a collector there are no spans: the caller's `traceparent` goes on untouched, and a fresh one is made
//! where the caller sent none, so that provider and gateway logs can still be joined.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::metrics::CallSample;
use super::names;
use super::otlp::Collector;

/// Target of the spans that are exported. They never reach the log.
pub(super) const TARGET: &str = "filature::trace";

/// W3C Trace Context, sections 3.2 and 3.3.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Whether spans are exported. Set once, when telemetry starts.
static ON: AtomicBool = AtomicBool::new(false);

/// Starts the export of spans; the layer that makes them is added with the logs.
pub(super) fn start(collector: &Collector, resource: Resource, ratio: f64) -> anyhow::Result<SdkTracerProvider> {
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_sampler(sampler)
        .with_batch_exporter(collector.spans()?)
        .build();
    Ok(provider)
}

/// Spans exist from now on.
pub(super) fn switch_on() {
    ON.store(true, Ordering::Release);
}

/// Whether spans are exported.
#[must_use]
pub fn is_on() -> bool {
    ON.load(Ordering::Acquire)
}

/// The caller's trace, from its headers; empty where it sent none or none is needed.
#[must_use]
pub fn context(headers: &HeaderMap) -> Context {
    if !is_on() || !headers.contains_key(TRACEPARENT) {
        return Context::new();
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers))
}

/// The span of a whole call, a child of the caller's; disabled where nothing is exported.
#[must_use]
pub fn call_span(parent: Context, operation: &'static str, model: &str, call: &str) -> Span {
    if !is_on() {
        return Span::none();
    }
    let span = tracing::info_span!(
        target: TARGET, parent: None, "call",
        otel.name = format!("{operation} {model}"),
        otel.kind = "server",
        gen_ai.operation.name = operation,
        gen_ai.request.model = model,
        filature.call = call,
    );
    // It fails only where the span is not ours to change, which costs the link to the caller and nothing else.
    let _ = span.set_parent(parent);
    span
}

/// The span of one attempt at a provider, a child of the call's.
#[must_use]
pub fn attempt_span(call: &Span, provider: &str, attempt: usize) -> Span {
    if call.is_disabled() {
        return Span::none();
    }
    tracing::info_span!(
        target: TARGET, parent: call, "attempt",
        otel.kind = "client",
        gen_ai.provider.name = provider,
        filature.attempt = attempt,
    )
}

/// Writes into an attempt's span how it ended.
pub fn attempt_ended(attempt: &Span, outcome: &'static str, failed: bool) {
    if attempt.is_disabled() {
        return;
    }
    attempt.set_attribute(names::OUTCOME, outcome);
    if failed {
        attempt.set_status(opentelemetry::trace::Status::error(outcome));
    }
}

/// Writes into a call's span how it ended. Counts and times only.
pub fn call_ended(call: &Span, sample: &CallSample<'_>) {
    if call.is_disabled() {
        return;
    }
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    call.set_attribute("gen_ai.usage.input_tokens", tokens(sample.prompt_tokens));
    call.set_attribute("gen_ai.usage.output_tokens", tokens(sample.completion_tokens));
    call.set_attribute("filature.cost.nano", tokens(sample.cost_nano));
    if let Some(provider) = sample.provider {
        call.set_attribute(names::PROVIDER, provider.to_owned());
    }
    if let Some(error) = sample.error_type {
        call.set_attribute(names::ERROR_TYPE, error);
        call.set_status(opentelemetry::trace::Status::error(error));
    }
}

/// Writes the trace that a provider continues into the headers it gets: `span`'s where it is one, else the caller's
/// own, else a fresh one.
pub fn inject(span: &Span, incoming: &HeaderMap, outgoing: &mut HeaderMap) {
    if !span.is_disabled() {
        TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(outgoing));
        if outgoing.contains_key(TRACEPARENT) {
            return;
        }
    }
    match incoming
        .get(TRACEPARENT)
        .filter(|header| is_traceparent(header.as_bytes()))
    {
        Some(traceparent) => {
            outgoing.insert(TRACEPARENT, traceparent.clone());
            for tracestate in incoming.get_all(TRACESTATE) {
                outgoing.append(TRACESTATE, tracestate.clone());
            }
        }
        None => {
            outgoing.insert(TRACEPARENT, fresh(rand::random(), rand::random()));
        }
    }
}

/// A `traceparent` that is not sampled.
fn fresh(trace: u128, span: u64) -> HeaderValue {
    // All zeros means "none" (sections 3.2.2.3 and 3.2.2.4).
    let text = format!("00-{:032x}-{:016x}-00", trace.max(1), span.max(1));
    HeaderValue::from_str(&text).unwrap_or_else(|_| unreachable!("hexadecimal digits are a header"))
}

/// Whether a header is a `traceparent` of version 00, or of a later one that begins alike (section 3.2.4).
fn is_traceparent(header: &[u8]) -> bool {
    let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let some = |bytes: &[u8]| hex(bytes) && bytes.iter().any(|byte| *byte != b'0');
    if header.len() < 55 || header[2] != b'-' || header[35] != b'-' || header[52] != b'-' {
        return false;
    }
    let version = &header[..2];
    hex(version)
        && version != b"ff"
        && some(&header[3..35])
        && some(&header[36..52])
        && hex(&header[53..55])
        && match header.get(55) {
            None => true,
            Some(next) => version != b"00" && *next == b'-',
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn injected(incoming: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in incoming {
            headers.append(*name, HeaderValue::from_str(value).expect("a header"));
        }
        let mut outgoing = HeaderMap::new();
        inject(&Span::none(), &headers, &mut outgoing);
        outgoing
    }

    #[test]
    fn the_callers_trace_goes_on_untouched() {
        let outgoing = injected(&[("traceparent", GOOD), ("tracestate", "a=1"), ("tracestate", "b=2")]);
        assert_eq!(outgoing["traceparent"], GOOD);
        assert_eq!(
            outgoing.get_all("tracestate").iter().collect::<Vec<_>>(),
            ["a=1", "b=2"]
        );
    }

    #[test]
    fn a_call_without_a_trace_gets_a_fresh_one() {
        for bad in [
            None,
            Some(""),
            Some("00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            Some("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
            Some("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            Some("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra"),
        ] {
            let incoming: Vec<_> = bad
                .iter()
                .map(|bad| ("traceparent", *bad))
                .chain([("tracestate", "a=1")])
                .collect();
            let outgoing = injected(&incoming);
            let fresh = outgoing["traceparent"].as_bytes();
            assert!(is_traceparent(fresh), "{fresh:?} for {bad:?}");
            assert_ne!(bad.map(str::as_bytes), Some(fresh));
            assert!(
                !outgoing.contains_key("tracestate"),
                "a state without its trace says nothing"
            );
        }
        assert_ne!(injected(&[])["traceparent"], injected(&[])["traceparent"]);
    }

    #[test]
    fn later_versions_may_be_longer() {
        assert!(is_traceparent(
            b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra"
        ));
        assert!(!is_traceparent(
            b"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01extra"
        ));
    }
}
