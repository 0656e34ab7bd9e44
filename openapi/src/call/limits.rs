//! The fields that limit the output, of which engines follow different ones.
//!
//! Decides what a call is quoted for, and where a limit must go so that every engine keeps to it.

use super::fields::Fields;
use super::names::Field;
use super::values::{Span, limit};
use super::{BadCall, Endpoint};

/// An output limit that stands in the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limit {
    pub(super) at: Span,
    /// `None` where the body says `null`.
    pub(super) value: Option<u32>,
    /// Whether every engine that knows the field follows it on this route.
    binds: bool,
}

/// `max_completion_tokens`, `max_tokens` and llama.cpp's `n_predict`, which goes before both there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits([Option<Limit>; 3]);

impl Limits {
    pub(super) fn of(endpoint: Endpoint, fields: &Fields<'_>, at: impl Fn(&str) -> Span) -> Result<Self, BadCall> {
        // A completion has no `max_completion_tokens`: llama.cpp follows it all the same, vLLM does not.
        let is_chat = endpoint == Endpoint::ChatCompletions;
        let found = |param, field, binds| -> Result<Option<Limit>, BadCall> {
            let Some(raw) = fields.place(field) else {
                return Ok(None);
            };
            let value = limit(param, raw)?;
            Ok(Some(Limit {
                at: at(raw),
                value,
                binds,
            }))
        };
        Ok(Self([
            found("max_completion_tokens", Field::MaxCompletionTokens, is_chat)?,
            found("max_tokens", Field::MaxTokens, true)?,
            found("n_predict", Field::NPredict, true)?,
        ]))
    }

    /// The largest limit, so that it covers whichever an engine follows; `None` where an engine may see none at all.
    pub(super) fn largest(&self) -> Option<u32> {
        if !self.bind() {
            return None;
        }
        self.present().filter_map(|limit| limit.value).max()
    }

    /// Where a limit must be written: each of the caller's own, else where a binding one is `null`. `true` beside them
    /// if that binds no engine yet and the limit needs a member of its own.
    pub(super) fn places(&self) -> (impl Iterator<Item = Limit> + use<>, bool) {
        let bind = self.bind();
        let nulls = !bind && self.present().any(|limit| limit.binds);
        let places = self
            .present()
            .filter(move |limit| limit.value.is_some() || (nulls && limit.binds));
        (places, !bind && !nulls)
    }

    /// Whether a limit is said that binds.
    fn bind(&self) -> bool {
        self.present().any(|limit| limit.binds && limit.value.is_some())
    }

    fn present(&self) -> impl Iterator<Item = Limit> + use<> {
        self.0.into_iter().flatten()
    }
}
