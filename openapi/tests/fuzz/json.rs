//! Reads JSON as it stands in the text, so that what was passed on can be compared byte for byte.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, each as its key says and its value is written.
pub struct Members<'a>(pub Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((key, value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

/// The members of the object that `json` is, those with a name in `without` left out; `None` if it is no object.
pub fn members<'a>(json: &'a [u8], without: &[&str]) -> Option<Vec<(String, &'a str)>> {
    let Members(mut members) = serde_json::from_slice(json).ok()?;
    members.retain(|(key, _)| !without.contains(&key.as_str()));
    Some(members)
}

/// Whether these bytes are JSON. Lone surrogates and numbers that no program can hold are.
pub fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}
