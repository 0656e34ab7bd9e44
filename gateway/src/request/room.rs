//! How many calls a gateway serves at a time, how many bytes of their bodies it keeps, and how much of both one account
//! may have.
//!
//! Of what the others leave, an account may take a share and no more: whoever fills a gateway with slow or large bodies
//! meets their own end first, and there is always something left for the next account. Nothing here waits.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filature_billing::AccountId;
use parking_lot::Mutex;

use crate::config::ServerSettings;
use crate::reject::Reject;

/// Parts that accounts are spread over, so that calls of different accounts seldom meet at a lock.
const PARTS: usize = 64;

/// Room for calls.
#[derive(Debug)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    calls: Total,
    bytes: Total,
    /// A body that is allowed at all finds room where there is any.
    body_bytes_max: usize,
    /// In percent.
    share: usize,
    hasher: RandomState,
    parts: [Mutex<HashMap<AccountId, Held>>; PARTS],
}

/// What all accounts have together.
#[derive(Debug)]
struct Total {
    taken: AtomicUsize,
    max: usize,
}

/// What one account has.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    calls: usize,
    bytes: usize,
}

/// A call's place and the bytes of its body; dropping it gives both back.
#[derive(Debug)]
pub struct Place {
    room: Arc<Inner>,
    account: AccountId,
    bytes: usize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// All places are taken.
    Calls,
    /// All bytes are.
    Bytes,
    /// The account has its share of the places.
    ShareOfCalls,
    /// The account has its share of the bytes.
    ShareOfBytes,
}

impl From<NoRoom> for Reject {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::Calls => Self::Overloaded("This gateway is at its limit of concurrent calls."),
            NoRoom::Bytes => Self::Overloaded("This gateway has as many bytes of requests under way as it takes."),
            NoRoom::ShareOfCalls => {
                Self::Crowded("This account has its share of the calls that this gateway serves at a time.")
            }
            NoRoom::ShareOfBytes => {
                Self::Crowded("This account has its share of the bytes of requests that this gateway takes at a time.")
            }
        }
    }
}

impl Total {
    fn new(max: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max,
        }
    }

    /// Takes `more` and says how much is taken now; nothing where that is too much.
    fn take(&self, more: usize) -> Option<usize> {
        let taken = self.taken.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if taken > self.max {
            self.give_back(more);
            return None;
        }
        Some(taken)
    }

    fn give_back(&self, some: usize) {
        self.taken.fetch_sub(some, Ordering::Relaxed);
    }

    /// What one account may have that has `own` of the `taken`.
    fn share(&self, taken: usize, own: usize, percent: usize) -> usize {
        let left = self.max.saturating_sub(taken.saturating_sub(own));
        // In wide arithmetic: bytes of large machines times a hundred.
        usize::try_from(left as u128 * percent as u128 / 100).unwrap_or(left)
    }
}

impl Room {
    /// Room for as much as the settings say.
    #[must_use]
    pub fn new(settings: &ServerSettings) -> Self {
        let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let body_bytes_max = bytes(settings.body_bytes_max);
        Self(Arc::new(Inner {
            calls: Total::new(settings.concurrent_calls_max),
            bytes: Total::new(bytes(settings.bodies_bytes_max).max(body_bytes_max)),
            body_bytes_max,
            share: settings.account_share_percent as usize,
            hasher: RandomState::new(),
            parts: [(); PARTS].map(|()| Mutex::default()),
        }))
    }

    /// Calls that have a place.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.calls.taken.load(Ordering::Relaxed)
    }

    /// Takes a place for a call of this account.
    ///
    /// # Errors
    /// [`NoRoom::Calls`], [`NoRoom::ShareOfCalls`].
    pub fn enter(&self, account: &AccountId) -> Result<Place, NoRoom> {
        let room = &self.0;
        let taken = room.calls.take(1).ok_or(NoRoom::Calls)?;
        let mut part = room.part(account).lock();
        let held = part.get(account).copied().unwrap_or_default();
        let own = held.calls + 1;
        if own > room.calls.share(taken, own, room.share).max(1) {
            room.calls.give_back(1);
            return Err(NoRoom::ShareOfCalls);
        }
        part.insert(account.clone(), Held { calls: own, ..held });
        Ok(Place {
            room: room.clone(),
            account: account.clone(),
            bytes: 0,
        })
    }
}

impl Inner {
    fn part(&self, account: &AccountId) -> &Mutex<HashMap<AccountId, Held>> {
        &self.parts[self.hasher.hash_one(account) as usize % PARTS]
    }
}

impl Place {
    /// Takes room for a body of so many bytes, as far as it has not.
    ///
    /// # Errors
    /// [`NoRoom::Bytes`], [`NoRoom::ShareOfBytes`]; what was taken before is kept.
    pub fn hold(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let room = &self.room;
        let taken = room.bytes.take(more).ok_or(NoRoom::Bytes)?;
        let mut part = room.part(&self.account).lock();
        let held = part.entry(self.account.clone()).or_default();
        let own = held.bytes + more;
        if own > room.bytes.share(taken, own, room.share).max(room.body_bytes_max) {
            room.bytes.give_back(more);
            return Err(NoRoom::ShareOfBytes);
        }
        held.bytes = own;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let room = &self.room;
        {
            let mut part = room.part(&self.account).lock();
            if let Some(held) = part.get_mut(&self.account) {
                held.calls = held.calls.saturating_sub(1);
                held.bytes = held.bytes.saturating_sub(self.bytes);
                if held.calls == 0 {
                    part.remove(&self.account);
                }
            }
        }
        room.bytes.give_back(self.bytes);
        room.calls.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn room(calls: usize, bytes: u64, share: u32) -> Room {
        Room::new(&ServerSettings {
            concurrent_calls_max: calls,
            bodies_bytes_max: bytes,
            body_bytes_max: 10,
            account_share_percent: share,
            ..ServerSettings::default()
        })
    }

    fn account(name: &str) -> AccountId {
        AccountId::parse(&format!("acct_{name}")).expect("an id")
    }

    /// As many places as the account gets.
    fn fill(room: &Room, name: &str) -> Vec<Place> {
        std::iter::from_fn(|| room.enter(&account(name)).ok()).collect()
    }

    fn is_empty(room: &Room) -> bool {
        let left = |total: &Total| total.taken.load(Ordering::Relaxed);
        left(&room.0.calls) == 0 && left(&room.0.bytes) == 0 && room.0.parts.iter().all(|part| part.lock().is_empty())
    }

    #[test]
    fn however_many_accounts_are_greedy_there_is_room_for_the_next() {
        let room = room(800, 1, 50);
        let all: Vec<_> = ["one", "two", "three"].map(|name| fill(&room, name)).into();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [400, 200, 100]);
        assert_eq!(room.enter(&account("one")).map(|_| ()), Err(NoRoom::ShareOfCalls));
        let next = fill(&room, "next");
        assert_eq!(next.len(), 50);
        drop((all, next));
        assert!(is_empty(&room));
    }

    #[test]
    fn a_share_of_all_is_no_limit_and_the_smallest_room_takes_a_call() {
        let whole = room(7, 1, 100);
        assert_eq!(fill(&whole, "one").len(), 7);
        let smallest = room(1, 1, 50);
        let place = smallest.enter(&account("one")).expect("room");
        assert_eq!(smallest.enter(&account("two")).map(|_| ()), Err(NoRoom::Calls));
        drop(place);
        assert!(is_empty(&smallest));
    }

    #[test]
    fn bytes_are_shared_like_places() {
        let room = room(100, 40, 50);
        let mut greedy = fill(&room, "greedy");
        for (at, held) in [Ok(()), Ok(()), Err(NoRoom::ShareOfBytes)].into_iter().enumerate() {
            assert_eq!(greedy[at].hold(10), held, "{at}");
        }
        // What a body has taken it need not take again, and it gives all of it back.
        assert_eq!(greedy[0].hold(10), Ok(()));
        assert_eq!(greedy[0].hold(3), Ok(()));
        let mut other = room.enter(&account("other")).expect("room");
        assert_eq!(other.hold(4), Ok(()));
        assert_eq!(other.hold(10), Ok(()));
        let mut third = room.enter(&account("third")).expect("room");
        assert_eq!(third.hold(10), Ok(()), "any body that is allowed at all");
        assert_eq!(third.hold(11), Err(NoRoom::Bytes));
        drop((greedy, other, third));
        assert!(is_empty(&room));
    }

    #[test]
    fn nothing_is_lost_where_many_come_and_go_at_once() {
        let room = room(64, 200, 50);
        thread::scope(|scope| {
            for number in 0..4 {
                let room = &room;
                scope.spawn(move || {
                    for turn in 0..2_000 {
                        let name = format!("{}", (number + turn) % 3);
                        let places = (0..turn % 30).map(|_| room.enter(&account(&name)));
                        let mut places: Vec<_> = places.flatten().collect();
                        for place in &mut places {
                            // Refused or not: what is held is given back.
                            let _ = place.hold(turn % 11);
                        }
                    }
                });
            }
        });
        assert!(is_empty(&room));
    }
}
