//! The fleet: everything the router knows. Events change it, [`route`](crate::route()) reads it.

mod apply;

use std::collections::{BTreeMap, HashMap};

use crate::budget::Budget;
use crate::departed::Departed;
use crate::event::Try;
use crate::memory::Memory;
use crate::names::{ModelId, ProviderId};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::time::Time;
use crate::view::{EndpointView, ModelView, SeatView};

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
    budget: Budget,
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

    /// Every provider of `model` with what it offers and how it did over five minutes, half an hour
    /// and a day.
    #[must_use]
    pub fn endpoints(&self, model: &str, now: Time) -> Vec<EndpointView> {
        let seats = self.pools.get(model).map_or(&[][..], Pool::seats);
        seats.iter().map(|seat| EndpointView::of(seat, now)).collect()
    }

    /// Whether an attempt of this kind is within its budget; it is counted if so. First attempts
    /// always are.
    pub fn permit(&mut self, kind: Try, now: Time) -> bool {
        self.budget.permit(&self.policy, kind, now)
    }

    /// What was learnt of every provider, for siblings of this fleet: see
    /// [`Event::Remembered`](crate::Event::Remembered).
    #[must_use]
    pub fn memories(&self, now: Time) -> Vec<Memory> {
        let seats = self.pools.values().flat_map(Pool::seats);
        seats.filter_map(|seat| Memory::of(seat, now)).collect()
    }

    /// Bytes that the fleet takes in memory, about: for tests and metrics of its bounds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let pools: usize = self.pools.values().map(Pool::bytes).sum();
        size_of::<Self>() + pools + self.departed.bytes()
    }

    pub(crate) fn pool(&self, model: &str) -> Option<&Pool> {
        self.pools.get(model)
    }
}
