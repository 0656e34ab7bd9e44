//! All seats of one model, dense for scanning, with their index by provider.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::offer::ProviderId;
use crate::seat::Seat;

/// Seats remembered as chosen last: the memory of power-of-d-choices (Mitzenmacher, Prabhakar and
/// Shah, 2002), used where the pool is too large to score every seat.
const RECENT_MAX: usize = 8;

/// The seats of one model.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Pool {
    seats: Vec<Seat>,
    at: HashMap<ProviderId, usize>,
    recent: SmallVec<[usize; RECENT_MAX]>,
    next_recent: usize,
}

impl Pool {
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Positions of the seats chosen last, distinct, at most eight.
    pub(crate) fn recent(&self) -> &[usize] {
        &self.recent
    }

    pub(crate) fn get(&self, provider: &str) -> Option<&Seat> {
        self.seats.get(*self.at.get(provider)?)
    }

    pub(crate) fn get_mut(&mut self, provider: &str) -> Option<&mut Seat> {
        self.seats.get_mut(*self.at.get(provider)?)
    }

    /// Adds a seat of a provider that has none here.
    pub(crate) fn insert(&mut self, seat: Seat) {
        self.at.insert(seat.provider.clone(), self.seats.len());
        self.seats.push(seat);
    }

    pub(crate) fn remove(&mut self, provider: &str) -> Option<Seat> {
        let gone = self.at.remove(provider)?;
        let seat = self.seats.swap_remove(gone);
        let moved_from = self.seats.len();
        if let Some(moved) = self.seats.get(gone) {
            self.at.insert(moved.provider.clone(), gone);
        }
        self.recent.retain(|at| *at != gone);
        for at in &mut self.recent {
            if *at == moved_from {
                *at = gone;
            }
        }
        Some(seat)
    }

    /// Remembers that `provider` was chosen and gives its seat.
    pub(crate) fn choose(&mut self, provider: &str) -> Option<&mut Seat> {
        let at = *self.at.get(provider)?;
        if !self.recent.contains(&at) {
            if self.recent.len() < RECENT_MAX {
                self.recent.push(at);
            } else {
                self.next_recent = (self.next_recent + 1) % RECENT_MAX;
                self.recent[self.next_recent] = at;
            }
        }
        self.seats.get_mut(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::{Capabilities, Endpoints, ModelId, OfferedModel, Price};
    use crate::seat::Seen;

    fn seat(name: &str) -> Seat {
        let offer = OfferedModel {
            model: ModelId::from("m"),
            price: Price::default(),
            concurrency_max: 1,
            context_tokens_max: 1,
            output_tokens_max: 1,
            can: Capabilities::NONE,
            endpoints: Endpoints::CHAT,
        };
        Seat::new(ProviderId::from(name), offer, Seen::default())
    }

    #[test]
    fn the_index_and_the_memory_survive_removal() {
        let mut pool = Pool::default();
        for name in ["a", "b", "c", "d"] {
            pool.insert(seat(name));
        }
        pool.choose("a");
        pool.choose("d");
        pool.choose("d");
        assert!(pool.remove("a").is_some());
        assert!(pool.remove("a").is_none());
        for name in ["b", "c", "d"] {
            assert_eq!(pool.get(name).map(|s| s.provider.as_str()), Some(name));
        }
        let recent: Vec<_> = pool
            .recent()
            .iter()
            .map(|at| pool.seats()[*at].provider.as_str())
            .collect();
        assert_eq!(recent, ["d"], "d moved into the place of a");
    }

    #[test]
    fn the_memory_holds_the_last_few() {
        let mut pool = Pool::default();
        for n in 0..100 {
            pool.insert(seat(&n.to_string()));
            pool.choose(&n.to_string());
        }
        let mut recent = pool.recent().to_vec();
        recent.sort_unstable();
        assert_eq!(recent, (92..100).collect::<Vec<_>>());
    }
}
