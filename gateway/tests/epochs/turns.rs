//! Several gateways on one ledger: one seals at a time, another goes on when it dies, and none that does not fit in is
//! let in.

use std::time::Duration;

use filature_billing::{TrustedKeys, verify_receipt};
use serde_json::Value;

use crate::house::{House, Kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_take_turns_and_share_one_key_and_one_store() {
    let house = House::new(Kind::Redis).await;
    let (one, two) = (house.place("one"), house.place("two"));
    let shared = house.path("shared");
    let store = ["--epochs-store", &shared];
    let first = house.gateway(&one, 100, &store).await;

    // Another key, then the right key and another store: neither is let in.
    let mut stray = house.start(&two, 100, &store);
    assert_eq!(stray.wait_for_exit(Duration::from_secs(30)).code(), Some(1));
    let said = stray.printed();
    assert!(
        said.contains("share one key") && said.contains("Copy the receipts.key"),
        "{said}"
    );
    std::fs::copy(one.data.join("receipts.key"), two.data.join("receipts.key")).expect("copied");
    let mut stray = house.start(&two, 100, &[]);
    assert_eq!(stray.wait_for_exit(Duration::from_secs(30)).code(), Some(1));
    assert!(stray.printed().contains("the same epochs.store"), "{}", stray.printed());

    let second = house.gateway(&two, 100, &store).await;
    let made = one.call(true, "to the first").await.expect("an answer");
    let proof = two.sealed(&made.id).await;
    assert!(proof.get("nonce").is_some(), "either gateway knows the nonce");
    assert_eq!(proof, one.sealed(&made.id).await);
    first.kill();
    for _ in 0..3 {
        let made = two.call(false, "to the second").await.expect("an answer");
        two.sealed(&made.id).await;
    }
    let third = house.gateway(&one, 100, &store).await;
    second.terminate();
    let made = one.call(true, "to the first again").await.expect("an answer");
    one.sealed(&made.id).await;
    let verdict = house.all_sealed(&shared).await;
    assert_eq!(verdict["totals"]["calls"], 5);
    drop((second, third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_new_key_goes_on_only_where_the_old_one_is_named() {
    let house = House::new(Kind::Embedded).await;
    let place = house.place("one");
    let gateway = house.gateway(&place, 100, &[]).await;
    let made = place.call(false, "the old key's").await.expect("an answer");
    let receipt = place.sealed(&made.id).await;
    gateway.kill();
    std::fs::remove_file(place.data.join("receipts.key")).expect("removed");
    let mut stray = house.start(&place, 100, &[]);
    assert_eq!(stray.wait_for_exit(Duration::from_secs(30)).code(), Some(1));
    let old = receipt["gateway"].as_str().expect("a key");
    let said = stray.printed();
    assert!(said.contains(old) && said.contains("epochs.keys_before"), "{said}");

    let _gateway = house.gateway(&place, 100, &["--epochs-keys-before", old]).await;
    let later = place.call(false, "the new key's").await.expect("an answer");
    let later = place.sealed(&later.id).await;
    assert_ne!(later["gateway"], receipt["gateway"]);
    // What the old key sealed is given out with its seal and the new key's signature; only the nonce went with the key.
    let now = place.sealed(&made.id).await;
    assert_eq!(
        (&now["record"], &now["inclusion"]),
        (&receipt["record"], &receipt["inclusion"])
    );
    assert_eq!((&now["gateway"], &now["nonce"]), (&later["gateway"], &Value::Null));
    let file = serde_json::to_vec(&now).expect("JSON");
    let new = later["gateway"].as_str().expect("a key");
    let keys = |keys: &[&str]| TrustedKeys::new(keys.iter().map(|key| (*key).to_owned()));
    assert!(verify_receipt(&file, &keys(&[old, new])).is_ok());
    assert!(verify_receipt(&file, &keys(&[new])).is_err(), "another key sealed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_an_empty_store_beside_a_trimmed_ledger_begins_no_second_chain() {
    let house = House::new(Kind::Embedded).await;
    let place = house.place("one");
    let gateway = house.gateway(&place, 100, &[]).await;
    let made = place.call(false, "sealed").await.expect("an answer");
    place.sealed(&made.id).await;
    gateway.kill();
    let (kept, lost) = (place.data.join("kept"), place.data.join("epochs"));
    std::fs::rename(&lost, &kept).expect("moved");

    let mut gateway = house.gateway(&place, 100, &[]).await;
    let line = gateway.wait_for_line("nothing could be sealed");
    assert!(line.contains("they were sealed into another store"), "{line}");
    // Calls are served all the same.
    let made = place.call(true, "not sealed yet").await.expect("an answer");
    let receipt = place
        .client
        .get(&format!("/v1/receipts/{}", made.id))
        .await
        .expect("it is posted");
    assert!(receipt.get("inclusion").is_none());
    assert!(!lost.join("epochs").exists(), "no chain is begun");
    gateway.kill();

    std::fs::remove_dir_all(&lost).expect("removed");
    std::fs::rename(&kept, &lost).expect("moved back");
    let _gateway = house.gateway(&place, 100, &[]).await;
    place.sealed(&made.id).await;
    let verdict = house.all_sealed(&lost.display().to_string()).await;
    assert_eq!(verdict["totals"]["calls"], 2);
}
