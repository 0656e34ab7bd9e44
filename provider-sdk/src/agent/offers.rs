//! The agent's current offer. Decides when a new one is signed: long before the old one ends, so that no gateway ever
//! holds an expired one, and when it is known what the engine can do. Gateways learn of it by the sequence number in
//! the status.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::settings::AgentSettings;
use crate::identity::ProviderKey;
use crate::offer::{Offer, OfferError, SignedOffer};

/// Signs offers from settings, and keeps the one that holds.
pub(crate) struct Offers {
    key: ProviderKey,
    template: Offer,
    lifetime_ms: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether the engine goes on where another broke off, as far as the agent found out.
    continues: bool,
    current: Option<Current>,
    /// The sequence number of the last offer.
    last: u64,
}

#[derive(Clone)]
struct Current {
    signed: Arc<SignedOffer>,
    sequence: u64,
    /// From then on a new one is signed: half of its life is over.
    renew_at_ms: u64,
}

impl Offers {
    pub(crate) fn new(settings: &AgentSettings) -> Self {
        Self {
            key: settings.key.clone(),
            template: settings.offer(0, 0),
            lifetime_ms: u64::try_from(settings.offer_lifetime.as_millis()).unwrap_or(u64::MAX),
            state: Mutex::default(),
        }
    }

    /// Says whether the engine goes on where another broke off. If that is news, the next offer is a new one.
    pub(crate) fn set_continues(&self, continues: bool) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.continues, continues) != continues {
            state.current = None;
        }
    }

    /// The offer that holds at `now_ms`, and its sequence number.
    ///
    /// # Errors
    /// [`OfferError`] if it cannot be signed, which settings that were checked rule out.
    pub(crate) fn current(&self, now_ms: u64) -> Result<(Arc<SignedOffer>, u64), OfferError> {
        let mut state = self.state.lock();
        if let Some(offer) = state.current.as_ref().filter(|offer| now_ms < offer.renew_at_ms) {
            return Ok((Arc::clone(&offer.signed), offer.sequence));
        }
        // Time as the sequence number: it grows over restarts too, with nothing to store.
        let sequence = now_ms.max(state.last.saturating_add(1));
        let mut offer = Offer {
            sequence,
            expires_at_ms: now_ms.saturating_add(self.lifetime_ms),
            ..self.template.clone()
        };
        if state.continues {
            offer.add_continue();
        }
        let signed = Arc::new(SignedOffer::sign(&offer, &self.key)?);
        let renew_at_ms = now_ms.saturating_add(self.lifetime_ms / 2);
        state.last = sequence;
        state.current = Some(Current {
            signed: Arc::clone(&signed),
            sequence,
            renew_at_ms,
        });
        Ok((signed, sequence))
    }
}

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::agent::settings::tests::settings;
    use crate::offer::CONTINUE;

    #[test]
    fn an_offer_is_renewed_at_half_its_life_and_counts_up() {
        let mut settings = settings();
        settings.offer_lifetime = Duration::from_secs(100);
        let offers = Offers::new(&settings);
        let (first, sequence) = offers.current(1_000_000).unwrap();
        assert_eq!(first.verify(1_000_000).unwrap().expires_at_ms, 1_100_000);
        assert_eq!(offers.current(1_049_999).unwrap().1, sequence);
        let (second, later) = offers.current(1_050_000).unwrap();
        assert!(later > sequence);
        assert_eq!(second.verify(1_050_000).unwrap().sequence, later);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_lower_the_sequence() {
        let mut settings = settings();
        settings.offer_lifetime = Duration::ZERO;
        let offers = Offers::new(&settings);
        let first = offers.current(1_000_000).unwrap().1;
        assert!(offers.current(1_000_000).unwrap().1 > first);
    }

    #[test]
    fn an_engine_that_continues_makes_a_new_offer() {
        let offers = Offers::new(&settings());
        let capabilities = || {
            let (signed, sequence) = offers.current(1_000_000).unwrap();
            (
                signed.verify(1_000_000).unwrap().models[0].capabilities.clone(),
                sequence,
            )
        };
        let (before, first) = capabilities();
        offers.set_continues(false);
        assert_eq!(capabilities(), (before.clone(), first), "no news, no new offer");
        offers.set_continues(true);
        let (with, second) = capabilities();
        assert!(second > first && with.contains(&CONTINUE.to_owned()), "{with:?}");
        offers.set_continues(true);
        assert_eq!(capabilities().1, second);
        offers.set_continues(false);
        let (without, third) = capabilities();
        assert!(third > second);
        assert_eq!(without, before);
    }
}
