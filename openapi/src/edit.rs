//! Replaces ranges of a body without copying what stays.
//!
//! Decides how a body is cut into slices; what to replace is decided by [`CallView`](crate::CallView) and the gateway.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Replacements to be made in one body.
#[derive(Clone, Debug, Default)]
pub struct Edits(SmallVec<[(Range<usize>, Bytes); 4]>);

impl Edits {
    /// No replacements.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `with` in place of `range` (bytes of the original body). An empty range inserts.
    ///
    /// Replacements may come in any order. Insertions at one position keep the order of the calls.
    pub fn replace(&mut self, range: Range<usize>, with: impl Into<Bytes>) -> &mut Self {
        self.0.push((range, with.into()));
        self
    }

    /// Whether nothing is to be replaced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The edited body, as slices of `body` with the replacements between them.
    ///
    /// # Panics
    /// If ranges overlap or lie outside `body`: they were then not taken from this body.
    #[must_use]
    pub fn apply(mut self, body: &Bytes) -> Segments {
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut segments = Segments::default();
        let mut at = 0;
        for (range, with) in self.0 {
            assert!(
                at <= range.start && range.start <= range.end,
                "replacements must not overlap"
            );
            segments.push(body.slice(at..range.start));
            segments.push(with);
            at = range.end;
        }
        segments.push(body.slice(at..));
        segments
    }
}

/// A body in pieces, in order. None of them is empty.
#[derive(Clone, Debug, Default)]
pub struct Segments(SmallVec<[Bytes; 7]>);

impl Segments {
    /// Bytes in all pieces together: the `content-length`.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of pieces.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The pieces, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Bytes> {
        self.0.iter()
    }

    /// All pieces as one. Copies unless there is only one.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.0.len() <= 1 {
            return self.0.pop().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for segment in self.0 {
            whole.extend_from_slice(&segment);
        }
        whole.freeze()
    }

    fn push(&mut self, segment: Bytes) {
        if !segment.is_empty() {
            self.0.push(segment);
        }
    }
}

impl From<Bytes> for Segments {
    fn from(body: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(body);
        segments
    }
}

impl IntoIterator for Segments {
    type Item = Bytes;
    type IntoIter = smallvec::IntoIter<[Bytes; 7]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Bytes;
    type IntoIter = std::slice::Iter<'a, Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_in_any_order_give_one_body() {
        let body = Bytes::from_static(b"0123456789");
        let mut edits = Edits::new();
        edits
            .replace(8..10, "y")
            .replace(0..1, "")
            .replace(3..3, "ab")
            .replace(3..3, "c")
            .replace(3..5, "x");
        let edited = edits.apply(&body);
        assert_eq!(edited.len(), 10);
        assert!(edited.iter().all(|segment| !segment.is_empty()));
        assert_eq!(edited.into_bytes(), "12abcx567y");
    }

    #[test]
    fn a_body_without_edits_stays_one_segment() {
        let body = Bytes::from_static(b"body");
        let edited = Edits::new().apply(&body);
        assert_eq!((edited.count(), edited.len()), (1, 4));
        assert_eq!(edited.into_bytes().as_ptr(), body.as_ptr());
        assert!(Edits::new().is_empty() && Edits::new().apply(&Bytes::new()).is_empty());
        assert_eq!(Segments::from(body.clone()).into_iter().collect::<Vec<_>>(), [body]);
    }

    #[test]
    #[should_panic(expected = "must not overlap")]
    fn overlapping_replacements_are_a_fault_of_the_program() {
        let mut edits = Edits::new();
        edits.replace(0..3, "a").replace(2..4, "b");
        let _ = edits.apply(&Bytes::from_static(b"body"));
    }
}
