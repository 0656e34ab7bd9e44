//! The providers this gateway can reach, and what the router knows of them.
//!
//! [`provider`] is one of them and how it is reached, [`tunnel`] takes those that dial in, [`direct`] makes those the
//! operator wrote into the configuration. The router's state lives here, behind one short lock that is never held
//! across an await.

pub mod direct;
pub mod line;
pub mod provider;
pub mod routed;
pub mod siblings;
pub mod tunnel;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use filature_openapi::call::{Endpoint, Needs, Parameters};
use filature_router::{
    Ask, Capabilities, End, EndpointView, Endpoints, Event, Memory, ModelId, NoRoute, OfferedModel, Plan, Policy,
    ProviderId, QueuePolicy, Rank, Time, Try, route,
};
use parking_lot::{Mutex, RwLock};

use line::Lines;
use provider::{Provider, Reach};
use routed::Routed;

use crate::clock::Clock;

/// Models that are remembered after their last provider has left.
const MODELS_KNOWN_MAX: usize = 10_000;

/// All providers as this gateway sees them.
pub struct Fleet {
    state: Mutex<State>,
    providers: RwLock<HashMap<ProviderId, Arc<Provider>>>,
    /// Models that some provider has served since the start.
    known: RwLock<HashSet<ModelId>>,
    /// What siblings, or this gateway before it was restarted, know of providers; told to the router when these join.
    memories: Mutex<HashMap<ProviderId, Vec<Memory>>>,
}

/// What one decision reads and changes.
struct State {
    router: filature_router::Fleet,
    lines: Lines,
}

impl Fleet {
    /// A fleet without providers, where calls wait for one as `waiting` says.
    #[must_use]
    pub fn new(policy: Policy, waiting: QueuePolicy) -> Self {
        Self {
            state: Mutex::new(State {
                router: filature_router::Fleet::new(policy),
                lines: Lines::new(waiting),
            }),
            providers: RwLock::new(HashMap::new()),
            known: RwLock::new(HashSet::new()),
            memories: Mutex::new(HashMap::new()),
        }
    }

    /// Asks the router where to try a call that has just come: not before those that wait. `rank` is asked for only where
    /// any do.
    ///
    /// # Errors
    /// [`NoRoute`] when nobody can serve it, or nobody can now.
    pub fn route(&self, ask: &Ask<'_>, rank: impl FnOnce() -> Rank, clock: Clock) -> Result<Routed<'_>, NoRoute> {
        let now = clock.now();
        let mut state = self.state.lock();
        if let Some(retry_after) = state.lines.is_behind(ask.model, rank, now) {
            return Err(NoRoute::Full { retry_after });
        }
        let plan = state.route(ask, now)?;
        drop(state);
        Ok(Routed::new(self, plan, clock))
    }

    /// Asks the router where to try a call, ahead of all that wait: one whose turn has come, or whose answer has begun.
    ///
    /// # Errors
    /// As [`Fleet::route`].
    pub fn route_at_once(&self, ask: &Ask<'_>, clock: Clock) -> Result<Routed<'_>, NoRoute> {
        let plan = self.state.lock().route(ask, clock.now())?;
        Ok(Routed::new(self, plan, clock))
    }

    /// Whether one more attempt of this kind is within its budget; it counts if so.
    pub fn permit(&self, kind: Try, now: Time) -> bool {
        self.state.lock().router.permit(kind, now)
    }

    /// What is known of every provider of a model.
    pub fn endpoints(&self, model: &str, now: Time) -> Vec<EndpointView> {
        self.state.lock().router.endpoints(model, now)
    }

    /// Tells the router what happened, and a waiting call if that may have made room for it.
    pub fn tell(&self, event: Event, now: Time) {
        let mut state = self.state.lock();
        let State { router, lines } = &mut *state;
        match &event {
            // A provider that refuses has no room, whatever is counted here.
            Event::Ended { model, end, .. } if *end != End::Refused => {
                let model = model.clone();
                router.apply(event, now);
                lines.freed(model.as_str(), now);
            }
            // Where one call has found room, or left it, there may be room for the next.
            Event::Unplanned { model, .. } => {
                let model = model.clone();
                router.apply(event, now);
                lines.freed(model.as_str(), now);
            }
            Event::Joined { models, .. } => {
                let models: Vec<ModelId> = models.iter().map(|offered| offered.model.clone()).collect();
                router.apply(event, now);
                models.iter().for_each(|model| lines.joined(model.as_str(), now));
            }
            _ => router.apply(event, now),
        }
    }

    /// Adds a provider, or replaces it by its newer self.
    pub fn join(&self, provider: Arc<Provider>, now: Time) {
        let models = provider.offered_models();
        let id = provider.id.clone();
        self.note_models(&models);
        let is_same = |old: &Arc<Provider>| old.reach.is_same(&provider.reach);
        let old = self.providers.write().insert(id.clone(), provider.clone());
        if let Some(Reach::Tunnel(tunnel)) = old.filter(|old| !is_same(old)).map(|old| old.reach.clone()) {
            tunnel.replaced.cancel();
        }
        let memories = self.memories.lock().remove(&id).unwrap_or_default();
        self.tell(Event::Joined { provider: id, models }, now);
        for memory in memories {
            self.tell(Event::Remembered(memory), now);
        }
    }

    /// What was learnt of every provider, for siblings.
    pub fn memories(&self, now: Time) -> Vec<Memory> {
        self.state.lock().router.memories(now)
    }

    /// Takes note of what siblings know: told to the router now for providers that are here, and when they join for the
    /// others.
    pub fn remember(&self, memories: Vec<Memory>, now: Time) {
        let mut absent: HashMap<ProviderId, Vec<Memory>> = HashMap::new();
        for memory in memories {
            if self.provider(&memory.provider).is_some() {
                self.tell(Event::Remembered(memory), now);
            } else {
                absent.entry(memory.provider.clone()).or_default().push(memory);
            }
        }
        *self.memories.lock() = absent;
    }

    /// Whether any provider has served `model` since the start: then its absence is likely to pass.
    #[must_use]
    pub fn has_known(&self, model: &str) -> bool {
        self.known.read().contains(model)
    }

    fn note_models(&self, models: &[OfferedModel]) {
        let mut known = self.known.write();
        for offered in models {
            if known.len() < MODELS_KNOWN_MAX {
                known.insert(offered.model.clone());
            }
        }
    }

    /// Removes a provider, unless a newer connection of the same provider has taken its place.
    pub fn leave(&self, provider: &Provider, now: Time) {
        let mut providers = self.providers.write();
        let is_current = providers
            .get(&provider.id)
            .is_some_and(|current| current.reach.is_same(&provider.reach));
        if is_current {
            providers.remove(&provider.id);
            drop(providers);
            self.tell(
                Event::Left {
                    provider: provider.id.clone(),
                },
                now,
            );
        }
    }

    /// The provider of this id, if it is still here.
    #[must_use]
    pub fn provider(&self, id: &ProviderId) -> Option<Arc<Provider>> {
        self.providers.read().get(id).cloned()
    }

    /// Every provider, for the list of models.
    #[must_use]
    pub fn providers(&self) -> Vec<Arc<Provider>> {
        self.providers.read().values().cloned().collect()
    }

    /// How many providers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.providers.read().len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl State {
    fn route(&mut self, ask: &Ask<'_>, now: Time) -> Result<Plan, NoRoute> {
        let plan = route(&self.router, ask, now, &mut rand::rng())?;
        self.lines.served(ask.model, now);
        if let Some(first) = plan.attempts.first() {
            let (provider, model) = (first.provider.clone(), first.model.clone());
            self.router.apply(Event::Planned { provider, model }, now);
        }
        Ok(plan)
    }
}

/// An endpoint of the API in the router's terms.
#[must_use]
pub fn router_endpoint(endpoint: Endpoint) -> Endpoints {
    match endpoint {
        Endpoint::ChatCompletions => Endpoints::CHAT,
        Endpoint::Completions => Endpoints::COMPLETIONS,
        Endpoint::Embeddings => Endpoints::EMBEDDINGS,
    }
}

/// What a call needs, in the router's terms.
#[must_use]
pub fn router_needs(needs: Needs) -> Capabilities {
    let pairs = [
        (Needs::TOOLS, Capabilities::TOOLS),
        (Needs::JSON_SCHEMA, Capabilities::JSON_SCHEMA),
        (Needs::LOGPROBS, Capabilities::LOGPROBS),
        (Needs::IMAGES, Capabilities::IMAGES),
    ];
    let mut capabilities = Capabilities::NONE;
    for (need, capability) in pairs {
        if needs.contains(need) {
            capabilities = capabilities.with(capability);
        }
    }
    capabilities
}

/// Sampling parameters that a provider must honour, in the router's terms.
#[must_use]
pub fn router_parameters(parameters: Parameters) -> Capabilities {
    let pairs = [
        (Parameters::SEED, Capabilities::SEED),
        (Parameters::TOP_K, Capabilities::TOP_K),
        (Parameters::MIN_P, Capabilities::MIN_P),
        (Parameters::TOP_A, Capabilities::TOP_A),
        (Parameters::REPETITION_PENALTY, Capabilities::REPETITION_PENALTY),
        (Parameters::FREQUENCY_PENALTY, Capabilities::FREQUENCY_PENALTY),
        (Parameters::PRESENCE_PENALTY, Capabilities::PRESENCE_PENALTY),
        (Parameters::LOGIT_BIAS, Capabilities::LOGIT_BIAS),
        (Parameters::STOP, Capabilities::STOP),
    ];
    let given = pairs
        .into_iter()
        .filter(|(parameter, _)| parameters.contains(*parameter));
    given.fold(Capabilities::NONE, |set, (_, capability)| set.with(capability))
}
