//! Paying in and out over TON: what callers are told, and what a gateway credits that watches a devnet over HTTP.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::chain::{
    Address, Body, Coins, Devnet, DevnetSettings, DevnetTime, Network, Wallet, WalletKey, serve_devnet,
};
use filature_billing::{Ledger, open_embedded};
use filature_gateway::admin::AdminClient;
use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::exchange::{Answer, Exchanges};
use crate::gateway::{Gateway, Kept, customer};

pub const TON: u64 = 1_000_000_000;
/// How long a deposit may take to be credited.
const CREDIT_MAX: Duration = Duration::from_secs(20);
const LINK: &str = "?amount=5000000000&text=f";

/// A devnet with a face of its own, on a thread that lives as long as the test's process.
pub async fn devnet() -> (Devnet, String) {
    let settings = DevnetSettings {
        time: DevnetTime::Wall,
        ..DevnetSettings::default()
    };
    let devnet = Devnet::open(settings).expect("a devnet");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (served, listener) = (devnet.clone(), listener.into_std().expect("a socket"));
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = TcpListener::from_std(listener).expect("a socket");
            serve_devnet(served, listener, std::future::pending()).await;
        });
    });
    (devnet, url)
}

pub fn address() -> Address {
    let key = WalletKey::from_seed(&[1; 32]);
    Wallet::new(key.public(), Network::Testnet).expect("a wallet").address()
}

/// The settlement contract that the settings name; nothing is there.
pub fn contract() -> Address {
    Address::basechain([7; 32])
}

pub fn settlement(url: &str, keys: &[&str]) -> String {
    format!(
        r#"
        [settlement]
        network = "testnet"
        deposit_address = "{}"
        contract = "{}"
        endpoints = ["{url}"]
        api_key = "secret"
        poll_every_ms = 100
        withdrawal_keys = {keys:?}
        "#,
        address().friendly(false, Network::Testnet),
        contract()
    )
}

pub fn json(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).expect("json")
}

/// Asks until the account's credit is what it should be.
pub async fn until_available(exchanges: &mut Exchanges<'_>, nano: u64) {
    let began = Instant::now();
    loop {
        let credits = json(&exchanges.get("/v1/credits").await);
        if credits["data"]["available_nano"] == nano {
            return;
        }
        assert!(began.elapsed() < CREDIT_MAX, "{credits}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_deposit_is_credited(kept: Kept) {
    let (devnet, url) = devnet().await;
    let gateway = Gateway::launch_on(kept, "", &settlement(&url, &[]), vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    let told = json(&exchanges.post("/v1/deposits", r#"{"amount_nano":5000000000}"#).await);
    let told = &told["data"];
    let comment = told["comment"].as_str().expect("a comment");
    assert_eq!(told["address"], address().friendly(false, Network::Testnet));
    assert_eq!(
        (&told["network"], &told["minimum_nano"]),
        (&"testnet".into(), &100_000_000.into())
    );
    let link = told["link"].as_str().expect("a link");
    assert!(
        link.starts_with("ton://transfer/0Q") && link.contains(LINK) && link.ends_with(comment),
        "{link}"
    );
    let svg = told["qr_svg"].as_str().expect("a drawing");
    assert!(svg.starts_with("<?xml") && svg.contains("<path"), "{svg}");
    // The same without an amount, and without a body.
    let plain = json(&exchanges.post("/v1/deposits", "").await);
    assert_eq!(
        (&plain["data"]["comment"], plain["data"].get("amount_nano")),
        (&told["comment"], None)
    );

    let give = |nano: u64, comment: &str| {
        let (amount, body) = (Coins::new(nano.into()).expect("an amount"), Body::comment_of(comment));
        devnet
            .give(address(), amount, &body.expect("a comment"))
            .expect("given");
    };
    give(5 * TON, comment);
    give(TON, "hello");
    give(7, comment);
    give(TON / 2, &comment.to_ascii_uppercase());
    until_available(&mut exchanges, 2 * TON + 5 * TON + TON / 2).await;
    let began = Instant::now();
    let listed = loop {
        let listed = json(&exchanges.get("/v1/deposits").await);
        if listed["refused"].as_array().is_some_and(|refused| !refused.is_empty()) {
            break listed;
        }
        assert!(began.elapsed() < CREDIT_MAX, "{listed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let amounts = |list: &Value| -> Vec<String> {
        let list = list.as_array().expect("a list").iter();
        list.map(|one| format!("{} {}", one["status"], one["amount_nano"]).replace('"', ""))
            .collect()
    };
    let credited = ["credited 2000000000", "credited 5000000000", "credited 500000000"];
    assert_eq!(amounts(&listed["data"]), credited, "the operator's, and two of TON");
    assert_eq!(amounts(&listed["refused"]), ["refused 7"]);
    assert_eq!(listed["refused"][0]["reason"], "dust");
    let first = json(&exchanges.get("/v1/deposits?limit=1").await);
    let next = first["next"].as_str().expect("a place");
    let rest = json(&exchanges.get(&format!("/v1/deposits?after={next}")).await);
    assert_eq!(amounts(&rest["data"]), credited[1..]);
    let metrics = exchanges.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "filature_deposits_credited_total 2",
        r#"filature_deposits_uncredited_total{filature_reason="unmatched"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    exchanges.with_key(&gateway.poor_key);
    let others = json(&exchanges.get("/v1/deposits").await);
    assert_eq!(
        (&others["data"], &others["refused"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
}

#[tokio::test]
async fn a_deposit_is_credited_on_the_embedded_ledger() {
    a_deposit_is_credited(Kept::Embedded).await;
}

#[tokio::test]
async fn a_deposit_is_credited_on_redis() {
    a_deposit_is_credited(Kept::Redis).await;
}

/// A folder with a ledger that has a customer with 5 TON: the id and the secret of their key.
pub async fn prepared() -> (TempDir, String, String) {
    let data = tempfile::tempdir().expect("a folder");
    let ledger: Arc<dyn Ledger> = Arc::new(open_embedded(data.path()).expect("a ledger"));
    let admin = AdminClient::here(ledger);
    let (account, key) = customer(&admin, 5 * TON).await;
    let keys = admin.keys(Some(&account)).await.expect("keys");
    let id = keys.keys[0].id.to_string();
    (data, id, key)
}

#[tokio::test]
async fn unused_credit_is_withdrawn_by_a_key_that_may() {
    let (data, id, key) = prepared().await;
    let (_devnet, url) = devnet().await;
    let gateway = Gateway::launch_in(data, Kept::Embedded, "", &settlement(&url, &[&id]), vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    let to = Address::basechain([9; 32]);
    let ask = |name: &str, nano: u64, to: &str| format!(r#"{{"id":"{name}","amount_nano":{nano},"address":"{to}"}}"#);
    let friendly = to.friendly(true, Network::Testnet);
    let refused = exchanges.post("/v1/withdrawals", ask("w1", 2 * TON, &friendly)).await;
    assert_eq!(refused.status, 403, "another key of another account");
    exchanges.with_key(&key);
    let first = json(&exchanges.post("/v1/withdrawals", ask("w1", 2 * TON, &friendly)).await);
    assert_eq!(first["data"]["status"], "asked");
    assert_eq!(first["data"]["address"], to.to_string());
    // The same again, however the address is written, is no other.
    let again = json(
        &exchanges
            .post("/v1/withdrawals", ask("w1", 2 * TON, &to.to_string()))
            .await,
    );
    assert_eq!(again, first);
    until_available(&mut exchanges, 3 * TON).await;

    let (own, contract) = (address().to_string(), contract().to_string());
    let typo = friendly.replace('C', "D");
    let flags = Address::basechain([9; 32]).friendly(true, Network::Mainnet);
    for (name, nano, to) in [
        ("w1", 3 * TON, friendly.as_str()),
        ("w2", 3 * TON + 1, &friendly),
        ("w2", 1, &friendly),
        ("w2", u64::MAX, &friendly),
        ("w2", TON, "hello"),
        ("w2", TON, &typo),
        ("w2", TON, &own),
        ("w2", TON, &contract),
        ("w2", 0, &friendly),
        ("w2", 9_007_199_254_740_992, &friendly),
        ("w2", TON, "IQAJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCS2Q"),
        ("w2", TON, "Ef8zMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM0vF"),
        ("w2", TON, "UQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJKZ"),
        ("w2", TON, &format!("-1:{}", "33".repeat(32))),
        ("w2", TON, &format!("0:{}", "00".repeat(32))),
        ("a b", TON, &friendly),
    ] {
        assert_ne!(
            exchanges.post("/v1/withdrawals", ask(name, nano, to)).await.status,
            200,
            "{name} {nano} {to}"
        );
    }
    exchanges.post("/v1/withdrawals", "{}").await;
    exchanges
        .post("/v1/withdrawals", r#"{"id":"w2","amount_nano":-1,"address":"x"}"#)
        .await;
    exchanges.get("/v1/withdrawals?limit=x").await;
    exchanges.get("/v1/withdrawals?after=x").await;
    assert_eq!(
        exchanges.post("/v1/withdrawals", ask("w3", TON, &flags)).await.status,
        200
    );
    let listed = json(&exchanges.get("/v1/withdrawals").await);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn without_an_address_nothing_is_paid_in_or_out() {
    let gateway = Gateway::launch("", "", vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.post("/v1/deposits", "").await;
    exchanges
        .post("/v1/withdrawals", r#"{"id":"w","amount_nano":1,"address":"x"}"#)
        .await;
    for path in ["/v1/deposits", "/v1/withdrawals"] {
        assert_eq!(exchanges.get(path).await.status, 200, "{path}");
    }
    exchanges.with_key("");
    exchanges.post("/v1/deposits", "").await;
    assert_snapshot!(exchanges.text());
}

#[tokio::test]
async fn amounts_that_cannot_be_are_refused() {
    let (_devnet, url) = devnet().await;
    let gateway = Gateway::launch("body_bytes_max = 1024", &settlement(&url, &[]), vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    for body in [
        r#"{"amount_nano":0}"#,
        r#"{"amount_nano":99999999}"#,
        r#"{"amount_nano":9007199254740992}"#,
        r#"{"amount_nano":-1}"#,
        r#"{"amount_nano":"5"}"#,
        r#"{"amount":5}"#,
        "hello",
    ] {
        assert_eq!(exchanges.post("/v1/deposits", body).await.status, 400, "{body}");
    }
    for path in ["/v1/deposits", "/v1/withdrawals"] {
        assert_eq!(exchanges.post(path, " ".repeat(2_000)).await.status, 413, "{path}");
    }
    assert_snapshot!(exchanges.text());
}
