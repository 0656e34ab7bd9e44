//! The agent: the program beside an engine that dials gateways and serves their calls. Decides its life (start,
//! tunnels, drain, end); each step has its own file. It opens no port: everything comes down the tunnels it dials.
//!
//! [`run`] is the whole of it, so that many agents can live in one process.

mod ask;
mod dial;
mod digest;
mod drain;
mod forward;
mod go_on;
mod load;
mod offers;
mod presence;
mod probe;
mod reconnect;
mod reply;
mod serve;
pub mod settings;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::dial::Dialer;
use self::drain::Calls;
use self::forward::Engine;
use self::load::Load;
use self::offers::Offers;
use self::presence::Presence;
use self::probe::Probe;
use self::reconnect::TunnelError;
pub use self::settings::{AgentSettings, BadUrl, BaseUrl};

/// What the agent calls itself in a hello.
pub const AGENT: &str = concat!("filature-provider/", env!("CARGO_PKG_VERSION"));

/// How long a tunnel may take to send its last answers after its last call, once it is told to close.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why an agent ended other than by draining.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The settings cannot work; every problem is named.
    #[error("the settings have {} problem(s):\n- {}", .0.len(), .0.join("\n- "))]
    Settings(Vec<String>),
    /// TLS cannot be set up, because a given root certificate is none.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A tunnel could not be opened or was lost, and the agent was told to try once.
    #[error("gateway {gateway}: {problem}")]
    Tunnel {
        /// The gateway.
        gateway: String,
        /// What happened.
        problem: String,
    },
    /// The deadline to drain passed, and calls were cut off.
    #[error("{calls} call(s) still ran at the drain deadline and were cut off")]
    CutOff {
        /// How many.
        calls: u32,
    },
}

/// What all tunnels of one agent share.
pub(crate) struct Agent {
    pub(crate) settings: AgentSettings,
    pub(crate) engine: Engine,
    pub(crate) calls: Arc<Calls>,
    pub(crate) load: Load,
    pub(crate) probe: Probe,
    pub(crate) presence: Arc<Presence>,
    pub(crate) offers: Offers,
    pub(crate) dialer: Dialer,
    /// Every task that hyper starts for a tunnel's streams.
    pub(crate) streams: TaskTracker,
}

impl Agent {
    fn new(settings: AgentSettings) -> Result<Self, AgentError> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(AgentError::Settings(problems));
        }
        let tls = dial::tls(&settings.extra_roots)?;
        let presence = Arc::new(Presence::default());
        Ok(Self {
            engine: Engine::new(&settings, tls.clone(), Arc::clone(&presence)),
            calls: Arc::new(Calls::new(settings.calls_max())),
            load: Load::new(&settings, tls.clone()),
            probe: Probe::new(&settings, tls.clone()),
            presence,
            offers: Offers::new(&settings),
            dialer: Dialer::new(tls),
            streams: TaskTracker::new(),
            settings,
        })
    }
}

/// Serves `settings.engine` to every one of `settings.gateways` until `shutdown` is cancelled, then drains: the
/// gateways hear of it, new calls are refused, running calls end, and the tunnels close.
///
/// A lost or refused tunnel is dialled again, with growing pauses; with `settings.once` it ends the agent instead.
/// Dropping the future stops the agent at once and cuts off what runs.
///
/// # Errors
/// [`AgentError`]; a drain that finishes within `settings.drain_deadline` is none.
pub async fn run(settings: AgentSettings, shutdown: CancellationToken) -> Result<(), AgentError> {
    let agent = Arc::new(Agent::new(settings)?);
    let close = CancellationToken::new();
    let _stop_on_drop = close.clone().drop_guard();

    let mut watch = JoinSet::new();
    let watched = Arc::clone(&agent);
    watch.spawn(async move { watched.load.watch(&watched.presence).await });
    let watched = Arc::clone(&agent);
    watch.spawn(async move { watched.probe.watch(&watched.presence, &watched.offers).await });
    let mut tunnels = JoinSet::new();
    for gateway in &agent.settings.gateways {
        let (agent, gateway) = (Arc::clone(&agent), gateway.clone());
        let (shutdown, close) = (shutdown.clone(), close.clone());
        tunnels.spawn(async move { reconnect::keep(&agent, &gateway, &shutdown, &close).await });
    }

    let lost = tokio::select! {
        () = shutdown.cancelled() => None,
        lost = first_lost(&mut tunnels) => Some(lost),
    };
    // Also after a lost tunnel: what the other tunnels carry is somebody's call.
    let drained = drain(&agent, &close, tunnels).await;
    match lost {
        Some(error) => Err(error),
        None => drained,
    }
}

/// Waits for a tunnel that gives up; only `settings.once` lets one.
async fn first_lost(tunnels: &mut JoinSet<Result<(), TunnelError>>) -> AgentError {
    let problem = match tunnels.join_next().await {
        Some(Ok(Err(error))) => return error.into(),
        Some(Ok(Ok(()))) | None => "the tunnel closed".to_owned(),
        Some(Err(panicked)) => format!("the tunnel's task failed: {panicked}"),
    };
    AgentError::Tunnel {
        gateway: "(unknown)".to_owned(),
        problem,
    }
}

async fn drain(
    agent: &Agent,
    close: &CancellationToken,
    mut tunnels: JoinSet<Result<(), TunnelError>>,
) -> Result<(), AgentError> {
    agent.calls.drain();
    let deadline = agent.settings.drain_deadline;
    tracing::info!(
        provider = agent.settings.name,
        running = agent.calls.running(),
        ?deadline,
        "draining"
    );
    let idle = tokio::time::timeout(deadline, agent.calls.idle()).await.is_ok();
    let calls = if idle { 0 } else { agent.calls.running() };
    // The tunnels end by GOAWAY, after which each still sends what its last streams hold.
    close.cancel();
    let ended = async { while tunnels.join_next().await.is_some() {} };
    if tokio::time::timeout(FLUSH_TIMEOUT * 2, ended).await.is_err() {
        tracing::warn!(
            provider = agent.settings.name,
            "a tunnel did not close in time and is dropped"
        );
    }
    tunnels.abort_all();
    if calls > 0 {
        return Err(AgentError::CutOff { calls });
    }
    tracing::info!(provider = agent.settings.name, "drained");
    Ok(())
}
