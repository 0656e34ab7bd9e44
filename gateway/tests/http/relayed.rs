//! A gateway that passes an agent's proof on to another, to be taken for the agent there.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use filature_loadtest::fleet::{Fleet, FleetSettings};
use filature_provider_sdk::Dialect;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const PATIENCE: Duration = Duration::from_secs(60);

/// Passes every connection on byte for byte, as a gateway in the middle would, and says when one has ended.
struct Relay {
    port: u16,
    ended: mpsc::UnboundedReceiver<()>,
    _connections: JoinSet<()>,
}

impl Relay {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let (tell, ended) = mpsc::unbounded_channel();
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut under_way = JoinSet::new();
            while let Ok((mut agent, _)) = listener.accept().await {
                let tell = tell.clone();
                under_way.spawn(async move {
                    let gateway = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
                    let _ = tokio::io::copy_bidirectional(&mut agent, &mut gateway.expect("the gateway")).await;
                    let _ = tell.send(());
                });
            }
        });
        Self {
            port: own,
            ended,
            _connections: connections,
        }
    }
}

async fn agent_of(port: u16) -> Fleet {
    let settings = FleetSettings {
        gateways: vec![format!("http://127.0.0.1:{port}")],
        providers: 1,
        dialect: Some(Dialect::Vllm),
        ..FleetSettings::default()
    };
    Fleet::start(settings).await.expect("a fleet")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_for_another_gateway_lets_nobody_in() {
    let named = "public_authority = \"127.0.0.1:OWN_PORT\"";
    let gateway = Gateway::launch(named, "[tunnels]\nstatus_every_ms = 20\n", Vec::new()).await;
    let mut exchanges = Exchanges::new(&gateway);
    let mut relay = Relay::to(gateway.port).await;
    let fleet = agent_of(relay.port).await;
    // The agent signed the relay's name; it is told so, tries again, and is refused again.
    for _ in 0..2 {
        let refused = tokio::time::timeout(PATIENCE, relay.ended.recv()).await;
        assert_eq!(refused, Ok(Some(())), "the tunnel through the relay stays");
        assert_eq!(exchanges.get("/v1/models/sim-small").await.status, 404);
    }
    drop(fleet);
    let _fleet = agent_of(gateway.port).await;
    let began = Instant::now();
    while exchanges.get("/v1/models/sim-small").await.status != 200 {
        assert!(
            began.elapsed() < PATIENCE,
            "who dials by the gateway's name is never let in"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_gateway_without_a_name_lets_in_only_who_dials_its_own_machine() {
    let gateway = Gateway::launch("", "", Vec::new()).await;
    for (host, status) in [
        ("127.0.0.1:1", 101),
        ("[::1]", 101),
        ("localhost:8080", 101),
        ("gate.example", 400),
        ("10.0.0.1", 400),
    ] {
        let head = format!(
            "GET /provider/v1/tunnel HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: filature-tunnel\r\n\r\n"
        );
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, gateway.port))
            .await
            .expect("the gateway");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{host}");
    }
}
