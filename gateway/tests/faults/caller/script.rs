//! What the engines will say. A simulated engine's n-th token is a pure function of the prompt and n, so one look at an
//! engine tells every answer beforehand, whoever serves it.

use serde_json::{Value, json};

use super::Client;
use crate::stack::MODEL;

/// Different prompts in use.
pub const PROMPTS: usize = 5;
/// The longest answer asked for, in tokens.
pub const TOKENS_MAX: u32 = 48;

/// The tokens of the answer to each prompt.
pub struct Scripts(Vec<Vec<String>>);

/// The text of a prompt. They differ in length, so that prompts differ in cost.
pub fn prompt(number: usize) -> String {
    format!(
        "Prompt {number}: how many cocoons make a thread? {}",
        "And why? ".repeat(number * 3)
    )
}

impl Scripts {
    /// Asks an engine itself, without a gateway between.
    pub async fn learn(engine: &Client) -> Self {
        let mut scripts = Vec::new();
        for number in 0..PROMPTS {
            let messages = json!([{ "role": "user", "content": prompt(number) }]);
            let mut pieces = Vec::new();
            let body = json!({ "model": MODEL, "stream": true, "messages": messages, "sim": { "tokens": TOKENS_MAX } });
            let answer = engine
                .post("/v1/chat/completions", body.to_string())
                .await
                .expect("the engine answers");
            let body = http_body_util::BodyExt::collect(answer.into_body())
                .await
                .expect("a whole answer")
                .to_bytes();
            for line in String::from_utf8_lossy(&body).lines() {
                let Some(Ok(chunk)) = line.strip_prefix("data: ").map(serde_json::from_str::<Value>) else {
                    continue;
                };
                let piece = chunk["choices"][0]["delta"]["content"]
                    .as_str()
                    .filter(|piece| !piece.is_empty());
                pieces.extend(piece.map(str::to_owned));
            }
            assert_eq!(
                pieces.len(),
                TOKENS_MAX as usize,
                "an engine streams one token an event"
            );
            scripts.push(pieces);
        }
        Self(scripts)
    }

    /// The first `tokens` tokens of the answer to a prompt, as one text.
    pub fn text(&self, prompt: usize, tokens: u32) -> String {
        self.0[prompt][..tokens as usize].concat()
    }
}
