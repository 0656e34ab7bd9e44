//! A gateway that is a process, with a crowd of providers in the test's own: simulated engines behind real agents and
//! tunnels, so many that a case spoils none for the next, and so near that a test can look into every engine.

use std::collections::HashMap;
use std::time::Duration;

use filature_billing::{CallId, UsageRecord};
use filature_loadtest::engine::CallSeen;
use filature_loadtest::fleet::{Fleet, FleetSettings, Provider, Spread};
use filature_provider_sdk::Dialect;
use tokio::runtime::Runtime;

use crate::caller::Client;
use crate::stack::{LedgerKind, MODEL, Plan, Stack};
use crate::wait;

/// How long all tunnels may take.
const JOINED_MAX: Duration = Duration::from_secs(30);
/// How long the last hold may take to be settled.
const SETTLED_MAX: Duration = Duration::from_secs(20);

/// Everything that runs.
pub struct Crowd {
    pub fleet: Fleet,
    /// Where engines and agents run; callers have the stack's.
    _providers: Runtime,
    pub stack: Stack,
}

impl Crowd {
    /// Starts a gateway with these settings beside those every test has, and the fleet; waits until all have joined.
    pub fn start(gateway: &[&str], settings: FleetSettings) -> Self {
        let stack = Stack::start(Plan {
            ledger: LedgerKind::Embedded,
            providers: Vec::new(),
            gateway: gateway.iter().map(|&word| word.to_owned()).collect(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let settings = FleetSettings {
            gateways: vec![stack.client.origin().to_owned()],
            models: vec![MODEL.to_owned()],
            ..settings
        };
        let fleet = runtime.block_on(Fleet::start(settings)).expect("the fleet starts");
        runtime.block_on(fleet.ready(JOINED_MAX)).expect("every provider joins");
        Self {
            fleet,
            _providers: runtime,
            stack,
        }
    }

    /// Providers that differ in nothing, so that nothing but what happens to them decides.
    pub fn alike(providers: u16, ttft_ms: f64, itl_ms: f64) -> FleetSettings {
        FleetSettings {
            providers,
            spread: Spread {
                ttft_ms,
                itl_ms,
                sigma: 0.0,
                ..Spread::default()
            },
            // Found out by the agents themselves it would be known a moment after they have joined.
            dialect: Some(Dialect::Vllm),
            ..FleetSettings::default()
        }
    }

    /// A client of one engine, without a gateway between.
    pub fn engine(&self) -> Client {
        Client::new(&self.fleet.providers()[0].engine.url(), "none")
    }

    /// Every call the engines remember, by the gateway's name for it, attempts in order.
    pub fn calls_seen(&self) -> HashMap<String, Vec<CallSeen>> {
        let mut calls: HashMap<String, Vec<CallSeen>> = HashMap::new();
        for seen in self
            .fleet
            .providers()
            .iter()
            .flat_map(|provider| provider.engine.calls())
        {
            if let Some(call) = &seen.call {
                calls.entry(call.clone()).or_default().push(seen);
            }
        }
        for attempts in calls.values_mut() {
            attempts.sort_by_key(|seen| seen.attempt);
        }
        calls
    }

    /// What one provider's engine counted, summed by `count`.
    pub fn sum(&self, count: impl Fn(&Provider) -> u64) -> u64 {
        self.fleet.providers().iter().map(count).sum()
    }

    /// Waits until no engine is at work and every hold is settled.
    pub fn wait_until_idle(&self) {
        wait::until_true("every engine to be idle", SETTLED_MAX, || {
            self.sum(|provider| provider.engine.stats().running) == 0
        });
        wait::until_true("every hold to be settled", SETTLED_MAX, || self.stack.held() == Some(0));
    }

    /// Ends the gateway in good order and returns the records of these calls; the books must balance.
    pub fn records(&mut self, ids: impl Iterator<Item = String>) -> HashMap<String, UsageRecord> {
        self.wait_until_idle();
        let mut gateway = self.stack.take_gateway();
        gateway.terminate();
        assert!(gateway.wait_for_exit(SETTLED_MAX).success());
        let ledger = self.stack.open_ledger();
        let totals = self.stack.runtime.block_on(ledger.totals()).expect("totals");
        assert!(totals.are_conserved() && totals.holds == 0, "{totals:?}");
        let mut records = HashMap::new();
        // A call without an answer has no name.
        for id in ids.filter(|id| !id.is_empty()) {
            let call = CallId::parse(&id).expect("a call's id");
            let read = ledger.record(&self.stack.account, &call);
            if let Some(record) = self.stack.runtime.block_on(read).expect("the ledger answers") {
                record.check().unwrap_or_else(|error| panic!("{error}: {record:?}"));
                records.insert(id, record);
            }
        }
        records
    }

    /// Nobody panicked, and the gateway saw nothing it calls an error.
    pub fn check_logs(&self) {
        for (name, log) in self.stack.logs() {
            for line in log.lines() {
                let is_bad = line.contains("panicked") || line.contains(r#""level":"ERROR""#);
                assert!(!is_bad, "{name}: {line}");
            }
        }
    }
}
