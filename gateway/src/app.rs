//! What every part of one gateway process shares: its settings, ledger, fleet, caches and the lists of what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filature_billing::{Ledger, ReceiptKey};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::deposits::Till;
use crate::epochs::Epochs;
use crate::fleet::Fleet;
use crate::journal::Journal;
use crate::request::auth::KeyCache;
use crate::request::cosigned::Checker;
use crate::request::lengths::Lengths;
use crate::request::live::LiveCalls;
use crate::request::room::Room as CallRoom;
use crate::request::upstream::EngineBody;
use crate::telemetry::Metrics;
use crate::tokens::{CountingPool, Tokenizers};

/// One gateway process.
pub struct App {
    /// The settings it was started with.
    pub config: Config,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Its monotonic clock.
    pub clock: Clock,
    /// Where money is.
    pub ledger: Arc<dyn Ledger>,
    /// What signs receipts.
    pub receipts: Arc<ReceiptKey>,
    /// Where receipts are sealed.
    pub epochs: Epochs,
    /// Where coins are paid in and out, if they are.
    pub till: Option<Till>,
    /// The providers it can reach.
    pub fleet: Fleet,
    /// API keys seen lately.
    pub keys: KeyCache,
    /// What is counted and timed.
    pub metrics: Metrics,
    /// Posts that the ledger could not take yet.
    pub journal: Journal,
    /// The tokenizers of models, where they are known.
    pub tokenizers: Tokenizers,
    /// Who counts with them.
    pub counting: CountingPool,
    /// Who checks what providers signed.
    pub signatures: Checker,
    /// How long answers usually are.
    pub lengths: Lengths,
    /// Calls that hold money now.
    pub live: LiveCalls,
    /// Room for further calls.
    pub room: CallRoom,
    /// Room for tunnels.
    pub tunnels: Room,
    /// Room for tunnels that have not said hello yet: strangers' until then.
    pub strangers: Room,
    /// Client connections that are open.
    pub connections: Connections,
    /// Everything that runs beside a connection: calls, tunnels, sweeps.
    pub tasks: TaskTracker,
    /// The stages of stopping.
    pub stop: Stop,
}

/// The stages of stopping, in their order.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// `/readyz` says so; everything is served as before.
    pub announced: CancellationToken,
    /// No new connections, calls or tunnels; what runs may end.
    pub draining: CancellationToken,
    /// The grace is over: calls still running are cut and settled.
    pub cutting: CancellationToken,
    /// All calls are settled: background tasks and tunnels end.
    pub ended: CancellationToken,
}

/// The HTTP client to providers with a public address.
pub type DirectClient = Client<HttpsConnector<HttpConnector>, EngineBody>;

/// One worker thread's view of the gateway: the shared part, and connections that stay on this thread.
pub struct Worker {
    /// The shared part.
    pub app: Arc<App>,
    /// This thread's pooled connections to direct providers, so that no call hops threads on the way.
    pub direct: DirectClient,
}

/// Counts what is under way and refuses more than the operator allows.
#[derive(Debug)]
pub struct Room {
    taken: Arc<AtomicUsize>,
    places_max: usize,
}

/// A place in a [`Room`]; dropping it frees the place.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Room {
    /// Room for `places_max` at a time.
    #[must_use]
    pub fn new(places_max: usize) -> Self {
        Self {
            taken: Arc::default(),
            places_max,
        }
    }

    /// Places that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes a place, or `None` when all are taken.
    #[must_use]
    pub fn enter(&self) -> Option<Place> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.taken.clone());
        (before < self.places_max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts client connections, so that the acceptor can wait while there are too many.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicUsize,
    closed: Notify,
}

impl Connections {
    /// One more.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One fewer.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.closed.notify_one();
    }

    /// Resolves when fewer than `open_max` are open. For one waiter.
    pub async fn wait_below(&self, open_max: usize) {
        while self.open.load(Ordering::Relaxed) >= open_max {
            self.closed.notified().await;
        }
    }
}
