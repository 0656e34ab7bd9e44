//! Tokenizers for tests: the built-in vocabularies, and a small byte-level BPE made on the spot.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::json;

use super::Tokenizer;
use super::rule::Tolerance;
use super::tokenizer::Kind;

/// Texts with their number of tokens in o200k_base and cl100k_base, by `tiktoken-rs` 0.12.1, which holds OpenAI's code.
pub(super) const KNOWN: &[(&str, u64, u64)] = &[
    ("", 0, 0),
    ("hello world", 2, 2),
    ("you are kind", 3, 3),
    ("The quick brown fox jumps over the lazy dog.", 10, 10),
    ("  indented\n\n\tby\r\ntabs   ", 9, 9),
    ("don't we'LL they'Ve", 7, 8),
    ("1234567890 and 3.14159", 10, 10),
    ("支持中文和日本語、한국어도", 9, 15),
    ("🚀👩\u{200d}👩\u{200d}👧 café cafe\u{301}", 13, 19),
    ("fn main() {\n    println!(\"{}\", 1 + 1);\n}\n", 14, 14),
    ("{\"a\":[1,2,{\"b\":null}],\"c\":\"d\"}", 17, 16),
    ("https://example.org/a/b?c=d&e=f#g", 12, 12),
    ("अन\u{941}वाद और भाषा", 5, 16),
    ("a\u{a0}b\u{2003}c\u{200b}d", 7, 8),
    ("ALL CAPS AND camelCaseWords snake_case_words", 9, 10),
    ("<|endoftext|>", 7, 7),
    (".\n/", 1, 2),
];

/// Merges of the small tokenizer, in their order. `Ġ` is a space.
const MERGES: [&str; 13] = [
    "t h",
    "th e",
    "Ġ the",
    "Ġ a",
    "i n",
    "e r",
    "o n",
    "r e",
    "Ġ s",
    "l l",
    "o r",
    "Ġ Ġ",
    "ĠĠ ĠĠ",
];

pub(super) fn o200k() -> &'static Tokenizer {
    static MADE: LazyLock<Tokenizer> = LazyLock::new(new_o200k);
    &MADE
}

pub(super) fn cl100k() -> &'static Tokenizer {
    static MADE: LazyLock<Tokenizer> = LazyLock::new(|| built_in("cl100k_base"));
    &MADE
}

pub(super) fn new_o200k() -> Tokenizer {
    built_in("o200k_base")
}

fn built_in(name: &str) -> Tokenizer {
    tokenizer(name, Kind::BuiltIn(tiktoken::get_encoding(name).expect("built in")))
}

/// The small tokenizer.
pub(super) fn small() -> Tokenizer {
    let read = tokenizers::Tokenizer::from_bytes(small_json()).expect("a tokenizer");
    tokenizer("small", Kind::File(Box::new(read)))
}

pub(super) fn tokenizer(name: &str, kind: Kind) -> Tokenizer {
    Tokenizer {
        name: name.into(),
        tolerance: Tolerance { percent: 5, tokens: 16 },
        template_tokens: 64,
        message_tokens: 8,
        kind,
    }
}

/// A `tokenizer.json` of the form Llama 3 and Qwen 2.5 have: a pre-tokenizer of two steps and byte-level BPE, with 256
/// bytes and a few merges.
pub(super) fn small_json() -> String {
    json_of(&MERGES.map(|merge| merge.split_once(' ').expect("two tokens")))
}

/// The same with other merges.
pub(super) fn json_of(merges: &[(&str, &str)]) -> String {
    let mut vocabulary: BTreeMap<String, usize> = BTreeMap::new();
    for letter in byte_letters() {
        let id = vocabulary.len();
        vocabulary.insert(letter.to_string(), id);
    }
    let mut kept = Vec::new();
    for (left, right) in merges {
        if vocabulary.contains_key(*left) && vocabulary.contains_key(*right) {
            let id = vocabulary.len();
            vocabulary.entry(format!("{left}{right}")).or_insert(id);
            kept.push(json!([left, right]));
        }
    }
    let end = vocabulary.len();
    let split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let head = r#""version":"1.0","truncation":null,"padding":null"#;
    let rest = json!({
        "added_tokens": [{
            "id": end, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": split}, "behavior": "Isolated", "invert": false},
            byte_level,
        ]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": kept},
    });
    format!("{{{head},{}", &rest.to_string()[1..])
}

/// GPT-2's letters for the 256 bytes: a byte's own character where it can be seen, and one from 256 upwards elsewhere.
pub(super) fn byte_letters() -> impl Iterator<Item = char> {
    let is_seen = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 256_u32;
    (0..=255_u8).map(move |byte| {
        if is_seen(byte) {
            return char::from(byte);
        }
        let letter = char::from_u32(next).unwrap_or('?');
        next += 1;
        letter
    })
}

#[test]
fn the_small_tokenizer_tokenizes() {
    // "the", " the", two spaces … and a special token, as an engine would read it.
    for (text, tokens) in [("the", 1), ("the the", 2), ("zz", 2), ("<|end|>", 1), ("中", 3)] {
        assert_eq!(small().count(text), tokens, "{text}");
    }
}
