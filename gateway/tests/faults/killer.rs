//! Kills processes under load at moments drawn from a seed, and starts them again.

use std::fmt;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::load::Progress;
use crate::stack::Stack;
use crate::wait;

/// How long the callers may take to make the progress a round waits for.
const PROGRESS_MAX: Duration = Duration::from_secs(30);
/// Agents take a tunnel that lived shorter than 5 s for a failed try and pause longer after each. A gateway that is
/// killed more often than that would stand without providers most of the time, and little would be tried.
const GATEWAY_UP_MIN: Duration = Duration::from_millis(5_200);

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Gateway,
    Agent(usize),
    Engine(usize),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Agent(number) => write!(f, "agent {number}"),
            Self::Engine(number) => write!(f, "engine {number}"),
        }
    }
}

/// One kill, until everything was as before.
#[derive(Debug, Clone)]
pub struct Incident {
    pub victims: Vec<Victim>,
    /// When the first was killed.
    pub killed: Instant,
    /// When all ran again, with every provider in the fleet.
    pub back: Instant,
}

impl Incident {
    /// Whether the gateway was among the victims.
    pub fn hit_gateway(&self) -> bool {
        self.victims.contains(&Victim::Gateway)
    }
}

/// Kills again and again.
pub struct Killer<'a> {
    pub stack: &'a mut Stack,
    pub progress: &'a Progress,
    pub rng: &'a mut StdRng,
    pub incidents: Vec<Incident>,
    gateway_up: Instant,
}

impl<'a> Killer<'a> {
    pub fn new(stack: &'a mut Stack, progress: &'a Progress, rng: &'a mut StdRng) -> Self {
        Self {
            stack,
            progress,
            rng,
            incidents: Vec::new(),
            gateway_up: Instant::now(),
        }
    }

    /// One round: waits for a moment, kills one process (now and then two), starts them again, waits until all is well.
    pub fn round(&mut self, number: usize) {
        let victims = self.draw();
        if victims.contains(&Victim::Gateway) {
            let up = self.gateway_up;
            wait::until_true("the tunnels to be old enough", GATEWAY_UP_MIN * 2, || {
                up.elapsed() >= GATEWAY_UP_MIN
            });
        }
        let events = self.rng.random_range(20..400);
        self.wait_for_events(events);
        let killed = Instant::now();
        for &victim in &victims {
            self.kill(victim);
        }
        if !victims.contains(&Victim::Gateway) {
            // The load goes on for a while without them.
            let missing = self.rng.random_range(1..250);
            self.wait_for_events(missing);
        }
        for &victim in &victims {
            self.restore(victim);
        }
        self.stack.wait_until_joined();
        let back = Instant::now();
        let named: Vec<_> = victims.iter().map(ToString::to_string).collect();
        println!(
            "  round {number:>2}: after {events:>3} events killed {:<22} well again in {:.2?}",
            named.join(" and "),
            back - killed
        );
        self.incidents.push(Incident { victims, killed, back });
    }

    /// The gateway every fourth time, and one time in six an engine or agent with whatever is killed.
    fn draw(&mut self) -> Vec<Victim> {
        let mut victims = vec![match self.incidents.len() % 4 {
            3 => Victim::Gateway,
            _ => self.draw_provider(),
        }];
        if self.rng.random_range(0..6) == 0 {
            let second = self.draw_provider();
            if !victims.contains(&second) {
                victims.push(second);
            }
        }
        victims
    }

    fn draw_provider(&mut self) -> Victim {
        let number = self.rng.random_range(0..self.stack.providers.len());
        if self.rng.random() {
            Victim::Agent(number)
        } else {
            Victim::Engine(number)
        }
    }

    fn kill(&mut self, victim: Victim) {
        match victim {
            Victim::Gateway => self.stack.take_gateway().kill(),
            Victim::Agent(number) => self.stack.providers[number].take_agent().kill(),
            Victim::Engine(number) => self.stack.providers[number].take_engine().kill(),
        }
    }

    fn restore(&mut self, victim: Victim) {
        match victim {
            Victim::Gateway => {
                self.stack.start_gateway();
                self.gateway_up = Instant::now();
            }
            Victim::Agent(number) => self.stack.providers[number].start_agent(),
            Victim::Engine(number) => self.stack.providers[number].start_engine(),
        }
    }

    fn wait_for_events(&self, events: u64) {
        let reached = self.progress.events() + events;
        wait::until_true("the callers to get on", PROGRESS_MAX, || {
            self.progress.events() >= reached
        });
    }
}
