//! What the engines say when they are asked without a gateway: what every caller must get through one.

use std::collections::HashMap;

use serde_json::Value;

use super::TOKENS;
use super::case::{self, Case, Endpoint};
use super::heard::{self, Heard};
use crate::caller::Client;

/// Tokens of each answer, and the size of its prompt.
pub struct Truth(HashMap<(Endpoint, usize, bool), (Vec<String>, u64)>);

impl Truth {
    /// Asks an engine everything once.
    pub async fn learn(engine: &Client) -> Self {
        let mut truth = HashMap::new();
        for endpoint in [Endpoint::Chat, Endpoint::Completion] {
            for prompt in 0..case::PROMPTS {
                for spaces in [false, true] {
                    let mut ask = Case::new("", 0, true, endpoint, prompt);
                    ask.spaces = spaces;
                    let heard = heard::hear(engine, &ask).await;
                    let usage = heard.usage.as_ref().expect("usage");
                    let prompt_tokens = usage["prompt_tokens"].as_u64().expect("a count");
                    assert_eq!(
                        heard.pieces.len(),
                        TOKENS as usize,
                        "an engine streams one token an event"
                    );
                    truth.insert((endpoint, prompt, spaces), (heard.pieces, prompt_tokens));
                }
            }
        }
        Self(truth)
    }

    /// Whether the caller of this case heard the whole truth and nothing else.
    pub fn check(&self, case: &Case, heard: &Heard) -> Result<(), String> {
        let (pieces, prompt_tokens) = &self.0[&(case.endpoint, case.prompt, case.spaces)];
        let text = pieces[..case.tokens as usize].concat();
        heard.one_stream()?;
        heard.is_whole()?;
        if heard.text() != text {
            let same = text
                .bytes()
                .zip(heard.text().bytes())
                .take_while(|(a, b)| a == b)
                .count();
            let there = heard
                .text()
                .get(same..)
                .map(|rest| rest.chars().take(30).collect::<String>());
            let instead = text.get(same..).map(|rest| rest.chars().take(30).collect::<String>());
            return Err(format!("at byte {same} it says {there:?} instead of {instead:?}"));
        }
        let count = |name: &str| heard.usage.as_ref().and_then(|usage| usage[name].as_u64());
        let (prompt, completion) = (count("prompt_tokens"), count("completion_tokens"));
        // Where the engine's own count was lost, the prompt's is an estimate.
        let prompt = prompt.map(|told| {
            if case.loses_usage() {
                told.max(*prompt_tokens)
            } else {
                told
            }
        });
        if (prompt, completion) != (Some(*prompt_tokens), Some(case.tokens.into())) {
            return Err(format!(
                "usage is {:?} instead of {prompt_tokens} and {}",
                heard.usage, case.tokens
            ));
        }
        let is_cut = |at: u64| {
            let mut ends = pieces.iter().scan(0, |end, piece| {
                *end += piece.len() as u64;
                Some(*end)
            });
            ends.any(|end| end == at)
        };
        match heard.splices.iter().find(|splice| !is_cut(splice.at_byte)) {
            Some(splice) => Err(format!("a splice inside a token: {splice:?}")),
            None => Ok(()),
        }
    }
}

/// A choice's text in a chunk or a whole answer.
pub fn text_of(choice: &Value) -> Option<&str> {
    let delta = choice["delta"]["content"].as_str().or(choice["text"].as_str());
    delta.or(choice["message"]["content"].as_str())
}
