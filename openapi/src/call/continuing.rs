//! Whether the stream of a call, once it broke, can be continued by another engine such that the caller notices
//! nothing.

use super::fields::Fields;
use super::names::Field;
use super::{Endpoint, Needs};
use crate::walk::Kind;

/// Whether continuing is sound: one choice of plain text, whose end alone decides what comes next.
///
/// Not for output that is guided or holds tool calls, whose state a text does not carry; not for log probabilities,
/// which would be of another context; not where the caller steers the assistant's own turn already.
pub(super) fn is_sound(endpoint: Endpoint, fields: &Fields<'_>, needs: Needs, choices: u32) -> bool {
    let plain = Needs::IMAGES.contains(needs) && choices == 1 && !fields.steers_turn();
    plain
        && match endpoint {
            Endpoint::ChatCompletions => !fields.ends_with_assistant(),
            Endpoint::Completions => {
                let is_text = fields.get(Field::Prompt).map(Kind::of) == Some(Kind::String);
                is_text && fields.get(Field::PromptExtra).is_none()
            }
            Endpoint::Embeddings => false,
        }
}

#[cfg(test)]
mod tests;
