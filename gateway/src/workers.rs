//! Worker threads: each runs its own single-threaded runtime and keeps its connections to itself.
//!
//! One acceptor hands accepted sockets out in turn. A call to a direct provider then lives on one thread from its first
//! byte to its last, so that nothing its caller waits for wakes another core (`docs/decisions/002-thread-per-core.md`). A
//! call through a tunnel also visits the thread that accepted the tunnel.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_io_timeout::TimeoutStream;

use crate::app::{App, Worker};
use crate::{request, routes};

/// Where the acceptor sends sockets: one queue a worker.
pub struct Workers {
    queues: Vec<mpsc::Sender<TcpStream>>,
    threads: Vec<JoinHandle<()>>,
    next: usize,
}

impl Workers {
    /// Starts `count` threads, each with its own runtime and client.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be started.
    pub fn start(app: &Arc<App>, count: usize) -> anyhow::Result<Self> {
        let mut workers = Self {
            queues: Vec::new(),
            threads: Vec::new(),
            next: 0,
        };
        for number in 0..count {
            let (queue, sockets) = mpsc::channel(1024);
            let app = app.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("a worker's runtime did not start")?;
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || runtime.block_on(work(app, sockets)))
                .context("a worker thread did not start")?;
            workers.queues.push(queue);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    /// Hands a socket to the next worker in turn.
    pub async fn hand(&mut self, socket: TcpStream) {
        self.next = (self.next + 1) % self.queues.len();
        // A worker ends only after the acceptor does, so the send cannot fail while the gateway runs.
        let _ = self.queues[self.next].send(socket).await;
    }

    /// Waits until every worker has ended; call it once [`App::stop`] says so.
    pub fn join(self) {
        drop(self.queues);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// One worker's life: serve the sockets it is handed until the gateway has ended.
async fn work(app: Arc<App>, mut sockets: mpsc::Receiver<TcpStream>) {
    let worker = Arc::new(Worker {
        direct: request::upstream::direct_client(&app.config),
        app: app.clone(),
    });
    let router = routes::table(worker);
    loop {
        let socket = tokio::select! {
            socket = sockets.recv() => socket,
            () = app.stop.ended.cancelled() => None,
        };
        let Some(socket) = socket else { break };
        let (app, router) = (app.clone(), router.clone());
        app.tasks.clone().spawn(async move {
            app.metrics.connection(1);
            if let Err(error) = serve_connection(&app, router, socket).await {
                tracing::debug!(%error, "a connection ended early");
            }
            app.metrics.connection(-1);
            app.connections.closed();
        });
    }
}

/// Serves one connection: HTTP/1.1, and upgrades for tunnels.
///
/// Every wait on the other side has an end: for the head of a request, for its body, and for answers to be taken.
async fn serve_connection(app: &Arc<App>, router: Router, socket: TcpStream) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let server = &app.config.server;
    let mut socket = TimeoutStream::new(tokio::net::TcpStream::from_std(socket)?);
    socket.set_write_timeout(Some(Duration::from_millis(server.write_timeout_ms)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(server.idle_timeout_ms))
        .max_buf_size(usize::try_from(server.header_bytes_max)?)
        .max_headers(100)
        .serve_connection(TokioIo::new(Box::pin(socket)), TowerToHyperService::new(router))
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = app.stop.draining.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = connection => Ok(ended?),
        () = app.stop.ended.cancelled() => Ok(()),
    }
}
