//! The one pass over a body: finds the known top-level fields, notes every key, walks the messages.
//!
//! Decides what is structurally wrong with a body (not JSON, not an object, repeated or disguised keys, too many, too
//! deep). What
//! the found values say is judged by the neighbours.

use std::borrow::Cow;

use serde::de::{Error, MapAccess};
use smallvec::SmallVec;

use super::prompt::Messages;
use super::{BadCall, DEPTH_MAX, Endpoint, KEYS_MAX};
use crate::walk::{Kind, Walk, Walker, nests_deeper_than, raw_member, walk};

/// A top-level field that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Model,
    Messages,
    Prompt,
    Input,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    NPredict,
    N,
    NCmpl,
    BestOf,
    SessionId,
    PromptCacheKey,
    Tools,
    Functions,
    ResponseFormat,
    Logprobs,
    TopLogprobs,
    /// Any of the engines' own fields for guided output.
    Guided,
    /// Any field whose text an engine adds to the prompt.
    PromptExtra,
}

/// The longest name that [`Field::of`] knows, in bytes.
const NAME_BYTES_MAX: usize = "max_completion_tokens".len();

/// The most bytes of UTF-8 that fold to one letter of a name: those of the Kelvin sign.
const FOLDED_BYTES_MAX: usize = 3;

const FIELD_COUNT: usize = Field::PromptExtra as usize + 1;

impl Field {
    /// The field a key names on a route; `None` where it means nothing to the gateway.
    fn of(endpoint: Endpoint, key: &str) -> Option<Self> {
        use Endpoint::{ChatCompletions as Chat, Completions, Embeddings};
        Some(match (endpoint, key) {
            (_, "model") => Self::Model,
            (Chat, "messages") => Self::Messages,
            (Completions, "prompt") => Self::Prompt,
            (Embeddings, "input") => Self::Input,
            (_, "session_id") => Self::SessionId,
            (_, "prompt_cache_key") => Self::PromptCacheKey,
            (Embeddings, _) => return None,
            (_, "stream") => Self::Stream,
            (_, "stream_options") => Self::StreamOptions,
            (_, "max_tokens") => Self::MaxTokens,
            (_, "max_completion_tokens") => Self::MaxCompletionTokens,
            // llama.cpp's name of the limit, which overrides the others there.
            (_, "n_predict") => Self::NPredict,
            (_, "n") => Self::N,
            // llama.cpp's name of `n`, which overrides it there.
            (_, "n_cmpl") => Self::NCmpl,
            (Completions, "best_of") => Self::BestOf,
            (Chat, "tools") => Self::Tools,
            (Chat, "functions") => Self::Functions,
            (_, "response_format") => Self::ResponseFormat,
            (_, "logprobs") => Self::Logprobs,
            (Chat, "top_logprobs") => Self::TopLogprobs,
            // vLLM's, SGLang's and llama.cpp's.
            (
                _,
                "guided_json" | "guided_regex" | "guided_choice" | "guided_grammar" | "structured_outputs" | "regex"
                | "ebnf" | "json_schema" | "grammar",
            ) => Self::Guided,
            (Chat, "documents" | "chat_template" | "chat_template_kwargs") | (Completions, "suffix") => {
                Self::PromptExtra
            }
            _ => return None,
        })
    }

    /// The name that a key, which is none itself, would be taken for by an engine that matches keys in any case.
    ///
    /// Engines in Go do, and let the last of several win. Go folds two letters beyond ASCII too.
    fn disguised(endpoint: Endpoint, key: &str) -> Option<String> {
        let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        if key.len() > NAME_BYTES_MAX * FOLDED_BYTES_MAX || key.bytes().all(is_plain) {
            return None;
        }
        let folded: String = key
            .chars()
            .map(|letter| match letter {
                '\u{17f}' => 's',
                '\u{212a}' => 'k',
                other => other.to_ascii_lowercase(),
            })
            .collect();
        Self::of(endpoint, &folded).map(|_| folded)
    }

    /// Whether its text becomes part of the prompt.
    const fn is_prompt(self) -> bool {
        matches!(
            self,
            Self::Prompt | Self::Input | Self::Tools | Self::Functions | Self::ResponseFormat | Self::PromptExtra
        )
    }
}

/// What one pass found. Values are as they stand in the text.
pub(super) struct Fields<'de> {
    endpoint: Endpoint,
    raw: [Option<&'de str>; FIELD_COUNT],
    /// The elements of `messages` and the kind of its value, if the field is there.
    messages: Option<(Messages, Kind)>,
    prompt_bytes: usize,
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

    pub(super) const fn messages(&self) -> Option<&(Messages, Kind)> {
        self.messages.as_ref()
    }

    /// Bytes of the values that become the prompt.
    pub(super) const fn prompt_bytes(&self) -> usize {
        self.prompt_bytes
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
        let field = Field::of(self.endpoint, &key);
        if field.is_none()
            && let Some(name) = Field::disguised(self.endpoint, &key)
        {
            return Err(self.refuse(BadCall::disguised(&key, &name)));
        }
        if let Err(refused) = self.note_key(key) {
            return Err(self.refuse(refused));
        }
        let deep = if field == Some(Field::Messages) {
            let mut messages = Messages::default();
            let kind = map.next_value_seed(Walk(&mut messages))?;
            self.prompt_bytes += messages.bytes;
            let deep = messages.too_deep;
            self.messages = Some((messages, kind));
            deep
        } else {
            let raw = raw_member(map)?;
            if let Some(field) = field {
                self.take_value(field, raw);
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
