//! What honest engines send. Each form has its source beside it.

use super::*;

/// vLLM `entrypoints/openai/serving_chat.py`; the stream of issue vllm-project/vllm#6083 with today's members.
#[test]
fn vllm_with_usage_in_the_last_chunk() {
    chat()
        .stream(&events(&[
            r#"{"id":"chatcmpl-8403","object":"chat.completion.chunk","created":1719969577,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null}"#,
            r#"{"id":"chatcmpl-8403","object":"chat.completion.chunk","created":1719969577,"model":"m","choices":[{"index":0,"delta":{"content":"The quick brown fox"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
            r#"{"id":"chatcmpl-8403","object":"chat.completion.chunk","created":1719969577,"model":"m","choices":[{"index":0,"delta":{"content":" jumps over the lazy dog."},"logprobs":null,"finish_reason":"stop","stop_reason":null,"token_ids":null}]}"#,
            r#"{"id":"chatcmpl-8403","object":"chat.completion.chunk","created":1719969577,"model":"m","choices":[],"usage":{"prompt_tokens":32,"total_tokens":43,"completion_tokens":11,"prompt_tokens_details":null}}"#,
        ]))
        .check([32, 0, 11, 0]);
}

/// `stream_options.continuous_usage_stats` (vllm-project/vllm#6652, sgl-project/sglang#12241; seen without being asked for
/// in tenstorrent/tt-inference-server#632): the sum so far in every chunk.
#[test]
fn vllm_with_cumulative_usage_in_every_chunk() {
    let chunk = |text: &str, tokens: u32| {
        format!(
            r#"{{"id":"cmpl-1","object":"text_completion","created":1757152076,"model":"m","choices":[{{"index":0,"text":"{text}","logprobs":null,"finish_reason":null,"stop_reason":null}}],"usage":{{"prompt_tokens":5,"total_tokens":{},"completion_tokens":{tokens}}}}}"#,
            5 + tokens
        )
    };
    let chunks = [
        chunk("The quick brown fox", 4),
        chunk(" jumps over the lazy", 8),
        chunk(" dog.", 10),
    ];
    let mut chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    let text = || Case::new(Endpoint::Completions, TEXT);
    text().stream(&events(&chunks)).check([5, 0, 10, 0]);
    // A caller who leaves pays for what was claimed by then.
    text().stream(&events(&chunks[..2])).check([5, 0, 8, 0]);
    chunks.push(r#"{"id":"cmpl-1","object":"text_completion","created":1757152076,"model":"m","choices":[],"usage":{"prompt_tokens":5,"total_tokens":16,"completion_tokens":11}}"#);
    text().stream(&events(&chunks)).check([5, 0, 11, 0]);
}

/// can1357/oh-my-pi#5022: usage beside the finish reason, then once more with the cached tokens.
#[test]
fn vllm_with_usage_twice() {
    chat()
        .stream(&dog_then(&[
            r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":35,"total_tokens":46,"completion_tokens":11}}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":35,"total_tokens":46,"completion_tokens":11,"prompt_tokens_details":{"cached_tokens":32}}}"#,
        ]))
        .check([35, 32, 11, 0]);
}

/// vLLM `entrypoints/openai/serving_completion.py`: with `echo` the text begins with the prompt, in one event or several.
#[test]
fn a_prompt_that_is_echoed_without_usage_is_paid_for_once() {
    let text = || {
        Case::new(
            Endpoint::Completions,
            r#"{"model":"m","prompt":"hello world","echo":true,"max_tokens":100}"#,
        )
    };
    let said = format!("hello world {DOG}");
    let body = format!(r#"{{"choices":[{{"index":0,"text":"{said}","finish_reason":"stop"}}]}}"#);
    text().answer(&body).check([2, 0, 10, 0]);
    let chunks: Vec<String> = said
        .split_inclusive(' ')
        .map(|text| format!(r#"{{"choices":[{{"index":0,"text":"{text}"}}]}}"#))
        .collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    text().stream(&events(&chunks)).check([2, 0, 10, 0]);
    // What is claimed is not what is echoed.
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":11,"total_tokens":14}}"#;
    text()
        .stream(&events(&[&chunks[..], &[usage]].concat()))
        .check([3, 0, 11, 0]);
}

/// TheTom/vllm-swift#19 (vLLM 0.19.1 behind another front): `include_usage` has no effect.
#[test]
fn an_engine_that_sends_no_usage_is_paid_what_was_counted() {
    let last = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    chat().stream(&dog_then(&[last])).check([CHAT_TOKENS, 0, 10, 0]);
    let body = format!(r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{DOG}"}}}}]}}"#);
    chat().answer(&body).check([CHAT_TOKENS, 0, 10, 0]);
}

/// vLLM's reasoning parsers; since 0.11 the text stands under both names for a while.
#[test]
fn vllm_with_reasoning() {
    let chunk = |name: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{{name}}},"finish_reason":null}}]}}"#);
    let thought = format!(r#""reasoning":"{DOG}","reasoning_content":"{DOG}""#);
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":12,"total_tokens":37,"completion_tokens":25}}"#;
    let (thinks, says) = (chunk(&thought), chunk(&format!(r#""content":"\n\n{DOG}""#)));
    chat().stream(&events(&[&thinks, &says, usage])).check([12, 0, 25, 0]);
    // Without a claim both are counted once: 10 and 11.
    chat().stream(&events(&[&thinks, &says])).check([CHAT_TOKENS, 0, 21, 0]);
}

/// vLLM's Hermes tool parser: name first, arguments in pieces. The model wrote `<tool_call>` and more around them.
#[test]
fn vllm_with_a_tool_call() {
    chat()
        .stream(&events(&[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"id":"chatcmpl-tool-1","type":"function","index":0,"function":{"name":"get_weather"}}]},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": \""}}]},"logprobs":null,"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"Paris\"}"}}]},"logprobs":null,"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":40,"total_tokens":62,"completion_tokens":22}}"#,
        ]))
        .check([40, 0, 22, 0]);
}

/// SGLang `serving_chat.py`; the chunk of sgl-project/sglang#17156, usage with `reasoning_tokens` since #15562.
#[test]
fn sglang_with_reasoning_beside_the_details() {
    let chunk = |members: &str| {
        format!(
            r#"{{"id":"adedbdab","object":"chat.completion.chunk","created":1768483467,"model":"m","choices":[{{"index":0,"delta":{{"role":null,{members},"tool_calls":null}},"logprobs":null,"finish_reason":null,"matched_stop":null}}],"usage":null}}"#
        )
    };
    let thinks = chunk(&format!(r#""content":null,"reasoning_content":"{DOG}""#));
    let says = chunk(&format!(r#""content":"{DOG}","reasoning_content":null"#));
    let usage = r#"{"id":"adedbdab","object":"chat.completion.chunk","created":1768483467,"model":"m","choices":[],"usage":{"prompt_tokens":29,"total_tokens":52,"completion_tokens":23,"prompt_tokens_details":{"cached_tokens":16},"reasoning_tokens":11}}"#;
    chat().stream(&events(&[&thinks, &says, usage])).check([29, 16, 23, 11]);
}

/// llama.cpp `server-task.cpp`; the last chunk of ggml-org/llama.cpp#16048.
#[test]
fn llama_cpp_with_timings() {
    let last = [
        r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1758108431,"id":"chatcmpl-Ca3q","model":"m","system_fingerprint":"b6497-cd08fc3e","object":"chat.completion.chunk"}"#,
        r#"{"choices":[],"created":1758108431,"id":"chatcmpl-Ca3q","model":"m","system_fingerprint":"b6497-cd08fc3e","object":"chat.completion.chunk","usage":{"completion_tokens":11,"prompt_tokens":14,"total_tokens":25},"timings":{"cache_n":0,"prompt_n":14,"prompt_ms":180.025,"predicted_n":11,"predicted_ms":875.429}}"#,
    ];
    chat().stream(&dog_then(&last)).check([14, 0, 11, 0]);
}

/// llama.cpp before b6500, and abetlen/llama-cpp-python#1640: usage beside the choice that ends.
#[test]
fn llama_cpp_with_usage_beside_the_last_choice() {
    let last = r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"created":1722354477,"id":"chatcmpl-1","model":"m","object":"chat.completion.chunk","usage":{"completion_tokens":10,"prompt_tokens":14,"total_tokens":24}}"#;
    chat().stream(&dog_then(&[last])).check([14, 0, 10, 0]);
}

/// ggml-org/llama.cpp#22081: usage with cached tokens in every chunk.
#[test]
fn llama_cpp_with_cumulative_usage() {
    let chunk = |text: &str, tokens: u32| {
        format!(
            r#"{{"choices":[{{"finish_reason":null,"index":0,"delta":{{"content":"{text}"}}}}],"usage":{{"completion_tokens":{tokens},"prompt_tokens":45,"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":30}}}}}}"#,
            45 + tokens
        )
    };
    let (first, second) = (chunk("The quick brown fox", 4), chunk(" jumps over the lazy dog.", 10));
    chat().stream(&events(&[&first, &second])).check([45, 30, 10, 0]);
}

/// Ollama `openai/openai.go`: usage in a last chunk without choices, or beside the last choice before 0.3.
#[test]
fn ollama_with_usage() {
    let head = r#""id":"chatcmpl-287","object":"chat.completion.chunk","created":1728222000,"model":"llama3.2","system_fingerprint":"fp_ollama""#;
    let says = format!(
        r#"{{{head},"choices":[{{"index":0,"delta":{{"role":"assistant","content":"{DOG}"}},"finish_reason":null}}]}}"#
    );
    let usage = r#""usage":{"prompt_tokens":27,"completion_tokens":11,"total_tokens":38}"#;
    let ends = format!(
        r#"{{{head},"choices":[{{"index":0,"delta":{{"role":"assistant","content":""}},"finish_reason":"stop"}}]"#
    );
    let apart = [
        says.clone(),
        format!("{ends}}}"),
        format!(r#"{{{head},"choices":[],{usage}}}"#),
    ];
    let beside = [says, format!("{ends},{usage}}}")];
    for chunks in [apart.as_slice(), beside.as_slice()] {
        let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
        chat().stream(&events(&chunks)).check([27, 0, 11, 0]);
    }
}

/// ollama/ollama#5370: a prompt that was cached is claimed as none. The provider asks for nothing and gets nothing.
#[test]
fn ollama_with_a_cached_prompt() {
    let last = r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":11,"total_tokens":11}}"#;
    chat().stream(&dog_then(&[last])).check([0, 0, 11, 0]);
}

/// OpenAI's reference: `usage` is null in every chunk but the last; padding against side channels in `obfuscation`.
#[test]
fn openai_with_details() {
    let stream = dog_then(&[
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1694268190,"model":"m","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"x7Kq"}"#,
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1694268190,"model":"m","service_tier":"default","system_fingerprint":"fp_1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":10,"total_tokens":19,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"obfuscation":""}"#,
    ]);
    chat().stream(&stream).check([9, 0, 10, 0]);
}

/// The answers in one piece: vLLM, SGLang, llama.cpp, Ollama, OpenAI.
#[test]
fn answers_in_one_piece() {
    let usages = [
        (
            r#"{"prompt_tokens":32,"total_tokens":43,"completion_tokens":11,"prompt_tokens_details":null}"#,
            [32, 0, 11, 0],
        ),
        (
            r#"{"prompt_tokens":32,"total_tokens":43,"completion_tokens":11,"prompt_tokens_details":{"cached_tokens":16},"reasoning_tokens":0}"#,
            [32, 16, 11, 0],
        ),
        (
            r#"{"completion_tokens":11,"prompt_tokens":32,"total_tokens":43}"#,
            [32, 0, 11, 0],
        ),
        (
            r#"{"prompt_tokens":32,"completion_tokens":11,"total_tokens":43}"#,
            [32, 0, 11, 0],
        ),
        (
            r#"{"prompt_tokens":32,"completion_tokens":11,"total_tokens":43,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}"#,
            [32, 0, 11, 0],
        ),
    ];
    for (usage, expected) in usages {
        let body = format!(
            r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{DOG}","refusal":null,"annotations":[],"audio":null,"function_call":null,"tool_calls":[],"reasoning_content":null}},"logprobs":null,"finish_reason":"stop","stop_reason":null,"matched_stop":1}}],"usage":{usage},"timings":{{"prompt_n":32}}}}"#
        );
        chat().answer(&body).check(expected);
    }
}

/// Two choices: usage is over both.
#[test]
fn several_choices_are_counted_together() {
    const TWO: &str = r#"{"model":"m","n":2,"max_tokens":50,"messages":[{"role":"user","content":"hello world"}]}"#;
    let chunk = |index: u32| format!(r#"{{"choices":[{{"index":{index},"delta":{{"content":"{DOG}"}}}}]}}"#);
    let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":22,"total_tokens":31}}"#;
    let case = || Case::new(Endpoint::ChatCompletions, TWO);
    case()
        .stream(&events(&[&chunk(0), &chunk(1), usage]))
        .check([9, 0, 22, 0]);
    case()
        .stream(&events(&[&chunk(0), &chunk(1)]))
        .check([CHAT_TOKENS, 0, 20, 0]);
}
