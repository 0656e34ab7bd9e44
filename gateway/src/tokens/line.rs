//! What waits to be counted, and whose turn it is.
//!
//! Accounts take turns by bytes: next is the account whose texts have had the least counted since it began to wait. Of what
//! others leave, an account's texts may take half of the queue. So whoever hands in the most waits the longest, and a
//! short text of anybody else waits for one text at most.

use std::collections::{BTreeSet, HashMap, VecDeque};

use filature_billing::AccountId;
use parking_lot::{Condvar, Mutex};

/// The most texts that wait to be counted.
const JOBS_MAX: usize = 4096;
/// The most bytes that wait to be counted: about six seconds of work for one thread and a `tokenizer.json` (2.8 MB/s).
const BYTES_MAX: usize = 16 << 20;
/// What the shortest text weighs in an account's turn, in bytes: it costs more than its bytes.
const TURN_BYTES_MIN: usize = 1 << 10;

/// Something to be counted.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// All accounts' lines.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    accounts: HashMap<AccountId, Line>,
    /// The accounts that wait, the next one first: by turn, and of equal turns who came first, by number.
    turns: BTreeSet<(u64, u64, AccountId)>,
    /// The turn that was had last. An account that begins to wait begins here.
    turn: u64,
    /// How often an account has got in line.
    arrivals: u64,
    /// Of all accounts.
    all: Load,
    is_closed: bool,
}

/// One account's texts.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(usize, Job)>,
    /// Those being counted included.
    load: Load,
    turn: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Load {
    jobs: usize,
    bytes: usize,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("load", &self.load).finish_non_exhaustive()
    }
}

impl Load {
    const MAX: Self = Self {
        jobs: JOBS_MAX,
        bytes: BYTES_MAX,
    };

    fn and(self, bytes: usize) -> Self {
        Self {
            jobs: self.jobs + 1,
            bytes: self.bytes + bytes,
        }
    }

    fn less(self, bytes: usize) -> Self {
        Self {
            jobs: self.jobs.saturating_sub(1),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_sub(other.jobs),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn half(self) -> Self {
        Self {
            jobs: self.jobs / 2,
            bytes: self.bytes / 2,
        }
    }

    fn fits(self, into: Self) -> bool {
        self.jobs <= into.jobs && self.bytes <= into.bytes
    }
}

impl Queue {
    /// Takes a job of so many bytes; `false` where the account has its share. A share is half of what others leave, so
    /// there is always some left for a short text of one more.
    pub(super) fn hand_in(&self, account: &AccountId, bytes: usize, job: Job) -> bool {
        let mut lines = self.lines.lock();
        let own = lines.accounts.get(account).map_or(Load::default(), |line| line.load);
        let (all_then, own_then) = (lines.all.and(bytes), own.and(bytes));
        let share = Load::MAX.without(lines.all.without(own)).half();
        if !own_then.fits(share) {
            return false;
        }
        lines.all = all_then;
        let turn = lines.turn;
        let line = lines.accounts.entry(account.clone()).or_default();
        line.load = own_then;
        let was_idle = line.waiting.is_empty();
        line.waiting.push_back((bytes, job));
        if was_idle {
            line.turn = line.turn.max(turn);
            let turn = line.turn;
            lines.get_in_line(turn, account.clone());
        }
        drop(lines);
        self.changed.notify_one();
        true
    }

    /// Does the next job, once there is one; `false` when there will be none.
    pub(super) fn work(&self) -> bool {
        let Some((account, bytes, job)) = self.next() else {
            return false;
        };
        job();
        self.lines.lock().done(&account, bytes);
        true
    }

    /// No further job comes. What waits is given up.
    pub(super) fn close(&self) {
        self.lines.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<(AccountId, usize, Job)> {
        let mut lines = self.lines.lock();
        loop {
            if lines.is_closed {
                return None;
            }
            if let Some(next) = lines.take() {
                return Some(next);
            }
            self.changed.wait(&mut lines);
        }
    }
}

impl Lines {
    fn get_in_line(&mut self, turn: u64, account: AccountId) {
        self.arrivals += 1;
        self.turns.insert((turn, self.arrivals, account));
    }

    fn take(&mut self) -> Option<(AccountId, usize, Job)> {
        let (turn, _, account) = self.turns.pop_first()?;
        self.turn = turn;
        let line = self.accounts.get_mut(&account)?;
        let (bytes, job) = line.waiting.pop_front()?;
        line.turn = turn.saturating_add(bytes.max(TURN_BYTES_MIN) as u64);
        if !line.waiting.is_empty() {
            let turn = line.turn;
            self.get_in_line(turn, account.clone());
        }
        Some((account, bytes, job))
    }

    fn done(&mut self, account: &AccountId, bytes: usize) {
        self.all = self.all.less(bytes);
        if let Some(line) = self.accounts.get_mut(account) {
            line.load = line.load.less(bytes);
            if line.load.jobs == 0 {
                self.accounts.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn account(name: &str) -> AccountId {
        AccountId::parse(&format!("acct_{name}")).expect("an id")
    }

    /// A queue, and the names of the jobs it has done.
    #[derive(Default)]
    struct Told {
        queue: Queue,
        done: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Told {
        fn hand_in(&self, name: &'static str, bytes: usize) -> bool {
            let done = self.done.clone();
            self.queue
                .hand_in(&account(name), bytes, Box::new(move || done.lock().push(name)))
        }

        /// Does so many jobs, and says whose they were.
        fn work(&self, jobs: usize) -> Vec<&'static str> {
            for _ in 0..jobs {
                assert!(self.queue.work());
            }
            std::mem::take(&mut *self.done.lock())
        }
    }

    #[test]
    fn accounts_take_turns_by_bytes() {
        let told = Told::default();
        for _ in 0..3 {
            assert!(told.hand_in("a", 100_000));
        }
        for _ in 0..5 {
            assert!(told.hand_in("b", 50_000));
        }
        assert_eq!(told.work(8), ["a", "b", "b", "a", "b", "b", "a", "b"]);
        assert!(
            told.queue.lines.lock().accounts.is_empty(),
            "nobody waits, nobody is known"
        );
    }

    #[test]
    fn a_newcomer_waits_for_one_text_and_not_for_the_line() {
        let told = Told::default();
        for _ in 0..100 {
            assert!(told.hand_in("greedy", 50_000));
        }
        assert_eq!(told.work(10), ["greedy"; 10]);
        assert!(told.hand_in("newcomer", 10));
        assert_eq!(told.work(2), ["newcomer", "greedy"]);
        // Having waited for nothing gives no right to all turns afterwards.
        for _ in 0..3 {
            assert!(told.hand_in("newcomer", 50_000));
        }
        let work = told.work(6);
        assert_eq!(work.iter().filter(|name| **name == "newcomer").count(), 3, "{work:?}");
        assert_ne!(work[..3], ["newcomer"; 3]);
    }

    #[test]
    fn of_equal_turns_the_first_to_come_is_next() {
        let told = Told::default();
        for name in ["a", "b", "z"] {
            assert!(told.hand_in(name, 100));
        }
        // Accounts that come back as soon as they have been served do not pass one that waits.
        assert_eq!(told.work(1), ["a"]);
        assert!(told.hand_in("a", 100));
        assert_eq!(told.work(1), ["b"]);
        assert!(told.hand_in("b", 100));
        assert_eq!(told.work(3), ["z", "a", "b"]);
    }

    #[test]
    fn texts_and_bytes_are_shared() {
        let told = Told::default();
        let fill = |name, bytes| (0..).take_while(|_| told.hand_in(name, bytes)).count();
        assert_eq!(fill("few-large", 1 << 20), 8);
        assert_eq!(fill("many-small", 0), (JOBS_MAX - 8) / 2);
        assert_eq!(fill("next", 1 << 20), 4);
        assert!(
            !told.hand_in("last", 4 << 20),
            "half of what others leave is all there is"
        );
        assert!(told.hand_in("last", 2 << 20));
        // However many come, there is something left for a short text of one more.
        assert!(told.hand_in("short", 100 << 10) && told.hand_in("shorter", 100 << 10));
        let all = told.queue.lines.lock().all.jobs;
        assert_eq!(told.work(all).len(), all);
        let lines = told.queue.lines.lock();
        assert_eq!((lines.all.jobs, lines.all.bytes, lines.accounts.len()), (0, 0, 0));
    }

    #[test]
    fn a_queue_that_is_closed_gives_up_what_waits() {
        let told = Told::default();
        assert!(told.hand_in("a", 1));
        told.queue.close();
        assert!(!told.queue.work());
    }
}
