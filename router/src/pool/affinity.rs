//! Which providers have seen the opening of a prompt before: they need not work through it again.
//!
//! Per pool, a bounded map from a prefix (a hash that calls with a common opening share) to the two
//! providers that saw it last. Forgetting is by the clock algorithm (Corbató 1968): a prefix that
//! was used again since it came up last gets another round.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use crate::time::Time;

/// Prefixes remembered per pool. Chosen here: at most some 6 MB.
const PREFIXES_MAX: usize = 65_536;

/// Providers remembered per prefix: the one that serves a session, and the one it fell back to.
const PROVIDERS: usize = 2;

/// Seconds after which a cache has forgotten a prefix that was not used. Source: the least time
/// that `OpenAI` and Anthropic state for theirs.
const FADE_S: u32 = 300;

/// Faded prefixes looked for with every new one, so that a map that was full shrinks again.
const SWEPT: usize = 2;

/// Of a prompt at least this part counts as work: no cache is sure, and templates cost too.
const FRESH_PART: u32 = 16;

/// A seat's load beside the others from which on what it has cached does not count any more:
/// `LOAD_RATIO` × mean + `LOAD_SLACK`. Source: `SGLang`'s router, which switches from its cache tree
/// to the shortest queue in the same way (ratio 1.5 and an absolute margin).
const LOAD_RATIO: f64 = 1.5;
const LOAD_SLACK: f64 = 4.0;

/// Prompt tokens left to work through when `seen` of them are cached.
pub(crate) fn left_to_do(prompt_tokens: u32, seen: u32) -> u32 {
    let left = prompt_tokens.saturating_sub(seen);
    left.max(prompt_tokens.div_ceil(FRESH_PART))
}

/// Whether a seat has so much more to do than the others that its cache is no reason to add to it.
pub(crate) fn is_overrun(load: f64, mean: f64) -> bool {
    load > LOAD_RATIO * mean + LOAD_SLACK
}

/// What the caches of a pool hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Affinity {
    entries: HashMap<u64, Entry>,
    /// Every prefix once, the next to be forgotten in front.
    order: VecDeque<u64>,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Entry {
    caches: [Cache; PROVIDERS],
    was_used_again: bool,
}

/// What one provider holds. Times are whole seconds, for the sake of size.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Cache {
    seat: u32,
    tokens: u32,
    at_s: u32,
}

impl Cache {
    fn is_fresh(&self, now_s: u32) -> bool {
        self.tokens > 0 && now_s.saturating_sub(self.at_s) <= FADE_S
    }
}

impl Affinity {
    /// The seat of this number holds `tokens` of `prefix` from now on.
    pub(crate) fn saw(&mut self, prefix: u64, seat: u32, tokens: u32, now: Time) {
        let cache = Cache {
            seat,
            tokens,
            at_s: whole_seconds(now),
        };
        if let Some(entry) = self.entries.get_mut(&prefix) {
            entry.was_used_again = true;
            let known = entry.caches.iter().position(|cache| cache.seat == seat);
            let oldest = (0..PROVIDERS).min_by_key(|at| (entry.caches[*at].tokens > 0, entry.caches[*at].at_s));
            if let Some(at) = known.or(oldest) {
                entry.caches[at] = cache;
            }
            return;
        }
        self.make_room(cache.at_s);
        let mut entry = Entry::default();
        entry.caches[0] = cache;
        self.entries.insert(prefix, entry);
        self.order.push_back(prefix);
    }

    /// The seats, by number, whose caches hold something of `prefix`, and how many tokens.
    pub(crate) fn holders(&self, prefix: u64, now: Time) -> SmallVec<[(u32, u32); PROVIDERS]> {
        let now_s = whole_seconds(now);
        let caches = self.entries.get(&prefix).map_or(&[][..], |entry| &entry.caches[..]);
        let fresh = caches.iter().filter(|cache| cache.is_fresh(now_s));
        fresh.map(|cache| (cache.seat, cache.tokens)).collect()
    }

    fn make_room(&mut self, now_s: u32) {
        let mut looked_at = 0;
        while looked_at < SWEPT || self.entries.len() >= PREFIXES_MAX {
            let Some(prefix) = self.order.pop_front() else { return };
            looked_at += 1;
            let is_full = self.entries.len() >= PREFIXES_MAX;
            let Some(entry) = self.entries.get_mut(&prefix) else {
                continue;
            };
            let is_fresh = entry.caches.iter().any(|cache| cache.is_fresh(now_s));
            if is_fresh && (!is_full || entry.was_used_again) {
                // In a full map this grants one more round, once.
                entry.was_used_again &= !is_full;
                self.order.push_back(prefix);
            } else {
                self.entries.remove(&prefix);
            }
        }
    }

    /// Bytes on the heap, about.
    pub(crate) fn bytes(&self) -> usize {
        let entry = size_of::<(u64, Entry)>() + 1; // One byte of control in the table.
        self.entries.capacity() * entry * 8 / 7 + self.order.capacity() * size_of::<u64>()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        assert_eq!(self.entries.len(), self.order.len());
        self.entries.len()
    }
}

fn whole_seconds(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    #[test]
    fn the_last_two_holders_are_known_until_they_fade() {
        let mut affinity = Affinity::default();
        assert!(affinity.holders(7, at(0)).is_empty());
        affinity.saw(7, 1, 100, at(0));
        affinity.saw(7, 2, 200, at(10));
        affinity.saw(7, 1, 150, at(20));
        assert_eq!(affinity.holders(7, at(20)).to_vec(), [(1, 150), (2, 200)]);
        affinity.saw(7, 3, 300, at(30));
        assert_eq!(affinity.holders(7, at(30)).to_vec(), [(1, 150), (3, 300)]);
        assert_eq!(affinity.holders(7, at(325)).to_vec(), [(3, 300)]);
        assert!(affinity.holders(7, at(331)).is_empty());
    }

    #[test]
    fn the_map_is_bounded_keeps_what_is_used_and_shrinks_when_all_has_faded() {
        let mut affinity = Affinity::default();
        for prefix in 0..200_000 {
            affinity.saw(prefix, 1, 10, at(1));
            affinity.saw(42, 1, 10, at(1));
        }
        assert_eq!(affinity.len(), PREFIXES_MAX);
        assert!(!affinity.holders(42, at(1)).is_empty(), "used again and again");
        assert!(affinity.holders(43, at(1)).is_empty());
        println!("{} bytes for {PREFIXES_MAX} prefixes", affinity.bytes());
        assert!(affinity.bytes() < 8 << 20);
        for prefix in 0..80_000 {
            affinity.saw(1_000_000 + prefix % 10, 1, 10, at(1000));
            affinity.saw(2_000_000 + prefix, 1, 10, at(1000 + prefix / 10));
        }
        assert!(affinity.len() < 10_000, "{}", affinity.len());
    }

    #[test]
    fn a_cached_prompt_still_costs_a_sixteenth() {
        assert_eq!(left_to_do(1600, 0), 1600);
        assert_eq!(left_to_do(1600, 1000), 600);
        assert_eq!(left_to_do(1600, 9999), 100);
        assert_eq!(left_to_do(1, 9), 1);
        assert_eq!(left_to_do(0, 9), 0);
    }
}
