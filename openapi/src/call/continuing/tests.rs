use super::super::Endpoint::{ChatCompletions, Completions, Embeddings};
use super::super::tests::{chat, view};

#[test]
fn a_plain_chat_can_be_continued() {
    for more in [
        "",
        r#","stream":true,"max_tokens":9,"temperature":0.7,"stop":["x"],"seed":1,"logit_bias":{}"#,
        r#","tools":[],"functions":null,"response_format":{"type":"text"},"n":1,"logprobs":false,"top_logprobs":0"#,
        r#","echo":false,"min_tokens":0,"audio":null,"use_beam_search":false"#,
        r#","provider":{"only":["a"]},"models":["b"],"chat_template_kwargs":{"x":1},"reasoning_effort":"low""#,
    ] {
        assert!(view(ChatCompletions, &chat(more)).can_continue, "{more}");
    }
}

#[test]
fn a_chat_that_is_more_than_a_text_cannot() {
    for more in [
        r#","tools":[{"type":"function"}]"#,
        r#","functions":[{"name":"f"}]"#,
        r#","response_format":{"type":"json_object"}"#,
        r#","guided_regex":"a*""#,
        r#","logprobs":true"#,
        r#","top_logprobs":1"#,
        r#","prompt_logprobs":1"#,
        r#","n":2"#,
        r#","n_cmpl":2"#,
        r#","add_generation_prompt":true"#,
        r#","add_generation_prompt":null"#,
        r#","continue_final_message":false"#,
        r#","echo":true"#,
        r#","echo":true,"min_tokens":0,"use_beam_search":false"#,
        r#","min_tokens":5"#,
        r#","prefill":"Sure""#,
        r#","audio":{"voice":"alloy"}"#,
        r#","return_token_ids":true"#,
        r#","include_reasoning":false"#,
        r#","reasoning":{"exclude":true}"#,
    ] {
        assert!(!view(ChatCompletions, &chat(more)).can_continue, "{more}");
    }
}

#[test]
fn a_chat_that_ends_in_the_assistants_own_words_cannot() {
    let ends_in = |last: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}},{last}]}}"#);
        view(ChatCompletions, &body).can_continue
    };
    assert!(!ends_in(r#"{"role":"assistant","content":"Sure, "}"#));
    assert!(!ends_in(r#"{"content":"Sure, ","role":"a\u0073sistant"}"#));
    assert!(ends_in(r#"{"role":"tool","content":"4"}"#));
    assert!(ends_in(
        r#"{"role":"assistant","content":"4"},{"role":"user","content":"and?"}"#
    ));
}

#[test]
fn a_completion_can_be_continued_if_its_prompt_is_one_text() {
    let can = |members: &str| view(Completions, &format!(r#"{{"model":"m",{members}}}"#)).can_continue;
    assert!(can(r#""prompt":"Once""#));
    assert!(can(r#""prompt":"Once","suffix":null,"best_of":1"#));
    for members in [
        r#""prompt":["Once"]"#,
        r#""prompt":[1,2]"#,
        r#""prompt":"Once","suffix":"end""#,
        r#""prompt":"Once","best_of":2"#,
        r#""prompt":"Once","echo":true"#,
        r#""prompt":"Once","logprobs":0"#,
        r#""prompt":"Once","prompt_embeds":"x""#,
    ] {
        assert!(!can(members), "{members}");
    }
    assert!(!view(Embeddings, r#"{"model":"m","input":"text"}"#).can_continue);
}
