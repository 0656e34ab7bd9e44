//! Finds whole members of an object, keys and commas included, from where their values lie.
//!
//! Works on JSON that has been walked once and is valid. Nothing is noted for it during the walk: few bodies need it.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::MapAccess;
use smallvec::SmallVec;

use crate::edit::Edits;
use crate::walk::{Walker, raw_member, span_of, walk};

/// A member of an object: where its key begins and its value ends.
#[derive(Clone, Debug)]
pub(crate) struct Member(Range<usize>);

impl Member {
    /// The member whose value lies at `value` in `json`.
    pub(crate) fn of(json: &[u8], value: Range<usize>) -> Self {
        let colon = before(json, value.start) - 1;
        let closing = before(json, colon) - 1;
        let mut opening = closing - 1;
        // A quote inside a key has an odd number of backslashes before it.
        while json[opening] != b'"' || backslashes_before(json, opening) % 2 == 1 {
            opening -= 1;
        }
        Self(opening..value.end)
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.0.clone()
    }
}

/// Where to cut such that members, and as many commas, are gone.
pub(crate) struct Removals(SmallVec<[Range<usize>; 3]>);

impl Removals {
    /// Cuts for the members of one object in `json` whose values lie at `values`.
    pub(crate) fn of(json: &[u8], values: impl Iterator<Item = Range<usize>>) -> Self {
        let mut members: SmallVec<[Range<usize>; 3]> = values.map(|value| Member::of(json, value).range()).collect();
        members.sort_unstable_by_key(|member| member.start);
        let mut cut_to = 0;
        for member in &mut members {
            let before = before(json, member.start);
            if json[before - 1] == b',' && before > cut_to {
                member.start = before - 1;
            } else {
                // The first one, or the first one left: the comma behind it goes.
                let behind = behind(json, member.end);
                member.end = if json.get(behind) == Some(&b',') {
                    behind + 1
                } else {
                    member.end
                };
                cut_to = member.end;
            }
        }
        Self(members)
    }

    /// Where to cut for one member alone.
    pub(crate) fn one(json: &[u8], value: Range<usize>) -> Range<usize> {
        let mut cuts = Self::of(json, std::iter::once(value));
        cuts.0.pop().unwrap_or_default()
    }

    pub(crate) fn write(self, edits: &mut Edits) {
        for cut in self.0 {
            edits.replace(cut, "");
        }
    }
}

/// Where the value of the top-level member `name` lies in the object `json`; an empty range at its start if there is
/// none.
pub(crate) fn value_of(json: &[u8], name: &str) -> Range<usize> {
    struct Finder<'n, 'de>(&'n str, Option<&'de str>);

    impl<'de> Walker<'de> for Finder<'_, 'de> {
        fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
            let raw = raw_member(map)?;
            if key == self.0 {
                self.1 = Some(raw);
            }
            Ok(())
        }
    }

    let mut finder = Finder(name, None);
    let walked = std::str::from_utf8(json).map(|text| walk(text, &mut finder));
    debug_assert!(matches!(walked, Ok(Ok(_))), "it has been walked once");
    finder.1.map(|raw| span_of(json, raw)).unwrap_or_default()
}

/// The position behind the last byte before `at` that is no white space.
fn before(json: &[u8], at: usize) -> usize {
    at - json[..at].iter().rev().take_while(|byte| is_space(**byte)).count()
}

/// The position of the first byte from `at` on that is no white space.
fn behind(json: &[u8], at: usize) -> usize {
    at + json[at..].iter().take_while(|byte| is_space(**byte)).count()
}

fn backslashes_before(json: &[u8], at: usize) -> usize {
    json[..at].iter().rev().take_while(|byte| **byte == b'\\').count()
}

/// White space of RFC 8259, section 2.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
