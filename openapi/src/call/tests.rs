use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use Endpoint::{ChatCompletions, Completions, Embeddings};

pub(super) fn view(endpoint: Endpoint, body: &str) -> CallView {
    parse_call(endpoint, body.as_bytes()).unwrap_or_else(|refused| panic!("{body}: {refused:?}"))
}

/// An engine that calls the model `model` and is told `limit`.
fn told(model: &str, limit: Option<u32>) -> ForEngine<'_> {
    ForEngine {
        model,
        output_tokens_max: limit,
        continuation: None,
    }
}

/// A chat of one message with further members, which start with a comma.
pub(super) fn chat(more: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

#[track_caller]
pub(super) fn check_refused(endpoint: Endpoint, body: impl AsRef<[u8]>, param: Option<&str>, code: &str, words: &str) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(body).chars().take(200).collect::<String>();
    let refused = parse_call(endpoint, body).expect_err(&shown);
    assert_eq!(
        (refused.param.as_deref(), refused.code),
        (param, Some(code)),
        "{shown}: {}",
        refused.message
    );
    assert!(refused.message.contains(words), "{shown}: {}", refused.message);
    assert!(
        refused.message.ends_with('.') && refused.message.len() < 400,
        "{}",
        refused.message
    );
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let no_json: &[(&[u8], &str)] = &[
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b"   ", "EOF"),
        (b"nonsense", "line 1 column 2"),
        (b"{\"model\":\"m\",\n \"messages\" []}", "line 2 column 13"),
        (b"{\"model\":\"m\"", "EOF"),
        (b"{\"model\":\"m\"} {}", "trailing characters"),
        (b"{\"model\":\"m\",}", "trailing comma"),
        (b"{'model':'m'}", "key must be a string"),
        (b"{\"model\":\"m\0\"}", "control character"),
        (b"{\"model\":\0\"m\"}", "expected value"),
        (b"{\"model\":\"m\"}\0", "trailing characters"),
        (b"{\"model\":\"\\x\"}", "invalid escape"),
        (b"{\"model\":01}", "number"),
        (b"{\"model\":NaN}", "expected value"),
        (b"<html><body>hello</body></html>", "expected value"),
        ("\u{feff}{}".as_bytes(), "expected value"),
    ];
    for (body, words) in no_json {
        check_refused(ChatCompletions, body, None, "invalid_json", words);
    }
    for (body, words) in [
        ("[]", "an array"),
        ("null", "null"),
        ("true", "a boolean"),
        ("7", "an integer"),
        ("-7", "an integer"),
        ("1.5", "a decimal"),
        (r#""m""#, "a string"),
    ] {
        check_refused(ChatCompletions, body, None, "invalid_type", words);
    }
    for body in [&b"{\"model\":\"\xff\"}"[..], b"\xc3", b"{\"model\":\"\xed\xa0\x80\"}"] {
        check_refused(ChatCompletions, body, None, "invalid_utf8", "not valid UTF-8: byte");
    }
}

#[test]
fn a_repeated_top_level_key_is_refused_even_in_disguise() {
    for (more, param) in [
        (r#","model":"n""#, "model"),
        (r#","mod\u0065l":"n""#, "model"),
        (r#","messages":[]"#, "messages"),
        (r#","x":1,"x":1"#, "x"),
        (r#","x\u0041":1,"xA":null"#, "xA"),
        (r#","stream":true,"stream":true"#, "stream"),
        (r#","":1,"":2"#, ""),
    ] {
        check_refused(
            ChatCompletions,
            chat(more),
            Some(param),
            "duplicate_parameter",
            "given twice",
        );
    }
    check_refused(
        ChatCompletions,
        chat(r#","stream":true,"stream_options":{"include_usage":false,"include_usage":true}"#),
        Some("stream_options.include_usage"),
        "duplicate_parameter",
        "given twice",
    );
    // Below the top level it is the engine's affair.
    view(ChatCompletions, &chat(r#","metadata":{"a":1,"a":2}"#));
}

#[test]
fn too_many_keys_are_refused() {
    let keys = |count: usize| (0..count).map(|index| format!(r#","k{index}":0"#)).collect::<String>();
    view(ChatCompletions, &chat(&keys(KEYS_MAX - 2)));
    check_refused(
        ChatCompletions,
        chat(&keys(KEYS_MAX - 1)),
        None,
        "too_many_parameters",
        "256",
    );
}

#[test]
fn too_deep_a_body_is_refused_and_brackets_in_strings_do_not_count() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let unknown = |levels: usize| chat(&format!(r#","x":{}"#, nested(levels)));
    view(ChatCompletions, &unknown(DEPTH_MAX - 1));
    check_refused(ChatCompletions, unknown(DEPTH_MAX), Some("x"), "too_deep", "64 levels");
    check_refused(ChatCompletions, unknown(100_000), Some("x"), "too_deep", "64 levels");

    let member = |levels: usize| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":{}}}]}}"#,
            nested(levels)
        )
    };
    view(ChatCompletions, &member(DEPTH_MAX - 3));
    check_refused(
        ChatCompletions,
        member(DEPTH_MAX - 2),
        Some("messages"),
        "too_deep",
        "64 levels",
    );
    check_refused(
        ChatCompletions,
        member(50_000),
        Some("messages"),
        "too_deep",
        "64 levels",
    );
    for param in ["messages", "tools", "stream_options"] {
        let body = format!(r#"{{"model":"m","{param}":{}}}"#, nested(100_000));
        let refused = parse_call(ChatCompletions, body.as_bytes()).unwrap_err();
        assert!(refused.message.len() < 400, "{}", refused.message);
    }

    let wide = format!(r#","x":[{}0]"#, "[],{\"a\":\"[\\\"[\"},".repeat(200));
    view(ChatCompletions, &chat(&wide));
    view(ChatCompletions, &chat(&format!(r#","x":["{}\\",0]"#, "[{".repeat(500))));
}

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

#[test]
fn null_means_absent() {
    let nulls = [
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n_predict",
        "n",
        "n_cmpl",
        "tools",
        "functions",
        "response_format",
        "logprobs",
        "top_logprobs",
        "session_id",
        "prompt_cache_key",
        "guided_json",
    ];
    let body = chat(&nulls.map(|field| format!(r#","{field}":null"#)).concat());
    let view = view(ChatCompletions, &body);
    assert_eq!(
        (view.stream, view.include_usage, view.output_tokens_max, view.n),
        (false, false, None, 1)
    );
    assert_eq!((view.needs, view.session), (Needs::NONE, None));
}

#[test]
fn fields_are_found_in_any_order_and_with_any_white_space() {
    let body = "\r\n{ \"max_tokens\" :\t7 , \"messages\" : [ { \"content\" : \"hi\" , \"role\" : \"user\" } ] ,\n\
                \"n\":2,\"stream_options\" : { \"include_usage\" : true } , \"stream\" : true , \"model\" : \"m\" }\n ";
    let view = view(ChatCompletions, body);
    assert_eq!((&*view.model, view.stream, view.include_usage), ("m", true, true));
    assert_eq!((view.output_tokens_max, view.n, view.prompt_items), (Some(7), 2, 1));
}

#[test]
fn the_largest_limit_and_the_largest_number_of_choices_count() {
    let limit = |more: &str| view(ChatCompletions, &chat(more)).output_tokens_max;
    assert_eq!(limit(r#","max_tokens":9,"max_completion_tokens":5"#), Some(9));
    assert_eq!(limit(r#","max_tokens":5,"max_completion_tokens":9"#), Some(9));
    assert_eq!(limit(r#","max_tokens":9,"max_completion_tokens":null"#), Some(9));
    assert_eq!(limit(r#","max_completion_tokens":9"#), Some(9));
    assert_eq!(
        limit(r#","max_tokens":1,"max_completion_tokens":2,"n_predict":3"#),
        Some(3)
    );
    assert_eq!(limit(r#","n_predict":3"#), Some(3));
    assert_eq!(limit(r#","n_predict":null"#), None);
    assert_eq!(limit(r#","max_tokens":2147483647"#), Some(OUTPUT_TOKENS_MAX));
    assert_eq!(limit(r#","n_predict":2147483647"#), Some(OUTPUT_TOKENS_MAX));
    assert_eq!(view(ChatCompletions, &chat(r#","n":2,"n_cmpl":5"#)).n, 5);
    let n = |more: &str| view(Completions, &format!(r#"{{"model":"m","prompt":"p"{more}}}"#)).n;
    assert_eq!(n(r#","n":2,"best_of":5"#), 5);
    assert_eq!(n(r#","n":6,"best_of":5"#), 6);
    assert_eq!(n(r#","n":2,"best_of":3,"n_cmpl":4"#), 4);
    assert_eq!(n(r#","n":2,"n_cmpl":null"#), 2);
    // A chat has no such field.
    assert_eq!(view(ChatCompletions, &chat(r#","best_of":5"#)).n, 1);
}

#[test]
fn a_completion_is_limited_by_what_every_engine_follows_there() {
    for (more, limit, sent) in [
        ("", None, r#""max_tokens":5,"#),
        (r#","max_completion_tokens":9"#, None, r#""max_tokens":5,"#),
        (r#","max_completion_tokens":9,"max_tokens":null"#, None, ""),
        (r#","max_completion_tokens":9,"max_tokens":7"#, Some(9), ""),
        (r#","max_completion_tokens":6,"n_predict":7"#, Some(7), ""),
        (r#","max_tokens":8,"n_predict":7"#, Some(8), ""),
        (r#","n_predict":7"#, Some(7), ""),
    ] {
        let body = Bytes::from(format!(r#"{{"model":"m","prompt":"p"{more}}}"#));
        let view = parse_call(Completions, &body).unwrap();
        assert_eq!(view.output_tokens_max, limit, "{more}");
        let sent_body = view.body_for_engine(&body, told("m", Some(5))).into_bytes();
        // llama.cpp follows `max_completion_tokens` here too: it must not exceed what is told.
        let more = ["6", "7", "8", "9", "null"]
            .iter()
            .fold(more.to_owned(), |more, said| more.replace(said, "5"));
        let expected = format!(r#"{{"model":"m",{sent}"prompt":"p"{more}}}"#);
        assert_eq!(std::str::from_utf8(&sent_body).unwrap(), expected);
        assert_eq!(
            view.body_for_engine(&body, told("m", None)).into_bytes(),
            body,
            "nothing told, nothing changed"
        );
    }
}

#[test]
fn a_known_key_in_other_case_is_refused() {
    for (endpoint, key, name) in [
        (ChatCompletions, "MAX_TOKENS", "max_tokens"),
        (ChatCompletions, "Max_Completion_Tokens", "max_completion_tokens"),
        (ChatCompletions, "Model", "model"),
        (ChatCompletions, "messageS", "messages"),
        (ChatCompletions, "N", "n"),
        (ChatCompletions, "N_predict", "n_predict"),
        (ChatCompletions, "n_Cmpl", "n_cmpl"),
        (ChatCompletions, "Stream_options", "stream_options"),
        // What Go's folding takes for a k and an s.
        (ChatCompletions, "max_to\u{212a}ens", "max_tokens"),
        (ChatCompletions, "\u{17f}tream", "stream"),
        (Completions, "Prompt", "prompt"),
        (Completions, "best_OF", "best_of"),
        (Embeddings, "INPUT", "input"),
    ] {
        let prompt = match endpoint {
            ChatCompletions => r#""messages":[{"role":"user","content":"hi"}]"#,
            Completions => r#""prompt":"p""#,
            Embeddings => r#""input":"i""#,
        };
        for value in ["1", "null"] {
            let body = format!(r#"{{"model":"m",{prompt},"{key}":{value}}}"#);
            let words = format!("must be written '{name}'");
            check_refused(endpoint, body, Some(key), "unknown_parameter", &words);
        }
    }
    check_refused(
        ChatCompletions,
        chat(r#","\u004d\u006fdel":"n""#),
        Some("Model"),
        "unknown_parameter",
        "'model'",
    );
    // What means nothing on the route may be written as one likes.
    for key in ["X", "BEST_OF", "modelSs", "Temperature", "MAX-TOKENS", "été", "Ünïcode"] {
        view(ChatCompletions, &chat(&format!(r#","{key}":1"#)));
    }
    view(ChatCompletions, &chat(&format!(r#","{}":1"#, "M".repeat(10_000))));
}

#[test]
fn needs_follow_from_what_is_asked() {
    for part in [
        r#"{"type":"video_url","video_url":{"url":"data:,"}}"#,
        r#"{"type":"input_audio","input_audio":{"data":"","format":"wav"}}"#,
        r#"{"type":"audio_url","audio_url":{"url":"data:,"}}"#,
        r#"{"type":"input_image"}"#,
        // vLLM needs no type.
        r#"{"video_url":{"url":"data:,"}}"#,
        r#"{"input_audio":{}}"#,
        r#"{"type":"video\u005furl"}"#,
    ] {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{part}]}}]}}"#);
        assert_eq!(view(ChatCompletions, &body).needs, Needs::IMAGES, "{part}");
    }
    let image = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"image_url"},{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#;
    let shown = view(ChatCompletions, image);
    assert_eq!((shown.needs, shown.media_parts), (Needs::IMAGES, 1));
    // What a picture is made of is no text, whatever stands beside it is.
    let large = image.replace("data:,", &format!("data:,{}", "A".repeat(10_000)));
    assert_eq!(view(ChatCompletions, &large).prompt_bytes, shown.prompt_bytes);
    let two = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hidden words","image_url":{},"input_audio":{}}]}]}"#;
    let two = view(ChatCompletions, two);
    assert_eq!(two.media_parts, 2);
    assert!(two.prompt_bytes as usize > "hidden words".len());
    let talk =
        r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"image_url"},1e999,null]}]}"#;
    assert_eq!(view(ChatCompletions, talk).needs, Needs::NONE);
    for (more, needs) in [
        (r#","tools":[{"type":"function"}]"#, Needs::TOOLS),
        (r#","tools":[ ]"#, Needs::NONE),
        (r#","functions":[{"name":"f"}]"#, Needs::TOOLS),
        (r#","response_format":{"type":"text"}"#, Needs::NONE),
        (r#","response_format":{"type":"json_object"}"#, Needs::JSON_SCHEMA),
        (
            r#","response_format":{"type":"json_schema","json_schema":{}}"#,
            Needs::JSON_SCHEMA,
        ),
        (r#","guided_regex":"a*""#, Needs::JSON_SCHEMA),
        (r#","guided_regex":"a*","grammar":null"#, Needs::JSON_SCHEMA),
        (r#","logprobs":true"#, Needs::LOGPROBS),
        (r#","logprobs":false,"top_logprobs":0"#, Needs::NONE),
        (r#","top_logprobs":3"#, Needs::LOGPROBS),
    ] {
        assert_eq!(view(ChatCompletions, &chat(more)).needs, needs, "{more}");
    }
    assert_eq!(
        view(Completions, r#"{"model":"m","prompt":"p","logprobs":0}"#).needs,
        Needs::LOGPROBS
    );
    let all = Needs::NAMED
        .into_iter()
        .fold(Needs::NONE, |all, (_, need)| all.union(need));
    assert_eq!(
        (all.bits(), all.contains(Needs::TOOLS), Needs::TOOLS.contains(all)),
        (15, true, false)
    );
}

#[test]
fn everything_that_becomes_the_prompt_is_counted_and_nothing_else() {
    let bytes = |more: &str| view(ChatCompletions, &chat(more)).prompt_bytes as usize;
    let alone = r#""user""#.len() + r#""hi""#.len();
    assert_eq!(bytes(""), alone);
    assert_eq!(bytes(r#","metadata":{"long":"long long long"},"user":"me""#), alone);
    for (key, value) in [
        ("tools", r#"[{"type":"function"}]"#),
        ("functions", r#"[{"name":"f"}]"#),
        ("response_format", r#"{"type":"json_object"}"#),
        ("chat_template_kwargs", r#"{"x":1}"#),
    ] {
        assert_eq!(bytes(&format!(r#","{key}":{value}"#)), alone + value.len(), "{key}");
    }
}

#[test]
fn embeddings_ignore_what_only_generation_knows() {
    let body = r#"{"input":"text","model":"m","stream":"yes","max_tokens":-1,"n":"x","session_id":"s"}"#;
    let view = view(Embeddings, body);
    assert_eq!((view.stream, view.output_tokens_max, view.n), (false, None, 1));
    assert_eq!(view.session.as_deref(), Some("s"));
    let sent = view.body_for_engine(&Bytes::from(body), told("m", Some(5)));
    assert_eq!((sent.count(), sent.into_bytes()), (1, Bytes::from(body)));
}

#[test]
fn a_session_id_goes_before_a_cache_key() {
    let session = |more: &str| view(ChatCompletions, &chat(more)).session;
    assert_eq!(session(r#","prompt_cache_key":"k""#).as_deref(), Some("k"));
    assert_eq!(
        session(r#","session_id":"s","prompt_cache_key":"k""#).as_deref(),
        Some("s")
    );
    assert_eq!(
        session(r#","session_id":"","prompt_cache_key":"k""#).as_deref(),
        Some("k")
    );
    assert_eq!(session(""), None);
}

#[track_caller]
fn check_sent(more: &str, model: Option<&str>, limit: Option<u32>, expected: &str) {
    let body = Bytes::from(chat(more));
    let sent = view(ChatCompletions, &chat(more)).body_for_engine(&body, told(model.unwrap_or("m"), limit));
    assert_eq!(sent.len(), sent.iter().map(Bytes::len).sum::<usize>());
    assert_eq!(std::str::from_utf8(&sent.into_bytes()).unwrap(), expected, "{more}");
}

#[test]
fn the_engine_gets_the_callers_body_but_for_the_fields_meant() {
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    let asked = r#""stream_options":{"include_usage":true}"#;
    check_sent("", None, None, &format!(r#"{{"model":"m",{messages}}}"#));
    check_sent("", Some("m"), None, &format!(r#"{{"model":"m",{messages}}}"#));
    check_sent(
        "",
        Some("org/\"x\""),
        None,
        &format!(r#"{{"model":"org/\"x\"",{messages}}}"#),
    );
    check_sent(
        "",
        None,
        Some(5),
        &format!(r#"{{"model":"m","max_tokens":5,{messages}}}"#),
    );
    check_sent(
        r#","max_tokens": 9"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_tokens": 5}}"#),
    );
    check_sent(
        r#","max_tokens":5"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_tokens":5}}"#),
    );
    check_sent(
        r#","max_tokens":null"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_tokens":5}}"#),
    );
    check_sent(
        r#","max_completion_tokens":9"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_completion_tokens":5}}"#),
    );
    check_sent(
        r#","max_completion_tokens":9,"max_tokens":null"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_completion_tokens":5,"max_tokens":null}}"#),
    );
    check_sent(
        r#","max_completion_tokens":9,"max_tokens":99"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"max_completion_tokens":5,"max_tokens":5}}"#),
    );
    check_sent(
        r#","n_predict":9"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"n_predict":5}}"#),
    );
    check_sent(
        r#","n_predict":9,"max_tokens":3"#,
        None,
        Some(5),
        &format!(r#"{{"model":"m",{messages},"n_predict":5,"max_tokens":5}}"#),
    );
    check_sent(
        r#","stream":true"#,
        Some("e"),
        Some(5),
        &format!(r#"{{"model":"e",{asked},"max_tokens":5,{messages},"stream":true}}"#),
    );
    for (given, sent) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        ("{ }", r#"{"include_usage":true }"#),
        (r#"{"include_usage":true}"#, r#"{"include_usage":true}"#),
        (r#"{"include_usage": false}"#, r#"{"include_usage": true}"#),
        (r#"{"include_usage":null,"x":[1]}"#, r#"{"include_usage":true,"x":[1]}"#),
        (
            r#"{ "continuous_usage_stats":true}"#,
            r#"{"include_usage":true, "continuous_usage_stats":true}"#,
        ),
    ] {
        check_sent(
            &format!(r#","stream":true,"stream_options":{given}"#),
            None,
            None,
            &format!(r#"{{"model":"m",{messages},"stream":true,"stream_options":{sent}}}"#),
        );
    }
    // Nothing to stream, nothing to ask for.
    check_sent(
        r#","stream":false,"stream_options":null"#,
        None,
        None,
        &format!(r#"{{"model":"m",{messages},"stream":false,"stream_options":null}}"#),
    );
}

#[test]
fn what_stays_is_not_copied() {
    let body = Bytes::from(chat(r#","stream":true,"max_tokens":9"#));
    let sent =
        view(ChatCompletions, &chat(r#","stream":true,"max_tokens":9"#)).body_for_engine(&body, told("e", Some(5)));
    let own = body.as_ptr() as usize..body.as_ptr() as usize + body.len();
    let kept = sent
        .iter()
        .filter(|segment| own.contains(&(segment.as_ptr() as usize)))
        .count();
    assert_eq!((sent.count(), kept), (5, 3));
}

#[test]
#[should_panic(expected = "fits only the body")]
fn a_view_refuses_another_body() {
    let _ = view(ChatCompletions, &chat("")).body_for_engine(&Bytes::from_static(b"{}"), told("e", None));
}

// Random bodies.

pub(super) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<i32>().prop_map(|sixteenths| Value::from(f64::from(sixteenths) / 16.0)),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Texts with what is special in JSON, in SSE and in the gateway.
pub(super) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{0,8}",
        r#"["\\{}\[\]\n\r\t:,é漢🚀 \x00-\x1f]{0,12}"#,
        prop::sample::select(vec![
            "model",
            "max_tokens",
            "stream",
            "stream_options",
            "include_usage",
            "image_url",
            "role"
        ])
        .prop_map(str::to_owned),
    ]
}

prop_compose! {
    fn any_chat()(
        model in "[a-z\"\\\\/é]{1,12}",
        messages in prop::collection::vec((any_text(), any_json()), 1..4),
        limits in prop::array::uniform3(prop::option::of(prop::option::of(1..1000_u32))),
        stream in prop::option::of(prop::option::of(any::<bool>())),
        options in prop::option::of(prop::option::of((prop::option::of(prop::option::of(any::<bool>())), prop::option::of(any_json())))),
        others in prop::collection::btree_map("x[a-z]{1,6}", any_json(), 0..5),
    ) -> Value {
        let mut body: serde_json::Map<String, Value> = others.into_iter().collect();
        body.insert("model".into(), model.into());
        let messages = messages.into_iter().map(|(role, content)| json!({"role": format!("r{role}"), "content": content}));
        body.insert("messages".into(), messages.collect());
        let optional = [
            ("max_tokens", limits[0].map(|limit| json!(limit))),
            ("max_completion_tokens", limits[1].map(|limit| json!(limit))),
            ("n_predict", limits[2].map(|limit| json!(limit))),
            ("stream", stream.map(|stream| json!(stream))),
            ("stream_options", (stream == Some(Some(true))).then_some(options).flatten().map(|options| {
                let Some((usage, other)) = options else { return Value::Null };
                let mut members = serde_json::Map::new();
                if let Some(usage) = usage { members.insert("include_usage".into(), json!(usage)); }
                if let Some(other) = other { members.insert("other".into(), other); }
                Value::Object(members)
            })),
        ];
        for (key, value) in optional {
            if let Some(value) = value { body.insert(key.into(), value); }
        }
        Value::Object(body)
    }
}

/// What the engine's body must say, made with a JSON tree.
fn expected(mut body: Value, model: Option<&str>, limit: Option<u32>) -> Value {
    if let Some(model) = model {
        body["model"] = model.into();
    }
    if body["stream"] == true {
        if body["stream_options"].is_null() {
            body["stream_options"] = json!({});
        }
        body["stream_options"]["include_usage"] = true.into();
    }
    if let Some(limit) = limit {
        let names = ["max_completion_tokens", "max_tokens", "n_predict"];
        let said = |body: &Value, name: &str| body.get(name).is_some_and(Value::is_number);
        let any_said = names.iter().any(|name| said(&body, name));
        let any_null = names.iter().any(|name| body.get(name).is_some());
        for name in names {
            if said(&body, name) || (!any_said && body.get(name).is_some()) {
                body[name] = limit.into();
            }
        }
        if !any_said && !any_null {
            body["max_tokens"] = limit.into();
        }
    }
    body
}

proptest! {
    #[test]
    fn the_engines_body_differs_in_nothing_but_the_fields_meant(
        body in any_chat(),
        pretty in any::<bool>(),
        model in "[a-z\"\\\\é]{1,8}",
        limit in prop::option::of(1..1000_u32),
    ) {
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let view = parse_call(ChatCompletions, text.as_bytes()).unwrap();
        prop_assert_eq!(&*view.model, body["model"].as_str().unwrap());
        prop_assert_eq!(view.stream, body["stream"] == true);
        let limits = ["max_tokens", "max_completion_tokens", "n_predict"].map(|name| body[name].as_u64());
        prop_assert_eq!(view.output_tokens_max.map(u64::from), limits.into_iter().flatten().max());
        let sent = view.body_for_engine(&Bytes::from(text), told(&model, limit)).into_bytes();
        let sent_value: Value = serde_json::from_slice(&sent).unwrap();
        prop_assert_eq!(sent_value, expected(body, Some(&model), limit));
        // What is sent is a call again, and asks for usage where it streams.
        let again = parse_call(ChatCompletions, &sent).unwrap();
        prop_assert_eq!(again.include_usage, view.stream);
        if limit.is_some() {
            prop_assert_eq!(again.output_tokens_max, limit);
        }
        prop_assert_eq!((again.prompt_bytes, again.needs), (view.prompt_bytes, view.needs));
    }

    #[test]
    fn no_mutated_body_panics_and_what_passes_is_json_of_some_depth(
        body in any_chat(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 0..4),
        endpoint in prop::sample::select(vec![ChatCompletions, Completions, Embeddings]),
    ) {
        let mut bytes = serde_json::to_vec(&body).unwrap();
        for (at, byte, what) in cuts {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => bytes.truncate(at + 1),
                _ => { let copy = bytes[at..].to_vec(); bytes.extend(copy); }
            }
        }
        if let Ok(view) = parse_call(endpoint, &bytes) {
            // A tree cannot hold lone surrogates and numbers beyond all bounds; views pass them on.
            let parsed: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            prop_assert!(parsed.is_object() || bytes.windows(2).any(|two| two == b"\\u") || bytes.contains(&b'e'));
            let sent = view.body_for_engine(&Bytes::from(bytes), told("e", Some(3))).into_bytes();
            prop_assert!(parse_call(endpoint, &sent).is_ok());
        }
    }

    #[test]
    fn no_random_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:a-z0-9\\\\ ]{0,80}") {
        for endpoint in [ChatCompletions, Completions, Embeddings] {
            let _ = parse_call(endpoint, &bytes);
            let _ = parse_call(endpoint, text.as_bytes());
        }
    }
}

#[test]
fn echo_is_a_completions_and_off_unless_it_is_on() {
    let echo = |rest: &str| view(Completions, &format!(r#"{{"model":"m","prompt":"p"{rest}}}"#)).echo;
    for (rest, is_on) in [
        ("", false),
        (r#","echo":null"#, false),
        (r#","echo":false"#, false),
        (r#","echo":true"#, true),
    ] {
        assert_eq!(echo(rest), is_on, "{rest}");
    }
    assert!(!view(ChatCompletions, &chat(r#","echo":true"#)).echo);
}
