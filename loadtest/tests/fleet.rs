//! A simulated fleet on a gateway of the test's own: real sockets, real agents, real tunnels.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use filature_loadtest::fleet::{Fleet, FleetSettings, Manner, Spread};
use filature_provider_sdk::Hello;
use filature_provider_sdk::tunnel::{CHALLENGE_HEADER, HELLO_PATH, verify_hello};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Tunnel = http2::SendRequest<Full<Bytes>>;

/// As much of a gateway as a fleet sees: it takes tunnels, asks who is there, and tells how many there are.
#[derive(Clone, Default)]
struct Gateway {
    tunnels: Arc<Mutex<BTreeMap<String, Tunnel>>>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Gateway {
    async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = self.clone();
        self.tasks.lock().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let here = gateway.clone();
                let service = service_fn(move |request| here.clone().answer(request));
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                gateway.tasks.lock().spawn(async move { drop(connection.await) });
            }
        });
        url
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        if request.uri().path() == "/metrics" {
            let text = format!(
                "# TYPE filature_tunnels_open gauge\nfilature_tunnels_open {}\n",
                self.tunnels.lock().len()
            );
            return Ok(Response::new(Full::from(text)));
        }
        let tasks = Arc::clone(&self.tasks);
        tasks.lock().spawn(async move { self.hold(request).await });
        let upgraded = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        let upgraded = upgraded
            .header("connection", "Upgrade")
            .header("upgrade", "filature-tunnel");
        Ok(upgraded.body(Full::default()).unwrap())
    }

    async fn hold(self, request: Request<Incoming>) {
        let authority = request.headers()["host"].to_str().unwrap().to_owned();
        let upgraded = hyper::upgrade::on(request).await.unwrap();
        let (mut tunnel, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(TokioIo::new(upgraded)))
            .await
            .unwrap();
        let hello = async {
            let challenge = "ab".repeat(32);
            let request = Request::get(format!("http://agent{HELLO_PATH}")).header(CHALLENGE_HEADER, &challenge);
            let answer = tunnel
                .send_request(request.body(Full::default()).unwrap())
                .await
                .unwrap();
            let hello: Hello = serde_json::from_slice(&answer.collect().await.unwrap().to_bytes()).unwrap();
            let now = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis();
            let offer = verify_hello(&hello, &challenge, &authority, u64::try_from(now).unwrap()).unwrap();
            self.tunnels.lock().insert(offer.name.clone(), tunnel);
            offer.name
        };
        // The connection is driven on while and after the hello is said.
        let driven = async { drop(connection.await) };
        tokio::pin!(driven);
        let name = tokio::select! { name = hello => name, () = &mut driven => return };
        driven.await;
        self.tunnels.lock().remove(&name);
    }

    async fn chat(&self, provider: &str, sim: Value) -> (StatusCode, Value) {
        let mut tunnel = self.tunnels.lock()[provider].clone();
        let body = json!({"model": "sim-small", "messages": [{"role": "user", "content": "hi"}], "sim": sim});
        let request = Request::post("http://agent/v1/chat/completions").header("content-type", "application/json");
        let answer = tunnel
            .send_request(request.body(Full::from(body.to_string())).unwrap())
            .await
            .unwrap();
        let status = answer.status();
        (
            status,
            serde_json::from_slice(&answer.collect().await.unwrap().to_bytes()).unwrap(),
        )
    }
}

fn settings(gateway: String) -> FleetSettings {
    let spread = Spread {
        ttft_ms: 2.0,
        itl_ms: 0.1,
        ..Spread::default()
    };
    FleetSettings {
        gateways: vec![gateway],
        providers: 3,
        spread,
        ..FleetSettings::default()
    }
}

#[tokio::test]
async fn every_provider_serves_calls_through_its_tunnel_until_it_drains() {
    let gateway = Gateway::default();
    let fleet = Fleet::start(settings(gateway.start().await)).await.unwrap();
    fleet.ready(Duration::from_secs(20)).await.unwrap();
    for provider in fleet.providers() {
        let (status, answer) = gateway.chat(&provider.name, json!({})).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["system_fingerprint"], format!("sim-{}", provider.name));
        assert_eq!(provider.engine.stats().finished, 1);
    }
    // A call that runs when the fleet is told to go is answered to its end.
    let running = gateway.chat("sim-2", json!({"ttft_ms": 400}));
    let going = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fleet.shutdown().await
    };
    let ((status, answer), gone) = tokio::join!(running, going);
    assert_eq!(
        (status, answer["choices"][0]["finish_reason"].as_str()),
        (StatusCode::OK, Some("stop"))
    );
    gone.unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while !gateway.tunnels.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("all tunnels are closed");
}

#[tokio::test]
async fn bad_manners_are_those_of_the_first_and_they_are_cheap() {
    let gateway = Gateway::default();
    let spread = Spread {
        sigma: 0.0,
        ..settings(String::new()).spread
    };
    let fleet = Fleet::start(FleetSettings {
        manners: vec![Manner::FastFailer, Manner::Liar],
        bait: 0.5,
        spread,
        ..settings(gateway.start().await)
    })
    .await
    .unwrap();
    fleet.ready(Duration::from_secs(20)).await.unwrap();
    let prices: Vec<_> = fleet.providers().iter().map(|each| each.traits.price.prompt).collect();
    assert_eq!(prices, [25_000_000, 25_000_000, 50_000_000]);
    let (status, _) = gateway.chat("sim-1", json!({})).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let calls = (0..3).map(|_| gateway.chat("sim-2", json!({"ttft_ms": 60_000})));
    let calls = futures_util::future::join_all(calls);
    let liar = &fleet.providers()[1].engine;
    let caught = async {
        while liar.stats().waiting < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = filature_loadtest::client::Client::new(&liar.url(), None).unwrap();
        String::from_utf8(client.get("/metrics").await.unwrap().to_vec()).unwrap()
    };
    let metrics = tokio::select! { _ = calls => panic!("nobody waits a minute"), metrics = caught => metrics };
    assert!(
        metrics
            .lines()
            .all(|line| line.starts_with('#') || line.ends_with(" 0")),
        "{metrics}"
    );
    let (status, _) = gateway.chat("sim-3", json!({})).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn sixty_providers_are_there_within_seconds() {
    let gateway = Gateway::default();
    let began = std::time::Instant::now();
    let fleet = Fleet::start(FleetSettings {
        providers: 60,
        ..settings(gateway.start().await)
    })
    .await
    .unwrap();
    fleet.ready(Duration::from_secs(20)).await.unwrap();
    println!("60 providers after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn kept_keys_give_the_same_providers_again() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1".to_owned();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let keys = Some(folder.path().join("keys"));
        let fleet = Fleet::start(FleetSettings {
            keys,
            ..settings(nowhere.clone())
        })
        .await
        .unwrap();
        assert!(fleet.ready(Duration::from_millis(50)).await.is_err());
        ids.push(fleet.providers().iter().map(|provider| provider.id).collect::<Vec<_>>());
        fleet.shutdown().await.unwrap();
    }
    assert_eq!(ids[0], ids[1]);
}
