//! Fuzzing on stable Rust: mutants of a kept corpus. Decides what is tried and for how long; what must hold of it is
//! said by the targets.
//!
//! A target tries every file of `tests/corpus/<target>/` as it stands, then mutants of them for `FUZZ_SECONDS` (1 unless
//! said). It prints its seed, and `FILATURE_SEED` repeats it. A mutant that breaks something is made small, shown, and
//! written to `target/tmp/`: once the fault is mended, it goes into the corpus.

#![allow(dead_code, reason = "not every crate has a target of every kind")]

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestError, TestRng, TestRunner};

/// Mutants that one seed gives.
const BATCH: u32 = 256;
/// Most changes that make a mutant.
const CHANGES_MAX: usize = 6;
/// Longest piece that is moved at once, in bytes.
const PIECE_BYTES_MAX: usize = 96;
/// What every format here can hold: marks of JSON and numbers at the edges of what others can read.
const WORDS: [&str; 30] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\\u0000",
    "\\ud800",
    "\\u0061",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "0",
    "-0",
    "-1",
    "1.0",
    "1e3",
    "1e999",
    "4294967296",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "\u{feff}",
    "é🚀",
];

/// A file of the corpus: its name and what it holds.
pub type Sample = (String, Vec<u8>);

/// The files of a target's corpus, ordered by name.
pub fn corpus(target: &str) -> Vec<Sample> {
    let folder = folder(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut samples: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a plain name");
            (name, std::fs::read(entry.path()).expect("a file"))
        })
        .collect();
    samples.sort();
    assert!(!samples.is_empty(), "{} is empty", folder.display());
    samples
}

/// Where a target's corpus is.
pub fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", target].iter().collect()
}

/// Tries `check` on the corpus and on its mutants. `words` are what the format knows beside JSON's own.
pub fn fuzz(target: &str, words: &[&'static str], check: impl Fn(&[u8]) -> TestCaseResult) {
    let samples = corpus(target);
    for (name, bytes) in &samples {
        if let Err(error) = check(bytes) {
            panic!("{target}/{name}: {error}");
        }
    }
    let words: Vec<_> = WORDS.iter().chain(words).copied().collect();
    let pieces = samples.into_iter().map(|(_, bytes)| bytes).collect();
    run(target, &mutants(pieces, words), &|bytes: &Vec<u8>| check(bytes));
}

/// Tries `check` on every sample with one byte changed to another, given with the sample it was made of.
pub fn fuzz_one_byte(target: &str, samples: Vec<Sample>, check: impl Fn(&[u8], &[u8]) -> TestCaseResult) {
    let changed = (0..samples.len(), any::<Index>(), 1..=u8::MAX).prop_map(move |(sample, at, by)| {
        let right = samples[sample].1.clone();
        let mut wrong = right.clone();
        wrong[at.index(right.len())] ^= by;
        Changed { wrong, right }
    });
    run(target, &changed, &|changed: &Changed| {
        check(&changed.wrong, &changed.right)
    });
}

/// Tries `check` on what `strategy` gives, batch after batch, until the time is over.
fn run<S: Strategy>(target: &str, strategy: &S, check: &impl Fn(&S::Value) -> TestCaseResult)
where
    S::Value: Input,
{
    let (first, time, began) = (seed(), time(), Instant::now());
    let mut batches = 0;
    loop {
        // So that the seed of a batch, given as the first one, tries it at once.
        let seed = first.wrapping_add(batches);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config {
            cases: BATCH,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        match runner.run(strategy, |input| check(&input)) {
            Ok(()) => {}
            Err(TestError::Abort(why)) => panic!("{target}: {why}"),
            Err(TestError::Fail(why, input)) => {
                let (bytes, kept) = (input.bytes(), kept(target, input.bytes()));
                let text = String::from_utf8_lossy(bytes);
                panic!("{target}: {why}\nFILATURE_SEED={seed} repeats it; the input, kept in {kept}:\n{text}");
            }
        }
        batches += 1;
        if began.elapsed() >= time {
            break;
        }
    }
    let tried = batches * u64::from(BATCH);
    println!(
        "{target}: FILATURE_SEED={first}, {tried} mutants in {:?}",
        began.elapsed()
    );
}

fn seed() -> u64 {
    match std::env::var("FILATURE_SEED") {
        Ok(text) => text.parse().expect("FILATURE_SEED is a number"),
        // The one source of randomness in the standard library.
        Err(_) => RandomState::new().hash_one(0),
    }
}

fn time() -> Duration {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(1, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    Duration::from_secs(seconds)
}

fn kept(target: &str, bytes: &[u8]) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
    match std::fs::write(&file, bytes) {
        Ok(()) => file.display().to_string(),
        Err(error) => error.to_string(),
    }
}

/// What is tried, as bytes.
trait Input {
    fn bytes(&self) -> &[u8];
}

impl Input for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A sample and what was made of it.
#[derive(Clone, Debug)]
struct Changed {
    wrong: Vec<u8>,
    right: Vec<u8>,
}

impl Input for Changed {
    fn bytes(&self) -> &[u8] {
        &self.wrong
    }
}

/// One change of a mutant.
#[derive(Clone, Debug)]
enum Change {
    Byte {
        at: Index,
        by: u8,
    },
    Cut {
        at: Index,
        length: usize,
    },
    End {
        at: Index,
    },
    Insert {
        at: Index,
        word: Index,
    },
    /// A word in place of the value or the key at `at`.
    Instead {
        at: Index,
        word: Index,
    },
    /// A piece of some sample, moved to `to`.
    Piece {
        of: Index,
        at: Index,
        length: usize,
        to: Index,
    },
}

fn mutants(samples: Vec<Vec<u8>>, words: Vec<&'static str>) -> impl Strategy<Value = Vec<u8>> {
    let (place, length) = (any::<Index>, 1..=PIECE_BYTES_MAX);
    let change = prop_oneof![
        2 => (place(), 1..=u8::MAX).prop_map(|(at, by)| Change::Byte { at, by }),
        2 => (place(), length.clone()).prop_map(|(at, length)| Change::Cut { at, length }),
        1 => place().prop_map(|at| Change::End { at }),
        3 => (place(), place()).prop_map(|(at, word)| Change::Insert { at, word }),
        3 => (place(), place()).prop_map(|(at, word)| Change::Instead { at, word }),
        3 => (place(), place(), length, place())
            .prop_map(|(of, at, length, to)| Change::Piece { of, at, length, to }),
    ];
    (place(), vec(change, 1..=CHANGES_MAX)).prop_map(move |(sample, changes)| {
        let mut bytes = sample.get(&samples).clone();
        for change in changes {
            change.apply(&mut bytes, &samples, &words);
        }
        bytes
    })
}

impl Change {
    fn apply(self, bytes: &mut Vec<u8>, samples: &[Vec<u8>], words: &[&str]) {
        let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
        match self {
            Self::Byte { at, by } => {
                let at = place(at, bytes);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= by;
                }
            }
            Self::Cut { at, length } => {
                let at = place(at, bytes);
                bytes.drain(at..bytes.len().min(at + length));
            }
            Self::End { at } => bytes.truncate(place(at, bytes)),
            Self::Insert { at, word } => {
                let at = place(at, bytes);
                bytes.splice(at..at, word.get(words).bytes());
            }
            Self::Instead { at, word } => {
                let token = token(bytes, place(at, bytes));
                bytes.splice(token, word.get(words).bytes());
            }
            Self::Piece { of, at, length, to } => {
                let sample = of.get(samples);
                let at = place(at, sample);
                let piece = sample[at..sample.len().min(at + length)].to_vec();
                let to = place(to, bytes);
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// What stands between the marks of JSON around `at`.
fn token(bytes: &[u8], at: usize) -> std::ops::Range<usize> {
    let is_mark = |byte: &u8| b"{}[],:\n\r".contains(byte);
    let start = bytes[..at].iter().rposition(is_mark).map_or(0, |mark| mark + 1);
    let end = bytes[at..]
        .iter()
        .position(is_mark)
        .map_or(bytes.len(), |mark| at + mark);
    start..end
}
