//! Starts a gateway, runs it until it is told to stop, and stops it without losing a call.
//!
//! Stopping has four steps: `/readyz` says so for `server.shutdown_announce_ms` while all goes on; then nothing new, and
//! connections finish what they have; then after `server.shutdown_grace_ms` calls still running are cut with an error
//! chunk; then tunnels and background work end.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use filature_billing::{Ledger, ReceiptKey};
use filature_router::{Policy, QueuePolicy};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use crate::admin::AdminApi;
use crate::app::{App, Connections, Room, Stop};
use crate::chain;
use crate::clock::{Clock, now_ms};
use crate::config::Config;
use crate::deposits::{self, Till};
use crate::epochs::{self, Common, Epochs};
use crate::fleet::{Fleet, direct, siblings};
use crate::journal::{self, Journal};
use crate::request::auth::KeyCache;
use crate::request::cosigned::Checker;
use crate::request::lengths::Lengths;
use crate::request::live::LiveCalls;
use crate::request::room::Room as CallRoom;
use crate::settling::Settlement;
use crate::telemetry::Telemetry;
use crate::tokens::{CountingPool, Tokenizers};
use crate::withdrawals::{self, Destinations, WithdrawalWallet};
use crate::workers::Workers;
use crate::{admin, ledger, sealing, settling};

/// Connections the kernel may hold while the acceptor is busy.
const BACKLOG: i32 = 1024;
/// Calls that have been waiting for this long without a pause are a standing queue (CoDel's interval, made long enough for a
/// burst to come in whole).
const STANDING_AFTER: Duration = Duration::from_millis(500);
/// Tunnels that may be open without having said hello.
const STRANGERS_MAX: usize = 256;
/// Holds that are renewed at the same time.
const RENEWED_AT_ONCE: usize = 256;
/// Cores for each thread that counts tokens: one counts some millions of bytes a second.
const CORES_A_COUNTER: usize = 4;
/// How long connections may take to send their last bytes, even when the grace is over.
const FLUSH_MIN: Duration = Duration::from_secs(1);
/// How long cut calls may take to settle, and tasks to end, before the process ends regardless.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Runs a gateway until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start: the address is taken, the ledger cannot be opened, telemetry cannot be set up.
pub fn run(config: Config) -> anyhow::Result<()> {
    let telemetry = Telemetry::start(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(live(config, &telemetry));
    telemetry.shutdown();
    result
}

async fn live(config: Config, telemetry: &Telemetry) -> anyhow::Result<()> {
    // The first thing, so that a taken port is told before anything is opened.
    let listener = listen(config.server.listen, "--listen")?;
    let admin_listener = config.admin.listen.map(|address| listen(address, "--admin-listen"));
    let admin_listener = admin_listener.transpose()?;
    let tokens = admin::Tokens::configured(&config.admin)?;
    let data = config.ledger.data.clone();
    make_private_folder(&data)?;
    let _folder = ledger::own_folder(&data, ledger::HANDOVER_MAX).await?;
    let ledger = ledger::open_when_free(&config.ledger).await?;
    let receipts = Arc::new(ReceiptKey::load_or_create(
        &epochs::key_file(&config),
        &mut rand::rng(),
    )?);
    let (epochs, mut common) = (Epochs::open(&config, &receipts)?, Common::of(&config, &receipts)?);
    match common.fits(&*ledger, &epochs).await {
        Ok(fits) => fits?,
        // Calls can be served, and their receipts be sealed later.
        Err(unknown) => tracing::warn!(%unknown, "the epochs could not be looked at"),
    }
    let purse = WithdrawalWallet::configured(&config.settlement)?;
    let till = Till::configured(&config.settlement)?.map(|till| Till {
        wallet: purse.as_ref().map(WithdrawalWallet::address),
        ..till
    });
    let settlement = Settlement::configured(&config.settlement)?;
    if let Some(settlement) = &settlement {
        settlement.is_no_other(
            till.map(|till| till.address),
            purse.as_ref().map(WithdrawalWallet::address),
        )?;
    }
    let opened = Opened {
        till,
        ledger,
        receipts,
        epochs,
        journal: Journal::open(&data)?,
        tokenizers: Tokenizers::load(&config.tokenizers)?,
        counting: CountingPool::start(counting_threads(&config))?,
        signatures: Checker::start()?,
    };
    let app = Arc::new(app(config, telemetry, opened));
    for configured in &app.config.providers {
        app.fleet.join(Arc::new(direct::provider(configured)?), app.clock.now());
    }
    let destinations = Destinations {
        network: app.config.settlement.network,
        till: app.till,
    };
    let admin = match app.config.ledger.redis {
        Some(_) => None, // whoever can reach Redis needs no socket
        None => Some(admin::listen(
            &data,
            (app.ledger.clone(), app.epochs.store.clone(), destinations),
            app.stop.ended.clone(),
        )?),
    };
    if let Some(admin) = admin {
        app.tasks.spawn(admin);
    }
    if let Some(listener) = admin_listener {
        tracing::info!(listen = %listener.local_addr()?, "the admin API serves");
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (ledger, epochs) = (app.ledger.clone(), app.epochs.store.clone());
        let (tasks, stop) = (app.tasks.clone(), app.stop.ended.clone());
        app.tasks.spawn(admin::serve(
            listener,
            AdminApi {
                ledger,
                epochs,
                destinations,
                tokens,
            },
            tasks,
            stop,
        ));
    }
    app.tasks.spawn(keep_holds(app.clone()));
    if let Some(till) = app.till {
        let chain = chain::reach(&app.config.settlement)?;
        app.tasks.spawn(deposits::watch(app.clone(), till, chain));
    }
    if let Some(purse) = purse {
        let chain = chain::reach(&app.config.settlement)?;
        app.tasks.spawn(withdrawals::pay(app.clone(), purse, app.till, chain));
    }
    settling::addresses::note_configured(&app).await;
    if let Some(settlement) = settlement {
        let app = app.clone();
        app.clone()
            .tasks
            .spawn_blocking(move || settling::run(&app, settlement));
    }
    app.tasks.spawn(siblings::exchange(app.clone()));
    app.tasks.spawn(journal::replay(app.clone()));
    let sealing = app.clone();
    app.tasks.spawn_blocking(move || sealing::run(&sealing, common));
    let mut workers = Workers::start(&app, workers(&app.config))?;
    tracing::info!(listen = %listener.local_addr()?, workers = workers.count(), "the gateway serves");
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::select! {
        result = accept(&app, &listener, &mut workers) => result?,
        signal = stop_signal() => tracing::info!(signal = signal?, "stopping"),
    }
    app.stop.announced.cancel();
    let announce = Duration::from_millis(app.config.server.shutdown_announce_ms);
    let _ = tokio::time::timeout(announce, accept(&app, &listener, &mut workers)).await;
    drop(listener);
    stop(&app).await;
    tokio::task::spawn_blocking(|| workers.join()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// What a gateway opens before it serves.
struct Opened {
    till: Option<Till>,
    ledger: Arc<dyn Ledger>,
    receipts: Arc<ReceiptKey>,
    epochs: Epochs,
    journal: Journal,
    tokenizers: Tokenizers,
    counting: CountingPool,
    signatures: Checker,
}

fn app(config: Config, telemetry: &Telemetry, opened: Opened) -> App {
    let policy = Policy {
        attempts_max: u32::try_from(config.routing.attempts_max).unwrap_or(u32::MAX),
        replicas: config.routing.replicas,
        ..Policy::default()
    };
    let waiting = QueuePolicy {
        calls_max: config.routing.queue_max,
        wait_max: Duration::from_millis(config.routing.queue_wait_ms),
        standing_after: STANDING_AFTER,
        standing_wait: Duration::from_millis(config.routing.standing_wait_ms),
    };
    App {
        started_ms: now_ms(),
        clock: Clock::start(),
        ledger: opened.ledger,
        receipts: opened.receipts,
        epochs: opened.epochs,
        till: opened.till,
        fleet: Fleet::new(policy, waiting),
        keys: KeyCache::new(
            config.keys.cache_entries_max,
            Duration::from_millis(config.keys.cache_ms),
        ),
        metrics: telemetry.metrics(),
        journal: opened.journal,
        tokenizers: opened.tokenizers,
        counting: opened.counting,
        signatures: opened.signatures,
        lengths: Lengths::default(),
        live: LiveCalls::default(),
        room: CallRoom::new(&config.server),
        tunnels: Room::new(config.tunnels.tunnels_max),
        strangers: Room::new(STRANGERS_MAX),
        connections: Connections::default(),
        tasks: TaskTracker::new(),
        stop: Stop::default(),
        config,
    }
}

/// Makes the data folder, for this user only, where there is none.
fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("the data folder {} could not be made", folder.display()))
}

fn workers(config: &Config) -> usize {
    match config.server.workers {
        0 => cores(),
        workers => usize::from(workers),
    }
}

fn counting_threads(config: &Config) -> usize {
    match config.server.counting_threads {
        0 => (cores() / CORES_A_COUNTER).max(1),
        threads => usize::from(threads),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn listen(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listen = || -> std::io::Result<TcpListener> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listen().with_context(|| format!("cannot listen on {address}; is another program there? Choose with {flag}"))
}

/// Accepts connections and deals them out to the workers, up to `server.connections_max` at a time.
async fn accept(app: &Arc<App>, listener: &tokio::net::TcpListener, workers: &mut Workers) -> anyhow::Result<()> {
    loop {
        match listener.accept().await {
            Ok((socket, _peer)) => {
                app.connections.opened();
                workers.hand(socket.into_std()?).await;
            }
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to be freed.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        app.connections.wait_below(app.config.server.connections_max).await;
    }
}

pub(crate) async fn stop_signal() -> anyhow::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

async fn stop(app: &App) {
    let began = Instant::now();
    let grace = Duration::from_millis(app.config.server.shutdown_grace_ms);
    app.stop.draining.cancel();
    if !quiet(app, grace).await {
        tracing::warn!(
            calls = app.room.taken(),
            "the grace is over: cutting the calls that still run"
        );
        app.stop.cutting.cancel();
        quiet(app, SETTLE_MAX).await;
    }
    // A settled call's last bytes may still be on their way to a slow reader.
    let left = grace.saturating_sub(began.elapsed()).max(FLUSH_MIN);
    let _ = tokio::time::timeout(left, app.connections.wait_below(1)).await;
    app.stop.ended.cancel();
    app.tasks.close();
    if tokio::time::timeout(SETTLE_MAX, app.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = app.tasks.len(), "some tasks did not end in time");
    }
}

/// Waits until no call runs; `false` if some still do after `patience`.
async fn quiet(app: &App, patience: Duration) -> bool {
    let began = Instant::now();
    while app.room.taken() > 0 {
        if began.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// Renews the holds of long calls, and sweeps those whose gateway has died. Neither waits for the other: a server that is
/// away keeps nobody else's holds from being renewed.
async fn keep_holds(app: Arc<App>) {
    let ledger = &app.config.ledger;
    let every = Duration::from_millis(ledger.sweep_every_ms.min(ledger.hold_lease_ms / 4).max(10));
    tokio::select! {
        () = async { loop {
            tokio::time::sleep(every).await;
            renew_holds(&app).await;
        }} => {}
        () = async { loop {
            tokio::time::sleep(every).await;
            sweep_holds(&app).await;
        }} => {}
        () = app.stop.ended.cancelled() => {}
    }
}

async fn renew_holds(app: &App) {
    let (now, lease_ms) = (now_ms(), app.config.ledger.hold_lease_ms);
    let expires_ms = now + lease_ms;
    let due = app.live.due(now + lease_ms / 2, expires_ms);
    let renewals = futures_util::stream::iter(due).for_each_concurrent(RENEWED_AT_ONCE, async |(call, account)| {
        if let Err(error) = app.ledger.renew(&account, &call, expires_ms).await {
            tracing::warn!(%call, %error, "a hold could not be renewed");
            app.live.not_renewed(&call);
        }
    });
    renewals.await;
}

async fn sweep_holds(app: &App) {
    match app.ledger.sweep(now_ms()).await {
        Ok(swept) if swept.holds > 0 => {
            tracing::warn!(holds = swept.holds, released = %swept.released, "orphaned holds were swept");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "holds could not be swept"),
    }
}
