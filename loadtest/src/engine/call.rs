//! Reads a request as an engine does: what is asked for, in how many tokens, with which knobs.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::continuation::Asked;
use super::refusal::Refusal;
use super::sim::Sim;

/// What an engine can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Chat,
    Completion,
    Embedding,
}

impl Operation {
    pub(super) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completion),
            "/v1/embeddings" => Some(Self::Embedding),
            _ => None,
        }
    }
}

/// A request, borrowed from its body. Fields an engine does not know are passed over.
#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    #[serde(borrow)]
    pub(super) model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    n: Option<u32>,
    pub(super) seed: Option<i64>,
    stop: Option<OneOrMany>,
    logprobs: Option<Value>,
    top_logprobs: Option<u8>,
    #[serde(borrow)]
    pub(super) tools: Option<&'a RawValue>,
    pub(super) tool_choice: Option<Value>,
    pub(super) response_format: Option<Value>,
    pub(super) encoding_format: Option<String>,
    pub(super) dimensions: Option<usize>,
    continue_final_message: Option<bool>,
    add_generation_prompt: Option<bool>,
    sim: Option<Sim>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'a> Call<'a> {
    pub(super) fn parse(operation: Operation, body: &'a [u8]) -> Result<Self, Refusal> {
        let call: Self = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("the body is not a request: {error}")))?;
        let (field, prompt) = match operation {
            Operation::Chat => ("messages", call.messages),
            Operation::Completion => ("prompt", call.prompt),
            Operation::Embedding => ("input", call.input),
        };
        if prompt.is_none() {
            return Err(Refusal::bad_request(format!("`{field}` is required")));
        }
        Ok(call)
    }

    pub(super) fn stream(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn include_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or(false)
    }

    pub(super) fn tokens_max(&self) -> Option<u32> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    pub(super) fn n(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    pub(super) fn stops(&self) -> &[String] {
        match &self.stop {
            None => &[],
            Some(OneOrMany::One(stop)) => std::slice::from_ref(stop),
            Some(OneOrMany::Many(stops)) => stops,
        }
    }

    /// How many alternatives to list beside each token's log probability; `None` when none are asked for.
    /// Chat says `logprobs: true, top_logprobs: 3`, completions say `logprobs: 3`.
    pub(super) fn logprobs(&self) -> Option<u8> {
        match self.logprobs.as_ref()? {
            Value::Bool(true) => Some(self.top_logprobs.unwrap_or(0)),
            Value::Number(count) => count.as_u64().and_then(|count| u8::try_from(count).ok()),
            _ => None,
        }
    }

    /// The JSON of the prompt as it stood in the body.
    pub(super) fn prompt_json(&self) -> &'a str {
        self.messages.or(self.prompt).or(self.input).map_or("", RawValue::get)
    }

    /// The prompts as pieces of JSON: chat has one; completions and embeddings take one or an array of them, and a
    /// prompt may be text or an array of token numbers.
    pub(super) fn prompts(&self) -> Result<Vec<Cow<'a, str>>, Refusal> {
        let json = self.prompt_json();
        if self.messages.is_some() || !json.starts_with('[') {
            return Ok(vec![Cow::Borrowed(json)]);
        }
        let items: Vec<&'a RawValue> = serde_json::from_str(json)
            .map_err(|error| Refusal::bad_request(format!("the prompt is not an array: {error}")))?;
        match items.first().map(|item| item.get().as_bytes().first().copied()) {
            None => Err(Refusal::bad_request("the prompt is empty".to_owned())),
            Some(Some(b'"' | b'[')) => Ok(items.into_iter().map(|item| Cow::Borrowed(item.get())).collect()),
            Some(_) => Ok(vec![Cow::Borrowed(json)]),
        }
    }

    /// The prompts of a chat or a completion, and what is answered to them already. `trim` as in [`Asked::chat`].
    pub(super) fn asked(&self, trim: bool) -> Result<Vec<Asked<'a>>, Refusal> {
        let Some(messages) = self.messages else {
            return self.prompts()?.into_iter().map(Asked::completion).collect();
        };
        if self.continue_final_message != Some(true) {
            return Ok(vec![Asked::afresh(Cow::Borrowed(messages.get()))]);
        }
        if self.add_generation_prompt != Some(false) {
            return Err(Refusal::bad_request(
                "`continue_final_message` and `add_generation_prompt` cannot both be true, and the latter is by default"
                    .to_owned(),
            ));
        }
        Ok(vec![Asked::chat(messages.get(), trim)?])
    }

    pub(super) fn sim(&mut self) -> Sim {
        self.sim.take().unwrap_or_default()
    }
}

/// How many tokens a simulated tokenizer makes of this JSON: four bytes each, rounded up, and at least one.
pub(super) fn prompt_tokens(json: &str) -> u64 {
    (json.len() as u64).div_ceil(4).max(1)
}
