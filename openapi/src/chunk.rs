//! Views one chunk of a stream, and writes the chunks the gateway itself sends.
//!
//! Decides whether an event's data is a chunk and what it carries. Which chunks a caller gets to see is decided by the
//! gateway.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::answer::BadAnswer;
use crate::call::Endpoint;
use crate::member::Removals;
use crate::reply::Reply;
use crate::usage::UsageClaim;
use crate::walk::span_of;

/// What a chunk says. Positions index the data it was parsed from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChunkView {
    /// What the engine claims to have used so far; `None` if it says nothing.
    pub usage: Option<UsageClaim>,
    /// Where the value of `usage` lies, if it is an object.
    pub usage_at: Option<Range<usize>>,
    /// Whether there is usage and no choice.
    pub usage_only: bool,
    /// Where the value of `model` lies, with its quotes, if it is a string.
    pub model: Option<Range<usize>>,
    /// Where the value of `id` lies, with its quotes, if it is a string.
    pub id: Option<Range<usize>>,
    /// UTF-8 bytes of text, reasoning, refusals and tool calls (names and arguments) in all choices.
    pub output_bytes: u32,
    /// Whether the model wrote anything in this chunk. A chunk that only opens a message has no output.
    pub has_output: bool,
    /// The first choice's `finish_reason`, or that of the first that has one.
    pub finish_reason: Option<Box<str>>,
    /// Where the first choice's text lies (`delta.content`, or `text` of a completion), without its quotes and as it is
    /// escaped; `None` if it is empty or no string.
    pub content: Option<Range<usize>>,
    /// Whether the model wrote nothing in this chunk beside `content`: no reasoning, refusal or tool call, not even an
    /// empty one, no member nobody knows, nothing in a further choice. True as well where it wrote nothing at all.
    pub only_content: bool,
    /// What to cut out such that the first choice's delta has no `role`: the member and one comma beside it.
    pub role_member: Option<Range<usize>>,
}

/// Views the data of one event of a stream. `[DONE]` is not a chunk: look for it first.
///
/// # Errors
/// [`BadAnswer`] if the data is no chunk; [`BadAnswer::Error`] if it is an error in mid-stream.
pub fn parse_chunk(data: &[u8]) -> Result<ChunkView, BadAnswer> {
    let reply = Reply::read(data, "delta")?;
    if reply.choices.is_none() && reply.usage.is_none() {
        return Err(BadAnswer::NotAnAnswer(
            "it has neither a list 'choices' nor 'usage'".to_owned(),
        ));
    }
    let at = |raw| span_of(data, raw);
    Ok(ChunkView {
        usage: reply.usage(),
        usage_at: reply.usage.map(at),
        usage_only: reply.usage.is_some() && reply.choices.unwrap_or(0) == 0,
        model: reply.model.map(at),
        id: reply.id.map(at),
        output_bytes: reply.output_bytes,
        has_output: reply.output_bytes > 0,
        finish_reason: reply.finish_reason(),
        content: reply.content.map(at).map(|text| text.start + 1..text.end - 1),
        only_content: !reply.wrote_more,
        role_member: reply.role.map(|role| Removals::one(data, at(role))),
    })
}

#[derive(Serialize)]
struct Chunk<'a, Choices> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Choices,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ChunkError<'a>>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

#[derive(Serialize)]
struct ChunkError<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: u32,
    delta: Delta,
    logprobs: (),
    finish_reason: &'a str,
}

#[derive(Serialize)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'static str>,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    index: u32,
    text: &'static str,
    logprobs: (),
    finish_reason: &'a str,
}

/// The chunk that tells of usage where the engine sent none: the last one before `[DONE]`, without choices.
///
/// `created` is in seconds since 1970, `prompt` and `completion` are tokens. The bytes are an event's data.
#[must_use]
pub fn usage_chunk(endpoint: Endpoint, id: &str, model: &str, created: u64, prompt: u64, completion: u64) -> Bytes {
    let total_tokens = prompt.saturating_add(completion);
    let usage = Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens,
    };
    let choices: [(); 0] = [];
    to_json(&Chunk {
        id,
        object: object(endpoint),
        created,
        model,
        choices,
        usage: Some(usage),
        error: None,
    })
}

/// The chunk that says why the answer ended, and nothing else.
///
/// `created` is in seconds since 1970. The bytes are an event's data; usage, if it was asked for, and `[DONE]` are to
/// follow.
#[must_use]
pub fn finish_chunk(endpoint: Endpoint, id: &str, model: &str, created: u64, finish_reason: &str) -> Bytes {
    last_chunk(endpoint, [id, model, finish_reason], created, None)
}

/// The last chunk of a stream that broke: an `error` beside a choice that finishes with `"error"`, as OpenRouter has
/// it.
///
/// `created` is in seconds since 1970. The bytes are an event's data; `[DONE]` is to follow.
#[must_use]
pub fn error_chunk(endpoint: Endpoint, id: &str, model: &str, created: u64, code: &str, message: &str) -> Bytes {
    let error = Some(ChunkError { code, message });
    last_chunk(endpoint, [id, model, "error"], created, error)
}

/// A chunk whose one choice ends. OpenAI's own end has an empty delta, OpenRouter's error an empty text in it.
fn last_chunk(
    endpoint: Endpoint,
    [id, model, finish_reason]: [&str; 3],
    created: u64,
    error: Option<ChunkError<'_>>,
) -> Bytes {
    let object = object(endpoint);
    if endpoint == Endpoint::Completions {
        let choices = [TextChoice {
            index: 0,
            text: "",
            logprobs: (),
            finish_reason,
        }];
        return to_json(&Chunk {
            id,
            object,
            created,
            model,
            choices,
            usage: None,
            error,
        });
    }
    let choices = [ChatChoice {
        index: 0,
        delta: Delta {
            content: error.as_ref().map(|_| ""),
        },
        logprobs: (),
        finish_reason,
    }];
    to_json(&Chunk {
        id,
        object,
        created,
        model,
        choices,
        usage: None,
        error,
    })
}

/// A chunk's `data` with one more member at its end, given as it stands in JSON: `"filature":{…}`.
///
/// `data` that is no object stays as it is.
#[must_use]
pub fn with_member(data: &Bytes, member: &str) -> Bytes {
    let kept = data.trim_ascii_end();
    let Some(inside) = kept.strip_suffix(b"}") else {
        return data.clone();
    };
    let inside = inside.trim_ascii_end();
    let mut longer = BytesMut::with_capacity(inside.len() + member.len() + 2);
    longer.extend_from_slice(inside);
    if !inside.ends_with(b"{") {
        longer.extend_from_slice(b",");
    }
    longer.extend_from_slice(member.as_bytes());
    longer.extend_from_slice(b"}");
    longer.freeze()
}

/// The `object` of a chunk. Embeddings are never streamed.
const fn object(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Completions => "text_completion",
        Endpoint::ChatCompletions | Endpoint::Embeddings => "chat.completion.chunk",
    }
}

fn to_json(chunk: &impl Serialize) -> Bytes {
    serde_json::to_vec(chunk)
        .expect("strings and integers always serialise")
        .into()
}

#[cfg(test)]
mod tests;
