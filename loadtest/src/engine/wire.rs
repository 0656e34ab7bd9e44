//! Writes scripts as JSON in OpenAI's shapes: whole answers and the data of single events.
//!
//! Written by hand into one buffer, not through a tree of JSON values: an engine that is slower than the gateway before
//! it would measure itself.

use std::io::Write as _;

use super::call::Operation;
use super::script::{Choice, Piece, Script};

/// Writes one answer's JSON. Holds the fields every chunk repeats.
#[derive(Debug)]
pub(super) struct Wire {
    chunk_head: Vec<u8>,
    answer_head: Vec<u8>,
    usage_in_every_chunk: bool,
}

impl Wire {
    pub(super) fn new(script: &Script, engine: &str, created_s: u64, usage_in_every_chunk: bool) -> Self {
        let (prefix, whole, chunk) = match script.operation {
            Operation::Completion => ("cmpl", "text_completion", "text_completion"),
            Operation::Chat | Operation::Embedding => ("chatcmpl", "chat.completion", "chat.completion.chunk"),
        };
        let head = |object: &str| {
            let mut out = Vec::with_capacity(192);
            let _ = write!(
                out,
                r#"{{"id":"{prefix}-{:016x}","object":"{object}","created":{created_s},"model":"#,
                script.id
            );
            text(&mut out, &script.model);
            out.extend_from_slice(br#","system_fingerprint":"#);
            text(&mut out, engine);
            out.extend_from_slice(br#","choices":["#);
            out
        };
        Self {
            chunk_head: head(chunk),
            answer_head: head(whole),
            usage_in_every_chunk,
        }
    }

    /// A whole answer.
    pub(super) fn answer(&self, script: &Script) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024);
        out.extend_from_slice(&self.answer_head);
        for (index, choice) in script.choices.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match script.operation {
                Operation::Completion => completion_choice(&mut out, script, index, choice),
                Operation::Chat | Operation::Embedding => chat_choice(&mut out, script, index, choice),
            }
        }
        out.push(b']');
        if let Some(usage) = &script.usage {
            out.extend_from_slice(br#","usage":"#);
            out.extend_from_slice(usage.as_bytes());
        }
        echo(&mut out, script);
        out.push(b'}');
        out
    }

    /// The event that opens a choice: its role and, where it calls a tool, the tool's name.
    pub(super) fn role_event(&self, script: &Script, index: usize) -> Vec<u8> {
        let mut out = self.open_event(index, br#""delta":{"role":"assistant","content":"#);
        match script.choices.get(index).and_then(|choice| choice.tool.as_ref()) {
            None => out.extend_from_slice(br#""""#),
            Some(tool) => {
                let _ = write!(
                    out,
                    r#"null,"tool_calls":[{{"index":0,"id":"{}","type":"function","function":{{"name":"#,
                    tool.id
                );
                text(&mut out, &tool.name);
                out.extend_from_slice(br#","arguments":""}}]"#);
            }
        }
        out.push(b'}');
        self.close_event(out, None, (index == 0).then_some(script))
    }

    /// The event of one token.
    pub(super) fn piece_event(&self, script: &Script, index: usize, n: u32) -> Option<Vec<u8>> {
        let choice = script.choices.get(index)?;
        let piece = choice.piece(n)?;
        let mut out = match (script.operation, piece, &choice.tool) {
            (Operation::Completion, Piece::Text(token) | Piece::Reasoning(token), _) => {
                let mut out = self.open_event(index, br#""text":"#);
                text(&mut out, token);
                out
            }
            (_, Piece::Text(token), Some(_)) => {
                let mut out = self.open_event(index, br#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"#);
                text(&mut out, token);
                out.extend_from_slice(b"}}]}");
                out
            }
            (_, Piece::Text(token), None) => self.delta_event(index, br#""delta":{"content":"#, token),
            (_, Piece::Reasoning(token), _) => self.delta_event(index, br#""delta":{"reasoning_content":"#, token),
        };
        if let (Some(alternatives), Piece::Text(token)) = (script.logprobs, piece) {
            out.extend_from_slice(br#","logprobs":"#);
            logprobs(&mut out, script.operation, choice, &[(n, token)], alternatives);
        } else {
            out.extend_from_slice(br#","logprobs":null"#);
        }
        out.extend_from_slice(br#","finish_reason":null"#);
        let echo_here = script.operation == Operation::Completion && index == 0 && n == 0;
        Some(self.close_choice(out, echo_here.then_some(script)))
    }

    /// The event that says why a choice ends.
    pub(super) fn finish_event(&self, script: &Script, index: usize) -> Vec<u8> {
        let empty: &[u8] = if script.operation == Operation::Completion {
            br#""text":"""#
        } else {
            br#""delta":{}"#
        };
        let out = self.open_event(index, empty);
        self.close_event(out, script.choices.get(index).map(|choice| choice.finish), None)
    }

    /// The event after all choices that carries the usage.
    pub(super) fn usage_event(&self, usage: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.chunk_head.len() + usage.len() + 32);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.chunk_head);
        out.extend_from_slice(br#"],"usage":"#);
        out.extend_from_slice(usage.as_bytes());
        out.extend_from_slice(b"}\n\n");
        out
    }

    fn open_event(&self, index: usize, then: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.chunk_head.len() + 128);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.chunk_head);
        let _ = write!(out, r#"{{"index":{index},"#);
        out.extend_from_slice(then);
        out
    }

    fn delta_event(&self, index: usize, open: &[u8], token: &str) -> Vec<u8> {
        let mut out = self.open_event(index, open);
        text(&mut out, token);
        out.push(b'}');
        out
    }

    fn close_event(&self, mut out: Vec<u8>, finish: Option<&str>, echo_of: Option<&Script>) -> Vec<u8> {
        out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
        match finish {
            None => out.extend_from_slice(b"null"),
            Some(finish) => text(&mut out, finish),
        }
        self.close_choice(out, echo_of)
    }

    fn close_choice(&self, mut out: Vec<u8>, echo_of: Option<&Script>) -> Vec<u8> {
        out.extend_from_slice(b"}]");
        if self.usage_in_every_chunk {
            out.extend_from_slice(br#","usage":null"#);
        }
        if let Some(script) = echo_of {
            echo(&mut out, script);
        }
        out.extend_from_slice(b"}\n\n");
        out
    }
}

fn chat_choice(out: &mut Vec<u8>, script: &Script, index: usize, choice: &Choice) {
    let _ = write!(out, r#"{{"index":{index},"message":{{"role":"assistant","content":"#);
    let (reasoning, answer) = texts(choice);
    match &choice.tool {
        None => text(out, &answer),
        Some(tool) => {
            let _ = write!(
                out,
                r#"null,"tool_calls":[{{"id":"{}","type":"function","function":{{"name":"#,
                tool.id
            );
            text(out, &tool.name);
            out.extend_from_slice(br#","arguments":"#);
            text(out, &answer);
            out.extend_from_slice(b"}}]");
        }
    }
    if !reasoning.is_empty() {
        out.extend_from_slice(br#","reasoning_content":"#);
        text(out, &reasoning);
    }
    out.extend_from_slice(br#","refusal":null}"#);
    close_whole_choice(out, script, choice);
}

fn completion_choice(out: &mut Vec<u8>, script: &Script, index: usize, choice: &Choice) {
    let _ = write!(out, r#"{{"index":{index},"text":"#);
    let (reasoning, answer) = texts(choice);
    text(out, &(reasoning + &answer));
    close_whole_choice(out, script, choice);
}

fn close_whole_choice(out: &mut Vec<u8>, script: &Script, choice: &Choice) {
    out.extend_from_slice(br#","logprobs":"#);
    match script.logprobs {
        None => out.extend_from_slice(b"null"),
        Some(alternatives) => {
            let tokens: Vec<(u32, &str)> = (0..choice.tokens())
                .filter_map(|n| match choice.piece(n)? {
                    Piece::Text(token) => Some((n, token)),
                    Piece::Reasoning(_) => None,
                })
                .collect();
            logprobs(out, script.operation, choice, &tokens, alternatives);
        }
    }
    let _ = write!(out, r#","finish_reason":"{}"}}"#, choice.finish);
}

/// Reasoning and answer of a choice as whole texts.
fn texts(choice: &Choice) -> (String, String) {
    let mut both = (String::new(), String::with_capacity(1_024));
    let mut n = 0;
    while let Some(piece) = choice.piece(n) {
        match piece {
            Piece::Reasoning(token) => both.0.push_str(token),
            Piece::Text(token) => both.1.push_str(token),
        }
        n += 1;
    }
    both
}

fn logprobs(out: &mut Vec<u8>, operation: Operation, choice: &Choice, tokens: &[(u32, &str)], alternatives: u8) {
    if operation == Operation::Completion {
        return completion_logprobs(out, choice, tokens);
    }
    out.extend_from_slice(br#"{"content":["#);
    for (place, (n, token)) in tokens.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        token_logprob(out, token, choice.logprob(*n));
        out.extend_from_slice(br#","top_logprobs":["#);
        for rank in 0..alternatives {
            if rank > 0 {
                out.push(b',');
            }
            token_logprob(out, token, choice.logprob(*n) - f64::from(rank));
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(br#"],"refusal":null}"#);
}

/// An entry without its closing brace.
fn token_logprob(out: &mut Vec<u8>, token: &str, logprob: f64) {
    out.extend_from_slice(br#"{"token":"#);
    text(out, token);
    let _ = write!(out, r#","logprob":{logprob},"bytes":{:?}"#, token.as_bytes());
}

fn completion_logprobs(out: &mut Vec<u8>, choice: &Choice, tokens: &[(u32, &str)]) {
    let (mut names, mut values, mut tops, mut offsets, mut offset) = (vec![], vec![], vec![], vec![], 0);
    for (n, token) in tokens {
        let value = choice.logprob(*n);
        names.push(*token);
        values.push(value);
        tops.push(serde_json::json!({ *token: value }));
        offsets.push(offset);
        offset += token.len();
    }
    let all =
        serde_json::json!({"tokens": names, "token_logprobs": values, "top_logprobs": tops, "text_offset": offsets});
    let _ = write!(out, "{all}");
}

fn echo(out: &mut Vec<u8>, script: &Script) {
    if let Some(echo) = &script.echo {
        out.extend_from_slice(br#","sim_echo":"#);
        out.extend_from_slice(echo.as_bytes());
    }
}

/// A JSON string, escaped.
fn text(out: &mut Vec<u8>, value: &str) {
    // Writing a string into a Vec fails for neither of the reasons serde_json knows.
    let _ = serde_json::to_writer(out, value);
}
