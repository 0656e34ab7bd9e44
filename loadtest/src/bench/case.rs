//! What the benchmark calls: bodies of a known size, and answers of a known size from the simulated engine.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

/// The model, where a target names no other.
pub const MODEL: &str = "bench";

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Its name in the table and the JSON.
    pub name: &'static str,
    /// Length of the request's body.
    body_bytes: usize,
    /// Tokens of the answer.
    tokens: u32,
    /// How the answer comes.
    pub answer: Answer,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Whole.
    Whole,
    /// Streamed as fast as it will go, an event per write.
    Stream,
    /// Streamed at a token per `gap`, on `streams` connections at the same time.
    Paced {
        /// How many streams.
        streams: usize,
        /// Time between two tokens.
        gap: Duration,
    },
}

/// The cases of the table: a small call, a long prompt, a stream of 104 events, and many streams at a model's pace.
pub const CASES: [Case; 4] = [
    Case {
        name: "chat_1k",
        body_bytes: 1 << 10,
        tokens: 128,
        answer: Answer::Whole,
    },
    Case {
        name: "chat_32k",
        body_bytes: 32 << 10,
        tokens: 128,
        answer: Answer::Whole,
    },
    // The role, 101 tokens, the finish reason and `[DONE]` are 104 events of about 200 bytes.
    Case {
        name: "stream_100",
        body_bytes: 1 << 10,
        tokens: 101,
        answer: Answer::Stream,
    },
    Case {
        name: "paced_300",
        body_bytes: 1 << 10,
        tokens: 250,
        answer: Answer::Paced {
            streams: 300,
            gap: Duration::from_millis(20),
        },
    },
];

impl Case {
    /// Whether the answer is streamed.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.answer != Answer::Whole
    }

    /// The request's body for a model.
    #[must_use]
    pub fn body(&self, model: &str) -> Bytes {
        let mut sim = json!({"tokens": self.tokens});
        if let Answer::Paced { gap, .. } = self.answer {
            sim["itl_ms"] = json!(gap.as_secs_f64() * 1_000.0);
        }
        let with = |text: &str| -> Value {
            json!({
                "model": model,
                "messages": [{"role": "system", "content": "You reel silk."}, {"role": "user", "content": text}],
                "max_tokens": self.tokens,
                "temperature": 0.7,
                "stream": self.stream(),
                "sim": sim,
            })
        };
        let frame = with("").to_string().len();
        let text: String = "one strong thread of many thin ones, "
            .chars()
            .cycle()
            .take(self.body_bytes - frame)
            .collect();
        Bytes::from(with(&text).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_length_they_say() {
        for case in CASES {
            assert_eq!(case.body("some-model").len(), case.body_bytes, "{}", case.name);
        }
    }
}
