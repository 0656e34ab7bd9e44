//! A key's limits as flags, and as people read them.

use std::str::FromStr;

use clap::Args;
use filature_billing::{Budget, KeyLimits, Nano, Period, Rate};

use super::output::amount;
use crate::admin::{BudgetPatch, KeyShown, LimitsPatch};

/// The limits a key is made with; those not given are none.
#[derive(Args, Debug)]
pub(super) struct Limits {
    /// Calls it may start per minute.
    #[arg(long, value_name = "N")]
    requests_per_min: Option<u32>,
    /// Tokens it may use per minute, prompt and completion together.
    #[arg(long, value_name = "N")]
    tokens_per_min: Option<u64>,
    /// Calls it may have running at a time.
    #[arg(long, value_name = "N")]
    concurrent: Option<u32>,
    /// What it may spend, in TON: `12` or `0.25`.
    #[arg(long, value_name = "TON")]
    budget: Option<Nano>,
    /// When the budget starts anew, by UTC's calendar: `never`, `day`, `week` or `month`.
    #[arg(long, value_name = "PERIOD", requires = "budget", default_value = "never")]
    budget_period: Period,
    /// A model it may call; repeat for more. Without, all.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
}

impl Limits {
    pub(super) fn take(self) -> KeyLimits {
        let period = self.budget_period;
        KeyLimits {
            requests_per_min: self.requests_per_min,
            tokens_per_min: self.tokens_per_min,
            concurrent: self.concurrent,
            budget: self.budget.map(|amount| Budget { amount, period }),
            models: self.models,
        }
    }
}

/// A value, or `none` to take away what there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrNone<T>(pub(super) Option<T>);

impl<T: FromStr<Err: std::fmt::Display>> FromStr for OrNone<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let value = text.parse().map_err(|error: T::Err| format!("{error} (or `none`)"))?;
        Ok(Self(Some(value)))
    }
}

/// What is to change of a key's limits; those not given stay.
#[derive(Args, Debug)]
pub(super) struct Changes {
    /// Calls it may start per minute, or `none` for no limit.
    #[arg(long, value_name = "N")]
    requests_per_min: Option<OrNone<u32>>,
    /// Tokens it may use per minute, or `none`.
    #[arg(long, value_name = "N")]
    tokens_per_min: Option<OrNone<u64>>,
    /// Calls it may have running at a time, or `none`.
    #[arg(long, value_name = "N")]
    concurrent: Option<OrNone<u32>>,
    /// What it may spend, in TON, or `none`.
    #[arg(long, value_name = "TON")]
    budget: Option<OrNone<Nano>>,
    /// When the budget starts anew: `never`, `day`, `week` or `month`.
    #[arg(long, value_name = "PERIOD")]
    budget_period: Option<Period>,
    /// A model it may call, in place of those so far; repeat for more.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Let it call all models.
    #[arg(long, conflicts_with = "models")]
    all_models: bool,
}

impl Changes {
    /// The change, if there is any.
    pub(super) fn take(self) -> Option<LimitsPatch> {
        let period = self.budget_period;
        let budget = match (self.budget, period) {
            (None, None) => None,
            (Some(OrNone(None)), _) => Some(None),
            (amount, period) => Some(Some(BudgetPatch {
                amount: amount.and_then(|amount| amount.0),
                period,
            })),
        };
        let models = (!self.models.is_empty()).then_some(Some(self.models));
        let patch = LimitsPatch {
            requests_per_min: self.requests_per_min.map(|limit| limit.0),
            tokens_per_min: self.tokens_per_min.map(|limit| limit.0),
            concurrent: self.concurrent.map(|limit| limit.0),
            budget,
            models: if self.all_models { Some(None) } else { models },
        };
        (patch != LimitsPatch::default()).then_some(patch)
    }
}

/// The limits, a line each; nothing where there are none.
pub(super) fn facts(limits: &KeyLimits, symbol: &str) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(limits.requests_per_min.map(|limit| ("requests/min", limit.to_string())));
    facts.extend(limits.tokens_per_min.map(|limit| ("tokens/min", limit.to_string())));
    facts.extend(limits.concurrent.map(|limit| ("concurrent", limit.to_string())));
    facts.extend(limits.budget.map(|Budget { amount, period }| {
        let per = match period {
            Period::Never => "in all".to_owned(),
            period => format!("a {}", period.as_str()),
        };
        ("budget", format!("{amount} {symbol} {per}"))
    }));
    facts.extend((!limits.models.is_empty()).then(|| ("models", limits.models.join(", "))));
    facts
}

/// What is used of a key, a line each.
pub(super) fn used(shown: &KeyShown, symbol: &str) -> Vec<(&'static str, String)> {
    let used = &shown.used;
    let money = |nano: Nano| amount(nano.signed().into(), symbol);
    let mut facts = vec![
        ("spent", money(used.spent)),
        ("today", money(used.spent_day)),
        ("this week", money(used.spent_week)),
        ("this month", money(used.spent_month)),
        ("held", format!("{} by {} running calls", money(used.held), used.holds)),
    ];
    let left = |rate: Rate| format!("{} of {}, all in {} ms", rate.remaining, rate.limit, rate.reset_ms);
    facts.extend(used.limits.requests.map(|rate| ("requests left", left(rate))));
    facts.extend(used.limits.tokens.map(|rate| ("tokens left", left(rate))));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_changed_or_taken_away() {
        assert_eq!("none".parse(), Ok(OrNone::<u32>(None)));
        assert_eq!("5".parse(), Ok(OrNone(Some(5_u32))));
        assert!("-5".parse::<OrNone<u32>>().is_err());
    }
}
