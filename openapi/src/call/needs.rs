//! What an engine must be able to do to serve a call.

use super::fields::Fields;
use super::names::Field;
use super::{BadCall, Endpoint, values};

/// A set of abilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct Needs(u8);

impl Needs {
    /// Nothing out of the ordinary.
    pub const NONE: Self = Self(0);
    /// Tool or function calls.
    pub const TOOLS: Self = Self(1);
    /// Output held to a schema, a grammar or any other guide.
    pub const JSON_SCHEMA: Self = Self(1 << 1);
    /// Log probabilities of tokens.
    pub const LOGPROBS: Self = Self(1 << 2);
    /// Images, video or audio in the prompt.
    pub const IMAGES: Self = Self(1 << 3);

    /// Every ability by its name in offers.
    pub const NAMED: [(&'static str, Self); 4] = [
        ("tools", Self::TOOLS),
        ("json_schema", Self::JSON_SCHEMA),
        ("logprobs", Self::LOGPROBS),
        ("images", Self::IMAGES),
    ];

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds `other` to this set.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as bits: tools 1, json_schema 2, logprobs 4, images 8.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// What the fields beside the prompt ask for.
pub(super) fn of(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Needs, BadCall> {
    let mut needs = Needs::NONE;
    if endpoint == Endpoint::Embeddings {
        return Ok(needs);
    }
    if values::has_elements("tools", fields.get(Field::Tools))?
        | values::has_elements("functions", fields.get(Field::Functions))?
    {
        needs.insert(Needs::TOOLS);
    }
    if values::guides_output(fields.get(Field::ResponseFormat))? || fields.get(Field::Guided).is_some() {
        needs.insert(Needs::JSON_SCHEMA);
    }
    // A chat says `false` or how many beside it, a completion says how many, where 0 still asks for the chosen token's.
    let asks = |field| fields.get(field).is_some_and(|raw| raw != "false");
    if asks(Field::Logprobs) || fields.get(Field::TopLogprobs).is_some_and(|raw| raw != "0") {
        needs.insert(Needs::LOGPROBS);
    }
    Ok(needs)
}
