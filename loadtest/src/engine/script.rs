//! Decides what an answer says before any of it is sent: its choices, their tokens and why each of them ends.

use serde_json::Value;

use super::call::{Call, Operation, prompt_tokens};
use super::continuation::Start;
use super::refusal::Refusal;
use super::schema;
use super::sim::{Fault, FaultKind, Sim};
use super::words::{PromptHash, Words};

/// An answer, decided.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) operation: Operation,
    pub(super) model: String,
    pub(super) id: u64,
    pub(super) choices: Vec<Choice>,
    pub(super) logprobs: Option<u8>,
    /// JSON of the field `usage`; `None` when a fault keeps it back.
    pub(super) usage: Option<String>,
    /// JSON of the field `sim_echo`, when asked for.
    pub(super) echo: Option<String>,
    /// Bytes of the answer that were there already; `None` where nothing was to be continued.
    pub(super) continued: Option<u64>,
}

/// One choice of an answer.
#[derive(Debug)]
pub(super) struct Choice {
    hash: PromptHash,
    reasoning: u32,
    /// Which of its words come first: not the first of all where it goes on from another answer.
    start: Start,
    pieces: Pieces,
    pub(super) finish: &'static str,
    pub(super) tool: Option<Tool>,
}

/// The tool a choice calls. Its pieces are the arguments.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Debug)]
enum Pieces {
    /// So many of them from the start on.
    Words {
        words: Words,
        count: u32,
    },
    Cut(Vec<String>),
}

/// One token of a choice.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    Reasoning(&'a str),
    Text(&'a str),
}

impl Choice {
    /// Tokens in all, of reasoning and answer.
    pub(super) fn tokens(&self) -> u32 {
        let answer = match &self.pieces {
            Pieces::Words { count, .. } => *count,
            Pieces::Cut(pieces) => u32::try_from(pieces.len()).unwrap_or(u32::MAX),
        };
        self.reasoning.saturating_add(answer)
    }

    /// The n-th token.
    pub(super) fn piece(&self, n: u32) -> Option<Piece<'_>> {
        let Some(place) = n.checked_sub(self.reasoning) else {
            return Some(Piece::Reasoning(self.hash.with(u64::MAX - 1).token(u64::from(n))));
        };
        match &self.pieces {
            Pieces::Words { words, count } => (place < *count).then(|| Piece::Text(self.start.word(*words, place))),
            Pieces::Cut(pieces) => pieces.get(usize::try_from(place).ok()?).map(|piece| Piece::Text(piece)),
        }
    }

    /// A log probability for the n-th token: of this choice, never the same twice in a row, and never above zero.
    pub(super) fn logprob(&self, n: u32) -> f64 {
        let place = u64::from(self.start.token) + u64::from(n);
        f64::from(u32::try_from(self.hash.draw(place) % 4_000).unwrap_or(0)) / -1_000.0
    }
}

/// What an engine is set to, where the call does not say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// Tokens of an answer.
    pub(super) tokens: u32,
    /// Whether the text so far is stripped before a chat is continued.
    pub(super) trim: bool,
}

/// Decides the answer to a chat or a completion.
pub(super) fn write(
    operation: Operation,
    call: &Call<'_>,
    sim: &Sim,
    fault: Option<&Fault>,
    usual: Usual,
) -> Result<Script, Refusal> {
    let prompts = call.asked(sim.trim.unwrap_or(usual.trim))?;
    let n = call.n();
    if n == 0 || n > 128 {
        return Err(Refusal::bad_request("`n` is to be from 1 to 128".to_owned()));
    }
    let forced = forced_text(call)?;
    let mut choices = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let hash = PromptHash::of(prompt.prompt.as_bytes()).with(call.seed.unwrap_or(0).cast_unsigned());
        for index in 0..n {
            let hash = hash.with(u64::from(index));
            choices.push(if prompt.so_far.is_empty() {
                choose(call, sim, forced.as_ref(), hash, usual.tokens)
            } else {
                go_on(call, sim, hash, usual.tokens, &prompt.so_far)?
            });
        }
    }
    let so_far: u64 = prompts.iter().map(|prompt| prompt.so_far.len() as u64).sum();
    let asked: u64 = prompts.iter().map(|prompt| prompt_tokens(&prompt.prompt)).sum();
    // The text so far is read as part of the prompt, in the tokens it was written in.
    let read: u64 = choices.iter().map(|choice| choice.start.tokens()).sum();
    let prompt_total = asked + read;
    let usage = match fault.map(|fault| (fault.kind, &fault.usage)) {
        Some((FaultKind::NoUsage, _)) => None,
        Some((FaultKind::BadUsage, Some(usage))) => Some(usage.get().to_owned()),
        Some((FaultKind::BadUsage, None)) => {
            Some(r#"{"prompt_tokens":-5,"completion_tokens":1000000000000000000000,"total_tokens":"many"}"#.to_owned())
        }
        _ => Some(usage_json(prompt_total, &choices, sim)),
    };
    let id = PromptHash::of(call.prompt_json().as_bytes()).draw(0);
    Ok(Script {
        operation,
        model: call.model.clone().into_owned(),
        id,
        choices,
        logprobs: call.logprobs(),
        usage,
        echo: None,
        continued: (so_far > 0).then_some(so_far),
    })
}

/// What a choice must say instead of words.
struct Forced {
    text: String,
    tool: Option<String>,
}

/// A tool call when the caller insists on one, an object when the caller asks for JSON.
fn forced_text(call: &Call<'_>) -> Result<Option<Forced>, Refusal> {
    if let (Some(choice), Some(tools)) = (&call.tool_choice, call.tools) {
        let wanted = choice.pointer("/function/name").and_then(Value::as_str);
        if choice == "required" || wanted.is_some() {
            let tools: Vec<Value> = serde_json::from_str(tools.get())
                .map_err(|error| Refusal::bad_request(format!("`tools` is not an array: {error}")))?;
            let function = tools
                .iter()
                .filter_map(|tool| tool.get("function"))
                .find(|function| wanted.is_none_or(|name| function["name"] == name))
                .ok_or_else(|| Refusal::bad_request("`tool_choice` names no tool of `tools`".to_owned()))?;
            let name = function["name"].as_str().unwrap_or_default().to_owned();
            return Ok(Some(Forced {
                text: schema::example(&function["parameters"]).to_string(),
                tool: Some(name),
            }));
        }
    }
    let Some(format) = &call.response_format else {
        return Ok(None);
    };
    let text = match format["type"].as_str() {
        Some("json_schema") => schema::example(&format["json_schema"]["schema"]).to_string(),
        Some("json_object") => r#"{"answer":"silk"}"#.to_owned(),
        _ => return Ok(None),
    };
    Ok(Some(Forced { text, tool: None }))
}

/// The rest of a choice that another answer has begun. Its limit counts what is new only.
fn go_on(call: &Call<'_>, sim: &Sim, hash: PromptHash, tokens: u32, so_far: &str) -> Result<Choice, Refusal> {
    let (words, whole) = (Words::new(hash, sim.spaces), sim.tokens.unwrap_or(tokens));
    let start = Start::behind(so_far, words, whole)?;
    let (left, room) = (whole - start.token, call.tokens_max().unwrap_or(u32::MAX));
    Ok(speak(call, hash, words, start, left, room))
}

/// A choice of plain words: `left` of them, if there is `room`, unless a stop text comes before.
fn speak(call: &Call<'_>, hash: PromptHash, words: Words, start: Start, left: u32, room: u32) -> Choice {
    let count = left.min(room);
    let stopped = match call.stops() {
        [] => None,
        stops => stop_at(words, start, count, stops),
    };
    let finish = if left > room && stopped.is_none() {
        "length"
    } else {
        "stop"
    };
    Choice {
        hash,
        reasoning: 0,
        start,
        pieces: stopped.map_or(Pieces::Words { words, count }, Pieces::Cut),
        finish,
        tool: None,
    }
}

fn choose(call: &Call<'_>, sim: &Sim, forced: Option<&Forced>, hash: PromptHash, tokens: u32) -> Choice {
    let tokens_max = call.tokens_max().unwrap_or(u32::MAX);
    let reasoning = sim.reasoning.min(tokens_max);
    let room = tokens_max - reasoning;
    let Some(forced) = forced else {
        let (words, whole) = (Words::new(hash, sim.spaces), sim.tokens.unwrap_or(tokens));
        return Choice {
            reasoning,
            ..speak(call, hash, words, Start::default(), whole, room)
        };
    };
    let mut pieces = cut(&forced.text);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    let finish = match (&forced.tool, pieces.len() > room) {
        (_, true) => "length",
        (Some(_), false) => "tool_calls",
        (None, false) => "stop",
    };
    pieces.truncate(room);
    let tool = forced.tool.clone().map(|name| Tool {
        id: format!("call_{:016x}", hash.draw(u64::MAX)),
        name,
    });
    Choice {
        hash,
        reasoning,
        start: Start::default(),
        pieces: Pieces::Cut(pieces),
        finish,
        tool,
    }
}

/// The tokens before the first stop text, or `None` when none occurs. The stop text itself is not part of the answer.
/// Only new text is searched, as real engines do: what they hold back while it may become a stop text comes anew.
fn stop_at(words: Words, start: Start, count: u32, stops: &[String]) -> Option<Vec<String>> {
    let text: String = (0..count).map(|place| start.word(words, place)).collect();
    let mut left = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()))
        .min()?;
    let mut pieces = Vec::new();
    for place in 0..count {
        let token = start.word(words, place);
        if left == 0 {
            break;
        }
        // Both ends are character boundaries: `left` is where a stop text was found.
        let kept = token.get(..left.min(token.len())).unwrap_or(token);
        left -= kept.len();
        pieces.push(kept.to_owned());
    }
    Some(pieces)
}

/// Cuts a text into tokens of four characters.
fn cut(text: &str) -> Vec<String> {
    text.chars()
        .collect::<Vec<_>>()
        .chunks(4)
        .map(|piece| piece.iter().collect())
        .collect()
}

fn usage_json(prompt: u64, choices: &[Choice], sim: &Sim) -> String {
    let completion: u64 = choices.iter().map(|choice| u64::from(choice.tokens())).sum();
    let reasoning: u64 = choices.iter().map(|choice| u64::from(choice.reasoning)).sum();
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{}}},"completion_tokens_details":{{"reasoning_tokens":{reasoning}}}}}"#,
        prompt + completion,
        sim.cached_tokens.unwrap_or(0),
    )
}
