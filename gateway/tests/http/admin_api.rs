//! The admin API over HTTP: who may use it, what it does, and that it is nowhere else.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use filature_gateway::admin::{AdminToken, generate_token};
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

use crate::exchange::Exchanges;
use crate::gateway::{Gateway, Kept, engines, providers};

/// How long a change may take to be felt: a second, and however long a machine that builds beside the test holds it up.
const CHANGE_MAX: Duration = Duration::from_secs(20);

struct Operated {
    gateway: Gateway,
    ada: String,
    bob: String,
    /// The file of tokens, in its folder.
    file: PathBuf,
    _dir: TempDir,
}

/// A gateway with an admin API for two: Ada stands in the settings, Bob in the file.
async fn operated(kept: Kept) -> Operated {
    let [ada, bob] = [(); 2].map(|()| generate_token(&mut rand::rng()));
    let line = |name: &str, token: &str| AdminToken::new(name, token).expect("a name").to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("tokens");
    std::fs::write(&file, format!("# operators\n\n{}\n", line("bob", &bob))).expect("written");
    let engines = engines().await;
    let rest = format!(
        "{}\n[admin]\nlisten = \"127.0.0.1:ADMIN_PORT\"\ntokens = [{:?}]\ntokens_file = {:?}\n",
        providers(&engines),
        line("ada", &ada),
        file
    );
    let gateway = Gateway::launch_on(kept, "", &rest, engines).await;
    Operated {
        gateway,
        ada,
        bob,
        file,
        _dir: dir,
    }
}

async fn an_operator_works(kept: Kept) {
    let operated = operated(kept).await;
    let Operated { gateway, ada, bob, .. } = &operated;
    let mut exchanges = Exchanges::new(gateway);
    exchanges.at_port(gateway.admin_port);
    exchanges.with_key(ada);
    let read = |answer: crate::exchange::Answer| serde_json::from_slice::<Value>(&answer.body).expect("json");
    let made = exchanges.post("/admin/v1/accounts", r#"{"name":"acme"}"#).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let account = read(made)["id"].as_str().expect("an id").to_owned();
    let credit = format!("/admin/v1/accounts/{account}/credit");
    let credited = exchanges.post(&credit, r#"{"amount":5000000,"id":"invoice-7"}"#).await;
    assert_eq!(read(credited)["account"]["available"], 5_000_000);
    let new = format!(
        r#"{{"account":"{account}","name":"app","limits":{{"requests_per_min":1,"budget":{{"amount":9000,"period":"day"}}}}}}"#
    );
    let created = read(exchanges.post("/admin/v1/keys", new).await);
    let id = created["record"]["id"].as_str().expect("an id").to_owned();
    let secret = created["key"].as_str().expect("a secret").to_owned();

    exchanges.with_key(bob);
    let key = format!("/admin/v1/keys/{id}");
    let patch = br#"{"limits":{"requests_per_min":2,"budget":null}}"#;
    let updated = exchanges.exchange(&format!("PATCH {key}"), "", patch).await;
    assert_eq!(read(updated)["limits"], serde_json::json!({"requests_per_min": 2}));
    let mut caller = Exchanges::new(gateway);
    caller.with_key(&secret);
    let call = r#"{"model":"sim-small","messages":[{"role":"user","content":"Hi"}],"max_tokens":3}"#;
    let answer = caller.post("/v1/chat/completions", call).await;
    assert_eq!((answer.status, answer.header("x-ratelimit-limit-requests")), (200, "2"));
    let id_of_call = answer.header("x-generation-id").to_owned();
    assert_eq!(caller.get(&format!("/v1/generation?id={id_of_call}")).await.status, 200);
    let shown = read(exchanges.get(&key).await);
    assert!(shown["use"]["spent"].as_u64() > Some(0), "{shown}");
    let usage = read(exchanges.get(&format!("/admin/v1/accounts/{account}/usage")).await);
    assert_eq!(usage["usage"][0]["key"], id.as_str());
    assert_eq!(exchanges.exchange(&format!("DELETE {key}"), "", b"").await.status, 200);
    assert_eq!(caller.post("/v1/chat/completions", call).await.status, 401);
    assert_eq!(read(exchanges.get("/admin/v1/books").await)["conserved"], true);

    // Who did what stands in the trail, next to what the test's own operator did; secrets stand nowhere.
    let trail = read(exchanges.get("/admin/v1/audit?max=1000").await);
    let by = |name: &str| -> Vec<String> {
        let entries = trail["entries"]
            .as_array()
            .expect("entries")
            .iter()
            .map(|audited| &audited["entry"]);
        let of_name = entries.filter(|entry| entry["actor"] == name);
        of_name
            .map(|entry| entry["action"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(by("ada"), ["account.create", "account.credit", "key.create"]);
    assert_eq!(by("bob"), ["key.update", "key.revoke"]);
    assert!(!by(&filature_gateway::admin::user::this()).is_empty());
    let text = trail.to_string();
    assert!(![&secret, ada, bob].iter().any(|secret| text.contains(*secret)));
}

#[tokio::test]
async fn an_operator_works_with_the_embedded_ledger() {
    an_operator_works(Kept::Embedded).await;
}

#[tokio::test]
async fn an_operator_works_with_redis() {
    an_operator_works(Kept::Redis).await;
}

#[tokio::test]
async fn nobody_else_gets_in_and_callers_port_knows_nothing_of_it() {
    let operated = operated(Kept::Embedded).await;
    let Operated { gateway, ada, .. } = &operated;
    let mut exchanges = Exchanges::new(gateway);
    exchanges.at_port(gateway.admin_port);
    let hash = AdminToken::new("ada", ada).expect("a name").hash.to_string();
    let mut answers = Vec::new();
    for key in ["", "nonsense", &gateway.key, &hash, &ada[1..]] {
        exchanges.with_key(key);
        for path in ["/admin/v1/accounts", "/admin/v1/nothing", "/"] {
            let answer = exchanges.get(path).await;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, "Bearer"),
                "{path}"
            );
            answers.push(answer.body);
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "a refusal does not say why");
    // With a good token, on the wrong port.
    exchanges.with_key(ada);
    exchanges.at_port(gateway.port);
    assert_eq!(exchanges.get("/admin/v1/accounts").await.status, 404);
    assert_eq!(exchanges.get("/v1/models").await.status, 401);
}

#[tokio::test]
async fn the_file_of_tokens_counts_as_it_is_and_not_as_it_was_at_the_start() {
    let operated = operated(Kept::Embedded).await;
    let (gateway, file) = (&operated.gateway, &operated.file);
    let mut exchanges = Exchanges::new(gateway);
    exchanges.at_port(gateway.admin_port);
    let mut comes_to = async |token: &str, status: u16| {
        let changed = Instant::now();
        exchanges.with_key(token);
        while exchanges.get("/admin/v1/accounts").await.status != status {
            assert!(
                changed.elapsed() < CHANGE_MAX,
                "not {status} after a change of the file"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    comes_to(&operated.bob, 200).await;
    // Bob leaves and Eve comes, in one stroke, as editors write a file.
    let eve = generate_token(&mut rand::rng());
    let line = AdminToken::new("eve", &eve).expect("a name").to_string();
    let new = file.with_extension("new");
    std::fs::write(&new, line).expect("written");
    std::fs::rename(&new, file).expect("renamed");
    comes_to(&operated.bob, 401).await;
    comes_to(&eve, 200).await;
    std::fs::remove_file(file).expect("removed");
    comes_to(&eve, 401).await;
    // What stands in the settings has nothing to do with the file.
    comes_to(&operated.ada, 200).await;
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let operated = operated(Kept::Embedded).await;
    let Operated { gateway, ada, .. } = &operated;
    let mut exchanges = Exchanges::new(gateway);
    exchanges.at_port(gateway.admin_port);
    exchanges.with_key(ada);
    exchanges.get("/admin/v1/nothing").await;
    exchanges.get("/accounts").await;
    exchanges.post("/admin/v1/accounts", "{").await;
    exchanges.post("/admin/v1/keys", r#"{"account":"acct_nobody"}"#).await;
    exchanges
        .post("/admin/v1/keys", r#"{"account":"acct_nobody","limits":{"requests":1}}"#)
        .await;
    exchanges.get("/admin/v1/accounts/acct_nobody/usage?from=x").await;
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(exchanges.post("/admin/v1/accounts", large).await.status, 400);
    assert_snapshot!(exchanges.text());
}
