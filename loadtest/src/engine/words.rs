//! The words a simulated model speaks. The n-th token of an answer is a pure function of (prompt, seed, choice, n).

/// A hash that answers are drawn from. Same bytes, same hash, on every machine and in every version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptHash(u64);

impl PromptHash {
    /// Hashes a prompt, eight bytes at a time: prompts of many KiB must cost the engine next to nothing.
    #[must_use]
    pub fn of(prompt: &[u8]) -> Self {
        let (words, rest) = prompt.as_chunks::<8>();
        let mut state = mix(prompt.len() as u64);
        for word in words {
            state = (state.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        for byte in rest {
            state = (state.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        Self(mix(state))
    }

    /// The same prompt with something more to vary it: a seed, the number of a choice.
    #[must_use]
    pub fn with(self, more: u64) -> Self {
        Self(mix(self.0 ^ mix(more.wrapping_add(1))))
    }

    /// The n-th number drawn from this hash.
    #[must_use]
    pub fn draw(self, n: u64) -> u64 {
        mix(self.0.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The n-th token: a word after a space, without the space at the very start.
    #[must_use]
    pub fn token(self, n: u64) -> &'static str {
        let word = pick(&WORDS, self.draw(n));
        if n == 0 { word.trim_start() } else { word }
    }
}

/// An endless text: plain words, or words between which stand tokens that are white space or end in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    hash: PromptHash,
    spaces: bool,
}

impl Words {
    /// The text drawn from `hash`, with such tokens if `spaces` says so.
    #[must_use]
    pub const fn new(hash: PromptHash, spaces: bool) -> Self {
        Self { hash, spaces }
    }

    /// The n-th token. Never empty.
    #[must_use]
    pub fn token(self, n: u64) -> &'static str {
        let draw = self.hash.with(SPACED).draw(n);
        // A quarter of them; an answer never begins with white space.
        if self.spaces && n > 0 && draw.is_multiple_of(4) {
            return pick(&SPACES, draw / 4);
        }
        self.hash.token(n)
    }
}

/// Keeps the draw of white space apart from that of words.
const SPACED: u64 = 0x5370_6163_6573;

fn pick<const N: usize>(words: &[&'static str; N], draw: u64) -> &'static str {
    usize::try_from(draw % N as u64).map_or(words[0], |index| words[index])
}

/// The finaliser of splitmix64 (Steele, Lea and Flood, 2014).
const fn mix(mut z: u64) -> u64 {
    z ^= z >> 30;
    z = z.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z ^= z >> 27;
    z = z.wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Some are not ASCII, so that bytes, characters and tokens differ; none needs an escape in JSON.
static WORDS: [&str; 64] = [
    " silk",
    " thread",
    " cocoon",
    " reel",
    " basin",
    " water",
    " warm",
    " hand",
    " wheel",
    " mill",
    " river",
    " stone",
    " lamp",
    " dawn",
    " moth",
    " leaf",
    " tree",
    " mulberry",
    " worker",
    " song",
    " steam",
    " brush",
    " fibre",
    " knot",
    " skein",
    " bobbin",
    " glass",
    " copper",
    " coal",
    " house",
    " roof",
    " window",
    " road",
    " hill",
    " valley",
    " rain",
    " the",
    " a",
    " of",
    " and",
    " in",
    " to",
    " with",
    " from",
    " that",
    " is",
    " was",
    " are",
    " one",
    " two",
    " many",
    " few",
    " long",
    " thin",
    " strong",
    " bright",
    " slow",
    " fast",
    " cœur",
    " fête",
    " шёлк",
    " 絲",
    " 🧵",
    ".",
];

/// What real tokenizers make of code and lists: white space alone, and at the end of other tokens.
static SPACES: [&str; 8] = [" ", "\n", "\n\n", "  ", ". \n", "\n\n   ", ",\t", ":\n    "];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_prompt_seed_and_place_only() {
        let hash = PromptHash::of(b"[{\"role\":\"user\",\"content\":\"hi\"}]");
        assert_eq!(
            hash.token(7),
            PromptHash::of(b"[{\"role\":\"user\",\"content\":\"hi\"}]").token(7)
        );
        let text = |hash: PromptHash| (0..40).map(|n| hash.token(n)).collect::<String>();
        assert_ne!(text(hash), text(hash.with(1)));
        assert_ne!(
            text(hash),
            text(PromptHash::of(b"[{\"role\":\"user\",\"content\":\"ho\"}]"))
        );
    }

    #[test]
    fn the_hash_never_changes_between_versions() {
        assert_eq!(PromptHash::of(b"filature").draw(0), PINNED);
    }

    /// Written down once; recorded answers elsewhere depend on it.
    const PINNED: u64 = 6_624_135_742_685_033_707;

    #[test]
    fn white_space_stands_between_words_and_at_their_end() {
        let words = Words::new(PromptHash::of(b"x"), true);
        let tokens: Vec<_> = (0..400).map(|n| words.token(n)).collect();
        let ending = tokens
            .iter()
            .filter(|token| token.ends_with(char::is_whitespace))
            .count();
        assert!((60..140).contains(&ending), "{ending} of 400");
        assert!(!tokens[0].starts_with(char::is_whitespace));
        let plain = Words::new(PromptHash::of(b"x"), false);
        assert!((0..400).all(|n| plain.token(n) == PromptHash::of(b"x").token(n)));
    }

    #[test]
    fn no_word_needs_an_escape() {
        for word in WORDS {
            assert_eq!(
                serde_json::to_string(word).expect("a string is JSON"),
                format!("\"{word}\"")
            );
        }
    }
}
