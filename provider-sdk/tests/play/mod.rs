//! What the tests play against the agent: a gateway and engines, on real sockets.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod engine;
pub mod gateway;

use std::future::Future;
use std::time::Duration;

use filature_provider_sdk::agent::{AgentError, AgentSettings, run};
use filature_provider_sdk::{Dialect, ModelOffer, OfferPrice, ProviderKey};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Far above what anything here takes; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for `future`, but not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Waits until `condition` holds, but not for ever.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, wait).await;
}

/// Settings for a provider with one model that takes four calls at once; the engine's metrics are left alone.
pub fn settings(engine: &str, gateways: &[String]) -> AgentSettings {
    let model = ModelOffer {
        model: "small".to_owned(),
        engine_model: Some("org/small".to_owned()),
        quantization: None,
        context_tokens_max: 8192,
        output_tokens_max: 4096,
        concurrency_max: 4,
        price: OfferPrice {
            prompt: 20,
            cached_prompt: 5,
            completion: 60,
            reasoning: 60,
            call: 0,
        },
        endpoints: vec!["chat".to_owned()],
        capabilities: Vec::new(),
        parameters: None,
    };
    let key = ProviderKey::generate(&mut rand::rng());
    let gateways = gateways.iter().map(|url| url.parse().unwrap()).collect();
    let mut settings = AgentSettings::new(key, "test", engine.parse().unwrap(), gateways, vec![model]);
    // An engine played by hand does not expect to be asked beside its calls.
    settings.engine_metrics = false;
    settings.dialect = Some(Dialect::OpenAi);
    settings
}

/// An agent that runs until it is shut down or this is dropped.
pub struct RunningAgent {
    task: JoinHandle<Result<(), AgentError>>,
    shutdown: CancellationToken,
    _abort: DropGuard,
}

/// Starts an agent in this process.
pub fn start(settings: AgentSettings) -> RunningAgent {
    let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
    let (told, aborted) = (shutdown.clone(), abort.clone());
    let task = TaskTracker::new().spawn(async move {
        tokio::select! {
            ended = run(settings, told) => ended,
            () = aborted.cancelled() => Ok(()),
        }
    });
    RunningAgent {
        task,
        shutdown,
        _abort: abort.drop_guard(),
    }
}

impl RunningAgent {
    /// Begins the drain.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// How the agent ended.
    pub async fn ended(self) -> Result<(), AgentError> {
        soon("the agent's end", self.task).await.unwrap()
    }
}
