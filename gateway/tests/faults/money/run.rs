//! One run: calls under load, outages of the ledger, and what must be true afterwards, printed with its sums.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::CallId;
use rand::rngs::StdRng;

use crate::books::{self, Closing};
use crate::caller::{Ending, Report, Scripts};
use crate::chaos::Nano;
use crate::load::Load;
use crate::stack::{LedgerKind, Plan, RedisUrls, Stack, Terms};
use crate::verdict::Tally;
use crate::{seed, wait};

const PROVIDERS: u64 = 3;
const CALLERS: usize = 24;
/// How long the callers may take to make the progress that is waited for.
const PROGRESS_MAX: Duration = Duration::from_secs(30);
/// How long a gateway may take to reach a ledger that is there again.
const WELL_MAX: Duration = Duration::from_secs(20);
/// How long posts may take to arrive once the ledger is there: those in memory are tried again after 5 s at most. Holds
/// are swept after their lease of 3 s.
const ARRIVED_MAX: Duration = Duration::from_secs(20);
/// A call waits for two steps of the ledger at most before it is refused, each with a deadline of 750 ms; the rest is for a
/// busy machine. Outages last longer, so nobody is refused only because the ledger is back.
const REFUSED_MAX: Duration = Duration::from_secs(5);
/// Calls that begin so shortly after an outage may still meet a connection that is being given up.
const AFTERMATH: Duration = Duration::from_secs(2);
/// What the gateway may complain of while its ledger is away.
const COMPLAINTS: [&str; 2] = ["nothing could be sealed", "a post could not be journalled"];

/// The ledger was away, as far as callers could tell.
struct Outage {
    from: Instant,
    /// When the gateway answered a question about money again; nothing while it is still away.
    to: Option<Instant>,
}

/// What gateways said of holds and posts.
#[derive(Default)]
struct Told {
    /// Holds that were swept.
    swept: u64,
    /// Posts that were written to the journal.
    journalled: usize,
    /// Posts that came from there; some twice, where a replay was broken off.
    replayed: u64,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let count = |name: &str| {
            let line: serde_json::Value = serde_json::from_str(line).expect("the gateway logs JSON");
            line[name].as_u64().expect("a count")
        };
        if line.contains("orphaned holds were swept") {
            self.swept += count("holds");
        } else if line.contains("journalled posts were replayed") {
            self.replayed += count("posts");
        } else if line.contains("the post is journalled") {
            self.journalled += 1;
        }
    }
}

/// A stack under load, and everything that its callers told.
pub struct Run {
    pub stack: Stack,
    name: &'static str,
    scripts: Arc<Scripts>,
    pub rng: StdRng,
    reports: Vec<Report>,
    outages: Vec<Outage>,
    notes: Vec<(&'static str, String)>,
}

impl Run {
    /// Starts everything on this Redis, with more settings of the gateway.
    pub fn begin(name: &'static str, urls: RedisUrls, gateway: &[&str]) -> Self {
        let rng = seed::generator(name);
        let plan = Plan {
            ledger: LedgerKind::Redis,
            providers: (0..PROVIDERS).map(Terms::odd).collect(),
            gateway: gateway.iter().map(|&word| word.to_owned()).collect(),
        };
        let stack = Stack::start_on(urls, plan);
        let scripts = stack
            .runtime
            .block_on(Scripts::learn(&stack.providers[0].engine_client));
        Self {
            stack,
            name,
            scripts: Arc::new(scripts),
            rng,
            reports: Vec::new(),
            outages: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Callers at work. None hangs up, so that everything charged has a name.
    pub fn load(&mut self) -> Load {
        let runtime = self.stack.runtime.handle();
        Load::start_patient(runtime, &self.stack.client, &self.scripts, CALLERS, &mut self.rng)
    }

    /// Waits until callers have seen so much more.
    pub fn wait_for(&self, load: &Load, events: u64) {
        let reached = load.progress.events() + events;
        wait::until_true("the callers to get on", PROGRESS_MAX, || {
            load.progress.events() >= reached
        });
    }

    /// Lets every caller finish its call.
    pub fn finish(&mut self, load: Load) {
        let reports = self.stack.runtime.block_on(load.finish());
        self.reports.extend(reports);
    }

    /// The ledger is away from now on.
    pub fn strikes(&mut self) -> Instant {
        let from = Instant::now();
        self.outages.push(Outage { from, to: None });
        from
    }

    /// What took the ledger away is over: waits until the gateway has found that out.
    pub fn is_well(&mut self) {
        let began = Instant::now();
        wait::until_true("the gateway to reach its ledger", WELL_MAX, || {
            self.stack.held().is_some()
        });
        let outage = self.outages.last_mut().expect("something struck");
        outage.to = Some(Instant::now());
        println!("  {}: reached again after {:.1?}", self.name, began.elapsed());
    }

    /// Has a line of its own in what is printed.
    pub fn note(&mut self, what: &'static str, value: String) {
        self.notes.push((what, value));
    }

    fn complete(&self) -> impl Iterator<Item = &Report> {
        self.reports.iter().filter(|report| report.ending == Ending::Complete)
    }

    /// The segments of the gateway's journal.
    pub fn segments(&self) -> Vec<Vec<u8>> {
        let folder = fs::read_dir(self.stack.data().join("posts")).expect("the journal's folder");
        // A segment may be replayed and gone meanwhile.
        folder
            .flatten()
            .filter_map(|entry| fs::read(entry.path()).ok())
            .collect()
    }

    /// Whole records in them.
    pub fn journalled(&self) -> usize {
        let segments = self.segments();
        segments
            .iter()
            .map(|bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
            .sum()
    }

    /// Waits until every whole answer is posted or in the journal, and returns how many are there.
    pub fn wait_until_journalled(&self) -> usize {
        let whole = self.complete().count();
        wait::until("every finished call to be journalled", ARRIVED_MAX, || {
            let journalled = self.journalled();
            (self.posted() + journalled == whole).then_some(journalled)
        })
    }

    /// Posts that the ledger answered, as the gateway counts.
    fn posted(&self) -> usize {
        let page = self.stack.runtime.block_on(self.stack.client.get("/metrics"));
        let page = page
            .and_then(|page| page.as_str().map(str::to_owned))
            .unwrap_or_default();
        let sum = |name: &str| -> usize {
            let lines = page.lines().filter(|line| line.starts_with(name));
            let lines = lines.filter(|line| line.contains(r#"filature_step="post""#));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
            values.sum()
        };
        sum("filature_ledger_step_duration_seconds_count") - sum("filature_ledger_step_failures_total")
    }

    /// Waits until the gateway has said this of a call, and returns of how many it has.
    pub fn wait_until_logged(&self, what: &str) -> usize {
        wait::until(&format!("the gateway to log `{what}`"), ARRIVED_MAX, || {
            let printed = self.stack.gateway().printed();
            let lines = printed.lines().filter(|line| line.contains(what));
            let calls: BTreeSet<_> = lines
                .filter_map(|line| {
                    serde_json::from_str::<serde_json::Value>(line).ok()?["call"]
                        .as_str()
                        .map(str::to_owned)
                })
                .collect();
            (!calls.is_empty()).then_some(calls.len())
        })
    }

    /// Waits until all posts have arrived and nothing is held, stops the gateway, and checks and prints everything.
    pub fn close(mut self) {
        self.wait_for_posts();
        self.stop();
        let closing = books::close(&self.stack, &self.reports, &[], Duration::ZERO);
        self.check(&closing);
    }

    /// Waits until the ledger has a record of every whole answer.
    fn wait_for_posts(&self) {
        let ledger = self.stack.open_ledger();
        let mut missing: Vec<CallId> = self.complete().filter_map(Report::call).collect();
        wait::until_true("the post of every finished call to arrive", ARRIVED_MAX, || {
            while let Some(call) = missing.last() {
                let record = self.stack.runtime.block_on(ledger.record(&self.stack.account, call));
                if !matches!(record, Ok(Some(_))) {
                    return false;
                }
                missing.pop();
            }
            true
        });
        wait::until_true("the journal to be empty", ARRIVED_MAX, || self.journalled() == 0);
    }

    /// Waits until nothing is held and asks the gateway to end.
    pub fn stop(&mut self) {
        wait::until_true("every hold to be given back", ARRIVED_MAX, || {
            self.stack.held() == Some(0)
        });
        let mut gateway = self.stack.take_gateway();
        gateway.terminate();
        let ended = gateway.wait_for_exit(Duration::from_secs(20));
        assert!(ended.success(), "an idle gateway stops without complaint: {ended}");
    }

    /// The callers' reports.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Prints everything and checks what callers met, and what the gateway complained of.
    pub fn check(&self, closing: &Closing) {
        let told = self.check_logs();
        self.print(closing, &told);
        let faults: Vec<_> = self.reports.iter().filter_map(|report| self.fault(report)).collect();
        assert!(
            faults.is_empty(),
            "{} calls ended as none may, such as {:#?}",
            faults.len(),
            faults.first()
        );
        // Every call has a name, and every nano spent is in a call's one record.
        assert_eq!((closing.unnamed, closing.unnamed_cost, closing.missing), (0, 0, 0));
        assert_eq!(
            closing.records,
            self.complete().count(),
            "one record for each whole answer"
        );
        for outage in &self.outages {
            let lived_through = |report: &&Report| report.began < outage.from && report.ended > outage.from;
            assert!(
                self.complete().any(|report| lived_through(&report)),
                "no call was running"
            );
            let to = outage.to.expect("it is over");
            assert!(self.complete().any(|report| report.began > to), "no call came after it");
        }
    }

    /// What is wrong with a call's ending, if anything.
    fn fault(&self, report: &Report) -> Option<String> {
        let took = report.ended - report.began;
        let met = |outage: &Outage| {
            let to = outage.to.expect("it is over") + AFTERMATH;
            report.began <= to && report.ended >= outage.from
        };
        match &report.ending {
            Ending::Complete => None,
            Ending::Refused { status: 503, code } if code == "ledger_unavailable" => {
                let told = if took > REFUSED_MAX {
                    "refused too late"
                } else if !self.outages.iter().any(met) {
                    "refused while the ledger was there"
                } else {
                    return None;
                };
                Some(format!("{told}: {took:?}, {report:?}"))
            }
            _ => Some(format!("{report:?}")),
        }
    }

    /// Nobody panicked, and the gateway complained of nothing but what was done to it.
    fn check_logs(&self) -> Told {
        let mut told = Told::default();
        for (name, log) in self.stack.logs() {
            for line in log.lines() {
                assert!(!line.contains("panicked"), "{name} panicked: {line}");
                let is_error = line.contains(r#""level":"ERROR""#);
                let is_known = COMPLAINTS.iter().any(|complaint| line.contains(complaint));
                assert!(!is_error || is_known, "{name} met what it calls an error: {line}");
                told.hear(line);
            }
        }
        told
    }

    fn print(&self, closing: &Closing, told: &Told) {
        let tally = Tally::of(&self.reports);
        let took = |report: &Report| report.ended - report.began;
        let refused = self
            .reports
            .iter()
            .filter(|report| matches!(report.ending, Ending::Refused { .. }));
        let slowest_refusal = refused.map(took).max().unwrap_or_default();
        let slowest = self.complete().map(took).max().unwrap_or_default();
        let outlived = |outage: &Outage| {
            let lived = |report: &&Report| report.began < outage.from && report.ended > outage.from;
            self.complete().filter(lived).count()
        };
        let outlived: usize = self.outages.iter().map(outlived).sum();
        let totals = &closing.totals;
        let mut rows = vec![
            ("calls", tally.calls.to_string()),
            ("  whole answers", format!("{} (slowest {slowest:.1?})", tally.complete)),
            ("  of those running at the blow", outlived.to_string()),
            (
                "  refused",
                format!(
                    "{} {:?} (slowest {slowest_refusal:.1?})",
                    tally.refused(),
                    tally.refused
                ),
            ),
            ("records, one each", closing.records.to_string()),
            (
                "posts journalled, replayed",
                format!("{}, {}", told.journalled, told.replayed),
            ),
            ("holds swept", told.swept.to_string()),
        ];
        rows.extend(self.notes.iter().cloned());
        rows.extend([
            ("deposited", totals.deposited.to_string()),
            ("= available", Nano(totals.available).to_string()),
            ("+ held", totals.held.to_string()),
            ("+ spent", totals.spent.to_string()),
            ("spent = earned", totals.earned.to_string()),
            ("      + fees", totals.fees.to_string()),
        ]);
        println!("{}:", self.name);
        for (what, value) in rows {
            println!("  {what:<40} {value}");
        }
    }
}
