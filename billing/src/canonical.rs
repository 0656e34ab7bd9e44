//! Canonical JSON (RFC 8785) of what is written for every call: without the sorting, which took fifteen times as long.

use serde::Serialize;

/// Writes a value in canonical JSON, if its type is made for it: its structs, and those they hold, declare their fields in
/// the order of their names, and it has no fractions and no maps. Beyond that RFC 8785 asks for no space, the shortest
/// escapes, and integers up to 2⁵³, which is how `serde_json` writes; greater ones it writes as they are, and
/// [`crate::UsageRecord::check`] refuses them. Tests compare each such type with a writer that sorts.
pub(crate) fn write<T: Serialize>(value: &T, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(into, value)
}

/// Whether [`write`] writes a value as RFC 8785 asks.
#[cfg(test)]
pub(crate) fn assert_canonical<T: Serialize>(value: &T) {
    let mut written = Vec::new();
    write(value, &mut written).expect("json");
    let sorted = serde_jcs::to_vec(value).expect("canonical");
    assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&sorted));
}
