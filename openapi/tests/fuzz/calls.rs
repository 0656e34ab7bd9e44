//! The bodies of calls, and what an engine gets of them.

use bytes::Bytes;
use filature_openapi::call::{
    CHOICES_MAX, CallView, Continuation, Endpoint, ForEngine, MODEL_BYTES_MAX, MODELS_MAX, OUTPUT_TOKENS_MAX,
    SESSION_BYTES_MAX, parse_call,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::driver::fuzz;
use crate::json::{is_json, members};

const ENDPOINTS: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings];
/// What an engine's body may say otherwise than the caller's.
const EDITED: [&str; 8] = [
    "model",
    "models",
    "route",
    "provider",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "n_predict",
];
const WORDS: [&str; 26] = [
    "\"model\":",
    "\"models\":",
    "\"route\":",
    "\"provider\":",
    "\"messages\":",
    "\"prompt\":",
    "\"input\":",
    "\"stream\":true,",
    "\"stream_options\":null,",
    "\"stream_options\":{},",
    "\"include_usage\":false",
    "\"max_tokens\":1,",
    "\"max_completion_tokens\":7,",
    "\"n_predict\":-1,",
    "\"n\":2,",
    "\"tools\":[{}],",
    "\"m\\u006fdel\":\"x\",",
    "\"role\":\"assistant\"",
    "\"role\":\"user\"",
    "\"content\":",
    "\"session_id\":\"s\",",
    "\"service_tier\":\"flex\",",
    "\"order\":[\"a\"]",
    ":floor",
    "\"x\":{\"y\":[1,2.50]},",
    "\"response_format\":{},",
];

#[test]
fn an_engines_body_is_the_callers_but_for_what_is_the_gateways() {
    fuzz("call", &WORDS, |body| {
        ENDPOINTS
            .iter()
            .try_for_each(|&endpoint| match parse_call(endpoint, body) {
                Ok(view) => check(endpoint, &view, body),
                Err(_) => Ok(()),
            })
    });
}

fn check(endpoint: Endpoint, view: &CallView, body: &[u8]) -> TestCaseResult {
    prop_assert!(is_json(body), "what is taken is JSON");
    check_bounds(view, body)?;
    let untouched = members(body, &EDITED);
    prop_assert!(untouched.is_some(), "what is taken is an object");
    let body = Bytes::copy_from_slice(body);
    for output_tokens_max in [None, Some(3)] {
        let engine = ForEngine {
            model: "an \"engine's\" own",
            output_tokens_max,
            continuation: None,
        };
        let sent = view.body_for_engine(&body, engine).into_bytes();
        prop_assert!(is_json(&sent), "what is sent is JSON: {:?}", sent);
        prop_assert_eq!(
            &members(&sent, &EDITED),
            &untouched,
            "what nobody edits stays as it was written"
        );
        let again = reparse(endpoint, &sent)?;
        prop_assert_eq!(&*again.model, engine.model);
        prop_assert!(again.provider.is_none() && again.fallbacks.is_empty());
        prop_assert_eq!((again.stream, again.include_usage), (view.stream, view.stream));
        prop_assert_eq!(
            (again.n, again.needs, again.prompt_bytes),
            (view.n, view.needs, view.prompt_bytes)
        );
        let limit = output_tokens_max.filter(|_| endpoint != Endpoint::Embeddings);
        prop_assert_eq!(again.output_tokens_max, limit.or(view.output_tokens_max));
    }
    if view.can_continue {
        check_continued(endpoint, view, &body)
    } else {
        Ok(())
    }
}

/// What a view says is within the bounds that its readers count on.
fn check_bounds(view: &CallView, body: &[u8]) -> TestCaseResult {
    prop_assert!((1..=MODEL_BYTES_MAX).contains(&view.model.len()));
    prop_assert!(view.fallbacks.len() < MODELS_MAX && !view.fallbacks.contains(&view.model));
    prop_assert!((1..=CHOICES_MAX).contains(&view.n));
    prop_assert!(
        view.output_tokens_max
            .is_none_or(|limit| (1..=OUTPUT_TOKENS_MAX).contains(&limit))
    );
    prop_assert!(view.prompt_bytes as usize <= body.len());
    prop_assert!(
        view.session
            .as_ref()
            .is_none_or(|session| (1..=SESSION_BYTES_MAX).contains(&session.len()))
    );
    Ok(())
}

fn check_continued(endpoint: Endpoint, view: &CallView, body: &Bytes) -> TestCaseResult {
    let engine = ForEngine {
        model: "engine",
        output_tokens_max: Some(3),
        continuation: Some(Continuation {
            text: "so \"far\"\n",
            members: r#""add_generation_prompt":false"#,
        }),
    };
    let sent = view.body_for_engine(body, engine).into_bytes();
    prop_assert!(is_json(&sent), "what is sent is JSON: {:?}", sent);
    let grown = match endpoint {
        Endpoint::Completions => "prompt",
        Endpoint::ChatCompletions | Endpoint::Embeddings => "messages",
    };
    let edited: Vec<_> = EDITED.into_iter().chain([grown, "add_generation_prompt"]).collect();
    prop_assert_eq!(members(&sent, &edited), members(body, &edited));
    let again = reparse(endpoint, &sent)?;
    prop_assert!(again.prompt_bytes > view.prompt_bytes, "it has the text so far");
    Ok(())
}

fn reparse(endpoint: Endpoint, sent: &Bytes) -> Result<CallView, TestCaseError> {
    parse_call(endpoint, sent)
        .map_err(|error| TestCaseError::fail(format!("what is sent is no call: {error}; {sent:?}")))
}
