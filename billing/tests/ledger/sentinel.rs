//! The ledger behind sentinels: the master dies, or falls silent, and the calls go on with the one that takes over.

use filature_billing::open_redis;

use crate::cluster::safe_ledger;
use crate::load::Load;
use crate::nodes::{Watched, wait_until};
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_behind_sentinels_loses_no_answered_post() {
    let mut watched = Watched::start();
    // One of three that is gone is no matter, wherever it stands.
    watched.sentinels[0].kill();
    let ledger = safe_ledger(&watched.url()).await;
    let load = Load::start(ledger.clone()).await;
    for _ in 0..2 {
        load.more(300).await;
        let (before, is_other) = (watched.master(), |now: usize, before: usize| now != before);
        watched.servers[before].kill();
        wait_until("the replica took over", || {
            let now = watched.master();
            is_other(now, before) && watched.servers[now].info("role") == "master"
        });
        // Without a replica of its own it answers no post, so the old master comes back as one.
        watched.servers[before].restart();
        wait_until("one follows the other", || watched.is_whole());
    }
    load.more(300).await;
    println!("{} posts", load.check().await);
    World::new(ledger).payer(1_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_behind_sentinels_is_left() {
    let watched = Watched::start();
    let load = Load::start(safe_ledger(&watched.url()).await).await;
    load.more(200).await;
    let before = watched.master();
    watched.servers[before].signal("-STOP");
    wait_until("the replica took over", || watched.master() != before);
    watched.servers[before].signal("-CONT");
    wait_until("one follows the other", || watched.is_whole());
    load.more(300).await;
    println!("{} posts", load.check().await);
}

#[tokio::test]
async fn an_unknown_master_is_an_error() {
    let watched = Watched::start();
    let url = watched.url().replace("/money", "/other");
    let error = open_redis(&url).await.err().expect("refused");
    assert!(error.to_string().contains("no sentinel knows"), "{error}");
}
