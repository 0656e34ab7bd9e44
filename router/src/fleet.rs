//! The fleet: everything the router knows. Events change it, [`route`](crate::route()) reads it.

use std::collections::{BTreeMap, HashMap};

use crate::departed::Departed;
use crate::event::Event;
use crate::offer::{ModelId, OfferedModel, ProviderId};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::seat::Seat;
use crate::time::Time;
use crate::view::{ModelView, SeatView};

/// Models of one provider that count; the rest of its offer is ignored. Offers are bounded to the
/// same number where they are verified (provider-sdk).
const MODELS_MAX: usize = 256;

/// All providers as the router sees them.
///
/// A plain value: whoever holds it decides how it is shared. Its size is bounded by the policy,
/// whatever events come.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fleet {
    policy: Policy,
    pools: BTreeMap<ModelId, Pool>,
    /// Which pools a provider sits in.
    providers: HashMap<ProviderId, Vec<ModelId>>,
    departed: Departed,
}

impl Fleet {
    /// A fleet without providers.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    /// The policy it decides by.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Takes note of what happened at `now`. Events about providers or models nobody offers change
    /// nothing.
    pub fn apply(&mut self, event: Event, now: Time) {
        match event {
            Event::Joined { provider, models } => self.join(provider, models, now),
            Event::Left { provider } => self.leave(&provider, now),
            Event::Heartbeat {
                provider,
                running,
                waiting,
            } => self.heartbeat(&provider, u64::from(running) + u64::from(waiting), now),
            Event::Draining { provider } => self.each_seat(&provider, |seat| seat.draining = true),
            Event::Started {
                provider,
                model,
                prompt_tokens,
            } => {
                let pool = self.pools.get_mut(&model);
                if let Some(seat) = pool.and_then(|pool| pool.choose(provider.as_str())) {
                    seat.seen.started(prompt_tokens, now);
                }
            }
            Event::FirstToken {
                provider,
                model,
                prompt_tokens,
                after,
            } => {
                // Of a provider that left meanwhile, a first token is no news.
                if let Some(seat) = self.seat_mut(&provider, &model) {
                    seat.seen.first_token(prompt_tokens, after, now);
                }
            }
            Event::Ended {
                provider,
                model,
                prompt_tokens,
                first_token_seen,
                end,
            } => {
                let seen = match self.pools.get_mut(&model) {
                    Some(pool) if pool.get(provider.as_str()).is_some() => {
                        pool.get_mut(provider.as_str()).map(|seat| &mut seat.seen)
                    }
                    _ => self.departed.get_mut(provider.as_str(), model.as_str()),
                };
                if let Some(seen) = seen {
                    seen.ended(prompt_tokens, first_token_seen, end, now);
                }
            }
        }
    }

    /// The models somebody offers, in order of their names.
    pub fn models(&self) -> impl Iterator<Item = &ModelId> {
        self.pools.keys()
    }

    /// What is offered of `model` over all providers; `None` if nobody offers it.
    #[must_use]
    pub fn model(&self, model: &str) -> Option<ModelView> {
        ModelView::of(self.pools.get(model)?.seats())
    }

    /// The most completion tokens any provider of `model` allows a call.
    #[must_use]
    pub fn output_tokens_max(&self, model: &str) -> Option<u32> {
        self.model(model).map(|view| view.output_tokens_max)
    }

    /// Providers that are present.
    #[must_use]
    pub fn providers_count(&self) -> usize {
        self.providers.len()
    }

    /// What is known of every provider with every model it offers, for metrics and tests.
    pub fn seats(&self, now: Time) -> impl Iterator<Item = SeatView> {
        self.pools
            .values()
            .flat_map(Pool::seats)
            .map(move |seat| SeatView::of(seat, now))
    }

    /// What is known of one provider with one model.
    #[must_use]
    pub fn seat(&self, provider: &str, model: &str, now: Time) -> Option<SeatView> {
        let seat = self.pools.get(model)?.get(provider)?;
        Some(SeatView::of(seat, now))
    }

    pub(crate) fn pool(&self, model: &str) -> Option<&Pool> {
        self.pools.get(model)
    }

    fn join(&mut self, provider: ProviderId, offers: Vec<OfferedModel>, now: Time) {
        let is_known = self.providers.contains_key(&provider);
        let providers_max = usize::try_from(self.policy.providers_max).unwrap_or(usize::MAX);
        if !is_known && self.providers.len() >= providers_max {
            return;
        }
        let before = self.providers.remove(&provider).unwrap_or_default();
        let mut models: Vec<ModelId> = Vec::with_capacity(offers.len().min(MODELS_MAX));
        for offer in offers {
            if models.len() >= MODELS_MAX {
                break;
            }
            if models.contains(&offer.model) {
                continue;
            }
            models.push(offer.model.clone());
            self.seat_offer(&provider, offer, now);
        }
        for model in before.into_iter().filter(|model| !models.contains(model)) {
            self.give_up(&provider, model, now);
        }
        if !models.is_empty() {
            self.providers.insert(provider, models);
        }
    }

    fn seat_offer(&mut self, provider: &ProviderId, offer: OfferedModel, now: Time) {
        let pool = self.pools.entry(offer.model.clone()).or_default();
        if let Some(seat) = pool.get_mut(provider.as_str()) {
            seat.offer = offer;
            seat.draining = false;
            return;
        }
        let seen = self
            .departed
            .take(provider.as_str(), offer.model.as_str(), now)
            .unwrap_or_default();
        pool.insert(Seat::new(provider.clone(), offer, seen));
    }

    fn leave(&mut self, provider: &ProviderId, now: Time) {
        for model in self.providers.remove(provider).unwrap_or_default() {
            self.give_up(provider, model, now);
        }
    }

    fn give_up(&mut self, provider: &ProviderId, model: ModelId, now: Time) {
        let Some(pool) = self.pools.get_mut(&model) else {
            return;
        };
        let seat = pool.remove(provider.as_str());
        if pool.seats().is_empty() {
            self.pools.remove(&model);
        }
        if let Some(seat) = seat {
            self.departed.put(provider, model, seat.seen, MODELS_MAX, now);
        }
    }

    /// What the engine has to do beyond what this router sent is shared among the provider's
    /// models as it offered them.
    fn heartbeat(&mut self, provider: &ProviderId, claimed: u64, now: Time) {
        let (mut sent, mut offered) = (0_u64, 0_u64);
        self.each_seat(provider, |seat| {
            sent += u64::from(seat.seen.in_flight);
            offered += u64::from(seat.offer.concurrency_max);
        });
        // Two u32 went into the claim; beyond u32 the exact figure says nothing more.
        let foreign = u32::try_from(claimed.saturating_sub(sent)).unwrap_or(u32::MAX);
        let offered = u32::try_from(offered.max(1)).unwrap_or(u32::MAX);
        self.each_seat(provider, |seat| {
            let share = f64::from(seat.offer.concurrency_max) / f64::from(offered);
            seat.claimed(f64::from(foreign) * share, now);
        });
    }

    fn each_seat(&mut self, provider: &ProviderId, mut act: impl FnMut(&mut Seat)) {
        for model in self.providers.get(provider).into_iter().flatten() {
            let pool = self.pools.get_mut(model);
            if let Some(seat) = pool.and_then(|pool| pool.get_mut(provider.as_str())) {
                act(seat);
            }
        }
    }

    fn seat_mut(&mut self, provider: &ProviderId, model: &ModelId) -> Option<&mut Seat> {
        self.pools.get_mut(model)?.get_mut(provider.as_str())
    }
}
