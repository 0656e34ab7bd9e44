//! A simulated engine: an OpenAI-compatible model server whose model is a hash function.
//!
//! Decides when connections open and close; what is said on them is decided below. It is fast (a benchmark's upstream),
//! deterministic (the n-th token is a function of prompt, seed and choice) and wrong in every way a real engine is,
//! when asked to be: see [`sim`].

mod body;
mod call;
mod continuation;
mod embeddings;
mod failing;
mod pages;
mod refusal;
mod schema;
mod script;
mod serve;
mod settings;
pub mod sim;
mod stats;
mod stream;
mod wire;
mod words;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use continuation::SEPARATOR;
pub use settings::EngineSettings;
pub use stats::{CallSeen, Ending, Stats};

/// A running engine. Dropped, it stops.
pub struct Engine {
    addr: SocketAddr,
    shared: Arc<serve::Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Engine {
    /// Starts an engine on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(settings: EngineSettings) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(serve::Shared::new(settings));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(listener, Arc::clone(&shared), stop.clone(), tasks.clone());
        tasks.spawn(accepting);
        Ok(Self {
            addr,
            shared,
            stop,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL without a path, as `filature-provider --engine` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The URL an OpenAI client takes as `base_url`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// What it has counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot()
    }

    /// The calls that have ended, the last 16,384 of them.
    #[must_use]
    pub fn calls(&self) -> Vec<CallSeen> {
        self.shared.counters.calls(None)
    }

    /// Stops as a killed process does: every connection closes, whatever was going on in it. Returns when all have.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<serve::Shared>, stop: CancellationToken, tasks: TaskTracker) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (shared, stop) = (Arc::clone(&shared), stop.clone());
                tasks.spawn(async move { stop.run_until_cancelled(serve_connection(stream, shared)).await });
            }
            Err(error) => {
                // Out of file descriptors, most likely: the listener stays, and the next client may have more luck.
                tracing::warn!(%error, "the simulated engine could not accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<serve::Shared>) {
    // Without it every event of a stream would wait for the client's acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Connection {
        stream,
        reset: Arc::clone(&reset),
    });
    let service = service_fn(move |request| serve::answer(Arc::clone(&shared), request, Arc::clone(&reset)));
    if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
        tracing::debug!(%error, "a connection of the simulated engine ended early");
    }
}

/// A connection that can be told to end in a reset instead of an orderly close.
struct Connection {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            // An orderly end of the stream now would reach the peer before the reset does.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
