//! When to stop sending calls to a provider that fails, and when to try again.

use std::time::Duration;

use crate::time::Time;

/// First pause, doubling with each trip in a row, and its bound. Source: ROUTING, "Breaker".
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Streams broken in a row that trip it; one failure before a first token does at once (ROUTING).
const BROKEN_IN_ROW: u32 = 2;

/// Calls in a row given up for another without the first token that was due, that trip it. Chosen
/// here: one in twenty is late by nature.
const OUTRUN_IN_ROW: u32 = 2;

/// What the breaker lets through now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum BreakerState {
    /// Every call.
    Closed,
    /// One call, to see whether the provider is back.
    HalfOpen,
    /// No call, except where no other provider is left.
    Open,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Trip {
    since: Time,
    until: Time,
    /// A call started after the trip is on its way.
    probing: bool,
}

/// The breaker of one seat.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Breaker {
    trip: Option<Trip>,
    trips_in_row: u32,
    broken_in_row: u32,
    outrun_in_row: u32,
}

impl Breaker {
    pub(crate) fn state(&self, now: Time) -> BreakerState {
        match self.trip {
            None => BreakerState::Closed,
            Some(trip) if trip.probing || now < trip.until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// A call was sent: through a tripped breaker it is the probe.
    pub(crate) fn started(&mut self) {
        if let Some(trip) = &mut self.trip {
            trip.probing = true;
        }
    }

    /// A call that `started` then gave a first token.
    pub(crate) fn first_token(&mut self, started: Time) {
        self.outrun_in_row = 0;
        if self.trip.is_some_and(|trip| started >= trip.since) {
            self.trip = None;
        }
    }

    /// A call was served to its end.
    pub(crate) fn served(&mut self) {
        self.broken_in_row = 0;
        if self.trip.is_none() {
            self.trips_in_row = 0;
        }
    }

    /// A call that `started` then failed before its first token.
    pub(crate) fn failed_early(&mut self, started: Time, now: Time) {
        match self.trip {
            // Calls that were on their way when it tripped tell of the same incident.
            Some(trip) if started < trip.since => {}
            _ => self.trip(now),
        }
    }

    /// A stream broke after its first token.
    pub(crate) fn broke(&mut self, now: Time) {
        self.broken_in_row = self.broken_in_row.saturating_add(1);
        if self.broken_in_row >= BROKEN_IN_ROW && self.trip.is_none() {
            self.trip(now);
        }
    }

    /// A call that `started` then was given up for another when its first token was overdue. Nobody
    /// waited for its deadline, so this is all that is ever seen of a provider that hangs.
    pub(crate) fn outrun(&mut self, started: Time, now: Time) {
        self.outrun_in_row = self.outrun_in_row.saturating_add(1);
        match self.trip {
            Some(trip) if started < trip.since => {}
            Some(_) => self.trip(now),
            None if self.outrun_in_row >= OUTRUN_IN_ROW => self.trip(now),
            None => {}
        }
    }

    /// A call that `started` then ended without telling anything: the next may probe.
    pub(crate) fn told_nothing(&mut self, started: Time) {
        if let Some(trip) = &mut self.trip
            && started >= trip.since
        {
            trip.probing = false;
        }
    }

    fn trip(&mut self, now: Time) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.trips_in_row.min(8)).min(PAUSE_MAX);
        self.trips_in_row = self.trips_in_row.saturating_add(1);
        self.broken_in_row = 0;
        self.outrun_in_row = 0;
        self.trip = Some(Trip {
            since: now,
            until: now + pause,
            probing: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use BreakerState::{Closed, HalfOpen, Open};

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    fn tripped_at(s: u64) -> Breaker {
        let mut breaker = Breaker::default();
        breaker.failed_early(at(s), at(s));
        breaker
    }

    #[test]
    fn one_early_failure_opens_it_and_one_probe_may_close_it() {
        let mut breaker = tripped_at(10);
        assert_eq!(breaker.state(at(10)), Open);
        assert_eq!(breaker.state(at(14)), Open);
        assert_eq!(breaker.state(at(15)), HalfOpen);
        breaker.started();
        assert_eq!(breaker.state(at(15)), Open, "one probe at a time");
        breaker.first_token(at(15));
        assert_eq!(breaker.state(at(16)), Closed);
    }

    #[test]
    fn failed_probes_double_the_pause_up_to_a_minute() {
        let mut breaker = tripped_at(0);
        let mut now = 0;
        for pause in [5, 10, 20, 40, 60, 60, 60] {
            assert_eq!(breaker.state(at(now + pause - 1)), Open, "{pause}");
            now += pause;
            assert_eq!(breaker.state(at(now)), HalfOpen, "{pause}");
            breaker.started();
            breaker.failed_early(at(now), at(now));
        }
    }

    #[test]
    fn a_call_served_forgets_earlier_trips() {
        let mut breaker = tripped_at(0);
        breaker.started();
        breaker.failed_early(at(5), at(5));
        breaker.started();
        breaker.first_token(at(15));
        breaker.served();
        breaker.failed_early(at(20), at(20));
        assert_eq!(breaker.state(at(25)), HalfOpen, "five seconds again");
    }

    #[test]
    fn calls_from_before_the_trip_neither_close_nor_lengthen_it() {
        let mut breaker = tripped_at(10);
        breaker.failed_early(at(9), at(11));
        breaker.first_token(at(9));
        breaker.served();
        assert_eq!(breaker.state(at(14)), Open);
        assert_eq!(breaker.state(at(15)), HalfOpen);
    }

    #[test]
    fn two_broken_streams_in_a_row_open_it_one_does_not() {
        let mut breaker = Breaker::default();
        breaker.broke(at(1));
        breaker.served();
        breaker.broke(at(2));
        assert_eq!(breaker.state(at(2)), Closed);
        breaker.broke(at(3));
        assert_eq!(breaker.state(at(3)), Open);
    }

    #[test]
    fn two_overdue_calls_in_a_row_open_it_and_an_overdue_probe_opens_it_again() {
        let mut breaker = Breaker::default();
        breaker.outrun(at(1), at(2));
        breaker.first_token(at(1));
        breaker.outrun(at(3), at(4));
        assert_eq!(breaker.state(at(4)), Closed);
        breaker.outrun(at(4), at(5));
        assert_eq!(breaker.state(at(5)), Open);
        breaker.outrun(at(4), at(6));
        assert_eq!(
            breaker.state(at(10)),
            HalfOpen,
            "a call from before tells of the same incident"
        );
        breaker.started();
        breaker.outrun(at(10), at(11));
        assert_eq!(breaker.state(at(20)), Open, "ten seconds now");
        assert_eq!(breaker.state(at(21)), HalfOpen);
    }

    #[test]
    fn a_cancelled_probe_leaves_room_for_another() {
        let mut breaker = tripped_at(0);
        breaker.started();
        assert_eq!(breaker.state(at(6)), Open);
        breaker.told_nothing(at(5));
        assert_eq!(breaker.state(at(6)), HalfOpen);
    }
}
