//! Tells when a fleet's tunnels are up, by asking the gateways for the number they have open.

use std::time::{Duration, Instant};

use crate::client::{Client, Failure};

/// The gauge of a gateway's `/metrics`.
const TUNNELS_OPEN: &str = "filature_tunnels_open";
/// How often a gateway is asked.
const EVERY: Duration = Duration::from_millis(25);

/// A gateway that has too few tunnels.
#[derive(Debug, thiserror::Error)]
#[error("gateway {gateway} has {open} tunnels open of {wanted} after {patience:?}")]
pub struct NotReady {
    /// The gateway's URL.
    pub gateway: String,
    /// The number it has; 0 also when it does not answer.
    pub open: u64,
    /// The number waited for.
    pub wanted: u64,
    /// How long.
    pub patience: Duration,
}

/// How many tunnels a gateway has open.
pub(super) async fn tunnels_open(gateway: &str) -> Result<u64, Failure> {
    let client = Client::new(gateway, None).map_err(|_| Failure::NoAnswer)?;
    let text = client.get("/metrics").await?;
    Ok(count(&String::from_utf8_lossy(&text)))
}

/// Waits until a gateway has that many.
pub(super) async fn wait(gateway: &str, wanted: u64, patience: Duration) -> Result<(), NotReady> {
    let begun = Instant::now();
    loop {
        let open = tunnels_open(gateway).await.unwrap_or(0);
        if open >= wanted {
            return Ok(());
        }
        if begun.elapsed() >= patience {
            return Err(NotReady {
                gateway: gateway.to_owned(),
                open,
                wanted,
                patience,
            });
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The sum of the gauge's samples in Prometheus' text format.
fn count(metrics: &str) -> u64 {
    let samples = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(TUNNELS_OPEN)?;
        rest.starts_with(['{', ' '])
            .then(|| rest.rsplit(' ').next()?.parse::<u64>().ok())?
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_and_other_metrics_passed_over() {
        let text = "# TYPE filature_tunnels_open gauge\nfilature_tunnels_open{otel_scope_name=\"x\"} 3\n\
                    filature_tunnels_open_max 9\nfilature_tunnels_open 1\n";
        assert_eq!(count(text), 4);
        assert_eq!(count(""), 0);
    }
}
