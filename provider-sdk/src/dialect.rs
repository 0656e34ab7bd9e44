//! How engines differ where an answer is to be continued that another engine began.
//!
//! Every engine speaks OpenAI's API, which has no way to say "go on from here". Decides which engines have one of their
//! own, what has to be said to them, and which beginnings they can be trusted with; who says it, and when, is the
//! agent's and the gateway's business.
//!
//! | engine | a chat that ends in a message of the assistant's | source |
//! |---|---|---|
//! | vLLM | is continued with `continue_final_message`, which excludes `add_generation_prompt`; the template renders the message and all behind its last words is cut off (Hugging Face transformers) | vllm-project/vllm#8942, huggingface/transformers#33198 |
//! | SGLang | is continued with `continue_final_message`: the words follow the rendered prompt as they are; without it they are taken for the user's | sgl-project/sglang#4226, `serving_chat.py` |
//! | llama.cpp | is continued without being asked to, unless the server was started with `--no-prefill-assistant` or the template thinks; a stream brings what is new, an answer in one piece the old words too | ggml-org/llama.cpp#13174, #13608; tried out at every token of an answer |
//! | Ollama | is continued if the model's template happens to leave its last message open | ollama/ollama#6778 |
//! | OpenAI | is answered with another message | platform.openai.com, chat completions |
//!
//! A completion needs none of this: its prompt ends in the text so far. What is continued must be asked for as a
//! stream.

use std::fmt;
use std::str::FromStr;

/// An engine, by the way it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// llama.cpp's server.
    LlamaCpp,
    /// Ollama.
    Ollama,
    /// Any other server with OpenAI's API, OpenAI's own included.
    OpenAi,
}

impl Dialect {
    /// Every dialect by its name in settings.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("vllm", Self::Vllm),
        ("sglang", Self::Sglang),
        ("llama.cpp", Self::LlamaCpp),
        ("ollama", Self::Ollama),
        ("openai", Self::OpenAi),
    ];

    /// Whether a chat that ends in a message of the assistant's is answered with what follows that message's text,
    /// exactly.
    #[must_use]
    pub const fn continues(self) -> bool {
        match self {
            Self::Vllm | Self::Sglang | Self::LlamaCpp => true,
            Self::Ollama | Self::OpenAi => false,
        }
    }

    /// The members of a request, as they stand in JSON, that make a chat go on; empty where none are needed or none
    /// help.
    #[must_use]
    pub const fn continue_members(self) -> &'static str {
        match self {
            Self::Vllm => r#""add_generation_prompt":false,"continue_final_message":true"#,
            Self::Sglang => r#""continue_final_message":true"#,
            Self::LlamaCpp | Self::Ollama | Self::OpenAi => "",
        }
    }

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::OpenAi => "openai",
        }
    }
}

/// A text that names no dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no dialect; known are vllm, sglang, llama.cpp, ollama, openai")]
pub struct UnknownDialect(String);

impl FromStr for Dialect {
    type Err = UnknownDialect;

    fn from_str(name: &str) -> Result<Self, UnknownDialect> {
        let found = Self::NAMED.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, dialect)| *dialect)
            .ok_or_else(|| UnknownDialect(name.to_owned()))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What chat templates write behind an assistant's message. A text that is a part of one of these is found there, and
/// not in the message, by an engine that looks for the last place where the text stands.
const TURN_ENDS: [&str; 9] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
    "<|END_OF_TURN_TOKEN|>",
    "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
    "</s>",
];

/// Whether an engine of any dialect can be trusted to go on from `text` as the beginning of a message of the
/// assistant's.
///
/// It must not end in white space, which many templates strip: leave it away, and drop it from what comes. It must say
/// something, and nothing that stands in the marks behind a message as well. (Transformers cuts the rendered prompt
/// behind the last place where the text stands: `chat_template_utils.py`, `rindex`.)
#[must_use]
pub fn is_continuable(text: &str) -> bool {
    let said = text.trim();
    !said.is_empty() && !text.ends_with(char::is_whitespace) && !TURN_ENDS.iter().any(|end| end.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_has_one_name() {
        for (name, dialect) in Dialect::NAMED {
            assert_eq!((dialect.name(), name.parse()), (name, Ok(dialect)));
            assert_eq!(dialect.to_string(), name);
        }
        let unknown = "VLLM".parse::<Dialect>().unwrap_err().to_string();
        for (name, _) in Dialect::NAMED {
            assert!(unknown.contains(name), "{unknown}");
        }
    }

    #[test]
    fn what_is_said_to_an_engine_are_members_of_an_object() {
        for (_, dialect) in Dialect::NAMED {
            let members = format!("{{{}}}", dialect.continue_members());
            let members: serde_json::Value = serde_json::from_str(&members).unwrap();
            let says = !members.as_object().unwrap().is_empty();
            assert!(!says || dialect.continues(), "{dialect} is told nothing it does not do");
        }
    }

    #[test]
    fn a_beginning_must_be_one_that_no_template_swallows() {
        for text in [
            "Hello",
            "I",
            "A",
            "The end of",
            "</s> is a tag",
            "1",
            "\n\nWell",
            "\u{6f22}",
            "<|im_end|>x",
        ] {
            assert!(is_continuable(text), "{text:?}");
        }
        for text in [
            "",
            " ",
            "\n",
            "Hello ",
            "Hello\n",
            "end",
            " end",
            "s",
            "<",
            "</s>",
            "<|im_end|>",
            "of",
            "END",
            "D",
        ] {
            assert!(!is_continuable(text), "{text:?}");
        }
    }
}
