//! The socket beside an embedded ledger: made so that nobody but its owner can ever open it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use std::convert::Infallible;
use std::future::{Ready, ready};

use anyhow::Context as _;
use axum::Router;
use axum::serve::IncomingStream;
use filature_billing::{EpochStore, Ledger};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

use super::desk::Desk;
use super::operations::router;
use super::user;
use crate::withdrawals::Destinations;

/// The socket's name in the ledger's folder.
pub const SOCKET: &str = "admin.sock";
/// Where the socket is made before it gets its name: shorter than [`SOCKET`], so that a path that fits it fits both.
const MAKING: &str = ".admin";
/// Longest path of a Unix socket, in bytes, without the zero at its end (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Opens the socket in `dir`, which must belong to this process alone (as the embedded ledger's lock ensures), and
/// returns what serves it until `stop`. Must be called inside a runtime.
///
/// # Errors
/// When the socket cannot be made, also because the path is too long for one.
pub fn listen(
    dir: &Path,
    (ledger, epochs, destinations): (Arc<dyn Ledger>, EpochStore, Destinations),
    stop: CancellationToken,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let path = dir.join(SOCKET);
    let listener = bind(dir, &path).with_context(|| format!("cannot open the admin socket {}", path.display()))?;
    Ok(async move {
        let served = axum::serve(listener, Door(ledger, epochs, destinations))
            .with_graceful_shutdown(stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin socket is gone");
        }
        // If it cannot be removed, the next gateway replaces it, and clients find that nobody listens.
        let _ = fs::remove_file(&path);
    })
}

/// Where operators come in: each gets a desk under the name of their user.
struct Door(Arc<dyn Ledger>, EpochStore, Destinations);

impl Service<IncomingStream<'_, UnixListener>> for Door {
    type Response = Router;
    type Error = Infallible;
    type Future = Ready<Result<Router, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, incoming: IncomingStream<'_, UnixListener>) -> Self::Future {
        // The kernel knows who is at the other end (unix(7), SO_PEERCRED).
        let operator = match incoming.io().peer_cred() {
            Ok(peer) => user::operator(rustix::process::Uid::from_raw(peer.uid())),
            Err(_) => "cli:unknown".into(),
        };
        let (ledger, epochs) = (self.0.clone(), Some(self.1.clone()));
        ready(Ok(router(Desk {
            ledger,
            epochs,
            destinations: Some(self.2),
            operator,
        })))
    }
}

/// Binds inside a folder only the owner may enter, restricts the socket, and only then gives it its name: there is no
/// moment at which others could connect.
fn bind(dir: &Path, path: &Path) -> anyhow::Result<UnixListener> {
    let bytes = path.as_os_str().len();
    anyhow::ensure!(
        bytes <= PATH_BYTES_MAX,
        "its path has {bytes} bytes; a socket's may have {PATH_BYTES_MAX}"
    );
    let making = dir.join(MAKING);
    match fs::remove_dir_all(&making) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => DirBuilder::new().mode(0o700).create(&making)?,
    }
    let unnamed = making.join("s");
    let listener = UnixListener::bind(&unnamed)?;
    fs::set_permissions(&unnamed, Permissions::from_mode(0o600))?;
    fs::rename(&unnamed, path)?;
    fs::remove_dir(&making)?;
    Ok(listener)
}
