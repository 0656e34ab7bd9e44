//! Lines of calls that wait for a provider, one line for each model. Who goes first and who waits how long is the
//! router's [`Queue`]'s matter; here its places get tasks that wait in them.

use std::collections::HashMap;
use std::time::Duration;

use filature_router::{ModelId, NoRoute, Queue, QueuePolicy, Rank, Ticket, Time};
use tokio::sync::oneshot;

use super::Fleet;
use super::routed::Routed;
use crate::clock::Clock;

/// Models that lines are kept for; a line that is empty makes room for a new one.
const LINES_MAX: usize = 1024;
/// Calls that are told at once that a provider has joined; the others follow as these start.
const TOLD_OF_JOINED: usize = 64;

/// What a waiting call hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A provider may have room.
    Come,
    /// A call of a higher rank has taken the place in line.
    Displaced,
}

/// All lines.
pub(super) struct Lines {
    policy: QueuePolicy,
    lines: HashMap<ModelId, Queue<oneshot::Sender<Turn>>>,
}

/// A place in a line. Dropped, it is given up, and a turn that was not used goes to the next.
pub struct Place<'a> {
    fleet: &'a Fleet,
    clock: Clock,
    model: ModelId,
    ticket: Ticket,
    turn: oneshot::Receiver<Turn>,
    is_used: bool,
}

impl Lines {
    pub(super) fn new(policy: QueuePolicy) -> Self {
        Self {
            policy,
            lines: HashMap::new(),
        }
    }

    /// Whether a call of this rank has to wait behind others, and how long about. `rank` is asked for only if any wait.
    pub(super) fn is_behind(&self, model: &str, rank: impl FnOnce() -> Rank, now: Time) -> Option<Duration> {
        let line = self.lines.get(model).filter(|line| !line.is_empty())?;
        let rank = rank();
        (!line.is_better_than_all(rank)).then(|| line.retry_after(rank, now))
    }

    /// A call of this model got a plan.
    pub(super) fn served(&mut self, model: &str, now: Time) {
        if let Some(line) = self.lines.get_mut(model) {
            line.served(now);
        }
    }

    /// A place may be free: tells the call that goes first.
    pub(super) fn freed(&mut self, model: &str, now: Time) {
        let Some(line) = self.lines.get_mut(model) else { return };
        while let Some((_, call)) = line.pop(now) {
            // One that has left meanwhile does not hear it.
            if call.send(Turn::Come).is_ok() {
                break;
            }
        }
    }

    pub(super) fn joined(&mut self, model: &str, now: Time) {
        let waiting = self.lines.get(model).map_or(0, Queue::len);
        for _ in 0..waiting.min(TOLD_OF_JOINED) {
            self.freed(model, now);
        }
    }

    /// The line of a model, made if there is room for one more.
    fn line(&mut self, model: &ModelId) -> Option<&mut Queue<oneshot::Sender<Turn>>> {
        if !self.lines.contains_key(model) {
            if self.lines.len() >= LINES_MAX {
                self.lines.retain(|_, line| !line.is_empty());
            }
            if self.lines.len() >= LINES_MAX {
                return None;
            }
            self.lines.insert(model.clone(), Queue::new(self.policy));
        }
        self.lines.get_mut(model)
    }
}

impl Fleet {
    /// Takes a place in the line of a model.
    ///
    /// # Errors
    /// After how long to try again, where the line is full of calls of this or a higher rank.
    pub fn line_up(&self, model: &str, rank: Rank, clock: Clock) -> Result<Place<'_>, Duration> {
        let (model, now) = (ModelId::from(model), clock.now());
        let mut state = self.state.lock();
        let line = state.lines.line(&model).ok_or(Duration::from_secs(1))?;
        let (call, turn) = oneshot::channel();
        let pushed = line
            .push(rank, now, call)
            .map_err(|_call| line.retry_after(rank, now))?;
        if let Some(displaced) = pushed.displaced {
            // One that has left meanwhile does not hear it.
            let _ = displaced.send(Turn::Displaced);
        }
        drop(state);
        Ok(Place {
            fleet: self,
            clock,
            model,
            ticket: pushed.ticket,
            turn,
            is_used: false,
        })
    }

    /// About how long a call of this rank would wait for a provider of `model` if it came now.
    #[must_use]
    pub fn retry_after(&self, model: &str, rank: Rank, now: Time) -> Option<Duration> {
        let state = self.state.lock();
        let line = state.lines.lines.get(model)?;
        Some(line.retry_after(rank, now))
    }
}

impl<'a> Place<'a> {
    /// How long it may be waited here, from when the place was taken, as things are now.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let state = self.fleet.state.lock();
        let line = state.lines.lines.get(&self.model);
        line.map_or(Duration::ZERO, |line| line.patience(self.clock.now()))
    }

    /// Resolves when it is this call's turn, or its place is gone.
    pub async fn turn(&mut self) -> Turn {
        (&mut self.turn).await.unwrap_or(Turn::Displaced)
    }

    /// Whether it waits still, and before all others.
    #[must_use]
    pub fn is_first(&self) -> bool {
        let state = self.fleet.state.lock();
        let line = state.lines.lines.get(&self.model);
        line.is_some_and(|line| line.is_first(self.ticket))
    }

    /// Asks for a plan now, ahead of all that wait.
    ///
    /// # Errors
    /// As [`Fleet::route`]'s.
    pub fn route(&mut self, ask: &filature_router::Ask<'_>) -> Result<Routed<'a>, NoRoute> {
        let routed = self.fleet.route_at_once(ask, self.clock)?;
        self.is_used = true;
        Ok(routed)
    }

    /// Takes the old place again after a [`Turn::Come`] that came to nothing.
    pub fn wait_again(&mut self) {
        let (call, turn) = oneshot::channel();
        let mut state = self.fleet.state.lock();
        if let Some(line) = state.lines.line(&self.model) {
            line.put_back(self.ticket, call);
            self.turn = turn;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.fleet.state.lock();
        let line = state.lines.lines.get_mut(&self.model);
        let was_waiting = line.is_some_and(|line| line.remove(self.ticket, self.clock.now()).is_some());
        if !was_waiting && !self.is_used {
            state.lines.freed(self.model.as_str(), self.clock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use filature_router::{Ask, End, Endpoints, Event, OfferedModel, Policy, Precisions, Price, ProviderId, Try};

    use super::*;

    const MODEL: &str = "m";

    /// A fleet of one provider that takes one call at a time, and has it.
    fn full(calls_max: usize) -> (Fleet, Clock) {
        one_of(calls_max, 1)
    }

    /// A fleet of one provider that takes `concurrency_max` calls at a time, and has one.
    fn one_of(calls_max: usize, concurrency_max: u32) -> (Fleet, Clock) {
        let policy = QueuePolicy {
            calls_max,
            wait_max: Duration::from_secs(10),
            standing_after: Duration::from_secs(1),
            standing_wait: Duration::from_millis(300),
        };
        let (fleet, clock) = (Fleet::new(Policy::default(), policy), Clock::start());
        let offer = OfferedModel {
            model: ModelId::from(MODEL),
            price: Price::default(),
            concurrency_max,
            context_tokens_max: 1000,
            output_tokens_max: 1000,
            can: filature_router::Capabilities::NONE,
            endpoints: Endpoints::CHAT,
            quantization: None,
            precision: Precisions::UNKNOWN,
        };
        let provider = ProviderId::from("p");
        fleet.tell(
            Event::Joined {
                provider,
                models: vec![offer],
            },
            clock.now(),
        );
        start(&fleet, clock);
        (fleet, clock)
    }

    fn start(fleet: &Fleet, clock: Clock) {
        let event = Event::Started {
            provider: ProviderId::from("p"),
            model: ModelId::from(MODEL),
            prompt_tokens: 1,
            kind: Try::First,
        };
        fleet.tell(event, clock.now());
    }

    fn end(fleet: &Fleet, clock: Clock) {
        let event = Event::Ended {
            provider: ProviderId::from("p"),
            model: ModelId::from(MODEL),
            prompt_tokens: 1,
            first_token_seen: false,
            end: End::Cancelled,
        };
        fleet.tell(event, clock.now());
    }

    fn ask() -> Ask<'static> {
        Ask {
            model: MODEL,
            ..Ask::PLAIN
        }
    }

    fn rank(tier: u8) -> Rank {
        Rank { tier, share: 0 }
    }

    fn line_up(fleet: &Fleet, clock: Clock, tier: u8) -> Place<'_> {
        fleet
            .line_up(MODEL, rank(tier), clock)
            .unwrap_or_else(|after| panic!("refused for {after:?}"))
    }

    fn heard(place: &mut Place<'_>) -> Option<Turn> {
        place.turn.try_recv().ok()
    }

    #[test]
    fn a_freed_place_goes_to_the_higher_tier_and_then_to_who_came_first() {
        let (fleet, clock) = full(8);
        let mut flex = line_up(&fleet, clock, 0);
        let mut first = line_up(&fleet, clock, 1);
        let mut second = line_up(&fleet, clock, 1);
        for turn in 0..3 {
            end(&fleet, clock);
            let places = [&mut first, &mut second, &mut flex].map(heard);
            let expected = std::array::from_fn(|at| (at == turn).then_some(Turn::Come));
            assert_eq!(places, expected, "turn {turn}");
            let place = [&mut first, &mut second, &mut flex].into_iter().nth(turn);
            assert!(place.is_some_and(|place| place.route(&ask()).is_ok()));
            start(&fleet, clock);
            // The next asks whether there is room for it too, finds none and keeps its place.
            for place in [&mut first, &mut second, &mut flex] {
                if heard(place) == Some(Turn::Come) {
                    assert!(place.route(&ask()).is_err());
                    place.wait_again();
                }
            }
        }
    }

    #[test]
    fn a_place_a_plan_has_taken_is_not_given_twice() {
        let (fleet, clock) = one_of(8, 2);
        let first = fleet
            .route(&ask(), || rank(1), clock)
            .expect("one of two places is free");
        let second = fleet.route(&ask(), || rank(1), clock).err();
        assert!(matches!(second, Some(NoRoute::Full { .. })), "{second:?}");
        let mut waits = line_up(&fleet, clock, 1);
        drop(first);
        assert_eq!(heard(&mut waits), Some(Turn::Come), "it will not be used");
        let taken = waits.route(&ask()).expect("it is free again");
        start(&fleet, clock);
        drop(taken);
        assert!(waits.route(&ask()).is_err(), "its attempt has started");
    }

    #[test]
    fn one_free_place_after_another_is_given_until_none_is_left() {
        let (fleet, clock) = one_of(8, 2);
        let mut places = [1, 1, 1].map(|tier| line_up(&fleet, clock, tier));
        end(&fleet, clock);
        for place in &mut places[..2] {
            assert_eq!(heard(place), Some(Turn::Come));
            assert!(place.route(&ask()).is_ok());
            start(&fleet, clock);
        }
        assert_eq!(heard(&mut places[2]), Some(Turn::Come));
        assert!(
            places[2].route(&ask()).is_err(),
            "one call ended, one place was free before"
        );
    }

    #[test]
    fn who_comes_later_does_not_overtake_those_who_wait() {
        let (fleet, clock) = full(8);
        let mut waits = line_up(&fleet, clock, 1);
        end(&fleet, clock);
        drop(line_up(&fleet, clock, 0));
        assert_eq!(heard(&mut waits), Some(Turn::Come));
        waits.wait_again();
        let late = fleet.route(&ask(), || rank(1), clock).err();
        assert!(matches!(late, Some(NoRoute::Full { .. })), "{late:?}");
        assert!(fleet.route(&ask(), || rank(2), clock).is_ok(), "a higher tier may");
    }

    #[test]
    fn a_turn_that_is_not_used_goes_to_the_next() {
        let (fleet, clock) = full(8);
        let mut leaves = line_up(&fleet, clock, 1);
        let mut next = line_up(&fleet, clock, 1);
        end(&fleet, clock);
        assert_eq!((heard(&mut leaves), heard(&mut next)), (Some(Turn::Come), None));
        drop(leaves);
        assert_eq!(heard(&mut next), Some(Turn::Come));
    }

    #[test]
    fn a_full_line_turns_the_least_away() {
        let (fleet, clock) = full(1);
        let mut flex = line_up(&fleet, clock, 0);
        assert!(
            fleet.line_up(MODEL, rank(0), clock).is_err(),
            "no better than who waits"
        );
        let _priority = line_up(&fleet, clock, 2);
        assert_eq!(heard(&mut flex), Some(Turn::Displaced));
    }

    #[test]
    fn who_has_left_is_passed_over() {
        let (fleet, clock) = full(8);
        drop(line_up(&fleet, clock, 1));
        let mut stays = line_up(&fleet, clock, 1);
        end(&fleet, clock);
        assert_eq!(heard(&mut stays), Some(Turn::Come));
    }
}
