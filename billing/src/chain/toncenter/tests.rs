//! The client against endpoints that fail, lag, lie and talk nonsense.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::chain::Devnet;
use crate::chain::suite::{Server, TON, Through, World, pay, payee};
use crate::chain::{AccountStatus, DevnetSettings, Faults, Incoming};

/// An endpoint that answers everything alike, and remembers what it was asked.
struct Canned {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Canned {
    /// `None` never answers.
    async fn start(status: u16, body: Option<&[u8]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, body) = (asked.clone(), body.map(Bytes::copy_from_slice));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, body) = (noted.clone(), body.clone());
                let respond = move |request: Request<hyper::body::Incoming>| {
                    let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok());
                    noted
                        .lock()
                        .push(format!("{} {}", request.uri().path(), key.unwrap_or("-")));
                    let body = body.clone();
                    async move {
                        let Some(body) = body else {
                            return std::future::pending().await;
                        };
                        let mut response = Response::new(Full::new(body));
                        *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
                        Ok::<_, Infallible>(response)
                    }
                };
                connections.spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new();
                    // The client hangs up when it has had enough.
                    drop(
                        connection
                            .serve_connection(TokioIo::new(stream), service_fn(respond))
                            .await,
                    );
                });
            }
        });
        Self {
            url,
            asked,
            _task: task,
        }
    }

    fn times(&self) -> usize {
        self.asked.lock().len()
    }
}

fn client(urls: &[&str]) -> Toncenter {
    let endpoints = urls.iter().map(|url| Endpoint::parse(url, None).expect("an endpoint"));
    let settings = ToncenterSettings {
        attempt_timeout: Duration::from_millis(500),
        rest: Duration::from_millis(1),
        ..ToncenterSettings::new(endpoints.collect())
    };
    Toncenter::new(settings).expect("a client")
}

#[tokio::test]
async fn what_one_endpoint_does_not_answer_another_does() {
    let world = World::new(Through::Process, DevnetSettings::default()).await;
    world.give(payee(9), TON, "");
    let good = Server::start(&world.devnet).await;
    let failures: [(u16, Option<&[u8]>); 6] = [
        (500, Some(b"")),
        (429, Some(br#"{"error":"Ratelimit exceeded"}"#)),
        (403, Some(b"<html>")),
        (200, Some(b"<html>")),
        (200, Some(br#"{"accounts":[{"address":"0:12"}]}"#)),
        (200, None),
    ];
    for (status, body) in failures {
        let bad = Canned::start(status, body).await;
        let chain = client(&[&bad.url, &good.url]);
        let state = chain.account(payee(9)).await.expect("an account");
        assert_eq!(state.balance.get(), u128::from(TON));
        assert_eq!(bad.times(), 1);
    }
    // One that does not even listen.
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    let chain = client(&[&format!("http://{gone}"), &good.url]);
    assert!(chain.head().await.is_ok());
    // One that speaks no TLS where it should: it is told nothing.
    let plain = Canned::start(200, Some(b"{}")).await;
    let chain = client(&[&plain.url.replace("http:", "https:"), &good.url]);
    assert!(chain.head().await.is_ok());
    assert_eq!(plain.times(), 0);
    // With nobody else, the failure is told.
    let bad = Canned::start(500, Some(b"")).await;
    let failed = client(&[&bad.url]).head().await;
    assert!(matches!(failed, Err(ChainError::Unavailable(_))), "{failed:?}");
    assert_eq!(bad.times(), 2, "a single endpoint is asked again");
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_nobody_else_is_asked() {
    let words = r#"{"error":"LITE_SERVER_UNKNOWN: cannot apply external message to current state : External message was not accepted\n\nexitcode=133, steps=20"}"#;
    let first = Canned::start(500, Some(words.as_bytes())).await;
    let second = Canned::start(200, Some(b"{}")).await;
    let world = World::new(Through::Process, DevnetSettings::default()).await;
    let refused = client(&[&first.url, &second.url])
        .send(&world.sign(&[pay(payee(9), 1)], 1).bytes)
        .await;
    assert!(
        matches!(
            refused,
            Err(ChainError::Refused {
                exit_code: Some(133),
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!((first.times(), second.times()), (1, 0));
}

#[tokio::test]
async fn a_message_that_waits_already_is_sent() {
    let words = br#"{"error":"LITE_SERVER_UNKNOWN: cannot send external message : duplicate message"}"#;
    let endpoint = Canned::start(500, Some(words)).await;
    let world = World::new(Through::Process, DevnetSettings::default()).await;
    let signed = world.sign(&[pay(payee(9), 1)], 1);
    assert_eq!(client(&[&endpoint.url]).send(&signed.bytes).await, Ok(signed.hash));
}

#[tokio::test]
async fn a_lying_endpoint_is_passed_over() {
    let world = World::funded(Through::Process).await;
    let (good, bad) = (
        world.devnet.clone(),
        Devnet::open(DevnetSettings::default()).expect("a devnet"),
    );
    for n in 1..=3 {
        world.give(payee(9), n, "");
        let body = crate::chain::Body::default();
        bad.give(payee(9), crate::chain::Coins::new(n.into()).expect("an amount"), &body)
            .expect("a gift");
    }
    bad.set_faults(Faults {
        lie: Some(crate::chain::Lie::Omit),
        ..Faults::default()
    });
    let (bad, good) = (Server::start(&bad).await, Server::start(&good).await);
    let page = client(&[&bad.url, &good.url])
        .transactions(payee(9), Position::START, 10)
        .await;
    assert_eq!(page.map(|page| page.len()), Ok(3));
}

#[tokio::test]
async fn a_history_is_read_on_from_endpoint_to_endpoint() {
    let world = World::funded(Through::Process).await;
    let me = world.wallet.address();
    let views = [world.devnet.view(), world.devnet.view(), world.devnet.view()];
    let servers = [
        Server::start(&views[0]).await,
        Server::start(&views[1]).await,
        Server::start(&views[2]).await,
    ];
    let chain = client(&servers.each_ref().map(|server| server.url.as_str()));
    let (mut known, mut after) = (Vec::new(), Position::START);
    // In each round another one lags, is down, or leaves something out.
    for round in 0..12_u32 {
        for n in 0..3 {
            world.give(me, u64::from(round * 3 + n + 1), "");
        }
        for (view, turn) in views.iter().zip(round..) {
            view.set_faults(match turn % 4 {
                0 => Faults {
                    lag_blocks: 5,
                    ..Faults::default()
                },
                1 => Faults {
                    down: true,
                    ..Faults::default()
                },
                2 => Faults {
                    lie: Some(crate::chain::Lie::Omit),
                    ..Faults::default()
                },
                _ => Faults::default(),
            });
        }
        // All three may be of no use for a while; what was read stays right.
        if let Ok(page) = chain.transactions(me, after, 10).await {
            after = page.last().map_or(after, |last| last.at);
            known.extend(page);
        }
    }
    views.iter().for_each(|view| view.set_faults(Faults::default()));
    while let Some(page) = chain
        .transactions(me, after, 10)
        .await
        .ok()
        .filter(|page| !page.is_empty())
    {
        after = page.last().map_or(after, |last| last.at);
        known.extend(page);
    }
    assert_eq!(known, world.history(me).await, "each once, in order, whoever told it");
    assert_eq!(known.len(), 37);
}

#[tokio::test]
async fn the_key_goes_to_its_endpoint_only() {
    let (mine, other) = (Canned::start(500, Some(b"")).await, Canned::start(500, Some(b"")).await);
    let endpoints = vec![
        Endpoint::parse(&mine.url, Some("k3y")).expect("an endpoint"),
        Endpoint::parse(&other.url, None).expect("an endpoint"),
    ];
    let chain = Toncenter::new(ToncenterSettings::new(endpoints)).expect("a client");
    assert!(chain.head().await.is_err());
    assert!(
        mine.asked
            .lock()
            .iter()
            .all(|asked| asked == "/api/v3/masterchainInfo k3y")
    );
    assert_eq!(*other.asked.lock(), ["/api/v3/masterchainInfo -"]);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let endless = Canned::start(200, Some(&vec![b' '; 33 << 20])).await;
    let settings = ToncenterSettings {
        rest: Duration::from_millis(1),
        ..ToncenterSettings::new(vec![Endpoint::parse(&endless.url, None).expect("an endpoint")])
    };
    let answer = Toncenter::new(settings).expect("a client").head().await;
    assert!(matches!(answer, Err(ChainError::Damaged(_))), "{answer:?}");
}

#[test]
fn without_endpoints_there_is_no_client() {
    let none = Toncenter::new(ToncenterSettings::new(Vec::new()));
    assert_eq!(none.err(), Some(BadEndpoint::None));
}

/// A hash as endpoints write it.
fn hash(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

/// A page in the shape of 2026, with fields that are not read.
fn page() -> Json {
    let (me, other) = (format!("0:{}", "AB".repeat(32)), format!("0:{}", "CD".repeat(32)));
    json!({
        "transactions": [{
            "account": me, "hash": hash(2), "lt": "93307000000009", "now": 1_785_330_571, "mc_block_seqno": 82_744_100,
            "trace_id": hash(9), "prev_trans_hash": hash(0), "prev_trans_lt": "0", "orig_status": "nonexist",
            "end_status": "uninit", "total_fees": "7", "total_fees_extra_currencies": {},
            "description": {
                "type": "ord", "aborted": true, "destroyed": false, "credit_first": true,
                "storage_ph": { "storage_fees_collected": "0", "status_change": "unchanged" },
                "credit_ph": { "credit": "1000000000" },
                "compute_ph": { "skipped": true, "reason": "no_state" },
            },
            "block_ref": { "workchain": 0, "shard": "8000000000000000", "seqno": 87_315_937 },
            "in_msg": {
                "hash": hash(3), "source": other, "destination": me, "value": "1000000000",
                "value_extra_currencies": {}, "fwd_fee": "44446", "ihr_fee": "0", "extra_flags": "0",
                "created_lt": "93307000000008", "created_at": "1785330571", "opcode": null, "decoded_opcode": null,
                "ihr_disabled": true, "bounce": false, "bounced": false, "import_fee": null,
                "message_content": {
                    "hash": "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=", "body": "te6cckEBAQEAAgAAAEysuc0=",
                    "decoded": { "@type": "empty_cell" },
                },
                "init_state": null,
            },
            "out_msgs": [],
            "account_state_before": { "hash": hash(4), "balance": null },
            "account_state_after": { "hash": hash(5), "balance": "1000000000" },
            "emulated": false, "finality": "finalized",
        }],
        "address_book": {}, "metadata": {},
    })
}

#[test]
fn a_page_of_the_real_thing_is_read() {
    let page = read::transactions(page().to_string().as_bytes()).expect("a page");
    let [transaction] = page.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!(
        (transaction.at.lt, transaction.previous),
        (93_307_000_000_009, Position::START)
    );
    assert_eq!((transaction.seqno, transaction.fees.get()), (82_744_100, 7));
    let gift = transaction.credited().expect("a gift");
    assert_eq!((gift.value.get(), gift.body.comment()), (1_000_000_000, Ok(None)));
    assert_eq!(check_page(transaction.account, Position::START, &page), Ok(()));
}

#[test]
fn what_is_not_final_is_left_for_later() {
    for (field, value) in [
        ("emulated", json!(true)),
        ("finality", json!("pending")),
        ("mc_block_seqno", json!(null)),
        ("mc_block_seqno", json!(0)),
    ] {
        let mut page = page();
        page["transactions"][0][field] = value;
        assert_eq!(read::transactions(page.to_string().as_bytes()), Ok(vec![]), "{field}");
    }
}

#[test]
fn a_message_that_is_not_told_in_full_is_not_believed() {
    let other = format!("0:{}", "EF".repeat(32));
    for (field, value) in [
        ("value", json!(null)),
        ("value", json!("-1")),
        ("value", json!("1e9")),
        ("value", json!("9".repeat(40))),
        ("bounced", json!(null)),
        ("destination", json!(other)),
        ("destination", json!(null)),
        ("message_content", json!(null)),
        ("message_content", json!({ "hash": null, "body": null })),
        ("message_content", json!({ "hash": null, "body": "AAAA" })),
        (
            "message_content",
            json!({ "hash": hash(1), "body": "te6cckEBAQEAAgAAAEysuc0=" }),
        ),
    ] {
        let mut page = page();
        page["transactions"][0]["in_msg"][field] = value.clone();
        let read = read::transactions(page.to_string().as_bytes());
        assert!(matches!(read, Err(ChainError::Damaged(_))), "{field} {value}: {read:?}");
    }
}

/// Every value in `json` by its path.
fn paths(json: &Json, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    let mut within = |key: &str, value| paths(value, &format!("{at}/{key}"), all);
    match json {
        Json::Object(fields) => fields.iter().for_each(|(key, value)| within(key, value)),
        Json::Array(values) => values
            .iter()
            .enumerate()
            .for_each(|(n, value)| within(&n.to_string(), value)),
        _ => {}
    }
}

#[tokio::test]
async fn no_answer_makes_it_panic() {
    let world = World::funded(Through::Process).await;
    let me = world.wallet.address();
    world
        .chain
        .send(&world.sign(&[pay(payee(9), 1)], 0).bytes)
        .await
        .expect("taken");
    let server = Server::start(&world.devnet).await;
    let http = Http::new().expect("a client");
    let endpoint = Endpoint::parse(&server.url, None).expect("an endpoint");
    let address = ("address", me.to_string());
    let asked = [
        super::Request::get("masterchainInfo", &[]),
        super::Request::get("accountStates", &[address]),
        super::Request::get("transactions", &[("account", me.to_string()), ("sort", "asc".into())]),
        super::Request::post(
            "runGetMethod",
            &json!({ "address": me, "method": "seqno", "stack": [] }),
        ),
    ];
    let hostile = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!(""),
        json!("-1"),
        json!("0x"),
        json!("é".repeat(50)),
        json!([]),
        json!([[]]),
        json!({}),
    ];
    for request in &asked {
        let answer = http.ask(&endpoint, request).await.expect("an answer");
        let answer: Json = serde_json::from_slice(&answer).expect("JSON");
        let mut all = Vec::new();
        paths(&answer, "", &mut all);
        for path in &all {
            for value in &hostile {
                let mut changed = answer.clone();
                *changed.pointer_mut(path).expect("a value") = value.clone();
                let body = changed.to_string();
                let _ = read::head(body.as_bytes());
                let _ = read::account(me, body.as_bytes());
                let _ = read::stack("seqno", body.as_bytes());
                if let Ok(page) = read::transactions(body.as_bytes()) {
                    let _ = check_page(me, Position::START, &page);
                }
            }
        }
    }
}

#[test]
fn an_account_is_read_as_endpoints_tell_it() {
    let me = payee(9);
    let read = |account: Json| read::account(me, json!({ "accounts": [account] }).to_string().as_bytes());
    let status = |account: Json| read(account).map(|state| state.status).ok();
    assert_eq!(
        read::account(me, br#"{"accounts":[]}"#),
        Ok(AccountState::nonexistent(me))
    );
    assert_eq!(
        status(json!({ "address": me, "status": "nonexist" })),
        Some(AccountStatus::Nonexistent)
    );
    assert_eq!(
        status(json!({ "address": me, "status": "uninit", "balance": "5" })),
        Some(AccountStatus::Uninitialised)
    );
    assert_eq!(
        status(json!({ "address": me, "status": "frozen" })),
        Some(AccountStatus::Frozen)
    );
    for wrong in [
        json!({ "address": payee(8), "status": "uninit" }),
        json!({ "address": me, "status": "active" }),
        json!({ "address": me, "status": "melted" }),
        json!({ "address": me, "status": "uninit", "balance": "much" }),
    ] {
        assert!(matches!(read(wrong.clone()), Err(ChainError::Damaged(_))), "{wrong}");
    }
}

#[test]
fn a_bounce_and_a_log_are_seen_as_what_they_are() {
    let mut page = page();
    let transaction = &mut page["transactions"][0];
    transaction["description"]["bounce"] = json!({ "type": "ok" });
    let log = |to: Json| json!({ "source": transaction["account"], "destination": to, "value": null });
    transaction["out_msgs"] = json!([log(json!(null)), log(json!("EXT:7"))]);
    let read = read::transactions(page.to_string().as_bytes()).expect("a page");
    assert!(
        matches!(read.as_slice(), [one] if one.credited().is_none() && one.outgoing.is_empty()),
        "{read:?}"
    );
    page["transactions"][0]["in_msg"]["source"] = json!(null);
    let read = read::transactions(page.to_string().as_bytes()).expect("a page");
    assert!(
        matches!(read.as_slice(), [one] if matches!(one.incoming, Incoming::External(_))),
        "{read:?}"
    );
}
