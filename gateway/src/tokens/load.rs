//! Makes the tokenizers that the configuration names, once, when the gateway starts.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::rule::Tolerance;
use super::tokenizer::Kind;
use super::{Tokenizer, Tokenizers};
use crate::config::TokenizerSettings;

/// The largest `tokenizer.json` taken, in bytes: Gemma 3's, with 262,144 tokens, has 33 MB.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// What a tokenizer must be able to tokenize.
const SAMPLE: &str = "The quick brown fox.";

/// Why a tokenizer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file cannot be read.
    #[error("the tokenizer {file} cannot be read: {error}")]
    Unreadable {
        /// As configured.
        file: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is no `tokenizer.json`.
    #[error("{file} is no tokenizer.json of Hugging Face's `tokenizers`: {why}")]
    NoTokenizer {
        /// As configured.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such vocabulary.
    #[error("the vocabulary {0:?} is not built in; there are o200k_base and cl100k_base")]
    UnknownVocabulary(String),
}

impl Tokenizers {
    /// Loads what is configured.
    ///
    /// # Errors
    /// The first [`TokenizerError`].
    pub fn load(configured: &[TokenizerSettings]) -> Result<Self, TokenizerError> {
        let mut tokenizers = Self::default();
        for settings in configured {
            let tokenizer = Arc::new(Tokenizer::load(settings)?);
            tracing::info!(tokenizer = &*tokenizer.name, models = ?settings.models, "a tokenizer was loaded");
            for model in &settings.models {
                tokenizers.by_model.insert(model.as_str().into(), tokenizer.clone());
            }
        }
        Ok(tokenizers)
    }
}

impl Tokenizer {
    fn load(settings: &TokenizerSettings) -> Result<Self, TokenizerError> {
        let (name, kind) = match (&settings.file, &settings.vocabulary) {
            (Some(file), _) => read(Path::new(file))?,
            (None, vocabulary) => built_in(vocabulary.as_deref().unwrap_or_default())?,
        };
        Ok(Self {
            name,
            tolerance: Tolerance {
                percent: settings.tolerance_percent,
                tokens: settings.tolerance_tokens,
            },
            template_tokens: settings.template_tokens.into(),
            message_tokens: settings.message_tokens.into(),
            kind,
        })
    }
}

fn built_in(name: &str) -> Result<(Box<str>, Kind), TokenizerError> {
    let vocabulary = tiktoken::get_encoding(name).ok_or_else(|| TokenizerError::UnknownVocabulary(name.to_owned()))?;
    Ok((name.into(), Kind::BuiltIn(vocabulary)))
}

fn read(file: &Path) -> Result<(Box<str>, Kind), TokenizerError> {
    let bytes = contents(file).map_err(|error| TokenizerError::Unreadable {
        file: file.to_owned(),
        error,
    })?;
    let tokenizer = parse(&bytes).map_err(|why| TokenizerError::NoTokenizer {
        file: file.to_owned(),
        why,
    })?;
    Ok((name(file, &bytes), Kind::File(Box::new(tokenizer))))
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let why = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> Result<tokenizers::Tokenizer, String> {
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| error.to_string())?;
    // Files say how their own training cut and filled texts; either would falsify a count.
    tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    let sample = tokenizer
        .encode_fast(SAMPLE, false)
        .map_err(|error| error.to_string())?;
    if sample.is_empty() {
        return Err(format!("it makes no token of {SAMPLE:?}"));
    }
    Ok(tokenizer)
}

/// What records call it: the file's name, short enough for a record, and enough of its hash to tell two versions apart.
fn name(file: &Path, bytes: &[u8]) -> Box<str> {
    const CHARS_MAX: usize = 48;
    const HASH_BYTES: usize = 8;
    let stem: String = file
        .file_name()
        .map(|name| name.to_string_lossy().chars().take(CHARS_MAX).collect())
        .unwrap_or_default();
    let hash = Sha256::digest(bytes);
    format!("{stem}@{}", hex::encode(&hash[..HASH_BYTES])).into()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn settings(file: &Path) -> TokenizerSettings {
        TokenizerSettings {
            models: vec!["a".into(), "b".into()],
            file: Some(file.to_string_lossy().into_owned()),
            ..TokenizerSettings::default()
        }
    }

    fn load(text: &str) -> Result<Tokenizers, TokenizerError> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tokenizer.json");
        fs::write(&file, text).expect("writes");
        Tokenizers::load(&[settings(&file)])
    }

    #[test]
    fn a_file_serves_all_its_models() {
        let tokenizers = load(&samples::small_json()).expect("loads");
        assert_eq!(tokenizers.models(), 2);
        let tokenizer = tokenizers.of("a").expect("configured");
        assert!(Arc::ptr_eq(tokenizer, tokenizers.of("b").expect("configured")));
        assert!(tokenizers.of("c").is_none());
        assert!(tokenizer.name.starts_with("tokenizer.json@"), "{tokenizer:?}");
        assert_eq!(tokenizer.name.len(), "tokenizer.json@".len() + 16);
    }

    #[test]
    fn a_built_in_vocabulary_needs_no_file() {
        for vocabulary in ["o200k_base", "cl100k_base"] {
            let settings = TokenizerSettings {
                models: vec!["gpt".into()],
                vocabulary: Some(vocabulary.into()),
                ..TokenizerSettings::default()
            };
            let tokenizers = Tokenizers::load(&[settings]).expect("loads");
            assert_eq!(&*tokenizers.of("gpt").expect("configured").name, vocabulary);
        }
    }

    #[test]
    fn truncation_and_padding_of_the_file_do_not_count() {
        let json = samples::small_json().replace(
            r#""truncation":null,"padding":null"#,
            r#""truncation":{"direction":"Right","max_length":4,"strategy":"LongestFirst","stride":0},"padding":{"strategy":{"Fixed":64},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,"pad_token":"!"}"#,
        );
        assert_ne!(json, samples::small_json());
        let tokenizers = load(&json).expect("loads");
        let count = |text| tokenizers.of("a").expect("configured").count(text);
        assert_eq!((count("the"), count("the the the the the the")), (1, 6));
    }

    #[test]
    fn what_is_wrong_is_told_with_the_file() {
        let missing = Tokenizers::load(&[settings(Path::new("/nowhere/t.json"))]).expect_err("no file");
        assert!(
            missing
                .to_string()
                .starts_with("the tokenizer /nowhere/t.json cannot be read: "),
            "{missing}"
        );
        for text in [
            "",
            "{}",
            "{\"model\":{\"type\":\"BPE\"}}",
            "[]",
            "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"vocab\":{},\"unk_token\":\"?\"}}",
        ] {
            let error = load(text).expect_err("no tokenizer").to_string();
            assert!(error.contains("tokenizer.json is no tokenizer.json of"), "{error}");
        }
        let unknown = TokenizerSettings {
            vocabulary: Some("p50k_base".into()),
            ..TokenizerSettings::default()
        };
        let error = Tokenizers::load(&[unknown]).expect_err("not built in").to_string();
        assert_eq!(
            error,
            "the vocabulary \"p50k_base\" is not built in; there are o200k_base and cl100k_base"
        );
    }
}
