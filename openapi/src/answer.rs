//! Views an engine's whole answer: what it claims to have used and how much it wrote.
//!
//! Decides whether a body that came with status 200 is an answer at all. What it costs is decided by the gateway.

use std::ops::Range;

use crate::call::Endpoint;
use crate::reply::Reply;
use crate::usage::UsageClaim;
use crate::walk::span_of;

/// What an answer says. Positions index the body it was parsed from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnswerView {
    /// What the engine claims to have used; `None` if it says nothing.
    pub usage: Option<UsageClaim>,
    /// Where the value of `usage` lies, if it is an object.
    pub usage_at: Option<Range<usize>>,
    /// Where the value of `model` lies, with its quotes, if it is a string.
    pub model: Option<Range<usize>>,
    /// Where the value of `id` lies, with its quotes, if it is a string.
    pub id: Option<Range<usize>>,
    /// UTF-8 bytes of text, reasoning, refusals and tool calls (names and arguments) in all choices; for embeddings the
    /// number of vectors.
    pub output_bytes: u32,
    /// Choices, or vectors for embeddings.
    pub choices: u32,
    /// The first choice's `finish_reason`, or that of the first that has one.
    pub finish_reason: Option<Box<str>>,
}

/// Why bytes from an engine are not an answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAnswer {
    /// Not JSON: an HTML page, half an answer, nothing at all. Says what is wrong and where.
    #[error("the engine's answer is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not of this kind: no choices, no vectors.
    #[error("the engine's answer is not an answer: {0}")]
    NotAnAnswer(String),
    /// An error in place of an answer.
    #[error("the engine answered with an error: {message}")]
    Error {
        /// The engine's words; may be empty.
        message: String,
        /// The engine's code, if it gave one.
        code: Option<String>,
    },
}

/// Views an answer to a call without `stream`.
///
/// # Errors
/// [`BadAnswer`] if the body is no answer to a call of `endpoint`. Bodies of error statuses may be given as well: what
/// OpenAI, vLLM, SGLang, llama.cpp and Ollama send is then [`BadAnswer::Error`].
pub fn parse_answer(endpoint: Endpoint, body: &[u8]) -> Result<AnswerView, BadAnswer> {
    let reply = Reply::read(body, "message")?;
    let (name, count) = match endpoint {
        Endpoint::Embeddings => ("data", reply.data),
        Endpoint::ChatCompletions | Endpoint::Completions => ("choices", reply.choices),
    };
    let choices = match count {
        None => return Err(BadAnswer::NotAnAnswer(format!("it has no list '{name}'"))),
        Some(0) => return Err(BadAnswer::NotAnAnswer(format!("its list '{name}' is empty"))),
        Some(_) if endpoint == Endpoint::Embeddings && reply.lacks_vectors => {
            return Err(BadAnswer::NotAnAnswer(format!(
                "an element of its list '{name}' has no 'embedding'"
            )));
        }
        Some(count) => count,
    };
    let at = |raw| span_of(body, raw);
    Ok(AnswerView {
        usage: reply.usage(),
        usage_at: reply.usage.map(at),
        model: reply.model.map(at),
        id: reply.id.map(at),
        output_bytes: if endpoint == Endpoint::Embeddings {
            choices
        } else {
            reply.output_bytes
        },
        choices,
        finish_reason: reply.finish_reason(),
    })
}

#[cfg(test)]
mod tests;
