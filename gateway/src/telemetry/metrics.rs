//! Records what happens. Every method is cheap enough for each call; none is meant for each chunk.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use filature_router::Try;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundUpDownCounter, Counter, Histogram, Meter, MeterProvider as _, UpDownCounter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::names::{self, Kind, Metric};
use super::otlp::Collector;
use super::series::{ByProvider, CallSeries, Closed, Series};

/// One call that ended, as metrics see it.
#[derive(Debug, Clone, Copy)]
pub struct CallSample<'a> {
    /// `gen_ai.operation.name`.
    pub operation: &'static str,
    /// The model asked for; one that the fleet serves.
    pub model: &'a str,
    /// Who served it, or served last; `None` where nobody did.
    pub provider: Option<&'a str>,
    /// Why it failed; `None` where it did not.
    pub error_type: Option<&'static str>,
    /// From admission to the end of the answer.
    pub duration: Duration,
    /// From admission to the first token, where there was one.
    pub first_token: Option<Duration>,
    /// Mean time per token after the first, where there were several.
    pub per_output_token: Option<Duration>,
    /// Billed prompt tokens.
    pub prompt_tokens: u64,
    /// Billed tokens of the answer.
    pub completion_tokens: u64,
    /// What the caller paid, in nano.
    pub cost_nano: u64,
    /// The operator's part of it, in nano.
    pub fee_nano: u64,
}

/// The gateway's instruments. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Instruments>);

struct Instruments {
    registry: Registry,
    calls: Series,
    calls_active: BoundUpDownCounter<i64>,
    tunnels: BoundUpDownCounter<i64>,
    connections: BoundUpDownCounter<i64>,
    attempts: ByProvider,
    overclaimed: ByProvider,
    further_attempts: Closed<Counter<u64>>,
    rejections: Closed<Counter<u64>>,
    ledger_steps: Closed<Histogram<f64>>,
    ledger_failures: Closed<Counter<u64>>,
    cosigned: Closed<Counter<u64>>,
    epochs_sealed: Counter<u64>,
    receipts_sealed: Counter<u64>,
    sealing_failures: Counter<u64>,
    withdrawals: Counter<u64>,
    withdrawn: Counter<u64>,
    withdrawals_returned: Counter<u64>,
    withdrawals_lack: Set,
    withdrawal_failures: Counter<u64>,
    deposits: Counter<u64>,
    deposited: Counter<u64>,
    deposits_late: Counter<u64>,
    uncredited: Closed<Counter<u64>>,
    deposit_failures: Counter<u64>,
    settlement_rounds: Counter<u64>,
    settlement_payouts: Counter<u64>,
    settlement_paid: Counter<u64>,
    settlement_owed: Set,
    settlement_wallet: Set,
    settlement_anchored: Set,
    settlement_unanswered: Set,
    settlement_failures: Closed<Counter<u64>>,
    payout_addresses: Closed<Counter<u64>>,
    records_waiting: Set,
    oldest_waiting: Set,
}

/// A level that is told as it stands.
struct Set {
    level: BoundUpDownCounter<i64>,
    told: AtomicI64,
}

impl Set {
    fn to(&self, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.level
            .add(value.saturating_sub(self.told.swap(value, Ordering::Relaxed)));
    }
}

impl Metrics {
    /// A call was admitted.
    pub fn call_started(&self) {
        self.0.calls_active.add(1);
    }

    /// A call that was admitted ended, in whatever way.
    pub fn call_ended(&self, sample: &CallSample<'_>) {
        self.0.calls_active.add(-1);
        let series = self
            .0
            .calls
            .get(sample.operation, sample.model, sample.provider, sample.error_type);
        CallSeries::record(&series, sample);
    }

    /// An attempt at a provider starts.
    pub fn attempt_started(&self, kind: Try) {
        let word = match kind {
            Try::First => return,
            Try::Retry => "retry",
            Try::Hedge => "hedge",
            Try::Rescue => "rescue",
        };
        self.0.further_attempts.with(word, |counter| counter.add(1));
    }

    /// An attempt at a provider ended.
    pub fn attempt(&self, provider: &str, outcome: &'static str) {
        self.0.attempts.add(provider, outcome, 1);
    }

    /// A provider claimed so many tokens of prompt and answer beyond those it is paid for.
    pub fn overclaimed(&self, provider: &str, prompt: u64, completion: u64) {
        for (kind, tokens) in [("input", prompt), ("output", completion)] {
            if tokens > 0 {
                self.0.overclaimed.add(provider, kind, tokens);
            }
        }
    }

    /// A request was turned away.
    pub fn rejected(&self, code: &'static str) {
        self.0.rejections.with(code, |counter| counter.add(1));
    }

    /// A step of the ledger ended; `failed` means that the ledger did not do it, not that it refused.
    pub fn ledger_step(&self, step: &'static str, took: Duration, failed: bool) {
        self.0
            .ledger_steps
            .with(step, |histogram| histogram.record(took.as_secs_f64()));
        if failed {
            self.0.ledger_failures.with(step, |counter| counter.add(1));
        }
    }

    /// What became of a provider's signature.
    pub fn cosigned(&self, outcome: &'static str) {
        self.0.cosigned.with(outcome, |counter| counter.add(1));
    }

    /// An epoch was sealed, with so many receipts.
    pub fn epoch_sealed(&self, receipts: u64) {
        self.0.epochs_sealed.add(1, &[]);
        self.0.receipts_sealed.add(receipts, &[]);
    }

    /// So many records wait to be sealed, the oldest for so many seconds.
    pub fn unsealed(&self, records: u64, oldest_s: u64) {
        self.0.records_waiting.to(records);
        self.0.oldest_waiting.to(oldest_s);
    }

    /// Nothing could be sealed.
    pub fn sealing_failed(&self) {
        self.0.sealing_failures.add(1, &[]);
    }

    /// So many withdrawals were paid, of so many nano, and so many are credit again.
    pub fn withdrawn(&self, paid: usize, nano: u64, returned: usize) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.0.withdrawals.add(count(paid), &[]);
        self.0.withdrawn.add(nano, &[]);
        self.0.withdrawals_returned.add(count(returned), &[]);
    }

    /// So many nano are missing to pay withdrawals.
    pub fn withdrawals_lack(&self, nano: u64) {
        self.0.withdrawals_lack.to(nano);
    }

    /// Withdrawals could not be paid.
    pub fn withdrawals_failed(&self) {
        self.0.withdrawal_failures.add(1, &[]);
    }

    /// So many deposits were credited, of so many nano, some of them late.
    pub fn deposited(&self, deposits: u64, nano: u64, late: u64) {
        self.0.deposits.add(deposits, &[]);
        self.0.deposited.add(nano, &[]);
        self.0.deposits_late.add(late, &[]);
    }

    /// A transfer was credited to nobody.
    pub fn uncredited(&self, why: &'static str) {
        self.0.uncredited.with(why, |counter| counter.add(1));
    }

    /// Deposits could not be read.
    pub fn deposits_failed(&self) {
        self.0.deposit_failures.add(1, &[]);
    }

    /// A round of payouts was planned.
    pub fn round_planned(&self) {
        self.0.settlement_rounds.add(1, &[]);
    }

    /// So many providers were paid so much.
    pub fn paid_out(&self, payouts: usize, nano: u64) {
        self.0.settlement_payouts.add(payouts as u64, &[]);
        self.0.settlement_paid.add(nano, &[]);
    }

    /// How settlement stands on the chain: what is owed and what the wallet has, in nano, and the last anchored epoch.
    pub fn settlement(&self, owed: u64, wallet: u64, anchored: Option<u64>) {
        self.0.settlement_owed.to(owed);
        self.0.settlement_wallet.to(wallet);
        if let Some(epoch) = anchored {
            self.0.settlement_anchored.to(epoch);
        }
    }

    /// So many wrong contests wait for settlement's objection.
    pub fn contests_unanswered(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.settlement_unanswered.to(count);
    }

    /// Settlement could not go on.
    pub fn settlement_failed(&self, kind: &'static str) {
        self.0.settlement_failures.with(kind, |counter| counter.add(1));
    }

    /// An offer named a payout address.
    pub fn payout_address(&self, outcome: &'static str) {
        self.0.payout_addresses.with(outcome, |counter| counter.add(1));
    }

    /// Tunnels opened (positive) or closed (negative).
    pub fn tunnel(&self, delta: i64) {
        self.0.tunnels.add(delta);
    }

    /// Connections opened (positive) or closed (negative).
    pub fn connection(&self, delta: i64) {
        self.0.connections.add(delta);
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .unwrap_or_else(|error| {
                tracing::error!(%error, "metrics cannot be written");
                String::new()
            })
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Makes the instruments, read by scrapes and, where there is one, by the collector.
pub(super) fn start(resource: &Resource, collector: Option<&Collector>) -> anyhow::Result<(Metrics, SdkMeterProvider)> {
    let registry = Registry::new();
    let scrape = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .scope_info_enabled(false)
        .build()?;
    let mut provider = SdkMeterProvider::builder()
        .with_resource(resource.clone())
        .with_reader(scrape);
    if let Some(collector) = collector {
        provider = provider.with_reader(collector.metrics()?);
    }
    let provider = provider.build();
    let meter = provider.meter("filature");
    level(&meter, &names::BUILD).add(1, &[KeyValue::new(names::VERSION, env!("CARGO_PKG_VERSION"))]);
    let at_rest = |metric| {
        let level = level(&meter, metric).bind(&[]);
        level.add(0);
        level
    };
    let never = |metric| {
        let counter = counter(&meter, metric);
        counter.add(0, &[]);
        counter
    };
    let set = |metric| Set {
        level: at_rest(metric),
        told: AtomicI64::new(0),
    };
    let instruments = Instruments {
        registry,
        calls: Series::new(&meter),
        calls_active: at_rest(&names::CALLS_ACTIVE),
        tunnels: at_rest(&names::TUNNELS),
        connections: at_rest(&names::CONNECTIONS),
        attempts: ByProvider::new(counter(&meter, &names::ATTEMPTS), names::OUTCOME),
        overclaimed: ByProvider::new(counter(&meter, &names::OVERCLAIMED), names::TOKEN_TYPE),
        further_attempts: Closed::new(counter(&meter, &names::FURTHER_ATTEMPTS), names::KIND),
        rejections: Closed::new(counter(&meter, &names::REJECTIONS), names::CODE),
        ledger_steps: Closed::new(histogram(&meter, &names::LEDGER_STEP), names::STEP),
        ledger_failures: Closed::new(counter(&meter, &names::LEDGER_FAILURES), names::STEP),
        cosigned: Closed::new(counter(&meter, &names::COSIGNED), names::OUTCOME),
        epochs_sealed: never(&names::EPOCHS_SEALED),
        receipts_sealed: never(&names::RECEIPTS_SEALED),
        sealing_failures: never(&names::SEALING_FAILURES),
        withdrawals: never(&names::WITHDRAWALS),
        withdrawn: never(&names::WITHDRAWN),
        withdrawals_returned: never(&names::WITHDRAWALS_RETURNED),
        withdrawals_lack: set(&names::WITHDRAWALS_LACK),
        withdrawal_failures: never(&names::WITHDRAWAL_FAILURES),
        deposits: never(&names::DEPOSITS),
        deposited: never(&names::DEPOSITED),
        deposits_late: never(&names::DEPOSITS_LATE),
        uncredited: Closed::new(counter(&meter, &names::UNCREDITED), names::REASON),
        deposit_failures: never(&names::DEPOSIT_FAILURES),
        settlement_rounds: never(&names::SETTLEMENT_ROUNDS),
        settlement_payouts: never(&names::SETTLEMENT_PAYOUTS),
        settlement_paid: never(&names::SETTLEMENT_PAID),
        settlement_owed: set(&names::SETTLEMENT_OWED),
        settlement_wallet: set(&names::SETTLEMENT_WALLET),
        settlement_anchored: set(&names::SETTLEMENT_ANCHORED),
        settlement_unanswered: set(&names::SETTLEMENT_UNANSWERED),
        settlement_failures: Closed::new(counter(&meter, &names::SETTLEMENT_FAILURES), names::KIND),
        payout_addresses: Closed::new(counter(&meter, &names::PAYOUT_ADDRESSES), names::OUTCOME),
        records_waiting: set(&names::RECORDS_WAITING),
        oldest_waiting: set(&names::OLDEST_WAITING),
    };
    Ok((Metrics(Arc::new(instruments)), provider))
}

pub(super) fn counter(meter: &Meter, metric: &Metric) -> Counter<u64> {
    debug_assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
    meter
        .u64_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.doc.trim())
        .build()
}

fn level(meter: &Meter, metric: &Metric) -> UpDownCounter<i64> {
    debug_assert_eq!(metric.kind, Kind::Level, "{}", metric.name);
    meter
        .i64_up_down_counter(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.doc.trim())
        .build()
}

pub(super) fn histogram(meter: &Meter, metric: &Metric) -> Histogram<f64> {
    let Kind::Histogram(bounds) = metric.kind else {
        unreachable!("{} is no histogram", metric.name)
    };
    meter
        .f64_histogram(metric.name)
        .with_unit(metric.unit)
        .with_description(metric.doc.trim())
        .with_boundaries(bounds.to_vec())
        .build()
}
