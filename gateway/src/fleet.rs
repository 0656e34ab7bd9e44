//! The providers this gateway can reach, and what the router knows of them.
//!
//! [`provider`] is one of them and how it is reached, [`tunnel`] takes those that dial in, [`direct`] makes those the
//! operator wrote into the configuration. The router's state lives here, behind one short lock that is never held
//! across an await.

pub mod direct;
pub mod provider;
pub mod tunnel;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filature_openapi::call::{Endpoint, Needs};
use filature_router::{
    Ask, Capabilities, End, Endpoints, Event, ModelId, NoRoute, OfferedModel, Plan, Policy, ProviderId, Time, route,
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use provider::{Provider, Reach};

/// Models that are remembered after their last provider has left.
const MODELS_KNOWN_MAX: usize = 10_000;

/// All providers as this gateway sees them.
pub struct Fleet {
    router: Mutex<filature_router::Fleet>,
    providers: RwLock<HashMap<ProviderId, Arc<Provider>>>,
    /// Models that some provider has served since the start.
    known: RwLock<HashSet<ModelId>>,
    freed: Notify,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// A place in the queue of calls that wait for a provider; dropping it frees the place.
pub struct Waiting<'a>(&'a Fleet);

impl Fleet {
    /// A fleet without providers, where at most `waiting_max` calls wait for one.
    #[must_use]
    pub fn new(policy: Policy, waiting_max: usize) -> Self {
        Self {
            router: Mutex::new(filature_router::Fleet::new(policy)),
            providers: RwLock::new(HashMap::new()),
            known: RwLock::new(HashSet::new()),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
            waiting_max,
        }
    }

    /// Asks the router where to try a call.
    ///
    /// # Errors
    /// [`NoRoute`] when nobody can serve it, or nobody can now.
    pub fn route(&self, ask: &Ask<'_>, now: Time) -> Result<Plan, NoRoute> {
        route(&self.router.lock(), ask, now, &mut rand::rng())
    }

    /// Tells the router what happened.
    pub fn tell(&self, event: Event, now: Time) {
        // A provider that refuses has no room, whatever is counted here.
        let frees = matches!(event, Event::Ended { end, .. } if end != End::Refused);
        let joins = matches!(event, Event::Joined { .. });
        self.router.lock().apply(event, now);
        if joins {
            self.freed.notify_waiters();
        } else if frees && self.waiting.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }

    /// Resolves when a provider may have room again. Make it before asking the router, so that nothing is missed.
    pub fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// A place in the queue, or `None` when it is full.
    pub fn queue(&self) -> Option<Waiting<'_>> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Waiting(self);
        (before < self.waiting_max).then_some(place)
    }

    /// Adds a provider, or replaces it by its newer self.
    pub fn join(&self, provider: Arc<Provider>, now: Time) {
        let models = provider.offered_models();
        let id = provider.id.clone();
        self.remember(&models);
        let is_same = |old: &Arc<Provider>| old.reach.is_same(&provider.reach);
        let old = self.providers.write().insert(id.clone(), provider.clone());
        if let Some(Reach::Tunnel(tunnel)) = old.filter(|old| !is_same(old)).map(|old| old.reach.clone()) {
            tunnel.replaced.cancel();
        }
        self.tell(Event::Joined { provider: id, models }, now);
    }

    /// Whether any provider has served `model` since the start: then its absence is likely to pass.
    #[must_use]
    pub fn has_known(&self, model: &str) -> bool {
        self.known.read().contains(model)
    }

    fn remember(&self, models: &[OfferedModel]) {
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

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
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
