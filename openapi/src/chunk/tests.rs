use serde_json::{Value, json};

use super::*;
use Endpoint::{ChatCompletions, Completions};

fn claim(prompt: u64, cached: Option<u64>, completion: u64) -> Option<UsageClaim> {
    Some(UsageClaim {
        prompt: Some(prompt),
        cached_prompt: cached,
        completion: Some(completion),
        reasoning: None,
    })
}

/// Usage, whether there is nothing else, bytes of output, finish reason.
type Expected = (Option<UsageClaim>, bool, u32, Option<&'static str>);

#[track_caller]
fn check(data: &str, expected: Expected) {
    let view = parse_chunk(data.as_bytes()).unwrap_or_else(|bad| panic!("{data}: {bad:?}"));
    let found = (
        view.usage,
        view.usage_only,
        view.output_bytes,
        view.finish_reason.as_deref(),
    );
    assert_eq!(found, expected, "{data}");
    assert_eq!(view.has_output, view.output_bytes > 0);
    assert_eq!(view.usage_at.is_some(), view.usage.is_some());
    let parsed: Value = serde_json::from_str(data).unwrap();
    for (key, at) in [("model", view.model), ("id", view.id), ("usage", view.usage_at)] {
        if let Some(at) = at {
            assert_eq!(serde_json::from_str::<Value>(&data[at]).unwrap(), parsed[key], "{data}");
        }
    }
}

#[test]
fn chunks_of_openai_are_read() {
    let head = r#""id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini","service_tier":"default","system_fingerprint":"fp_44709d6fcb""#;
    for (rest, expected) in [
        (
            r#""choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x""#,
            (None, false, 0, None),
        ),
        (
            r#""choices":[{"index":0,"delta":{"content":"Hello"},"logprobs":null,"finish_reason":null}],"usage":null"#,
            (None, false, 5, None),
        ),
        (
            r#""choices":[{"index":1,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null"#,
            (None, false, 0, Some("stop")),
        ),
        (
            r#""choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":8}}"#,
            (claim(9, Some(8), 12), true, 0, None),
        ),
        (
            r#""choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"get_weather","arguments":""}}]},"finish_reason":null}]"#,
            (None, false, 11, None),
        ),
        (
            r#""choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\""}}]},"finish_reason":null}]"#,
            (None, false, 7, None),
        ),
        (
            r#""choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null},{"index":1,"delta":{"content":"bc"},"finish_reason":"length"}]"#,
            (None, false, 3, Some("length")),
        ),
    ] {
        check(&format!("{{{head},{rest}}}"), expected);
    }
    // Azure opens with what its filter found in the prompt.
    check(
        r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#,
        (None, false, 0, None),
    );
}

#[test]
fn chunks_of_vllm_are_read() {
    let head = r#""id":"chatcmpl-7b","object":"chat.completion.chunk","created":1762436000,"model":"Qwen/Qwen3-8B""#;
    for (rest, expected) in [
        (
            r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null"#,
            (None, false, 0, None),
        ),
        // Reasoning under both names counts once.
        (
            r#""choices":[{"index":0,"delta":{"reasoning":"Okay","reasoning_content":"Okay"},"logprobs":null,"finish_reason":null,"token_ids":null}]"#,
            (None, false, 4, None),
        ),
        (
            r#""choices":[{"index":0,"delta":{"content":" two"},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}]"#,
            (None, false, 4, Some("stop")),
        ),
        // With `continuous_usage_stats`.
        (
            r#""choices":[{"index":0,"delta":{"content":"x"},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":12,"total_tokens":15,"completion_tokens":3}"#,
            (claim(12, None, 3), false, 1, None),
        ),
        (
            r#""choices":[],"usage":{"prompt_tokens":12,"total_tokens":20,"completion_tokens":8}"#,
            (claim(12, None, 8), true, 0, None),
        ),
    ] {
        check(&format!("{{{head},{rest}}}"), expected);
    }
    check(
        r#"{"id":"cmpl-1","object":"text_completion","created":1762436000,"model":"m","choices":[{"index":0,"text":"\u6f22 ","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":null}],"usage":null}"#,
        (None, false, 4, None),
    );
}

#[test]
fn chunks_of_sglang_llama_cpp_and_ollama_are_read() {
    check(
        r#"{"id":"e0","object":"chat.completion.chunk","created":1762436000,"model":"default","choices":[{"index":0,"delta":{"role":null,"content":null,"reasoning_content":"So","tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}"#,
        (None, false, 2, None),
    );
    check(
        r#"{"id":"e0","object":"chat.completion.chunk","created":1762436000,"model":"default","choices":[],"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}"#,
        (claim(5, Some(1), 4), true, 0, None),
    );
    check(
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1762436000,"id":"chatcmpl-x","model":"smollm2","system_fingerprint":"b6900-abc","object":"chat.completion.chunk"}"#,
        (None, false, 0, None),
    );
    // Older llama.cpp tells of usage beside the last choice.
    check(
        r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1762436000,"id":"chatcmpl-x","model":"smollm2","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":31,"total_tokens":35},"timings":{"prompt_n":31,"predicted_n":4}}"#,
        (claim(31, None, 4), false, 0, Some("stop")),
    );
    check(
        r#"{"choices":[],"created":1762436000,"id":"chatcmpl-x","model":"smollm2","object":"chat.completion.chunk","usage":{"completion_tokens":4,"prompt_tokens":31,"total_tokens":35},"timings":{"cache_n":0}}"#,
        (claim(31, None, 4), true, 0, None),
    );
    check(
        r#"{"id":"chatcmpl-582","object":"chat.completion.chunk","created":1762436000,"model":"llama3.2","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}"#,
        (None, false, 2, None),
    );
    check(
        r#"{"id":"chatcmpl-582","object":"chat.completion.chunk","created":1762436000,"model":"llama3.2","choices":[],"usage":{"prompt_tokens":26,"completion_tokens":2,"total_tokens":28}}"#,
        (claim(26, None, 2), true, 0, None),
    );
    // Some engines leave the list out of the chunk that tells of usage.
    check(
        r#"{"id":"x","usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
        (claim(1, None, 2), true, 0, None),
    );
}

#[test]
fn of_a_repeated_member_the_last_counts() {
    for (choice, output_bytes) in [
        (r#"{"delta":{"content":"long long"},"delta":{"content":"ab"}}"#, 2),
        (r#"{"delta":{"content":"long long"},"delta":{}}"#, 0),
        (r#"{"delta":{"content":"long long","content":"ab"}}"#, 2),
        (r#"{"text":"long long","text":""}"#, 0),
        // Nobody reads a message in a stream; some engines repeat the whole answer so at its end.
        (r#"{"delta":{"content":""},"message":{"content":"long long"}}"#, 0),
    ] {
        let data = format!(r#"{{"choices":[{choice}]}}"#);
        check(&data, (None, false, output_bytes, None));
    }
}

#[test]
fn errors_in_mid_stream_are_told_apart_from_what_is_no_chunk() {
    for (data, message, code) in [
        (
            r#"{"error":{"message":"EngineCore died","type":"InternalServerError","param":null,"code":500}}"#,
            "EngineCore died",
            Some("500"),
        ),
        (
            r#"{"object":"error","message":"aborted","type":"BadRequestError","param":null,"code":400}"#,
            "aborted",
            Some("400"),
        ),
        (
            r#"{"id":"gen-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":"server_error","message":"Provider disconnected"}}"#,
            "Provider disconnected",
            Some("server_error"),
        ),
    ] {
        let expected = BadAnswer::Error {
            message: message.to_owned(),
            code: code.map(str::to_owned),
        };
        assert_eq!(parse_chunk(data.as_bytes()), Err(expected), "{data}");
    }
    for data in [
        "",
        "[DONE",
        "{\"choices\":[{\"del",
        "<html>",
        "{}x",
        "{\"choices\":[{\"delta\":{\"content\":\"\u{1}\"}}]}",
    ] {
        assert!(
            matches!(parse_chunk(data.as_bytes()), Err(BadAnswer::NotJson(_))),
            "{data}"
        );
    }
    assert!(matches!(parse_chunk(b"\xff"), Err(BadAnswer::NotJson(_))));
    for data in [
        "{}",
        "[]",
        "7",
        "null",
        r#"{"choices":null,"usage":null}"#,
        r#"{"hello":"world"}"#,
    ] {
        assert!(
            matches!(parse_chunk(data.as_bytes()), Err(BadAnswer::NotAnAnswer(_))),
            "{data}"
        );
    }
}

#[test]
fn the_chunks_written_are_chunks() {
    let usage = usage_chunk(ChatCompletions, "gen-1", "a \"model\"", 1_762_436_000, 7, 5);
    check(str::from_utf8(&usage).unwrap(), (claim(7, None, 5), true, 0, None));
    assert_eq!(
        serde_json::from_slice::<Value>(&usage).unwrap(),
        json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 1_762_436_000, "model": "a \"model\"", "choices": [],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}})
    );
    let text = usage_chunk(Completions, "gen-1", "m", 0, u64::MAX, 1);
    assert_eq!(
        serde_json::from_slice::<Value>(&text).unwrap()["object"],
        "text_completion"
    );

    let error = error_chunk(ChatCompletions, "gen-1", "m", 7, "provider_error", "It \"broke\"\n.");
    assert_eq!(
        serde_json::from_slice::<Value>(&error).unwrap(),
        json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{"index": 0, "delta": {"content": ""}, "logprobs": null, "finish_reason": "error"}],
            "error": {"code": "provider_error", "message": "It \"broke\"\n."}})
    );
    let text = error_chunk(Completions, "gen-1", "m", 7, "provider_error", "gone");
    assert_eq!(
        serde_json::from_slice::<Value>(&text).unwrap(),
        json!({"id": "gen-1", "object": "text_completion", "created": 7, "model": "m",
            "choices": [{"index": 0, "text": "", "logprobs": null, "finish_reason": "error"}],
            "error": {"code": "provider_error", "message": "gone"}})
    );
    for chunk in [&error, &text] {
        assert!(
            matches!(parse_chunk(chunk), Err(BadAnswer::Error { code: Some(code), .. }) if code == "provider_error")
        );
        assert!(!chunk.contains(&b'\n'), "one line of data");
    }
}

/// The text as it stands in the data, whether there is nothing else, and the delta without its role.
#[track_caller]
fn check_content(choices: &str, content: Option<&str>, only_content: bool, roleless: Option<&str>) {
    let data = format!(r#"{{"id":"x","choices":{choices},"usage":null}}"#);
    let view = parse_chunk(data.as_bytes()).unwrap_or_else(|bad| panic!("{data}: {bad:?}"));
    assert_eq!(
        (view.content.map(|at| &data[at]), view.only_content),
        (content, only_content),
        "{data}"
    );
    let cut = view.role_member.map(|at| {
        let mut left = data.clone();
        left.replace_range(at, "");
        serde_json::from_str::<Value>(&left).unwrap_or_else(|error| panic!("{left}: {error}"));
        left
    });
    let expected = roleless.map(|choices| format!(r#"{{"id":"x","choices":{choices},"usage":null}}"#));
    assert_eq!(cut, expected, "{data}");
}

#[test]
fn the_text_of_a_chunk_is_found_where_it_lies() {
    check_content(
        r#"[{"index":0,"delta":{"content":"Hi \"you\"\u00e9"}}]"#,
        Some(r#"Hi \"you\"\u00e9"#),
        true,
        None,
    );
    check_content(
        r#"[{"text":" token","index":0,"logprobs":null}]"#,
        Some(" token"),
        true,
        None,
    );
    check_content(
        r#"[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{}}]"#,
        Some("a"),
        true,
        None,
    );
    for nothing in [
        "[]",
        r#"[{"delta":{}}]"#,
        r#"[{"delta":{"content":""}}]"#,
        r#"[{"delta":{"content":null,"refusal":null,"tool_calls":[],"function_call":null,"reasoning":""}}]"#,
        r#"[{"delta":{"content":7}}]"#,
        r#"[{"text":""}]"#,
        r#"[{"text":null,"finish_reason":"stop"}]"#,
    ] {
        // A number is nothing a caller reads, and still more than a text.
        check_content(nothing, None, !nothing.contains('7'), None);
    }
    // Of a repeated member the last counts.
    check_content(r#"[{"delta":{"content":"a","content":"b"}}]"#, Some("b"), true, None);
    check_content(r#"[{"delta":{"content":"a"},"delta":{}}]"#, None, true, None);
}

#[test]
fn output_beside_the_text_is_noticed() {
    for more in [
        r#""reasoning_content":"So""#,
        r#""reasoning":"So""#,
        r#""reasoning_details":[{}]"#,
        r#""refusal":"No""#,
        r#""tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]"#,
        // Nothing is written here, and still a call has begun.
        r#""tool_calls":[{"index":0}]"#,
        r#""function_call":{"name":"f"}"#,
        r#""audio":{"id":"a"}"#,
        r#""images":["x"]"#,
    ] {
        check_content(&format!(r#"[{{"delta":{{{more}}}}}]"#), None, false, None);
        check_content(
            &format!(r#"[{{"delta":{{"content":"a",{more}}}}}]"#),
            Some("a"),
            false,
            None,
        );
    }
    check_content(
        r#"[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]"#,
        Some("a"),
        false,
        None,
    );
    check_content(r#"[{"delta":{}},{"delta":{"content":"b"}}]"#, None, false, None);
    check_content(r#"[{"text":"a"},{"text":"b"}]"#, Some("a"), false, None);
    check_content(r#"[{"text":"a","delta":{"content":"b"}}]"#, Some("a"), false, None);
    check_content(
        r#"[{"delta":{"content":[{"type":"text","text":"a"}]}}]"#,
        None,
        false,
        None,
    );
}

#[test]
fn a_role_can_be_cut_out_wherever_it_stands() {
    for (choices, content, roleless) in [
        (r#"[{"delta":{"role":"assistant"}}]"#, None, r#"[{"delta":{}}]"#),
        (
            r#"[{"delta":{"role":"assistant","content":""}}]"#,
            None,
            r#"[{"delta":{"content":""}}]"#,
        ),
        (
            r#"[{"delta":{"content":"a","role":"assistant"}}]"#,
            Some("a"),
            r#"[{"delta":{"content":"a"}}]"#,
        ),
        (
            r#"[{"delta":{"content":"a" , "role" : null , "refusal":null}}]"#,
            Some("a"),
            r#"[{"delta":{"content":"a"  , "refusal":null}}]"#,
        ),
        (
            r#"[{"delta":{"r\u006fle":"assistant","content":"a"}}]"#,
            Some("a"),
            r#"[{"delta":{"content":"a"}}]"#,
        ),
        (
            r#"[{"delta":{ "role":"assistant" , "content":"a"}}]"#,
            Some("a"),
            r#"[{"delta":{  "content":"a"}}]"#,
        ),
    ] {
        check_content(choices, content, true, Some(roleless));
    }
}

#[test]
fn a_finish_chunk_says_only_why_the_answer_ended() {
    let chat = finish_chunk(ChatCompletions, "gen-1", "m", 7, "stop");
    assert_eq!(
        serde_json::from_slice::<Value>(&chat).unwrap(),
        json!({"id": "gen-1", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}]})
    );
    let text = finish_chunk(Completions, "gen-1", "m", 7, "length");
    assert_eq!(
        serde_json::from_slice::<Value>(&text).unwrap(),
        json!({"id": "gen-1", "object": "text_completion", "created": 7, "model": "m",
            "choices": [{"index": 0, "text": "", "logprobs": null, "finish_reason": "length"}]})
    );
    check(str::from_utf8(&chat).unwrap(), (None, false, 0, Some("stop")));
    check(str::from_utf8(&text).unwrap(), (None, false, 0, Some("length")));
}

#[test]
fn a_member_is_added_at_the_end() {
    for (data, longer) in [
        ("{}", r#"{"x":[1]}"#),
        ("{ }", r#"{"x":[1]}"#),
        (r#"{"a":1}"#, r#"{"a":1,"x":[1]}"#),
        ("{\"a\":{}}\n", r#"{"a":{},"x":[1]}"#),
        (r#"{"a":"}" }"#, r#"{"a":"}","x":[1]}"#),
        ("[DONE]", "[DONE]"),
        ("", ""),
    ] {
        assert_eq!(with_member(&Bytes::from(data), r#""x":[1]"#), longer, "{data}");
    }
}
