//! Plays the gateway: accepts an agent's upgrade on a real listener and becomes the HTTP/2 client of that connection.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use filature_provider_sdk::tunnel::{CHALLENGE_HEADER, HELLO_PATH, STATUS_PATH, TUNNEL_PATH, UPGRADE, verify_hello};
use filature_provider_sdk::{Hello, Offer, Status};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::soon;

pub const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Any body a test sends.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A listener that agents dial.
pub struct Gateway {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// A tunnel an agent opened. Dropping it drops the connection, as a killed gateway would.
pub struct Tunnel {
    sender: http2::SendRequest<Body>,
    connection: JoinSet<()>,
    tasks: Tasks,
    /// The `Host` the agent dialled.
    pub authority: String,
    /// The path it asked for.
    pub path: String,
}

/// What hyper starts for a connection: it drives the socket from a task of its own, which has to go with the tunnel.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap().spawn(async move { drop(task.await) });
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.tasks.0.lock().unwrap().abort_all();
    }
}

impl Gateway {
    pub async fn new() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: None,
        }
    }

    pub fn with_tls(mut self, config: rustls::ServerConfig) -> Self {
        self.tls = Some(TlsAcceptor::from(Arc::new(config)));
        self
    }

    pub fn authority(&self) -> String {
        format!("localhost:{}", self.listener.local_addr().unwrap().port())
    }

    pub fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.tls.is_some() { "https" } else { "http" },
            self.authority()
        )
    }

    /// Waits for an agent and gives it its tunnel.
    pub async fn accept(&self) -> Tunnel {
        soon("an agent dials", async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            match &self.tls {
                None => upgrade(tcp).await,
                Some(tls) => upgrade(tls.accept(tcp).await.unwrap()).await,
            }
        })
        .await
    }

    /// Waits for an agent and shakes hands by TLS, no more.
    pub async fn refused_tls(&self) -> std::io::Result<()> {
        let (tcp, _) = soon("an agent dials", self.listener.accept()).await?;
        let tls = self.tls.as_ref().expect("a gateway with TLS");
        let mut stream = soon("a handshake", tls.accept(tcp)).await?;
        // In TLS 1.3 the client's refusal comes after the server's part is done.
        let mut byte = [0];
        soon("the agent's refusal", stream.read(&mut byte)).await.map(drop)
    }

    /// Waits for an agent and checks who it is.
    pub async fn greet(&self) -> (Tunnel, Offer) {
        let tunnel = self.accept().await;
        let hello = tunnel.hello(CHALLENGE).await;
        let offer = verify_hello(&hello, CHALLENGE, &self.authority(), now_ms()).unwrap();
        (tunnel, offer)
    }

    /// Waits for an agent and answers it with `status` and `body` instead of a tunnel.
    pub async fn turn_away(&self, status: u16, body: &'static str) {
        soon("an agent dials", async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let service = service_fn(move |_: Request<Incoming>| async move {
                let answer = Response::builder().status(status).body(Full::new(Bytes::from(body)));
                Ok::<_, Infallible>(answer.unwrap())
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(tcp), service)
                .await;
        })
        .await;
    }
}

async fn upgrade<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: T) -> Tunnel {
    let (upgrades, mut upgraded) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Request<Incoming>| {
        let upgrades = upgrades.clone();
        async move {
            assert_eq!(request.method(), Method::GET);
            assert_eq!(request.headers()["upgrade"], UPGRADE);
            assert!(
                request.headers()["connection"]
                    .to_str()
                    .unwrap()
                    .eq_ignore_ascii_case("upgrade")
            );
            let authority = request.headers()["host"].to_str().unwrap().to_owned();
            let path = request.uri().path().to_owned();
            assert!(path.ends_with(TUNNEL_PATH));
            upgrades.send((authority, path, hyper::upgrade::on(request))).unwrap();
            let answer = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", UPGRADE);
            Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
        }
    });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
    connection.with_upgrades().await.unwrap();
    let (authority, path, upgraded) = upgraded.recv().await.unwrap();
    let io = upgraded.await.unwrap();
    let tasks = Tasks::default();
    let (sender, h2) = http2::Builder::new(tasks.clone()).handshake(io).await.unwrap();
    let mut connection = JoinSet::new();
    connection.spawn(async move {
        let _ = h2.await;
    });
    Tunnel {
        sender,
        connection,
        tasks,
        authority,
        path,
    }
}

impl Tunnel {
    /// Sends a request down the tunnel and returns the head of the answer.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, hyper::Error> {
        // A sender clone per call: calls run side by side, as in a gateway.
        let mut sender = self.sender.clone();
        soon("room for a stream", sender.ready()).await?;
        sender.send_request(request).await
    }

    pub async fn call(&self, body: &'static str) -> Response<Incoming> {
        soon("an answer", self.send(chat(full(body)))).await.unwrap()
    }

    pub async fn hello(&self, challenge: &str) -> Hello {
        let request = get(HELLO_PATH, Some(challenge));
        let answer = soon("a hello", self.send(request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_slice(&bytes_of(answer).await).unwrap()
    }

    pub async fn status(&self) -> Status {
        let answer = soon("a status", self.send(get(STATUS_PATH, None))).await.unwrap();
        serde_json::from_slice(&bytes_of(answer).await).unwrap()
    }

    /// Waits until the agent has closed the connection.
    pub async fn closed(&mut self) {
        soon("the agent closes the tunnel", self.connection.join_next()).await;
    }
}

pub fn chat(body: Body) -> Request<Body> {
    let request = Request::post("http://agent/v1/chat/completions").header("content-type", "application/json");
    request.body(body).unwrap()
}

pub fn get(path: &str, challenge: Option<&str>) -> Request<Body> {
    let mut request = Request::get(format!("http://agent{path}"));
    if let Some(challenge) = challenge {
        request = request.header(CHALLENGE_HEADER, challenge);
    }
    request.body(full("")).unwrap()
}

pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// The whole body of an answer.
pub async fn bytes_of(answer: Response<Incoming>) -> Bytes {
    soon("the body", answer.into_body().collect()).await.unwrap().to_bytes()
}

pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
