//! One tokenizer: text in, number of tokens out. Shared by all threads.

use std::fmt;

use super::pieces::pieces;
use super::rule::Tolerance;

/// A model's tokenizer and how far its counts are trusted.
pub struct Tokenizer {
    /// What `counted_by` says in a record: the vocabulary, or the file's name and the beginning of its SHA-256.
    pub name: Box<str>,
    /// How far a claim may lie above the count.
    pub tolerance: Tolerance,
    /// The most tokens the chat template adds to a whole prompt.
    pub template_tokens: u64,
    /// The most tokens the chat template adds to each message.
    pub message_tokens: u64,
    pub(super) kind: Kind,
}

/// Who counts.
pub(super) enum Kind {
    /// A `tokenizer.json`.
    File(Box<tokenizers::Tokenizer>),
    /// A vocabulary of OpenAI that is built in.
    BuiltIn(&'static tiktoken::CoreBpe),
}

impl Tokenizer {
    /// Tokens of a text: exact up to 32 KiB, and beyond that exact wherever the text has words with spaces between
    /// them; else off by a few tokens for each further 32 KiB. Never more than the bytes of the text where the tokenizer
    /// itself fails.
    #[must_use]
    pub fn count(&self, text: &str) -> u64 {
        pieces(text).map(|piece| self.piece(piece)).sum()
    }

    /// The same as long as `wanted` says so, which is asked before every 32 KiB; `None` once it does not.
    pub fn count_while(&self, text: &str, wanted: &dyn Fn() -> bool) -> Option<u64> {
        pieces(text).try_fold(0, |sum, piece| wanted().then(|| sum + self.piece(piece)))
    }

    /// The most tokens the chat template adds to a prompt of so many messages, beside what it says about tools.
    #[must_use]
    pub fn template_max(&self, messages: u32) -> u64 {
        self.template_tokens
            .saturating_add(self.message_tokens.saturating_mul(messages.into()))
    }

    fn piece(&self, piece: &str) -> u64 {
        let tokens = match &self.kind {
            // What an engine takes for a special token is one here too: it tokenizes the finished prompt.
            Kind::File(tokenizer) => tokenizer.encode_fast(piece, false).map_or_else(
                |error| {
                    tracing::debug!(%error, tokenizer = &*self.name, "a text could not be tokenized");
                    piece.len()
                },
                |encoding| encoding.len(),
            ),
            Kind::BuiltIn(vocabulary) => vocabulary.count(piece),
        };
        tokens as u64
    }
}

/// Without the vocabulary.
impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("name", &self.name)
            .field("tolerance", &self.tolerance)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::super::pieces::{OFF_PER_CUT_MAX, PIECE_BYTES_MAX};
    use super::super::samples;
    use super::*;

    /// Texts with what makes pre-tokenizers differ.
    fn text(rng: &mut StdRng, bytes: usize) -> String {
        const BITS: [&str; 24] = [
            "a", "the", " the", "  ", "\n", "\r\n", "\t", "'s", "'LL", "1", "4567", "é", "中", "日本", "🚀", "\u{301}",
            "!", "...", "//", "{\"", "한", "WORLD", "fn ", "\u{a0}",
        ];
        let mut text = String::new();
        while text.len() < bytes {
            text.push_str(BITS[rng.random_range(0..BITS.len())]);
        }
        text
    }

    #[test]
    fn built_in_vocabularies_count_as_openais_own() {
        // As Python's tiktoken has it: o200k_base, then cl100k_base.
        for (text, o200k, cl100k) in samples::KNOWN {
            assert_eq!(samples::o200k().count(text), *o200k, "{text:?}");
            assert_eq!(samples::cl100k().count(text), *cl100k, "{text:?}");
        }
    }

    #[test]
    fn long_prose_is_counted_exactly() {
        let text = "four score and seven years ago, our fathers brought forth ".repeat(4000);
        assert!(text.len() > 6 * PIECE_BYTES_MAX);
        let Kind::BuiltIn(vocabulary) = samples::o200k().kind else {
            panic!("built in")
        };
        assert_eq!(samples::o200k().count(&text), vocabulary.count(&text) as u64);
        let small = samples::small();
        let Kind::File(file) = &small.kind else {
            panic!("a file")
        };
        let whole = file.encode_fast(text.as_str(), false).expect("tokenizes").len();
        assert_eq!(small.count(&text), whole as u64);
    }

    #[test]
    fn a_cut_inside_of_words_is_off_by_a_few_tokens_at_most() {
        let mut rng = StdRng::seed_from_u64(7);
        let Kind::BuiltIn(vocabulary) = samples::o200k().kind else {
            panic!("built in")
        };
        for _ in 0..1000 {
            let text = text(&mut rng, 400);
            let whole = vocabulary.count(&text) as u64;
            let (left, right) = text.split_at(text.floor_char_boundary(rng.random_range(1..400)));
            let parts = (vocabulary.count(left) + vocabulary.count(right)) as u64;
            assert!(
                parts.abs_diff(whole) <= OFF_PER_CUT_MAX,
                "{parts} for {whole}: {left:?} {right:?}"
            );
        }
    }

    #[test]
    fn the_worst_texts_take_bounded_time() {
        let n = 4 * PIECE_BYTES_MAX;
        for tokenizer in [samples::o200k(), &samples::small()] {
            for text in ["a", " ", " \n", "中文字", "!?", "\u{301}", "<|"].map(|bit| bit.repeat(n / bit.len()) + "x")
            {
                let began = std::time::Instant::now();
                assert!(tokenizer.count(&text) > 0);
                let took = began.elapsed();
                assert!(
                    took.as_secs() < 10,
                    "{took:?} for {:?}",
                    &text[..text.floor_char_boundary(8)]
                );
            }
        }
    }

    #[test]
    fn counting_stops_when_nobody_waits_any_more() {
        let text = "word ".repeat(PIECE_BYTES_MAX);
        let asked = std::cell::Cell::new(0);
        let wanted = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        assert_eq!(samples::o200k().count_while(&text, &wanted), None);
        assert_eq!(asked.get(), 3);
    }
}
