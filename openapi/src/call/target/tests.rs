use super::super::CallView;
use super::super::Endpoint::{ChatCompletions, Completions, Embeddings};
use super::super::tests::{chat, check_refused, view};
use super::*;

fn named(members: &str) -> CallView {
    view(
        ChatCompletions,
        &format!(r#"{{{members},"messages":[{{"role":"user","content":"hi"}}]}}"#),
    )
}

#[track_caller]
fn check(members: &str, model: &str, variant: Option<Variant>, fallbacks: &[&str]) {
    let view = named(members);
    let found: Vec<&str> = view.fallbacks.iter().map(|name| &**name).collect();
    assert_eq!(
        (&*view.model, view.variant, &*found),
        (model, variant, fallbacks),
        "{members}"
    );
}

#[test]
fn models_are_tried_after_the_model_and_none_twice() {
    check(r#""model":"a""#, "a", None, &[]);
    check(r#""model":"a","models":null"#, "a", None, &[]);
    check(r#""model":"a","models":[]"#, "a", None, &[]);
    check(r#""model":"a","models":["b","c"]"#, "a", None, &["b", "c"]);
    check(r#""models":["b","c"],"model":"a""#, "a", None, &["b", "c"]);
    check(
        r#""model":"a","models":["a","b","a:nitro","b"],"route":"fallback""#,
        "a",
        None,
        &["b"],
    );
    check(r#""models":["b","c"]"#, "b", None, &["c"]);
    check(r#""models":["b"],"route":null"#, "b", None, &[]);
}

#[test]
fn a_suffix_says_what_to_prefer_and_is_no_part_of_the_name() {
    check(r#""model":"a:floor""#, "a", Some(Variant::Floor), &[]);
    check(
        r#""model":"org/a:nitro","models":["b:floor"]"#,
        "org/a",
        Some(Variant::Nitro),
        &["b"],
    );
    check(r#""model":"a","models":["b:floor"]"#, "a", None, &["b"]);
    check(r#""models":["a:nitro","b"]"#, "a", Some(Variant::Nitro), &["b"]);
    // Tags that mean something to an engine stay, and only one suffix is taken off.
    check(r#""model":"llama3.2:1b""#, "llama3.2:1b", None, &[]);
    check(
        r#""model":"llama3.2:1b:floor""#,
        "llama3.2:1b",
        Some(Variant::Floor),
        &[],
    );
    check(r#""model":"a:Floor""#, "a:Floor", None, &[]);
    check(r#""model":"a:floor:nitro""#, "a:floor", Some(Variant::Nitro), &[]);
}

#[test]
fn bad_models_are_refused_by_their_place() {
    for (more, param, code) in [
        (r#","models":"b""#, "models", "invalid_type"),
        (r#","models":{}"#, "models", "invalid_type"),
        (r#","models":[7]"#, "models[0]", "invalid_type"),
        (r#","models":["b",null]"#, "models[1]", "invalid_type"),
        (r#","models":[""]"#, "models[0]", "empty_string"),
        (r#","models":[":floor"]"#, "models[0]", "empty_string"),
        (r#","models":["a\u0000"]"#, "models[0]", "invalid_value"),
        (
            r#","models":["1","2","3","4","5","6","7","8","9"]"#,
            "models",
            "array_above_max_length",
        ),
        (r#","route":"sort""#, "route", "invalid_value"),
        (r#","route":1"#, "route", "invalid_type"),
    ] {
        check_refused(ChatCompletions, chat(more), Some(param), code, param);
    }
    let long = format!(r#","models":["{}"]"#, "m".repeat(MODEL_BYTES_MAX + 1));
    check_refused(
        ChatCompletions,
        chat(&long),
        Some("models[0]"),
        "string_above_max_length",
        "256",
    );
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (members, param, code) in [
        (r#""model":":nitro""#, "model", "empty_string"),
        (r#""models":[]"#, "models", "empty_array"),
        (r#""models":null"#, "model", "missing_required_parameter"),
        (r#""model":null,"models":["a"]"#, "model", "invalid_type"),
    ] {
        let body = format!("{{{members},{messages}}}");
        check_refused(ChatCompletions, body, Some(param), code, param);
    }
}

#[test]
fn a_service_tier_says_how_urgent_a_call_is() {
    for (tier, expected) in [
        ("null", Tier::Default),
        (r#""auto""#, Tier::Default),
        (r#""default""#, Tier::Default),
        (r#""standard""#, Tier::Default),
        (r#""flex""#, Tier::Flex),
        (r#""priority""#, Tier::Priority),
    ] {
        let found = view(ChatCompletions, &chat(&format!(r#","service_tier":{tier}"#))).tier;
        assert_eq!(found, expected, "{tier}");
    }
    assert_eq!(view(ChatCompletions, &chat("")).tier, Tier::Default);
    assert!(Tier::Flex < Tier::Default && Tier::Default < Tier::Priority);
    for (tier, code) in [
        (r#""scale""#, "invalid_value"),
        (r#""Flex""#, "invalid_value"),
        ("1", "invalid_type"),
    ] {
        let body = chat(&format!(r#","service_tier":{tier}"#));
        check_refused(ChatCompletions, body, Some("service_tier"), code, "service_tier");
    }
    check_refused(
        ChatCompletions,
        chat(r#","service_tier":"scale""#),
        Some("service_tier"),
        "invalid_value",
        "'auto', 'default', 'standard', 'flex', 'priority'",
    );
}

#[test]
fn every_route_knows_them() {
    for (endpoint, prompt) in [(Completions, "prompt"), (Embeddings, "input")] {
        let body = format!(r#"{{"models":["a:floor","b"],"{prompt}":"p","service_tier":"flex","route":"fallback"}}"#);
        let view = view(endpoint, &body);
        assert_eq!((&*view.model, view.tier, view.fallbacks.len()), ("a", Tier::Flex, 1));
    }
}

#[test]
fn a_confined_call_keeps_what_is_allowed_and_names_it_to_the_engine() {
    use super::super::ForEngine;
    let rest = r#""messages":[{"role":"user","content":"hi"}]"#;
    let body = format!(r#"{{"model":"a","models":["b","c"],{rest}}}"#);
    let check = |allowed: &str, found: Option<(&str, &[&str])>| {
        let mut view = view(ChatCompletions, &body);
        let done = view.confine(|model| allowed.contains(model));
        let left: Vec<&str> = view.fallbacks.iter().map(|name| &**name).collect();
        assert_eq!(done.then_some((&*view.model, &*left)), found, "{allowed}");
        let engine = ForEngine {
            model: &view.model,
            output_tokens_max: None,
            continuation: None,
        };
        let bytes = bytes::Bytes::copy_from_slice(body.as_bytes());
        let sent = view.body_for_engine(&bytes, engine).into_bytes();
        let named = format!(r#"{{"model":"{}",{rest}}}"#, view.model);
        assert_eq!(sent, named.as_bytes(), "{allowed}");
    };
    check("abc", Some(("a", &["b", "c"])));
    check("ac", Some(("a", &["c"])));
    check("a", Some(("a", &[])));
    check("bc", Some(("b", &["c"])));
    check("c", Some(("c", &[])));
    check("", None);
}
