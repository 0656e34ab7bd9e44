//! What anybody may read without a key to check the operator.

use insta::assert_snapshot;

use crate::exchange::Exchanges;
use crate::gateway::Gateway;

#[tokio::test]
async fn seals_and_leaves_need_no_key() {
    let gateway = Gateway::start().await;
    let mut exchanges = Exchanges::new(&gateway);
    exchanges.with_key("");
    let root = "ab".repeat(32);
    for (path, status) in [
        ("/v1/epochs?from=0".to_owned(), 200),
        ("/v1/epochs?from=0&limit=0".to_owned(), 200),
        ("/v1/epochs?from=18446744073709551615&limit=100000".to_owned(), 200),
        ("/v1/epochs".to_owned(), 400),
        ("/v1/epochs?from=-1".to_owned(), 400),
        ("/v1/epochs?from=0&to=3".to_owned(), 400),
        (format!("/v1/leaves/{root}/direct.engine"), 404),
        ("/v1/leaves/ab/direct.engine".to_owned(), 404),
        (format!("/v1/leaves/{root}/no%20id"), 404),
    ] {
        assert_eq!(exchanges.get(&path).await.status, status, "{path}");
    }
    assert_snapshot!(exchanges.text());
}
