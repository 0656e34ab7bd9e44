//! How providers fail. All of it is drawn before a run starts, from the seed alone: every policy meets the same fleet
//! with the same troubles at the same moments, and the oracle can look them up.
//!
//! A flaky provider has episodes of trouble (about a minute, every two minutes or so), each of one kind, drawn from a
//! mixture of its own. Besides, each of its streams breaks with [`BREAKING`], episode or not. A few providers have one
//! bad manner for good instead.

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;

use super::agenda::{Micros, micros};
use super::draw::{exponential, fixed};

/// Share of a flaky provider's streams that break. Source: ROUTING, "death in mid-stream (3%)".
const BREAKING: f64 = 0.03;
/// Mean length of an episode, and of the time between two; seconds.
const EPISODE_S: f64 = 60.0;
const QUIET_S: f64 = 120.0;
/// How much an episode slows a provider down. Source: ROUTING, "slow-downs × 2 to 6".
const SLOWED: std::ops::Range<f64> = 2.0..6.0;
/// Share of the calls that an episode of errors or hanging hits.
const HIT: std::ops::Range<f64> = 0.3..1.0;
/// How long an engine that died takes to be back: its provider answers 502 meanwhile. (Weights are read anew.)
const RESTART: Micros = 10_000_000;

/// What can go wrong with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Status 500 at once.
    Error,
    /// No answer at all.
    Hang,
    /// Status 200, and an error where the first token should be.
    ErrorIn200,
    /// Slower by a factor.
    Slow,
    /// The engine's process dies and starts again: all it was doing breaks.
    Crash,
    /// One stream is reset in the middle.
    Reset,
    /// One stream falls silent in the middle.
    Stall,
    /// The whole provider vanishes.
    Loss,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Error,
        Self::Hang,
        Self::ErrorIn200,
        Self::Slow,
        Self::Crash,
        Self::Reset,
        Self::Stall,
        Self::Loss,
    ];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "fast 500",
            Self::Hang => "hang",
            Self::ErrorIn200 => "200 with error",
            Self::Slow => "slow-down",
            Self::Crash => "crash",
            Self::Reset => "stream reset",
            Self::Stall => "stream stalls",
            Self::Loss => "provider lost",
        }
    }
}

/// Kinds of episodes, in the order of a provider's mixture.
const EPISODES: [Fault; 5] = [Fault::Error, Fault::Hang, Fault::ErrorIn200, Fault::Slow, Fault::Crash];

/// What sort of provider it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Character {
    /// Serves.
    Sound,
    /// Has episodes.
    Flaky,
    /// Refuses to do anything, fast, always: it looks quick to whoever counts failures as answers.
    FailsFast,
    /// Takes every call and never answers, while its heartbeat says idle.
    Sinkhole,
    /// Works for others too, so that it is slow, while its heartbeat says idle.
    Liar,
}

impl Character {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sound, Self::Flaky, Self::FailsFast, Self::Sinkhole, Self::Liar];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Flaky => "flaky",
            Self::FailsFast => "fails fast",
            Self::Sinkhole => "sinkhole",
            Self::Liar => "liar",
        }
    }
}

/// A stretch of trouble.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Episode {
    pub(super) from: Micros,
    pub(super) to: Micros,
    pub(super) kind: Fault,
    /// The share of calls that it hits; for [`Fault::Slow`] the factor.
    pub(super) strength: f64,
}

/// When a provider is gone altogether.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Absence {
    pub(super) from: Micros,
    pub(super) to: Micros,
    /// When the gateway notices: at once where the connection is reset, when a ping is not answered otherwise.
    pub(super) noticed: Micros,
}

/// All that is to go wrong with one provider.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fate {
    pub(super) character: Character,
    /// In order of time; they do not overlap.
    pub(super) episodes: Vec<Episode>,
    pub(super) absence: Option<Absence>,
}

/// What becomes of one attempt at a provider that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Luck {
    /// It is served.
    Good,
    /// It fails before its first token.
    Early(Fault),
    /// Its stream breaks after this share of the answer.
    Breaks(Fault, f64),
}

impl Fate {
    pub(super) fn sound() -> Self {
        Self {
            character: Character::Sound,
            episodes: Vec::new(),
            absence: None,
        }
    }

    /// The fate of a flaky provider up to `until`.
    pub(super) fn flaky(until: Micros, rng: &mut Xoshiro256PlusPlus) -> Self {
        let character = match rng.random::<f64>() {
            draw if draw < 0.7 => Character::Flaky,
            draw if draw < 0.8 => Character::FailsFast,
            draw if draw < 0.9 => Character::Sinkhole,
            _ => Character::Liar,
        };
        // Exponentials, put in proportion, are uniform over all mixtures.
        let mixture = EPISODES.map(|_| exponential(rng));
        let mut episodes = Vec::new();
        let mut at_s = (QUIET_S + EPISODE_S) * rng.random::<f64>();
        while character == Character::Flaky && micros(at_s) < until {
            let kind = pick(&mixture, rng);
            let strength = if kind == Fault::Slow {
                rng.random_range(SLOWED)
            } else {
                rng.random_range(HIT)
            };
            let length_s = EPISODE_S * exponential(rng).max(0.05);
            episodes.push(Episode {
                from: micros(at_s),
                to: micros(at_s + length_s),
                kind,
                strength,
            });
            at_s += length_s + QUIET_S * exponential(rng).max(0.05);
        }
        Self {
            character,
            episodes,
            absence: None,
        }
    }

    /// The episode that goes on at `now`.
    pub(super) fn episode(&self, now: Micros) -> Option<&Episode> {
        let next = self.episodes.partition_point(|episode| episode.from <= now);
        self.episodes[..next].last().filter(|episode| now < episode.to)
    }

    /// Whether the provider's engine dies or vanishes after `from`, up to `to`.
    pub(super) fn dies_within(&self, from: Micros, to: Micros) -> bool {
        let crashes = |episode: &Episode| episode.kind == Fault::Crash && (from..=to).contains(&episode.from);
        let next = self.episodes.partition_point(|episode| episode.from < from);
        let later = self.episodes[next..].iter().take_while(|episode| episode.from <= to);
        let is_lost = self.absence.is_some_and(|gone| gone.from <= to && from < gone.to);
        is_lost || later.into_iter().any(crashes)
    }

    /// What becomes of the `nth` attempt at `call` when it reaches `provider` at `now`.
    pub(super) fn luck(&self, seed: u64, call: u32, provider: u32, nth: u32, now: Micros) -> Luck {
        let draw = |salt: u64| {
            let attempt = (u64::from(call) << 32) | (u64::from(provider) << 4) | u64::from(nth & 15);
            fixed(seed ^ salt, attempt, salt)
        };
        match self.character {
            Character::Sound | Character::Liar => Luck::Good,
            Character::FailsFast => Luck::Early(Fault::Error),
            Character::Sinkhole => Luck::Early(Fault::Hang),
            Character::Flaky => {
                if let Some(episode) = self.episode(now)
                    && matches!(episode.kind, Fault::Error | Fault::Hang | Fault::ErrorIn200)
                    && draw(1) < episode.strength
                {
                    return Luck::Early(episode.kind);
                }
                if let Some(episode) = self.episode(now)
                    && episode.kind == Fault::Crash
                    && now < episode.from + RESTART
                {
                    return Luck::Early(Fault::Crash);
                }
                if draw(2) >= BREAKING {
                    return Luck::Good;
                }
                let how = if draw(3) < 0.5 { Fault::Reset } else { Fault::Stall };
                Luck::Breaks(how, draw(4))
            }
        }
    }

    /// Whether its heartbeats are to be believed.
    pub(super) fn is_honest(&self) -> bool {
        !matches!(self.character, Character::Liar | Character::Sinkhole)
    }
}

fn pick(mixture: &[f64; EPISODES.len()], rng: &mut Xoshiro256PlusPlus) -> Fault {
    let mut left = rng.random::<f64>() * mixture.iter().sum::<f64>();
    for (weight, kind) in mixture.iter().zip(EPISODES) {
        left -= weight;
        if left < 0.0 {
            return kind;
        }
    }
    Fault::Error
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    const HOUR: Micros = 3_600_000_000;

    #[test]
    fn a_flaky_provider_is_in_trouble_a_third_of_the_time() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let fates: Vec<Fate> = (0..300).map(|_| Fate::flaky(HOUR, &mut rng)).collect();
        let flaky: Vec<&Fate> = fates.iter().filter(|fate| fate.character == Character::Flaky).collect();
        assert!((180..240).contains(&flaky.len()), "{}", flaky.len());
        let trouble: u64 = flaky
            .iter()
            .flat_map(|fate| &fate.episodes)
            .map(|e| e.to.min(HOUR) - e.from)
            .sum();
        let share = trouble as f64 / (HOUR * flaky.len() as u64) as f64;
        assert!((0.28..0.38).contains(&share), "{share}");
        for fate in flaky {
            assert!(fate.episodes.windows(2).all(|pair| pair[0].to < pair[1].from));
            let first = fate.episodes[0];
            assert_eq!(fate.episode(first.from), Some(&first));
            assert_ne!(fate.episode(first.to), Some(&first));
            assert_eq!(fate.dies_within(first.from, first.from), first.kind == Fault::Crash);
        }
    }

    #[test]
    fn luck_is_the_same_for_the_same_attempt_and_breaks_one_in_thirty() {
        let mut fate = Fate::sound();
        fate.character = Character::Flaky;
        let lucks: Vec<Luck> = (0..20_000).map(|call| fate.luck(7, call, 3, 0, 0)).collect();
        let broken = lucks.iter().filter(|luck| matches!(luck, Luck::Breaks(..))).count();
        assert!((500..700).contains(&broken), "{broken}");
        assert_eq!(lucks[5], fate.luck(7, 5, 3, 0, 0));
    }
}
