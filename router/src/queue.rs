//! Calls that wait for a provider: bounded, by rank, shedding the least first. Keeps the line;
//! who wakes the calls and counts their time is the gateway's matter.
//!
//! A queue that never empties delays everybody and serves nobody better, so its patience shrinks:
//! controlled delay (Nichols and Jacobson, "Controlling Queue Delay", 2012), in the form that
//! Facebook gave it for servers (Maurer, "Fail at Scale", 2015). Only for calls that come once it
//! stands, though, and not while it is on its way to being empty: a burst is worked off, whoever
//! comes with it.

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
    /// A queue that was not empty for this long, and to which as many came in this long as left it
    /// for a provider, is a standing queue.
    pub standing_after: Duration,
    /// How long a call that came to a standing queue waits at most.
    pub standing_wait: Duration,
}

impl Default for QueuePolicy {
    /// 1,024 calls of 10 s; 200 ms for those that come once it has stood for 500 ms. Chosen here: a call that is
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
    /// Calls that came before this one found no standing queue.
    first_to_stand: u64,
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
            first_to_stand: 0,
            empty_since: Some(Time::default()),
            out: 0,
            rate: Rate::default(),
            flow: Flow::over(policy.standing_after),
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
        if !self.stands(now) {
            self.first_to_stand = self.next;
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

    /// How long after its arrival the call of this ticket may wait, as things are now.
    #[must_use]
    pub fn patience(&self, ticket: Ticket, now: Time) -> Duration {
        if ticket.number >= self.first_to_stand && self.stands(now) && !self.flow.is_ebbing(now) {
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

    fn stands(&self, now: Time) -> bool {
        now.saturating_since(self.since) > self.policy.standing_after
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

    #[test]
    fn patience_is_short_for_who_comes_to_a_standing_queue_until_it_empties() {
        let mut queue = queue(10);
        let push = |queue: &mut Queue<_>, ms, call| queue.push(rank(1, 0), at_ms(ms), call).expect("room").ticket;
        let a = push(&mut queue, 50, "a");
        let b = push(&mut queue, 550, "b");
        let c = push(&mut queue, 551, "c");
        let d = push(&mut queue, 1200, "d");
        let patience = |queue: &Queue<_>, ms| [a, b, c, d].map(|ticket| queue.patience(ticket, at_ms(ms)));
        assert_eq!(patience(&queue, 1200), [LONG, LONG, SHORT, SHORT]);
        // Taken out and put back, it never was empty.
        let out = drain_at(&mut queue, 1300);
        let e = push(&mut queue, 1305, "e");
        for (ticket, call) in out {
            queue.put_back(ticket, call);
        }
        assert_eq!(patience(&queue, 1305), [LONG, LONG, SHORT, SHORT]);
        assert_eq!(queue.patience(e, at_ms(1305)), SHORT);
        drain_at(&mut queue, 1400);
        let f = push(&mut queue, 1410, "f");
        assert_eq!(queue.patience(f, at_ms(1410)), LONG);
    }

    fn drain_at(queue: &mut Queue<&'static str>, ms: u64) -> Vec<(Ticket, &'static str)> {
        std::iter::from_fn(|| queue.pop(at_ms(ms))).collect()
    }

    #[test]
    fn a_burst_is_waited_for_though_it_takes_a_while_to_come_and_a_flood_is_not() {
        let mut burst = queue(100);
        let tickets: Vec<Ticket> = (0..50)
            .map(|n| burst.push(rank(1, 0), at_ms(n * 8), "burst").expect("room").ticket)
            .collect();
        let mut flood = queue(100);
        for n in 5..=45 {
            let now = at_ms(n * 100);
            burst.pop(now).expect("some wait");
            burst.served(now);
            assert!(
                tickets.iter().all(|ticket| burst.patience(*ticket, now) == LONG),
                "after {now:?}"
            );
            let [_, last] = [0, 1].map(|_| flood.push(rank(1, 0), now, "flood").expect("room").ticket);
            flood.pop(now).expect("some wait");
            flood.served(now);
            assert_eq!(
                flood.patience(last, now),
                if n <= 10 { LONG } else { SHORT },
                "after {now:?}"
            );
        }
    }

    #[test]
    fn who_comes_while_a_burst_is_worked_off_is_waited_for_too() {
        let mut queue = queue(100);
        for _ in 0..50 {
            queue.push(rank(1, 0), at_ms(50), "burst").expect("room");
        }
        for n in 1..=40 {
            let now = at_ms(50 + n * 100);
            queue.pop(now).expect("some wait");
            queue.served(now);
            if n > 10 && n % 3 == 0 {
                let late = queue.push(rank(1, 0), now, "late").expect("room").ticket;
                assert_eq!(queue.patience(late, now), LONG, "after {now:?}");
            }
        }
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
