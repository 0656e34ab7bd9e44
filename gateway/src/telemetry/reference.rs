//! Writes `docs/metrics.md` from the table of metrics.

use std::fmt::Write as _;

use super::names::{ALL, Kind, Metric};
use super::series::{LABELS_MAX, OTHER};

const HEAD: &str = "\
# Metrics

Generated from `gateway/src/telemetry/names.rs`; do not edit.

`GET /metrics` gives them in Prometheus' text format. With `telemetry.otlp_endpoint` set, the same figures go to an
OpenTelemetry collector under the names in the first column. Those that begin with `gen_ai.` follow OpenTelemetry's
semantic conventions for generative AI.
";

/// The whole reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let _ = writeln!(
        out,
        "\nLabels are bounded: beyond {LABELS_MAX} models or {LABELS_MAX} providers the rest is counted as `{OTHER}`.\n"
    );
    out.push_str("| metric | in a scrape | kind | unit | labels | meaning |\n|---|---|---|---|---|---|\n");
    for metric in ALL {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{}`", scraped(label)))
            .collect();
        let _ = writeln!(
            out,
            "| `{}` | `{}` | {} | {} | {} | {} |",
            metric.name,
            scrape_name(metric),
            match metric.kind {
                Kind::Counter => "counter",
                Kind::Level => "gauge",
                Kind::Histogram(_) => "histogram",
            },
            if metric.unit == "s" {
                "seconds"
            } else {
                metric.unit.trim_matches(['{', '}'])
            },
            labels.join(" "),
            metric.doc.trim(),
        );
    }
    out
}

fn scraped(name: &str) -> String {
    name.replace('.', "_")
}

/// The name under which Prometheus sees a metric.
pub(super) fn scrape_name(metric: &Metric) -> String {
    let unit = if metric.unit == "s" { "_seconds" } else { "" };
    let total = if metric.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{total}", scraped(metric.name))
}
