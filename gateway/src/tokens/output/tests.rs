use filature_openapi::chunk::parse_chunk;

use super::super::samples;
use super::*;

fn stream(choices: u32, chunks: &[&str]) -> OutputText {
    let mut output = OutputText::new(choices);
    for data in chunks {
        output.event(&parse_chunk(data.as_bytes()).expect("a chunk"), data.as_bytes());
    }
    output
}

fn whole(choices: u32, body: &[u8]) -> OutputText {
    OutputText::whole(choices, Bytes::copy_from_slice(body)).opened()
}

#[track_caller]
fn check(output: &OutputText, completion: (u64, u64), reasoning: (u64, u64)) {
    let count = output.count(samples::o200k(), &|| true).expect("counts");
    assert_eq!(
        (count.completion.tokens, count.completion.unseen_max),
        completion,
        "{output:?}"
    );
    assert_eq!(
        (count.reasoning.tokens, count.reasoning.unseen_max),
        reasoning,
        "{output:?}"
    );
}

#[test]
fn tokens_are_counted_across_events() {
    // Each event would be a token or more of its own; together they are "hello world".
    let output = stream(
        1,
        &[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"hel"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"lo\u0020w"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"orld"},"finish_reason":"stop"}]}"#,
        ],
    );
    check(&output, (2, 4), (0, 0));
    assert_eq!(output.bytes(), 11);
}

#[test]
fn choices_are_told_apart() {
    let output = stream(
        2,
        &[
            r#"{"choices":[{"index":0,"delta":{"content":"hel"}},{"index":1,"delta":{"content":"wor"}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"ld"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"lo"}}]}"#,
        ],
    );
    check(&output, (2, 8), (0, 0));
}

#[test]
fn reasoning_counts_once_even_under_two_names() {
    let output = stream(
        1,
        &[
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hello","reasoning":"hello"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":" world","reasoning":" world"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"hello world"}}]}"#,
        ],
    );
    check(&output, (4, 10), (2, 6));
    for name in ["reasoning", "reasoning_content"] {
        let answer = format!(r#"{{"choices":[{{"index":0,"message":{{"{name}":"hello world","content":null}}}}]}}"#);
        check(&whole(1, answer.as_bytes()), (2, 10), (2, 6));
    }
}

#[test]
fn tool_calls_are_their_names_and_arguments() {
    let output = stream(
        1,
        &[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"hello","arguments":""}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":" wor"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ld"}}]}}]}"#,
        ],
    );
    check(&output, (2, 20), (0, 0));
    let old = whole(
        1,
        br#"{"choices":[{"message":{"function_call":{"name":"hello","arguments":" world"}}}]}"#,
    );
    check(&old, (2, 20), (0, 0));
    // Arguments as an object, which some engines send, count as they stand.
    let object = whole(
        1,
        br#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"hello","arguments":{"a":1}}}]}}]}"#,
    );
    assert!(
        object
            .count(samples::o200k(), &|| true)
            .expect("counts")
            .completion
            .tokens
            > 3
    );
}

#[test]
fn completions_are_texts() {
    let body = br#"{"choices":[{"index":0,"text":"hello world"},{"index":1,"text":"hello"}]}"#;
    check(&whole(2, body), (3, 8), (0, 0));
}

#[test]
fn what_is_unclear_or_too_long_is_not_counted() {
    let unclear = whole(1, br#"{"choices":[{"message":{"tool_calls":"call me"}}]}"#);
    let long = format!(r#"{{"choices":[{{"text":"{}"}}]}}"#, "x".repeat(OUTPUT_BYTES_MAX + 1));
    for output in [unclear, whole(1, long.as_bytes())] {
        assert_eq!(output.count(samples::o200k(), &|| true), Err(NotCounted::Unclear));
        assert!(output.texts.is_empty());
    }
    let output = stream(1, &[r#"{"choices":[{"index":0,"delta":{"content":"hello"}}]}"#]);
    assert_eq!(output.count(samples::o200k(), &|| false), Err(NotCounted::Late));
}

#[test]
fn what_the_caller_had_is_taken_back() {
    let event = |output: &mut OutputText, text: &str| {
        let data = serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]}).to_string();
        output.event(&parse_chunk(data.as_bytes()).expect("a chunk"), data.as_bytes());
    };
    let mut output = OutputText::new(1);
    event(&mut output, "\n");
    output.withhold(1);
    event(&mut output, " \nhello");
    output.withhold(2);
    event(&mut output, " world");
    assert_eq!(output.text((0, Part::Content)), Some("hello world"));
    assert_eq!(output.bytes(), 11);
}
