//! Calls that wait for a provider: bounded, by rank, shedding the least first. Keeps the line;
//! who wakes the calls and counts their time is the gateway's matter.
//!
//! A queue that never empties delays everybody and serves nobody better, so its patience shrinks:
//! controlled delay (Nichols and Jacobson, "Controlling Queue Delay", 2012), in the form that
//! Facebook gave it for servers (Maurer, "Fail at Scale", 2015). Not while it is on its way to being
//! empty, though: a burst that has come is worked off.

mod flow;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use self::flow::Flow;
use crate::time::{Time, clamped_seconds};

/// Seconds of a waiting line over which the rate of service is averaged. Chosen here: a few calls'
/// length, so that the rate follows a loss of providers.
const RATE_FADE_S: f64 = 10.0;

/// Waiting seconds below which the rate is not known yet.
const RATE_KNOWN_S: f64 = 0.1;

/// A queue that is empty for less than this was not: calls are taken out to ask, and put back.
const GAP: Duration = Duration::from_millis(10);

/// How many times longer a queue is watched to which about as many come as leave it.
const PATIENT: u32 = 4;

/// Bounds of what a caller is told to wait.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How many calls wait, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueuePolicy {
    /// Calls that wait at most.
    pub calls_max: usize,
    /// How long a call waits at most.
    pub wait_max: Duration,
    /// A queue that was not empty for this long, and to which in the latter half of that time far more
    /// came than left it for a provider, is a standing queue; after four times as long one is to which
    /// as many came as left.
    pub standing_after: Duration,
    /// How long a call waits in a standing queue at most.
    pub standing_wait: Duration,
}

impl Default for QueuePolicy {
    /// 1,024 calls of 10 s; 200 ms once it stands, which takes 500 ms. Chosen here: a call that is
    /// let in under lasting overload then waits less than an idle engine takes to its first token.
    fn default() -> Self {
        Self {
            calls_max: 1024,
            wait_max: Duration::from_secs(10),
            standing_after: Duration::from_millis(500),
            standing_wait: Duration::from_millis(200),
        }
    }
}

/// How much a waiting call matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Rank {
    /// Its class of service: the higher goes first.
    pub tier: u8,
    /// Calls its account already has, at work or waiting: within a tier the fewer goes first.
    pub share: u32,
}

/// A call's place in line. Lower is nearer to the front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Ticket {
    tier: Reverse<u8>,
    share: u32,
    /// Among equals who came first goes first.
    number: u64,
}

impl Ticket {
    const fn new(rank: Rank, number: u64) -> Self {
        Self {
            tier: Reverse(rank.tier),
            share: rank.share,
            number,
        }
    }
}

/// A call was let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pushed<T> {
    /// Its place.
    pub ticket: Ticket,
    /// The call that had to make room for it, if the queue was full.
    pub displaced: Option<T>,
}

/// Calls that wait for a provider, best first. Bounded; a value without a clock.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    policy: QueuePolicy,
    calls: BTreeMap<Ticket, T>,
    next: u64,
    /// Since when it has not been empty for long.
    since: Time,
    /// Since when it has been empty, if it is.
    empty_since: Option<Time>,
    /// Calls taken out that neither came back nor were served yet.
    out: u64,
    rate: Rate,
    flow: Flow,
}

impl<T> Queue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new(policy: QueuePolicy) -> Self {
        Self {
            policy,
            calls: BTreeMap::new(),
            next: 0,
            since: Time::default(),
            empty_since: Some(Time::default()),
            out: 0,
            rate: Rate::default(),
            flow: Flow::in_parts_of(policy.standing_after / 8),
        }
    }

    /// Lets a call wait. Where the queue is full, the least call makes room if this one is better.
    ///
    /// # Errors
    /// The call itself, if the queue is full and it is no better than any that waits.
    pub fn push(&mut self, rank: Rank, now: Time, item: T) -> Result<Pushed<T>, T> {
        self.tick(now);
        self.flow.came(now);
        let ticket = Ticket::new(rank, self.next);
        let mut displaced = None;
        if self.calls.len() >= self.policy.calls_max {
            match self.calls.last_key_value() {
                Some((least, _)) if ticket < *least => displaced = self.calls.pop_last().map(|(_, call)| call),
                _ => return Err(item),
            }
        }
        self.next += 1;
        self.calls.insert(ticket, item);
        let gap = self.empty_since.take().map(|since| now.saturating_since(since));
        if gap.is_some_and(|gap| gap >= GAP) {
            self.since = now;
        }
        Ok(Pushed { ticket, displaced })
    }

    /// Takes out the call that goes first.
    pub fn pop(&mut self, now: Time) -> Option<(Ticket, T)> {
        self.tick(now);
        let first = self.calls.pop_first()?;
        self.out += 1;
        self.note_emptiness(now);
        Some(first)
    }

    /// Puts a call back that found its place taken: it keeps its old place in line, and there is
    /// always room for it.
    pub fn put_back(&mut self, ticket: Ticket, item: T) {
        self.out = self.out.saturating_sub(1);
        self.calls.insert(ticket, item);
        self.empty_since = None;
    }

    /// Takes out a call that waits no more: it left, or its patience is at an end.
    pub fn remove(&mut self, ticket: Ticket, now: Time) -> Option<T> {
        let call = self.calls.remove(&ticket)?;
        self.note_emptiness(now);
        Some(call)
    }

    /// How long after its arrival a call may wait, as things are now.
    #[must_use]
    pub fn patience(&self, now: Time) -> Duration {
        if self.stands(now) {
            self.policy.standing_wait.min(self.policy.wait_max)
        } else {
            self.policy.wait_max
        }
    }

    /// Whether the call of this ticket waits and goes first.
    #[must_use]
    pub fn is_first(&self, ticket: Ticket) -> bool {
        self.calls.first_key_value().is_some_and(|(first, _)| *first == ticket)
    }

    /// Whether a call of this rank may go ahead of all that wait.
    #[must_use]
    pub fn is_better_than_all(&self, rank: Rank) -> bool {
        let first = self.calls.first_key_value();
        first.is_none_or(|(first, _)| Ticket::new(rank, self.next) < *first)
    }

    /// A place at a provider was given to a call that waited, or past those that wait.
    pub fn served(&mut self, now: Time) {
        self.tick(now);
        // Of calls that found no line, the rate would tell how many came, not how many can be served.
        if self.out > 0 || !self.calls.is_empty() {
            self.out = self.out.saturating_sub(1);
            self.rate.served += 1.0;
            self.flow.went(now);
        }
    }

    /// When a call of this rank that came now would have its turn, by the rate of service while
    /// calls waited: 100 ms to a minute.
    #[must_use]
    pub fn retry_after(&self, rank: Rank, now: Time) -> Duration {
        let ahead = self.calls.range(..Ticket::new(rank, self.next)).count();
        let turns = f64::from(u32::try_from(ahead).unwrap_or(u32::MAX)) + 1.0;
        let mut rate = self.rate;
        rate.pass(now, !self.calls.is_empty());
        let seconds = if rate.waited_s < RATE_KNOWN_S {
            self.policy.wait_max.as_secs_f64()
        } else {
            turns * rate.waited_s / rate.served
        };
        clamped_seconds(seconds, RETRY_AFTER_MIN, RETRY_AFTER_MAX)
    }

    /// Calls that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    fn tick(&mut self, now: Time) {
        self.rate.pass(now, !self.calls.is_empty());
    }

    /// Whether it will not empty by itself. Who came in the first half of the time is not looked at:
    /// however many they were, they may have been all.
    fn stands(&self, now: Time) -> bool {
        if self.empty_since.is_some() {
            return false;
        }
        let stood = now.saturating_since(self.since);
        if stood <= self.policy.standing_after {
            return false;
        }
        let of_late = self.flow.within(stood / 2, now);
        of_late.is_a_flood() || (stood > self.policy.standing_after * PATIENT && !of_late.ebbs())
    }

    fn note_emptiness(&mut self, now: Time) {
        if self.calls.is_empty() {
            self.empty_since = Some(now);
        }
    }
}

/// Calls served per second of waiting, each fading.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Rate {
    served: f64,
    waited_s: f64,
    at: Time,
}

impl Rate {
    fn pass(&mut self, now: Time, is_waiting: bool) {
        if is_waiting {
            let keep = (-now.saturating_since(self.at).as_secs_f64() / RATE_FADE_S).exp();
            self.served *= keep;
            self.waited_s = self.waited_s * keep + RATE_FADE_S * (1.0 - keep);
        }
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at_ms(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    const fn rank(tier: u8, share: u32) -> Rank {
        Rank { tier, share }
    }

    fn queue(calls_max: usize) -> Queue<&'static str> {
        Queue::new(QueuePolicy {
            calls_max,
            ..QueuePolicy::default()
        })
    }

    fn drain(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop(at_ms(0)).map(|(_, call)| call)).collect()
    }

    #[test]
    fn the_higher_tier_goes_first_then_the_smaller_account_then_who_came_first() {
        let mut queue = queue(10);
        for (rank, call) in [
            (rank(1, 3), "busy"),
            (rank(0, 0), "flex"),
            (rank(1, 0), "early"),
            (rank(2, 9), "priority"),
            (rank(1, 0), "late"),
        ] {
            queue.push(rank, at_ms(0), call).expect("there is room");
        }
        assert!(!queue.is_better_than_all(rank(2, 9)) && queue.is_better_than_all(rank(2, 8)));
        assert_eq!(drain(&mut queue), ["priority", "early", "late", "busy", "flex"]);
        assert!(queue.is_better_than_all(rank(0, 100)));
    }

    #[test]
    fn in_a_full_queue_the_least_makes_room_for_the_better_and_for_nobody_else() {
        let mut queue = queue(2);
        queue.push(rank(1, 0), at_ms(0), "a").expect("room");
        queue.push(rank(1, 5), at_ms(0), "b").expect("room");
        assert_eq!(queue.push(rank(1, 5), at_ms(1), "equal"), Err("equal"));
        assert_eq!(queue.push(rank(0, 0), at_ms(1), "flex"), Err("flex"));
        let pushed = queue.push(rank(1, 4), at_ms(1), "better").expect("b makes room");
        assert_eq!(pushed.displaced, Some("b"));
        assert_eq!(drain(&mut queue), ["a", "better"]);
        assert_eq!(super::tests::queue(0).push(rank(9, 0), at_ms(0), "x"), Err("x"));
    }

    #[test]
    fn a_call_put_back_keeps_its_place_and_a_removed_one_is_gone() {
        let mut queue = queue(3);
        let first = queue.push(rank(1, 0), at_ms(0), "first").expect("room").ticket;
        let second = queue.push(rank(1, 0), at_ms(1), "second").expect("room").ticket;
        let (ticket, call) = queue.pop(at_ms(2)).expect("two wait");
        assert_eq!((ticket, call), (first, "first"));
        queue.push(rank(1, 0), at_ms(3), "third").expect("room");
        queue.put_back(ticket, call);
        assert_eq!(queue.remove(second, at_ms(4)), Some("second"));
        assert_eq!(queue.remove(second, at_ms(4)), None);
        assert_eq!(drain(&mut queue), ["first", "third"]);
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(200);

    /// Calls come at `come_ms`, and every `serve_ms` one is served; gives the patience after `until_ms`.
    fn patience(come_ms: impl IntoIterator<Item = u64>, serve_ms: u64, until_ms: u64) -> Duration {
        let mut queue = queue(1000);
        let mut come = come_ms.into_iter().peekable();
        for ms in 1..=until_ms {
            while come.next_if(|&at| at <= ms).is_some() {
                queue.push(rank(1, 0), at_ms(ms), "call").expect("room");
            }
            if ms % serve_ms == 0 && queue.pop(at_ms(ms)).is_some() {
                queue.served(at_ms(ms));
            }
        }
        queue.patience(at_ms(until_ms))
    }

    #[test]
    fn a_burst_is_waited_for_and_a_flood_is_not() {
        // Fifty within 300 ms, ten served a second.
        for until_ms in [400, 510, 600, 700, 1000, 1500, 2500, 4000] {
            assert_eq!(
                patience((1..=50).map(|n| n * 6), 100, until_ms),
                LONG,
                "after {until_ms} ms"
            );
        }
        // Three times what can be served, from the first moment on.
        let flood = |until_ms| patience((1..).map(|n| n * 8), 24, until_ms);
        assert_eq!(flood(450), LONG, "nobody can know yet");
        for until_ms in [600, 700, 1000, 2000, 4000, 9000] {
            assert_eq!(flood(until_ms), SHORT, "after {until_ms} ms");
        }
    }

    #[test]
    fn who_comes_while_a_burst_is_worked_off_is_waited_for_too() {
        // Fifty at once and three a second after them; ten are served a second.
        let come = |n: u64| if n < 50 { 1 } else { (n - 49) * 333 };
        for until_ms in [600, 1000, 2000, 3000, 4000, 6000] {
            assert_eq!(patience((0..).map(come), 100, until_ms), LONG, "after {until_ms} ms");
        }
    }

    #[test]
    fn a_line_that_grows_slowly_or_never_ends_is_a_standing_one_too() {
        // A tenth more than can be served; three times the little that can.
        assert_eq!(patience((1..).map(|n| n * 90), 100, 1900), LONG);
        assert_eq!(patience((1..).map(|n| n * 90), 100, 4000), SHORT);
        assert_eq!(patience((1..).map(|n| n * 250), 750, 4000), SHORT);
    }

    #[test]
    fn a_line_that_empties_starts_anew_and_one_that_is_put_back_does_not() {
        let mut queue = queue(1000);
        let come = |queue: &mut Queue<_>, ms: u64, calls: u64| {
            for _ in 0..calls {
                queue.push(rank(1, 0), at_ms(ms), "call").expect("room");
            }
        };
        for ms in 0..60 {
            come(&mut queue, ms * 10, 2);
        }
        assert_eq!(queue.patience(at_ms(600)), SHORT);
        let out: Vec<_> = std::iter::from_fn(|| queue.pop(at_ms(600))).collect();
        assert_eq!(queue.patience(at_ms(600)), LONG, "nobody waits");
        come(&mut queue, 605, 2);
        for (ticket, call) in out {
            queue.put_back(ticket, call);
        }
        assert_eq!(queue.patience(at_ms(605)), SHORT);
        while queue.pop(at_ms(610)).is_some() {}
        come(&mut queue, 630, 2);
        assert_eq!(queue.patience(at_ms(630)), LONG);
    }

    #[test]
    fn retry_after_is_the_time_until_the_turn_comes() {
        let mut queue = queue(1000);
        let nobody_knows = queue.retry_after(rank(1, 0), at_ms(0));
        assert_eq!(nobody_knows, Duration::from_secs(10));
        for _ in 0..100 {
            queue.push(rank(1, 0), at_ms(0), "waits").expect("room");
        }
        // Twenty calls a second, while calls wait, for half a minute.
        for n in 1..=600 {
            let now = at_ms(n * 50);
            queue.pop(now).expect("a hundred wait");
            queue.served(now);
            queue.push(rank(1, 0), now, "waits").expect("room");
        }
        let now = at_ms(30_000);
        let told = |rank, now| queue.retry_after(rank, now).as_secs_f64();
        assert!((told(rank(1, 0), now) - 101.0 / 20.0).abs() < 0.3);
        assert_eq!(told(rank(2, 0), now), 0.1, "the better goes ahead of all");
        let stalled = told(rank(1, 0), at_ms(60_000));
        assert!(stalled > 50.0, "nothing was served for half a minute: {stalled}");
    }

    #[test]
    fn calls_that_find_no_line_do_not_count_as_capacity() {
        let mut queue = queue(10);
        for n in 0..100 {
            queue.served(at_ms(n * 1000)); // One a second comes and is served at once.
        }
        queue.push(rank(1, 0), at_ms(100_000), "a").expect("room");
        let told = queue.retry_after(rank(1, 0), at_ms(100_001));
        assert_eq!(told, Duration::from_secs(10), "not known yet");
    }
}
