//! Posts that come at once go to Redis together; each is charged for itself all the same.

use std::sync::Arc;

use filature_billing::{AccountId, LedgerError, UsageRecord, open_redis};
use futures_util::future::join_all;

use crate::server::Server;
use crate::world::{Payer, World, nano};

/// Posts records at the same time and says of each whether it was charged now, before, or why not.
async fn post_all(world: &World, records: &[UsageRecord]) -> Vec<Result<(bool, u64, u64), LedgerError>> {
    let posts = records.iter().map(|record| world.ledger.post(record, world.now_ms));
    let results = join_all(posts).await.into_iter();
    let told = results.map(|result| result.map(|posted| (posted.fresh, posted.charged.get(), posted.released.get())));
    told.collect()
}

pub async fn each_of_many_posts_is_charged_for_itself(world: &mut World) {
    let (payer, other) = (world.payer(10_000).await, world.payer(1_000).await);
    let second = Payer {
        key: world.key(&payer.account, None).await.0.id,
        ..payer.clone()
    };
    let mut calls = Vec::new();
    for _ in 0..6 {
        calls.push(world.hold(&payer, 100).await);
    }
    let (voided, elsewhere) = (world.hold(&payer, 100).await, world.hold(&other, 100).await);
    world.ledger.void(&payer.account, &voided).await.expect("voided");
    let call = world.call();
    let mut of_nobody = world.record(&payer, call, 5);
    of_nobody.account = AccountId::generate(&mut world.rng);
    let records = [
        world.record(&payer, calls[0], 10),
        world.record(&payer, calls[1], 101),
        world.record(&payer, calls[2], 100),
        of_nobody.clone(),
        world.record(&payer, calls[2], 100),
        world.record(&second, calls[3], 10),
        world.record_of(&payer, calls[4], &[("provider-a", 20), ("provider-b", 30)]),
        world.record(&payer, voided, 7),
        world.record(&other, elsewhere, 1),
        world.record(&payer, calls[0], 10),
        world.record(&payer, calls[5], 0),
    ];
    let found = post_all(world, &records).await;
    let above = |cost| LedgerError::CostAboveHold {
        cost: nano(cost),
        held: nano(100),
    };
    assert!(matches!(found[5], Err(LedgerError::Conflict(_))), "{found:?}");
    let mut expected = vec![
        Ok((true, 10, 90)),
        Err(above(101)),
        Ok((true, 100, 0)),
        Err(LedgerError::UnknownAccount(of_nobody.account)),
        Ok((false, 100, 0)),
        found[5].clone(),
        Ok((true, 50, 50)),
        Ok((true, 7, 0)),
        Ok((true, 1, 99)),
        Ok((false, 10, 0)),
        Ok((true, 0, 100)),
    ];
    assert_eq!(found, expected);
    // Those of calls 1 and 3 are still held.
    world.check(&payer, 10_000 - 167 - 200, 200, 167).await;
    world.check(&other, 999, 0, 1).await;
    let posted = [0, 2, 6, 7, 10].map(|at: usize| records[at].call);
    for (at, record) in records.iter().enumerate() {
        let kept = world
            .ledger
            .record(&record.account, &record.call)
            .await
            .expect("an answer");
        assert_eq!(kept.is_some(), posted.contains(&record.call) || at == 8, "{at}");
    }
    // All at once again: nothing moves.
    expected
        .iter_mut()
        .flatten()
        .for_each(|posted| *posted = (false, posted.1, 0));
    assert_eq!(post_all(world, &records).await, expected);
    world.check(&payer, 10_000 - 167 - 200, 200, 167).await;
}

on_all!(posts: each_of_many_posts_is_charged_for_itself);

/// What is wrong with one account is no other's loss.
#[tokio::test]
async fn a_damaged_account_keeps_no_other_post() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    // A key of the same account, whose use cannot be read, and one more account of the same shard.
    let broken = Payer {
        key: world.key(&payer.account, None).await.0.id,
        ..payer.clone()
    };
    let calls = [
        world.hold(&payer, 100).await,
        world.hold(&broken, 100).await,
        world.hold(&payer, 100).await,
    ];
    let client = ::redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let names: Vec<String> = ::redis::cmd("KEYS")
        .arg(format!("*account:{}", payer.account))
        .query(&mut connection)
        .expect("keys");
    let used: Vec<u8> = ::redis::cmd("HGET")
        .arg(&names[0])
        .arg(format!("key:{}", broken.key))
        .query(&mut connection)
        .expect("a use");
    let set = |connection: &mut ::redis::Connection, used: &[u8]| {
        let mut command = ::redis::cmd("HSET");
        command.arg(&names[0]).arg(format!("key:{}", broken.key)).arg(used);
        command.query::<u64>(connection).expect("set")
    };
    set(&mut connection, b"?");
    let records = [
        world.record(&payer, calls[0], 10),
        world.record(&broken, calls[1], 20),
        world.record(&payer, calls[2], 30),
    ];
    let found = post_all(&world, &records).await;
    assert_eq!((&found[0], &found[2]), (&Ok((true, 10, 90)), &Ok((true, 30, 70))));
    assert!(matches!(found[1], Err(LedgerError::Damaged(_))), "{found:?}");
    set(&mut connection, &used);
    assert_eq!(post_all(&world, &records[1..2]).await, [Ok((true, 20, 80))]);
    world.check(&payer, 940, 0, 60).await;
}

/// A command that the server does not carry out now is no verdict on the record.
#[tokio::test]
async fn a_post_that_lacks_a_right_is_asked_for_again() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 100).await;
    let record = world.record(&payer, call, 10);
    let client = ::redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let mut allow = |right: &str| {
        let mut command = ::redis::cmd("ACL");
        command.arg("SETUSER").arg("default").arg(right);
        command.query::<()>(&mut connection).expect("set");
    };
    allow("-xadd");
    let refused = world.ledger.post(&record, world.now_ms).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    world.check(&payer, 900, 100, 0).await;
    allow("+xadd");
    assert_eq!(post_all(&world, &[record]).await, [Ok((true, 10, 90))]);
    world.check(&payer, 990, 0, 10).await;
}

/// A hold that cannot be read, or whose account cannot, is no reason to keep the others.
#[tokio::test]
async fn a_damaged_hold_keeps_no_other_from_being_swept() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 100).await;
    let client = ::redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let names: Vec<String> = ::redis::cmd("KEYS")
        .arg("*:holds")
        .query(&mut connection)
        .expect("keys");
    let hold: Vec<u8> = ::redis::cmd("HGET")
        .arg(&names[0])
        .arg(format!("{}:{call}", payer.account))
        .query(&mut connection)
        .expect("a hold");
    let put = |connection: &mut ::redis::Connection, member: &str, hold: &[u8]| {
        let mut command = ::redis::cmd("HSET");
        command
            .arg(&names[0])
            .arg(member)
            .arg(hold)
            .query::<u64>(connection)
            .expect("set")
    };
    put(&mut connection, "acct_nobody:gen-1", &hold);
    put(&mut connection, "no-member", &hold);
    put(&mut connection, "acct_nobody:gen-2", b"?");
    let swept = world
        .ledger
        .sweep(world.now_ms + crate::world::HOLD_MS)
        .await
        .expect("swept");
    assert_eq!((swept.holds, swept.released), (1, nano(100)));
    for member in ["acct_nobody:gen-1", "no-member", "acct_nobody:gen-2"] {
        ::redis::cmd("HDEL")
            .arg(&names[0])
            .arg(member)
            .query::<u64>(&mut connection)
            .expect("removed");
    }
    world.check(&payer, 1_000, 0, 0).await;
}
