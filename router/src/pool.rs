//! All seats of one model, dense for scanning, with their index by provider.

pub(crate) mod affinity;

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use smallvec::SmallVec;

use crate::names::ProviderId;
use crate::pool::affinity::Affinity;
use crate::preferences::names;
use crate::seat::Seat;
use crate::time::Time;

/// Seats remembered as chosen last: the memory of power-of-d-choices (Mitzenmacher, Prabhakar and
/// Shah, 2002), used where the pool is too large to score every seat.
const RECENT_MAX: usize = 8;

/// Positions of seats, few.
pub(crate) type Positions = SmallVec<[usize; 8]>;

/// The seats of one model.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Pool {
    seats: Vec<Seat>,
    at: HashMap<ProviderId, usize>,
    /// The same names in order, for the beginnings of names.
    names: BTreeSet<ProviderId>,
    /// Positions by seat number.
    numbers: HashMap<u32, usize>,
    next_number: u32,
    recent: SmallVec<[usize; RECENT_MAX]>,
    next_recent: usize,
    /// The position after the one chosen last: the baseline "round robin" goes on from here.
    next_in_turn: usize,
    affinity: Affinity,
    work: Work,
}

/// How busy a pool is, kept up to date with every change of a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Work {
    in_flight: u64,
    /// Calls at once that those gladly take who have proven themselves.
    proven_limits: u64,
}

impl Work {
    fn of(seat: &Seat) -> Self {
        let is_counted = seat.seen.is_proven() && !seat.draining;
        Self {
            in_flight: u64::from(seat.seen.in_flight),
            proven_limits: if is_counted { u64::from(seat.limit()) } else { 0 },
        }
    }

    fn add(&mut self, other: Self) {
        self.in_flight += other.in_flight;
        self.proven_limits += other.proven_limits;
    }

    fn take(&mut self, other: Self) {
        self.in_flight -= other.in_flight;
        self.proven_limits -= other.proven_limits;
    }
}

impl Pool {
    pub(crate) fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Positions of the seats chosen last, distinct, at most eight.
    pub(crate) fn recent(&self) -> &[usize] {
        &self.recent
    }

    pub(crate) fn next_in_turn(&self) -> usize {
        self.next_in_turn
    }

    pub(crate) fn get(&self, provider: &str) -> Option<&Seat> {
        self.seats.get(*self.at.get(provider)?)
    }

    /// Whether newcomers are on probation: those who have proven themselves can carry what is at
    /// work. A fleet where nobody has yet, or that is busier than that, needs all it has.
    pub(crate) fn has_probation(&self) -> bool {
        self.work.proven_limits > self.work.in_flight
    }

    /// Positions of the seats that a caller's list names, each once, in the order of the list.
    pub(crate) fn named(&self, list: &[Box<str>]) -> Positions {
        let mut found = Positions::new();
        for entry in list {
            let from = (Bound::Included(&**entry), Bound::Unbounded);
            let named = self
                .names
                .range::<str, _>(from)
                .take_while(|id| names(entry, id.as_str()));
            for at in named.filter_map(|id| self.at.get(id)) {
                if !found.contains(at) {
                    found.push(*at);
                }
            }
        }
        found
    }

    /// Positions of the seats that hold something of `prefix`, and how many tokens.
    pub(crate) fn holders(&self, prefix: u64, now: Time) -> SmallVec<[(usize, u32); 2]> {
        let holders = self.affinity.holders(prefix, now).into_iter();
        holders
            .filter_map(|(number, tokens)| Some((*self.numbers.get(&number)?, tokens)))
            .collect()
    }

    /// The provider's cache holds `tokens` of `prefix` from now on.
    pub(crate) fn saw(&mut self, provider: &str, prefix: u64, tokens: u32, now: Time) {
        if let Some(number) = self.get(provider).map(|seat| seat.number) {
            self.affinity.saw(prefix, number, tokens, now);
        }
    }

    /// Lets `change` have the provider's seat: the one way to change one.
    pub(crate) fn change<R>(&mut self, provider: &str, change: impl FnOnce(&mut Seat) -> R) -> Option<R> {
        let at = *self.at.get(provider)?;
        self.change_at(at, change)
    }

    /// The same, remembering that the provider was chosen.
    pub(crate) fn choose(&mut self, provider: &str, change: impl FnOnce(&mut Seat)) {
        let Some(at) = self.at.get(provider).copied() else {
            return;
        };
        self.next_in_turn = at + 1;
        if !self.recent.contains(&at) {
            if self.recent.len() < RECENT_MAX {
                self.recent.push(at);
            } else {
                self.next_recent = (self.next_recent + 1) % RECENT_MAX;
                self.recent[self.next_recent] = at;
            }
        }
        self.change_at(at, change);
    }

    fn change_at<R>(&mut self, at: usize, change: impl FnOnce(&mut Seat) -> R) -> Option<R> {
        let seat = self.seats.get_mut(at)?;
        self.work.take(Work::of(seat));
        let result = change(seat);
        self.work.add(Work::of(seat));
        Some(result)
    }

    /// Adds a seat of a provider that has none here.
    pub(crate) fn insert(&mut self, mut seat: Seat) {
        let at = self.seats.len();
        // After four thousand million seats numbers come again; who still has one keeps it.
        while self.numbers.contains_key(&self.next_number) {
            self.next_number = self.next_number.wrapping_add(1);
        }
        seat.number = self.next_number;
        self.next_number = self.next_number.wrapping_add(1);
        self.numbers.insert(seat.number, at);
        self.at.insert(seat.provider.clone(), at);
        self.names.insert(seat.provider.clone());
        self.work.add(Work::of(&seat));
        self.seats.push(seat);
    }

    pub(crate) fn remove(&mut self, provider: &str) -> Option<Seat> {
        let gone = self.at.remove(provider)?;
        self.names.remove(provider);
        let seat = self.seats.swap_remove(gone);
        self.numbers.remove(&seat.number);
        self.work.take(Work::of(&seat));
        let moved_from = self.seats.len();
        if let Some(moved) = self.seats.get(gone) {
            self.at.insert(moved.provider.clone(), gone);
            self.numbers.insert(moved.number, gone);
        }
        self.recent.retain(|at| *at != gone);
        for at in &mut self.recent {
            if *at == moved_from {
                *at = gone;
            }
        }
        Some(seat)
    }

    /// Bytes on the heap, about, without names and offers.
    pub(crate) fn bytes(&self) -> usize {
        let index = size_of::<(ProviderId, usize)>() + size_of::<(u32, usize)>() + 2;
        let named = size_of::<ProviderId>() * 3 / 2; // Nodes of a B-tree are two thirds full.
        let held: usize = self.seats.iter().map(|seat| seat.seen.bytes()).sum();
        self.seats.capacity() * size_of::<Seat>()
            + held
            + self.at.capacity() * index * 8 / 7
            + self.names.len() * named
            + self.affinity.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ModelId;
    use crate::offer::{OfferedModel, Price};
    use crate::seat::Seen;
    use crate::sets::{Capabilities, Endpoints, Precisions};

    fn seat(name: &str) -> Seat {
        let offer = OfferedModel {
            model: ModelId::from("m"),
            price: Price::default(),
            concurrency_max: 5,
            context_tokens_max: 1,
            output_tokens_max: 1,
            can: Capabilities::NONE,
            endpoints: Endpoints::CHAT,
            quantization: None,
            precision: Precisions::UNKNOWN,
        };
        Seat::new(ProviderId::from(name), offer, Seen::default())
    }

    fn names_at(pool: &Pool, positions: &[usize]) -> Vec<String> {
        let name = |at: &usize| pool.seats()[*at].provider.to_string();
        positions.iter().map(name).collect()
    }

    #[test]
    fn the_index_and_the_memory_survive_removal() {
        let mut pool = Pool::default();
        for name in ["a", "b", "c", "d"] {
            pool.insert(seat(name));
        }
        pool.choose("a", |_| ());
        pool.choose("d", |_| ());
        pool.choose("d", |_| ());
        assert!(pool.remove("a").is_some());
        assert!(pool.remove("a").is_none());
        for name in ["b", "c", "d"] {
            assert_eq!(pool.get(name).map(|s| s.provider.as_str()), Some(name));
        }
        assert_eq!(names_at(&pool, pool.recent()), ["d"], "d moved into the place of a");
    }

    #[test]
    fn the_memory_holds_the_last_few() {
        let mut pool = Pool::default();
        for n in 0..100 {
            pool.insert(seat(&n.to_string()));
            pool.choose(&n.to_string(), |_| ());
        }
        let mut recent = pool.recent().to_vec();
        recent.sort_unstable();
        assert_eq!(recent, (92..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_list_names_seats_by_id_or_long_prefix_each_once() {
        let mut pool = Pool::default();
        for name in ["short", "0123456789abcdef-1", "0123456789abcdef-2", "0123456789abcde"] {
            pool.insert(seat(name));
        }
        let list = ["0123456789abcdef", "shor", "short", "0123456789abcdef-1", "nobody"].map(Box::from);
        let named = pool.named(&list);
        assert_eq!(
            names_at(&pool, &named),
            ["0123456789abcdef-1", "0123456789abcdef-2", "short"]
        );
    }

    #[test]
    fn who_leaves_is_no_holder_any_more_and_who_moves_still_is() {
        let mut pool = Pool::default();
        for name in ["a", "b", "c"] {
            pool.insert(seat(name));
        }
        pool.saw("a", 7, 100, Time::default());
        pool.saw("c", 7, 300, Time::default());
        pool.saw("nobody", 7, 300, Time::default());
        pool.remove("a");
        let holders = pool.holders(7, Time::default());
        assert_eq!(holders.to_vec(), [(0, 300)]);
        assert_eq!(names_at(&pool, &[0]), ["c"]);
        // Back again, it is another seat: its engine may be another too.
        pool.insert(seat("a"));
        assert_eq!(pool.holders(7, Time::default()).len(), 1);
    }

    #[test]
    fn newcomers_are_on_probation_while_the_proven_can_carry_the_work() {
        let mut pool = Pool::default();
        for name in ["old", "new"] {
            pool.insert(seat(name));
        }
        assert!(!pool.has_probation(), "everybody is new");
        pool.change("old", |seat| seat.seen.served = 1000);
        assert!(pool.has_probation());
        for _ in 0..5 {
            pool.change("new", |seat| seat.seen.started(1, Time::default()));
        }
        assert!(!pool.has_probation(), "five at work, and the proven one takes five");
        pool.remove("new");
        assert!(pool.has_probation());
        pool.change("old", |seat| seat.draining = true);
        assert!(!pool.has_probation());
        pool.remove("old");
        assert_eq!(pool.work, Work::default());
    }
}
