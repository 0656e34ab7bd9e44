use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use filature_billing::chain::{Address, Network};
use filature_billing::{AccountId, EpochStore, KeyHash, KeyId, KeyLimits, KeyRecord, Ledger, Nano, open_embedded};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::deposits::Till;
use crate::withdrawals::Destinations;

fn ledger(dir: &Path) -> Arc<dyn Ledger> {
    Arc::new(open_embedded(dir).expect("a new ledger"))
}

fn store(dir: &Path) -> EpochStore {
    EpochStore::folder(&dir.join("epochs")).expect("a store")
}

fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("in range")
}

/// What a refusal says, if it is one with this status.
fn refused<T>(result: Result<T, AdminError>, wanted: StatusCode) -> String {
    match result {
        Err(AdminError::Refused { status, text }) if status == wanted => text,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was done"),
    }
}

/// From nothing to a key that the ledger knows, and back: the same whichever way the operations are reached.
async fn story(admin: &AdminClient, ledger: &dyn Ledger) {
    assert_eq!(admin.accounts().await.expect("accounts").accounts, []);
    let account = admin.create_account("Ada & Söhne").await.expect("an account");
    assert_eq!(admin.account(&account.id).await.expect("the account"), account);

    let credit = Credit {
        amount: nano(1_500_000_000),
        id: Some("invoice 7".to_owned()),
    };
    let first = admin.credit(&account.id, &credit).await.expect("credit");
    let second = admin.credit(&account.id, &credit).await.expect("the same credit");
    assert!(first.fresh && !second.fresh);
    assert_eq!(second.account.available, 1_500_000_000);
    let unnamed = Credit {
        amount: nano(1),
        id: None,
    };
    admin.credit(&account.id, &unnamed).await.expect("credit");
    assert!(admin.credit(&account.id, &unnamed).await.expect("another credit").fresh);

    let created = admin
        .create_key(&NewKey {
            account: account.id.clone(),
            name: "laptop".to_owned(),
            expires_ms: None,
            limits: KeyLimits::default(),
        })
        .await
        .expect("a key");
    let stored = ledger.key_by_hash(&KeyHash::of(&created.key)).await.expect("lookup");
    assert_eq!(stored.as_ref(), Some(&created.record));
    let keys = admin.keys(Some(&account.id)).await.expect("keys").keys;
    assert_eq!(keys.as_slice(), std::slice::from_ref(&created.record));
    assert_eq!(admin.keys(None).await.expect("keys").keys.len(), 1);
    limits(admin, &created.record).await;
    let revoked = admin.revoke_key(&created.record.id).await.expect("revoked");
    assert!(revoked.revoked_ms.is_some());
    let usage = admin.usage(&account.id, None, None).await.expect("usage");
    assert!(usage.usage.is_empty() && usage.from < usage.to);
    trail(admin, &account.id, &created).await;

    let books = admin.books().await.expect("books");
    assert!(books.conserved);
    assert_eq!(books.totals.deposited, nano(1_500_000_002));
}

/// A key's limits, one after the other: what is not spoken of stays.
async fn limits(admin: &AdminClient, key: &KeyRecord) {
    let patch = |json: &str| serde_json::from_str::<KeyPatch>(json).expect("a patch");
    let check = async |json: &str, limits: &str| {
        let updated = admin.update_key(&key.id, &patch(json)).await.expect("updated");
        assert_eq!(updated.limits, serde_json::from_str(limits).expect("limits"), "{json}");
        let shown = admin.key(&key.id).await.expect("the key");
        assert_eq!(shown.record, updated);
        assert_eq!(
            shown.used.limits.requests.map(|rate| rate.limit),
            updated.limits.requests_per_min.map(u64::from)
        );
    };
    check(
        r#"{"limits":{"requests_per_min":5,"models":["a"]}}"#,
        r#"{"requests_per_min":5,"models":["a"]}"#,
    )
    .await;
    let all = r#"{"requests_per_min":5,"models":["a"],"concurrent":2,"budget":{"amount":9,"period":"week"}}"#;
    check(
        r#"{"limits":{"concurrent":2,"budget":{"amount":9,"period":"week"}}}"#,
        all,
    )
    .await;
    check(
        r#"{"limits":{"budget":{"amount":10},"models":null}}"#,
        r#"{"requests_per_min":5,"concurrent":2,"budget":{"amount":10,"period":"week"}}"#,
    )
    .await;
    check(
        r#"{"name":"tablet","limits":{"budget":null,"requests_per_min":null}}"#,
        r#"{"concurrent":2}"#,
    )
    .await;
    let renamed = admin
        .update_key(&key.id, &patch(r#"{"expires_ms":9000000000000}"#))
        .await;
    let renamed = renamed.expect("updated");
    assert_eq!(
        (renamed.name.as_str(), renamed.expires_ms),
        ("tablet", Some(9_000_000_000_000))
    );
    let forever = admin
        .update_key(&key.id, &patch(r#"{"expires_ms":null}"#))
        .await
        .expect("updated");
    assert_eq!((forever.expires_ms, forever.limits.concurrent), (None, Some(2)));
    for (json, why) in [
        (r#"{"limits":{"budget":{"period":"day"}}}"#, "a budget needs an amount"),
        (r#"{"limits":{"tokens_per_min":10000000001}}"#, "too large"),
        (r#"{"expires_ms":1}"#, "revoke it"),
        (r#"{"name":"\u001b[2J"}"#, "printable"),
    ] {
        let text = refused(admin.update_key(&key.id, &patch(json)).await, StatusCode::BAD_REQUEST);
        assert!(text.contains(why), "{json}: {text}");
    }
}

/// Every change of the story stands in the trail, with who made it, and no secret.
async fn trail(admin: &AdminClient, account: &AccountId, key: &CreatedKey) {
    let entries = admin.audit(None, 1000).await.expect("the trail").entries;
    let actions: Vec<_> = entries.iter().map(|audited| audited.entry.action.as_str()).collect();
    let mut wanted = vec!["account.create"];
    wanted.extend(["account.credit"; 4]);
    wanted.push("key.create");
    wanted.extend(["key.update"; 6]);
    wanted.push("key.revoke");
    assert_eq!(actions, wanted);
    let first = admin.audit(None, 5).await.expect("a page").entries;
    let second = admin.audit(Some(first[4].cursor), 1000).await.expect("a page").entries;
    assert_eq!([first, second].concat(), entries);
    let credit = &entries[1].entry;
    assert_eq!(
        (credit.account.as_ref(), credit.subject.as_str(), credit.detail.as_str()),
        (Some(account), "invoice 7", r#"{"amount_nano":1500000000}"#)
    );
    let text = serde_json::to_string(&entries).expect("json");
    assert!(text.contains(key.record.id.as_str()) && !text.contains(&key.key));
    assert!(!text.contains(&KeyHash::of(&key.key).to_string()));
    let by = user::this();
    assert!(
        entries
            .iter()
            .all(|audited| *audited.entry.actor == *by || audited.entry.actor == "ada"),
        "{by}"
    );
}

async fn refusals(admin: &AdminClient) {
    let nobody = AccountId::parse("acct_nobody").expect("an id");
    assert_eq!(
        refused(admin.account(&nobody).await, StatusCode::NOT_FOUND),
        "there is no account acct_nobody"
    );
    assert_eq!(
        refused(admin.keys(Some(&nobody)).await, StatusCode::NOT_FOUND),
        "there is no account acct_nobody"
    );
    let credit = Credit {
        amount: nano(1),
        id: None,
    };
    assert_eq!(
        refused(admin.credit(&nobody, &credit).await, StatusCode::NOT_FOUND),
        "there is no account acct_nobody"
    );
    let key = NewKey {
        account: nobody,
        name: String::new(),
        expires_ms: None,
        limits: KeyLimits::default(),
    };
    assert_eq!(
        refused(admin.create_key(&key).await, StatusCode::NOT_FOUND),
        "there is no account acct_nobody"
    );
    let key = KeyId::parse("key_none").expect("an id");
    assert_eq!(
        refused(
            admin.update_key(&key, &KeyPatch::default()).await,
            StatusCode::NOT_FOUND
        ),
        "there is no key key_none"
    );
    assert_eq!(
        refused(admin.key(&key).await, StatusCode::NOT_FOUND),
        "there is no key key_none"
    );
    assert_eq!(
        refused(admin.revoke_key(&key).await, StatusCode::NOT_FOUND),
        "there is no key key_none"
    );

    for name in ["", "  ", "a\u{1b}[2Jb"] {
        refused(admin.create_account(name).await, StatusCode::BAD_REQUEST);
    }
    refused(admin.create_account(&"x".repeat(10_000)).await, StatusCode::BAD_REQUEST);
    let account = admin.create_account("a").await.expect("an account").id;
    for credit in [
        Credit {
            amount: Nano::ZERO,
            id: None,
        },
        Credit {
            amount: nano(1),
            id: Some(String::new()),
        },
        Credit {
            amount: nano(1),
            id: Some("x".repeat(300)),
        },
    ] {
        refused(admin.credit(&account, &credit).await, StatusCode::BAD_REQUEST);
    }
    let key = NewKey {
        account,
        name: String::new(),
        expires_ms: Some(1),
        limits: KeyLimits::default(),
    };
    refused(admin.create_key(&key).await, StatusCode::BAD_REQUEST);
}

/// A gateway on a testnet, where deposits arrive at an address of ones.
fn testnet() -> Destinations {
    let till = Till {
        network: Network::Testnet,
        address: Address::basechain([1; 32]),
        deposit_min: nano(1),
        withdrawal_min: nano(1),
        contract: None,
        wallet: None,
    };
    Destinations {
        network: Network::Testnet,
        till: Some(till),
    }
}

/// The gateway knows which addresses are its network's, and which its own: whoever asks need not.
async fn destinations(admin: &AdminClient) {
    let account = admin.create_account("who withdraws").await.expect("an account").id;
    let (amount, id) = (nano(2), None);
    admin.credit(&account, &Credit { amount, id }).await.expect("credited");
    let ask = async |to: String| {
        let (id, amount) = ("w".to_owned(), nano(1));
        admin.withdraw(&account, &NewWithdrawal { id, amount, to }).await
    };
    let own = refused(ask(testnet_form(1)).await, StatusCode::BAD_REQUEST);
    assert!(own.contains("where deposits arrive"), "{own}");
    refused(ask("hello".to_owned()).await, StatusCode::BAD_REQUEST);
    let asked = ask(testnet_form(9)).await.expect("withdrawn");
    assert_eq!(asked.to, Address::basechain([9; 32]).to_string());
}

fn testnet_form(id: u8) -> String {
    Address::basechain([id; 32]).friendly(false, Network::Testnet)
}

#[tokio::test]
async fn the_operations_work_inside_the_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = ledger(dir.path());
    let admin = AdminClient::here(Arc::clone(&ledger));
    story(&admin, ledger.as_ref()).await;
    refusals(&admin).await;
}

#[tokio::test]
async fn the_operations_work_over_the_socket_which_only_its_owner_may_use() {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = ledger(dir.path());
    let socket = dir.path().join(SOCKET);
    assert!(matches!(
        AdminClient::connect(&socket).await,
        Err(AdminError::NobodyThere(_))
    ));
    // What a killed gateway leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert!(matches!(
        AdminClient::connect(&socket).await,
        Err(AdminError::NobodyThere(_))
    ));

    let stop = CancellationToken::new();
    let serving = listen(
        dir.path(),
        (Arc::clone(&ledger), store(dir.path()), testnet()),
        stop.clone(),
    )
    .expect("the socket");
    let mode = fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let using = async {
        let admin = AdminClient::connect(&socket).await.expect("somebody there");
        story(&admin, ledger.as_ref()).await;
        refusals(&admin).await;
        destinations(&admin).await;
        stop.cancel();
    };
    tokio::join!(serving, using);
    assert!(!socket.exists(), "a gateway that stops takes its socket along");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_said_to_be_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let deep = dir.path().join("x".repeat(100));
    fs::create_dir(&deep).expect("a folder");
    let error = listen(
        &deep,
        (ledger(&deep), store(&deep), testnet()),
        CancellationToken::new(),
    )
    .err()
    .expect("too long");
    assert!(format!("{error:#}").contains("a socket's may have 107"), "{error:#}");
}

#[tokio::test]
async fn what_is_no_operation_is_refused_in_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let app = router(Desk {
        ledger: ledger(dir.path()),
        epochs: None,
        destinations: None,
        operator: "tester".into(),
    });
    for (method, path, body, status, error) in [
        ("GET", "/nothing", "", 404, "no such operation"),
        ("GET", "/accounts/x", "", 400, "account id"),
        ("GET", "/keys?account=x", "", 400, "account id"),
        ("GET", "/keys?acount=acct_x", "", 400, "unknown field"),
        ("POST", "/accounts", "{", 400, "EOF"),
        (
            "POST",
            "/accounts",
            "{\"name\":\"a\",\"credit\":5}",
            400,
            "unknown field",
        ),
        (
            "POST",
            "/accounts/acct_x/credit",
            "{\"amount\":-5}",
            400,
            "invalid value",
        ),
        ("DELETE", "/keys/x", "", 400, "key id"),
        ("DELETE", "/accounts", "", 404, "no such operation"),
        (
            "PATCH",
            "/keys/key_x",
            "{\"limits\":{\"request_per_min\":1}}",
            400,
            "unknown field",
        ),
        ("GET", "/audit?after=x", "", 400, "place in a stream"),
        ("GET", "/accounts/acct_x/usage?from=yesterday", "", 400, "not a day"),
        (
            "GET",
            "/accounts/acct_x/usage?from=2026-11-02&to=2026-11-01",
            "",
            400,
            "comes after",
        ),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(body))
            .expect("a request");
        let answer = tower::ServiceExt::oneshot(app.clone(), request)
            .await
            .expect("infallible");
        let found = answer.status().as_u16();
        let text = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .expect("a body")
            .to_bytes();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(
            text.starts_with("{\"error\":") && text.contains(error),
            "{method} {path} {body}: {found} {text}"
        );
        assert_eq!(found, status, "{method} {path} {body}: {text}");
    }
}

/// A change that fails when it is made leaves a trace of both.
#[tokio::test]
async fn a_change_that_came_to_nothing_is_said_to_have() {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = ledger(dir.path());
    let desk = Desk {
        ledger: ledger.clone(),
        epochs: None,
        destinations: None,
        operator: "ada".into(),
    };
    let change = super::desk::Change {
        action: "key.revoke",
        account: None,
        subject: "key_a".to_owned(),
        detail: serde_json::json!({}),
    };
    let failing = async { Err::<(), _>(super::refused::Refused::Unavailable("the disk is full".to_owned())) };
    assert!(desk.change(change, failing).await.is_err());
    let log = ledger.audit_log(None, 10).await.expect("the trail");
    let log: Vec<_> = log
        .iter()
        .map(|(_, entry)| (entry.action.as_str(), entry.detail.as_str()))
        .collect();
    assert_eq!(log, [("key.revoke", "{}"), ("key.revoke.failed", "the disk is full")]);
}
