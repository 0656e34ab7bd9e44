//! The text a caller has so far: what another provider can go on from.

/// The longest text that is kept for a continuation, in bytes of JSON; a longer answer that breaks ends there.
const BYTES_MAX: usize = 256 << 10;

/// Text as the chunks carried it, in the escapes of JSON: joined it is the inside of one JSON string.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    escaped: Vec<u8>,
    white: White,
}

/// Chunks at the end of a text that are white space and nothing else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct White {
    chunks: u64,
    bytes: usize,
}

/// Where a continuation starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The text that an engine is to continue, without white space at its end: engines strip that, some in silence.
    pub text: String,
    /// The white space that the caller has after it. The continuation repeats it.
    pub overlap: String,
    /// About how many tokens that is: the continuation makes them anew.
    pub overlap_tokens: u64,
    /// Tokens of what was delivered that do not stand in `text`.
    pub absent_tokens: u64,
    /// Whether the continuation is of use only if it repeats all of that.
    pub is_strict: bool,
    /// How long what was delivered was then, and how often it had been taken up.
    escaped_len: usize,
    white: White,
    pub(super) splices: usize,
}

impl Cut {
    /// The same, but the next provider starts from nothing and has to say all of the text again, which is `tokens` long.
    /// For a text so short that engines would mistake it.
    #[must_use]
    pub fn from_nothing(self, tokens: u64) -> Self {
        Self {
            text: String::new(),
            overlap: self.text + &self.overlap,
            overlap_tokens: tokens,
            absent_tokens: tokens,
            is_strict: true,
            ..self
        }
    }

    /// Bytes of text that the caller has.
    #[must_use]
    pub fn at_byte(&self) -> u64 {
        (self.text.len() + self.overlap.len()) as u64
    }
}

impl Delivered {
    /// Adds the inside of a JSON string; `false` when the text has become too long to be kept.
    pub(super) fn push(&mut self, escaped: &[u8]) -> bool {
        self.white = match white_bytes(escaped) {
            Some(bytes) => White {
                chunks: self.white.chunks + 1,
                bytes: self.white.bytes + bytes,
            },
            None => White::default(),
        };
        self.escaped.extend_from_slice(escaped);
        self.escaped.len() <= BYTES_MAX
    }

    /// The text as it is; `None` if the chunks' strings do not join to one (half of a surrogate pair at the end).
    pub(super) fn text(&self) -> Option<String> {
        let mut quoted = Vec::with_capacity(self.escaped.len() + 2);
        quoted.push(b'"');
        quoted.extend_from_slice(&self.escaped);
        quoted.push(b'"');
        serde_json::from_slice(&quoted).ok()
    }

    /// The text, cut before the white space at its end.
    pub(super) fn cut(&self, splices: usize) -> Option<Cut> {
        let mut text = self.text()?;
        let overlap = text.split_off(text.trim_end().len());
        Some(Cut {
            text,
            // White space that shared its token with a word before it becomes a token of its own.
            overlap_tokens: self.white.chunks + u64::from(overlap.len() > self.white.bytes),
            absent_tokens: self.white.chunks,
            overlap,
            is_strict: false,
            white: self.white,
            escaped_len: self.escaped.len(),
            splices,
        })
    }

    /// Forgets what came after `cut`: a provider that took up there failed before anything of it was passed on.
    pub(super) fn back_to(&mut self, cut: &Cut) {
        self.escaped.truncate(cut.escaped_len);
        self.white = cut.white;
    }
}

/// How many bytes of text the inside of a JSON string is, if that is white space as engines write it.
fn white_bytes(escaped: &[u8]) -> Option<usize> {
    let (mut rest, mut bytes) = (escaped, 0);
    while !rest.is_empty() {
        rest = match rest {
            [b' ', rest @ ..] | [b'\\', b'n' | b't' | b'r', rest @ ..] => rest,
            _ => return None,
        };
        bytes += 1;
    }
    Some(bytes)
}

/// What a continuation has to say again before it goes on.
#[derive(Debug, Default)]
pub(super) struct Overlap {
    left: String,
    is_strict: bool,
}

impl Overlap {
    pub(super) fn of(cut: &Cut) -> Self {
        Self {
            left: cut.overlap.clone(),
            is_strict: cut.is_strict,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether something had to be said again and was not.
    pub(super) fn is_owed(&self) -> bool {
        self.is_strict && !self.is_over()
    }

    /// `content` without what the caller has. `None` where the continuation says something else than it must.
    ///
    /// One that goes on with something else than white space that the caller has is passed as it is.
    pub(super) fn dropped_from<'a>(&mut self, content: &'a str) -> Option<&'a str> {
        let pairs = self.left.chars().zip(content.chars());
        let same = pairs
            .take_while(|(had, comes)| had == comes)
            .map(|(had, _)| had.len_utf8())
            .sum();
        self.left.drain(..same);
        let rest = &content[same..];
        if !rest.is_empty() && !self.left.is_empty() {
            if self.is_strict {
                return None;
            }
            self.left.clear();
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(chunks: &[&str]) -> Option<Cut> {
        let mut delivered = Delivered::default();
        for chunk in chunks {
            let json = serde_json::to_string(chunk).expect("a string is JSON");
            assert!(delivered.push(&json.as_bytes()[1..json.len() - 1]));
        }
        delivered.cut(0)
    }

    #[test]
    fn a_text_is_cut_before_the_white_space_at_its_end() {
        let check = |chunks: &[&str], text: &str, overlap: &str, tokens: u64| {
            let cut = cut(chunks).expect("whole characters");
            assert_eq!((cut.text.as_str(), cut.overlap.as_str()), (text, overlap), "{chunks:?}");
            assert_eq!(cut.overlap_tokens, tokens, "{chunks:?}");
        };
        check(&["The", " cat"], "The cat", "", 0);
        check(&["The", " \"cat\"", "\n", "\n "], "The \"cat\"", "\n\n ", 2);
        check(&["The", "\n", " cat\n"], "The\n cat", "\n", 1);
        check(&["The cat:\n", "   "], "The cat:", "\n   ", 2);
        check(&[" ", "\t"], "", " \t", 2);
        check(&["絲\u{a0}"], "絲", "\u{a0}", 1);
    }

    #[test]
    fn half_a_character_cannot_be_continued() {
        let mut delivered = Delivered::default();
        delivered.push(br"a\ud83e");
        assert_eq!(delivered.cut(0), None);
        delivered.push(br"\uddf5");
        assert_eq!(delivered.text().as_deref(), Some("a\u{1f9f5}"));
    }

    #[test]
    fn what_the_caller_has_is_dropped_from_the_continuation() {
        let check = |overlap: &str, chunks: &[&str], text: &str| {
            let mut overlap_left = Overlap {
                left: overlap.to_owned(),
                is_strict: false,
            };
            let rest: Option<String> = chunks.iter().map(|chunk| overlap_left.dropped_from(chunk)).collect();
            assert_eq!(rest.as_deref(), Some(text), "{overlap:?} {chunks:?}");
        };
        check("", &["a", " b"], "a b");
        check(" ", &[" b"], "b");
        check("\n\n", &["\n", "\nb", "\n"], "b\n");
        check("\n\n", &["\n\n\nb"], "\nb");
        check(" ", &["b", " c"], "b c");
        check("\n ", &["\nb", " c"], "b c");
        check("\n", &["\t", "\n"], "\t\n");
    }

    #[test]
    fn a_continuation_from_nothing_must_say_what_the_caller_has() {
        let told = |chunks: &[&str]| {
            let mut overlap = Overlap {
                left: "of two".to_owned(),
                is_strict: true,
            };
            chunks
                .iter()
                .map(|chunk| overlap.dropped_from(chunk))
                .collect::<Option<String>>()
        };
        assert_eq!(told(&["of", " two", " mills"]).as_deref(), Some(" mills"));
        assert_eq!(told(&["of two mills"]).as_deref(), Some(" mills"));
        assert_eq!(told(&["of", " three"]), None);
        assert_eq!(told(&["Once"]), None);
    }
}
