//! What the model is given: messages, prompts or inputs.
//!
//! Decides whether there is a prompt of the right shape, how many items it has and whether it shows media. What a
//! message says is judged by the engine.

use std::borrow::Cow;

use serde::de::{MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::fields::Fields;
use super::names::Field;
use super::opening::{self, Opening};
use super::{BadCall, DEPTH_MAX, Endpoint, Needs};
use crate::walk::{Kind, Walk, Walker, nests_deeper_than, raw_member, string, walk};

/// The levels above a message's members: the body, the list, the message.
const LEVELS_ABOVE_MEMBER: usize = 3;

/// What a prompt is made of.
#[derive(Clone, Copy, Default)]
pub(super) struct Made {
    /// Messages, prompts or inputs.
    pub(super) items: u32,
    /// Pictures, videos and recordings in them.
    pub(super) media: u32,
}

impl Made {
    const fn of(items: u32) -> Self {
        Self { items, media: 0 }
    }

    pub(super) const fn needs(self) -> Needs {
        if self.media > 0 { Needs::IMAGES } else { Needs::NONE }
    }
}

/// Pictures, videos and recordings.
#[derive(Clone, Copy, Default)]
pub(super) struct Media {
    count: u32,
    /// Bytes of their values, which no engine reads as text.
    pub(super) bytes: usize,
}

impl Media {
    fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

/// Counts the prompt's items and checks their shape.
pub(super) fn check(endpoint: Endpoint, fields: &Fields<'_>) -> Result<Made, BadCall> {
    match endpoint {
        Endpoint::ChatCompletions => messages(fields),
        Endpoint::Completions => {
            let raw = fields.place(Field::Prompt).ok_or_else(|| BadCall::missing("prompt"))?;
            items("prompt", raw).map(Made::of)
        }
        Endpoint::Embeddings => {
            let raw = fields.place(Field::Input).ok_or_else(|| BadCall::missing("input"))?;
            items("input", raw).map(Made::of)
        }
    }
}

/// The hash of the prompt's opening in `text`, which `fields` were found in; `None` for embeddings, and where it is so
/// short that nothing is gained by finding it in a cache.
pub(super) fn opening(fields: &Fields<'_>, text: &str) -> Option<u64> {
    match fields.get(Field::Prompt) {
        Some(raw) => opening::of_prompt(raw),
        None => fields.messages()?.0.opening(text),
    }
}

fn messages(fields: &Fields<'_>) -> Result<Made, BadCall> {
    let (messages, kind) = fields.messages().ok_or_else(|| BadCall::missing("messages"))?;
    if *kind != Kind::Array {
        return Err(BadCall::wrong_type("messages", "an array of objects", *kind));
    }
    if let Some((index, fault)) = messages.fault {
        let element = format!("messages[{index}]");
        let role = format!("{element}.role");
        return Err(match fault {
            Fault::NotObject(kind) => BadCall::wrong_type(&element, "an object", kind),
            Fault::NoRole => BadCall::missing(&role),
            Fault::RoleKind(kind) => BadCall::wrong_type(&role, "a string", kind),
            Fault::EmptyRole => BadCall::empty(&role, "string"),
        });
    }
    if messages.count == 0 {
        return Err(BadCall::empty("messages", "array"));
    }
    Ok(Made {
        items: messages.count,
        media: messages.media.count,
    })
}

/// The elements of `messages`, walked.
#[derive(Default)]
pub(super) struct Messages<'de> {
    count: u32,
    /// Bytes of the members' values.
    pub(super) bytes: usize,
    /// Whether a member nests too deep.
    pub(super) too_deep: bool,
    /// Pictures, videos and recordings.
    pub(super) media: Media,
    /// The first wrong element.
    fault: Option<(u32, Fault)>,
    opening: Opening<'de>,
    /// The last element's role, as it stands in the text.
    last_role: Option<&'de str>,
}

impl Messages<'_> {
    /// The hash of the opening in `text`, which the messages were walked in.
    pub(super) fn opening(&self, text: &str) -> Option<u64> {
        self.opening.hash(text)
    }

    pub(super) fn ends_with_assistant(&self) -> bool {
        self.last_role.and_then(string).is_some_and(|role| role == "assistant")
    }
}

#[derive(Clone, Copy)]
enum Fault {
    NotObject(Kind),
    NoRole,
    RoleKind(Kind),
    EmptyRole,
}

impl<'de> Walker<'de> for Messages<'de> {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let mut message = Message { of: self, role: None };
        let Some(kind) = seq.next_element_seed(Walk(&mut message))? else {
            return Ok(false);
        };
        let role = message.role;
        self.opening.message(role);
        self.last_role = role;
        let fault = match kind {
            Kind::Object => role.map_or(Some(Fault::NoRole), role_fault),
            kind => Some(Fault::NotObject(kind)),
        };
        if let (None, Some(fault)) = (self.fault, fault) {
            self.fault = Some((self.count, fault));
        }
        self.count = self.count.saturating_add(1);
        Ok(true)
    }
}

/// What is wrong with a role.
fn role_fault(raw: &str) -> Option<Fault> {
    match Kind::of(raw) {
        Kind::String => (raw == "\"\"").then_some(Fault::EmptyRole),
        kind => Some(Fault::RoleKind(kind)),
    }
}

struct Message<'a, 'de> {
    of: &'a mut Messages<'de>,
    role: Option<&'de str>,
}

impl<'de> Walker<'de> for Message<'_, 'de> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let raw = raw_member(map)?;
        self.of.bytes += raw.len();
        self.of.too_deep |= nests_deeper_than(raw, DEPTH_MAX - LEVELS_ABOVE_MEMBER);
        self.of.opening.value(raw);
        match &*key {
            "role" => self.role = Some(raw),
            "content" if Kind::of(raw) == Kind::Array => self.of.media.add(media(raw)),
            _ => {}
        }
        Ok(())
    }
}

/// Media in a message's content parts.
fn media(raw: &str) -> Media {
    struct Parts(Media);
    #[derive(Default)]
    struct Part {
        is_typed: bool,
        members: u32,
        bytes: usize,
    }

    impl<'de> Walker<'de> for Parts {
        fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
            let mut part = Part::default();
            let more = seq.next_element_seed(Walk(&mut part))?.is_some();
            self.0.add(Media {
                count: part.members.max(u32::from(part.is_typed)),
                bytes: part.bytes,
            });
            Ok(more)
        }
    }

    impl<'de> Walker<'de> for Part {
        fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
            let raw = raw_member(map)?;
            match &*key {
                "type" => {
                    self.is_typed =
                        string(raw).is_some_and(|kind| is_media(&kind) || matches!(&*kind, "input_image" | "image"));
                }
                key if is_media(key) => {
                    self.members += 1;
                    self.bytes += raw.len();
                }
                _ => {}
            }
            Ok(())
        }
    }

    /// OpenAI's and vLLM's names, both of a part's type and of the member that holds it.
    fn is_media(name: &str) -> bool {
        matches!(name, "image_url" | "video_url" | "audio_url" | "input_audio")
    }

    let mut parts = Parts(Media::default());
    // The text has been walked once and is valid. Where a second look stumbles (a number beyond all bounds where a part
    // should be), the engine judges it.
    let _ = walk(raw, &mut parts);
    parts.0
}

/// Counts the items of `prompt` or `input`: a string or a list of tokens is one, a list of either is several.
fn items(param: &str, raw: &str) -> Result<u32, BadCall> {
    const EXPECTED: &str = "a string, an array of strings, an array of integers, or an array of arrays of integers";
    match Kind::of(raw) {
        Kind::String if raw == "\"\"" => return Err(BadCall::empty(param, "string")),
        Kind::String => return Ok(1),
        Kind::Array => {}
        kind => return Err(BadCall::wrong_type(param, EXPECTED, kind)),
    }
    let elements = elements(param, raw)?;
    if let Some((index, fault)) = elements.fault {
        let element = format!("{param}[{index}]");
        return Err(match (fault, elements.kind) {
            (ItemFault::Empty(what), _) => BadCall::empty(&element, what),
            (ItemFault::Kind(kind), None) => BadCall::wrong_type(&element, "a string, an integer or an array", kind),
            (ItemFault::Kind(kind), Some(first)) => BadCall::wrong_type(
                &element,
                &format!("{} like the first element", first.with_article()),
                kind,
            ),
            (ItemFault::Inner(kind), _) => BadCall::wrong_type(&element, "an array of integers", kind),
        });
    }
    match elements.kind {
        None => Err(BadCall::empty(param, "array")),
        Some(Kind::Integer) => Ok(1),
        Some(_) => Ok(elements.count),
    }
}

fn elements(param: &str, raw: &str) -> Result<Items, BadCall> {
    let mut items = Items::default();
    // The text has been walked once and is valid, and raw elements are not judged.
    walk(raw, &mut items).map_err(|error| BadCall::invalid(param, &error.to_string()))?;
    Ok(items)
}

/// The elements of a list of prompts or inputs.
#[derive(Default)]
struct Items {
    count: u32,
    /// The first element's kind, which the others must share.
    kind: Option<Kind>,
    fault: Option<(u32, ItemFault)>,
}

#[derive(Clone, Copy)]
enum ItemFault {
    Kind(Kind),
    Inner(Kind),
    Empty(&'static str),
}

impl Items {
    fn fault_of(&self, raw: &str) -> Option<ItemFault> {
        let kind = Kind::of(raw);
        match kind {
            _ if self.kind.is_some_and(|first| first != kind) => Some(ItemFault::Kind(kind)),
            Kind::Integer => None,
            Kind::String => (raw == "\"\"").then_some(ItemFault::Empty("string")),
            Kind::Array => tokens_fault(raw),
            _ => Some(ItemFault::Kind(kind)),
        }
    }
}

impl<'de> Walker<'de> for Items {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let Some(raw) = seq.next_element::<&'de RawValue>()?.map(RawValue::get) else {
            return Ok(false);
        };
        if self.fault.is_none() {
            self.fault = self.fault_of(raw).map(|fault| (self.count, fault));
            if self.fault.is_none() {
                self.kind = Some(Kind::of(raw));
            }
        }
        self.count = self.count.saturating_add(1);
        Ok(true)
    }
}

/// What is wrong with a list of tokens.
fn tokens_fault(raw: &str) -> Option<ItemFault> {
    struct Tokens {
        any: bool,
        other: Option<Kind>,
    }

    impl<'de> Walker<'de> for Tokens {
        fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
            let Some(raw) = seq.next_element::<&'de RawValue>()?.map(RawValue::get) else {
                return Ok(false);
            };
            self.any = true;
            let kind = Kind::of(raw);
            if kind != Kind::Integer {
                self.other = self.other.or(Some(kind));
            }
            Ok(true)
        }
    }

    let mut tokens = Tokens {
        any: false,
        other: None,
    };
    if walk(raw, &mut tokens).is_err() || !tokens.any {
        return Some(ItemFault::Empty("array"));
    }
    tokens.other.map(ItemFault::Inner)
}
