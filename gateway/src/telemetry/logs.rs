//! Log lines: text with colours on a terminal, JSON elsewhere, always on standard error.

use std::io::{IsTerminal as _, stderr};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::trace;
use crate::config::{LogFormat, TelemetrySettings};

/// Installs the process's logs, and the layer that turns spans into traces where those are exported.
pub(super) fn start(settings: &TelemetrySettings, tracers: Option<&SdkTracerProvider>) {
    let filter = EnvFilter::builder().parse_lossy(&settings.log);
    let terminal = stderr().is_terminal();
    let json = match settings.log_format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // NO_COLOR is the custom of https://no-color.org.
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt::layer().with_writer(stderr).with_ansi(colours);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.boxed()
    };
    let spans = tracers.map(|tracers| {
        tracing_opentelemetry::layer()
            .with_tracer(tracers.tracer("filature"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == trace::TARGET))
    });
    let logged = filter_fn(|metadata| metadata.target() != trace::TARGET).with_max_level_hint(LevelFilter::TRACE);
    // Spans that nobody wants (h2 has many) are only told so once and for all if there is one filter to a layer, one inside
    // the other being two, and no layer that may be absent.
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter.and(logged)));
    let installed = match spans {
        Some(spans) => registry.with(spans).try_init(),
        None => registry.try_init(),
    };
    if installed.is_ok() && tracers.is_some() {
        trace::switch_on();
    }
}
