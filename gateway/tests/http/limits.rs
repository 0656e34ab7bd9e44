//! The limits of a key: what is told of them on every answer, what is refused beyond them, and when.

use filature_billing::KeyId;
use filature_gateway::admin::KeyPatch;
use insta::assert_snapshot;
use serde_json::Value;

use crate::exchange::{Answer, Exchanges};
use crate::gateway::{Gateway, Kept, engines, providers};

const CHAT: &str = "/v1/chat/completions";
const CALL: &str = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;
const STREAM: &str =
    r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3,"stream":true}"#;

/// The six headers: limit, remaining and reset of requests, then of tokens.
fn rates(answer: &Answer) -> [String; 6] {
    [
        "limit-requests",
        "remaining-requests",
        "reset-requests",
        "limit-tokens",
        "remaining-tokens",
        "reset-tokens",
    ]
    .map(|name| answer.header(&format!("x-ratelimit-{name}")).to_owned())
}

/// A time as Go writes it, in seconds.
fn seconds(text: &str) -> f64 {
    if let Some(ms) = text.strip_suffix("ms") {
        return ms.parse::<f64>().expect("a number") / 1e3;
    }
    let text = text.strip_suffix('s').expect("seconds");
    let (minutes, seconds) = text.split_once('m').unwrap_or(("0", text));
    minutes.parse::<f64>().expect("minutes") * 60.0 + seconds.parse::<f64>().expect("seconds")
}

/// Waits until the key's calls hold nothing: what the last of them was charged counts by then.
async fn settled(gateway: &Gateway, key: &KeyId) {
    let began = std::time::Instant::now();
    loop {
        let used = gateway.admin.key(key).await.expect("the key").used;
        if used.holds == 0 {
            return;
        }
        assert!(began.elapsed() < std::time::Duration::from_secs(20), "{used:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn on(kept: Kept) -> Gateway {
    let engines = engines().await;
    let rest = providers(&engines);
    Gateway::launch_on(kept, "", &rest, engines).await
}

async fn limits_are_told_and_kept(kept: Kept) {
    let gateway = on(kept).await;
    let key = gateway.limited(r#"{"requests_per_min":2,"tokens_per_min":1000}"#).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    for (body, remaining) in [(CALL, "1"), (STREAM, "0")] {
        let answer = exchanges.post(CHAT, body).await;
        assert_eq!(answer.status, 200);
        let [limit, left, reset, token_limit, tokens_left, tokens_reset] = rates(&answer);
        assert_eq!((limit.as_str(), left.as_str()), ("2", remaining));
        // Each request takes half a minute to come back.
        let (reset, whole) = (
            seconds(&reset),
            30.0 * (2.0 - remaining.parse::<f64>().expect("a number")),
        );
        assert!(reset > 0.0 && reset <= whole, "{reset}");
        assert_eq!(token_limit, "1000");
        let tokens_left: u32 = tokens_left.parse().expect("a number");
        assert!(
            tokens_left < 1000 && seconds(&tokens_reset) > 0.0,
            "{tokens_left} {tokens_reset}"
        );
    }
    let refused = exchanges.post(CHAT, CALL).await;
    assert_eq!((refused.status, rates(&refused)[1].as_str()), (429, "0"));
    let after: f64 = refused.header("retry-after").parse().expect("seconds");
    assert!(after > 0.0 && after <= 30.0, "{after}");
    let body: Value = serde_json::from_slice(&refused.body).expect("json");
    assert_eq!(
        (&body["error"]["type"], &body["error"]["code"]),
        (&"requests".into(), &"rate_limit_exceeded".into())
    );
    // Another key of the same account is another matter, and has no such headers.
    exchanges.with_key(&gateway.key);
    assert_eq!(rates(&exchanges.post(CHAT, CALL).await), [const { String::new() }; 6]);
}

#[tokio::test]
async fn limits_are_told_and_kept_by_the_embedded_ledger() {
    limits_are_told_and_kept(Kept::Embedded).await;
}

#[tokio::test]
async fn limits_are_told_and_kept_by_redis() {
    limits_are_told_and_kept(Kept::Redis).await;
}

#[tokio::test]
async fn a_call_with_more_tokens_than_a_minute_has_is_told_so() {
    let gateway = Gateway::start().await;
    let key = gateway.limited(r#"{"tokens_per_min":3}"#).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    let refused = exchanges.post(CHAT, CALL).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, ""));
    assert_eq!(rates(&refused), ["", "", "", "3", "3", "0s"].map(str::to_owned));
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn a_key_calls_only_the_models_it_may() {
    let gateway = Gateway::start().await;
    let key = gateway.limited(r#"{"models":["sim-large","sim-pair"]}"#).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 403);
    // Fallbacks are confined too: the first that is allowed leads.
    let body = CALL.replace(r#""sim-small""#, r#""sim-small","models":["sim-small","sim-pair"]"#);
    let answer = exchanges.post(CHAT, &body).await;
    let answered: Value = serde_json::from_slice(&answer.body).expect("json");
    assert_eq!((answer.status, &answered["model"]), (200, &"sim-pair".into()));
    assert_eq!(
        exchanges
            .post(CHAT, CALL.replace("sim-small", "sim-large"))
            .await
            .status,
        200
    );
    for (path, status) in [
        ("/v1/models", 200),
        ("/v1/models/sim-large", 200),
        ("/v1/models/sim-large/endpoints", 200),
        ("/v1/models/sim-small", 404),
        ("/v1/models/sim-small/endpoints", 404),
    ] {
        let answer = exchanges.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(
            status == 404 || !String::from_utf8_lossy(&answer.body).contains("sim-small"),
            "{path}"
        );
    }
}

/// The models are the gateway's to check: it must notice that they have changed, without a look-up of its own before the
/// reservation.
async fn a_change_of_models_is_felt(kept: Kept) {
    let engines = engines().await;
    let rest = format!("{}\n[keys]\ncache_ms = 0\n", providers(&engines));
    let gateway = Gateway::launch_on(kept, "", &rest, engines).await;
    let key = gateway.limited("{}").await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 200);
    let set = async |models: &str| {
        let patch: KeyPatch = serde_json::from_str(&format!(r#"{{"limits":{{"models":{models}}}}}"#)).expect("a patch");
        gateway.admin.update_key(&key.record.id, &patch).await.expect("updated");
    };
    set(r#"["sim-large"]"#).await;
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 403);
    let both = CALL.replace(r#""sim-small""#, r#""sim-small","models":["sim-large"]"#);
    set(r#"["sim-small"]"#).await;
    assert_eq!(exchanges.post(CHAT, &both).await.status, 200);
    set("null").await;
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 200);
    // What was held for the call that was refused in the end is given back.
    settled(&gateway, &key.record.id).await;
}

#[tokio::test]
async fn a_change_of_models_is_felt_with_the_embedded_ledger() {
    a_change_of_models_is_felt(Kept::Embedded).await;
}

#[tokio::test]
async fn a_change_of_models_is_felt_with_redis() {
    a_change_of_models_is_felt(Kept::Redis).await;
}

#[tokio::test]
async fn a_budget_ends_a_key_and_a_larger_one_revives_it() {
    let gateway = Gateway::start().await;
    // One call costs 100 nano and its tokens; the second is not afforded any more.
    let key = gateway.limited(r#"{"budget":{"amount":1500,"period":"month"}}"#).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    let served = async |exchanges: &mut Exchanges<'_>| {
        let mut count = 0;
        loop {
            let answer = exchanges.post(CHAT, CALL).await;
            if answer.status != 200 {
                break (count, answer);
            }
            count += 1;
            assert!(count < 20, "the budget never ends");
        }
    };
    let (count, refused) = served(&mut exchanges).await;
    assert!(count > 0);
    let body: Value = serde_json::from_slice(&refused.body).expect("json");
    assert_eq!(
        (refused.status, &body["error"]["code"]),
        (429, &"insufficient_quota".into())
    );
    // Until the first of the next month.
    let after: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!(after <= 31 * 86_400, "{after}");
    settled(&gateway, &key.record.id).await;
    let info: Value = serde_json::from_slice(&exchanges.get("/v1/key").await.body).expect("json");
    let info = &info["data"];
    assert_eq!(
        (&info["limit_nano"], &info["limit_reset"]),
        (&1500.into(), &"monthly".into())
    );
    let spent = info["usage_nano"].as_u64().expect("a number");
    assert!(
        spent <= 1500 && info["usage_monthly_nano"].as_u64() == Some(spent),
        "{info}"
    );
    assert_eq!(info["limit_remaining_nano"].as_u64(), Some(1500 - spent));
    let patch: KeyPatch = serde_json::from_str(r#"{"limits":{"budget":{"amount":3000}}}"#).expect("a patch");
    let updated = gateway.admin.update_key(&key.record.id, &patch).await.expect("updated");
    assert_eq!(
        updated.limits.budget.map(|budget| budget.period.as_str()),
        Some("month")
    );
    assert!(served(&mut exchanges).await.0 > 0);
}

/// A budget that is too small for the dear provider of a plan is enough for the cheap one.
#[tokio::test]
async fn a_small_budget_is_served_by_the_cheap_provider() {
    let gateway = Gateway::start().await;
    let key = gateway.limited(r#"{"budget":{"amount":2000}}"#).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    let answer = exchanges.post(CHAT, CALL.replace("sim-small", "sim-pair")).await;
    let answered: Value = serde_json::from_slice(&answer.body).expect("json");
    assert_eq!(
        (answer.status, &answered["system_fingerprint"]),
        (200, &"sim-first".into())
    );
}

/// What was revoked or has lost its rights stops within the age that the cache allows, on every route.
async fn a_revoked_key_is_refused_everywhere(kept: Kept) {
    let gateway = on(kept).await;
    let key = gateway.limited("{}").await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key.key);
    let paths = [
        "/v1/models",
        "/v1/models/sim-small",
        "/v1/key",
        "/v1/credits",
        "/v1/usage",
        "/v1/generation?id=x",
    ];
    for path in paths {
        assert_ne!(exchanges.get(path).await.status, 401, "{path}");
    }
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 200);
    gateway.admin.revoke_key(&key.record.id).await.expect("revoked");
    // A call is refused at once: the reservation knows.
    assert_eq!(exchanges.post(CHAT, CALL).await.status, 401);
    let began = std::time::Instant::now();
    while exchanges.get("/v1/key").await.status != 401 {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(20),
            "the cache never forgets"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for path in paths {
        assert_eq!(exchanges.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_with_the_embedded_ledger() {
    a_revoked_key_is_refused_everywhere(Kept::Embedded).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_everywhere_with_redis() {
    a_revoked_key_is_refused_everywhere(Kept::Redis).await;
}
