//! The fleet: unlike providers, drawn from a seed.
//!
//! Source of the figures: ROUTING, "The proof". Speeds are log-normal with σ = .45 around an engine that gives a lone
//! stream a token every 22 ms and prefills 10,000 tokens a second: about what one accelerator does with a model of
//! 30 to 70 thousand million parameters. Prices are what such models were sold at in 2025, and fall with slowness.

use filature_router::Price;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

use super::agenda::{Micros, micros};
use super::draw::log_normal;
use super::engine::Make;
use super::faults::{Absence, Character, Fate};

/// Standard deviation of the logarithm of speed.
const SPEED_DEVIATION: f64 = 0.45;
/// Slots of a batch.
const SLOTS: std::ops::RangeInclusive<u32> = 8..=24;
/// Seconds between the tokens of a lone stream, and per prompt token, at speed 1.
const GAP_S: f64 = 0.022;
const PREFILL_S: f64 = 1e-4;
/// How much prefill and decoding differ in speed from each other, as the deviation of a logarithm.
const UNLIKE: f64 = 0.15;
/// Median round trip, seconds, and the deviation of its logarithm.
const ROUND_TRIP_S: f64 = 0.06;
const ROUND_TRIP_DEVIATION: f64 = 0.4;
/// NanoTON per million tokens at speed 1.
const PROMPT_NANO: f64 = 25e6;
const OUTPUT_NANO: f64 = 100e6;
/// Price goes with speed to this power, and differs beside it by the deviation of a logarithm.
const PRICE_POWER: f64 = 0.7;
const PRICE_DEVIATION: f64 = 0.2;
/// Calls a provider takes at a time, for each slot of its batch: some sell more than they have, and what is beyond the
/// slots waits in the engine.
const OFFERED_PER_SLOT: std::ops::Range<f64> = 1.0..2.0;
/// What a liar's other customers take of its engine, as a factor of slowness.
const LIAR_SLOWED: f64 = 3.0;
/// A sinkhole asks this share of the usual price, to be liked.
const SINKHOLE_DISCOUNT: f64 = 0.5;
/// A gateway pings a tunnel every 10 s and gives it 10 s to answer (gateway, `fleet/tunnel.rs`).
const UNNOTICED_S: std::ops::Range<f64> = 10.0..20.0;

/// Prompt and output tokens of a mean call of the trace, for capacities.
pub(super) const PROMPT_MEAN: f64 = 1155.0;
pub(super) const OUTPUT_MEAN: f64 = 211.0;

/// One provider.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Provider {
    pub(super) make: Make,
    pub(super) round_trip_s: f64,
    pub(super) price: Price,
    /// Calls at a time that it takes before it refuses.
    pub(super) offered: u32,
    /// How much slower than its make it always is.
    pub(super) slowed: f64,
    pub(super) fate: Fate,
}

/// What a fleet is to be like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FleetSettings {
    pub(super) providers: usize,
    /// Share that is flaky.
    pub(super) flaky: f64,
    /// Share that is lost at one moment, and from when to when.
    pub(super) lost: Option<(f64, Micros, Micros)>,
    /// Up to when troubles are drawn.
    pub(super) until: Micros,
}

impl Provider {
    /// Calls per second it can serve.
    pub(super) fn calls_per_s(&self) -> f64 {
        self.make.calls_per_s(PROMPT_MEAN, OUTPUT_MEAN)
    }
}

/// Draws a fleet.
pub(super) fn draw(settings: &FleetSettings, seed: u64) -> Vec<Provider> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ 0x666c_6565_7400);
    let mut providers: Vec<Provider> = (0..settings.providers).map(|_| provider(&mut rng)).collect();
    // Whole shares: the number that is flaky is no matter of luck, who it is is.
    for at in some(settings.flaky, providers.len(), &mut rng) {
        let provider = &mut providers[at];
        // A generator of its own: how long a run is changes nothing about who meets what.
        let mut own = Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(at as u64));
        provider.fate = Fate::flaky(settings.until, &mut own);
        match provider.fate.character {
            Character::Sinkhole => provider.price = dearer(provider.price, SINKHOLE_DISCOUNT),
            Character::Liar => provider.slowed = LIAR_SLOWED,
            Character::Sound | Character::Flaky | Character::FailsFast => {}
        }
    }
    if let Some((share, from, to)) = settings.lost {
        for (nth, at) in some(share, providers.len(), &mut rng).into_iter().enumerate() {
            let unnoticed = micros(rng.random_range(UNNOTICED_S));
            let noticed = if nth % 2 == 0 { from } else { from + unnoticed };
            providers[at].fate.absence = Some(Absence { from, to, noticed });
        }
    }
    providers
}

/// The central pool: as many alike and reliable servers of the fleet's mean speed, slots, round trip and price.
///
/// The same total speed in tokens per second, decoding and prefill each; what a provider does with all its slots busy
/// counts.
pub(super) fn central(fleet: &[Provider]) -> Vec<Provider> {
    let count = fleet.len() as f64;
    let mean = |figure: &dyn Fn(&Provider) -> f64| fleet.iter().map(figure).sum::<f64>() / count;
    let full = |make: &Make| f64::from(make.slots) / make.gap_at(f64::from(make.slots));
    let slots = mean(&|provider| f64::from(provider.make.slots)).round();
    let decoded = mean(&|provider| full(&provider.make));
    let prefilled = mean(&|provider| 1.0 / provider.make.prefill_s);
    let unit = Make {
        slots: slots as u32,
        gap_s: 1.0,
        prefill_s: 1.0 / prefilled,
    };
    let make = Make {
        gap_s: full(&unit) / decoded,
        ..unit
    };
    let price = Price {
        prompt: mean(&|provider| provider.price.prompt as f64).round() as u64,
        cached_prompt: mean(&|provider| provider.price.cached_prompt as f64).round() as u64,
        completion: mean(&|provider| provider.price.completion as f64).round() as u64,
        reasoning: mean(&|provider| provider.price.reasoning as f64).round() as u64,
        call: 0,
    };
    let server = Provider {
        make,
        round_trip_s: mean(&|provider| provider.round_trip_s),
        price,
        offered: mean(&|provider| f64::from(provider.offered)).round() as u32,
        slowed: 1.0,
        fate: Fate::sound(),
    };
    vec![server; fleet.len()]
}

fn provider(rng: &mut Xoshiro256PlusPlus) -> Provider {
    let speed = log_normal(SPEED_DEVIATION, rng);
    let make = Make {
        slots: rng.random_range(SLOTS),
        gap_s: GAP_S / speed * log_normal(UNLIKE, rng),
        prefill_s: PREFILL_S / speed * log_normal(UNLIKE, rng),
    };
    let height = speed.powf(PRICE_POWER) * log_normal(PRICE_DEVIATION, rng);
    let price = Price {
        prompt: PROMPT_NANO as u64,
        cached_prompt: PROMPT_NANO as u64,
        completion: OUTPUT_NANO as u64,
        reasoning: OUTPUT_NANO as u64,
        call: 0,
    };
    Provider {
        make,
        round_trip_s: ROUND_TRIP_S * log_normal(ROUND_TRIP_DEVIATION, rng),
        price: dearer(price, height),
        offered: (f64::from(make.slots) * rng.random_range(OFFERED_PER_SLOT)).round() as u32,
        slowed: 1.0,
        fate: Fate::sound(),
    }
}

fn dearer(price: Price, factor: f64) -> Price {
    let times = |nano: u64| (nano as f64 * factor).round() as u64;
    Price {
        prompt: times(price.prompt),
        cached_prompt: times(price.cached_prompt),
        completion: times(price.completion),
        reasoning: times(price.reasoning),
        call: times(price.call),
    }
}

/// This share of `0..count`, at random.
fn some(share: f64, count: usize, rng: &mut Xoshiro256PlusPlus) -> Vec<usize> {
    let mut all: Vec<usize> = (0..count).collect();
    let wanted = (share * count as f64).round() as usize;
    for at in 0..wanted.min(count) {
        let other = rng.random_range(at..count);
        all.swap(at, other);
    }
    all.truncate(wanted);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: FleetSettings = FleetSettings {
        providers: 1000,
        flaky: 0.15,
        lost: Some((0.3, 5, 9)),
        until: 600_000_000,
    };

    #[test]
    fn a_fleet_is_as_unlike_as_asked() {
        let fleet = draw(&SETTINGS, 1);
        assert_eq!(fleet, draw(&SETTINGS, 1), "equal seeds, equal fleets");
        assert_ne!(fleet, draw(&SETTINGS, 2));
        let logs: Vec<f64> = fleet.iter().map(|p| (p.make.prefill_s / PREFILL_S).ln()).collect();
        let mean = logs.iter().sum::<f64>() / 1000.0;
        let deviation = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
        let wanted = SPEED_DEVIATION.hypot(UNLIKE);
        assert!(
            mean.abs() < 0.06 && (deviation - wanted).abs() < 0.04,
            "{mean} {deviation}"
        );
        let bad = fleet.iter().filter(|p| p.fate.character != Character::Sound).count();
        let lost = fleet.iter().filter(|p| p.fate.absence.is_some()).count();
        assert_eq!((bad, lost), (150, 300));
    }

    #[test]
    fn the_central_pool_has_the_speed_of_the_fleet() {
        let fleet = draw(&SETTINGS, 1);
        let central = central(&fleet);
        let total = |providers: &[Provider]| providers.iter().map(Provider::calls_per_s).sum::<f64>();
        let ratio = total(&central) / total(&fleet);
        assert!((0.97..1.03).contains(&ratio), "{ratio}");
        assert!(central.iter().all(|server| server.fate == Fate::sound()));
    }
}
