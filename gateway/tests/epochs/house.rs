//! Gateways that are processes, an engine they sell, a ledger, a customer, and the commands of whoever checks them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use filature_loadtest::engine::{Engine, EngineSettings};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::home::{free_port, program};
use crate::operator::Operator;
use crate::process::{Process, without_settings};

/// How long anything may take that is waited for. Long, since builds may keep the machine busy beside the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Redis,
}

/// One gateway's place: its port, its data folder.
pub struct Place {
    pub client: Client,
    pub data: PathBuf,
    port: u16,
    name: String,
}

/// Everything of one test.
pub struct House {
    // Dropped from the top: gateways before what they need, files last.
    pub operator: Operator,
    key: String,
    redis: Option<(Process, String)>,
    _engine: Engine,
    config: PathBuf,
    home: TempDir,
}

/// A call that was made.
pub struct Made {
    pub id: String,
    pub request: String,
    pub response: Vec<u8>,
}

/// How a command ended.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl House {
    pub async fn new(kind: Kind) -> Self {
        Self::paid(kind, "").await
    }

    /// A house whose engine is paid as the line `payout` of its table says.
    pub async fn paid(kind: Kind, payout: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let engine = EngineSettings {
            name: "engine".to_owned(),
            models: vec!["sim-small".to_owned()],
            tokens: 7,
            ..EngineSettings::default()
        };
        let engine = Engine::start(engine).await.expect("an engine");
        let config = home.path().join("filature.toml");
        let text = format!(
            r#"
            [[providers]]
            name = "engine"
            url = "{}"
            {payout}
            [[providers.models]]
            model = "sim-small"
            price = {{ prompt = 20_000_000, completion = 60_000_000, call = 100 }}
            "#,
            engine.url()
        );
        std::fs::write(&config, text).expect("written");
        let redis = (kind == Kind::Redis).then(|| start_redis(home.path()));
        let ledger = match &redis {
            Some((_, url)) => vec!["--redis".to_owned(), url.clone()],
            None => vec!["--data".to_owned(), home.path().join("one").display().to_string()],
        };
        let operator = Operator {
            program: program("filature"),
            ledger,
        };
        let (_, key, _) = operator.customer("1000");
        Self {
            operator,
            key,
            redis,
            _engine: engine,
            config,
            home,
        }
    }

    /// A place for a gateway. With the embedded ledger there is one, of the name `one`.
    pub fn place(&self, name: &str) -> Place {
        let port = free_port();
        Place {
            client: Client::new(&format!("http://127.0.0.1:{port}"), &self.key),
            data: self.home.path().join(name),
            port,
            name: name.to_owned(),
        }
    }

    /// Starts a gateway that closes an epoch whenever there is something to seal for `age_ms`, and waits until it serves.
    pub async fn gateway(&self, place: &Place, age_ms: u64, more: &[&str]) -> Process {
        let process = self.start(place, age_ms, more);
        let began = Instant::now();
        while place.client.get("/healthz").await.is_none() {
            assert!(
                began.elapsed() < PATIENCE,
                "the gateway does not serve: {}",
                process.printed()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process
    }

    /// Starts a program of the workspace in the house's folder and waits for nothing.
    pub fn run(&self, name: &str, args: &[&str]) -> Process {
        let args: Vec<_> = args.iter().map(|&arg| arg.to_owned()).collect();
        Process::start(self.home.path(), name, &program("filature"), &args)
    }

    /// How a command finds the ledger and the settings of a gateway.
    pub fn settings(&self, place: &Place) -> Vec<String> {
        let mut args = vec!["--config".to_owned(), self.config.display().to_string()];
        args.extend(["--data".to_owned(), place.data.display().to_string()]);
        if let Some((_, url)) = &self.redis {
            args.extend(["--redis".to_owned(), url.clone()]);
        }
        args
    }

    /// Starts a gateway and waits for nothing.
    pub fn start(&self, place: &Place, age_ms: u64, more: &[&str]) -> Process {
        let mut args: Vec<String> = ["serve", "--listen"].map(str::to_owned).to_vec();
        args.push(format!("127.0.0.1:{}", place.port));
        args.extend(self.settings(place));
        args.extend(["--epochs-age-ms".to_owned(), age_ms.to_string()]);
        args.extend(["--server-workers", "1", "--ledger-hold-lease-ms", "4000"].map(str::to_owned));
        args.extend(more.iter().map(|&word| word.to_owned()));
        Process::start(self.home.path(), &place.name, &program("filature"), &args)
    }

    /// A client with a key of another account.
    pub fn stranger(&self, place: &Place) -> Client {
        let (_, key, _) = self.operator.customer("1");
        Client::new(place.client.origin(), &key)
    }

    /// Runs `filature` in the house's folder.
    pub fn filature(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(program("filature"));
        without_settings(&mut command);
        ran(command.args(args).current_dir(self.home.path()))
    }

    /// A path in the house's folder.
    pub fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// The house's folder.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into the house's folder and returns its path.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// Runs the Python of the page on a receipt.
    pub fn python(&self, receipt: &str, key: &str) -> Ran {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verify-receipt.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let (_, rest) = page.split_once("```python\n").expect("a block of Python");
        let (script, _) = rest.split_once("```").expect("its end");
        let script = self.file("verify.py", script);
        ran(Command::new("python3").args([&script, receipt, key]))
    }

    /// Waits until everything that was charged is sealed and nothing is held, and returns what `epochs verify` says.
    pub async fn all_sealed(&self, store: &str) -> Value {
        let began = Instant::now();
        loop {
            let totals = self.operator.books().totals;
            let ran = self.filature(&["epochs", "verify", "--store", store, "--json"]);
            let verdict = serde_json::from_str::<Value>(&ran.out);
            let sealed = verdict.as_ref().map(|verdict| &verdict["totals"]);
            if let (Ok(sealed), 0) = (sealed, ran.code)
                && sealed["cost"] == totals.spent.get()
                && totals.held.is_zero()
            {
                assert_eq!(sealed["fee"], totals.fees.get());
                assert_eq!(sealed["earned"], totals.earned.get());
                assert!(totals.are_conserved(), "{totals:?}");
                return verdict.expect("a verdict");
            }
            // What is sealed is never more than what was charged.
            assert!(sealed.is_ok_and(|s| s["cost"].as_u64() <= Some(totals.spent.get())) || ran.code != 0);
            assert!(began.elapsed() < PATIENCE, "not all is sealed: {} {}", ran.out, ran.err);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Place {
    /// Makes a call to its end; what went wrong where the gateway was killed meanwhile.
    pub async fn call(&self, stream: bool, words: &str) -> Result<Made, String> {
        self.call_of("sim-small", stream, words).await
    }

    /// As [`Place::call`], of another model.
    pub async fn call_of(&self, model: &str, stream: bool, words: &str) -> Result<Made, String> {
        let request =
            format!(r#"{{"model":"{model}","stream":{stream},  "messages":[{{"role":"user","content":"{words}"}}]}}"#);
        let response = self.client.post("/v1/chat/completions", request.clone()).await?;
        let status = response.status();
        let id = response
            .headers()
            .get("x-generation-id")
            .map(|id| id.to_str().expect("text").to_owned());
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        let body = body.to_bytes().to_vec();
        match id {
            Some(id) if status.is_success() => Ok(Made {
                id,
                request,
                response: body,
            }),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
        }
    }

    /// Waits until the receipt of a call has its proof.
    pub async fn sealed(&self, id: &str) -> Value {
        let began = Instant::now();
        loop {
            if let Some(receipt) = self.client.get(&format!("/v1/receipts/{id}")).await
                && receipt.get("inclusion").is_some()
            {
                return receipt;
            }
            assert!(began.elapsed() < PATIENCE, "{id} is not sealed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn start_redis(home: &Path) -> (Process, String) {
    let port = free_port().to_string();
    let options = [
        ["--bind", "127.0.0.1"],
        ["--port", &port],
        ["--appendonly", "yes"],
        ["--save", ""],
    ];
    let args: Vec<_> = options.as_flattened().iter().map(|&arg| arg.to_owned()).collect();
    let mut redis = Process::start(home, "redis", Path::new("redis-server"), &args);
    redis.wait_for_line("Ready to accept connections");
    (redis, format!("redis://127.0.0.1:{port}"))
}
