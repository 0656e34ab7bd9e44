use super::super::Endpoint::{ChatCompletions, Completions, Embeddings};
use super::super::tests::{chat, check_refused, view};
use super::*;

fn wishes(provider: &str) -> ProviderPreferences {
    let body = chat(&format!(r#","provider":{provider}"#));
    *view(ChatCompletions, &body)
        .provider
        .expect("there is a provider object")
}

/// Checks that a member of `provider` is refused, at `provider.<path>`.
#[track_caller]
fn refused(member: &str, path: &str, code: &str, words: &str) {
    let body = chat(&format!(r#","provider":{{{member}}}"#));
    check_refused(ChatCompletions, body, Some(&format!("provider.{path}")), code, words);
}

fn names(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|name| &**name).collect()
}

#[test]
fn every_member_is_read() {
    let wishes = wishes(
        r#"{
            "order": ["mill-1", "mi\u006cl-2"], "only": ["a"], "ignore": [], "allow_fallbacks": false,
            "require_parameters": true, "data_collection": "deny", "zdr": true,
            "quantizations": ["fp8", "bf16", "fp8", "unknown"], "sort": {"by": "latency", "partition": "none"},
            "preferred_min_throughput": {"p50": 100, "p90": 50.5, "p99": null}, "preferred_max_latency": 3,
            "max_price": {"prompt": 0.29, "completion": "1.5", "request": 1e-9, "image": 0, "audio": "7"},
            "enforce_distillable_text": true, "experimental": {"x": 1}
        }"#,
    );
    let expected = ProviderPreferences {
        order: vec!["mill-1".into(), "mill-2".into()],
        only: vec!["a".into()],
        ignore: vec![],
        allow_fallbacks: false,
        require_parameters: true,
        data_collection: DataCollection::Deny,
        zdr: true,
        quantizations: vec![
            QuantizationLevel::Fp8,
            QuantizationLevel::Bf16,
            QuantizationLevel::Unknown,
        ],
        sort: Some(SortBy::Latency),
        sort_across_models: true,
        preferred_min_throughput: Percentiles {
            p50: Some(100.0),
            p90: Some(50.5),
            ..Percentiles::default()
        },
        preferred_max_latency: Percentiles {
            p50: Some(3.0),
            ..Percentiles::default()
        },
        max_price: MaxPrice {
            prompt: Some(290_000_000),
            completion: Some(1_500_000_000),
            request: Some(1),
            image: Some(0),
        },
    };
    assert_eq!(wishes, expected);
}

#[test]
fn absent_and_null_members_have_the_defaults() {
    assert!(ProviderPreferences::default().allow_fallbacks);
    assert_eq!(wishes("{ }"), ProviderPreferences::default());
    let nulls: Vec<String> = ACTED_ON
        .iter()
        .chain(&IGNORED)
        .map(|key| format!(r#""{key}":null"#))
        .collect();
    assert_eq!(
        wishes(&format!("{{{}}}", nulls.join(","))),
        ProviderPreferences::default()
    );
    for body in [chat(""), chat(r#","provider":null"#)] {
        assert_eq!(view(ChatCompletions, &body).provider, None);
    }
    assert_eq!(
        wishes(r#"{"sort":{"by":null,"partition":null}}"#),
        ProviderPreferences::default()
    );
    assert_eq!(
        wishes(r#"{"sort":{"partition":"model","by":"price"}}"#).sort,
        Some(SortBy::Price)
    );
}

#[test]
fn completions_and_embeddings_have_wishes_too() {
    for (endpoint, prompt) in [(Completions, "prompt"), (Embeddings, "input")] {
        let body = format!(r#"{{"model":"m","{prompt}":"p","provider":{{"sort":"throughput","only":["a"]}}}}"#);
        let provider = view(endpoint, &body).provider.unwrap();
        assert_eq!(
            (provider.sort, names(&provider.only)),
            (Some(SortBy::Throughput), vec!["a"])
        );
    }
}

#[test]
fn what_is_not_documented_is_refused_by_its_path() {
    for (member, path) in [
        (r#""speed":1"#, "speed"),
        (r#""Order":["a"]"#, "Order"),
        (r#""speed":null"#, "speed"),
        (r#""max_price":{"tokens":1}"#, "max_price.tokens"),
        (r#""max_price":{"tokens":null}"#, "max_price.tokens"),
        (r#""preferred_max_latency":{"p95":1}"#, "preferred_max_latency.p95"),
        (r#""sort":{"order":"price"}"#, "sort.order"),
    ] {
        refused(member, path, "unknown_parameter", "would not be applied");
    }
}

#[test]
fn wrong_types_are_refused_by_their_path() {
    for provider in [r#""mill-1""#, "[]", "7", "true"] {
        let body = chat(&format!(r#","provider":{provider}"#));
        check_refused(ChatCompletions, body, Some("provider"), "invalid_type", "an object");
    }
    for (member, path) in [
        (r#""order":"mill-1""#, "order"),
        (r#""only":{}"#, "only"),
        (r#""ignore":[1]"#, "ignore[0]"),
        (r#""ignore":["a",null]"#, "ignore[1]"),
        (r#""allow_fallbacks":"no""#, "allow_fallbacks"),
        (r#""require_parameters":1"#, "require_parameters"),
        (r#""zdr":"true""#, "zdr"),
        (r#""data_collection":false"#, "data_collection"),
        (r#""quantizations":"fp8""#, "quantizations"),
        (r#""quantizations":[8]"#, "quantizations[0]"),
        (r#""sort":1"#, "sort"),
        (r#""sort":["price"]"#, "sort"),
        (r#""sort":{"by":1}"#, "sort.by"),
        (r#""preferred_min_throughput":"100""#, "preferred_min_throughput"),
        (r#""preferred_max_latency":{"p50":"1"}"#, "preferred_max_latency.p50"),
        (r#""max_price":1"#, "max_price"),
        (r#""max_price":{"prompt":[]}"#, "max_price.prompt"),
        (r#""max_price":{"prompt":true}"#, "max_price.prompt"),
    ] {
        refused(member, path, "invalid_type", "expected");
    }
}

#[test]
fn wrong_values_are_refused_by_their_path() {
    for (member, path, code, words) in [
        (
            r#""data_collection":"maybe""#,
            "data_collection",
            "invalid_value",
            "'allow', 'deny'",
        ),
        (
            r#""quantizations":["q4_k_m"]"#,
            "quantizations[0]",
            "invalid_value",
            "'bf16'",
        ),
        (r#""sort":"cheapest""#, "sort", "invalid_value", "'latency'"),
        (r#""sort":{"by":"cheapest"}"#, "sort.by", "invalid_value", "'price'"),
        (
            r#""sort":{"partition":"all"}"#,
            "sort.partition",
            "invalid_value",
            "'model', 'none'",
        ),
        (
            r#""max_price":{"prompt":-1}"#,
            "max_price.prompt",
            "decimal_below_min_value",
            "at least 0",
        ),
        (
            r#""max_price":{"completion":"-0.1"}"#,
            "max_price.completion",
            "decimal_below_min_value",
            "-0.1",
        ),
        (
            r#""max_price":{"completion":"cheap"}"#,
            "max_price.completion",
            "invalid_value",
            "decimal number",
        ),
        (
            r#""max_price":{"request":""}"#,
            "max_price.request",
            "invalid_value",
            "decimal number",
        ),
        (
            r#""preferred_max_latency":-1"#,
            "preferred_max_latency",
            "decimal_below_min_value",
            "at least 0",
        ),
        (
            r#""preferred_max_latency":1e999"#,
            "preferred_max_latency",
            "invalid_value",
            "bounds",
        ),
        (r#""order":[""]"#, "order[0]", "empty_string", "empty"),
        (
            r#""order":["a"],"order":["b"]"#,
            "order",
            "duplicate_parameter",
            "given twice",
        ),
        (
            r#""max_price":{"prompt":1,"prompt":2}"#,
            "max_price.prompt",
            "duplicate_parameter",
            "twice",
        ),
    ] {
        refused(member, path, code, words);
    }
}

#[test]
fn lists_and_names_are_bounded() {
    let list = |count: usize, bytes: usize| {
        let name = format!("\"{}\"", "m".repeat(bytes));
        format!(r#""only":[{}]"#, vec![name; count].join(","))
    };
    let most = wishes(&format!("{{{}}}", list(PROVIDERS_MAX, PROVIDER_BYTES_MAX)));
    assert_eq!(
        (most.only.len(), most.only[0].len()),
        (PROVIDERS_MAX, PROVIDER_BYTES_MAX)
    );
    refused(&list(PROVIDERS_MAX + 1, 1), "only", "array_above_max_length", "64");
    refused(
        &list(1, PROVIDER_BYTES_MAX + 1),
        "only[0]",
        "string_above_max_length",
        "256",
    );
    refused(&list(1_000_000, 1), "only", "array_above_max_length", "64");
}
