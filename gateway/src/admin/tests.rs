use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use filature_billing::{AccountId, KeyHash, KeyId, Ledger, Nano, open_embedded};
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use super::*;

fn ledger(dir: &Path) -> Arc<dyn Ledger> {
    Arc::new(open_embedded(dir).expect("a new ledger"))
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
        })
        .await
        .expect("a key");
    let stored = ledger.key_by_hash(&KeyHash::of(&created.key)).await.expect("lookup");
    assert_eq!(stored.as_ref(), Some(&created.record));
    let keys = admin.keys(Some(&account.id)).await.expect("keys").keys;
    assert_eq!(keys.as_slice(), std::slice::from_ref(&created.record));
    assert_eq!(admin.keys(None).await.expect("keys").keys.len(), 1);
    let revoked = admin.revoke_key(&created.record.id).await.expect("revoked");
    assert!(revoked.revoked_ms.is_some());

    let books = admin.books().await.expect("books");
    assert!(books.conserved);
    assert_eq!(books.totals.deposited, nano(1_500_000_002));
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
    };
    assert_eq!(
        refused(admin.create_key(&key).await, StatusCode::NOT_FOUND),
        "there is no account acct_nobody"
    );
    let key = KeyId::parse("key_none").expect("an id");
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
    };
    refused(admin.create_key(&key).await, StatusCode::BAD_REQUEST);
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
    let serving = listen(dir.path(), Arc::clone(&ledger), stop.clone()).expect("the socket");
    let mode = fs::metadata(&socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let using = async {
        let admin = AdminClient::connect(&socket).await.expect("somebody there");
        story(&admin, ledger.as_ref()).await;
        refusals(&admin).await;
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
    let error = listen(&deep, ledger(&deep), CancellationToken::new())
        .err()
        .expect("too long");
    assert!(format!("{error:#}").contains("a socket's may have 107"), "{error:#}");
}

#[tokio::test]
async fn what_is_no_operation_is_refused_in_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let app = router(ledger(dir.path()));
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
