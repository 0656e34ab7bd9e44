//! A gateway that is killed while it seals: nothing is lost, nothing is sealed twice.

use std::time::Duration;

use filature_billing::EpochStore;
use rand::RngExt as _;

use crate::house::{House, Kind};

/// How often it is killed.
const LIVES: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_nothing_is_lost_when_a_gateway_dies_while_it_seals() {
    nothing_is_lost(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_nothing_is_lost_when_a_gateway_dies_while_it_seals() {
    nothing_is_lost(Kind::Redis).await;
}

async fn nothing_is_lost(kind: Kind) {
    let house = House::new(kind).await;
    let place = house.place("one");
    let folder = place.data.join("epochs");
    let mut answered = 0;
    for life in 0..LIVES {
        let gateway = house.gateway(&place, 50, &[]).await;
        let store = EpochStore::folder(&folder).expect("a store");
        let before = store.last().await.expect("an answer");
        // Calls until it is dead; it dies at some moment after it has sealed something.
        let calls = async {
            let mut done = 0;
            while place.call(done % 2 == 0, "again").await.is_ok() {
                done += 1;
            }
            done
        };
        let kill = async {
            while store.last().await.expect("an answer") == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..120))).await;
            gateway.kill();
        };
        let (done, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(calls, kill) })
            .await
            .unwrap_or_else(|_| panic!("nothing is sealed in life {life}"));
        answered += done;
    }
    let _gateway = house.gateway(&place, 50, &[]).await;
    let verdict = house.all_sealed(&folder.display().to_string()).await;
    let calls = verdict["totals"]["calls"].as_u64().expect("a number");
    println!("{answered} answers, {calls} receipts, {} epochs", verdict["epochs"]);
    // Of the calls that were under way at each death at most one was charged that nobody saw answered; embedded posts of
    // the last milliseconds may be gone, and with them their charge.
    assert!(
        calls > 0 && calls <= answered + LIVES as u64,
        "{answered} answers, {calls} receipts"
    );
}
