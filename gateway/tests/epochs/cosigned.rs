//! Receipts of calls through tunnels hold what the provider's agent signed, and it verifies.

use std::time::Duration;

use filature_loadtest::fleet::{Fleet, FleetSettings, Manner};

use crate::house::{House, Kind};

/// The model that only providers behind tunnels serve.
const MODEL: &str = "sim-tunnel";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_provider_signs_what_it_served() {
    let house = House::new(Kind::Embedded).await;
    let place = house.place("one");
    let _gateway = house.gateway(&place, 200, &[]).await;
    let fleet = FleetSettings {
        gateways: vec![place.client.origin().to_owned()],
        providers: 2,
        models: vec![MODEL.to_owned()],
        manners: vec![Manner::default(), Manner::default()],
        ..FleetSettings::default()
    };
    let fleet = Fleet::start(fleet).await.expect("a fleet");
    fleet.ready(Duration::from_secs(30)).await.expect("tunnels");
    let mut made = Vec::new();
    for number in 0..6 {
        let words = format!("number {number}");
        made.push(place.call_of(MODEL, number % 2 == 0, &words).await.expect("an answer"));
    }
    for call in &made {
        let receipt = place.sealed(&call.id).await;
        let leg = &receipt["record"]["legs"][0];
        assert!(leg["served"]["signature"].is_string(), "{receipt}");
        assert_eq!(leg["served"]["tokens"], receipt["record"]["claimed"]);
        assert!(
            fleet
                .providers()
                .iter()
                .any(|one| leg["provider"] == one.id.to_string())
        );
        let file = house.file("receipt.json", receipt.to_string());
        let ran = house.filature(&["receipts", "verify", &file]);
        assert!(
            ran.code == 0 && ran.out.contains("is signed by its provider"),
            "{} {}",
            ran.out,
            ran.err
        );
        let python = house.python(&file, receipt["gateway"].as_str().expect("a key"));
        assert_eq!(python.code, 0, "{}", python.err);

        let mut forged = receipt.clone();
        forged["record"]["legs"][0]["served"]["tokens"]["prompt"] = 1.into();
        let file = house.file("forged.json", forged.to_string());
        assert_eq!(house.filature(&["receipts", "verify", &file]).code, 1);
    }
    let metrics = place.client.get("/metrics").await.expect("metrics");
    let metrics = metrics.as_str().expect("text").lines();
    let counted: Vec<_> = metrics
        .filter(|line| line.starts_with("filature_tunnels_signatures"))
        .collect();
    assert!(
        counted.len() == 1 && counted[0].contains("\"taken\"") && counted[0].ends_with(" 6"),
        "{counted:?}"
    );
    house.all_sealed(&place.data.join("epochs").display().to_string()).await;
    fleet.shutdown().await.expect("the agents end well");
}
