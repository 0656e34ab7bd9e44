//! A gateway that does nothing but seal is killed again and again while another one serves: no record is lost, none is
//! sealed twice, and the epochs come to what the ledger says.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use filature_billing::{CallId, EpochStore, UsageRecord};
use rand::RngExt as _;
use serde_json::Value;

use super::run::Run;
use super::{DURABLE, EVENTS, urls};
use crate::books;
use crate::nodes::Node;
use crate::process::{Process, without_settings};
use crate::stack::{GATEWAY, Stack, free_port, program};
use crate::wait;

/// How often the sealer is killed.
const LIVES: usize = 9;
/// How long a sealer may take to seal something: the lease of the one that was killed is 2 s.
const SEALED_MAX: Duration = Duration::from_secs(20);
/// Where epochs are, in the stack's folder.
const STORE: &str = "sealed";

#[test]
#[ignore = "minutes long: make faults"]
fn the_sealer_is_killed_while_it_seals() {
    let node = Node::start(DURABLE);
    let serving = ["--epochs-seal", "false", "--epochs-store", STORE];
    let mut run = Run::begin("sealer", urls(&node), &serving);
    let load = run.load();
    run.wait_for(&load, EVENTS);
    let folder = run.stack.path().join(STORE);
    let store = EpochStore::folder(&folder).expect("a store");
    let last = |run: &Run| run.stack.runtime.block_on(store.last()).expect("an answer");
    for _ in 0..LIVES {
        let before = last(&run);
        let sealer = start(&run.stack, &node.url());
        wait::until_true("an epoch to be sealed", SEALED_MAX, || last(&run) != before);
        let events = run.rng.random_range(0..100);
        run.wait_for(&load, events);
        sealer.kill();
    }
    let sealer = start(&run.stack, &node.url());
    run.finish(load);
    run.stop();
    let verdict = all_sealed(&run.stack, STORE);
    drop(sealer);
    let sealed = records(&folder);
    let closing = books::close_with(&run.stack, run.reports(), &[], Duration::ZERO, &sealed);
    assert_eq!(verdict["totals"]["calls"], closing.records, "{verdict}");
    run.note(
        "epochs verified",
        format!("{}, the sealer killed {LIVES} times", verdict["epochs"]),
    );
    run.note(
        "  their calls, cost, fees",
        format!(
            "{}, {}, {}",
            verdict["totals"]["calls"], verdict["totals"]["cost"], verdict["totals"]["fee"]
        ),
    );
    run.check(&closing);
}

/// A gateway of the same ledger, store and key, whose turn it is to seal.
fn start(stack: &Stack, redis: &str) -> Process {
    let data = stack.path().join("sealer");
    fs::create_dir_all(&data).expect("a folder");
    fs::copy(stack.data().join("receipts.key"), data.join("receipts.key")).expect("copied");
    let listen = format!("127.0.0.1:{}", free_port());
    let args = [
        "serve",
        "--listen",
        &listen,
        "--data",
        "sealer",
        "--redis",
        redis,
        "--server-workers",
        "1",
    ];
    let epochs = [
        "--epochs-store",
        STORE,
        "--epochs-age-ms",
        "50",
        "--epochs-receipts-max",
        "32",
    ];
    let args: Vec<_> = args
        .iter()
        .chain(&epochs)
        .chain(GATEWAY)
        .map(|&word| word.to_owned())
        .collect();
    Process::start(stack.path(), "sealer", &program("filature"), &args)
}

/// Waits until the epochs come to what the ledger says, and returns what `epochs verify` found.
pub(super) fn all_sealed(stack: &Stack, store: &str) -> Value {
    let totals = stack.operator().books().totals;
    wait::until("all to be sealed", SEALED_MAX, || {
        let mut command = Command::new(program("filature"));
        command.args(["epochs", "verify", "--store", store, "--data", "data", "--json"]);
        without_settings(&mut command);
        let done = command.current_dir(stack.path()).output().expect("filature runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "the epochs are not right: {said}");
        let verdict: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        let sealed = &verdict["totals"];
        if sealed["cost"] != totals.spent.get() {
            return None;
        }
        assert_eq!(sealed["fee"], totals.fees.get());
        assert_eq!(sealed["earned"], totals.earned.get());
        Some(verdict)
    })
}

/// Every record in the epochs.
pub(super) fn records(store: &Path) -> HashMap<CallId, UsageRecord> {
    let mut records = HashMap::new();
    let folders = fs::read_dir(store.join("epochs")).expect("epochs").flatten();
    let objects = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder").flatten());
    for path in objects.map(|object| object.path()) {
        // What a killed sealer was writing never got its name.
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let lines = fs::read_to_string(&path).expect("an epoch");
        // The seal and the earnings come before them.
        let sealed = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<UsageRecord>(line).ok());
        for record in sealed {
            let call = record.call;
            assert!(records.insert(call, record).is_none(), "{call} is sealed twice");
        }
    }
    records
}
