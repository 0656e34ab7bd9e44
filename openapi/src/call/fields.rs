//! The one pass over a body: finds the known top-level fields, notes every key, walks the messages.
//!
//! Decides what is structurally wrong with a body (not JSON, not an object, repeated or disguised keys, too many, too
//! deep). What
//! the found values say is judged by the neighbours.

use std::borrow::Cow;

use serde::de::{Error, MapAccess};
use smallvec::SmallVec;

use super::names::{FIELD_COUNT, Field, Known};
use super::prompt::Messages;
use super::{BadCall, DEPTH_MAX, Endpoint, KEYS_MAX, Parameters};
use crate::walk::{Kind, Walk, Walker, nests_deeper_than, raw_member, walk};

/// Whether a switch is on, as an engine may read it.
fn is_on(raw: &str) -> bool {
    !matches!(raw, "null" | "false" | "0")
}

/// What one pass found. Values are as they stand in the text.
pub(super) struct Fields<'de> {
    endpoint: Endpoint,
    raw: [Option<&'de str>; FIELD_COUNT],
    /// The elements of `messages` and the kind of its value, if the field is there.
    messages: Option<(Messages<'de>, Kind)>,
    prompt_bytes: usize,
    parameters: Parameters,
    steers_turn: bool,
    echo: bool,
    keys: SmallVec<[Cow<'de, str>; 24]>,
    refused: Option<BadCall>,
}

impl<'de> Fields<'de> {
    /// Walks a body.
    pub(super) fn collect(endpoint: Endpoint, text: &'de str) -> Result<Self, BadCall> {
        let mut fields = Self {
            endpoint,
            raw: [None; FIELD_COUNT],
            messages: None,
            prompt_bytes: 0,
            parameters: Parameters::NONE,
            steers_turn: false,
            echo: false,
            keys: SmallVec::new(),
            refused: None,
        };
        let walked = walk(text, &mut fields);
        if let Some(refused) = fields.refused {
            return Err(refused);
        }
        match walked {
            Ok(Kind::Object) => Ok(fields),
            Ok(kind) => Err(BadCall::not_object(kind)),
            Err(error) => Err(BadCall::not_json(&error)),
        }
    }

    /// A field's value; `None` if absent or `null`.
    pub(super) fn get(&self, field: Field) -> Option<&'de str> {
        self.place(field).filter(|raw| *raw != "null")
    }

    /// A field's value, `null` included.
    pub(super) fn place(&self, field: Field) -> Option<&'de str> {
        self.raw[field as usize]
    }

    pub(super) const fn messages(&self) -> Option<&(Messages<'de>, Kind)> {
        self.messages.as_ref()
    }

    /// Bytes of the values that become the prompt.
    pub(super) const fn prompt_bytes(&self) -> usize {
        self.prompt_bytes
    }

    /// The sampling parameters given.
    pub(super) const fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Whether the caller steers the assistant's turn beyond what it says.
    pub(super) const fn steers_turn(&self) -> bool {
        self.steers_turn
    }

    /// Whether the answer is to begin with the prompt.
    pub(super) const fn echo(&self) -> bool {
        self.echo
    }

    /// Whether the last message is the assistant's own.
    pub(super) fn ends_with_assistant(&self) -> bool {
        self.messages
            .as_ref()
            .is_some_and(|(messages, _)| messages.ends_with_assistant())
    }

    /// Notes a key, or refuses the body for it.
    fn note_key(&mut self, key: Cow<'de, str>) -> Result<(), BadCall> {
        if self.keys.contains(&key) {
            return Err(BadCall::repeated(&key));
        }
        if self.keys.len() == KEYS_MAX {
            return Err(BadCall::too_many_keys(KEYS_MAX));
        }
        self.keys.push(key);
        Ok(())
    }

    fn take(&mut self, known: Known, raw: &'de str) {
        match known {
            Known::Field(field) => self.take_value(field, raw),
            Known::Parameter(parameter) if raw != "null" => self.parameters.insert(parameter),
            Known::Parameter(_) => {}
            Known::Steering => self.steers_turn |= is_on(raw),
            Known::Echo => {
                self.echo |= is_on(raw);
                self.steers_turn |= self.echo;
            }
            Known::Turn => self.steers_turn = true,
        }
    }

    fn take_value(&mut self, field: Field, raw: &'de str) {
        if raw == "null" && self.get(field).is_some() {
            // One of several keys that mean the same field; the other says something.
            return;
        }
        self.raw[field as usize] = Some(raw);
        if field.is_prompt() && raw != "null" {
            self.prompt_bytes += raw.len();
        }
    }

    /// Remembers why the body is refused and stops the walk.
    fn refuse<E: Error>(&mut self, refused: BadCall) -> E {
        self.refused = Some(refused);
        E::custom("refused")
    }
}

impl<'de> Walker<'de> for Fields<'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let known = Known::of(self.endpoint, &key);
        if known.is_none()
            && let Some(name) = Known::disguised(self.endpoint, &key)
        {
            return Err(self.refuse(BadCall::disguised(&key, &name)));
        }
        if let Err(refused) = self.note_key(key) {
            return Err(self.refuse(refused));
        }
        let deep = if known == Some(Known::Field(Field::Messages)) {
            let mut messages = Messages::default();
            let kind = map.next_value_seed(Walk(&mut messages))?;
            self.prompt_bytes += messages.bytes.saturating_sub(messages.media.bytes);
            let deep = messages.too_deep;
            self.messages = Some((messages, kind));
            deep
        } else {
            let raw = raw_member(map)?;
            if let Some(known) = known {
                self.take(known, raw);
            }
            nests_deeper_than(raw, DEPTH_MAX - 1)
        };
        if deep {
            let key = self.keys.last().map(|key| key.clone().into_owned()).unwrap_or_default();
            return Err(self.refuse(BadCall::too_deep(&key, DEPTH_MAX)));
        }
        Ok(())
    }
}
