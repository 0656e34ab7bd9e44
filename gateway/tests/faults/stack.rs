//! A gateway with its ledger and its providers, every one a process of its own that can be killed and started again.
//!
//! What a provider is made of stands in [`provider`], where files and ports come from in [`home`].

mod home;
mod provider;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use filature_billing::{AccountId, EmbeddedLedger, EmbeddedSettings, Ledger, RedisLedger, RedisSettings};
use tokio::runtime::Runtime;

use crate::caller::Client;
use crate::operator::Operator;
use crate::process::Process;
use crate::wait;
use home::Home;
pub use home::{free_port, program};
pub use provider::{Provider, Terms, payout};

/// The model that every provider serves.
pub const MODEL: &str = "sim-small";
/// How long all providers may take to be back in a gateway's fleet: an agent's pauses between two tries double.
const JOINED_MAX: Duration = Duration::from_secs(40);
/// Where the account starts, in TON.
const CREDIT: &str = "1000";

/// Stands for the id of the customer's key in a plan's settings of the gateway.
pub const KEY_ID: &str = "{key}";

/// Which of the two ledgers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerKind {
    /// In the gateway's own folder.
    Embedded,
    /// In a Redis that writes to disk.
    Redis,
}

/// The URLs of a Redis that the test itself runs.
pub struct RedisUrls {
    /// Where the gateway reaches it.
    pub gateway: String,
    /// Where the operator and the books do.
    pub operator: String,
}

/// What is started.
pub struct Plan {
    pub ledger: LedgerKind,
    /// One provider for each.
    pub providers: Vec<Terms>,
    /// Settings of the gateway beside those every test has.
    pub gateway: Vec<String>,
}

/// All processes of one test, and the customer whose money is at stake.
pub struct Stack {
    // Dropped from the top: callers before the gateway, the gateway before what it needs, files last.
    pub runtime: Runtime,
    pub client: Client,
    gateway: Option<Process>,
    pub providers: Vec<Provider>,
    pub account: AccountId,
    kind: LedgerKind,
    settings: Vec<String>,
    port: u16,
    _redis: Option<Process>,
    redis: RedisUrls,
    home: Home,
}

impl Stack {
    /// Starts everything and waits until all providers are in the fleet.
    pub fn start(plan: Plan) -> Self {
        let home = Home::new();
        let (redis, url) = match plan.ledger {
            LedgerKind::Embedded => (None, String::new()),
            LedgerKind::Redis => {
                let (redis, url) = start_redis(&home);
                (Some(redis), url)
            }
        };
        let urls = RedisUrls {
            gateway: url.clone(),
            operator: url,
        };
        Self::start_in(home, plan, redis, urls)
    }

    /// As [`Stack::start`], on a Redis that the test itself runs.
    pub fn start_on(urls: RedisUrls, plan: Plan) -> Self {
        assert_eq!(plan.ledger, LedgerKind::Redis);
        Self::start_in(Home::new(), plan, None, urls)
    }

    fn start_in(home: Home, plan: Plan, redis: Option<Process>, urls: RedisUrls) -> Self {
        let ledger = ledger_arguments(plan.ledger, &home, &urls.operator);
        let operator = Operator {
            program: home::program("filature"),
            ledger,
        };
        let (account, key, key_id) = operator.customer(CREDIT);
        let port = free_port();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let mut stack = Self {
            runtime: runtime.expect("a runtime"),
            client: Client::new(&format!("http://127.0.0.1:{port}"), &key),
            gateway: None,
            providers: Vec::new(),
            account,
            kind: plan.ledger,
            settings: plan.gateway.iter().map(|word| word.replace(KEY_ID, &key_id)).collect(),
            port,
            _redis: redis,
            redis: urls,
            home,
        };
        stack.start_gateway();
        for (number, terms) in plan.providers.into_iter().enumerate() {
            stack.providers.push(Provider::start(&stack.home, number, terms, port));
        }
        stack.wait_until_joined();
        stack
    }

    /// Starts the gateway on its port and waits until it answers.
    pub fn start_gateway(&mut self) {
        let args = self.gateway_arguments();
        self.run_gateway(&home::program("filature"), &args);
    }

    /// As [`Stack::start_gateway`], in a shell that first runs `before` and becomes the gateway then.
    pub fn start_gateway_after(&mut self, before: &str) {
        let mut args = vec!["-c".to_owned(), format!("{before}; exec \"$@\""), "gateway".to_owned()];
        args.push(home::program("filature").display().to_string());
        args.extend(self.gateway_arguments());
        self.run_gateway(Path::new("bash"), &args);
    }

    fn run_gateway(&mut self, program: &Path, args: &[String]) {
        let mut gateway = Process::start(self.home.path(), "gateway", program, args);
        gateway.wait_until("serving", || {
            self.runtime.block_on(self.client.get("/healthz")).is_some()
        });
        self.gateway = Some(gateway);
    }

    fn gateway_arguments(&self) -> Vec<String> {
        let mut args = vec![
            "serve".to_owned(),
            "--listen".to_owned(),
            format!("127.0.0.1:{}", self.port),
        ];
        args.extend(["--data".to_owned(), self.data().display().to_string()]);
        if self.kind == LedgerKind::Redis {
            args.extend(["--redis".to_owned(), self.redis.gateway.clone()]);
        }
        args.extend(GATEWAY.iter().map(|&arg| arg.to_owned()));
        args.extend(self.settings.clone());
        args
    }

    /// The gateway's process.
    pub fn gateway(&self) -> &Process {
        self.gateway.as_ref().expect("the gateway runs")
    }

    /// Takes the gateway out, to kill it or to ask it to end.
    pub fn take_gateway(&mut self) -> Process {
        self.gateway.take().expect("the gateway runs")
    }

    /// How many providers the gateway has of the model, or `None` if it does not answer.
    pub fn joined(&self) -> Option<usize> {
        let models = self.runtime.block_on(self.client.get("/v1/models"))?;
        let count = models["data"].as_array()?.iter().find(|model| model["id"] == MODEL)?["providers"].as_u64()?;
        usize::try_from(count).ok()
    }

    /// Waits until all providers are in the fleet.
    pub fn wait_until_joined(&self) {
        let all = self.providers.len();
        if all == 0 {
            return;
        }
        wait::until_true("every provider to be in the fleet", JOINED_MAX, || {
            self.joined() == Some(all)
        });
    }

    /// What the customer's running calls hold, in nano, as the gateway says.
    pub fn held(&self) -> Option<u64> {
        self.runtime.block_on(self.client.get("/v1/credits"))?["data"]["held_nano"].as_u64()
    }

    /// The operator's command line.
    pub fn operator(&self) -> Operator {
        let ledger = ledger_arguments(self.kind, &self.home, &self.redis.operator);
        Operator {
            program: home::program("filature"),
            ledger,
        }
    }

    /// The ledger itself. The embedded one can only be opened while no gateway runs.
    pub fn open_ledger(&self) -> Arc<dyn Ledger> {
        match self.kind {
            LedgerKind::Embedded => {
                let opened = EmbeddedLedger::open(&self.data(), EmbeddedSettings::default());
                Arc::new(opened.expect("the ledger opens after its gateway has gone"))
            }
            LedgerKind::Redis => {
                let settings = RedisSettings {
                    deadline: Duration::from_secs(5),
                    ..RedisSettings::default()
                };
                let opened = self.runtime.block_on(RedisLedger::open(&self.redis.operator, settings));
                Arc::new(opened.expect("the ledger in Redis opens"))
            }
        }
    }

    /// Everything that all processes of this kind (`gateway`, `engine-0`, …) have printed, one log for each name.
    pub fn logs(&self) -> Vec<(String, String)> {
        self.home.logs()
    }

    /// The folder of logs, keys and ledger.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// The gateway's data folder.
    pub fn data(&self) -> std::path::PathBuf {
        self.home.path().join("data")
    }
}

/// Settings that make what takes minutes in operation take seconds here.
pub const GATEWAY: &[&str] = &[
    "--ledger-hold-lease-ms",
    "3000",
    "--ledger-deadline-ms",
    "750",
    "--ledger-sweep-every-ms",
    "200",
    "--tunnels-status-every-ms",
    "250",
    "--telemetry-log-format",
    "json",
];

fn ledger_arguments(kind: LedgerKind, home: &Home, redis_url: &str) -> Vec<String> {
    match kind {
        LedgerKind::Embedded => vec!["--data".to_owned(), home.path().join("data").display().to_string()],
        LedgerKind::Redis => vec!["--redis".to_owned(), redis_url.to_owned()],
    }
}

/// A Redis of its own, as durable as the README asks for.
fn start_redis(home: &Home) -> (Process, String) {
    let port = free_port().to_string();
    let options = [
        ["--bind", "127.0.0.1"],
        ["--port", &port],
        ["--appendonly", "yes"],
        ["--save", ""],
        ["--maxmemory-policy", "noeviction"],
    ];
    let args: Vec<_> = options.as_flattened().iter().map(|&arg| arg.to_owned()).collect();
    let mut redis = Process::start(home.path(), "redis", Path::new("redis-server"), &args);
    redis.wait_for_line("Ready to accept connections");
    (redis, format!("redis://127.0.0.1:{port}"))
}
