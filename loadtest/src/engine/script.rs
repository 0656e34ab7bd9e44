//! Decides what an answer says before any of it is sent: its choices, their tokens and why each of them ends.

use serde_json::Value;

use super::call::{Call, Operation, prompt_tokens};
use super::refusal::Refusal;
use super::schema;
use super::sim::{Fault, FaultKind, Sim};
use super::words::PromptHash;

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
}

/// One choice of an answer.
#[derive(Debug)]
pub(super) struct Choice {
    hash: PromptHash,
    reasoning: u32,
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
    Words { count: u32 },
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
            Pieces::Words { count } => *count,
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
            Pieces::Words { count } => (place < *count).then(|| Piece::Text(self.hash.token(u64::from(place)))),
            Pieces::Cut(pieces) => pieces.get(usize::try_from(place).ok()?).map(|piece| Piece::Text(piece)),
        }
    }

    /// A log probability for the n-th token: of this choice, never the same twice in a row, and never above zero.
    pub(super) fn logprob(&self, n: u32) -> f64 {
        f64::from(u32::try_from(self.hash.draw(u64::from(n)) % 4_000).unwrap_or(0)) / -1_000.0
    }
}

/// Decides the answer to a chat or a completion. `tokens` is the engine's own length where the call sets none.
pub(super) fn write(
    operation: Operation,
    call: &Call<'_>,
    sim: &Sim,
    fault: Option<&Fault>,
    tokens: u32,
) -> Result<Script, Refusal> {
    let prompts = call.prompts()?;
    let n = call.n();
    if n == 0 || n > 128 {
        return Err(Refusal::bad_request("`n` is to be from 1 to 128".to_owned()));
    }
    let forced = forced_text(call)?;
    let mut choices = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let hash = PromptHash::of(prompt.as_bytes()).with(call.seed.unwrap_or(0).cast_unsigned());
        choices.extend((0..n).map(|index| choose(call, sim, forced.as_ref(), hash.with(u64::from(index)), tokens)));
    }
    let prompt_total = prompts.iter().map(|prompt| prompt_tokens(prompt)).sum();
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

fn choose(call: &Call<'_>, sim: &Sim, forced: Option<&Forced>, hash: PromptHash, tokens: u32) -> Choice {
    let tokens_max = call.tokens_max().unwrap_or(u32::MAX);
    let reasoning = sim.reasoning.min(tokens_max);
    let room = tokens_max - reasoning;
    let (mut pieces, whole) = match forced {
        Some(forced) => {
            let pieces = cut(&forced.text);
            let whole = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            (
                Pieces::Cut(
                    pieces
                        .into_iter()
                        .take(usize::try_from(room).unwrap_or(usize::MAX))
                        .collect(),
                ),
                whole,
            )
        }
        None => {
            let whole = sim.tokens.unwrap_or(tokens);
            (Pieces::Words { count: whole.min(room) }, whole)
        }
    };
    let mut finish = if whole > room { "length" } else { "stop" };
    if let (Pieces::Words { count }, false) = (&pieces, call.stops().is_empty())
        && let Some(stopped) = stop_at(hash, *count, call.stops())
    {
        pieces = Pieces::Cut(stopped);
        finish = "stop";
    }
    let tool = forced.and_then(|forced| forced.tool.clone()).map(|name| {
        if finish == "stop" {
            finish = "tool_calls";
        }
        Tool {
            id: format!("call_{:016x}", hash.draw(u64::MAX)),
            name,
        }
    });
    Choice {
        hash,
        reasoning,
        pieces,
        finish,
        tool,
    }
}

/// The tokens before the first stop text, or `None` when none occurs. The stop text itself is not part of the answer.
fn stop_at(hash: PromptHash, count: u32, stops: &[String]) -> Option<Vec<String>> {
    let text: String = (0..count).map(|n| hash.token(u64::from(n))).collect();
    let mut left = stops
        .iter()
        .filter(|stop| !stop.is_empty())
        .filter_map(|stop| text.find(stop.as_str()))
        .min()?;
    let mut pieces = Vec::new();
    for n in 0..count {
        let token = hash.token(u64::from(n));
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
