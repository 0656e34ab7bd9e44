//! Which models a call names, how it wants to be routed among them, and how urgent it is.

use super::fields::Fields;
use super::names::Field;
use super::nested::{elements, word};
use super::{BadCall, CallView, MODEL_BYTES_MAX, values};

/// The most models one call may name in `models`.
pub const MODELS_MAX: usize = 8;

/// OpenRouter's suffix of a model's name, which says what to prefer among its providers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Variant {
    /// `:floor`: the lowest price.
    Floor,
    /// `:nitro`: the highest throughput.
    Nitro,
}

/// How urgent a call is, from the least on: OpenAI's `service_tier`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub enum Tier {
    /// `flex`: it can wait.
    Flex,
    /// `auto`, `default`, `standard`, or nothing said.
    #[default]
    Default,
    /// `priority`: before the others.
    Priority,
}

const TIERS: [(&str, Tier); 5] = [
    ("auto", Tier::Default),
    ("default", Tier::Default),
    ("standard", Tier::Default),
    ("flex", Tier::Flex),
    ("priority", Tier::Priority),
];

/// The models a call names.
pub(super) struct Target {
    pub(super) model: Box<str>,
    pub(super) variant: Option<Variant>,
    pub(super) fallbacks: Box<[Box<str>]>,
}

/// Reads `model` and `models`, of which one is enough.
pub(super) fn models(fields: &Fields<'_>) -> Result<Target, BadCall> {
    let own = fields.place(Field::Model).map(|raw| name("model", raw)).transpose()?;
    let Some(raw) = fields.get(Field::Models) else {
        let (model, variant) = own.ok_or_else(|| BadCall::missing("model"))?;
        return Ok(Target {
            model,
            variant,
            fallbacks: Box::default(),
        });
    };
    let mut named = Vec::from_iter(own);
    elements("models", raw, MODELS_MAX, |param, raw| {
        let next = name(param, raw)?;
        if !named.iter().any(|(model, _)| *model == next.0) {
            named.push(next);
        }
        Ok(())
    })?;
    let mut named = named.into_iter();
    let (model, variant) = named.next().ok_or_else(|| BadCall::empty("models", "array"))?;
    Ok(Target {
        model,
        variant,
        fallbacks: named.map(|(model, _)| model).collect(),
    })
}

/// A model's name, without the suffix that only says what to prefer.
fn name(param: &str, raw: &str) -> Result<(Box<str>, Option<Variant>), BadCall> {
    let text = values::text(param, raw)?;
    let (name, variant) = if let Some(name) = text.strip_suffix(":floor") {
        (name, Some(Variant::Floor))
    } else if let Some(name) = text.strip_suffix(":nitro") {
        (name, Some(Variant::Nitro))
    } else {
        (&*text, None)
    };
    if name.is_empty() {
        return Err(BadCall::empty(param, "string"));
    }
    if name.len() > MODEL_BYTES_MAX {
        return Err(BadCall::too_long(param, MODEL_BYTES_MAX));
    }
    if name.chars().any(char::is_control) {
        return Err(BadCall::invalid(param, "a model's name holds no control characters"));
    }
    Ok((name.into(), variant))
}

/// Reads `service_tier`.
pub(super) fn tier(fields: &Fields<'_>) -> Result<Tier, BadCall> {
    let raw = fields.get(Field::ServiceTier);
    raw.map_or(Ok(Tier::Default), |raw| word("service_tier", raw, &TIERS))
}

/// Judges `route`, OpenRouter's older word for what `models` says by itself.
pub(super) fn route(fields: &Fields<'_>) -> Result<(), BadCall> {
    let raw = fields.get(Field::Route);
    raw.map_or(Ok(()), |raw| word("route", raw, &[("fallback", ())]))
}

impl CallView {
    /// Leaves only the models that `allows` says yes to; the first of them leads. False, and nothing is changed, if that
    /// would leave none.
    pub fn confine(&mut self, allows: impl Fn(&str) -> bool) -> bool {
        if allows(&self.model) {
            if !self.fallbacks.iter().all(|model| allows(model)) {
                self.fallbacks = self.fallbacks.iter().filter(|model| allows(model)).cloned().collect();
            }
            return true;
        }
        let mut allowed = self.fallbacks.iter().filter(|model| allows(model)).cloned();
        let Some(model) = allowed.next() else { return false };
        self.fallbacks = allowed.collect();
        self.model = model;
        self.places.is_model_other = true;
        true
    }
}

#[cfg(test)]
mod tests;
