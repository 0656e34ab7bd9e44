//! What was seen of providers that are gone for now. A provider that reconnects must not lose its
//! good name, and must not wash off a bad one.

use std::collections::HashMap;
use std::time::Duration;

use crate::offer::{ModelId, ProviderId};
use crate::seat::Seen;
use crate::time::Time;

/// How long an absent provider is remembered: ten failures' fading, chosen here.
const MEMORY: Duration = Duration::from_secs(600);

/// Absent providers remembered at most; the one gone longest makes room.
const PROVIDERS_MAX: usize = 1024;

/// Seats given up, by provider.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Departed {
    providers: HashMap<ProviderId, Gone>,
}

#[derive(Clone, PartialEq, Debug)]
struct Gone {
    at: Time,
    seats: Vec<(ModelId, Seen)>,
}

impl Departed {
    /// Remembers a seat that was given up. `models_max` bounds the seats kept per provider.
    pub(crate) fn put(&mut self, provider: &ProviderId, model: ModelId, seen: Seen, models_max: usize, now: Time) {
        if !self.providers.contains_key(provider) {
            self.make_room(now);
        }
        let gone = self.providers.entry(provider.clone()).or_insert_with(|| Gone {
            at: now,
            seats: Vec::new(),
        });
        gone.at = gone.at.max(now);
        gone.seats.retain(|(known, _)| *known != model);
        if gone.seats.len() >= models_max {
            gone.seats.remove(0);
        }
        gone.seats.push((model, seen));
    }

    /// Gives back what was seen of a seat, unless that was too long ago.
    pub(crate) fn take(&mut self, provider: &str, model: &str, now: Time) -> Option<Seen> {
        let gone = self.providers.get_mut(provider)?;
        let at = gone.seats.iter().position(|(known, _)| known.as_str() == model)?;
        let (_, seen) = gone.seats.swap_remove(at);
        let is_fresh = now.saturating_since(gone.at) <= MEMORY;
        if gone.seats.is_empty() {
            self.providers.remove(provider);
        }
        is_fresh.then_some(seen)
    }

    /// A given-up seat, for calls that still end on it.
    pub(crate) fn get_mut(&mut self, provider: &str, model: &str) -> Option<&mut Seen> {
        self.providers
            .get_mut(provider)?
            .seats
            .iter_mut()
            .find(|(known, _)| known.as_str() == model)
            .map(|(_, seen)| seen)
    }

    fn make_room(&mut self, now: Time) {
        if self.providers.len() < PROVIDERS_MAX {
            return;
        }
        self.providers.retain(|_, gone| now.saturating_since(gone.at) <= MEMORY);
        // Ties break by name, so that equal histories forget the same provider.
        let longest = self.providers.iter().min_by_key(|(name, gone)| (gone.at, *name));
        if self.providers.len() >= PROVIDERS_MAX
            && let Some(name) = longest.map(|(name, _)| name.clone())
        {
            self.providers.remove(&name);
        }
    }

    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.providers.values().map(|gone| gone.seats.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    fn busy() -> Seen {
        let mut seen = Seen::default();
        seen.started(10, at(0));
        seen
    }

    #[test]
    fn a_seat_is_given_back_once_and_not_after_ten_minutes() {
        let (provider, model) = (ProviderId::from("p"), ModelId::from("m"));
        let mut departed = Departed::default();
        departed.put(&provider, model.clone(), busy(), 4, at(0));
        assert_eq!(departed.take("p", "m", at(600)), Some(busy()));
        assert_eq!(departed.take("p", "m", at(600)), None);
        departed.put(&provider, model, busy(), 4, at(0));
        assert_eq!(departed.take("p", "m", at(601)), None);
        assert_eq!(departed.size(), 0);
    }

    #[test]
    fn providers_and_their_models_are_bounded_and_the_oldest_goes_first() {
        let mut departed = Departed::default();
        for n in 0..3000_u64 {
            let provider = ProviderId::from(n.to_string());
            for m in 0..5 {
                let model = ModelId::from(m.to_string());
                departed.put(&provider, model, Seen::default(), 3, at(n / 100));
            }
        }
        assert_eq!(departed.size(), PROVIDERS_MAX * 3);
        assert_eq!(departed.take("0", "4", at(30)), None);
        assert!(departed.take("2999", "4", at(30)).is_some());
    }
}
