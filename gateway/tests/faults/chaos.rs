//! Agents, engines and the gateway are killed at random points under load; afterwards every nano is where it belongs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::books::{self, Closing};
use crate::caller::{Ending, Report, Scripts};
use crate::disk::Disk;
use crate::killer::{Incident, Killer};
use crate::load::Load;
use crate::stack::{LedgerKind, Plan, Stack, Terms};
use crate::verdict::{self, Tally};
use crate::{seed, wait};

const ROUNDS: usize = 40;
const PROVIDERS: u64 = 4;
const CALLERS: usize = 24;
/// Expired holds are swept after their lease (3 s) and the sweep's pause.
const SWEPT_MAX: Duration = Duration::from_secs(15);

#[test]
#[ignore = "minutes long: make faults"]
fn money_adds_up_after_kills_on_the_embedded_ledger() {
    money_adds_up("embedded", LedgerKind::Embedded);
}

#[test]
#[ignore = "minutes long: make faults"]
fn money_adds_up_after_kills_on_redis() {
    money_adds_up("redis", LedgerKind::Redis);
}

fn money_adds_up(name: &str, ledger: LedgerKind) {
    let mut rng = seed::generator(name);
    let mut stack = Stack::start(Plan {
        ledger,
        providers: (0..PROVIDERS).map(Terms::odd).collect(),
        gateway: Vec::new(),
    });
    let scripts = Arc::new(
        stack
            .runtime
            .block_on(Scripts::learn(&stack.providers[0].engine_client)),
    );
    let disk = Disk::watch(stack.path());
    let load = Load::start(stack.runtime.handle(), &stack.client, &scripts, CALLERS, &mut rng);
    let progress = load.progress.clone();
    let mut killer = Killer::new(&mut stack, &progress, &mut rng);
    // The last round kills the gateway.
    for number in 1..=ROUNDS {
        killer.round(number);
    }
    let incidents = killer.incidents;
    let reports = stack.runtime.block_on(load.finish());
    wait::until_true("every hold to be given back", SWEPT_MAX, || stack.held() == Some(0));
    check_generations(&stack, &reports);
    let shown = stack.operator().account(&stack.account);
    let books = stack.operator().books();
    assert!(books.conserved, "{books:?}");

    let mut gateway = stack.take_gateway();
    gateway.terminate();
    assert!(
        gateway.wait_for_exit(Duration::from_secs(20)).success(),
        "an idle gateway stops without complaint"
    );
    let closing = books::close(&stack, &reports, &incidents, disk.slowest());
    assert_eq!(
        (shown.spent, shown.held),
        (closing.totals.spent, closing.totals.held),
        "what the operator was shown"
    );
    assert_eq!(books.totals, closing.totals, "what the operator was shown");
    println!("  slowest write of the disk    {:.1?}", disk.slowest());
    print_table(name, &reports, &incidents, &closing);
    check_endings(&reports, &incidents);
    check_logs(&stack, ledger, &incidents);
}

/// `GET /v1/generation` knows every whole answer that the ledger knows, with the tokens the caller counted.
fn check_generations(stack: &Stack, reports: &[Report]) {
    let whole = reports.iter().filter(|report| report.ending == Ending::Complete);
    stack.runtime.block_on(async {
        for report in whole {
            let id = report.id.as_deref().expect("a whole answer has a head");
            // Those without a record are judged by `books`.
            let Some(told) = stack.client.get(&format!("/v1/generation?id={id}")).await else {
                continue;
            };
            assert_eq!(told["data"]["id"], id);
            assert_eq!(told["data"]["tokens_completion"], report.ask.tokens, "{told}");
            assert_eq!(told["data"]["streamed"], report.ask.stream, "{told}");
            assert_eq!(told["data"]["cancelled"], false, "{told}");
        }
    });
}

fn check_endings(reports: &[Report], incidents: &[Incident]) {
    let faults: Vec<_> = reports
        .iter()
        .filter_map(|report| Some((verdict::fault(report, incidents)?, report)))
        .collect();
    for (fault, report) in faults.iter().take(12) {
        let last = incidents
            .iter()
            .enumerate()
            .rev()
            .find(|(_, incident)| incident.killed <= report.ended);
        let since = last.map(|(round, incident)| {
            let since = |moment: Instant| moment.saturating_duration_since(incident.killed);
            let before = incident.killed.saturating_duration_since(report.began);
            format!(
                "ended {:.0?} after the kill of round {}, begun {before:.0?} before it",
                since(report.ended),
                round + 1
            )
        });
        eprintln!("FAULT {fault}: {:?} {}", report.id, since.unwrap_or_default());
    }
    let share = Tally::of(reports).exhausted_share();
    assert!(
        share <= verdict::EXHAUSTED_SHARE_MAX,
        "{:.1} % of the calls ran out of providers",
        share * 100.0
    );
    assert!(faults.is_empty(), "{} calls ended as no call may", faults.len());
}

/// Nobody panicked, the gateway saw nothing it calls an error, and holds were orphaned only by kills.
fn check_logs(stack: &Stack, ledger: LedgerKind, incidents: &[Incident]) {
    let mut swept = 0;
    for (name, log) in stack.logs() {
        for line in log.lines() {
            assert!(!line.contains("panicked"), "{name} panicked: {line}");
            assert!(
                !line.contains(r#""level":"ERROR""#),
                "{name} met what it calls an error: {line}"
            );
            if line.contains("orphaned holds were swept") {
                let line: serde_json::Value = serde_json::from_str(line).expect("the gateway logs JSON");
                swept += line["holds"].as_u64().expect("a count");
            }
        }
    }
    // The embedded ledger's holds end with its gateway, so one that is swept was lost by a living gateway.
    let kills = incidents.iter().filter(|incident| incident.hit_gateway()).count();
    // Of each caller a kill can meet one call that runs, and the one before, whose answer has ended and is not posted yet.
    let orphans_max = if ledger == LedgerKind::Redis {
        2 * kills * CALLERS
    } else {
        0
    };
    println!("  swept: {swept} orphaned holds");
    assert!(
        swept <= orphans_max as u64,
        "{swept} holds were swept: kills orphan at most {orphans_max}"
    );
}

fn print_table(name: &str, reports: &[Report], incidents: &[Incident], closing: &Closing) {
    let tally = Tally::of(reports);
    let totals = &closing.totals;
    let gateway_kills = incidents.iter().filter(|incident| incident.hit_gateway()).count();
    let rows = [
        (
            "rounds",
            format!("{} ({gateway_kills} with the gateway)", incidents.len()),
        ),
        ("calls", tally.calls.to_string()),
        ("  complete", tally.complete.to_string()),
        ("  broken, and told so", tally.broken.to_string()),
        ("  left by the caller", tally.left.to_string()),
        ("  cut off with the gateway", tally.cut_off.to_string()),
        ("  refused", format!("{} {:?}", tally.refused(), tally.refused)),
        ("records", closing.records.to_string()),
        (
            "whole answers without one",
            format!(
                "{} (at most {:.0?} before a kill)",
                closing.missing, closing.missing_age_max
            ),
        ),
        (
            "calls without a name",
            format!("{}, charged {} nano", closing.unnamed, closing.unnamed_cost),
        ),
        ("deposited", totals.deposited.to_string()),
        ("available", Nano(totals.available).to_string()),
        ("held", totals.held.to_string()),
        ("spent", totals.spent.to_string()),
        ("earned", totals.earned.to_string()),
        ("fees", totals.fees.to_string()),
    ];
    println!("{name}:");
    for (what, value) in rows {
        println!("  {what:<28} {value}");
    }
}

/// An amount that may be below zero, with every decimal.
pub struct Nano(pub i128);

impl std::fmt::Display for Nano {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (sign, nano) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
    }
}
