use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::Endpoint::{ChatCompletions, Completions, Embeddings};
use super::super::parse_call;
use super::super::tests::{any_json, any_text, chat, view};
use super::*;

const PLAIN: ForEngine<'static> = ForEngine {
    model: "e",
    output_tokens_max: None,
    continuation: None,
};

fn sent(endpoint: Endpoint, body: &str, engine: ForEngine<'_>) -> String {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let sent = view(endpoint, body).body_for_engine(&bytes, engine).into_bytes();
    String::from_utf8(sent.to_vec()).unwrap()
}

#[test]
fn what_is_the_gateways_own_is_left_out_wherever_it_stands() {
    let rest = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (body, expected) in [
        (
            format!(r#"{{"provider":{{}},"model":"m",{rest}}}"#),
            format!(r#"{{"model":"e",{rest}}}"#),
        ),
        (
            format!(r#"{{"model":"m",{rest},"provider":{{}}}}"#),
            format!(r#"{{"model":"e",{rest}}}"#),
        ),
        (
            format!(r#"{{"model":"m","provider":{{}},{rest}}}"#),
            format!(r#"{{"model":"e",{rest}}}"#),
        ),
        (
            format!(r#"{{"provider":{{}},"route":"fallback","models":[],"model":"m",{rest}}}"#),
            format!(r#"{{"model":"e",{rest}}}"#),
        ),
        (
            format!(r#"{{"model":"m",{rest},"provider":{{}},"models":["b"],"route":null}}"#),
            format!(r#"{{"model":"e",{rest}}}"#),
        ),
        (
            format!("{{ \"provider\" : {{}} , \"models\" : [\"m\"] ,\n {rest} , \"route\" : null }}"),
            format!("{{  \"model\":\"e\" ,\n {rest}  }}"),
        ),
        (
            format!(r#"{{"route":null,{rest},"provider":null,"models":["b"],"user":"u"}}"#),
            format!(r#"{{{rest},"model":"e","user":"u"}}"#),
        ),
        (
            format!(r#"{{{rest},"pro\u0076ider":{{"only":["a\"}},"]}},"model":"m"}}"#),
            format!(r#"{{{rest},"model":"e"}}"#),
        ),
    ] {
        assert_eq!(sent(ChatCompletions, &body, PLAIN), expected, "{body}");
    }
    let body = r#"{"input":"i","model":"m","provider":{"zdr":true}}"#;
    assert_eq!(sent(Embeddings, body, PLAIN), r#"{"input":"i","model":"e"}"#);
}

#[test]
fn a_name_with_a_suffix_never_reaches_the_engine() {
    let body = |model: &str| format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#);
    let engine = ForEngine { model: "m", ..PLAIN };
    for model in ["m", "m:floor", "m:nitro", "other"] {
        assert_eq!(sent(ChatCompletions, &body(model), engine), body("m"), "{model}");
    }
}

fn go_on<'a>(text: &'a str, members: &'a str) -> ForEngine<'a> {
    ForEngine {
        model: "m",
        output_tokens_max: Some(7),
        continuation: Some(Continuation { text, members }),
    }
}

#[test]
fn a_chat_goes_on_from_a_message_of_the_assistants() {
    let members = r#""add_generation_prompt":false,"continue_final_message":true"#;
    let said = sent(ChatCompletions, &chat(r#","stream":true"#), go_on("A \"b\"\n", members));
    assert_eq!(
        said,
        r#"{"model":"m","stream_options":{"include_usage":true},"max_tokens":7,"add_generation_prompt":false,"continue_final_message":true,"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"A \"b\"\n"}],"stream":true}"#
    );
    let body = "{\"max_tokens\":9,\"messages\":[ {\"role\":\"user\",\"content\":\"]\"}\n\t] , \"model\":\"m\"}";
    assert_eq!(
        sent(ChatCompletions, body, go_on("x", "")),
        "{\"max_tokens\":7,\"messages\":[ {\"role\":\"user\",\"content\":\"]\"}\n\t,{\"role\":\"assistant\",\"content\":\"x\"}] , \"model\":\"m\"}"
    );
}

#[test]
fn a_completion_goes_on_in_its_prompt() {
    let body = r#"{"model":"m","prompt":"Once \"u","max_tokens":9}"#;
    assert_eq!(
        sent(Completions, body, go_on("pon\" a\u{1f600}", r#""x":1"#)),
        "{\"model\":\"m\",\"x\":1,\"prompt\":\"Once \\\"upon\\\" a\u{1f600}\",\"max_tokens\":7}"
    );
}

#[test]
#[should_panic(expected = "cannot be continued")]
fn a_call_that_cannot_be_continued_is_not() {
    let _ = sent(ChatCompletions, &chat(r#","n":2"#), go_on("x", ""));
}

/// The members of a body, in the order in which they are to stand.
fn any_members(prompt: (&'static str, Value)) -> impl Strategy<Value = Vec<(String, Value)>> {
    let own = (
        prop::option::of(Just(json!({"only": ["a,\"]}"], "sort": "price"}))),
        prop::option::of(prop_oneof![Just(json!(["b", "c:floor"])), Just(Value::Null)]),
        prop::option::of(Just(json!("fallback"))),
    );
    let others = (
        prop::option::of(1..1000_u32),
        prop::option::of(any::<bool>()),
        prop::collection::btree_map("x[a-z\"\\\\]{1,6}", any_json(), 0..3),
        prop::sample::select(vec!["m", "m:floor", "é\"", ""]),
    );
    (own, others).prop_flat_map(move |((provider, models, route), (limit, stream, more, model))| {
        let mut members: Vec<(String, Value)> = more.into_iter().collect();
        members.push((prompt.0.to_owned(), prompt.1.clone()));
        // There is a model, or else a list of models.
        let models = if model.is_empty() {
            Some(json!(["m", "b"]))
        } else {
            models
        };
        let optional = [
            ("model", (!model.is_empty()).then(|| json!(model))),
            ("models", models),
            ("provider", provider),
            ("route", route),
            ("max_tokens", limit.map(|limit| json!(limit))),
            ("stream", stream.map(|stream| json!(stream))),
        ];
        members.extend(
            optional
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?))),
        );
        Just(members).prop_shuffle()
    })
}

/// A text as JSON, with every letter of it escaped if asked for.
fn key(name: &str, escaped: bool) -> String {
    if !escaped {
        return json!(name).to_string();
    }
    let units: String = name.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn written(members: &[(String, Value)], space: &str, escaped: bool) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{space}{}{space}:{space}{value}{space}", key(name, escaped)))
        .collect();
    format!("{space}{{{}}}{space}", members.join(","))
}

fn expected(members: &[(String, Value)], engine: ForEngine<'_>, endpoint: Endpoint) -> Value {
    let mut body: serde_json::Map<String, Value> = members.iter().cloned().collect();
    for own in ["provider", "models", "route"] {
        body.remove(own);
    }
    body.insert("model".into(), engine.model.into());
    if body.get("stream") == Some(&json!(true)) {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    if let Some(limit) = engine.output_tokens_max {
        body.insert("max_tokens".into(), limit.into());
    }
    if let Some(continuation) = engine.continuation {
        if endpoint == Completions {
            let prompt = body["prompt"].as_str().unwrap().to_owned() + continuation.text;
            body.insert("prompt".into(), prompt.into());
        } else {
            let message = json!({"role": "assistant", "content": continuation.text});
            body["messages"].as_array_mut().unwrap().push(message);
        }
        let more: Value = serde_json::from_str(&format!("{{{}}}", continuation.members)).unwrap();
        body.extend(more.as_object().unwrap().clone());
    }
    Value::Object(body)
}

type Case = (Endpoint, Vec<(String, Value)>);

fn any_case() -> impl Strategy<Value = Case> {
    let messages = prop::collection::vec(any_text(), 1..3).prop_flat_map(|texts| {
        let messages = texts
            .iter()
            .map(|text| json!({"role": "user", "content": text}))
            .collect();
        any_members(("messages", messages)).prop_map(|members| (ChatCompletions, members))
    });
    let prompt = any_text().prop_flat_map(|text| {
        any_members(("prompt", json!(format!("p{text}")))).prop_map(|members| (Completions, members))
    });
    prop_oneof![messages, prompt]
}

proptest! {
    #[test]
    fn the_engines_body_is_what_a_tree_would_say(
        (endpoint, members) in any_case(),
        space in "[ \t\r\n]{0,3}",
        escaped in any::<bool>(),
        model in "[a-z\"\\\\é]{1,8}",
        limit in prop::option::of(1..1000_u32),
        text in prop::option::of(any_text()),
        told in prop::sample::select(vec!["", r#""a":1"#, r#""add_generation_prompt":false,"b":{"c":[]}"#]),
    ) {
        let body = written(&members, &space, escaped);
        let engine = ForEngine {
            model: &model,
            output_tokens_max: limit,
            continuation: text.as_deref().map(|text| Continuation { text, members: told }),
        };
        let view = parse_call(endpoint, body.as_bytes()).unwrap();
        prop_assert!(view.can_continue);
        let sent = view.body_for_engine(&Bytes::from(body), engine).into_bytes();
        let found: Value = serde_json::from_slice(&sent).unwrap();
        prop_assert_eq!(found, expected(&members, engine, endpoint));
        prop_assert!(parse_call(endpoint, &sent).is_ok());
    }

    #[test]
    fn no_mutated_body_panics_and_what_is_sent_is_a_call(
        (endpoint, mut members) in any_case(),
        space in "[ \t\r\n]{0,2}",
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
    ) {
        let wishes = json!({"order": ["a"], "max_price": {"prompt": "1e-9", "request": 2.5}, "sort": {"by": "price"},
            "preferred_max_latency": {"p90": 3}, "quantizations": ["fp8"], "data_collection": "deny", "zdr": true});
        members.retain(|(name, _)| name != "provider");
        members.push(("provider".to_owned(), wishes));
        let mut bytes = written(&members, &space, false).into_bytes();
        for (at, byte, what) in cuts {
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        if let Ok(view) = parse_call(endpoint, &bytes) {
            let continuation = view.can_continue.then_some(Continuation { text: "so far", members: "" });
            let engine = ForEngine { model: "e", output_tokens_max: Some(3), continuation };
            let sent = view.body_for_engine(&Bytes::from(bytes), engine).into_bytes();
            let again = parse_call(endpoint, &sent).expect("what is sent is a call");
            prop_assert!(again.provider.is_none() && again.fallbacks.is_empty() && &*again.model == "e");
        }
    }
}
