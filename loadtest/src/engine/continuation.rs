//! Takes apart a request that goes on where another engine broke off: what was asked at first, and the text so far.
//!
//! A chat goes on in vLLM's and SGLang's way: its last message is the assistant's, `continue_final_message` is true and
//! `add_generation_prompt` false. Without them a message of the assistant's at the end is a message like any other.
//!
//! A completion's prompt is one text, in which nothing shows where the question ended and the answer began. A real model
//! needs not know: it goes on from all of it. Here the answer is drawn from the question alone, so the question has to be
//! found again: it ends with [`SEPARATOR`], once the usual end of prompts for completion models, which no answer contains.
//! A prompt without one is all question.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::refusal::Refusal;
use super::words::Words;

/// What ends the question of a completion whose answer may be continued, as JSON writes it: `\n\n###\n\n`.
pub const SEPARATOR: &str = r"\n\n###\n\n";

/// A prompt, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The JSON of the prompt as it was when nothing had been answered, byte for byte.
    pub(super) prompt: Cow<'a, str>,
    /// What of the answer is there already.
    pub(super) so_far: String,
}

impl<'a> Asked<'a> {
    /// A prompt that nothing was answered to.
    pub(super) const fn afresh(prompt: Cow<'a, str>) -> Self {
        Self {
            prompt,
            so_far: String::new(),
        }
    }

    /// The messages of a chat that is to be continued. `trim` strips white space from the text so far, as chat templates
    /// of Llama 3's kind do.
    pub(super) fn chat(messages: &'a str, trim: bool) -> Result<Self, Refusal> {
        let wrong = |what: &str| Refusal::bad_request(format!("`continue_final_message`: {what}"));
        let each: Vec<&RawValue> =
            serde_json::from_str(messages).map_err(|error| wrong(&format!("`messages` is not an array: {error}")))?;
        let last = each.last().ok_or_else(|| wrong("there is no message"))?.get();
        let message: Message =
            serde_json::from_str(last).map_err(|error| wrong(&format!("the last message is none: {error}")))?;
        if message.role != "assistant" {
            return Err(wrong("the last message is not the assistant's"));
        }
        let text = text_of(&message.content).ok_or_else(|| wrong("the last message is not text"))?;
        // From the comma before the last message to its end.
        let (before, from_last) = messages.split_at(messages.rfind(last).unwrap_or(messages.len()));
        let before = before
            .trim_end()
            .strip_suffix(',')
            .ok_or_else(|| wrong("there is no message but the assistant's"))?;
        let after = from_last.get(last.len()..).unwrap_or("]");
        Ok(Self {
            prompt: Cow::Owned([before, after].concat()),
            so_far: if trim { text.trim().to_owned() } else { text },
        })
    }

    /// The prompt of a completion, which may have its answer's beginning behind the separator.
    pub(super) fn completion(prompt: Cow<'a, str>) -> Result<Self, Refusal> {
        let Some(at) = prompt.find(SEPARATOR).filter(|_| prompt.starts_with('"')) else {
            return Ok(Self::afresh(prompt));
        };
        let (question, rest) = prompt.split_at(at + SEPARATOR.len());
        let so_far = serde_json::from_str(&format!("\"{rest}"))
            .map_err(|error| Refusal::bad_request(format!("the prompt behind the separator is no text: {error}")))?;
        Ok(Self {
            prompt: Cow::Owned(format!("{question}\"")),
            so_far,
        })
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    content: Value,
}

/// The text of a message's content: a string, or parts of text.
fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(|part| part["text"].as_str()).collect(),
        _ => None,
    }
}

/// Where in a whole answer one begins that goes on: `bytes` into token `token`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) token: u32,
    pub(super) bytes: usize,
}

impl Start {
    /// Behind `so_far`, which must be the beginning of the answer of `count` words: lost, doubled and reordered text is
    /// refused here.
    pub(super) fn behind(so_far: &str, words: Words, count: u32) -> Result<Self, Refusal> {
        let mut left = so_far;
        for token in 0..count {
            let word = words.token(u64::from(token));
            match left.strip_prefix(word) {
                Some(rest) => left = rest,
                None if word.starts_with(left) => {
                    let bytes = left.len();
                    return Ok(Self { token, bytes });
                }
                None => return Err(parted(so_far, left, word)),
            }
        }
        if !left.is_empty() {
            return Err(parted(so_far, left, "its end"));
        }
        Ok(Self { token: count, bytes: 0 })
    }

    /// Tokens before it, one that is cut in its middle included.
    pub(super) fn tokens(self) -> u64 {
        u64::from(self.token) + u64::from(self.bytes > 0)
    }

    /// Word number `place` from here on; the first may lack its beginning.
    pub(super) fn word(self, words: Words, place: u32) -> &'static str {
        let word = words.token(u64::from(self.token) + u64::from(place));
        if place == 0 {
            word.get(self.bytes..).unwrap_or(word)
        } else {
            word
        }
    }
}

fn parted(so_far: &str, left: &str, word: &str) -> Refusal {
    let at = so_far.len() - left.len();
    let there: String = left.chars().take(24).collect();
    Refusal::not_the_beginning(format!(
        "the text so far is not the beginning of this answer: at byte {at} it has {there:?}, the answer has {word:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::words::PromptHash;

    #[test]
    fn a_chat_without_its_last_message_is_what_was_asked_byte_for_byte() {
        let asked = r#"[ {"role":"user","content":"h\u00fc"} ]"#;
        for added in [
            r#",{"role":"assistant","content":"a \"b\" "}"#,
            r#" , {"role":"assistant","content":[{"type":"text","text":"a \"b\" "}]}"#,
        ] {
            let at = asked.len() - 1;
            let going_on = [&asked[..at], added, &asked[at..]].concat();
            let taken = Asked::chat(&going_on, false).unwrap();
            assert_eq!((taken.so_far.as_str()), "a \"b\" ");
            assert_eq!(taken.prompt.replace(' ', ""), asked.replace(' ', ""));
            assert_eq!(Asked::chat(&going_on, true).unwrap().so_far, "a \"b\"");
        }
        let exact = r#"[ {"role":"user","content":"h\u00fc"} ,{"role":"assistant","content":"a"}]"#;
        assert_eq!(Asked::chat(exact, false).unwrap().prompt, asked);
    }

    #[test]
    fn only_a_message_of_the_assistant_is_continued() {
        for messages in [
            r#"[{"role":"user","content":"hi"}]"#,
            r#"[{"role":"assistant","content":"hi"}]"#,
            r#"[{"role":"user","content":"hi"},{"role":"assistant","content":null}]"#,
            "[]",
        ] {
            assert!(Asked::chat(messages, false).is_err(), "{messages}");
        }
    }

    #[test]
    fn a_completion_ends_at_its_separator() {
        let asked = |prompt: &'static str| Asked::completion(Cow::Borrowed(prompt)).unwrap();
        let going_on = asked(r#""why?\n\n###\n\nto \"be\"\n""#);
        assert_eq!(
            (going_on.prompt.as_ref(), going_on.so_far.as_str()),
            (r#""why?\n\n###\n\n""#, "to \"be\"\n")
        );
        assert_eq!(asked(r#""why?\n\n###\n\n""#).so_far, "");
        assert_eq!(asked("\"why? silk\"").prompt, "\"why? silk\"");
        assert_eq!(asked("[1,2]").prompt, "[1,2]");
    }

    #[test]
    fn an_answer_goes_on_from_every_byte_of_itself_and_from_nothing_else() {
        let words = Words::new(PromptHash::of(b"x"), true);
        let text: String = (0..12).map(|n| words.token(n)).collect();
        let mut places = 0;
        for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let start = Start::behind(&text[..at], words, 12).unwrap();
            let rest: String = (0..12 - start.token).map(|place| start.word(words, place)).collect();
            assert_eq!(rest, &text[at..]);
            places += 1;
        }
        assert!(places > 40);
        for wrong in [&text[1..9], &[&text[..8], &text[4..8]].concat(), &[&text, " "].concat()] {
            assert!(Start::behind(wrong, words, 12).is_err(), "{wrong:?}");
        }
    }
}
