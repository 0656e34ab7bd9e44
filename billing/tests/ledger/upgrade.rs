//! What earlier versions of this program left behind is read as it was meant.

use std::sync::Arc;

use filature_billing::{Day, EmbeddedLedger};
use redb::TableDefinition;

use crate::home::AT_ONCE;
use crate::world::{START_MS, World, nano};

#[tokio::test]
async fn an_embedded_ledger_from_before_there_were_limits_opens() {
    let dir = tempfile::tempdir().expect("a folder");
    let open = || Arc::new(EmbeddedLedger::open(dir.path(), AT_ONCE).expect("a ledger"));
    let mut world = World::new(open());
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = world.record(&payer, call, 200);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    let World { ledger, rng, now_ms } = world;
    drop(ledger);

    let file = redb::Database::open(dir.path().join("ledger.redb")).expect("a file");
    let txn = file.begin_write().expect("a transaction");
    for table in [
        "key_periods",
        "usage",
        "audit",
        "places",
        "withdrawn",
        "withdrawals",
        "withdrawal_ids",
        "withdrawals_open",
        "deposit_order",
        "bookmarks",
        "uncredited",
        "uncredited_of",
        "payout_names",
    ] {
        let table: TableDefinition<&str, u64> = TableDefinition::new(table);
        assert!(txn.delete_table(table).is_ok_and(|there| there));
    }
    txn.commit().expect("committed");
    drop(file);

    let mut world = World {
        ledger: open(),
        rng,
        now_ms,
    };
    let used = world.key_use(&payer).await;
    assert_eq!((used.spent, used.spent_day), (nano(200), nano(0)));
    assert_eq!(
        world
            .ledger
            .usage(&payer.account, Day::of(START_MS), Day::of(START_MS))
            .await,
        Ok(vec![])
    );
    let shard = world.ledger.shards()[0];
    let found = world.ledger.unsealed(shard, None, 10).await.expect("records");
    assert_eq!(found.len(), 1);
    world
        .ledger
        .trim(shard, found[0].0, world.now_ms)
        .await
        .expect("trimmed");
    assert!(!world.ledger.post(&record, world.now_ms).await.expect("an answer").fresh);
    let call = world.hold(&payer, 800).await;
    world
        .ledger
        .post(&world.record(&payer, call, 100), world.now_ms)
        .await
        .expect("posted");
    assert_eq!(world.key_use(&payer).await.spent_day, nano(100));
}
