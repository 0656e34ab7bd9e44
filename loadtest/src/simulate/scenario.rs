//! The situations that are simulated.

use super::agenda::micros;
use super::providers::FleetSettings;

/// A situation: a fleet, its troubles, and how much is asked of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Its name in tables and JSON.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Providers.
    pub providers: usize,
    /// Calls.
    pub calls: usize,
    /// Share of providers that is flaky.
    pub flaky: f64,
    /// Share of providers that vanishes at two fifths of the run and is back at three fifths.
    pub lost: f64,
    /// Calls that come, as a share of what the fleet can serve when all of it is well.
    pub load: f64,
    /// Whether more is asked than can be served, so that calls must be turned away.
    pub is_overload: bool,
}

/// Before an overload, this share of the calls comes at this load, and is not counted: a gateway that is at work is
/// overrun, not one that has just started.
const WARM_UP: f64 = 0.05;
const WARM_UP_LOAD: f64 = 0.5;

/// When the providers of a correlated loss go and come back, as shares of the run.
const LOST_FROM: f64 = 0.4;
const LOST_TO: f64 = 0.6;

/// Time beyond the last call for which troubles are drawn, seconds.
const AFTERWARDS_S: f64 = 300.0;

const USUAL: Scenario = Scenario {
    name: "healthy",
    what: "60 unlike providers, none of them faulty, at half of their capacity",
    providers: 60,
    calls: 40_000,
    flaky: 0.0,
    lost: 0.0,
    load: 0.5,
    is_overload: false,
};

/// All of them.
pub const SCENARIOS: [Scenario; 6] = [
    USUAL,
    Scenario {
        name: "flaky15",
        what: "15% of them are flaky: errors, hangs, crashes, slow-downs, streams that break; some never serve, some lie",
        flaky: 0.15,
        ..USUAL
    },
    Scenario {
        name: "flaky40",
        what: "40% of them are",
        flaky: 0.4,
        ..USUAL
    },
    Scenario {
        name: "correlated30",
        what: "15% flaky, and 30% of all vanish in one moment for a fifth of the run",
        flaky: 0.15,
        lost: 0.3,
        ..USUAL
    },
    Scenario {
        name: "overload3",
        what: "15% flaky, and three times the calls that the fleet can serve",
        flaky: 0.15,
        load: 3.0,
        calls: 160_000,
        is_overload: true,
        ..USUAL
    },
    Scenario {
        name: "big",
        what: "1,000 providers, 15% flaky, a million calls",
        providers: 1000,
        calls: 1_000_000,
        flaky: 0.15,
        ..USUAL
    },
];

impl Scenario {
    /// The scenario of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        SCENARIOS.into_iter().find(|scenario| scenario.name == name)
    }

    /// The same with so much less to do that nobody queues: for comparison.
    #[must_use]
    pub fn unloaded(self) -> Self {
        Self {
            load: 0.3,
            calls: self.calls / 4,
            is_overload: false,
            ..self
        }
    }

    /// Calls that warm up, and how many times slower than the others they come.
    pub(super) fn warm_up(&self) -> Option<(usize, f64)> {
        let count = (self.calls as f64 * WARM_UP) as usize;
        self.is_overload.then_some((count, self.load / WARM_UP_LOAD))
    }

    /// What its fleet is to be like if the calls take `seconds` to come.
    pub(super) fn fleet(&self, seconds: f64) -> FleetSettings {
        let lost = (self.lost, micros(seconds * LOST_FROM), micros(seconds * LOST_TO));
        FleetSettings {
            providers: self.providers,
            flaky: self.flaky,
            lost: (self.lost > 0.0).then_some(lost),
            until: micros(seconds + AFTERWARDS_S),
        }
    }
}
