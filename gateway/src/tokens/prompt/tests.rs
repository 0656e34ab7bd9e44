use super::super::samples;
use super::*;

fn count(endpoint: Endpoint, body: &'static str) -> Result<Counted, NotCounted> {
    let body = Bytes::from_static(body.as_bytes());
    PromptText { endpoint, body }.count(samples::o200k(), &|| true)
}

#[track_caller]
fn check(endpoint: Endpoint, body: &'static str, tokens: u64, unseen_max: u64) {
    assert_eq!(count(endpoint, body), Ok(Counted { tokens, unseen_max }), "{body}");
}

// "hello world" and "you are kind" have 2 and 3 tokens in o200k_base, each role 1; 64 for the template, 8 a message.
#[test]
fn a_chat_is_its_texts_names_and_roles() {
    let chat = Endpoint::ChatCompletions;
    check(chat, r#"{"messages":[{"role":"user","content":"hello world"}]}"#, 3, 72);
    check(
        chat,
        r#"{"messages":[{"role":"system","content":"you are kind"},{"role":"user","name":"world","content":"hello\u0020world"}],"temperature":1}"#,
        8,
        80,
    );
    check(
        chat,
        r#"{"messages":[{"role":"assistant","content":null,"refusal":null}]}"#,
        1,
        72,
    );
}

#[test]
fn text_parts_are_counted_and_media_are_not() {
    let chat = Endpoint::ChatCompletions;
    check(
        chat,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hello world"},{"type":"text","text":"hello world"}]}]}"#,
        5,
        74,
    );
    for body in [
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}},{"type":"text","text":"a"}]}]}"#,
        r#"{"messages":[{"role":"user","content":[{"text":"no type"}]}]}"#,
        r#"{"messages":[{"role":"user","content":7}]}"#,
        r#"{"messages":[{"role":"assistant","content":"a","audio":{"id":"x"}}]}"#,
        r#"{"messages":[{"role":"user","content":"a"}],"chat_template":"{{ 'x' * 10000 }}"}"#,
        r#"{"messages":"a"}"#,
        "{}",
        "[",
    ] {
        assert_eq!(count(chat, body), Err(NotCounted::Unclear), "{body}");
    }
}

#[test]
fn tools_and_their_calls_are_counted_and_their_rendering_is_allowed_for() {
    let chat = Endpoint::ChatCompletions;
    let call = count(chat, r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"hello","arguments":"hello world"}}]}]}"#).expect("counts");
    assert_eq!((call.tokens, call.unseen_max), (1 + 1 + 2, 72 + 16));
    let tools = count(
        chat,
        r#"{"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f"}}]}"#,
    )
    .expect("counts");
    let schema = samples::o200k().count(r#"[{"type":"function","function":{"name":"f"}}]"#);
    assert_eq!((tools.tokens, tools.unseen_max), (2 + schema, 72 + schema + 256));
    let format =
        r#"{"messages":[{"role":"user","content":"a"}],"response_format":{"type":"json_object"},"tools":null}"#;
    assert!(count(chat, format).expect("counts").unseen_max > 72);
}

#[test]
fn prompts_are_texts_or_token_ids_or_lists_of_either() {
    let text = Endpoint::Completions;
    check(text, r#"{"prompt":"hello world"}"#, 2, 4);
    check(text, r#"{"prompt":"hello world","suffix":"hello world"}"#, 4, 4);
    check(text, r#"{"prompt":["hello world","you are kind"]}"#, 5, 8);
    check(text, r#"{"prompt":[1, 2,3]}"#, 3, 4);
    check(text, r#"{"prompt":[[1,2,3],[4]]}"#, 4, 8);
    check(Endpoint::Embeddings, r#"{"input":["hello world"]}"#, 2, 4);
    assert_eq!(
        count(text, r#"{"prompt":"a","prompt_embeds":"…"}"#),
        Err(NotCounted::Unclear)
    );
}

#[test]
fn counting_ends_when_nobody_waits() {
    let body = Bytes::from_static(br#"{"prompt":"hello"}"#);
    let prompt = PromptText {
        endpoint: Endpoint::Completions,
        body,
    };
    assert_eq!(prompt.count(samples::o200k(), &|| false), Err(NotCounted::Late));
}
