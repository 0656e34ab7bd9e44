//! A simulated fleet: engines of different speed and price, each behind the real agent and its tunnels.
//!
//! Decides who the providers are and when they come and go. Everything between gateway and engine is the product's own.

mod draw;
mod manners;
mod ready;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use filature_provider_sdk::agent::{self, AgentError, AgentSettings, BadUrl, BaseUrl};
use filature_provider_sdk::identity::KeyFileError;
use filature_provider_sdk::{Dialect, ModelOffer, ProviderKey, PublicKey};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineSettings};

pub use draw::{Spread, Traits, draw};
pub use manners::Manner;
pub use ready::NotReady;

/// What a fleet is to be like.
#[derive(Debug, Clone)]
pub struct FleetSettings {
    /// URLs of the gateways; every provider opens a tunnel to each.
    pub gateways: Vec<String>,
    /// How many providers.
    pub providers: u16,
    /// What the draw of speeds and prices starts from.
    pub seed: u64,
    /// How providers differ.
    pub spread: Spread,
    /// How the first providers behave, one after the other; all others are honest.
    pub manners: Vec<Manner>,
    /// What those that are not honest ask, as a factor of their drawn price: below 1 they are cheap, to attract calls.
    pub bait: f64,
    /// What the agents are told of their engines; they find out by themselves when `None`, and offer what they found a
    /// moment after they have joined.
    pub dialect: Option<Dialect>,
    /// The quantisation every provider states, if any.
    pub quantization: Option<String>,
    /// The models every provider serves.
    pub models: Vec<String>,
    /// The addresses on TON that the first providers are paid at; all others name none.
    pub payouts: Vec<String>,
    /// Calls a provider serves at the same time.
    pub concurrency_max: u32,
    /// Where provider keys are kept from one run to the next; new keys each time when `None`.
    pub keys: Option<PathBuf>,
    /// How long a drain waits for running calls.
    pub drain_deadline: Duration,
}

impl Default for FleetSettings {
    /// Four providers of `sim-small` that expect a gateway at its usual place.
    fn default() -> Self {
        Self {
            gateways: vec!["http://127.0.0.1:8080".to_owned()],
            providers: 4,
            seed: 7,
            spread: Spread::default(),
            manners: Vec::new(),
            bait: 1.0,
            dialect: None,
            quantization: None,
            models: vec!["sim-small".to_owned()],
            payouts: Vec::new(),
            concurrency_max: 64,
            keys: None,
            drain_deadline: Duration::from_secs(10),
        }
    }
}

/// Why a fleet does not start.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A gateway's URL is none.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// A provider's key cannot be read or written.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// An engine cannot listen, or the folder for keys cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

/// One provider of a fleet.
pub struct Provider {
    /// Its name, and its engine's.
    pub name: String,
    /// Its identity.
    pub id: PublicKey,
    /// How fast its engine is, were it honest, and what it asks.
    pub traits: Traits,
    /// How it behaves.
    pub manner: Manner,
    /// The engine behind it.
    pub engine: Engine,
}

/// A running fleet. Dropped, it is gone at once, as if every machine had lost power.
pub struct Fleet {
    providers: Vec<Provider>,
    gateways: Vec<String>,
    tunnels_before: Vec<u64>,
    agents: JoinSet<Result<(), AgentError>>,
    drain: CancellationToken,
}

impl Fleet {
    /// Starts engines and agents. The agents dial from now on; see [`Fleet::ready`].
    ///
    /// # Errors
    /// [`FleetError`]; nothing keeps running then.
    pub async fn start(settings: FleetSettings) -> Result<Self, FleetError> {
        let gateways = settings
            .gateways
            .iter()
            .map(|url| url.parse())
            .collect::<Result<Vec<BaseUrl>, _>>()?;
        let mut tunnels_before = Vec::with_capacity(gateways.len());
        for gateway in &settings.gateways {
            tunnels_before.push(ready::tunnels_open(gateway).await.unwrap_or(0));
        }
        let (mut providers, mut agents, drain) = (Vec::new(), JoinSet::new(), CancellationToken::new());
        for number in 1..=settings.providers {
            let name = format!("sim-{number}");
            let key = key(settings.keys.as_deref(), &name)?;
            let manner = settings
                .manners
                .get(usize::from(number) - 1)
                .cloned()
                .unwrap_or_default();
            let traits = manner.ask(draw(&settings.spread, settings.seed, number.into()), settings.bait);
            let engine = start_engine(&settings, &name, traits, &manner).await?;
            let models = settings
                .models
                .iter()
                .map(|model| offer(model, traits, &settings))
                .collect();
            let mut agent = AgentSettings::new(key, name.clone(), engine.url().parse()?, gateways.clone(), models);
            agent.drain_deadline = settings.drain_deadline;
            agent.dialect = settings.dialect;
            agent.payout = settings.payouts.get(usize::from(number) - 1).cloned();
            let id = agent.key.public();
            agents.spawn(agent::run(agent, drain.clone()));
            providers.push(Provider {
                name,
                id,
                traits,
                manner,
                engine,
            });
        }
        Ok(Self {
            providers,
            gateways: settings.gateways,
            tunnels_before,
            agents,
            drain,
        })
    }

    /// Its providers, in the order they were drawn.
    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// Waits until every gateway has a tunnel to every provider.
    ///
    /// # Errors
    /// [`NotReady`] when that has not happened within `patience`.
    pub async fn ready(&self, patience: Duration) -> Result<(), NotReady> {
        let wanted = self.providers.len() as u64;
        for (gateway, before) in self.gateways.iter().zip(&self.tunnels_before) {
            ready::wait(gateway, before + wanted, patience).await?;
        }
        Ok(())
    }

    /// Waits for an agent to end although nobody asked it to; agents do so only when they cannot work.
    pub async fn failed(&mut self) -> Option<AgentError> {
        loop {
            match self.agents.join_next().await {
                Some(Ok(Ok(()))) | Some(Err(_)) => {}
                Some(Ok(Err(error))) => return Some(error),
                None => return None,
            }
        }
    }

    /// Takes the fleet away in good order: the agents drain, then the engines stop.
    ///
    /// # Errors
    /// The first agent's that had to cut off calls.
    pub async fn shutdown(mut self) -> Result<(), AgentError> {
        self.drain.cancel();
        let failed = self.failed().await;
        for provider in self.providers {
            provider.engine.shutdown().await;
        }
        failed.map_or(Ok(()), Err)
    }
}

async fn start_engine(
    settings: &FleetSettings,
    name: &str,
    traits: Traits,
    manner: &Manner,
) -> Result<Engine, FleetError> {
    let settings = manner.spoil(EngineSettings {
        name: name.to_owned(),
        models: settings.models.clone(),
        ttft: traits.ttft,
        itl: traits.itl,
        concurrency_max: usize::try_from(settings.concurrency_max).ok(),
        ..EngineSettings::default()
    });
    Engine::start(settings).await.map_err(|source| FleetError::Io {
        what: format!("the engine of {name}"),
        source,
    })
}

fn offer(model: &str, traits: Traits, settings: &FleetSettings) -> ModelOffer {
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    ModelOffer {
        model: model.to_owned(),
        engine_model: None,
        quantization: settings.quantization.clone(),
        context_tokens_max: 32_768,
        output_tokens_max: 4_096,
        concurrency_max: settings.concurrency_max,
        price: traits.price,
        endpoints: list(&["chat", "completions", "embeddings"]),
        capabilities: list(&["tools", "json_schema", "logprobs"]),
        parameters: None,
    }
}

/// The key of this name in the folder, made if there is none.
fn key(folder: Option<&Path>, name: &str) -> Result<ProviderKey, FleetError> {
    let Some(folder) = folder else {
        return Ok(ProviderKey::generate(&mut rand::rng()));
    };
    std::fs::create_dir_all(folder).map_err(|source| FleetError::Io {
        what: format!("the folder {}", folder.display()),
        source,
    })?;
    let file = folder.join(format!("{name}.key"));
    if file.exists() {
        return Ok(ProviderKey::load(&file)?);
    }
    let key = ProviderKey::generate(&mut rand::rng());
    key.store(&file)?;
    Ok(key)
}
