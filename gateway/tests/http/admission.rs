//! Providers that operators let in and keep out by name, while the gateway runs.

use std::time::{Duration, Instant};

use filature_billing::Admission;
use filature_loadtest::fleet::{Fleet, FleetSettings};
use filature_provider_sdk::Dialect;

use crate::exchange::Exchanges;
use crate::gateway::{Gateway, Kept};

const JOINED_MAX: Duration = Duration::from_secs(60);

/// Waits until the only provider is there, or is not.
async fn served(exchanges: &mut Exchanges<'_>, status: u16) {
    let began = Instant::now();
    while exchanges.get("/v1/models/sim-small").await.status != status {
        assert!(began.elapsed() < JOINED_MAX, "never {status}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn what_operators_say_counts_before_the_settings(kept: Kept) {
    let rest = "[tunnels]\nopen = \"allow-list\"\nstatus_every_ms = 20\n";
    let gateway = Gateway::launch_on(kept, "", rest, Vec::new()).await;
    let settings = FleetSettings {
        gateways: vec![format!("http://127.0.0.1:{}", gateway.port)],
        providers: 1,
        dialect: Some(Dialect::Vllm),
        ..FleetSettings::default()
    };
    let fleet = Fleet::start(settings).await.expect("a fleet");
    let key = fleet.providers()[0].id;
    let mut exchanges = Exchanges::new(&gateway);
    // Nobody is on the settings' list, so the provider is here only while it is let in by name.
    for ending in [None, Some(Admission::Deny)] {
        let allowed = gateway.admin.admit(&key, Some(Admission::Allow)).await;
        assert_eq!(allowed.expect("allowed").admission, Some(Admission::Allow));
        served(&mut exchanges, 200).await;
        gateway.admin.admit(&key, ending).await.expect("said");
        served(&mut exchanges, 404).await;
    }
    drop(fleet);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_say_counts_before_the_settings_with_the_embedded_ledger() {
    what_operators_say_counts_before_the_settings(Kept::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_say_counts_before_the_settings_with_redis() {
    what_operators_say_counts_before_the_settings(Kept::Redis).await;
}
