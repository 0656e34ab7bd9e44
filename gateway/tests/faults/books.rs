//! What the ledger must say when all is over: to the nano, for every call and in sum.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use filature_billing::{CallId, CallOutcome, Ledger, Nano, Tokens, Totals, UsageRecord};

use crate::caller::{Ending, GATEWAY_CUT, Report};
use crate::killer::Incident;
use crate::stack::{Provider, Stack};

/// A call's record is written after its last byte. One that ended this shortly before the gateway was killed may have
/// none: it then was free for the caller. Two commits, and what a loaded machine adds; the disk's slowest write comes twice
/// on top.
const COMMIT_WINDOW: Duration = Duration::from_millis(500);
/// More tokens than any prompt of the tests is counted as.
const PROMPT_TOKENS_MAX: u64 = 400;
/// More tokens than any answer of the tests has.
const COMPLETION_TOKENS_MAX: u64 = 64;

/// What the check found.
#[derive(Debug)]
pub struct Closing {
    pub totals: Totals,
    /// Calls with a record.
    pub records: usize,
    /// Whole answers without a record, all within the commit window before a kill of the gateway.
    pub missing: usize,
    /// The longest time between such an answer's last byte and the kill.
    pub missing_age_max: Duration,
    /// Calls whose id their caller never learnt.
    pub unnamed: usize,
    /// Spent beyond the records of named calls: by unnamed ones.
    pub unnamed_cost: u64,
    /// Who broke off in answers that others went on with, once for each.
    pub broke_off: Vec<String>,
}

impl Closing {
    /// Streams that this provider broke off and another went on with.
    pub fn spliced(&self, provider: &str) -> usize {
        self.broke_off.iter().filter(|broke| *broke == provider).count()
    }
}

/// Checks everything. The gateway must have gone, and every call must have ended. `disk_slowest` is how long the disk took at
/// most to keep something meanwhile.
pub fn close(stack: &Stack, reports: &[Report], incidents: &[Incident], disk_slowest: Duration) -> Closing {
    close_with(stack, reports, incidents, disk_slowest, &HashMap::new())
}

/// As [`close`], where the ledger has let go of some records, because they are `sealed`.
pub fn close_with(
    stack: &Stack,
    reports: &[Report],
    incidents: &[Incident],
    disk_slowest: Duration,
    sealed: &HashMap<CallId, UsageRecord>,
) -> Closing {
    let window = COMMIT_WINDOW + 2 * disk_slowest;
    let ledger = stack.open_ledger();
    let totals = stack.runtime.block_on(ledger.totals()).expect("totals");
    assert!(totals.are_conserved(), "money appeared or vanished: {totals:?}");
    assert_eq!((totals.held, totals.holds), (Nano::ZERO, 0), "a hold is left behind");
    let account = stack
        .runtime
        .block_on(ledger.account(&stack.account))
        .expect("an answer")
        .expect("the account");
    let kept = i128::from(account.available)
        + i128::from(account.held.get())
        + i128::from(account.spent.get())
        + i128::from(account.withdrawn.get());
    assert_eq!(kept, i128::from(account.deposited.get()), "{account:?}");
    assert_eq!(
        (account.spent, account.deposited),
        (totals.spent, totals.deposited),
        "there is one account"
    );

    let mut closing = Closing {
        totals,
        records: 0,
        missing: 0,
        missing_age_max: Duration::ZERO,
        unnamed: reports.iter().filter(|report| report.id.is_none()).count(),
        unnamed_cost: 0,
        broke_off: Vec::new(),
    };
    let mut costs: HashMap<String, u64> = HashMap::new();
    for report in reports.iter().filter(|report| report.id.is_some()) {
        match record(stack, &*ledger, sealed, report) {
            Some(record) => {
                closing.records += 1;
                check_record(stack, report, &record);
                let broke = record.legs.iter().rev().skip(1).map(|leg| leg.provider.to_string());
                closing.broke_off.extend(broke);
                for leg in &record.legs {
                    *costs.entry(leg.provider.to_string()).or_default() += leg.cost.get();
                }
            }
            None => check_missing(report, incidents, window, &mut closing),
        }
    }
    check_earnings(stack, &*ledger, &costs, &mut closing);
    closing
}

fn record(
    stack: &Stack,
    ledger: &dyn Ledger,
    sealed: &HashMap<CallId, UsageRecord>,
    report: &Report,
) -> Option<UsageRecord> {
    let call = report.call().expect("a named call");
    sealed.get(&call).cloned().or_else(|| {
        stack
            .runtime
            .block_on(ledger.record(&stack.account, &call))
            .expect("the ledger answers")
    })
}

/// A record says what its caller saw, and costs what its provider asks for that.
fn check_record(stack: &Stack, report: &Report, record: &UsageRecord) {
    record
        .check()
        .unwrap_or_else(|error| panic!("a record does not add up: {error}: {record:?}"));
    let ask = &report.ask;
    assert_eq!(record.stream, ask.stream, "{record:?}");
    for (place, leg) in record.legs.iter().enumerate() {
        let mut price = provider(stack, leg.provider.as_str()).terms.price();
        // Who breaks off forfeits the prompt and the price of the call.
        if place + 1 < record.legs.len() || record.outcome == CallOutcome::Broken {
            price.call = Nano::ZERO;
            assert_eq!(leg.tokens.prompt, 0, "{record:?}");
        }
        assert_eq!(leg.cost, price.cost(&leg.tokens).expect("a small cost"), "{record:?}");
        assert_eq!(leg.from_byte > 0, place > 0, "{record:?}");
    }
    let completion: u64 = record.legs.iter().map(|leg| leg.tokens.completion).sum();
    assert_eq!(completion, record.billed.completion, "{record:?}");
    let (billed, tokens) = (record.billed.completion, u64::from(report.tokens));
    let outcome = record.outcome;
    match &report.ending {
        Ending::Complete => {
            assert_eq!(
                (outcome, billed),
                (CallOutcome::Completed, u64::from(ask.tokens)),
                "{report:?}: {record:?}"
            );
        }
        Ending::Broken { code } if code == GATEWAY_CUT => {
            assert_eq!(outcome, CallOutcome::Cancelled, "{report:?}: {record:?}");
            assert!(billed >= tokens, "{report:?}: {record:?}");
        }
        Ending::Broken { .. } => {
            assert_eq!(
                (outcome, billed),
                (CallOutcome::Broken, tokens),
                "{report:?}: {record:?}"
            );
        }
        Ending::Left | Ending::CutOff(_) => {
            assert!(
                (tokens..=u64::from(ask.tokens)).contains(&billed),
                "{report:?}: {record:?}"
            );
        }
        Ending::Refused { .. } | Ending::Wrong(_) => panic!("charged for nothing: {report:?}: {record:?}"),
    }
}

/// Without a record, a call was free. That is right for errors; for output only if the gateway was killed just then.
fn check_missing(report: &Report, incidents: &[Incident], window: Duration, closing: &mut Closing) {
    let kills = || incidents.iter().filter(|incident| incident.hit_gateway());
    let kill = kills().find_map(|incident| age(report.ended, incident, window));
    match &report.ending {
        Ending::Refused { .. } | Ending::CutOff(_) => {}
        // Hung up before the first token, or on an answer in one piece before it was there: nothing was delivered.
        Ending::Left if report.tokens == 0 => {}
        Ending::Complete | Ending::Left | Ending::Broken { .. } | Ending::Wrong(_) => {
            let age = kill.unwrap_or_else(|| {
                let next = kills().filter_map(|incident| incident.killed.checked_duration_since(report.ended)).min();
                panic!("served and not recorded; the gateway was killed {next:?} later, {window:?} would explain it: {report:?}")
            });
            closing.missing += usize::from(report.ending == Ending::Complete);
            closing.missing_age_max = closing.missing_age_max.max(age);
        }
    }
}

/// How long before a kill of the gateway this was, if within the commit window (or after the kill, still being read).
fn age(ended: Instant, incident: &Incident, window: Duration) -> Option<Duration> {
    let before = incident.killed.saturating_duration_since(ended);
    (before <= window && ended <= incident.back).then_some(before)
}

/// Providers have earned what the records say, and nothing else but calls without a name.
fn check_earnings(stack: &Stack, ledger: &dyn Ledger, costs: &HashMap<String, u64>, closing: &mut Closing) {
    let earnings = stack.runtime.block_on(ledger.earnings()).expect("earnings");
    let (mut earned, mut fees, mut beyond) = (0, 0, 0);
    for each in &earnings {
        assert_eq!(each.earned.get() + each.fee.get(), each.cost.get(), "{each:?}");
        earned += each.earned.get();
        fees += each.fee.get();
        let known = costs.get(each.provider.as_str()).copied().unwrap_or(0);
        beyond += each
            .cost
            .get()
            .checked_sub(known)
            .unwrap_or_else(|| panic!("records above the earnings of {each:?}"));
    }
    let totals = &closing.totals;
    assert_eq!((earned, fees), (totals.earned.get(), totals.fees.get()));
    assert_eq!(earned + fees, totals.spent.get());
    closing.unnamed_cost = beyond;
    let tokens = Tokens {
        prompt: PROMPT_TOKENS_MAX,
        completion: COMPLETION_TOKENS_MAX,
        ..Tokens::default()
    };
    let dearest = stack
        .providers
        .iter()
        .map(|provider| provider.terms.price().cost(&tokens).expect("small").get())
        .max();
    let bound = dearest.unwrap_or(0) * closing.unnamed as u64;
    assert!(
        beyond <= bound,
        "{beyond} nano were spent on {} calls without a name: at most {bound}",
        closing.unnamed
    );
}

fn provider<'a>(stack: &'a Stack, id: &str) -> &'a Provider {
    stack
        .providers
        .iter()
        .find(|provider| provider.id == id)
        .unwrap_or_else(|| panic!("nobody is {id}"))
}
