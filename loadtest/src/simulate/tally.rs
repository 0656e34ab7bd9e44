//! What came of the calls of one run.

use std::collections::BTreeMap;

use filature_router::Try;

use super::demand::Tier;
use super::faults::{Character, Fault};

/// What a call that fails, or breaks off in the middle, counts as: its caller's time-out, seconds.
pub const FAILED_S: f64 = 60.0;
/// Points of the curves that are kept of a run: quantiles at equal distances.
pub const CURVE: usize = 2000;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Served,
    Failed,
    /// Turned away with 429.
    Shed,
}

/// What came of the calls of one run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tally {
    /// Calls that came and count.
    pub calls: u64,
    /// Calls before those: they warm up, and only their work and their attempts are counted.
    pub uncounted: u64,
    /// Calls whose whole answer arrived.
    pub served: u64,
    /// Calls that got no answer, or half of one.
    pub failed: u64,
    /// Calls turned away.
    pub shed: u64,
    /// Calls and calls turned away by tier, in the order of [`Tier::ALL`].
    pub tiers: [(u64, u64); 3],
    /// Seconds from arrival to first token of every call that was not turned away; failed ones at [`FAILED_S`].
    pub first_token_s: Vec<f32>,
    /// The same of each tier.
    pub tier_first_token_s: [Vec<f32>; 3],
    /// Seconds from arrival to the last token, likewise.
    pub total_s: Vec<f32>,
    /// NanoTON paid by served calls.
    pub paid: f64,
    /// Attempts by kind: first, retry, hedge, rescue.
    pub attempts: [u64; 4],
    /// First attempts and retries by what sort of provider they went to, in the order of [`Character::ALL`].
    pub sent: [u64; Character::ALL.len()],
    /// Calls that met a fault, and those of them that were served all the same, in the order of [`Fault::ALL`].
    pub met: [(u64, u64); Fault::ALL.len()],
    /// Seconds of engine time in all, and for nothing: for losers, time-outs, errors, and prompts read again.
    pub work_s: f64,
    /// See `work_s`.
    pub wasted_s: f64,
    /// Tokens that engines produced by their own count, and those that calls account for.
    pub tokens_made: f64,
    /// See `tokens_made`.
    pub tokens_known: f64,
    /// Retry-After told: how often, how often a call of the same tier was let in when it had passed, and their sum in
    /// seconds.
    pub told: (u64, u64, f64),
    /// Attempts that the router thinks are still running after the end: none, if every one ended once.
    pub left_over: u64,
}

impl Tally {
    pub(super) fn started(&mut self, kind: Try, character: Character) {
        let at = match kind {
            Try::First => 0,
            Try::Retry => 1,
            Try::Hedge => 2,
            Try::Rescue => 3,
        };
        self.attempts[at] += 1;
        self.sent[Character::ALL.iter().position(|other| *other == character).unwrap_or(0)] += 1;
    }

    /// One call is over. `met` has the bit of each fault it met.
    pub(super) fn ended(&mut self, tier: Tier, ending: Ending, first_token_s: f64, total_s: f64, met: u16) {
        let tier = tier as usize;
        self.calls += 1;
        self.tiers[tier].0 += 1;
        let is_served = ending == Ending::Served;
        for (at, (calls, served)) in self.met.iter_mut().enumerate() {
            let bit = u64::from(met >> at & 1);
            *calls += bit;
            *served += bit * u64::from(is_served);
        }
        let (first_token_s, total_s) = match ending {
            Ending::Shed => {
                self.shed += 1;
                self.tiers[tier].1 += 1;
                return;
            }
            Ending::Failed => {
                self.failed += 1;
                (FAILED_S.max(first_token_s), FAILED_S.max(total_s))
            }
            Ending::Served => {
                self.served += 1;
                (first_token_s, total_s)
            }
        };
        self.first_token_s.push(first_token_s as f32);
        self.tier_first_token_s[tier].push(first_token_s as f32);
        self.total_s.push(total_s as f32);
    }

    /// The run as figures, by name. `is_overload`: calls turned away are no failures.
    pub(super) fn figures(&mut self, is_overload: bool) -> Figures {
        let calls = self.calls.max(1) as f64;
        let due = if is_overload {
            self.calls - self.shed
        } else {
            self.calls
        };
        for values in self
            .tier_first_token_s
            .iter_mut()
            .chain([&mut self.first_token_s, &mut self.total_s])
        {
            values.sort_unstable_by(f32::total_cmp);
        }
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            figures.insert(name.to_owned(), value);
        };
        put("success", ratio(self.served, due));
        put("shed", self.shed as f64 / calls);
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
            put(&format!("ttft_{name}_s"), quantile(&self.first_token_s, share));
            put(&format!("e2e_{name}_s"), quantile(&self.total_s, share));
        }
        put("cost_per_call", self.paid / self.served.max(1) as f64);
        for (name, count) in ["attempts_first", "retries", "hedges", "rescues"]
            .iter()
            .zip(self.attempts)
        {
            put(name, count as f64 / calls);
        }
        put("wasted_work", self.wasted_s / self.work_s.max(1e-9));
        for (tier, (all, shed)) in Tier::ALL.iter().zip(self.tiers) {
            put(&format!("shed_{}", tier.name()), ratio(shed, all));
            let first = quantile(&self.tier_first_token_s[*tier as usize], 0.99);
            put(&format!("ttft_p99_s_{}", tier.name()), first);
        }
        let attempts = self.sent.iter().sum::<u64>();
        for (character, sent) in Character::ALL.iter().zip(self.sent) {
            put(
                &format!("sent_{}", character.name().replace(' ', "_")),
                ratio(sent, attempts),
            );
        }
        put("retry_after_kept", ratio(self.told.1, self.told.0));
        put("retry_after_s", self.told.2 / self.told.0.max(1) as f64);
        Figures {
            figures,
            curve: (0..=CURVE)
                .map(|at| quantile(&self.first_token_s, at as f64 / CURVE as f64) as f32)
                .collect(),
            met: self.met,
        }
    }
}

/// The figures of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) figures: BTreeMap<String, f64>,
    /// Quantiles of the time to first token at equal distances.
    pub(super) curve: Vec<f32>,
    pub(super) met: [(u64, u64); Fault::ALL.len()],
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The value that this share of `sorted` does not exceed (nearest rank); zero of nothing.
fn quantile(sorted: &[f32], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_at_their_time_out_and_the_turned_away_not_at_all() {
        let mut tally = Tally::default();
        for _ in 0..98 {
            tally.ended(Tier::Default, Ending::Served, 0.5, 3.0, 0b10);
        }
        tally.ended(Tier::Default, Ending::Failed, 1.0, 9.0, 0b10);
        tally.ended(Tier::Flex, Ending::Shed, 0.1, 0.1, 0);
        let admitted = tally.figures(true);
        assert!((admitted.figures["success"] - 98.0 / 99.0).abs() < 1e-9);
        assert!((admitted.figures["ttft_p50_s"] - 0.5).abs() < 1e-6);
        assert!((admitted.figures["ttft_p999_s"] - FAILED_S).abs() < 1e-6);
        assert!((admitted.figures["shed_flex"] - 1.0).abs() < 1e-9);
        assert_eq!(admitted.met[1], (99, 98));
        assert!((tally.figures(false).figures["success"] - 0.98).abs() < 1e-9);
    }
}
