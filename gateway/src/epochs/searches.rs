//! Who looks for a receipt among the epochs, and when: few at a time, and of one account one after the other, so that
//! nobody who asks for receipts that are not there keeps others from theirs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{AccountId, CallId};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Searches at the same time.
const SEARCHES_MAX: usize = 4;
/// Searches of one account, the one under way included; the next is refused.
const LINE_MAX: usize = 8;
/// How long it is remembered that an account has no such receipt. Late posts are sealed later, so not for long.
const MISSED_FOR: Duration = Duration::from_secs(2);
/// Misses that are remembered.
const MISSES_MAX: usize = 4096;

/// An account has as many searches waiting as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many searches of one account")]
pub struct Crowded;

/// Room for those who look for a receipt.
#[derive(Debug)]
pub struct Searches {
    places: Semaphore,
    lines: Mutex<HashMap<AccountId, Line>>,
    misses: Mutex<VecDeque<Miss>>,
}

/// The searches of one account.
#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    length: usize,
}

/// What was not found.
#[derive(Debug)]
struct Miss {
    account: AccountId,
    call: CallId,
    until: Instant,
}

/// A place in an account's line; dropping it leaves the line.
#[derive(Debug)]
struct Place<'a> {
    searches: &'a Searches,
    account: &'a AccountId,
}

/// The right to search, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _search: SemaphorePermit<'a>,
    _turn: OwnedSemaphorePermit,
    _place: Place<'a>,
}

impl Default for Searches {
    fn default() -> Self {
        Self {
            places: Semaphore::new(SEARCHES_MAX),
            lines: Mutex::default(),
            misses: Mutex::default(),
        }
    }
}

impl Searches {
    /// Waits until it is the account's turn to search. An account has one search at a time, so that those who wait for one
    /// of the few places are as many accounts.
    ///
    /// # Errors
    /// [`Crowded`], at once, if the account's line is full.
    pub async fn turn<'a>(&'a self, account: &'a AccountId) -> Result<Turn<'a>, Crowded> {
        let (turn, place) = self.stand_in_line(account)?;
        // Neither semaphore is ever closed.
        let turn = turn.acquire_owned().await.map_err(|_closed| Crowded)?;
        let search = self.places.acquire().await.map_err(|_closed| Crowded)?;
        Ok(Turn {
            _search: search,
            _turn: turn,
            _place: place,
        })
    }

    fn stand_in_line<'a>(&'a self, account: &'a AccountId) -> Result<(Arc<Semaphore>, Place<'a>), Crowded> {
        let mut lines = self.lines.lock();
        let line = lines.entry(account.clone()).or_insert_with(|| Line {
            turn: Arc::new(Semaphore::new(1)),
            length: 0,
        });
        if line.length >= LINE_MAX {
            return Err(Crowded);
        }
        line.length += 1;
        let searches = self;
        Ok((line.turn.clone(), Place { searches, account }))
    }

    /// Whether it was found a moment ago that the account has no receipt of this call in the epochs.
    #[must_use]
    pub fn is_missing(&self, account: &AccountId, call: &CallId, now: Instant) -> bool {
        let mut misses = self.misses.lock();
        while misses.front().is_some_and(|miss| miss.until <= now) {
            misses.pop_front();
        }
        misses.iter().any(|miss| miss.call == *call && miss.account == *account)
    }

    /// The account has no receipt of this call in the epochs.
    pub fn missed(&self, account: &AccountId, call: &CallId, now: Instant) {
        let mut misses = self.misses.lock();
        if misses.len() >= MISSES_MAX {
            misses.pop_front();
        }
        misses.push_back(Miss {
            account: account.clone(),
            call: *call,
            until: now + MISSED_FOR,
        });
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.searches.lines.lock();
        if let Some(line) = lines.get_mut(self.account) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::parse(&format!("acct_{name}")).expect("an id")
    }

    #[tokio::test]
    async fn an_account_searches_once_at_a_time_and_leaves_the_other_places() {
        let searches = Searches::default();
        let (greedy, other) = (account("greedy"), account("other"));
        let first = searches.turn(&greedy).now_or_never().expect("at once").expect("room");
        let mut waiting: Vec<_> = (1..LINE_MAX).map(|_| Box::pin(searches.turn(&greedy))).collect();
        for turn in &mut waiting {
            assert!(turn.now_or_never().is_none(), "a second search of one account");
        }
        let refused = searches.turn(&greedy).now_or_never().expect("at once");
        assert_eq!(refused.map(|_| ()), Err(Crowded));
        // Others have their turn meanwhile.
        drop(searches.turn(&other).now_or_never().expect("at once").expect("room"));
        drop(first);
        let mut waiting = waiting.into_iter();
        let next = waiting.next().expect("one waits").now_or_never().expect("at once");
        assert!(next.is_ok());
        drop((next, waiting));
        assert!(searches.lines.lock().is_empty(), "an account that searches no more");
    }

    #[tokio::test]
    async fn all_who_wait_have_their_turn() {
        let searches = Searches::default();
        let accounts: Vec<_> = (0..20).map(|number| account(&number.to_string())).collect();
        let all = accounts.iter().flat_map(|account| {
            (0..LINE_MAX).map(|_| async {
                let turn = searches.turn(account).await.expect("room");
                assert!(searches.places.available_permits() < SEARCHES_MAX);
                tokio::task::yield_now().await;
                drop(turn);
            })
        });
        join_all(all).await;
        assert_eq!(searches.places.available_permits(), SEARCHES_MAX);
        assert!(searches.lines.lock().is_empty());
    }

    #[test]
    fn what_was_missed_is_remembered_for_a_moment() {
        let searches = Searches::default();
        let now = Instant::now();
        let call = CallId::generate(1, &mut rand::rng());
        let (one, other) = (account("one"), account("other"));
        searches.missed(&one, &call, now);
        assert!(searches.is_missing(&one, &call, now));
        assert!(!searches.is_missing(&other, &call, now));
        assert!(!searches.is_missing(&one, &call, now + MISSED_FOR));
        for number in 0..2 * MISSES_MAX as u64 {
            searches.missed(&one, &CallId::generate(number, &mut rand::rng()), now);
        }
        assert_eq!(searches.misses.lock().len(), MISSES_MAX);
    }
}
