//! How long answers usually are: what the router reckons with before a call has run. An average for each key and model.

use std::collections::HashMap;

use filature_billing::KeyId;
use parking_lot::Mutex;

/// What is reckoned with where nothing is known. The median of a public conversation trace is about 130 tokens, its mean
/// 211 (Azure Public Dataset, 2023).
const TOKENS_EXPECTED: f32 = 200.0;
/// Weight of one more answer.
const WEIGHT: f32 = 0.1;
/// Averages kept; beyond it all are forgotten, and learnt anew in a few calls.
const ENTRIES_MAX: usize = 16_384;

/// Average tokens of an answer.
#[derive(Default)]
pub struct Lengths(Mutex<HashMap<KeyId, Averages>>);

/// Averages of one key by model.
type Averages = Vec<(Box<str>, f32)>;

/// Models remembered for one key.
const MODELS_MAX: usize = 16;

impl Lengths {
    /// How many tokens the next answer to this key by this model is likely to have.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an average of u32"
    )]
    pub fn expected(&self, key: &KeyId, model: &str) -> u32 {
        let averages = self.0.lock();
        let known = averages
            .get(key)
            .and_then(|models| models.iter().find(|(name, _)| **name == *model));
        known.map_or(TOKENS_EXPECTED, |(_, tokens)| *tokens).round() as u32
    }

    /// An answer had this many tokens.
    #[expect(clippy::cast_precision_loss, reason = "an average")]
    pub fn saw(&self, key: &KeyId, model: &str, tokens: u64) {
        let mut averages = self.0.lock();
        if averages.len() >= ENTRIES_MAX && !averages.contains_key(key) {
            averages.clear();
        }
        let tokens = tokens.min(u64::from(u32::MAX)) as f32;
        let models = match averages.get_mut(key) {
            Some(models) => models,
            None => averages.entry(key.clone()).or_default(),
        };
        match models.iter_mut().find(|(name, _)| **name == *model) {
            Some((_, average)) => *average += WEIGHT * (tokens - *average),
            None => {
                if models.len() >= MODELS_MAX {
                    models.remove(0);
                }
                models.push((model.into(), tokens));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> KeyId {
        KeyId::parse(&format!("key_{n}")).expect("an id")
    }

    #[test]
    fn the_first_answer_counts_fully_and_later_ones_a_tenth() {
        let lengths = Lengths::default();
        assert_eq!(lengths.expected(&key(1), "m"), 200);
        lengths.saw(&key(1), "m", 1000);
        assert_eq!(lengths.expected(&key(1), "m"), 1000);
        lengths.saw(&key(1), "m", 0);
        assert_eq!(lengths.expected(&key(1), "m"), 900);
        assert_eq!(lengths.expected(&key(1), "other"), 200);
        assert_eq!(lengths.expected(&key(2), "m"), 200);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lengths = Lengths::default();
        for n in 0..ENTRIES_MAX + 10 {
            lengths.saw(&key(n), "m", 1);
        }
        for n in 0..MODELS_MAX + 10 {
            lengths.saw(&key(1), &n.to_string(), 1);
        }
        let averages = lengths.0.lock();
        assert!(averages.len() <= ENTRIES_MAX);
        assert!(averages.values().all(|models| models.len() <= MODELS_MAX));
    }
}
