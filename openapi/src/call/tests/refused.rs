//! What is refused of the fields that are looked at.

use super::*;

#[test]
fn a_model_must_be_named() {
    let body = |model: &str| format!(r#"{{"model":{model},"messages":[{{"role":"user","content":"hi"}}]}}"#);
    check_refused(
        ChatCompletions,
        r#"{"messages":[{"role":"user"}]}"#,
        Some("model"),
        "missing_required_parameter",
        "Missing required parameter: 'model'",
    );
    for (model, found) in [
        ("null", "null"),
        ("7", "an integer"),
        ("1e3", "a decimal"),
        ("[]", "an array"),
        ("{}", "an object"),
        ("true", "a boolean"),
    ] {
        check_refused(ChatCompletions, body(model), Some("model"), "invalid_type", found);
    }
    check_refused(ChatCompletions, body(r#""""#), Some("model"), "empty_string", "empty");
    check_refused(
        ChatCompletions,
        body(r#""a\u0000b""#),
        Some("model"),
        "invalid_value",
        "control",
    );
    check_refused(
        ChatCompletions,
        body(r#""\ud800""#),
        Some("model"),
        "invalid_value",
        "surrogate",
    );
    let long = |bytes: usize| body(&format!("\"{}\"", "m".repeat(bytes)));
    check_refused(
        ChatCompletions,
        long(MODEL_BYTES_MAX + 1),
        Some("model"),
        "string_above_max_length",
        "256",
    );
    assert_eq!(
        view(ChatCompletions, &long(MODEL_BYTES_MAX)).model.len(),
        MODEL_BYTES_MAX
    );
    assert_eq!(&*view(ChatCompletions, &body(r#""a\/b\u00e9""#)).model, "a/bé");
}

#[test]
fn messages_must_be_a_list_of_objects_with_roles() {
    let body = |messages: &str| format!(r#"{{"model":"m","messages":{messages}}}"#);
    check_refused(
        ChatCompletions,
        r#"{"model":"m"}"#,
        Some("messages"),
        "missing_required_parameter",
        "'messages'",
    );
    for (messages, found) in [
        ("null", "null"),
        (r#""hi""#, "a string"),
        ("{}", "an object"),
        ("5", "an integer"),
        ("-5", "an integer"),
        ("0.5", "a decimal"),
    ] {
        check_refused(ChatCompletions, body(messages), Some("messages"), "invalid_type", found);
    }
    check_refused(
        ChatCompletions,
        body("[]"),
        Some("messages"),
        "empty_array",
        "empty array",
    );
    for (element, param, code) in [
        (r#""hi""#, "messages[1]", "invalid_type"),
        ("null", "messages[1]", "invalid_type"),
        ("[]", "messages[1]", "invalid_type"),
        (r#"{"content":"hi"}"#, "messages[1].role", "missing_required_parameter"),
        (r#"{"role":7}"#, "messages[1].role", "invalid_type"),
        (r#"{"role":null}"#, "messages[1].role", "invalid_type"),
        (r#"{"role":""}"#, "messages[1].role", "empty_string"),
    ] {
        // The first fault is told, not the last.
        let messages = format!(r#"[{{"role":"user","content":"hi"}},{element},3]"#);
        check_refused(ChatCompletions, body(&messages), Some(param), code, param);
    }
}

#[test]
fn prompts_and_inputs_must_be_texts_or_tokens() {
    for (endpoint, param) in [(Completions, "prompt"), (Embeddings, "input")] {
        let body = |value: &str| format!(r#"{{"model":"m","{param}":{value}}}"#);
        check_refused(
            endpoint,
            r#"{"model":"m"}"#,
            Some(param),
            "missing_required_parameter",
            param,
        );
        for (value, code, place) in [
            ("null", "invalid_type", ""),
            ("7", "invalid_type", ""),
            ("{}", "invalid_type", ""),
            (r#""""#, "empty_string", ""),
            ("[]", "empty_array", ""),
            ("[ ]", "empty_array", ""),
            (r#"["a",""]"#, "empty_string", "[1]"),
            (r#"["a",1]"#, "invalid_type", "[1]"),
            (r#"[1,"a"]"#, "invalid_type", "[1]"),
            ("[null]", "invalid_type", "[0]"),
            ("[1.5]", "invalid_type", "[0]"),
            ("[{}]", "invalid_type", "[0]"),
            ("[[1],[]]", "empty_array", "[1]"),
            (r#"[["a"]]"#, "invalid_type", "[0]"),
            ("[[[1]]]", "invalid_type", "[0]"),
            ("[[1],2]", "invalid_type", "[1]"),
        ] {
            check_refused(endpoint, body(value), Some(&format!("{param}{place}")), code, param);
        }
        for (value, items) in [
            (r#""a""#, 1),
            (r#"["a"]"#, 1),
            (r#"["a","b","c"]"#, 3),
            ("[1,2,3]", 1),
            ("[[1,2],[3]]", 2),
            (r#""\ud800""#, 1),
        ] {
            let view = view(endpoint, &body(value));
            assert_eq!(
                (view.prompt_items, view.prompt_bytes as usize),
                (items, value.len()),
                "{value}"
            );
        }
    }
}

#[test]
fn options_of_wrong_type_or_out_of_range_are_refused() {
    for (member, param, code) in [
        (r#""stream":"true""#, "stream", "invalid_type"),
        (r#""stream":1"#, "stream", "invalid_type"),
        (r#""stream":[true]"#, "stream", "invalid_type"),
        (
            r#""stream":true,"stream_options":true"#,
            "stream_options",
            "invalid_type",
        ),
        (r#""stream":true,"stream_options":[]"#, "stream_options", "invalid_type"),
        (
            r#""stream":true,"stream_options":{"include_usage":"yes"}"#,
            "stream_options.include_usage",
            "invalid_type",
        ),
        (
            r#""stream":true,"stream_options":{"include_usage":1}"#,
            "stream_options.include_usage",
            "invalid_type",
        ),
        (
            r#""stream_options":{"include_usage":true}"#,
            "stream_options",
            "invalid_value",
        ),
        (
            r#""stream":false,"stream_options":{}"#,
            "stream_options",
            "invalid_value",
        ),
        (r#""n":0"#, "n", "integer_below_min_value"),
        (r#""n":-1"#, "n", "integer_below_min_value"),
        (r#""n":-0"#, "n", "integer_below_min_value"),
        (r#""n":129"#, "n", "integer_above_max_value"),
        (r#""n":99999999999999999999999999"#, "n", "integer_above_max_value"),
        (r#""n":1.0"#, "n", "invalid_type"),
        (r#""n":1e1"#, "n", "invalid_type"),
        (r#""n":"2""#, "n", "invalid_type"),
        (r#""max_tokens":0"#, "max_tokens", "integer_below_min_value"),
        (r#""max_tokens":-5"#, "max_tokens", "integer_below_min_value"),
        (
            r#""max_tokens":-99999999999999999999"#,
            "max_tokens",
            "integer_below_min_value",
        ),
        (r#""max_tokens":2147483648"#, "max_tokens", "integer_above_max_value"),
        (r#""max_tokens":1e999"#, "max_tokens", "invalid_type"),
        (r#""max_tokens":"5""#, "max_tokens", "invalid_type"),
        (
            r#""max_completion_tokens":0"#,
            "max_completion_tokens",
            "integer_below_min_value",
        ),
        (
            r#""max_completion_tokens":4294967296"#,
            "max_completion_tokens",
            "integer_above_max_value",
        ),
        (r#""max_completion_tokens":{}"#, "max_completion_tokens", "invalid_type"),
        // Endless, to llama.cpp.
        (r#""n_predict":-1"#, "n_predict", "integer_below_min_value"),
        (
            r#""max_tokens":5,"n_predict":-2"#,
            "n_predict",
            "integer_below_min_value",
        ),
        (r#""n_predict":0"#, "n_predict", "integer_below_min_value"),
        (r#""n_predict":2147483648"#, "n_predict", "integer_above_max_value"),
        (r#""n_predict":5.0"#, "n_predict", "invalid_type"),
        (r#""n_cmpl":0"#, "n_cmpl", "integer_below_min_value"),
        (r#""n_cmpl":129"#, "n_cmpl", "integer_above_max_value"),
        (r#""tools":{}"#, "tools", "invalid_type"),
        (r#""functions":"f""#, "functions", "invalid_type"),
        (r#""response_format":"json""#, "response_format", "invalid_type"),
        (r#""response_format":[]"#, "response_format", "invalid_type"),
        (r#""session_id":7"#, "session_id", "invalid_type"),
        (r#""session_id":"\udc00""#, "session_id", "invalid_value"),
        (r#""prompt_cache_key":{}"#, "prompt_cache_key", "invalid_type"),
    ] {
        check_refused(ChatCompletions, chat(&format!(",{member}")), Some(param), code, param);
    }
    let long = format!(r#","session_id":"{}""#, "s".repeat(SESSION_BYTES_MAX + 1));
    check_refused(
        ChatCompletions,
        chat(&long),
        Some("session_id"),
        "string_above_max_length",
        "512",
    );
    check_refused(
        Completions,
        r#"{"model":"m","prompt":"p","best_of":500}"#,
        Some("best_of"),
        "integer_above_max_value",
        "at most 128",
    );
}
