//! Claims that no honest engine makes, and some that clumsy ones do.

use super::*;

/// A stream of ten tokens whose last chunk has this `usage`.
#[track_caller]
fn check(usage: &str, expected: Bill) {
    let last = format!(r#"{{"choices":[],"usage":{usage}}}"#);
    chat().stream(&dog_then(&[&last])).check(expected);
    let body = format!(
        r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{DOG}"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
    );
    chat().answer(&body).check(expected);
}

#[test]
fn claims_beyond_all_bounds_are_cut_to_what_passed() {
    for tokens in ["1000000000000000000", "18446744073709551616", "4294967295", "52"] {
        check(
            &format!(r#"{{"prompt_tokens":{tokens},"completion_tokens":{tokens},"total_tokens":{tokens}}}"#),
            [CHAT_MOST, 0, DOG_MOST, 0],
        );
    }
    check(
        r#"{"prompt_tokens":1000000000000000000,"completion_tokens":1000000000000000000,"prompt_tokens_details":{"cached_tokens":1000000000000000000},"completion_tokens_details":{"reasoning_tokens":1000000000000000000}}"#,
        [CHAT_MOST, CHAT_MOST, DOG_MOST, DOG_MOST],
    );
}

#[test]
fn negative_claims_and_claims_that_are_no_numbers_are_missing_claims() {
    for tokens in [
        "-1",
        "-1000000000000000000",
        "\"32\"",
        "32.5",
        "3e1",
        "null",
        "true",
        "[32]",
        "{}",
    ] {
        let details = format!(r#""prompt_tokens_details":{{"cached_tokens":{tokens}}},"reasoning_tokens":{tokens}"#);
        check(
            &format!(r#"{{"prompt_tokens":{tokens},"completion_tokens":{tokens},{details}}}"#),
            [CHAT_TOKENS, 0, 10, 0],
        );
    }
    for usage in ["null", "[]", "\"none\"", "7", "{}", r#"{"total_tokens":42}"#] {
        let last = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}],"usage":{usage}}}"#);
        chat().stream(&dog_then(&[&last])).check([CHAT_TOKENS, 0, 10, 0]);
    }
}

#[test]
fn half_a_claim_is_half_missing() {
    check(r#"{"prompt_tokens":32}"#, [32, 0, 10, 0]);
    check(r#"{"completion_tokens":11}"#, [CHAT_TOKENS, 0, 11, 0]);
    check(r#"{"prompt_tokens":32,"completion_tokens":-5}"#, [32, 0, 10, 0]);
}

#[test]
fn parts_are_never_larger_than_their_whole() {
    check(
        r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":64}}"#,
        [10, 10, 5, 5],
    );
}

#[test]
fn an_explicit_zero_is_a_gift() {
    check(r#"{"prompt_tokens":0,"completion_tokens":0}"#, [0, 0, 0, 0]);
}

#[test]
fn of_two_claims_the_later_one_holds_and_a_senseless_one_is_none() {
    let usage = |prompt: &str, completion: &str| {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#)
    };
    let both = |first: &str, second: &str| chat().stream(&dog_then(&[first, second]));
    both(&usage("32", "11"), &usage("32", "11")).check([32, 0, 11, 0]);
    both(&usage("999999", "999999"), &usage("32", "11")).check([32, 0, 11, 0]);
    both(&usage("32", "11"), &usage("-1", "\"9\"")).check([32, 0, 11, 0]);
    both(&usage("32", "11"), &usage("999999", "999999")).check([CHAT_MOST, 0, DOG_MOST, 0]);
}

#[test]
fn hidden_reasoning_is_not_paid_for() {
    // OpenAI's own models think without showing it; here that is the provider's to put into its price.
    check(
        r#"{"prompt_tokens":32,"completion_tokens":4096,"completion_tokens_details":{"reasoning_tokens":4080}}"#,
        [32, 0, DOG_MOST, DOG_MOST],
    );
}

#[test]
fn many_small_events_make_no_more_tokens() {
    // One letter an event: by events and bytes this would pass for 44 tokens.
    let chunk = |letter: char| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{letter}"}}}}]}}"#);
    let mut chunks: Vec<String> = DOG.chars().map(chunk).collect();
    chunks.push(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":44}}"#.to_owned());
    let stream = events(&chunks.iter().map(String::as_str).collect::<Vec<_>>());
    chat().stream(&stream).check([3, 0, DOG_MOST, 0]);
    let silent = events(&chunks[..44].iter().map(String::as_str).collect::<Vec<_>>());
    chat().stream(&silent).check([3, 0, 10, 0]);
}
