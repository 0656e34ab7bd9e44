//! What engines claim, beside what the model's own tokenizer counts: in the answer, on the receipt.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::engine_by_hand::{engine, says_and_stays, says_whole};
use crate::exchange::Exchanges;
use crate::gateway::Gateway;

const CHAT: &str = "/v1/chat/completions";
/// Ten tokens of o200k_base.
const DOG: &str = "The quick brown fox jumps over the lazy dog.";
/// The most that is billed for it: those, four that leave no text, 5 % and 16.
const DOG_MOST: u64 = 31;

/// An answer that is [`DOG`], as the engines below say it.
fn whole(usage: &Value) -> String {
    let message = json!({ "role": "assistant", "content": DOG });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    json!({ "id": "c", "object": "chat.completion", "model": "m", "choices": choices, "usage": usage }).to_string()
}

/// The same as a stream of five events.
fn stream(usage: &Value) -> String {
    let chunk = |delta: Value, finish: Option<&str>, usage: &Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
        let chunk =
            json!({ "id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage });
        format!("data: {chunk}\n\n")
    };
    let (first, rest) = DOG.split_at(13);
    let (second, third) = rest.split_at(11);
    let mut events = chunk(json!({ "role": "assistant", "content": "" }), None, &Value::Null);
    for text in [first, second, third] {
        events += &chunk(json!({ "content": text }), None, &Value::Null);
    }
    events + &chunk(json!({}), Some("stop"), usage) + "data: [DONE]\n\n"
}

/// A gateway whose models are each served by an engine with a way of its own to claim tokens, all counted with o200k_base.
async fn gateway(claims: &[(&str, Value)], is_counted: bool) -> Gateway {
    let mut tables = String::new();
    for (model, usage) in claims {
        let (whole, stream) = (whole(usage), stream(usage));
        for (suffix, url) in [
            ("whole", engine(move |caller| says_whole(caller, &whole))),
            ("stream", engine(move |caller| says_and_stays(caller, &stream))),
        ] {
            tables += &format!(
                "[[providers]]\nname = \"{model}-{suffix}\"\nurl = \"{url}\"\n[[providers.models]]\nmodel = \
                 \"{model}-{suffix}\"\nprice = {{ prompt = 1_000_000, completion = 1_000_000 }}\n"
            );
        }
    }
    if is_counted {
        let models: Vec<String> = claims
            .iter()
            .flat_map(|(model, _)| [format!("{model}-whole"), format!("{model}-stream")])
            .collect();
        tables += &format!("[[tokenizers]]\nmodels = {models:?}\nvocabulary = \"o200k_base\"\n");
    }
    Gateway::launch("", &tables, Vec::new()).await
}

/// What a call came to: the usage that its caller was told, and its usage record.
async fn call(exchanges: &mut Exchanges<'_>, model: &str, suffix: &str) -> (Value, Value) {
    let is_stream = suffix == "stream";
    let mut body = json!({
        "model": format!("{model}-{suffix}"),
        "messages": [{ "role": "user", "content": "hello world" }],
        "max_tokens": 1000,
        "stream": is_stream,
    });
    if is_stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    let answer = exchanges.post(CHAT, body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", exchanges.text());
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let told = match is_stream {
        true => chunks
            .filter_map(|data| serde_json::from_str::<Value>(data).ok())
            .rfind(|chunk| !chunk["usage"].is_null())
            .map(|chunk| chunk["usage"].clone()),
        false => serde_json::from_str::<Value>(&text)
            .ok()
            .map(|body| body["usage"].clone()),
    };
    let id = answer.header("x-generation-id").to_owned();
    let receipt = exchanges.get(&format!("/v1/receipts/{id}")).await;
    assert_eq!(receipt.status, 200);
    let receipt: Value = serde_json::from_slice(&receipt.body).expect("a receipt");
    (told.unwrap_or_default(), receipt["record"].clone())
}

fn claims() -> Vec<(&'static str, Value)> {
    vec![
        (
            "honest",
            json!({ "prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21 }),
        ),
        (
            "greedy",
            json!({ "prompt_tokens": 1_000_000, "completion_tokens": 1_000_000, "total_tokens": 2_000_000 }),
        ),
        ("silent", Value::Null),
        (
            "negative",
            json!({ "prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10 }),
        ),
    ]
}

#[tokio::test]
async fn a_claim_is_paid_as_far_as_the_tokenizer_bears_it_out() {
    let claims = claims();
    let gateway = gateway(&claims, true).await;
    let mut exchanges = Exchanges::new(&gateway);
    for (model, _) in &claims {
        // "hello world" and the role are three tokens; the template may have 64 + 8, and the text is tolerated 1 + 16, but no
        // more than is held for: the template's and its 19 bytes.
        let [prompt, completion] = match *model {
            "honest" => [9, 12],
            "greedy" => [64 + 8 + 19, DOG_MOST],
            _ => [3, 10],
        };
        for suffix in ["whole", "stream"] {
            let (told, record) = call(&mut exchanges, model, suffix).await;
            assert_eq!(record["counted_by"], "o200k_base", "{model} {suffix}: {record}");
            assert_eq!(
                [&record["billed"]["prompt"], &record["billed"]["completion"]],
                [&json!(prompt), &json!(completion)],
                "{model} {suffix}: {record}"
            );
            assert_eq!(
                [&record["counted"]["prompt"], &record["counted"]["completion"]],
                [&json!(3), &json!(10)],
                "{model} {suffix}"
            );
            assert_eq!(record["cost"], json!(prompt + completion), "a nano a token");
            // Nobody is told absurd figures, whatever the engine says.
            let told = [&told["prompt_tokens"], &told["completion_tokens"]].map(|tokens| tokens.as_u64().unwrap_or(0));
            assert!(told[0] < 200 && told[1] < 100, "{model} {suffix} told {told:?}");
        }
    }
}

#[tokio::test]
async fn without_a_tokenizer_bytes_bound_the_claim() {
    let claims = claims();
    let gateway = gateway(&claims[1..2], false).await;
    let mut exchanges = Exchanges::new(&gateway);
    for suffix in ["whole", "stream"] {
        let (_, record) = call(&mut exchanges, "greedy", suffix).await;
        assert_eq!(record["counted_by"], "bytes");
        assert_eq!(record["billed"]["completion"], json!(DOG.len() + 4));
        assert_eq!(record["billed"], record["counted"]);
    }
}

#[tokio::test]
async fn what_a_provider_claims_and_is_not_paid_is_counted() {
    let claims = claims();
    let gateway = gateway(&claims, true).await;
    let mut exchanges = Exchanges::new(&gateway);
    for (model, _) in &claims {
        for suffix in ["whole", "stream"] {
            call(&mut exchanges, model, suffix).await;
        }
    }
    let page = exchanges.get("/metrics").await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    let lines = page
        .lines()
        .filter(|line| line.starts_with("filature_tokens_overclaimed_total{"));
    let mut found: Vec<_> = lines
        .map(|line| {
            let label = |name: &str| line.split_once(name)?.1.split('"').nth(1);
            let tokens = line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok());
            (label("gen_ai_provider_name"), label("gen_ai_token_type"), tokens)
        })
        .collect();
    found.sort_unstable();
    // A call of a million each, less what was billed; nobody else claimed more than passed.
    let [input, output] = [64 + 8 + 19, DOG_MOST].map(|billed| Some(1_000_000 - billed));
    let greedy = |suffix, kind, tokens| (Some(suffix), Some(kind), tokens);
    assert_eq!(
        found,
        [
            greedy("direct.greedy-stream", "input", input),
            greedy("direct.greedy-stream", "output", output),
            greedy("direct.greedy-whole", "input", input),
            greedy("direct.greedy-whole", "output", output),
        ],
        "{page}"
    );
}

#[tokio::test]
async fn who_claims_more_than_passes_loses_calls_to_who_is_dearer() {
    let right = json!({ "prompt_tokens": 9, "completion_tokens": 10, "total_tokens": 19 });
    let double = json!({ "prompt_tokens": 2_000, "completion_tokens": 2_000, "total_tokens": 4_000 });
    let mut tables = String::new();
    for (name, usage, price) in [("liar", double, 1_000_000), ("fair", right, 1_600_000)] {
        let answer = whole(&usage);
        // One call a connection: one that is closed while it is used again would look like a failure.
        let url = engine(move |mut caller| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
            let _ = caller.write_all(format!("{head}{}\r\n\r\n{answer}", answer.len()).as_bytes());
        });
        tables += &format!(
            "[[providers]]\nname = \"{name}\"\nurl = \"{url}\"\n[[providers.models]]\nmodel = \"pair\"\n\
             price = {{ prompt = {price}, completion = {price} }}\n"
        );
    }
    tables += "[[tokenizers]]\nmodels = [\"pair\"]\nvocabulary = \"o200k_base\"\n";
    let gateway = Gateway::launch("", &tables, Vec::new()).await;
    let mut exchanges = Exchanges::new(&gateway);
    let mut by = async |wish: &str| {
        let ask = r#""messages":[{"role":"user","content":"hello world"}],"max_tokens":100"#;
        let answer = exchanges
            .post(CHAT, format!("{{\"model\":\"pair\",{ask},{wish}}}"))
            .await;
        let id = answer.header("x-generation-id").to_owned();
        // Found once it is settled: the router knows by then.
        let shown = exchanges.get(&format!("/v1/generation?id={id}")).await;
        let shown: Value = serde_json::from_slice(&shown.body).expect("json");
        shown["data"]["provider_name"].as_str().expect("a name").to_owned()
    };
    // Both have served enough to be chosen by price alone.
    for name in ["fair", "liar"] {
        for _ in 0..10 {
            assert_eq!(by(&format!(r#""provider":{{"only":["direct.{name}"]}}"#)).await, name);
        }
    }
    let mut chosen = Vec::new();
    for _ in 0..40 {
        chosen.push(by(r#""provider":{"sort":"price"}"#).await);
    }
    // All but those whose first choice failed: an engine by hand closes connections as it likes.
    let of_ten = |calls: &[String], name: &str| calls.iter().filter(|chosen| *chosen == name).count();
    assert!(
        of_ten(&chosen[..10], "liar") >= 7,
        "the cheaper one, at first: {chosen:?}"
    );
    assert!(of_ten(&chosen[30..], "fair") >= 7, "{chosen:?}");
}
