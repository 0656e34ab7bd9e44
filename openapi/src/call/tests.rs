mod refused;
mod sent;

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
