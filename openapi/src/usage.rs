//! Reads what an engine claims to have used.
//!
//! A claim is read leniently: whatever is not a plain non-negative integer counts as not claimed. Whether a claim is
//! believed is decided by the gateway's meter.

use std::borrow::Cow;

use serde::de::MapAccess;

use crate::walk::{Kind, Walk, Walker, raw_member, walk};

/// The largest count a claim can carry; larger ones are cut to it. No engine has a context this long.
const TOKENS_MAX: u64 = u32::MAX as u64;

/// Tokens an engine says it used. `None` where it says nothing, or nothing sensible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UsageClaim {
    /// `prompt_tokens`.
    pub prompt: Option<u64>,
    /// `prompt_tokens_details.cached_tokens`: part of `prompt`.
    pub cached_prompt: Option<u64>,
    /// `completion_tokens`.
    pub completion: Option<u64>,
    /// `completion_tokens_details.reasoning_tokens`, or SGLang's `reasoning_tokens`: part of `completion`.
    pub reasoning: Option<u64>,
}

/// Reads a `usage` value; `None` unless it is an object.
pub(crate) fn parse_usage(raw: &str) -> Option<UsageClaim> {
    let mut reader = UsageReader::default();
    match walk(raw, &mut reader) {
        Ok(Kind::Object) => Some(reader.claim()),
        _ => None,
    }
}

#[derive(Default)]
struct UsageReader {
    prompt: Option<u64>,
    completion: Option<u64>,
    reasoning_beside: Option<u64>,
    prompt_details: DetailsReader,
    completion_details: DetailsReader,
}

impl UsageReader {
    fn claim(self) -> UsageClaim {
        UsageClaim {
            prompt: self.prompt,
            cached_prompt: self.prompt_details.cached,
            completion: self.completion,
            reasoning: self.completion_details.reasoning.or(self.reasoning_beside),
        }
    }
}

impl<'de> Walker<'de> for UsageReader {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "prompt_tokens" => self.prompt = count(raw_member(map)?),
            "completion_tokens" => self.completion = count(raw_member(map)?),
            "reasoning_tokens" => self.reasoning_beside = count(raw_member(map)?),
            "prompt_tokens_details" => self.prompt_details = DetailsReader::member(map)?,
            "completion_tokens_details" => self.completion_details = DetailsReader::member(map)?,
            _ => drop(raw_member(map)?),
        }
        Ok(())
    }
}

#[derive(Default)]
struct DetailsReader {
    cached: Option<u64>,
    reasoning: Option<u64>,
}

impl DetailsReader {
    /// Of details that are repeated the last count, as everywhere.
    fn member<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let mut details = Self::default();
        map.next_value_seed(Walk(&mut details))?;
        Ok(details)
    }
}

impl<'de> Walker<'de> for DetailsReader {
    fn member<A: MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let raw = raw_member(map)?;
        match &*key {
            "cached_tokens" => self.cached = count(raw),
            "reasoning_tokens" => self.reasoning = count(raw),
            _ => {}
        }
        Ok(())
    }
}

/// A count of tokens: digits only, cut to [`TOKENS_MAX`].
fn count(raw: &str) -> Option<u64> {
    if raw.is_empty() || !raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits that do not parse are too many of them.
    Some(raw.parse::<u64>().map_or(TOKENS_MAX, |tokens| tokens.min(TOKENS_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        raw: &str,
        prompt: Option<u64>,
        cached_prompt: Option<u64>,
        completion: Option<u64>,
        reasoning: Option<u64>,
    ) {
        assert_eq!(
            parse_usage(raw),
            Some(UsageClaim {
                prompt,
                cached_prompt,
                completion,
                reasoning
            }),
            "{raw}"
        );
    }

    #[test]
    fn claims_of_the_known_engines_are_read() {
        // OpenAI.
        check(
            r#"{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":16,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
            Some(19),
            Some(16),
            Some(10),
            Some(4),
        );
        // vLLM.
        check(
            r#"{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5,"prompt_tokens_details":null}"#,
            Some(7),
            None,
            Some(5),
            None,
        );
        // SGLang.
        check(
            r#"{"prompt_tokens":7,"total_tokens":12,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"reasoning_tokens":2}"#,
            Some(7),
            Some(3),
            Some(5),
            Some(2),
        );
        // llama.cpp and Ollama.
        check(
            r#"{"completion_tokens":5,"prompt_tokens":7,"total_tokens":12}"#,
            Some(7),
            None,
            Some(5),
            None,
        );
        // Embeddings.
        check(r#"{"prompt_tokens":8,"total_tokens":8}"#, Some(8), None, None, None);
        check("{}", None, None, None, None);
        check(
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
            Some(0),
            None,
            Some(0),
            None,
        );
    }

    #[test]
    fn senseless_claims_are_no_claims() {
        for value in [
            "-1", "-0", "1.0", "1e3", "\"7\"", "null", "true", "[]", "[7]", "{}", "1e999",
        ] {
            let raw = format!(
                r#"{{"prompt_tokens":{value},"completion_tokens":{value},"prompt_tokens_details":{{"cached_tokens":{value}}}}}"#
            );
            check(&raw, None, None, None, None);
        }
        for details in ["null", "7", "[]", "\"x\"", "[{\"cached_tokens\":7}]", "true", "-1.5"] {
            let raw = format!(r#"{{"prompt_tokens_details":{details},"completion_tokens_details":{details}}}"#);
            check(&raw, None, None, None, None);
        }
        for large in ["4294967296", "18446744073709551616", "99999999999999999999999999999999"] {
            let most = Some(u64::from(u32::MAX));
            check(
                &format!(r#"{{"prompt_tokens":{large},"completion_tokens":4294967295}}"#),
                most,
                None,
                most,
                None,
            );
        }
        for raw in ["null", "7", "[]", "\"usage\"", "true"] {
            assert_eq!(parse_usage(raw), None, "{raw}");
        }
    }
}
