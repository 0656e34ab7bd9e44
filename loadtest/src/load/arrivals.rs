//! When calls are to be sent: a Poisson process, kept by a thread of its own.
//!
//! Tokio's timers wake up to a millisecond late, and later under load; what is late here would look like latency there.

use std::time::{Duration, Instant};

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc;

/// Calls that may be due and not yet taken up. The schedule does not depend on it: who takes one up late sees when it
/// was due.
const BACKLOG_MAX: usize = 4_096;

/// The moments calls are due at, each delivered when it has come. Ends after `length`.
pub(super) fn poisson(rate: f64, length: Duration, seed: u64) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(BACKLOG_MAX);
    std::thread::spawn(move || {
        let begun = Instant::now();
        for due in Schedule::new(rate, seed).take_while(|due| *due < length) {
            std::thread::sleep((begun + due).saturating_duration_since(Instant::now()));
            if sender.blocking_send(begun + due).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Moments since the start, with exponential gaps between them.
struct Schedule {
    rng: Xoshiro256PlusPlus,
    rate: f64,
    at_s: f64,
}

impl Schedule {
    fn new(rate: f64, seed: u64) -> Self {
        Self {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            rate,
            at_s: 0.0,
        }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let uniform: f64 = self.rng.random();
        self.at_s -= (1.0 - uniform).ln() / self.rate;
        Duration::try_from_secs_f64(self.at_s).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_rate_and_the_irregularity_of_a_poisson_process() {
        let at: Vec<f64> = Schedule::new(100.0, 3)
            .take(20_000)
            .map(|due| due.as_secs_f64())
            .collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = f64::from(u32::try_from(gaps.len()).expect("few"));
        let mean = gaps.iter().sum::<f64>() / count;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count).sqrt();
        assert!((mean * 100.0 - 1.0).abs() < 0.05, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.05, "{deviation}");
    }
}
