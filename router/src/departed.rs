//! What was seen of providers that are gone for now. A provider that reconnects must not lose its
//! good name, and must not wash off a bad one.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::names::{ModelId, ProviderId};
use crate::seat::Seen;
use crate::time::Time;

/// How long an absent provider is remembered: ten failures' fading, chosen here.
const MEMORY: Duration = Duration::from_secs(600);

/// Absent providers remembered at most; the one gone longest makes room. Chosen here: room for what
/// siblings tell of a large fleet that has not dialled in yet.
const PROVIDERS_MAX: usize = 4096;

/// Seats given up, by provider.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Departed {
    providers: HashMap<ProviderId, Gone>,
    /// The same providers, the one gone longest first. Ties break by name, so that equal histories
    /// forget the same provider.
    by_age: BTreeSet<(Time, ProviderId)>,
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
        self.by_age.remove(&(gone.at, provider.clone()));
        gone.at = gone.at.max(now);
        self.by_age.insert((gone.at, provider.clone()));
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
        let (gone_at, is_last) = (gone.at, gone.seats.is_empty());
        let is_fresh = now.saturating_since(gone_at) <= MEMORY;
        if is_last {
            self.providers.remove(provider);
            self.by_age.remove(&(gone_at, ProviderId::from(provider)));
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
        while let Some((at, provider)) = self.by_age.first() {
            let is_fresh = now.saturating_since(*at) <= MEMORY;
            if is_fresh && self.providers.len() < PROVIDERS_MAX {
                return;
            }
            self.providers.remove(provider);
            self.by_age.pop_first();
        }
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        let seats = self.providers.values().flat_map(|gone| &gone.seats);
        let seats: usize = seats.map(|(_, seen)| size_of::<(ModelId, Seen)>() + seen.bytes()).sum();
        self.providers.capacity() * size_of::<(ProviderId, Gone)>() * 8 / 7 + seats
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
        for n in 0..6000_u64 {
            let provider = ProviderId::from(n.to_string());
            for m in 0..5 {
                let model = ModelId::from(m.to_string());
                departed.put(&provider, model, Seen::default(), 3, at(n / 100));
            }
        }
        assert_eq!(departed.size(), PROVIDERS_MAX * 3);
        assert_eq!(departed.by_age.len(), PROVIDERS_MAX);
        assert_eq!(departed.take("0", "4", at(30)), None);
        assert!(departed.take("5999", "4", at(30)).is_some());
    }
}
