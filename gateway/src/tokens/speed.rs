//! How fast tokens are counted, and that a vocabulary of real size counts alike as a file and built in.
//!
//! `cargo test --release -p filature-gateway --lib tokens::speed -- --ignored --nocapture`

use std::collections::HashMap;
use std::time::Instant;

use filature_openapi::chunk::parse_chunk;

use super::output::OutputText;
use super::tokenizer::Kind;
use super::{Tokenizer, samples};

/// cl100k_base as a `tokenizer.json`, with the merges that its ranks imply.
fn cl100k_as_a_file() -> Tokenizer {
    let vocabulary = tiktoken::get_encoding("cl100k_base").expect("built in");
    let letters: Vec<char> = samples::byte_letters().collect();
    let tokens: Vec<Vec<u8>> = (0..100_256).map(|rank| vocabulary.decode(&[rank])).collect();
    let ranks: HashMap<&[u8], usize> = tokens
        .iter()
        .enumerate()
        .map(|(rank, token)| (&**token, rank))
        .collect();
    let word = |bytes: &[u8]| bytes.iter().map(|byte| letters[usize::from(*byte)]).collect::<String>();
    let merges: Vec<(String, String)> = (0..tokens.len())
        .filter(|rank| tokens[*rank].len() > 1)
        .map(|rank| {
            let at = last_merge(&tokens[rank], rank, &ranks);
            (word(&tokens[rank][..at]), word(&tokens[rank][at..]))
        })
        .collect();
    let merges: Vec<(&str, &str)> = merges.iter().map(|(left, right)| (&**left, &**right)).collect();
    let json = samples::json_of(&merges);
    let read = tokenizers::Tokenizer::from_bytes(json).expect("a tokenizer");
    samples::tokenizer("cl100k as a file", Kind::File(Box::new(read)))
}

/// Where the two tokens meet that make this one.
fn last_merge(token: &[u8], rank: usize, ranks: &HashMap<&[u8], usize>) -> usize {
    let mut ends: Vec<usize> = (0..=token.len()).collect();
    while ends.len() > 3 {
        let best = (0..ends.len() - 2)
            .filter_map(|at| Some((*ranks.get(&token[ends[at]..ends[at + 2]])?, at)))
            .filter(|(merged, _)| *merged < rank)
            .min()
            .expect("a token is made of earlier ones");
        ends.remove(best.1 + 1);
    }
    ends[1]
}

fn prose() -> String {
    let texts = [
        include_str!("../tokens.rs"),
        include_str!("output.rs"),
        include_str!("pool.rs"),
        include_str!("../../../ARCHITECTURE.md"),
        include_str!("../../../README.md"),
        include_str!("../../../docs/config.md"),
    ];
    texts.concat().repeat(4)
}

fn measure(tokenizer: &Tokenizer, what: &str, text: &str) {
    // The first thousand bytes load what is loaded late.
    let _ = tokenizer.count(&text[..text.floor_char_boundary(1000)]);
    let began = Instant::now();
    let tokens = tokenizer.count(text);
    let took = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let (millions, megabytes) = (tokens as f64 / 1e6, text.len() as f64 / 1e6);
    println!(
        "{:>16} {what:>16}: {:>7.2} million tokens/s, {:>6.1} MB/s, {:>6.1} ms for {} bytes",
        tokenizer.name,
        millions / took,
        megabytes / took,
        took * 1e3,
        text.len()
    );
}

#[test]
#[ignore = "prints figures; takes a minute unoptimised"]
fn tokens_counted_per_second_and_core() {
    let began = Instant::now();
    let file = cl100k_as_a_file();
    println!("making the file's tokenizer took {:?}", began.elapsed());
    let mebibyte = |bit: &str| bit.repeat((1 << 20) / bit.len());
    for tokenizer in [samples::o200k(), samples::cl100k(), &file] {
        measure(tokenizer, "prose and code", &prose());
        for bit in ["a", " ", "\n ", "中文字", "!?", "1", "\u{301}"] {
            measure(tokenizer, &format!("{bit:?} × n"), &mebibyte(bit));
        }
    }
    let began = Instant::now();
    let chunk = br#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1719969577,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}"#;
    let view = parse_chunk(chunk).expect("a chunk");
    for choices in [1, 2] {
        let began = Instant::now();
        let mut output = OutputText::new(choices);
        for _ in 0..100_000 {
            output.event(&view, chunk);
        }
        println!(
            "gathering an event of {choices} choices: {:?}",
            began.elapsed() / 100_000
        );
    }
    println!("in all {:?}", began.elapsed());
}

#[test]
#[ignore = "makes a vocabulary of 100,000 tokens; takes a minute unoptimised"]
fn a_file_counts_as_the_vocabulary_it_was_made_of() {
    let (file, built_in) = (cl100k_as_a_file(), samples::cl100k());
    let text = prose();
    assert_eq!(file.count(&text), built_in.count(&text));
    for line in text
        .lines()
        .take(2000)
        .chain(samples::KNOWN.iter().map(|known| known.0))
    {
        assert_eq!(file.count(line), built_in.count(line), "{line:?}");
    }
}
