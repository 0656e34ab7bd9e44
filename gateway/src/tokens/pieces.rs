//! Cuts long texts, so that counting one takes bounded time and memory and can be stopped in between.
//!
//! A cut before a space that stands between two words changes no count: every pre-tokenizer in use (GPT-2's, cl100k's,
//! o200k's, Llama 3's, Qwen's, DeepSeek's, white space, SentencePiece's `▁`) starts a new word there, and merges do not
//! cross words. A text that has no such place in half a piece (Chinese, one long line of base64) is cut between two
//! characters. That splits one word in two, and only merges near the cut can differ: by at most four tokens in 200,000
//! random texts (`OFF_PER_CUT_MAX` in the tests), in either direction. A piece holds thousands of tokens, so this is far
//! inside of any tolerance.

use std::iter;

/// The longest text that is tokenized at once, in bytes. Tokenizers take up to 40 bytes of memory for each, and more than
/// linear time for a single long word: this keeps the worst of them to some tens of milliseconds.
pub(super) const PIECE_BYTES_MAX: usize = 32 << 10;
/// Tokens that one cut inside of a word was ever seen to change (measured by the tests here and in `tokenizer`).
#[cfg(test)]
pub(super) const OFF_PER_CUT_MAX: u64 = 4;

/// The text in pieces of at most [`PIECE_BYTES_MAX`] bytes.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let (piece, after) = rest.split_at(cut(rest));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Where the first piece ends.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE_BYTES_MAX {
        return text.len();
    }
    let least = PIECE_BYTES_MAX / 2;
    let window = &text.as_bytes()[least..PIECE_BYTES_MAX];
    let between_words = window
        .windows(3)
        .rposition(|bytes| bytes[0].is_ascii_graphic() && bytes[1] == b' ' && bytes[2].is_ascii_alphabetic());
    match between_words {
        Some(at) => least + at + 1,
        None => text.floor_char_boundary(PIECE_BYTES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, count: usize) {
        let found: Vec<_> = pieces(text).collect();
        assert_eq!(found.concat(), text);
        assert!(found.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX));
        assert_eq!(found.len(), count);
    }

    #[test]
    fn a_short_text_is_one_piece_and_an_empty_one_is_none() {
        check("", 0);
        check("four score", 1);
        check(&"x".repeat(PIECE_BYTES_MAX), 1);
    }

    #[test]
    fn a_long_text_is_cut_before_a_space_between_words() {
        let text = "word ".repeat(PIECE_BYTES_MAX / 2);
        check(&text, 3);
        assert!(pieces(&text).skip(1).all(|piece| piece.starts_with(" word")));
    }

    #[test]
    fn a_text_without_words_is_cut_between_characters() {
        check(&"中".repeat(PIECE_BYTES_MAX), 4);
        check(&" ".repeat(2 * PIECE_BYTES_MAX + 1), 3);
        check(&"🚀\n".repeat(PIECE_BYTES_MAX), 6);
    }
}
