//! `[[tokenizers]]`: how the tokens of a model are counted. File only.

use toml::de::DeValue;

use super::declare::section;
use super::file::Source;
use super::problem::Problem;
use super::providers::Reader;

section! {
    /// A tokenizer and the models that use it.
    pub struct TokenizerSettings {
        /// The models' names as callers use them; at least one, and each in one table only.
        models: Vec<String> = Vec::new();
        /// A `tokenizer.json` of Hugging Face's `tokenizers`, as it lies beside a model's weights.
        file: Option<String> = None;
        /// A vocabulary that is built in, instead of a file: `o200k_base` or `cl100k_base`.
        vocabulary: Option<String> = None;
        /// How far a provider's claim may lie above what was counted, in percent of it: models sometimes write a text in
        /// other tokens than a tokenizer reads it in.
        tolerance_percent: u32 = 5, 0..=100;
        /// The same in tokens, on top.
        tolerance_tokens: u32 = 16, 0..=1_000_000;
        /// The most tokens the chat template adds to a whole prompt. Templates that write a system prompt of their own
        /// need more: compare what providers claim for "hi" with its one token.
        template_tokens: u32 = 64, 0..=1_000_000;
        /// The most tokens the chat template adds to each message.
        message_tokens: u32 = 8, 0..=1_000_000;
    }
}

/// The vocabularies that are built in.
const VOCABULARIES: [&str; 2] = ["o200k_base", "cl100k_base"];

/// Reads the array of tokenizers; what is wrong is added to `problems`.
pub(super) fn read(
    source: &Source<'_>,
    at: usize,
    value: &DeValue<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<TokenizerSettings> {
    let mut reader = Reader { source, problems };
    let mut tokenizers: Vec<TokenizerSettings> = Vec::new();
    for (path, at, table) in reader.tables("tokenizers", at, value) {
        let mut settings = TokenizerSettings::default();
        reader.fill(&path, &table, &mut settings, &[]);
        let models = format!("{path}.models");
        if settings.models.is_empty() {
            reader.problem(at, models.clone(), "no model".to_owned(), "at least one is needed");
        }
        for (index, model) in settings.models.iter().enumerate() {
            reader.name(at, &models, model);
            let earlier = tokenizers.iter().flat_map(|tokenizer| &tokenizer.models);
            if earlier.chain(&settings.models[..index]).any(|name| name == model) {
                let what = format!("{model:?} has a tokenizer already");
                reader.problem(at, models.clone(), what, "one for each model");
            }
        }
        if settings.file.is_some() == settings.vocabulary.is_some() {
            let what = format!(
                "has {} of file and vocabulary",
                if settings.file.is_some() { "both" } else { "neither" }
            );
            reader.problem(at, path.clone(), what, "exactly one is needed");
        }
        if let Some(vocabulary) = &settings.vocabulary {
            reader.words(
                at,
                &format!("{path}.vocabulary"),
                std::slice::from_ref(vocabulary),
                &VOCABULARIES,
            );
        }
        tokenizers.push(settings);
    }
    tokenizers
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Sources, Written};

    fn inspect(text: &str) -> (Config, Vec<String>) {
        let file = Some(Written {
            path: "f.toml".to_owned(),
            text: text.to_owned(),
        });
        let inspection = Config::inspect(&Sources {
            file,
            ..Sources::default()
        });
        let problems = inspection.problems.iter().map(ToString::to_string).collect();
        (inspection.config, problems)
    }

    #[test]
    fn tokenizers_are_read_with_sensible_defaults() {
        let (config, problems) = inspect(
            "\
[[tokenizers]]
models = [\"llama-3-8b\", \"llama-3-70b\"]
file = \"models/llama-3/tokenizer.json\"
[[tokenizers]]
models = [\"gpt-4o\"]
vocabulary = \"o200k_base\"
tolerance_percent = 2
",
        );
        assert_eq!(problems, [""; 0]);
        let [llama, gpt] = config.tokenizers.as_slice() else {
            panic!("{:?}", config.tokenizers)
        };
        assert_eq!(llama.models, ["llama-3-8b", "llama-3-70b"]);
        assert_eq!(llama.file.as_deref(), Some("models/llama-3/tokenizer.json"));
        let numbers = [
            llama.tolerance_percent,
            llama.tolerance_tokens,
            llama.template_tokens,
            llama.message_tokens,
        ];
        assert_eq!(numbers, [5, 16, 64, 8]);
        assert_eq!(
            (gpt.vocabulary.as_deref(), gpt.tolerance_percent),
            (Some("o200k_base"), 2)
        );
    }

    #[test]
    fn problems_of_tokenizers_are_found_all_at_once() {
        let (_, problems) = inspect(
            "\
[[tokenizers]]
models = [\"a\", \"a\"]
vocabulary = \"p50k_base\"
tolerence_tokens = 3
[[tokenizers]]
models = [\"a\"]
file = \"t.json\"
vocabulary = \"o200k_base\"
tolerance_percent = 101
[[tokenizers]]
",
        );
        assert_eq!(
            problems,
            [
                "f.toml:4: tokenizers[0].tolerence_tokens: no such setting; did you mean tolerance_tokens?",
                "f.toml:1: tokenizers[0].models: \"a\" has a tokenizer already; one for each model",
                "f.toml:1: tokenizers[0].vocabulary: got \"p50k_base\"; allowed: o200k_base, cl100k_base",
                "f.toml:9: tokenizers[1].tolerance_percent: got 101; allowed: a whole number from 0 to 100",
                "f.toml:5: tokenizers[1].models: \"a\" has a tokenizer already; one for each model",
                "f.toml:5: tokenizers[1]: has both of file and vocabulary; exactly one is needed",
                "f.toml:10: tokenizers[2].models: no model; at least one is needed",
                "f.toml:10: tokenizers[2]: has neither of file and vocabulary; exactly one is needed",
            ]
        );
    }
}
