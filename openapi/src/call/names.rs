//! The top-level keys that mean something to the gateway, and on which routes.
//!
//! Decides what a key is taken for, and which keys an engine might take for one of them. What is made of a value is
//! decided by the neighbours.

use super::{Endpoint, Parameters};

/// A top-level field that is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Model,
    Models,
    Route,
    Provider,
    ServiceTier,
    Messages,
    Prompt,
    Input,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    NPredict,
    N,
    NCmpl,
    BestOf,
    SessionId,
    PromptCacheKey,
    Tools,
    Functions,
    ResponseFormat,
    Logprobs,
    TopLogprobs,
    /// Any of the engines' own fields for guided output.
    Guided,
    /// Any field whose text an engine adds to the prompt.
    PromptExtra,
}

/// What a key names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    Field(Field),
    /// A sampling parameter, of which only counts that it is given.
    Parameter(Parameters),
    /// Something that steers the assistant's own turn or binds what is written to its place: if it is on, a broken
    /// stream cannot be continued.
    Steering,
    /// The same, and the answer begins with the prompt.
    Echo,
    /// What a continuation itself would have to say, or what hides a part of the answer: if it is there at all, a
    /// broken stream cannot be continued.
    Turn,
}

/// The longest known key, in bytes.
const NAME_BYTES_MAX: usize = "return_tokens_as_token_ids".len();

/// The most bytes of UTF-8 that fold to one letter of a name: those of the Kelvin sign.
const FOLDED_BYTES_MAX: usize = 3;

/// The number of fields.
pub(super) const FIELD_COUNT: usize = Field::PromptExtra as usize + 1;

/// Routes a key is known on.
type Routes = u8;
const CHAT: Routes = 1;
const TEXT: Routes = 2;
const BOTH: Routes = CHAT | TEXT;
const ALL: Routes = BOTH | 4;

const fn field(field: Field) -> Known {
    Known::Field(field)
}

const fn parameter(parameter: Parameters) -> Known {
    Known::Parameter(parameter)
}

impl Known {
    /// What a key names on a route; `None` where it means nothing to the gateway.
    pub(super) fn of(endpoint: Endpoint, key: &str) -> Option<Self> {
        let route = match endpoint {
            Endpoint::ChatCompletions => CHAT,
            Endpoint::Completions => TEXT,
            Endpoint::Embeddings => ALL & !BOTH,
        };
        let (routes, known) = Self::named(key)?;
        (routes & route != 0).then_some(known)
    }

    /// Every known key and the routes it is known on.
    fn named(key: &str) -> Option<(Routes, Self)> {
        // Every key of a body comes here; by length first, few comparisons are left for each.
        Some(match key.len() {
            1 => match key {
                "n" => (BOTH, field(Field::N)),
                _ => return None,
            },
            4 => match key {
                "ebnf" => (BOTH, field(Field::Guided)),
                "seed" => (BOTH, parameter(Parameters::SEED)),
                "stop" => (BOTH, parameter(Parameters::STOP)),
                "echo" => (BOTH, Known::Echo),
                _ => return None,
            },
            5 => match key {
                "model" => (ALL, field(Field::Model)),
                "route" => (ALL, field(Field::Route)),
                "input" => (ALL & !BOTH, field(Field::Input)),
                "tools" => (CHAT, field(Field::Tools)),
                "regex" => (BOTH, field(Field::Guided)),
                "top_k" => (BOTH, parameter(Parameters::TOP_K)),
                "min_p" => (BOTH, parameter(Parameters::MIN_P)),
                "top_a" => (BOTH, parameter(Parameters::TOP_A)),
                "audio" => (CHAT, Known::Steering),
                _ => return None,
            },
            6 => match key {
                "models" => (ALL, field(Field::Models)),
                "prompt" => (TEXT, field(Field::Prompt)),
                "stream" => (BOTH, field(Field::Stream)),
                // llama.cpp's name of `n`, which overrides it there.
                "n_cmpl" => (BOTH, field(Field::NCmpl)),
                "suffix" => (TEXT, field(Field::PromptExtra)),
                _ => return None,
            },
            7 => match key {
                "best_of" => (TEXT, field(Field::BestOf)),
                "grammar" => (BOTH, field(Field::Guided)),
                "prefill" => (CHAT, Known::Steering),
                _ => return None,
            },
            8 => match key {
                "provider" => (ALL, field(Field::Provider)),
                "messages" => (CHAT, field(Field::Messages)),
                "logprobs" => (BOTH, field(Field::Logprobs)),
                _ => return None,
            },
            9 => match key {
                // llama.cpp's name of the limit, which overrides the others there.
                "n_predict" => (BOTH, field(Field::NPredict)),
                "functions" => (CHAT, field(Field::Functions)),
                "documents" => (CHAT, field(Field::PromptExtra)),
                "reasoning" => (BOTH, Known::Turn),
                _ => return None,
            },
            10 => match key {
                "session_id" => (ALL, field(Field::SessionId)),
                "max_tokens" => (BOTH, field(Field::MaxTokens)),
                "logit_bias" => (BOTH, parameter(Parameters::LOGIT_BIAS)),
                "min_tokens" => (BOTH, Known::Steering),
                _ => return None,
            },
            11 => match key {
                "guided_json" | "json_schema" => (BOTH, field(Field::Guided)),
                _ => return None,
            },
            12 => match key {
                "service_tier" => (ALL, field(Field::ServiceTier)),
                "top_logprobs" => (CHAT, field(Field::TopLogprobs)),
                "guided_regex" => (BOTH, field(Field::Guided)),
                _ => return None,
            },
            13 => match key {
                "guided_choice" => (BOTH, field(Field::Guided)),
                "chat_template" => (CHAT, field(Field::PromptExtra)),
                "prompt_embeds" => (TEXT, Known::Steering),
                _ => return None,
            },
            14 => match key {
                "stream_options" => (BOTH, field(Field::StreamOptions)),
                "guided_grammar" => (BOTH, field(Field::Guided)),
                _ => return None,
            },
            15 => match key {
                "response_format" => (BOTH, field(Field::ResponseFormat)),
                "response_prefix" => (CHAT, Known::Steering),
                "use_beam_search" | "prompt_logprobs" => (BOTH, Known::Steering),
                _ => return None,
            },
            16 => match key {
                "prompt_cache_key" => (ALL, field(Field::PromptCacheKey)),
                "presence_penalty" => (BOTH, parameter(Parameters::PRESENCE_PENALTY)),
                "stream_reasoning" => (BOTH, Known::Turn),
                "assistant_prefix" => (CHAT, Known::Steering),
                "return_token_ids" => (BOTH, Known::Steering),
                _ => return None,
            },
            17 => match key {
                "frequency_penalty" => (BOTH, parameter(Parameters::FREQUENCY_PENALTY)),
                "include_reasoning" => (BOTH, Known::Turn),
                _ => return None,
            },
            18 => match key {
                "structured_outputs" => (BOTH, field(Field::Guided)),
                "repetition_penalty" => (BOTH, parameter(Parameters::REPETITION_PENALTY)),
                "separate_reasoning" => (BOTH, Known::Turn),
                _ => return None,
            },
            20 => match key {
                "chat_template_kwargs" => (CHAT, field(Field::PromptExtra)),
                _ => return None,
            },
            21 => match key {
                "max_completion_tokens" => (BOTH, field(Field::MaxCompletionTokens)),
                "add_generation_prompt" => (CHAT, Known::Turn),
                _ => return None,
            },
            22 => match key {
                "continue_final_message" => (CHAT, Known::Turn),
                _ => return None,
            },
            26 => match key {
                "return_tokens_as_token_ids" => (BOTH, Known::Steering),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The name that a key, which is none itself, would be taken for by an engine that matches keys in any case.
    ///
    /// Engines in Go do, and let the last of several win. Go folds two letters beyond ASCII too.
    pub(super) fn disguised(endpoint: Endpoint, key: &str) -> Option<String> {
        let is_plain = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        if key.len() > NAME_BYTES_MAX * FOLDED_BYTES_MAX || key.bytes().all(is_plain) {
            return None;
        }
        let folded: String = key
            .chars()
            .map(|letter| match letter {
                '\u{17f}' => 's',
                '\u{212a}' => 'k',
                other => other.to_ascii_lowercase(),
            })
            .collect();
        Self::of(endpoint, &folded).map(|_| folded)
    }
}

impl Field {
    /// Whether its text becomes part of the prompt.
    pub(super) const fn is_prompt(self) -> bool {
        matches!(
            self,
            Self::Prompt | Self::Input | Self::Tools | Self::Functions | Self::ResponseFormat | Self::PromptExtra
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_under_their_length() {
        // A name under another length would never be found.
        let this = include_str!("names.rs");
        let (_, arms) = this.split_once("match key.len() {").unwrap();
        let (arms, _) = arms.split_once("_ => return None,\n        })").unwrap();
        let (mut length, mut found) = (0, 0);
        for line in arms.lines().map(str::trim) {
            if let Some((number, "match key {")) = line.split_once(" => ") {
                length = number.parse().unwrap();
            }
            for name in line.split('"').skip(1).step_by(2) {
                assert!(Known::named(name).is_some() && name.len() == length, "{name}");
                assert!(name.len() <= NAME_BYTES_MAX, "{name}");
                found += 1;
            }
        }
        assert!(found > 60, "{found}");
    }

    #[test]
    fn a_name_means_nothing_on_other_routes() {
        let of = |endpoint, name| Known::of(endpoint, name).is_some();
        for (name, chat, text, embeddings) in [
            ("model", true, true, true),
            ("messages", true, false, false),
            ("prompt", false, true, false),
            ("input", false, false, true),
            ("stop", true, true, false),
            ("suffix", false, true, false),
            ("echo", true, true, false),
            ("", false, false, false),
            ("models_", false, false, false),
        ] {
            let found = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings].map(|at| of(at, name));
            assert_eq!(found, [chat, text, embeddings], "{name}");
        }
        for (name, parameter) in Parameters::NAMED {
            assert_eq!(
                Known::of(Endpoint::Completions, name),
                Some(Known::Parameter(parameter))
            );
        }
    }
}
