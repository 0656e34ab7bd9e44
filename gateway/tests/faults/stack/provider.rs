//! One provider: a simulated engine and the agent that sells it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use filature_billing::{Nano, Price};
use serde_json::Value;

use super::MODEL;
use super::home::{Home, free_port, program};
use crate::caller::Client;
use crate::process::Process;

/// What a provider asks, in nano per million tokens and nano per call.
#[derive(Clone, Copy)]
pub struct Terms {
    pub prompt: u64,
    pub completion: u64,
    pub call: u64,
    /// Calls at once.
    pub concurrency: u32,
}

impl Terms {
    /// Odd prices, so that nearly every cost has to be rounded, and no two providers ask the same.
    pub fn odd(number: u64) -> Self {
        Self {
            prompt: 1_000_003 + 70_001 * number,
            completion: 3_000_017 + 110_003 * number,
            call: 13 + number,
            concurrency: 32,
        }
    }

    /// The same for the ledger.
    pub fn price(&self) -> Price {
        let nano = |amount| Nano::new(amount).expect("a small amount");
        let (prompt, completion) = (nano(self.prompt), nano(self.completion));
        Price {
            prompt,
            cached_prompt: prompt,
            completion,
            reasoning: completion,
            call: nano(self.call),
        }
    }
}

/// Where a provider is paid: an account on TON that nobody has a contract at.
pub fn payout(number: usize) -> String {
    format!("0:{}", format!("{:02x}", 100 + number).repeat(32))
}

/// A simulated engine and its agent.
pub struct Provider {
    /// Its public key: the ledger's name for it.
    pub id: String,
    pub terms: Terms,
    /// A client of the engine itself.
    pub engine_client: Client,
    number: usize,
    home: PathBuf,
    engine_port: u16,
    gateway_port: u16,
    engine: Option<Process>,
    agent: Option<Process>,
}

impl Provider {
    /// Makes a key and starts both processes. The agent may still be on its way to the gateway.
    pub fn start(home: &Home, number: usize, terms: Terms, gateway_port: u16) -> Self {
        let home = home.path().to_owned();
        let key_file = home.join(format!("provider-{number}.key"));
        let made = Command::new(program("filature-provider"))
            .args(["key", "new", "--key-file"])
            .arg(&key_file)
            .output();
        let made = made.expect("filature-provider runs");
        assert!(
            made.status.success(),
            "no key: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let engine_port = free_port();
        let mut provider = Self {
            id: String::from_utf8_lossy(&made.stdout).trim().to_owned(),
            terms,
            engine_client: Client::new(&format!("http://127.0.0.1:{engine_port}"), "none"),
            number,
            home,
            engine_port,
            gateway_port,
            engine: None,
            agent: None,
        };
        provider.start_engine();
        provider.start_agent();
        provider
    }

    /// What its agent calls itself.
    pub fn name(&self) -> String {
        format!("provider-{}", self.number)
    }

    /// Starts the engine on its port and waits until it serves.
    pub fn start_engine(&mut self) {
        let args = [
            ["engine", "--model"],
            [MODEL, "--name"],
            [&format!("engine-{}", self.number), "--listen"],
        ];
        let mut args: Vec<_> = args.as_flattened().iter().map(|&arg| arg.to_owned()).collect();
        args.push(format!("127.0.0.1:{}", self.engine_port));
        let name = format!("engine-{}", self.number);
        let mut engine = Process::start(&self.home, &name, &program("filature-loadtest"), &args);
        engine.wait_for_line("ready base_url=");
        self.engine = Some(engine);
    }

    /// Starts the agent. It dials the gateway until it gets through.
    pub fn start_agent(&mut self) {
        let terms = &self.terms;
        let pairs = [
            ("--gateway", format!("http://127.0.0.1:{}", self.gateway_port)),
            ("--engine", format!("http://127.0.0.1:{}", self.engine_port)),
            (
                "--key-file",
                self.home
                    .join(format!("provider-{}.key", self.number))
                    .display()
                    .to_string(),
            ),
            ("--name", self.name()),
            // A gateway that pays nobody does not ask.
            ("--payout", payout(self.number)),
            ("--model", MODEL.to_owned()),
            ("--price-prompt", terms.prompt.to_string()),
            ("--price-completion", terms.completion.to_string()),
            ("--price-call", terms.call.to_string()),
            ("--concurrency", terms.concurrency.to_string()),
            ("--context-tokens", "65536".to_owned()),
            // Found out by the agent itself it would be known a moment after it has joined.
            ("--dialect", "vllm".to_owned()),
        ];
        let mut args = vec!["run".to_owned()];
        args.extend(pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        let name = format!("agent-{}", self.number);
        self.agent = Some(Process::start(&self.home, &name, &program("filature-provider"), &args));
    }

    /// Takes the engine out, to kill it.
    pub fn take_engine(&mut self) -> Process {
        self.engine.take().expect("the engine runs")
    }

    /// Takes the agent out, to kill it or to ask it to end.
    pub fn take_agent(&mut self) -> Process {
        self.agent.take().expect("the agent runs")
    }

    /// What its engine counted: calls begun, ended, cancelled.
    pub async fn stats(&self) -> Option<Value> {
        let asked = self.engine_client.get("/stats");
        tokio::time::timeout(Duration::from_secs(5), asked).await.ok().flatten()
    }

    /// Calls its engine is at work on, 0 if it does not answer.
    pub async fn running(&self) -> u64 {
        self.stats()
            .await
            .and_then(|stats| stats["running"].as_u64())
            .unwrap_or(0)
    }
}
