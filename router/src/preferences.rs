//! A caller's wishes about who serves it, in the meaning of `OpenRouter`'s `provider` object.

use crate::route::eligible::Unfit;
use crate::sets::Precisions;

/// What a caller wishes of its providers.
///
/// Lists hold provider ids, or prefixes of one of at least [`PREFIX_MIN`](Self::PREFIX_MIN)
/// characters; shorter ones name nobody but a provider of exactly that id. Source: `OpenRouter`,
/// "Provider Routing".
#[derive(Clone, PartialEq, Debug)]
pub struct Preferences {
    /// Those to try first, in this order.
    pub order: Vec<Box<str>>,
    /// Where not empty: nobody else.
    pub only: Vec<Box<str>>,
    /// Never these.
    pub ignore: Vec<Box<str>>,
    /// Whether others than those of `order` may serve; without `order`, whether others than the
    /// best may.
    pub allow_fallbacks: bool,
    /// Only these classes of quantisation; none means any.
    pub precisions: Precisions,
    /// The one thing that counts, in place of price and time together.
    pub sort: Option<Sort>,
    /// Tokens per second that a provider should reach; those that do not come last.
    pub throughput_min: Vec<Threshold>,
    /// Seconds to the first token that a provider should keep to; those that do not come last.
    pub latency_max: Vec<Threshold>,
    /// What providers may ask at most.
    pub price_max: PriceMax,
    /// Only providers that keep no prompts (`data_collection: "deny"`).
    pub private_only: bool,
}

impl Preferences {
    /// Characters from which on the beginning of an id names its provider.
    pub const PREFIX_MIN: usize = 16;

    /// Whether the caller chooses among providers by name.
    #[must_use]
    pub fn name_providers(&self) -> bool {
        !(self.order.is_empty() && self.only.is_empty() && self.ignore.is_empty())
    }

    /// The providers that alone may serve, if the caller says who: `only`, or `order` where it
    /// allows nobody else.
    pub(crate) fn restriction(&self) -> Option<(&[Box<str>], Unfit)> {
        if !self.only.is_empty() {
            Some((&self.only, Unfit::Only))
        } else if self.allow_fallbacks || self.order.is_empty() {
            None
        } else {
            Some((&self.order, Unfit::Order))
        }
    }

    /// The place of a provider in `order`; [`UNORDERED`] if it has none.
    pub(crate) fn place(&self, provider: &str) -> u16 {
        let place = self.order.iter().position(|name| names(name, provider));
        place.map_or(UNORDERED, |at| u16::try_from(at).unwrap_or(UNORDERED))
    }

    /// Whether there is a wish about the speed that was measured.
    pub(crate) fn has_thresholds(&self) -> bool {
        !self.throughput_min.is_empty() || !self.latency_max.is_empty()
    }
}

impl Default for Preferences {
    /// No wishes.
    fn default() -> Self {
        Self {
            order: Vec::new(),
            only: Vec::new(),
            ignore: Vec::new(),
            allow_fallbacks: true,
            precisions: Precisions::NONE,
            sort: None,
            throughput_min: Vec::new(),
            latency_max: Vec::new(),
            price_max: PriceMax::default(),
            private_only: false,
        }
    }
}

/// What providers may ask at most; `None` means anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PriceMax {
    /// NanoTON per million prompt tokens, cached ones too.
    pub prompt: Option<u64>,
    /// NanoTON per million completion tokens, reasoning tokens too.
    pub completion: Option<u64>,
    /// NanoTON per call.
    pub call: Option<u64>,
}

/// The one thing that counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Sort {
    /// The lowest cost.
    Price,
    /// The most tokens per second.
    Throughput,
    /// The earliest first token.
    Latency,
}

/// A figure that a quantile of what was measured should reach or keep to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Threshold {
    /// Which quantile of the last five minutes.
    pub quantile: Quantile,
    /// Tokens per second, or seconds.
    pub value: f64,
}

/// A share of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Quantile {
    /// Half of them.
    P50,
    /// Three in four.
    P75,
    /// Nine in ten.
    P90,
    /// All but one in a hundred.
    P99,
}

/// The place of those that the caller did not order.
pub(crate) const UNORDERED: u16 = u16::MAX;

/// Whether an entry of a list names this provider.
pub(crate) fn names(entry: &str, provider: &str) -> bool {
    entry == provider || (entry.len() >= Preferences::PREFIX_MIN && provider.starts_with(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<Box<str>> {
        entries.iter().map(|entry| Box::from(*entry)).collect()
    }

    #[test]
    fn a_long_prefix_names_a_provider_and_a_short_one_does_not() {
        let id = "0123456789abcdef0123456789abcdef";
        assert!(names(id, id) && names("0123456789abcdef", id));
        assert!(!names("0123456789abcde", id) && !names("", id));
        assert!(names("short", "short") && !names("shor", "short"));
    }

    #[test]
    fn the_first_entry_that_names_a_provider_is_its_place() {
        let preferences = Preferences {
            order: list(&["b", "a", "b"]),
            ..Preferences::default()
        };
        assert_eq!((preferences.place("b"), preferences.place("a")), (0, 1));
        assert_eq!(preferences.place("c"), UNORDERED);
    }

    #[test]
    fn who_alone_may_serve_is_only_or_an_order_without_fallbacks() {
        let order = Preferences {
            order: list(&["a"]),
            ..Preferences::default()
        };
        assert_eq!(order.restriction(), None);
        let strict = Preferences {
            allow_fallbacks: false,
            ..order
        };
        assert_eq!(strict.restriction().map(|(_, reason)| reason), Some(Unfit::Order));
        let both = Preferences {
            only: list(&["b"]),
            ..strict
        };
        assert_eq!(both.restriction().map(|(_, reason)| reason), Some(Unfit::Only));
    }
}
