//! Processes are asked to end (SIGTERM): what runs may finish, and no caller loses anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use filature_loadtest::engine::{CallSeen, Ending as AtEngine};
use serde_json::json;
use tokio::task::JoinSet;

use crate::books;
use crate::caller::{self, Ask, Ending, GATEWAY_CUT, Leave, Report, Scripts, SlowReader};
use crate::load::{Load, Progress};
use crate::stack::{LedgerKind, MODEL, Plan, Provider, Stack, Terms};
use crate::verdict::{self, Tally};
use crate::{seed, wait};

const PROVIDERS: u64 = 3;
const CALLERS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "minutes long: make faults"]
fn a_gateway_asked_to_end_lets_its_calls_finish() {
    let mut stack = start(Vec::new());
    let (calls, _progress) = begin_streams(&stack, 16, 40, 40);
    let mut gateway = stack.take_gateway();
    gateway.terminate();
    gateway.wait_for_line("stopping");
    wait::until_true("new calls to be turned away", PATIENCE, || stack.joined().is_none());
    let reports = stack.runtime.block_on(calls.join_all());
    for report in &reports {
        assert_eq!(report.ending, Ending::Complete, "{report:?}");
    }
    assert!(
        gateway.wait_for_exit(PATIENCE).success(),
        "a drained gateway ends well:\n{}",
        gateway.printed()
    );
    let closing = books::close(&stack, &reports, &[], Duration::ZERO);
    assert_eq!(closing.records, reports.len(), "every call was posted before the end");
}

#[test]
#[ignore = "minutes long: make faults"]
fn a_gateway_whose_grace_is_over_cuts_its_streams_with_a_word() {
    let mut stack = start(vec!["--server-shutdown-grace-ms".to_owned(), "300".to_owned()]);
    let (calls, _progress) = begin_streams(&stack, 16, 48, 400);
    let mut gateway = stack.take_gateway();
    gateway.terminate();
    let reports = stack.runtime.block_on(calls.join_all());
    for report in &reports {
        let is_right = match report.ask.stream {
            true => matches!(&report.ending, Ending::Broken { code } if code == GATEWAY_CUT),
            false => matches!(&report.ending, Ending::Refused { status: 503, .. }),
        };
        assert!(is_right, "{report:?}");
    }
    assert!(
        gateway.wait_for_exit(PATIENCE).success(),
        "a drained gateway ends well:\n{}",
        gateway.printed()
    );
    let closing = books::close(&stack, &reports, &[], Duration::ZERO);
    assert_eq!(
        closing.records, 8,
        "what streams delivered is paid, answers that never came are not"
    );
}

#[test]
#[ignore = "minutes long: make faults"]
fn a_gateway_asked_to_end_lets_a_slow_reader_have_its_whole_answer() {
    let mut stack = start(Vec::new());
    // Larger than what the kernel buffers for a peer with a small window, so that the gateway must wait for the reader.
    let sim = json!({ "tokens": 12_000 });
    let messages = json!([{ "role": "user", "content": "At length, please." }]);
    let body = json!({ "model": MODEL, "messages": messages, "n": 128, "max_tokens": 12_000, "sim": sim });
    let mut slow = SlowReader::call(&stack, &body.to_string());
    let mut gateway = stack.take_gateway();
    gateway.terminate();
    gateway.wait_for_line("stopping");
    let (got, announced) = slow.read_all();
    assert_eq!(got, announced, "the answer was cut when the gateway ended");
    assert!(gateway.wait_for_exit(PATIENCE).success());
}

#[test]
#[ignore = "minutes long: make faults"]
fn a_gateway_restarted_in_good_order_finishes_every_call_it_took() {
    let mut rng = seed::generator("restarting the gateway");
    let mut stack = start(Vec::new());
    let scripts = Arc::new(
        stack
            .runtime
            .block_on(Scripts::learn(&stack.providers[0].engine_client)),
    );
    let load = Load::start(stack.runtime.handle(), &stack.client, &scripts, CALLERS, &mut rng);
    let progress = load.progress.clone();
    for _ in 0..4 {
        let reached = progress.events() + 500;
        wait::until_true("the callers to get on", PATIENCE, || progress.events() >= reached);
        let mut gateway = stack.take_gateway();
        gateway.terminate();
        let status = gateway.wait_for_exit(PATIENCE);
        assert!(
            status.success(),
            "the gateway ended with {status}:\n{}",
            gateway.printed()
        );
        stack.start_gateway();
        stack.wait_until_joined();
    }
    let reports = stack.runtime.block_on(load.finish());
    for report in &reports {
        let is_right = match &report.ending {
            Ending::Complete | Ending::Left => true,
            // Not taken: no connection, or a kept one that was just being closed.
            Ending::CutOff(_) => report.id.is_none(),
            Ending::Refused { status, .. } => *status == 503,
            Ending::Broken { .. } | Ending::Wrong(_) => false,
        };
        assert!(is_right, "{report:?}");
    }
    // A call that was taken and then dropped would have been cancelled at its engine, and finished at no other: the loser of
    // a race is cancelled too.
    let left = reports.iter().filter(|report| report.ending == Ending::Left).count();
    let (mut cancelled, mut finished) = (BTreeSet::new(), BTreeSet::new());
    for seen in stack.providers.iter().flat_map(|each| calls_seen(&stack, each)) {
        match seen.ending {
            AtEngine::Cancelled => cancelled.insert(seen.call),
            AtEngine::Finished | AtEngine::Faulted => finished.insert(seen.call),
        };
    }
    let dropped = cancelled.difference(&finished).count();
    assert!(
        dropped <= left,
        "{dropped} calls were cancelled and only {left} callers had left"
    );
    println!("  {:?}", Tally::of(&reports));
    wait::until_true("every hold to be settled", PATIENCE, || stack.held() == Some(0));
    let mut gateway = stack.take_gateway();
    gateway.terminate();
    assert!(gateway.wait_for_exit(PATIENCE).success());
    books::close(&stack, &reports, &[], Duration::ZERO);
}

#[test]
#[ignore = "minutes long: make faults"]
fn agents_asked_to_end_drain_and_no_caller_notices() {
    let mut rng = seed::generator("draining agents");
    let mut stack = start(Vec::new());
    let scripts = Arc::new(
        stack
            .runtime
            .block_on(Scripts::learn(&stack.providers[0].engine_client)),
    );
    let load = Load::start(stack.runtime.handle(), &stack.client, &scripts, CALLERS, &mut rng);
    let progress = load.progress.clone();
    for turn in 0..2 * stack.providers.len() {
        let number = turn % stack.providers.len();
        let reached = progress.events() + 500;
        wait::until_true("the callers to get on", PATIENCE, || progress.events() >= reached);
        let mut agent = stack.providers[number].take_agent();
        agent.terminate();
        let status = agent.wait_for_exit(PATIENCE);
        assert!(
            status.success(),
            "agent {number} ended with {status}:\n{}",
            agent.printed()
        );
        stack.providers[number].start_agent();
        stack.wait_until_joined();
    }
    let reports = stack.runtime.block_on(load.finish());
    let faults: Vec<_> = reports
        .iter()
        .filter_map(|report| verdict::fault(report, &[]))
        .collect();
    assert!(
        faults.is_empty(),
        "{} of {} callers noticed: {faults:?}",
        faults.len(),
        reports.len()
    );
    println!("  {} calls, nobody noticed", reports.len());
    wait::until_true("every hold to be settled", PATIENCE, || stack.held() == Some(0));
    let mut gateway = stack.take_gateway();
    gateway.terminate();
    assert!(gateway.wait_for_exit(PATIENCE).success());
    books::close(&stack, &reports, &[], Duration::ZERO);
}

/// Every call that the engine of a provider remembers.
fn calls_seen(stack: &Stack, provider: &Provider) -> Vec<CallSeen> {
    let page = stack.runtime.block_on(provider.engine_client.get("/calls"));
    serde_json::from_value(page.expect("the engine answers")).expect("a list of calls")
}

fn start(gateway: Vec<String>) -> Stack {
    Stack::start(Plan {
        ledger: LedgerKind::Embedded,
        providers: (0..PROVIDERS).map(Terms::odd).collect(),
        gateway,
    })
}

/// Starts `count` calls, every other one streamed, and waits until every stream has a first token.
fn begin_streams(stack: &Stack, count: usize, tokens: u32, itl_ms: u64) -> (JoinSet<Report>, Arc<Progress>) {
    let scripts = Arc::new(
        stack
            .runtime
            .block_on(Scripts::learn(&stack.providers[0].engine_client)),
    );
    let progress: Arc<Progress> = Arc::default();
    let mut calls = JoinSet::new();
    for number in 0..count {
        let (client, scripts, progress) = (stack.client.clone(), scripts.clone(), progress.clone());
        let stream = number.is_multiple_of(2);
        let (include_usage, limited, leave) = (number.is_multiple_of(4), number.is_multiple_of(3), Leave::Never);
        let ask = Ask {
            prompt: number % 5,
            tokens,
            ttft_ms: 5,
            itl_ms,
            stream,
            include_usage,
            limited,
            leave,
        };
        let call = async move { caller::call(&client, &scripts, ask, &progress).await };
        calls.spawn_on(call, stack.runtime.handle());
    }
    let running = || {
        stack
            .providers
            .iter()
            .map(|each| stack.runtime.block_on(each.running()))
            .sum::<u64>()
    };
    wait::until_true("every call to reach an engine", PATIENCE, || running() == count as u64);
    // A head and a first chunk for each stream.
    wait::until_true("tokens to flow", PATIENCE, || progress.events() >= count as u64);
    (calls, progress)
}
