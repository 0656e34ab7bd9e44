//! A real model: two llama.cpp servers with SmolLM2, greedy. One is killed in the middle of a stream, or its agent is, and
//! the stream reads on as if nothing had been.
//!
//! The engines run with `--exact`: without it a text continued from its middle may turn off at a near tie, since a prompt is
//! computed by other kernels than a token. Needs `target/python` (`make faults` makes it).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use filature_openapi::sse::{DONE, EventDecoder};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::caller::Client;
use crate::process::Process;
use crate::stack::{LedgerKind, Plan, Stack, free_port, program};
use crate::wait;

const MODEL: &str = "smollm2-135m-instruct";
/// How long a provider may take to be back, its breaker closed.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long one answer may take.
const CALL_MAX: Duration = Duration::from_secs(120);
const TOKENS: u32 = 64;
/// What is asked, the half that is killed, and after how many pieces of text.
const ROUNDS: [(&str, Half, usize); 4] = [
    ("Write a short story about a silkworm and a river.", Half::Engine, 8),
    ("List five facts about copper, numbered.", Half::Agent, 20),
    (
        "Write a python function that adds two numbers, with comments.",
        Half::Engine,
        25,
    ),
    ("Explain to a child how rain is made.", Half::Engine, 47),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Engine,
    Agent,
}

#[test]
#[ignore = "minutes long: make faults"]
fn a_real_models_stream_reads_on_after_its_engine_or_agent_is_killed() {
    let stack = Stack::start(Plan {
        ledger: LedgerKind::Embedded,
        providers: Vec::new(),
        gateway: Vec::new(),
    });
    let mut providers: Vec<_> = (0..2).map(|number| Real::start(&stack, number)).collect();
    for (number, (question, half, cut)) in ROUNDS.into_iter().enumerate() {
        wait_until_well(&stack, providers.len());
        let truth: Vec<_> = providers
            .iter()
            .map(|real| stack.runtime.block_on(Reading::all(&real.client, question)).text())
            .collect();
        assert_eq!(truth[0], truth[1], "equal engines say the same, greedy");
        // Each in turn: one that broke two streams in a row would be shunned for as long as another is well.
        let first = &providers[number % providers.len()].id;
        let mut reading = stack
            .runtime
            .block_on(Reading::begin(&stack.client, question, Some(first)));
        stack.runtime.block_on(reading.read(Some(cut)));
        let serving = providers.iter().position(|real| real.id == reading.provider);
        let victim = &mut providers[serving.expect("one of the two serves")];
        victim.kill(half);
        stack.runtime.block_on(reading.read(None));
        let text = reading.text();
        let same = text.chars().zip(truth[0].chars()).take_while(|(a, b)| a == b).count();
        println!(
            "  round {number}: {half:?} killed after {cut} pieces, {:?}: {same} of {} characters as uninterrupted, splices {}",
            reading.finish,
            truth[0].chars().count(),
            reading.splices
        );
        assert_eq!(reading.error, None, "nobody is told of an error");
        assert_eq!(text, truth[0], "the text reads on");
        assert_eq!(reading.splices.as_array().map(Vec::len), Some(1));
        assert_eq!(reading.usage["completion_tokens"], TOKENS, "{}", reading.usage);
        assert!(
            reading.is_done && reading.ids.len() == 1 && reading.roles == 1,
            "{reading:?}"
        );
        victim.revive(&stack, half);
    }
    for (name, log) in stack.logs() {
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
}

/// Waits until all providers are there and none is shunned.
fn wait_until_well(stack: &Stack, providers: usize) {
    wait::until_true("all providers to be well", READY_MAX, || {
        let page = stack
            .runtime
            .block_on(stack.client.get(&format!("/v1/models/{MODEL}/endpoints")));
        let page = page.unwrap_or_default();
        let endpoints = page["data"]["endpoints"].as_array().or(page["endpoints"].as_array());
        endpoints.is_some_and(|all| all.len() == providers && all.iter().all(|each| each["status"] == 0))
    });
}

/// A llama.cpp server and its agent.
struct Real {
    id: String,
    client: Client,
    number: usize,
    port: u16,
    engine: Option<Process>,
    agent: Option<Process>,
}

impl Real {
    fn start(stack: &Stack, number: usize) -> Self {
        let key_file = stack.path().join(format!("real-{number}.key"));
        let made = Command::new(program("filature-provider"))
            .args(["key", "new", "--key-file"])
            .arg(&key_file)
            .output()
            .expect("filature-provider runs");
        assert!(made.status.success(), "no key: {made:?}");
        let port = free_port();
        let mut real = Self {
            id: String::from_utf8_lossy(&made.stdout).trim().to_owned(),
            client: Client::new(&format!("http://127.0.0.1:{port}"), "none"),
            number,
            port,
            engine: None,
            agent: None,
        };
        real.revive(stack, Half::Engine);
        real.revive(stack, Half::Agent);
        real
    }

    fn kill(&mut self, half: Half) {
        let process = match half {
            Half::Engine => &mut self.engine,
            Half::Agent => &mut self.agent,
        };
        process.take().expect("it runs").kill();
    }

    fn revive(&mut self, stack: &Stack, half: Half) {
        match half {
            Half::Engine => {
                let house = Path::new(env!("CARGO_MANIFEST_DIR"));
                let python: PathBuf = house.join("../target/python/bin/python");
                assert!(
                    python.is_file(),
                    "{} is missing: `make faults` makes it",
                    python.display()
                );
                let script = house.join("demo/llm_engine.py").display().to_string();
                let listen = format!("127.0.0.1:{}", self.port);
                let args = [
                    &script, "--exact", "--slots", "2", "--model", MODEL, "--listen", &listen,
                ]
                .map(str::to_owned);
                let mut engine = Process::start(stack.path(), &format!("real-engine-{}", self.number), &python, &args);
                engine.wait_for_line("ready base_url=");
                self.engine = Some(engine);
            }
            Half::Agent => {
                let key_file = stack
                    .path()
                    .join(format!("real-{}.key", self.number))
                    .display()
                    .to_string();
                let (engine, name) = (self.client.origin(), format!("real-{}", self.number));
                let pairs = [
                    ("--gateway", stack.client.origin()),
                    ("--engine", engine),
                    ("--key-file", &key_file),
                    ("--name", &name),
                    ("--model", MODEL),
                    ("--dialect", "llama.cpp"),
                    ("--price-prompt", "50000000"),
                    ("--price-completion", "200000000"),
                    ("--concurrency", "2"),
                    ("--context-tokens", "2048"),
                    ("--quantization", "q4_1"),
                ];
                let mut args = vec!["run".to_owned()];
                args.extend(
                    pairs
                        .into_iter()
                        .flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]),
                );
                let agent = format!("real-agent-{}", self.number);
                self.agent = Some(Process::start(
                    stack.path(),
                    &agent,
                    &program("filature-provider"),
                    &args,
                ));
            }
        }
    }
}

/// An answer that is being read.
#[derive(Debug)]
struct Reading {
    body: hyper::body::Incoming,
    decoder: EventDecoder,
    provider: String,
    pieces: Vec<String>,
    ids: std::collections::BTreeSet<String>,
    roles: usize,
    finish: Option<String>,
    usage: Value,
    splices: Value,
    error: Option<Value>,
    is_done: bool,
}

impl Reading {
    async fn all(client: &Client, question: &str) -> Self {
        let mut reading = Self::begin(client, question, None).await;
        reading.read(None).await;
        reading
    }

    /// Asks; `first` is the provider that is tried first.
    async fn begin(client: &Client, question: &str, first: Option<&str>) -> Self {
        let mut body = json!({
            "model": MODEL,
            "messages": [{ "role": "user", "content": question }],
            "temperature": 0,
            "max_tokens": TOKENS,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if let Some(first) = first {
            body["provider"] = json!({ "order": [first] });
        }
        let response = client
            .post("/v1/chat/completions", body.to_string())
            .await
            .expect("an answer");
        assert_eq!(response.status(), 200);
        let provider = response.headers().get("filature-provider");
        Self {
            provider: provider.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned(),
            body: response.into_body(),
            decoder: EventDecoder::new(1 << 20),
            pieces: Vec::new(),
            ids: std::collections::BTreeSet::new(),
            roles: 0,
            finish: None,
            usage: Value::Null,
            splices: Value::Null,
            error: None,
            is_done: false,
        }
    }

    fn text(&self) -> String {
        self.pieces.concat()
    }

    /// Reads until so many pieces of text are there, or to the end.
    async fn read(&mut self, pieces: Option<usize>) {
        let reading = async {
            while pieces.is_none_or(|pieces| self.pieces.len() < pieces) {
                let Some(frame) = self.body.frame().await else { return };
                let Ok(data) = frame.expect("the gateway lives").into_data() else {
                    continue;
                };
                self.decoder.push(data);
                while let Some(event) = self.decoder.next_event().expect("an event") {
                    match event.data {
                        Some(data) if data == DONE => self.is_done = true,
                        Some(data) => self.take(&serde_json::from_slice(&data).expect("JSON")),
                        None => {}
                    }
                }
            }
        };
        tokio::time::timeout(CALL_MAX, reading).await.expect("an end in time");
    }

    fn take(&mut self, chunk: &Value) {
        self.ids.extend(chunk["id"].as_str().map(str::to_owned));
        let choice = &chunk["choices"][0];
        self.roles += usize::from(choice["delta"]["role"].is_string());
        let text = choice["delta"]["content"].as_str().filter(|text| !text.is_empty());
        self.pieces.extend(text.map(str::to_owned));
        self.finish = choice["finish_reason"]
            .as_str()
            .map(str::to_owned)
            .or(self.finish.take());
        if chunk["usage"].is_object() {
            self.usage = chunk["usage"].clone();
        }
        if chunk["error"].is_object() {
            self.error = Some(chunk["error"].clone());
        }
        if chunk["filature"].is_object() {
            self.splices = chunk["filature"]["splices"].clone();
        }
    }
}
