//! Keeps one gateway's tunnel up. Decides when to dial again and how long to pause: longer after each failure, from
//! the start after a tunnel that held.

use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngExt};
use tokio_util::sync::CancellationToken;

use super::dial::DialError;
use super::settings::BaseUrl;
use super::{Agent, AgentError, serve};

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// A tunnel that was up this long counts as one that held.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// A tunnel that is not dialled again, and why.
#[derive(Debug, thiserror::Error)]
#[error("gateway {gateway}: {problem}")]
pub(crate) struct TunnelError {
    gateway: String,
    problem: String,
}

impl From<TunnelError> for AgentError {
    fn from(error: TunnelError) -> Self {
        Self::Tunnel {
            gateway: error.gateway,
            problem: error.problem,
        }
    }
}

/// Dials `gateway` again and again until `shutdown`; serves each tunnel until it ends or `close` ends it in good order.
///
/// # Errors
/// [`TunnelError`] after the first failure, if the settings ask for one try.
pub(crate) async fn keep(
    agent: &Arc<Agent>,
    gateway: &BaseUrl,
    shutdown: &CancellationToken,
    close: &CancellationToken,
) -> Result<(), TunnelError> {
    let mut backoff = Backoff::new();
    loop {
        let dialled = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            () = close.cancelled() => return Ok(()),
            dialled = agent.dialer.dial(gateway) => dialled,
        };
        let problem = match dialled {
            Ok(io) => {
                let served = serve::serve(agent, io, gateway, close).await;
                if served.up_for.is_some_and(|up_for| up_for >= STABLE_AFTER) {
                    backoff = Backoff::new();
                }
                served.problem
            }
            Err(error) => dial_problem(&error),
        };
        if shutdown.is_cancelled() || close.is_cancelled() {
            return Ok(());
        }
        if agent.settings.once {
            return Err(TunnelError {
                gateway: gateway.to_string(),
                problem,
            });
        }
        let pause = backoff.next(&mut rand::rng());
        let pause_ms = pause.as_millis();
        tracing::warn!(provider = agent.settings.name, %gateway, pause_ms, "no tunnel: {problem}");
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = close.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn dial_problem(error: &DialError) -> String {
    match error {
        DialError::Http(error) => {
            format!("the connection failed: {}", super::forward::chain(error))
        }
        other => other.to_string(),
    }
}

/// Pauses that double up to a limit, each shortened by up to half at random: after a gateway's restart its agents
/// come back spread over time.
struct Backoff(Duration);

impl Backoff {
    const fn new() -> Self {
        Self(PAUSE_MIN)
    }

    fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let pause = self.0.mul_f64(rng.random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_differ_between_agents() {
        let pauses = |seed| {
            let (mut rng, mut backoff) = (StdRng::seed_from_u64(seed), Backoff::new());
            std::array::from_fn::<_, 12, _>(|_| backoff.next(&mut rng))
        };
        let mut longest = PAUSE_MIN;
        for pause in pauses(1) {
            assert!(pause >= longest / 2 && pause < longest, "{pause:?} of {longest:?}");
            longest = (longest * 2).min(PAUSE_MAX);
        }
        assert_eq!(longest, PAUSE_MAX);
        assert_ne!(pauses(1), pauses(2));
    }
}
