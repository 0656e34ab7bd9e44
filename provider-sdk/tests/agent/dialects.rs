//! What the engine is, and how it is told to go on where another broke off.

use bytes::Bytes;
use filature_provider_sdk::tunnel::CONTINUE_HEADER;
use filature_provider_sdk::{Dialect, offer};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};

use crate::play::engine::{Engine, Page};
use crate::play::gateway::{Body, CHALLENGE, Gateway, Tunnel, bytes_of, full};
use crate::play::{settings, soon, start, until};

const VLLM: &[Page] = &[
    ("/version", 200, "uvicorn", r#"{"version":"0.11.0"}"#),
    (
        "/v1/models",
        200,
        "uvicorn",
        r#"{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm"}]}"#,
    ),
];
/// Some other service with a version.
const VERSIONED: &[Page] = &[
    ("/version", 200, "", r#"{"version":"7"}"#),
    (
        "/v1/models",
        200,
        "",
        r#"{"object":"list","data":[{"id":"m","object":"model","owned_by":"me"}]}"#,
    ),
];
const SGLANG: &[Page] = &[(
    "/get_model_info",
    200,
    "uvicorn",
    r#"{"model_path":"org/m","is_generation":true}"#,
)];
const SGLANG_NEWER: &[Page] = &[("/model_info", 200, "uvicorn", r#"{"model_path":"org/m"}"#)];
const OLLAMA: &[Page] = &[("/api/version", 200, "", r#"{"version":"0.12.1"}"#)];
const LLAMA_CPP: &[Page] = &[(
    "/apply-template",
    200,
    "llama.cpp",
    r#"{"prompt":"<|im_start|>assistant\nAs I was going to say, "}"#,
)];
/// Started with `--no-prefill-assistant`.
const LLAMA_CPP_WITHOUT: &[Page] = &[(
    "/apply-template",
    200,
    "llama.cpp",
    r#"{"prompt":"<|im_start|>assistant\nAs I was going to say, <|im_end|>\n<|im_start|>assistant\n"}"#,
)];
/// With a model that thinks.
const LLAMA_CPP_THINKING: &[Page] = &[(
    "/apply-template",
    400,
    "llama.cpp",
    r#"{"error":{"code":400,"message":"Assistant response prefill is incompatible with enable_thinking."}}"#,
)];
/// Behind a proxy that says nothing of it.
const LLAMA_CPP_BEHIND: &[Page] = &[
    ("/props", 200, "", r#"{"default_generation_settings":{}}"#),
    ("/apply-template", 200, "", r#"{"prompt":"As I was going to say, "}"#),
];
const NOTHING: &[Page] = &[];
const LOCKED: &[Page] = &[("/version", 401, "", r#"{"version":"no"}"#)];

/// What the first model can do by the offer that holds now.
async fn capabilities(tunnel: &Tunnel) -> Vec<String> {
    let offer = tunnel.hello(CHALLENGE).await.offer.verify(0).unwrap();
    offer.models[0].capabilities.clone()
}

/// Checks whether an engine with `pages`, of which `last` is the last one it is asked for, is offered as one that
/// continues.
async fn check(pages: &'static [Page], last: &str, continues: bool) {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.dialect = None;
    let engine = engine.serve(pages);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    until("the engine to be asked", || async { engine.has_answered(last) }).await;
    if continues {
        until("the offer to say so", || async {
            capabilities(&tunnel).await == [offer::CONTINUE]
        })
        .await;
    } else {
        // What follows from the last answer has followed long before as many others have gone to and fro.
        for _ in 0..50 {
            tunnel.status().await;
        }
        let answer = go_on(&tunnel, "/v1/chat/completions", full("{}")).await;
        assert_eq!((answer.status().as_u16(), last), (501, last));
        assert_eq!(capabilities(&tunnel).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_engine_that_continues_is_found_out() {
    for (pages, last) in [
        (VLLM, "/v1/models"),
        (SGLANG, "/get_model_info"),
        (SGLANG_NEWER, "/model_info"),
        (LLAMA_CPP, "/apply-template"),
        (LLAMA_CPP_BEHIND, "/apply-template"),
    ] {
        check(pages, last, true).await;
    }
}

#[tokio::test]
async fn any_other_engine_is_trusted_with_nothing() {
    for (pages, last) in [
        (VERSIONED, "/props"),
        (OLLAMA, "/api/version"),
        (LLAMA_CPP_WITHOUT, "/apply-template"),
        (LLAMA_CPP_THINKING, "/apply-template"),
        (NOTHING, "/props"),
        (LOCKED, "/props"),
    ] {
        check(pages, last, false).await;
    }
}

#[tokio::test]
async fn an_engine_that_comes_later_or_again_as_another_is_asked_anew() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let url = engine.url();
    drop(engine);
    let mut settings = settings(&url, &[gateway.url()]);
    settings.dialect = None;
    let _agent = start(settings);
    let (tunnel, first) = gateway.greet().await;
    assert_eq!(first.models[0].capabilities, Vec::<String>::new());

    let vllm = Engine::at(&url).await.serve(VLLM);
    until("the engine to be known", || async {
        tunnel.status().await.sequence > first.sequence
    })
    .await;
    assert_eq!(capabilities(&tunnel).await, [offer::CONTINUE]);

    vllm.end().await;
    let second = tunnel.status().await.sequence;
    assert_eq!(tunnel.call("{}").await.status(), 502);
    let _other = Engine::at(&url).await.serve(NOTHING);
    assert_eq!(tunnel.call("{}").await.status(), 200);
    until("the other engine to be known", || async {
        tunnel.status().await.sequence > second
    })
    .await;
    assert_eq!(capabilities(&tunnel).await, Vec::<String>::new());
}

/// A call that goes on where another engine broke off.
async fn go_on(tunnel: &Tunnel, path: &str, body: Body) -> Response<Incoming> {
    let request = Request::post(format!("http://agent{path}"))
        .header("content-type", "application/json")
        .header(CONTINUE_HEADER, "1");
    soon("an answer", tunnel.send(request.body(body).unwrap()))
        .await
        .unwrap()
}

/// What an engine of `dialect` gets of a call to `path` that goes on.
async fn told(dialect: Dialect, path: &str, body: &'static str) -> String {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.dialect = Some(dialect);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let serve = async {
        let mut connection = engine.accept().await;
        let (head, body) = connection.request().await;
        assert_eq!(head.line, format!("POST {path} HTTP/1.1"));
        assert_eq!(head.headers[CONTINUE_HEADER], "1");
        connection.answer("{}").await;
        String::from_utf8(body).unwrap()
    };
    let (answer, told) = tokio::join!(go_on(&tunnel, path, full(body)), serve);
    assert_eq!(answer.status(), 200);
    told
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","content":"A"}]}"#;

#[tokio::test]
async fn each_engine_is_told_to_go_on_in_its_own_way() {
    for (dialect, more) in [
        (
            Dialect::Vllm,
            json!({"add_generation_prompt": false, "continue_final_message": true}),
        ),
        (Dialect::Sglang, json!({"continue_final_message": true})),
        (Dialect::LlamaCpp, json!({})),
    ] {
        let told = told(dialect, "/v1/chat/completions", CHAT).await;
        assert!(told.starts_with(CHAT.strip_suffix('}').unwrap()), "{told}");
        let mut expected: Value = serde_json::from_str(CHAT).unwrap();
        expected
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), expected, "{dialect}");
    }
}

#[tokio::test]
async fn a_completion_goes_on_with_any_engine_as_it_is() {
    let body = r#"{"model":"m","prompt":"Once upon"}"#;
    for dialect in [Dialect::Vllm, Dialect::OpenAi, Dialect::Ollama] {
        assert_eq!(told(dialect, "/v1/completions", body).await, body);
    }
}

#[tokio::test]
async fn an_engine_that_cannot_go_on_is_not_asked_to() {
    let gateway = Gateway::new().await;
    let nobody = Engine::new().await.url();
    let mut settings = settings(&nobody, &[gateway.url()]);
    settings.dialect = Some(Dialect::Ollama);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let answer = go_on(&tunnel, "/v1/chat/completions", full(CHAT)).await;
    assert_eq!(answer.status(), 501);
    let body: Value = serde_json::from_slice(&bytes_of(answer).await).unwrap();
    assert_eq!(body["error"]["code"], "cannot_continue");
    assert_eq!(body["error"]["type"], "api_error");
    assert_eq!(tunnel.status().await.running, 0);
    assert_eq!(tunnel.call("{}").await.status(), 502, "a plain call is tried");
}

#[tokio::test]
async fn a_body_that_has_to_be_kept_is_bounded() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.dialect = Some(Dialect::Vllm);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let answer = go_on(&tunnel, "/v1/chat/completions", full(vec![b' '; 17 * 1024 * 1024])).await;
    assert_eq!(answer.status(), 413);
    let body: Value = serde_json::from_slice(&bytes_of(answer).await).unwrap();
    assert_eq!(body["error"]["code"], "body_too_large");
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn a_call_given_up_while_its_body_is_kept_is_over() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.dialect = Some(Dialect::Vllm);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let (parts, body) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|part| (Ok(Frame::data(part)), body))
    });
    {
        let begun = async {
            parts.send(Bytes::from_static(b"{\"half\":")).await.unwrap();
            until("the call to run", || async { tunnel.status().await.running == 1 }).await;
        };
        tokio::select! {
            answer = go_on(&tunnel, "/v1/chat/completions", StreamBody::new(body).boxed_unsync()) => panic!("{answer:?}"),
            () = begun => {}
        }
    }
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}
