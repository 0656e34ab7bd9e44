//! How long the hot path takes, for people to read: no figure is asserted, for machines differ.
//!
//! `cargo test --release -p filature-openapi --test speed -- --ignored --nocapture`

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use filature_openapi::sse::{EventDecoder, event};
use filature_openapi::{Endpoint, ForEngine, parse_answer, parse_call, parse_chunk};

/// Prints the best of several rounds, in nanoseconds for each run of `work`.
fn time(name: &str, bytes: usize, mut work: impl FnMut()) {
    const ROUNDS: usize = 9;
    const RUNS: u32 = 2_000;
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| work());
            start.elapsed() / RUNS
        })
        .min()
        .unwrap_or_default();
    println!("{name:<32} {bytes:>7} bytes {:>8} ns", best.as_nanos());
}

fn chat(bytes: usize, text: &str) -> Bytes {
    let content = text.repeat(bytes / text.len());
    format!(
        r#"{{"model":"smollm2-135m-instruct","messages":[{{"role":"system","content":"You are brief."}},{{"role":"user","content":"{content}"}}],"temperature":0.7,"max_tokens":128,"stream":true,"stream_options":{{"include_usage":true}},"user":"u-1"}}"#
    )
    .into()
}

fn conversation(bytes: usize) -> Bytes {
    let turn = r#"{"role":"user","content":"What is [1, 2] in {\"json\": true}?\nTell me."},{"role":"assistant","content":"A list.","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":[1]}"}}]},"#;
    let turns = turn.repeat(bytes / turn.len());
    format!(r#"{{"model":"m","messages":[{}],"n":1}}"#, turns.trim_end_matches(',')).into()
}

#[test]
#[ignore = "prints figures; run it in release"]
fn figures() {
    const ASCII: &str = "The quick brown fox jumps over the lazy dog. ";
    const ESCAPED: &str = "Line one.\\nLine \\\"two\\\" is here.\\n";
    const CHINESE: &str = "敏捷的棕色狐狸跳过了懒狗。";
    for (name, body) in [
        ("parse_call 1 KB", chat(800, ASCII)),
        ("parse_call 32 KB", chat(32_500, ASCII)),
        ("parse_call 32 KB escaped", chat(32_500, ESCAPED)),
        ("parse_call 32 KB Chinese", chat(32_500, CHINESE)),
        ("parse_call 32 KB conversation", conversation(32_500)),
    ] {
        time(name, body.len(), || {
            black_box(parse_call(Endpoint::ChatCompletions, black_box(&body)).unwrap());
        });
    }
    let body = chat(32_500, ASCII);
    let view = parse_call(Endpoint::ChatCompletions, &body).unwrap();
    let engine = ForEngine {
        model: "engine-model",
        output_tokens_max: Some(64),
        continuation: None,
    };
    time("body_for_engine", body.len(), || {
        black_box(view.body_for_engine(black_box(&body), engine));
    });

    let chunk = r#"{"id":"chatcmpl-7b3f0c6e2d9a4c1e8f5b","object":"chat.completion.chunk","created":1762436000,"model":"smollm2-135m-instruct","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}],"system_fingerprint":"fp_44709d6fcb"}"#;
    time("parse_chunk", chunk.len(), || {
        black_box(parse_chunk(black_box(chunk.as_bytes())).unwrap());
    });
    let framed = event(chunk.as_bytes());
    let mut decoder = EventDecoder::new(1 << 20);
    time("decode one event", framed.len(), || {
        decoder.push(framed.clone());
        black_box(decoder.next_event().unwrap().unwrap());
        black_box(decoder.next_event().unwrap());
    });
    let answer = format!(
        r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}}}"#,
        ASCII.repeat(22)
    );
    time("parse_answer 1 KB", answer.len(), || {
        black_box(parse_answer(Endpoint::ChatCompletions, black_box(answer.as_bytes())).unwrap());
    });
}
