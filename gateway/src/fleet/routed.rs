//! A plan with the slot it has taken at the provider it names first: from the decision to the start of the attempt, which a
//! ledger's round trip may lie between, nobody else is sent there.

use filature_router::{Event, ModelId, Plan, ProviderId};

use super::Fleet;
use crate::clock::Clock;

/// Where to try a call.
pub struct Routed<'a> {
    /// The attempts, in order.
    pub plan: Plan,
    /// The first one's slot.
    pub slot: Slot<'a>,
}

/// A slot at a provider, free again when this is dropped: once the attempt has started, which counts by itself, or when it is
/// known that it never will.
#[must_use = "dropped, it is free"]
pub struct Slot<'a> {
    fleet: &'a Fleet,
    clock: Clock,
    /// None for a plan that names nobody.
    at: Option<(ProviderId, ModelId)>,
}

impl<'a> Routed<'a> {
    pub(super) fn new(fleet: &'a Fleet, plan: Plan, clock: Clock) -> Self {
        let first = plan.attempts.first();
        let at = first.map(|attempt| (attempt.provider.clone(), attempt.model.clone()));
        let slot = Slot { fleet, clock, at };
        Self { plan, slot }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if let Some((provider, model)) = self.at.take() {
            self.fleet.tell(Event::Unplanned { provider, model }, self.clock.now());
        }
    }
}
