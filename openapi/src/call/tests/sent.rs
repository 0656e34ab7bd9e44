//! What the engine is sent: the caller's body but for the fields meant.

use super::*;

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
