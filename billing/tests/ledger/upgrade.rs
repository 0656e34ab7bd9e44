//! What earlier versions of this program left behind is read as it was meant.

use std::sync::Arc;

use filature_billing::{Day, EmbeddedLedger, open_redis};
use redb::TableDefinition;

use crate::home::AT_ONCE;
use crate::server::Server;
use crate::world::{START_MS, World, nano};

#[tokio::test]
async fn holds_of_the_first_version_in_redis_are_settled() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    let calls = [
        world.hold(&payer, 100).await,
        world.hold(&payer, 200).await,
        world.hold(&payer, 300).await,
    ];
    // Version 1 wrote the amount only, to a key of its own, and counted nothing of the account's keys.
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let names: Vec<String> = redis::cmd("KEYS")
        .arg(format!("*account:{}", payer.account))
        .query(&mut connection)
        .expect("keys");
    let account = &names[0];
    let shard = account.split_once(':').expect("a tag").0;
    let mut run = |words: &[&str]| {
        let done = redis::Cmd::new().arg(words).query::<redis::Value>(&mut connection);
        done.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    };
    run(&["HDEL", account, &format!("use:{}", payer.key)]);
    for (call, amount) in calls.iter().zip(["100", "200", "300"]) {
        let member = format!("{}:{call}", payer.account);
        run(&["HDEL", account, &format!("hold:{member}")]);
        run(&["SET", &format!("{shard}:hold:{member}"), amount]);
    }
    let renewed = world.ledger.renew(&payer.account, &calls[0], world.now_ms + 1).await;
    assert_eq!(renewed, Ok(true));
    // What it counted of earnings and of keys goes on.
    run(&["HINCRBY", &format!("{shard}:earnings"), "provider-a:fee", "3"]);
    run(&["HINCRBY", &format!("{shard}:earnings"), "provider-a:earned", "7"]);
    for key in [account, &format!("{shard}:totals")] {
        run(&["HINCRBY", key, "spent", "10"]);
        run(&["HINCRBY", key, "available", "-10"]);
    }
    run(&["HINCRBY", &format!("{shard}:key:{}", payer.key), "spent", "10"]);

    assert_eq!(world.ledger.void(&payer.account, &calls[0]).await, Ok(nano(100)));
    let posted = world
        .ledger
        .post(&world.record(&payer, calls[1], 150), world.now_ms)
        .await
        .expect("posted");
    assert_eq!((posted.charged, posted.released), (nano(150), nano(50)));
    assert_eq!(
        world.ledger.sweep(u64::MAX >> 12).await.expect("swept").released,
        nano(300)
    );
    let account = world
        .ledger
        .account(&payer.account)
        .await
        .expect("an answer")
        .expect("an account");
    assert_eq!(
        (account.available, account.held, account.spent),
        (840, nano(0), nano(160))
    );
    let used = world.key_use(&payer).await;
    assert_eq!((used.holds, used.spent), (0, nano(160)));
    let totals = world.ledger.totals().await.expect("totals");
    assert!(totals.are_conserved(), "{totals:?}");
    assert_eq!((totals.available, totals.spent), (840, nano(160)));
}

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
    for table in ["key_periods", "usage", "audit", "places"] {
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
