//! What happens next: a queue of moments in virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Microseconds since the start of a run.
pub(super) type Micros = u64;

/// `seconds` in whole microseconds, rounded up, so that whatever takes time never ends early.
pub(super) fn micros(seconds: f64) -> Micros {
    (seconds.max(0.0) * 1e6).ceil() as Micros
}

/// Microseconds as seconds.
pub(super) fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

/// What is to happen; things of one moment happen in the order they were entered.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    entries: BinaryHeap<Entry<T>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Micros,
    order: u64,
    what: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self {
            entries: BinaryHeap::new(),
            entered: 0,
        }
    }
}

impl<T> Agenda<T> {
    /// Enters `what` for the moment `at`.
    pub(super) fn enter(&mut self, at: Micros, what: T) {
        self.entered += 1;
        self.entries.push(Entry {
            at,
            order: self.entered,
            what,
        });
    }

    /// Takes out what comes next, with its moment.
    pub(super) fn next(&mut self) -> Option<(Micros, T)> {
        self.entries.pop().map(|entry| (entry.at, entry.what))
    }
}

impl<T> Ord for Entry<T> {
    /// The earliest is the greatest, because the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_ties_keep_their_order() {
        let mut agenda = Agenda::default();
        for (at, what) in [(5, 'b'), (1, 'a'), (5, 'c'), (9, 'd')] {
            agenda.enter(at, what);
        }
        let order: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        assert_eq!(order, [(1, 'a'), (5, 'b'), (5, 'c'), (9, 'd')]);
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!((micros(0.000_000_1), micros(-1.0), micros(2.0)), (1, 0, 2_000_000));
        assert!((seconds(2_500_000) - 2.5).abs() < 1e-12);
    }
}
