//! What engines send: whole answers, chunks, and the usage they claim in either.

use std::ops::Range;

use bytes::Bytes;
use filature_openapi::answer::parse_answer;
use filature_openapi::call::Endpoint;
use filature_openapi::chunk::{parse_chunk, with_member};
use filature_openapi::edit::Edits;
use filature_openapi::usage::UsageClaim;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Map, Value};

use crate::driver::fuzz;
use crate::json::{is_json, members};

const ENDPOINTS: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings];
/// No claim is larger.
const TOKENS_MAX: u64 = u32::MAX as u64;
const WORDS: [&str; 24] = [
    "\"id\":\"c\",",
    "\"model\":\"m\",",
    "\"choices\":[",
    "\"delta\":{",
    "\"message\":{",
    "\"role\":\"assistant\",",
    "\"content\":\"x\",",
    "\"content\":null,",
    "\"reasoning_content\":\"x\",",
    "\"tool_calls\":[{}],",
    "\"text\":\"x\",",
    "\"finish_reason\":\"stop\",",
    "\"usage\":{",
    "\"usage\":null,",
    "\"prompt_tokens\":",
    "\"completion_tokens\":",
    "\"reasoning_tokens\":",
    "\"prompt_tokens_details\":{\"cached_tokens\":1},",
    "\"prompt_tokens_details\":{},",
    "\"completion_tokens_details\":{\"reasoning_tokens\":1},",
    "\"data\":[",
    "\"embedding\":[]",
    "\"error\":{",
    "\"object\":\"error\",",
];

#[test]
fn an_answer_stays_one_when_its_names_and_usage_are_written_anew() {
    fuzz("answer", &WORDS, |body| {
        ENDPOINTS.iter().try_for_each(|&endpoint| check_answer(endpoint, body))
    });
}

fn check_answer(endpoint: Endpoint, body: &[u8]) -> TestCaseResult {
    let Ok(view) = parse_answer(endpoint, body) else {
        return Ok(());
    };
    prop_assert!(is_json(body), "what is taken is JSON");
    prop_assert!(view.choices > 0 && view.output_bytes as usize <= body.len());
    check_claim(view.usage)?;
    let sent = rewritten(body, [&view.model, &view.id, &view.usage_at])?;
    let again = match parse_answer(endpoint, &sent) {
        Ok(again) => again,
        Err(error) => return Err(TestCaseError::fail(format!("what is sent is no answer: {error}"))),
    };
    prop_assert_eq!((again.choices, again.output_bytes), (view.choices, view.output_bytes));
    prop_assert_eq!(again.finish_reason, view.finish_reason);
    check_rewritten(
        &sent,
        body,
        [again.model, again.id, again.usage_at],
        [view.model, view.id, view.usage_at],
    )
}

#[test]
fn a_chunk_stays_one_when_it_is_edited() {
    fuzz("chunk", &WORDS, check_chunk);
}

fn check_chunk(data: &[u8]) -> TestCaseResult {
    let Ok(view) = parse_chunk(data) else {
        return Ok(());
    };
    prop_assert!(is_json(data), "what is taken is JSON");
    prop_assert!(view.output_bytes as usize <= data.len());
    prop_assert_eq!(view.has_output, view.output_bytes > 0);
    check_claim(view.usage)?;
    let sent = rewritten(data, [&view.model, &view.id, &view.usage_at])?;
    let again = reparse(&sent)?;
    prop_assert_eq!(again.output_bytes, view.output_bytes);
    let (found, before) = (
        [again.model, again.id, again.usage_at],
        [view.model, view.id, view.usage_at],
    );
    check_rewritten(&sent, data, found, before)?;

    if let Some(text) = view.content {
        let written = &data[text.start - 1..=text.end];
        prop_assert!(
            is_json(written) && written.starts_with(b"\""),
            "a text lies within its quotes"
        );
        let without = edited(data, [(text, "")]);
        prop_assert!(
            reparse(&without)?.output_bytes < view.output_bytes,
            "a text that is cut out is gone"
        );
    }
    if let Some(role) = view.role_member {
        reparse(&edited(data, [(role, "")]))?;
    }
    let longer = with_member(&Bytes::copy_from_slice(data), r#""filature":{"retries":1}"#);
    let mut wanted = members(data, &[]);
    if let Some(wanted) = &mut wanted {
        wanted.push(("filature".to_owned(), r#"{"retries":1}"#));
    }
    prop_assert_eq!(members(&longer, &[]), wanted);
    Ok(())
}

/// A claim is what another reader of the same text finds.
#[test]
fn a_claim_is_what_stands_there() {
    let words = [
        "\"reasoning_tokens\":7,",
        "\"cached_tokens\":7,",
        "\"cached_tokens\":7",
        "99999999999999999999",
        "\"7\"",
        "0.0",
        "007",
    ];
    let words: Vec<_> = WORDS.into_iter().chain(words).collect();
    fuzz("usage", &words, |usage| {
        let data = [b"{\"choices\":[],\"usage\":", usage, b"}"].concat();
        let (Ok(view), Some(whole)) = (parse_chunk(&data), members(&data, &[])) else {
            return Ok(());
        };
        check_claim(view.usage)?;
        let usage = last(Some(whole), "usage").unwrap_or_default();
        let within = |object: &str, name: &str| last(members(object.as_bytes(), &[]), name).and_then(counted);
        let details = |kind: &str, name: &str| {
            let details = last(members(usage.as_bytes(), &[]), kind);
            details.and_then(|details| within(details, name))
        };
        let Some(claim) = view.usage else {
            // Nothing is read of what no tree can hold: a name that is half a character, a number beyond all bounds.
            prop_assert!(serde_json::from_str::<Map<String, Value>>(usage).is_err(), "{usage}");
            return Ok(());
        };
        let reasoning = details("completion_tokens_details", "reasoning_tokens");
        let said = UsageClaim {
            prompt: within(usage, "prompt_tokens"),
            cached_prompt: details("prompt_tokens_details", "cached_tokens"),
            completion: within(usage, "completion_tokens"),
            reasoning: reasoning.or_else(|| within(usage, "reasoning_tokens")),
        };
        prop_assert_eq!(claim, said);
        Ok(())
    });
}

/// Of members that are repeated, the last one's value.
fn last<'a>(members: Option<Vec<(String, &'a str)>>, name: &str) -> Option<&'a str> {
    let found = members?.into_iter().rfind(|(key, _)| key == name);
    found.map(|(_, value)| value)
}

/// A number without sign, point or exponent, cut to what an engine can have used.
fn counted(said: &str) -> Option<u64> {
    let is_count = said.bytes().all(|byte| byte.is_ascii_digit());
    is_count.then(|| said.parse().map_or(TOKENS_MAX, |count: u64| count.min(TOKENS_MAX)))
}

fn check_claim(claim: Option<UsageClaim>) -> TestCaseResult {
    let claim = claim.unwrap_or_default();
    let counts = [claim.prompt, claim.cached_prompt, claim.completion, claim.reasoning];
    prop_assert!(counts.into_iter().flatten().all(|count| count <= TOKENS_MAX));
    Ok(())
}

const NAMES: [&str; 3] = ["model", "id", "usage"];
const NEW: [&str; 3] = [
    r#""another""#,
    r#""gen-1""#,
    r#"{"prompt_tokens":7,"completion_tokens":9}"#,
];

/// `body` with what lies at these places written anew.
fn rewritten(body: &[u8], places: [&Option<Range<usize>>; 3]) -> Result<Bytes, TestCaseError> {
    for (place, first) in places.into_iter().zip([b'"', b'"', b'{']) {
        let value = place.clone().map(|at| &body[at]);
        prop_assert!(
            value.is_none_or(|value| value[0] == first && is_json(value)),
            "a place is that of a whole value"
        );
    }
    let edits = places.into_iter().zip(NEW);
    let sent = edited(body, edits.filter_map(|(place, new)| Some((place.clone()?, new))));
    prop_assert!(is_json(&sent), "what is sent is JSON: {:?}", sent);
    Ok(sent)
}

/// What was written anew is read again, and nothing else was touched.
fn check_rewritten(
    sent: &[u8],
    body: &[u8],
    found: [Option<Range<usize>>; 3],
    before: [Option<Range<usize>>; 3],
) -> TestCaseResult {
    for ((found, before), new) in found.into_iter().zip(before).zip(NEW) {
        prop_assert_eq!(found.map(|at| &sent[at]), before.map(|_| new.as_bytes()));
    }
    prop_assert_eq!(members(sent, &NAMES), members(body, &NAMES));
    Ok(())
}

fn edited<'a>(body: &[u8], changes: impl IntoIterator<Item = (Range<usize>, &'a str)>) -> Bytes {
    let mut edits = Edits::new();
    for (at, with) in changes {
        edits.replace(at, Bytes::copy_from_slice(with.as_bytes()));
    }
    edits.apply(&Bytes::copy_from_slice(body)).into_bytes()
}

fn reparse(sent: &[u8]) -> Result<filature_openapi::ChunkView, TestCaseError> {
    let text = || String::from_utf8_lossy(sent).into_owned();
    parse_chunk(sent).map_err(|error| TestCaseError::fail(format!("what is sent is no chunk: {error}; {}", text())))
}
