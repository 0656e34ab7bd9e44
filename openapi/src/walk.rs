//! Walks JSON objects and arrays in one pass, without building a tree.
//!
//! Decides how members and elements are handed out, where a borrowed value lies in its text, and how deep a value
//! nests. What a member means is left to the walkers in `call`, `answer`, `chunk` and `usage`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What kind of JSON value was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    Bool,
    Integer,
    Decimal,
    String,
    Array,
    Object,
}

impl Kind {
    /// The kind of a valid JSON value without leading white space.
    pub(crate) fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            Some(b'n') | None => Self::Null,
            Some(b't' | b'f') => Self::Bool,
            Some(b'"') => Self::String,
            Some(b'[') => Self::Array,
            Some(b'{') => Self::Object,
            Some(_) if raw.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Self::Decimal,
            Some(_) => Self::Integer,
        }
    }

    /// The kind as OpenAI's error messages name it.
    pub(crate) const fn with_article(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Decimal => "a decimal number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// Takes members of an object or elements of an array; what it does not take is skipped.
pub(crate) trait Walker<'de> {
    /// Must consume exactly one value of `map`.
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let _ = key;
        map.next_value::<IgnoredAny>().map(|_| ())
    }

    /// Consumes at most one element of `seq`; `false` at the end.
    fn element<A: SeqAccess<'de>>(&mut self, seq: &mut A) -> Result<bool, A::Error> {
        Ok(seq.next_element::<IgnoredAny>()?.is_some())
    }
}

/// The seed that sends a walker into the next value, whatever that is, and tells its kind.
pub(crate) struct Walk<'a, W>(pub(crate) &'a mut W);

/// Walks a whole text that holds one JSON value.
pub(crate) fn walk<'de, W: Walker<'de>>(text: &'de str, walker: &mut W) -> Result<Kind, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let kind = Walk(walker).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(kind)
}

impl<'de, W: Walker<'de>> DeserializeSeed<'de> for Walk<'_, W> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, W: Walker<'de>> Visitor<'de> for Walk<'_, W> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            self.0.member(key, &mut map)?;
        }
        Ok(Kind::Object)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        while self.0.element(&mut seq)? {}
        Ok(Kind::Array)
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Integer)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Integer)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Decimal)
    }

    fn visit_str<E>(self, _: &str) -> Result<Kind, E> {
        Ok(Kind::String)
    }
}

/// A decoded object key, borrowed where it holds no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The next member's value as it stands in the text.
pub(crate) fn raw_member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<&'de str, A::Error> {
    map.next_value::<&'de RawValue>().map(RawValue::get)
}

/// Where `part`, a slice of `whole`, lies in it.
pub(crate) fn span_of(whole: &[u8], part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// The text of a JSON string literal; `None` for any other value and for lone surrogates.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// Bytes of UTF-8 that a JSON string literal stands for; 0 for any other value.
///
/// A lone surrogate counts three bytes, as the replacement character it turns into.
pub(crate) fn string_bytes(raw: &str) -> usize {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return 0;
    };
    let bytes = inner.as_bytes();
    let (mut at, mut total) = (0, bytes.len());
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
        let escape = at + found;
        let (written, meant) = match bytes.get(escape + 1) {
            Some(b'u') => unicode_escape(bytes, escape),
            _ => (2, 1),
        };
        total = total.saturating_sub(written - meant);
        at = escape + written;
    }
    total
}

/// Bytes written and bytes meant by the `\uXXXX` at `at`, or by a pair of them that is one character.
fn unicode_escape(bytes: &[u8], at: usize) -> (usize, usize) {
    match hex_at(bytes, at) {
        Some(0..0x80) => (6, 1),
        Some(0x80..0x800) => (6, 2),
        Some(0xD800..0xDC00) if matches!(hex_at(bytes, at + 6), Some(0xDC00..0xE000)) => (12, 4),
        _ => (6, 3),
    }
}

/// The number in the `\uXXXX` that starts at `at`.
fn hex_at(bytes: &[u8], at: usize) -> Option<u16> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether a valid JSON value nests deeper than `levels` (a scalar has none, `[]` one, `[[]]` two).
pub(crate) fn nests_deeper_than(raw: &str, levels: usize) -> bool {
    let bytes = raw.as_bytes();
    // Most values are strings or small: counting brackets is several times faster than following them.
    if !matches!(bytes.first(), Some(b'[' | b'{')) || brackets_at_most(bytes, levels) {
        return false;
    }
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Whether `bytes` hold at most `most` opening brackets, those in strings included.
fn brackets_at_most(bytes: &[u8], most: usize) -> bool {
    let mut count = 0;
    // Chunks below 256 bytes let the sum stay in bytes, which the compiler turns into vector code.
    for chunk in bytes.chunks(192) {
        // `[` is 0x5B and `{` is 0x7B: one bit apart.
        let here: u8 = chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum();
        count += usize::from(here);
        if count > most {
            return false;
        }
    }
    true
}

/// The position after the quote that ends the string whose content starts at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn depth(value: &Value) -> usize {
        match value {
            Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
            Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), r#"[\[\]{}"\\a]{0,100}"#.prop_map(Value::from)];
        leaf.prop_recursive(12, 60, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(r#"[\[{"\\]{0,4}"#, inner, 0..3).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn depth_is_that_of_the_tree(value in any_json(), levels in 0..14_usize) {
            prop_assert_eq!(nests_deeper_than(&value.to_string(), levels), depth(&value) > levels);
        }

        #[test]
        fn the_bytes_of_a_string_are_those_of_its_text(text in any::<String>(), ascii in any::<bool>()) {
            let mut raw = serde_json::to_string(&text).unwrap();
            if ascii {
                let escape = |unit: &mut u16| format!("\\u{unit:04x}");
                raw = format!("\"{}\"", text.encode_utf16().map(|mut unit| escape(&mut unit)).collect::<String>());
            }
            prop_assert_eq!(string_bytes(&raw), text.len());
            prop_assert_eq!(string(&raw).unwrap(), text);
        }
    }

    #[test]
    fn values_that_are_no_strings_have_no_text() {
        for raw in ["null", "7", "{}", "[\"a\"]", "true"] {
            assert_eq!((string_bytes(raw), string(raw)), (0, None), "{raw}");
        }
        // Lone surrogates, and one that only looks like a pair.
        for (raw, bytes) in [
            (r#""\ud800""#, 3),
            (r#""\ud800\u0041""#, 4),
            (r#""\ud83d\ude80""#, 4),
            (r#""\udc00\ud800""#, 6),
        ] {
            assert_eq!(string_bytes(raw), bytes, "{raw}");
        }
    }
}
