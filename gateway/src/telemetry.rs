//! What the gateway tells about itself: metrics, traces and logs. Never prompts, completions or keys.
//!
//! Metrics are recorded once, through OpenTelemetry, and read twice: by a scrape of `/metrics` and by the OTLP export.
//! Traces exist only where a collector is configured; without one a call pays for none.

mod logs;
mod metrics;
pub mod names;
mod otlp;
mod reference;
mod series;
pub mod trace;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;

pub use metrics::{CallSample, Metrics};
pub(crate) use otlp::headers as otlp_headers;
pub use reference::reference;

use crate::config::{Config, TelemetrySettings};

/// The running telemetry of a process. Dropping it, or [`Telemetry::shutdown`], sends what is left.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    meters: SdkMeterProvider,
    tracers: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts logs, metrics and, where a collector is configured, the export of traces and metrics.
    ///
    /// Logs belong to the process: a second gateway in the same process (as in tests) keeps those of the first.
    ///
    /// # Errors
    /// When an exporter cannot be built. A collector that does not answer is no error: telemetry fails open.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        let settings = &config.telemetry;
        let resource = resource(settings);
        let collector = settings
            .otlp_endpoint
            .as_deref()
            .map(|url| otlp::Collector::new(url, settings))
            .transpose()?;
        let (metrics, meters) = metrics::start(&resource, collector.as_ref()).context("cannot start metrics")?;
        let tracers = collector
            .map(|collector| trace::start(&collector, resource, settings.trace_sample_ratio))
            .transpose()
            .context("cannot start traces")?;
        logs::start(settings, tracers.as_ref());
        Ok(Self {
            metrics,
            meters,
            tracers,
        })
    }

    /// Where calls are recorded.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Sends what is left and stops. Blocks for as long as the collector takes, a few seconds at most.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(tracers) = &self.tracers
            && let Err(error) = tracers.shutdown()
        {
            tracing::warn!(%error, "the last traces were not sent");
        }
        if let Err(error) = self.meters.shutdown() {
            tracing::warn!(%error, "the last metrics were not sent");
        }
    }
}

fn resource(settings: &TelemetrySettings) -> Resource {
    Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

#[cfg(test)]
mod tests;
