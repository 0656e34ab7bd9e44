use Endpoint::{ChatCompletions, Completions, Embeddings};
use proptest::prelude::*;

use super::*;

fn claim(prompt: u64, cached: Option<u64>, completion: Option<u64>, reasoning: Option<u64>) -> Option<UsageClaim> {
    Some(UsageClaim {
        prompt: Some(prompt),
        cached_prompt: cached,
        completion,
        reasoning,
    })
}

struct Expected {
    usage: Option<UsageClaim>,
    model: &'static str,
    output_bytes: u32,
    choices: u32,
    finish_reason: Option<&'static str>,
}

#[track_caller]
fn check(endpoint: Endpoint, body: &str, expected: Expected) {
    let view = parse_answer(endpoint, body.as_bytes()).unwrap_or_else(|bad| panic!("{body}: {bad:?}"));
    assert_eq!(view.usage, expected.usage, "{body}");
    assert_eq!(view.model.map(|at| &body[at]), Some(expected.model), "{body}");
    assert_eq!(
        (view.output_bytes, view.choices),
        (expected.output_bytes, expected.choices),
        "{body}"
    );
    assert_eq!(view.finish_reason.as_deref(), expected.finish_reason, "{body}");
    if let Some(at) = view.usage_at {
        assert!(
            body[..at.start].trim_end().ends_with(r#""usage":"#) && body[at].starts_with('{'),
            "{body}"
        );
    }
}

#[test]
fn answers_of_openai_are_read() {
    check(
        ChatCompletions,
        r#"{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-4.1-2025-04-14",
  "choices": [
    {
      "index": 0,
      "message": {"role": "assistant", "content": "Hello! How can I assist you today?", "refusal": null, "annotations": []},
      "logprobs": null,
      "finish_reason": "stop"
    }
  ],
  "usage": {
    "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
  },
  "service_tier": "default"
}"#,
        Expected {
            usage: claim(19, Some(0), Some(10), Some(0)),
            model: r#""gpt-4.1-2025-04-14""#,
            output_bytes: 34,
            choices: 1,
            finish_reason: Some("stop"),
        },
    );
    // A tool call: the name (19 bytes) and the arguments (29 bytes once unescaped) are output.
    check(
        ChatCompletions,
        r#"{"id":"chatcmpl-abc123","object":"chat.completion","created":1699896916,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_abc123","type":"function","function":{"name":"get_current_weather","arguments":"{\n\"location\": \"Boston, MA\"\n}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":82,"completion_tokens":17,"total_tokens":99,"completion_tokens_details":{"reasoning_tokens":0}}}"#,
        Expected {
            usage: claim(82, None, Some(17), Some(0)),
            model: r#""gpt-4o-mini""#,
            output_bytes: 19 + 28,
            choices: 1,
            finish_reason: Some("tool_calls"),
        },
    );
    check(
        Completions,
        r#"{"id":"cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7","object":"text_completion","created":1589478378,"model":"gpt-3.5-turbo-instruct","choices":[{"text":"\n\nThis is indeed a test","index":0,"logprobs":null,"finish_reason":"length"},{"text":"\u00e9\ud83d\ude80","index":1,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#,
        Expected {
            usage: claim(5, None, Some(7), None),
            model: r#""gpt-3.5-turbo-instruct""#,
            output_bytes: 23 + 6,
            choices: 2,
            finish_reason: Some("length"),
        },
    );
    check(
        Embeddings,
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023064255,-9.327292e-05,1e-400]},{"object":"embedding","index":1,"embedding":"AACAPw=="}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
        Expected {
            usage: claim(8, None, None, None),
            model: r#""text-embedding-3-small""#,
            output_bytes: 2,
            choices: 2,
            finish_reason: None,
        },
    );
}

#[test]
fn answers_of_other_engines_are_read() {
    // vLLM sends the reasoning under its old and its new name: it counts once.
    check(
        ChatCompletions,
        r#"{"id":"chatcmpl-9f0a","object":"chat.completion","created":1762436000,"model":"Qwen/Qwen3-8B","choices":[{"index":0,"message":{"role":"assistant","content":"Yes.","refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":[],"reasoning":"Let me see.","reasoning_content":"Let me see."},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}],"service_tier":null,"system_fingerprint":null,"usage":{"prompt_tokens":14,"total_tokens":24,"completion_tokens":10,"prompt_tokens_details":null},"prompt_logprobs":null,"prompt_token_ids":null,"kv_transfer_params":null}"#,
        Expected {
            usage: claim(14, None, Some(10), None),
            model: r#""Qwen/Qwen3-8B""#,
            output_bytes: 4 + 11,
            choices: 1,
            finish_reason: Some("stop"),
        },
    );
    check(
        ChatCompletions,
        r#"{"id":"d1c5","object":"chat.completion","created":1762436000,"model":"default","choices":[{"index":0,"message":{"role":"assistant","content":"Yes.","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop","matched_stop":151645}],"usage":{"prompt_tokens":14,"total_tokens":17,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":12},"reasoning_tokens":0},"metadata":{"weight_version":"default"}}"#,
        Expected {
            usage: claim(14, Some(12), Some(3), Some(0)),
            model: r#""default""#,
            output_bytes: 4,
            choices: 1,
            finish_reason: Some("stop"),
        },
    );
    check(
        ChatCompletions,
        r#"{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"I'm happy"}}],"created":1762436000,"model":"smollm2","system_fingerprint":"b6900-abc","object":"chat.completion","usage":{"completion_tokens":4,"prompt_tokens":31,"total_tokens":35},"id":"chatcmpl-XyZ","timings":{"cache_n":30,"prompt_n":1,"prompt_ms":10.1,"predicted_n":4,"predicted_ms":40.2}}"#,
        Expected {
            usage: claim(31, None, Some(4), None),
            model: r#""smollm2""#,
            output_bytes: 9,
            choices: 1,
            finish_reason: Some("length"),
        },
    );
    check(
        ChatCompletions,
        r#"{"id":"chatcmpl-582","object":"chat.completion","created":1762436000,"model":"llama3.2","system_fingerprint":"fp_ollama","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":26,"completion_tokens":2,"total_tokens":28}}
"#,
        Expected {
            usage: claim(26, None, Some(2), None),
            model: r#""llama3.2""#,
            output_bytes: 2,
            choices: 1,
            finish_reason: Some("stop"),
        },
    );
}

#[test]
fn odd_fields_are_as_good_as_absent() {
    for (body, output_bytes) in [
        (r#"{"choices":[{}],"model":7,"usage":[],"id":null}"#, 0),
        (r#"{"choices":[null,"x",7]}"#, 0),
        (r#"{"choices":[{"message":"text","finish_reason":7}]}"#, 0),
        (
            r#"{"choices":[{"message":{"content":["a"],"tool_calls":{"function":{"name":"f"}}}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"message":{"tool_calls":[null,{"function":null},{"function":{"arguments":{"a":1}}}]}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"message":{"content":"ab","function_call":{"name":"f","arguments":"{}"}}}],"error":null}"#,
            5,
        ),
        (
            r#"{"choices":[{"message":{"content":"ab","refusal":"no"}}],"error":false,"message":"m","code":7}"#,
            4,
        ),
    ] {
        let view = parse_answer(ChatCompletions, body.as_bytes()).unwrap_or_else(|bad| panic!("{body}: {bad:?}"));
        assert_eq!(
            (view.output_bytes, view.usage, view.model, view.finish_reason),
            (output_bytes, None, None, None),
            "{body}"
        );
    }
}

#[test]
fn of_a_repeated_member_the_last_counts() {
    const LONG: &str = r#""content":"long long long""#;
    for (choice, output_bytes) in [
        (format!(r#"{{"message":{{{LONG}}},"message":{{"content":"ab"}}}}"#), 2),
        (format!(r#"{{"message":{{{LONG}}},"message":{{}}}}"#), 0),
        (format!(r#"{{"message":{{{LONG}}},"message":null}}"#), 0),
        (format!(r#"{{"message":{{{LONG},"content":"ab"}}}}"#), 2),
        (format!(r#"{{"message":{{{LONG},"cont\u0065nt":null}}}}"#), 0),
        (r#"{"text":"long long long","text":"ab"}"#.to_owned(), 2),
        (r#"{"message":{"reasoning":"long","reasoning":"ab"}}"#.to_owned(), 2),
        (r#"{"message":{"function_call":{"name":"long"},"function_call":{"name":"ab"}}}"#.to_owned(), 2),
        (r#"{"message":{"tool_calls":[{"function":{"name":"long"}}],"tool_calls":[]}}"#.to_owned(), 0),
        (
            r#"{"message":{"tool_calls":[{"function":{"name":"long"},"function":{"arguments":"long","arguments":"{}"}}]}}"#
                .to_owned(),
            2,
        ),
        // Nobody reads a piece in a whole answer.
        (format!(r#"{{"message":{{"content":"ab"}},"delta":{{{LONG}}}}}"#), 2),
    ] {
        let body = format!(r#"{{"choices":[{choice}]}}"#);
        let view = parse_answer(ChatCompletions, body.as_bytes()).unwrap();
        assert_eq!(view.output_bytes, output_bytes, "{body}");
    }
    let twice = br#"{"choices":[{"message":{"content":"long"}}],"choices":[{"message":{"content":"ab"}}]}"#;
    assert_eq!(parse_answer(ChatCompletions, twice).unwrap().output_bytes, 2);
}

#[test]
fn an_error_with_status_200_is_an_error() {
    for (body, message, code) in [
        (
            r#"{"error":{"message":"out of memory","type":"server_error","param":null,"code":null}}"#,
            "out of memory",
            None,
        ),
        (
            r#"{"error":{"message":"bad","type":"BadRequestError","param":null,"code":400}}"#,
            "bad",
            Some("400"),
        ),
        (
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            "Loading model",
            Some("503"),
        ),
        (
            r#"{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}"#,
            "too long",
            Some("400"),
        ),
        (
            r#"{"error":{"object":"error","message":"SGLang says no","type":"x","code":"bad_thing"}}"#,
            "SGLang says no",
            Some("bad_thing"),
        ),
        (r#"{"error":"model 'x' not found"}"#, "model 'x' not found", None),
        (r#"{"error":{}}"#, "", None),
        (r#"{"error":7}"#, "7", None),
        (
            r#"{"choices":[{"message":{"content":"hi"}}],"error":{"message":"after all"}}"#,
            "after all",
            None,
        ),
    ] {
        for endpoint in [ChatCompletions, Completions, Embeddings] {
            let expected = BadAnswer::Error {
                message: message.to_owned(),
                code: code.map(str::to_owned),
            };
            assert_eq!(parse_answer(endpoint, body.as_bytes()), Err(expected), "{body}");
        }
    }
}

#[test]
fn what_is_no_answer_is_told_apart() {
    for body in [
        &b""[..],
        b"  ",
        b"<html><head><title>502</title></head></html>",
        b"{\"choices\":[{\"message\":{\"cont",
        b"nonsense",
        b"{}{}",
        b"\xff\xfe",
        b"{\"choices\":[],}",
        b"data: {}\n\n",
    ] {
        let bad = parse_answer(ChatCompletions, body).unwrap_err();
        assert!(
            matches!(bad, BadAnswer::NotJson(_)),
            "{}: {bad:?}",
            String::from_utf8_lossy(body)
        );
    }
    for (endpoint, body, words) in [
        (ChatCompletions, "{}", "no list 'choices'"),
        (ChatCompletions, r#"{"choices":null}"#, "no list 'choices'"),
        (ChatCompletions, r#"{"choices":{}}"#, "no list 'choices'"),
        (ChatCompletions, r#"{"choices":[]}"#, "list 'choices' is empty"),
        (ChatCompletions, "[]", "an array"),
        (Completions, "null", "null"),
        (Completions, r#""text""#, "a string"),
        (Embeddings, r#"{"choices":[{}]}"#, "no list 'data'"),
        (Embeddings, r#"{"data":[]}"#, "list 'data' is empty"),
        (Embeddings, r#"{"data":"x"}"#, "no list 'data'"),
        (Embeddings, r#"{"data":[0]}"#, "has no 'embedding'"),
        (Embeddings, r#"{"data":[{}]}"#, "has no 'embedding'"),
        (Embeddings, r#"{"data":[[0.1]]}"#, "has no 'embedding'"),
        (Embeddings, r#"{"data":["embedding"]}"#, "has no 'embedding'"),
        (Embeddings, r#"{"data":[{"embedding":null}]}"#, "has no 'embedding'"),
        (
            Embeddings,
            r#"{"data":[{"embedding":[1],"embedding":0}]}"#,
            "has no 'embedding'",
        ),
        (
            Embeddings,
            r#"{"data":[{"embedding":[1]},{"index":1}]}"#,
            "has no 'embedding'",
        ),
        (
            Embeddings,
            r#"{"data":[{"index":0},{"embedding":[1]}]}"#,
            "has no 'embedding'",
        ),
        (
            Embeddings,
            r#"{"data":[{"embedding":[1]}],"data":[0]}"#,
            "has no 'embedding'",
        ),
    ] {
        match parse_answer(endpoint, body.as_bytes()) {
            Err(BadAnswer::NotAnAnswer(why)) => assert!(why.contains(words), "{body}: {why}"),
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn deep_nesting_is_no_way_to_exhaust_the_stack() {
    for part in ["[", "{\"a\":"] {
        for lead in [
            "",
            "{\"choices\":",
            "{\"choices\":[",
            "{\"choices\":[{\"message\":",
            "{\"usage\":",
            "{\"error\":",
        ] {
            let body = lead.to_owned() + &part.repeat(200_000);
            assert!(parse_answer(ChatCompletions, body.as_bytes()).is_err(), "{lead} {part}");
        }
    }
}

#[test]
fn probabilities_without_a_word_are_an_answer() {
    let numbers = r#"{"content":[{"token":"a","logprob":-0.5,"top_logprobs":[]}]}"#;
    let answer = |logprobs: &str, beside: &str| {
        let choice = format!(
            r#"{{"index":0,"message":{{"role":"assistant","content":""}},"logprobs":{logprobs},"finish_reason":"stop"}}"#
        );
        let body = format!(r#"{{"id":"c","model":"m","choices":[{choice}]{beside}}}"#);
        parse_answer(ChatCompletions, body.as_bytes())
            .expect("an answer")
            .output_bytes
    };
    assert_eq!(answer(numbers, ""), 1);
    assert_eq!(answer(r#"{"content":[]}"#, ""), 0);
    assert_eq!(answer("null", ""), 0);
    assert_eq!(answer("null", r#","prompt_logprobs":[null,{"1":{"logprob":-1.5}}]"#), 1);
    let said =
        br#"{"choices":[{"text":"abc","logprobs":{"token_logprobs":[-0.1]},"finish_reason":"stop"}],"model":"m"}"#;
    assert_eq!(parse_answer(Completions, said).expect("an answer").output_bytes, 3);
}

proptest! {
    #[test]
    fn no_mutated_answer_panics(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut bytes = br#"{"id":"c","model":"m\u00e9","choices":[{"index":0,"message":{"content":"h\ud83d\ude80","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":1}},"error":null}"#.to_vec();
        for (at, byte, what) in cuts {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => bytes.truncate(at + 1),
            }
        }
        for endpoint in [ChatCompletions, Completions, Embeddings] {
            if let Ok(view) = parse_answer(endpoint, &bytes) {
                prop_assert!(view.output_bytes as usize <= bytes.len());
                for at in [view.model, view.usage_at, view.id].into_iter().flatten() {
                    prop_assert!(at.start < at.end && at.end <= bytes.len());
                }
            }
        }
    }
}
