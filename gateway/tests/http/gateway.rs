//! A gateway of the test's own, with an embedded ledger, a customer and two simulated engines.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{AccountId, KeyLimits, Nano};
use filature_gateway::admin::{AdminClient, CreatedKey, Credit, NewKey, SOCKET};
use filature_gateway::config::{Config, Sources, Written};
use filature_loadtest::engine::{Engine, EngineSettings};
use tempfile::TempDir;

use crate::redis::Redis;

/// How long the gateway may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A running gateway. It lives as long as the test's process.
pub struct Gateway {
    pub port: u16,
    /// Where the admin API is, if it was asked for.
    pub admin_port: u16,
    /// What an operator does.
    pub admin: AdminClient,
    /// The account of `key`.
    pub account: AccountId,
    /// A key with credit.
    pub key: String,
    /// A key of an account without any.
    pub poor_key: String,
    /// A key that was revoked.
    pub revoked_key: String,
    _engines: Vec<Engine>,
    _data: TempDir,
    _redis: Option<Redis>,
}

/// Two engines that say five tokens.
pub async fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for name in ["first", "second"] {
        let models = ["sim-small", "sim-pair", "engines/sim-large"]
            .map(str::to_owned)
            .to_vec();
        let settings = EngineSettings {
            name: name.to_owned(),
            models,
            tokens: 5,
            ..EngineSettings::default()
        };
        engines.push(Engine::start(settings).await.expect("an engine"));
    }
    engines
}

/// Where a gateway keeps its money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Embedded,
    Redis,
}

impl Gateway {
    /// Starts everything. The model `sim-small` is served by the first engine, `sim-large` by the second under another
    /// name, `sim-pair` by both.
    pub async fn start() -> Self {
        let engines = engines().await;
        let server = "body_bytes_max = 65536\nbody_read_timeout_ms = 300";
        let rest = providers(&engines);
        Self::launch(server, &rest, engines).await
    }

    /// Starts a gateway of one worker with the lines `server` in `[server]` and the tables `rest`. It keeps `engines`.
    pub async fn launch(server: &str, rest: &str, engines: Vec<Engine>) -> Self {
        Self::launch_on(Kept::Embedded, server, rest, engines).await
    }

    /// Starts a gateway on either ledger. `ADMIN_PORT` in `rest` is replaced by a free port, `OWN_PORT` in `server` by the
    /// gateway's.
    pub async fn launch_on(kept: Kept, server: &str, rest: &str, engines: Vec<Engine>) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        Self::launch_in(data, kept, server, rest, engines).await
    }

    /// The same in a folder that may have a ledger already.
    pub async fn launch_in(data: TempDir, kept: Kept, server: &str, rest: &str, engines: Vec<Engine>) -> Self {
        let redis = (kept == Kept::Redis).then(|| Redis::start(data.path()));
        let [port, admin_port] = free_ports();
        let url = redis.as_ref().map(|redis| format!("redis = {:?}", redis.url()));
        let rest = rest.replace("ADMIN_PORT", &admin_port.to_string());
        let server = &server.replace("OWN_PORT", &port.to_string());
        let text = settings(port, data.path(), server, &url.unwrap_or_default(), &rest);
        let file = Some(Written {
            path: "test.toml".to_owned(),
            text,
        });
        let config = Config::load(&Sources {
            file,
            ..Sources::default()
        })
        .expect("a good configuration");
        std::thread::spawn(|| filature_gateway::serve::run(config).expect("the gateway runs"));
        let admin = match &redis {
            Some(redis) => {
                let ledger = filature_billing::open_redis(&redis.url()).await.expect("a ledger");
                AdminClient::here(Arc::new(ledger))
            }
            None => admin(data.path()).await,
        };
        let (account, key) = customer(&admin, 2_000_000_000).await;
        let (_, poor_key) = customer(&admin, 0).await;
        let revoked_key = revoked(&admin).await;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(began.elapsed() < START_MAX, "the gateway does not listen");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Self {
            port,
            admin_port,
            admin,
            account,
            key,
            poor_key,
            revoked_key,
            _engines: engines,
            _data: data,
            _redis: redis,
        }
    }

    /// Another key of the first account, with these limits (JSON).
    pub async fn limited(&self, limits: &str) -> CreatedKey {
        let new = NewKey {
            account: self.account.clone(),
            name: "limited".to_owned(),
            expires_ms: None,
            limits: serde_json::from_str(limits).expect("limits"),
        };
        self.admin.create_key(&new).await.expect("a key")
    }
}

pub fn free_ports<const N: usize>() -> [u16; N] {
    let free = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    free.map(|free| free.local_addr().expect("its address").port())
}

fn settings(port: u16, data: &Path, server: &str, redis: &str, rest: &str) -> String {
    format!(
        r#"
        [server]
        listen = "127.0.0.1:{port}"
        workers = 1
        {server}

        [ledger]
        data = {data:?}
        {redis}

        [telemetry]
        log = "error"

        {rest}
        "#
    )
}

pub fn providers(engines: &[Engine]) -> String {
    let (first, second) = (engines[0].url(), engines[1].url());
    format!(
        r#"
        [routing]
        queue_wait_ms = 300

        [[providers]]
        name = "first"
        url = "{first}"
        [[providers.models]]
        model = "sim-small"
        capabilities = ["tools", "json_schema", "logprobs"]
        price = {{ prompt = 20_000_000, completion = 60_000_000, call = 100 }}
        [[providers.models]]
        model = "sim-pair"
        price = {{ prompt = 10_000_000, completion = 30_000_000 }}

        [[providers]]
        name = "second"
        url = "{second}"
        [[providers.models]]
        model = "sim-pair"
        price = {{ prompt = 900_000_000, completion = 900_000_000, call = 100 }}
        [[providers.models]]
        model = "sim-large"
        engine_model = "engines/sim-large"
        endpoints = ["chat"]
        price = {{ prompt = 1_000_000, completion = 2_000_000 }}
        "#
    )
}

async fn admin(data: &Path) -> AdminClient {
    let began = Instant::now();
    loop {
        match AdminClient::connect(&data.join(SOCKET)).await {
            Ok(admin) => return admin,
            Err(error) => assert!(began.elapsed() < START_MAX, "no socket: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A new account with `credit_nano`, and a key of it.
pub async fn customer(admin: &AdminClient, credit_nano: u64) -> (AccountId, String) {
    let account = admin.create_account("a customer").await.expect("an account").id;
    if credit_nano > 0 {
        let credit = Credit {
            amount: Nano::new(credit_nano).expect("an amount"),
            id: None,
        };
        admin.credit(&account, &credit).await.expect("credit");
    }
    let new = NewKey {
        account: account.clone(),
        name: "laptop".to_owned(),
        expires_ms: None,
        limits: KeyLimits::default(),
    };
    (account, admin.create_key(&new).await.expect("a key").key)
}

async fn revoked(admin: &AdminClient) -> String {
    let account = admin.create_account("somebody else").await.expect("an account").id;
    let new = NewKey {
        account,
        name: "lost".to_owned(),
        expires_ms: None,
        limits: KeyLimits::default(),
    };
    let created = admin.create_key(&new).await.expect("a key");
    admin.revoke_key(&created.record.id).await.expect("revoked");
    created.key
}
