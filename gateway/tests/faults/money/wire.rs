//! The wire between a gateway and its Redis: a TCP proxy that can lose what is sent, or break every connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Passes every byte on.
    Whole,
    /// Takes every byte and passes none on, in either direction. A connection that lived through it stays dead, and is
    /// never told so, as behind a firewall that forgot it.
    Swallows,
    /// Resets every connection, and each new one.
    Resets,
}

/// A wire to a port on this machine. Dropping it breaks it.
pub struct Wire {
    pub port: u16,
    way: watch::Sender<Way>,
    _runtime: Runtime,
}

impl Wire {
    /// A whole wire to `target`.
    pub fn to(target: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (way, seen) = watch::channel(Way::Whole);
        runtime.spawn(accept(listener, ([127, 0, 0, 1], target).into(), seen));
        Self {
            port,
            way,
            _runtime: runtime,
        }
    }

    /// Makes the wire do this from now on.
    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.expect("a connection");
        connections.spawn(connect(near, target, way.clone()));
    }
}

async fn connect(near: TcpStream, target: SocketAddr, mut way: watch::Receiver<Way>) {
    let began = *way.borrow_and_update();
    if began == Way::Resets {
        return reset(&near);
    }
    let Ok(far) = TcpStream::connect(target).await else {
        return reset(&near);
    };
    near.set_nodelay(true).expect("an option");
    far.set_nodelay(true).expect("an option");
    // From here on both ends are reset when they are dropped while `Resets` holds, and closed otherwise.
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(
        pass(near_read, far_write, way.clone(), began),
        pass(far_read, near_write, way, began),
    );
}

/// Passes on what one end says, until it ends or the wire breaks.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: watch::Receiver<Way>, began: Way) {
    let mut is_dead = began == Way::Swallows;
    let mut bytes = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            biased;
            changed = way.changed() => {
                let now = *way.borrow_and_update();
                if changed.is_err() || now == Way::Resets {
                    return reset(to.as_ref());
                }
                is_dead |= now == Way::Swallows;
                continue;
            }
            read = from.read(&mut bytes) => read,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(_) if is_dead => {}
            Ok(count) => {
                if to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Lets a connection end with a reset instead of a farewell.
fn reset(stream: &TcpStream) {
    // A connection that the other side has reset already needs none.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
