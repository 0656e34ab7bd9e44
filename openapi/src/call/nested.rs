//! Reads objects and lists inside a field, where every member is looked at: what is not known is refused.

use std::borrow::Cow;

use serde::de::{Error, MapAccess, SeqAccess};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::{BadCall, values};
use crate::walk::{Kind, Walker, raw_member, string, walk};

/// Hands each member of the object `raw` to `take`, as its path, its key and its value, which is not `null`.
///
/// `param` is the object's own path. A repeated member is refused.
pub(super) fn members<'de>(
    param: &str,
    raw: &'de str,
    take: impl FnMut(&str, &str, &'de str) -> Result<(), BadCall>,
) -> Result<(), BadCall> {
    let mut reader = Members {
        param,
        take,
        keys: SmallVec::new(),
        refused: None,
    };
    let walked = walk(raw, &mut reader);
    match (reader.refused, walked) {
        (Some(refused), _) => Err(refused),
        (None, Ok(Kind::Object)) => Ok(()),
        (None, Ok(kind)) => Err(BadCall::wrong_type(param, "an object", kind)),
        (None, Err(error)) => Err(BadCall::invalid(param, &error.to_string())),
    }
}

/// The texts of the list `raw`, at most `most` of them, each of 1 to `bytes_max` bytes.
pub(super) fn texts(param: &str, raw: &str, most: usize, bytes_max: usize) -> Result<Vec<Box<str>>, BadCall> {
    let mut texts = Vec::new();
    elements(param, raw, most, |param, raw| {
        texts.push(text(param, raw, bytes_max)?.into());
        Ok(())
    })?;
    Ok(texts)
}

/// Hands each element of the list `raw` to `take`, as its path and its value. More than `most` are refused.
pub(super) fn elements<'de>(
    param: &str,
    raw: &'de str,
    most: usize,
    mut take: impl FnMut(&str, &'de str) -> Result<(), BadCall>,
) -> Result<(), BadCall> {
    let kind = Kind::of(raw);
    if kind != Kind::Array {
        return Err(BadCall::wrong_type(param, "an array of strings", kind));
    }
    let mut list = List {
        elements: SmallVec::new(),
        most,
    };
    // The text has been walked once and is valid, and raw elements are not judged.
    walk(raw, &mut list).map_err(|error| BadCall::invalid(param, &error.to_string()))?;
    if list.elements.len() > most {
        return Err(BadCall::too_many(param, most));
    }
    for (index, raw) in list.elements.into_iter().enumerate() {
        take(&format!("{param}[{index}]"), raw)?;
    }
    Ok(())
}

/// A text of 1 to `bytes_max` bytes.
fn text<'a>(param: &str, raw: &'a str, bytes_max: usize) -> Result<Cow<'a, str>, BadCall> {
    let text = values::text(param, raw)?;
    match text.len() {
        0 => Err(BadCall::empty(param, "string")),
        bytes if bytes > bytes_max => Err(BadCall::too_long(param, bytes_max)),
        _ => Ok(text),
    }
}

/// The value among `named` that the text `raw` names.
pub(super) fn word<T: Copy>(param: &str, raw: &str, named: &[(&str, T)]) -> Result<T, BadCall> {
    let kind = Kind::of(raw);
    if kind != Kind::String {
        return Err(BadCall::wrong_type(param, "a string", kind));
    }
    let text = string(raw).unwrap_or_default();
    let found = named.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| BadCall::not_one_of(param, named.iter().map(|(name, _)| *name), &text))
}

/// A flag.
pub(super) fn flag(param: &str, raw: &str) -> Result<bool, BadCall> {
    values::boolean(param, Some(raw))
}

struct Members<'de, 'a, F> {
    param: &'a str,
    take: F,
    keys: SmallVec<[Cow<'de, str>; 8]>,
    refused: Option<BadCall>,
}

impl<'de, F: FnMut(&str, &str, &'de str) -> Result<(), BadCall>> Walker<'de> for Members<'de, '_, F> {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let raw = raw_member(map)?;
        let path = format!("{}.{key}", self.param);
        let taken = if self.keys.contains(&key) {
            Err(BadCall::repeated(&path))
        } else {
            (self.take)(&path, &key, raw)
        };
        self.keys.push(key);
        taken.map_err(|refused| {
            self.refused = Some(refused);
            A::Error::custom("refused")
        })
    }
}

/// The elements of a list, but one more than allowed at most.
struct List<'de> {
    elements: SmallVec<[&'de str; 8]>,
    most: usize,
}

impl<'de> Walker<'de> for List<'de> {
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        let Some(raw) = seq.next_element::<&'de RawValue>()?.map(RawValue::get) else {
            return Ok(false);
        };
        if self.elements.len() <= self.most {
            self.elements.push(raw);
        }
        Ok(true)
    }
}
