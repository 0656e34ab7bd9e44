//! A call becomes a receipt that its caller can prove to anybody, and nobody can change.

use serde_json::Value;

use crate::house::{House, Kind, Made};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_receipts_are_proved_to_anybody() {
    receipts_are_proved_to_anybody(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_receipts_are_proved_to_anybody() {
    receipts_are_proved_to_anybody(Kind::Redis).await;
}

async fn receipts_are_proved_to_anybody(kind: Kind) {
    let house = House::new(kind).await;
    let place = house.place("one");
    let gateway = house.gateway(&place, 200, &[]).await;
    let mut made = Vec::new();
    for number in 0..6 {
        made.push(
            place
                .call(number % 2 == 0, &format!("number {number}"))
                .await
                .expect("an answer"),
        );
    }
    let stranger = house.stranger(&place);
    for call in &made {
        let receipt = place.sealed(&call.id).await;
        assert_eq!(receipt["record"]["version"], 2);
        // What is known of a call stays known when the ledger has forgotten it, and only to its account.
        let generation = place.client.get(&format!("/v1/generation?id={}", call.id)).await;
        let generation = generation.expect("a generation");
        assert_eq!(generation["data"]["total_cost_nano"], receipt["record"]["cost"]);
        assert!(stranger.get(&format!("/v1/receipts/{}", call.id)).await.is_none());
        assert!(stranger.get(&format!("/v1/generation?id={}", call.id)).await.is_none());
    }
    let verdict = house.all_sealed(&place.data.join("epochs").display().to_string()).await;
    assert_eq!(verdict["totals"]["calls"], 6);
    assert_eq!(verdict["signed_by"].as_array().expect("a list").len(), 1);
    let metrics = place.client.get("/metrics").await.expect("metrics");
    let sealed = metrics.as_str().expect("text").lines();
    let sealed = sealed
        .filter(|line| line.starts_with("filature_epochs_receipts"))
        .collect::<Vec<_>>();
    assert!(sealed.iter().any(|line| line.ends_with(" 6")), "{sealed:?}");

    check_by_everybody(&house, &place.sealed(&made[0].id).await, &made[0]);
    check_by_everybody(&house, &place.sealed(&made[1].id).await, &made[1]);
    gateway.kill();
    tampering_is_told(&house, &place.data.join("epochs"));
}

/// The command line and Python say yes to a receipt, and no to any other.
fn check_by_everybody(house: &House, receipt: &Value, call: &Made) {
    let key = receipt["gateway"].as_str().expect("a key");
    let text = serde_json::to_string_pretty(receipt).expect("json");
    let file = house.file("receipt.json", &text);
    let (request, response) = (
        house.file("request.json", &call.request),
        house.file("response", &call.response),
    );
    let words = ["--request", &request, "--response", &response];
    let ran = house.filature(&[&["receipts", "verify", &file, "--key", key][..], &words].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    for said in [
        "which you named",
        "request in",
        "answer in",
        "it is receipt",
        "the provider signed nothing",
    ] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let python = house.python(&file, key);
    assert!(
        python.code == 0 && python.out.starts_with("sealed in epoch "),
        "{}",
        python.err
    );

    // Without a key and without the words, it says what it did not look at.
    let ran = house.filature(&["receipts", "verify", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("not checked") && ran.out.contains("name it with --key"),
        "{}",
        ran.out
    );

    let other = "0".repeat(64);
    let ran = house.filature(&["receipts", "verify", &file, "--key", &other]);
    assert!(
        ran.code == 1 && ran.err.contains("not a key of this operator"),
        "{}",
        ran.err
    );
    let ran = house.filature(&["receipts", "verify", &file, "--request", &response, "--json"]);
    let verdict: Value = serde_json::from_str(&ran.out).expect("json");
    assert!(ran.code == 1 && verdict["ok"] == false, "{}", ran.out);
    assert!(ran.err.contains("not the receipt of the request"), "{}", ran.err);

    for (at, _) in text.match_indices(['3', '7', 'a']).step_by(23) {
        let mut forged = text.clone().into_bytes();
        forged[at] ^= 1;
        let forged = house.file("forged.json", forged);
        let ran = house.filature(&["receipts", "verify", &forged, "--key", key]);
        assert!(
            ran.code == 1 && ran.err.contains("proves nothing"),
            "byte {at}: {}",
            ran.out
        );
    }
}

/// Any byte that is changed in any epoch is told, with the place.
fn tampering_is_told(house: &House, store: &std::path::Path) {
    let folder = store.join("epochs/000000000");
    let shown = store.display().to_string();
    let list = house.filature(&["epochs", "list", "--store", &shown]);
    assert!(list.code == 0 && list.out.starts_with("EPOCH "), "{}", list.err);
    let show = house.filature(&["epochs", "show", "0", "--store", &shown]);
    assert!(
        show.code == 0 && show.out.contains("EARNED SINCE EPOCH 0"),
        "{}",
        show.err
    );
    let mut objects: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    objects.sort();
    for object in &objects {
        let good = std::fs::read(object).expect("an object");
        for at in (0..good.len()).step_by(good.len() / 9 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(object, &bad).expect("written");
            let ran = house.filature(&["epochs", "verify", "--store", &shown, "--json"]);
            let verdict: Value = serde_json::from_str(&ran.out).expect("json");
            assert!(ran.code == 1 && verdict["ok"] == false, "byte {at}: {}", ran.out);
            assert!(ran.err.contains("are not right: "), "{}", ran.err);
        }
        std::fs::write(object, &good).expect("written");
    }
    // An epoch that is gone, though later ones are there, is told too.
    if let [first, _, ..] = &objects[..] {
        std::fs::rename(first, store.join("kept")).expect("moved");
        let ran = house.filature(&["epochs", "verify", "--store", &shown]);
        assert!(
            ran.code == 1 && ran.err.contains("epoch 0 is not in the store"),
            "{}",
            ran.err
        );
        std::fs::rename(store.join("kept"), first).expect("moved back");
    }
    assert_eq!(house.filature(&["epochs", "verify", "--store", &shown]).code, 0);
}
