use super::*;
use filature_openapi::call::{Endpoint, parse_call};

const ROLE: &str = r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const HI: &str = r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}"#;
const STOP: &str = r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;

fn view(include_usage: bool) -> CallView {
    let body = format!(
        r#"{{"model":"m","stream":true,"stream_options":{{"include_usage":{include_usage}}},"messages":[{{"role":"user","content":"x"}}]}}"#
    );
    parse_call(Endpoint::ChatCompletions, body.as_bytes()).expect("a good body")
}

fn stream(payloads: &[&str]) -> String {
    payloads.iter().map(|payload| format!("data: {payload}\n\n")).collect()
}

/// Feeds `bytes` in pieces of `size` and gives what the caller gets, and how it ended.
fn fed(frames: &mut Frames, bytes: &[u8], size: usize) -> (String, Result<(), Fault>) {
    let (mut got, mut ended) = (Vec::new(), Ok(()));
    for piece in bytes.chunks(size) {
        let mut out = Out::new();
        ended = frames.push(Bytes::copy_from_slice(piece), &mut out);
        out.iter().for_each(|piece| got.extend_from_slice(piece));
        if ended.is_err() {
            break;
        }
    }
    if ended.is_ok() {
        let mut out = Out::new();
        ended = frames.end(&mut out);
        out.iter().for_each(|piece| got.extend_from_slice(piece));
    }
    (String::from_utf8(got).expect("text"), ended)
}

/// The same however the network cuts it.
#[track_caller]
fn check(include_usage: bool, renamed: bool, engine: &str, caller: &str, ending: Result<(), Fault>) {
    for size in [1, 2, 7, 64, engine.len().max(1)] {
        let mut frames = Frames::new(&view(include_usage), "m", renamed, 1000, 4096);
        let (got, ended) = fed(&mut frames, engine.as_bytes(), size);
        assert_eq!(got, caller, "in pieces of {size}");
        assert_eq!(ended, ending, "in pieces of {size}");
    }
}

#[test]
fn a_plain_stream_passes_byte_for_byte() {
    let engine = format!(": a comment\n\n{}", stream(&[ROLE, HI, STOP, "[DONE]"]));
    check(false, false, &engine, &engine, Ok(()));
}

#[test]
fn events_of_one_network_chunk_go_out_as_one_piece() {
    let mut frames = Frames::new(&view(false), "m", false, 1000, 4096);
    let mut out = Out::new();
    let engine = Bytes::from(stream(&[ROLE, HI, HI, HI]));
    frames.push(engine.clone(), &mut out).expect("a good stream");
    assert_eq!(out.as_slice(), std::slice::from_ref(&engine));
    assert_eq!(out[0].as_ptr(), engine.as_ptr(), "not a copy");
}

#[test]
fn usage_the_caller_did_not_ask_for_is_withheld() {
    check(
        false,
        false,
        &stream(&[HI, STOP, USAGE, "[DONE]"]),
        &stream(&[HI, STOP, "[DONE]"]),
        Ok(()),
    );
}

#[test]
fn usage_beside_a_choice_becomes_null_unless_asked_for() {
    let with = |usage: &str| STOP.replace(r#""choices""#, &format!(r#""usage":{usage},"choices""#));
    let engine = stream(&[HI, &with(r#"{"prompt_tokens":3,"completion_tokens":1}"#), "[DONE]"]);
    check(false, false, &engine, &stream(&[HI, &with("null"), "[DONE]"]), Ok(()));
    check(true, false, &engine, &engine, Ok(()));
}

#[test]
fn usage_the_caller_asked_for_passes() {
    let engine = stream(&[HI, STOP, USAGE, "[DONE]"]);
    check(true, false, &engine, &engine, Ok(()));
}

#[test]
fn usage_the_engine_does_not_send_is_made_from_the_count() {
    let mut frames = Frames::new(&view(true), "m", false, 1000, 4096);
    let (got, ended) = fed(&mut frames, stream(&[HI, HI, STOP, "[DONE]"]).as_bytes(), 50);
    assert_eq!(ended, Ok(()));
    let events: Vec<&str> = got.split("\n\n").collect();
    let usage: serde_json::Value = serde_json::from_str(events[3].trim_start_matches("data: ")).expect("JSON");
    assert_eq!(usage["usage"]["completion_tokens"], 2);
    assert_eq!(usage["choices"], serde_json::json!([]));
    assert_eq!(events[4], "data: [DONE]");
}

#[test]
fn the_engines_name_for_the_model_becomes_the_callers() {
    let engine = stream(&[
        &HI.replace(r#""model":"m""#, r#""model":"/models/q4.gguf""#),
        STOP,
        "[DONE]",
    ]);
    check(false, true, &engine, &stream(&[HI, STOP, "[DONE]"]), Ok(()));
}

#[test]
fn a_missing_done_after_a_finish_is_added() {
    check(
        false,
        false,
        &stream(&[HI, STOP]),
        &stream(&[HI, STOP, "[DONE]"]),
        Ok(()),
    );
}

#[test]
fn a_stream_that_ends_without_a_finish_is_truncated() {
    check(false, false, &stream(&[HI]), &stream(&[HI]), Err(Fault::Truncated));
    check(false, false, "", "", Err(Fault::Truncated));
}

#[test]
fn half_an_event_never_reaches_the_caller() {
    let engine = format!("{}data: {}", stream(&[HI]), &STOP[..40]);
    check(false, false, &engine, &stream(&[HI]), Err(Fault::Truncated));
}

#[test]
fn an_error_in_the_stream_is_a_fault_and_is_not_passed_on() {
    let engine = stream(&[HI, r#"{"error":{"message":"out of memory","code":500}}"#]);
    check(false, false, &engine, &stream(&[HI]), Err(Fault::Error));
}

#[test]
fn an_endless_event_is_a_fault() {
    let engine = format!("{}data: {}", stream(&[HI]), "x".repeat(9000));
    check(false, false, &engine, &stream(&[HI]), Err(Fault::TooLong(4096)));
}

#[test]
fn garbage_is_a_fault() {
    let mut frames = Frames::new(&view(false), "m", false, 1000, 4096);
    let (got, ended) = fed(&mut frames, stream(&[HI, "<html>"]).as_bytes(), 10_000);
    assert_eq!(got, stream(&[HI]));
    assert_eq!(ended, Err(Fault::NotAChunk));
}

#[test]
fn what_follows_done_is_dropped() {
    check(
        false,
        false,
        &stream(&[HI, STOP, "[DONE]", HI]),
        &stream(&[HI, STOP, "[DONE]"]),
        Ok(()),
    );
}

#[test]
fn a_broken_stream_ends_in_an_error_chunk_and_done() {
    let mut frames = Frames::new(&view(false), "m", false, 1000, 4096);
    let (_, ended) = fed(&mut frames, stream(&[HI]).as_bytes(), 1000);
    assert_eq!(ended, Err(Fault::Truncated));
    let last = String::from_utf8(frames.broken("provider_error", "it broke").to_vec()).expect("text");
    let events: Vec<&str> = last.split("\n\n").collect();
    let chunk: serde_json::Value = serde_json::from_str(events[0].trim_start_matches("data: ")).expect("JSON");
    assert_eq!(
        (chunk["id"].as_str(), chunk["error"]["message"].as_str()),
        (Some("c1"), Some("it broke"))
    );
    assert_eq!(chunk["choices"][0]["finish_reason"], "error");
    assert_eq!(events[1], "data: [DONE]");
}

/// A chunk with this text of the stream `id`.
fn text(id: &str, text: &str) -> String {
    let delta = serde_json::json!({ "content": text });
    chunk(id, &delta, None)
}

fn chunk(id: &str, delta: &serde_json::Value, finish_reason: Option<&str>) -> String {
    serde_json::json!({
        "id": id, "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish_reason }],
    })
    .to_string()
}

fn usage(prompt: u64, completion: u64) -> String {
    format!(
        r#"{{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{}}}}}"#,
        prompt + completion
    )
}

/// The chunks a caller got, `[DONE]` left out.
fn chunks(got: &str) -> Vec<serde_json::Value> {
    let data = got.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).expect("a chunk is JSON"))
        .collect()
}

/// One stream made of `first`, which breaks, and of `second`, which goes on, however the network cuts the second.
#[track_caller]
fn check_spliced(first: &[&str], second: &[&str], text: &str, continued_from: &str, usage: [u64; 2]) {
    let second = stream(second);
    for size in [1, 5, 64, second.len()] {
        let mut frames = Frames::new(&view(true), "m", false, 1000, 4096);
        let (mut got, ended) = fed(&mut frames, stream(first).as_bytes(), 4096);
        assert_eq!(ended, Err(Fault::Truncated));
        let cut = frames.cut().expect("plain text can be continued");
        assert_eq!(cut.text, continued_from);
        let carried = frames.meter.output_events;
        // One that fails before its first token leaves no trace.
        frames.take_up(&cut, "failed", false, carried);
        let (_, ended) = fed(&mut frames, stream(&["{}"]).as_bytes(), 4096);
        assert_eq!(ended, Err(Fault::NotAChunk));
        frames.take_up(&cut, "other", false, carried);
        let (rest, ended) = fed(&mut frames, second.as_bytes(), size);
        assert_eq!(ended, Ok(()), "in pieces of {size}");
        got.push_str(&rest);
        assert!(got.ends_with("data: [DONE]\n\n"), "{got}");
        let chunks = chunks(&got);
        let said: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
            .collect();
        assert_eq!(said, text, "in pieces of {size}");
        assert!(chunks.iter().all(|chunk| chunk["id"] == "c1"), "{got}");
        let count = |is: &dyn Fn(&&serde_json::Value) -> bool| chunks.iter().filter(is).count();
        assert_eq!(
            count(&|chunk| !chunk["choices"][0]["delta"]["role"].is_null()),
            1,
            "{got}"
        );
        assert_eq!(
            count(&|chunk| !chunk["choices"][0]["finish_reason"].is_null()),
            1,
            "{got}"
        );
        let usages: Vec<_> = chunks.iter().filter(|chunk| !chunk["usage"].is_null()).collect();
        assert_eq!(usages.len(), 1, "{got}");
        let told = ["prompt_tokens", "completion_tokens"].map(|count| usages[0]["usage"][count].as_u64());
        assert_eq!(told, usage.map(Some), "in pieces of {size}");
        let finish = chunks
            .iter()
            .find(|chunk| !chunk["choices"][0]["finish_reason"].is_null());
        let splices = &finish.expect("counted above")["filature"]["splices"];
        let at_byte = cut.at_byte();
        assert_eq!(
            *splices,
            serde_json::json!([{ "at_byte": at_byte, "provider": "other" }])
        );
    }
}

#[test]
fn a_spliced_stream_is_one_stream() {
    let opening = chunk("c2", &serde_json::json!({ "role": "assistant", "content": "" }), None);
    let stop = chunk("c2", &serde_json::json!({}), Some("stop"));
    let (the, cat) = (text("c1", "The"), text("c1", " \"cat\""));
    check_spliced(
        &[ROLE, &the, &cat],
        &[
            &opening,
            &text("c2", " sat"),
            &text("c2", "."),
            &stop,
            &usage(11, 2),
            "[DONE]",
        ],
        "The \"cat\" sat.",
        "The \"cat\"",
        [9, 4],
    );
    // vLLM opens with a role, llama.cpp with a role and no text; others put it beside the first word.
    let opening = chunk("c2", &serde_json::json!({ "role": "assistant", "content": null }), None);
    let with_role = chunk(
        "c2",
        &serde_json::json!({ "role": "assistant", "content": " sat" }),
        None,
    );
    for opened in [&[opening.as_str(), &text("c2", " sat")][..], &[with_role.as_str()]] {
        let rest = [&text("c2", "."), &stop, &usage(11, 2), "[DONE]"];
        let second: Vec<&str> = opened.iter().copied().chain(rest).collect();
        check_spliced(&[ROLE, &the, &cat], &second, "The \"cat\" sat.", "The \"cat\"", [9, 4]);
    }
}

#[test]
fn white_space_at_the_cut_is_neither_lost_nor_doubled() {
    let stop = chunk("c2", &serde_json::json!({}), Some("stop"));
    let end = |words: [&str; 2]| {
        let [one, two] = words.map(|word| text("c2", word));
        vec![one, two, stop.clone(), usage(11, 2), "[DONE]".to_owned()]
    };
    // The engine's prompt held one token of the two; one that it made only to say the white space again is nobody's.
    for (words, completion) in [
        (["\n\nNext", " one"], 4),
        (["\n", "\nNext one"], 3),
        (["Next", " one"], 4),
    ] {
        let second = end(words);
        let second: Vec<&str> = second.iter().map(String::as_str).collect();
        check_spliced(
            &[ROLE, &text("c1", "Done."), &text("c1", "\n\n")],
            &second,
            "Done.\n\nNext one",
            "Done.",
            [10, completion],
        );
    }
}

#[test]
fn what_is_no_plain_text_cannot_be_continued() {
    let reasoning = chunk("c1", &serde_json::json!({ "reasoning_content": "hm" }), None);
    let mut frames = Frames::new(&view(false), "m", false, 1000, 4096);
    let _ = fed(&mut frames, stream(&[HI, &reasoning, HI]).as_bytes(), 4096);
    assert_eq!(frames.cut(), None);
}

#[test]
fn an_answer_that_broke_at_its_limit_ends_by_length() {
    let mut frames = Frames::new(&view(true), "m", false, 1000, 4096);
    let _ = fed(&mut frames, stream(&[HI, HI]).as_bytes(), 4096);
    let mut out = Out::new();
    frames.end_at_length(&mut out);
    let got: Vec<u8> = out.iter().flat_map(|piece| piece.iter().copied()).collect();
    let got = String::from_utf8(got).expect("text");
    let chunks = chunks(&got);
    assert_eq!(chunks[0]["choices"][0]["finish_reason"], "length");
    assert_eq!(chunks[1]["usage"]["completion_tokens"], 2);
    assert!(got.ends_with("data: [DONE]\n\n"));
}
