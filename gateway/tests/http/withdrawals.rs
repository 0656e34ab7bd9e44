//! Withdrawals that a gateway pays on a devnet over HTTP: from the coins that were paid in to those at the payee.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use filature_billing::chain::{Address, Body, Coins, Devnet, Network};
use filature_billing::{Nano, WithdrawalState};
use filature_gateway::admin::NewWithdrawal;
use filature_gateway::config::{Config, Sources, Written};
use insta::assert_snapshot;
use serde_json::Value;

use crate::deposits::{TON, address, contract, devnet, json, prepared, settlement, until_available};
use crate::exchange::Exchanges;
use crate::gateway::{Gateway, Kept};

/// How long a withdrawal may take to be paid.
const PAY_MAX: Duration = Duration::from_secs(20);

/// The key of the wallet that deposits arrive at, in a file of this mode.
fn key_file(folder: &Path, mode: u32) -> String {
    let path = folder.join("withdrawals.key");
    std::fs::write(&path, "01".repeat(32)).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
    path.display().to_string()
}

fn give(devnet: &Devnet, nano: u64, body: &Body) {
    let amount = Coins::new(nano.into()).expect("an amount");
    devnet.give(address(), amount, body).expect("given");
}

fn holds(devnet: &Devnet, account: Address) -> u64 {
    let state = devnet.truth(account).expect("an account");
    state.balance.nano().expect("an amount").get()
}

/// Asks until something is there.
async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < PAY_MAX, "nothing came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_metrics(exchanges: &mut Exchanges<'_>, lines: &[&str]) {
    until(async || {
        let metrics = exchanges.get("/metrics").await;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        lines.iter().all(|line| metrics.contains(line)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_paid_in_is_paid_out_again() {
    let (data, id, key) = prepared().await;
    let (devnet, url) = devnet().await;
    let secret = key_file(data.path(), 0o600);
    let rest = format!("{}\nwithdrawal_wallet_key_file = {secret:?}", settlement(&url, &[&id]));
    let gateway = Gateway::launch_in(data, Kept::Embedded, "", &rest, vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key);
    let told = json(&exchanges.post("/v1/deposits", "").await);
    let comment = told["data"]["comment"].as_str().expect("a comment");
    give(&devnet, 9 * TON, &Body::comment_of(comment).expect("a comment"));
    until_available(&mut exchanges, 14 * TON).await;

    let (to, other) = (Address::basechain([9; 32]), Address::basechain([8; 32]));
    let ask = |name: &str, nano: u64, to: Address| {
        let to = to.friendly(false, Network::Testnet);
        format!(r#"{{"id":"{name}","amount_nano":{nano},"address":"{to}"}}"#)
    };
    let asked = json(&exchanges.post("/v1/withdrawals", ask("home", 2 * TON + 1, to)).await);
    assert_eq!(asked["data"]["status"], "asked");
    let paid = async |exchanges: &mut Exchanges<'_>, place: usize| -> Value {
        until(async || {
            let listed = json(&exchanges.get("/v1/withdrawals").await);
            let one = listed["data"][place].clone();
            (one["status"] == "paid").then_some(one)
        })
        .await
    };
    let first = paid(&mut exchanges, 0).await;
    let hash = first["transaction"].as_str().expect("a hash");
    assert_eq!(hash.len(), 64, "{first}");
    assert_eq!(holds(&devnet, to), 2 * TON + 1);
    // The wallet has less than the next one: it waits, and says how much is missing.
    exchanges.post("/v1/withdrawals", ask("more", 11 * TON, other)).await;
    let lacks = until(async || {
        let metrics = exchanges.get("/metrics").await;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("filature_withdrawals_lack"))?;
        let lacks: u64 = line.split(' ').next_back()?.parse().ok()?;
        (lacks > 0).then_some(lacks)
    })
    .await;
    assert!((4 * TON..4 * TON + TON / 10).contains(&lacks), "{lacks}");
    assert_eq!(holds(&devnet, other), 0);
    give(&devnet, 5 * TON, &Body::default());
    paid(&mut exchanges, 1).await;
    assert_eq!(holds(&devnet, other), 11 * TON);
    until_metrics(
        &mut exchanges,
        &[
            "filature_withdrawals_paid_total 2",
            "filature_withdrawals_nano_total 13000000001",
            "filature_withdrawals_returned_total 0",
            "filature_withdrawals_lack 0",
        ],
    )
    .await;
    until_available(&mut exchanges, TON - 1).await;
}

/// The operator asks; what cannot be paid is credit again.
async fn an_operators_withdrawals_are_paid(kept: Kept) {
    let (devnet, url) = devnet().await;
    let rest = settlement(&url, &[]);
    let rest = format!("{rest}\nwithdrawal_wallet_key = \"{}\"", "01".repeat(32));
    give(&devnet, 20 * TON, &Body::default());
    let gateway = Gateway::launch_on(kept, "", &rest, vec![]).await;
    let account = &gateway.account;
    let ask = async |id: &str, to: Address| {
        let new = NewWithdrawal {
            id: id.to_owned(),
            amount: Nano::new(TON / 2).expect("an amount"),
            to: to.to_string(),
        };
        gateway.admin.withdraw(account, &new).await.map(|asked| asked.id)
    };
    let to = Address::basechain([9; 32]);
    ask("w1", to).await.expect("withdrawn");
    // A gateway knows its own accounts. Who reaches Redis without one does not, and the coins come back.
    let own = ask("w2", contract()).await;
    assert_eq!(own.is_ok(), kept == Kept::Redis, "{own:?}");
    let states = until(async || {
        let listed = gateway.admin.withdrawals(Some(account), None, 9).await.expect("a list");
        let states: Vec<_> = listed.withdrawals.into_iter().map(|one| one.state).collect();
        let over = |state: &WithdrawalState| !matches!(state, WithdrawalState::Asked | WithdrawalState::Sent { .. });
        states.iter().all(over).then_some(states)
    })
    .await;
    assert!(matches!(states[0], WithdrawalState::Paid { .. }), "{states:?}");
    let back = |state: &WithdrawalState| matches!(state, WithdrawalState::Returned { why, .. } if why.contains("operator's own"));
    assert!(states[1..].iter().all(back), "{states:?}");
    assert_eq!(states.len(), 1 + usize::from(own.is_ok()));
    assert_eq!(holds(&devnet, to), TON / 2);
    let mut exchanges = Exchanges::new(&gateway);
    until_available(&mut exchanges, 2 * TON - TON / 2).await;
    let books = gateway.admin.books().await.expect("books");
    assert!(books.conserved, "{books:?}");
}

#[tokio::test]
async fn an_operators_withdrawals_are_paid_on_the_embedded_ledger() {
    an_operators_withdrawals_are_paid(Kept::Embedded).await;
}

#[tokio::test]
async fn an_operators_withdrawals_are_paid_on_redis() {
    an_operators_withdrawals_are_paid(Kept::Redis).await;
}

#[tokio::test]
async fn a_pause_keeps_withdrawals_waiting() {
    let (devnet, url) = devnet().await;
    let rest = settlement(&url, &[]);
    let rest = format!(
        "{rest}\nwithdrawal_wallet_key = \"{}\"\nwithdrawals_paused = true",
        "01".repeat(32)
    );
    give(&devnet, 20 * TON, &Body::default());
    let gateway = Gateway::launch("", &rest, vec![]).await;
    let new = NewWithdrawal {
        id: "w1".to_owned(),
        amount: Nano::new(TON).expect("an amount"),
        to: Address::basechain([9; 32]).to_string(),
    };
    gateway.admin.withdraw(&gateway.account, &new).await.expect("withdrawn");
    // The deposits that arrive after it was asked for are read: the gateway has had its turns.
    give(&devnet, TON, &Body::default());
    let mut exchanges = Exchanges::new(&gateway);
    let line = r#"filature_deposits_uncredited_total{filature_reason="no_comment"} 2"#;
    until_metrics(&mut exchanges, &[line]).await;
    let listed = gateway.admin.withdrawals(None, None, 9).await.expect("a list");
    assert_eq!(listed.withdrawals.len(), 1);
}

#[tokio::test]
async fn on_the_mainnet_an_address_of_the_testnet_is_refused() {
    let (data, id, key) = prepared().await;
    let (_devnet, url) = devnet().await;
    let rest = settlement(&url, &[&id]).replace("\"testnet\"", "\"mainnet\"");
    let deposits = address().friendly(false, Network::Testnet);
    let rest = rest.replace(&deposits, &address().friendly(false, Network::Mainnet));
    let gateway = Gateway::launch_in(data, Kept::Embedded, "", &rest, vec![]).await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key(&key);
    let to = Address::basechain([9; 32]);
    for bounceable in [true, false] {
        for (network, status) in [(Network::Testnet, 400), (Network::Mainnet, 200)] {
            let to = to.friendly(bounceable, network);
            let body = format!(r#"{{"id":"w{bounceable}","amount_nano":{TON},"address":"{to}"}}"#);
            assert_eq!(exchanges.post("/v1/withdrawals", body).await.status, status);
        }
    }
    let listed = json(&exchanges.get("/v1/withdrawals").await);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(2));
    assert_snapshot!(exchanges.text());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let data = tempfile::tempdir().expect("a folder");
    for (mode, why) in [(0o640, "chmod 600"), (0o604, "chmod 600")] {
        let file = key_file(data.path(), mode);
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[ledger]\ndata = {:?}\n[settlement]\nwithdrawal_wallet_key_file = {file:?}",
            data.path().join("data")
        );
        let file = Some(Written {
            path: "test.toml".to_owned(),
            text,
        });
        let config = Config::load(&Sources {
            file,
            ..Sources::default()
        });
        let refused = filature_gateway::serve::run(config.expect("a good configuration"));
        let refused = format!("{:#}", refused.expect_err("it does not start"));
        assert!(refused.contains(why) && !refused.contains("0101"), "{refused}");
    }
}
