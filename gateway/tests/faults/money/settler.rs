//! Settlers are killed, and frozen and woken again, in the middle of paying, while callers go on: every provider has what
//! the epochs say in the end, to the nano, and the chain names the last of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use filature_billing::chain::Address;
use rand::RngExt as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::run::Run;
use super::sealer::{all_sealed, records};
use super::{DURABLE, EVENTS, urls};
use crate::books;
use crate::contract_chain::TheChain;
use crate::nodes::Node;
use crate::process::Process;
use crate::stack::{GATEWAY, Stack, free_port, payout, program};
use crate::wait;

/// How often a settler is killed or frozen.
const BLOWS: usize = 24;
/// How long a settler may take to write something down: the turn of the one that was killed ends after 3 s.
const WRITTEN_MAX: Duration = Duration::from_secs(30);
/// How long all may take to be paid when nothing is broken any more.
const PAID_MAX: Duration = Duration::from_secs(60);

#[test]
#[ignore = "minutes long: make faults"]
fn settlers_are_killed_and_frozen_while_they_pay() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let home = tempfile::tempdir().expect("a folder");
    let chain = runtime.block_on(TheChain::start(home.path(), &program("filature"), free_port()));
    let node = Node::start(DURABLE);
    let mut serving = chain.settings_without_key();
    serving.extend(["--epochs-age-ms", "300"].map(str::to_owned));
    let serving: Vec<_> = serving.iter().map(String::as_str).collect();
    let mut run = Run::begin("settler", urls(&node), &serving);
    let load = run.load();
    run.wait_for(&load, EVENTS);
    let store = run.stack.data().join("epochs");
    let (mut killed, mut frozen, mut asleep) = (0, 0, Vec::new());
    for number in 0..BLOWS {
        let before = entries(&store);
        let settler = start(&run.stack, &chain, &node.url(), number);
        wait::until_true("a settler to write something down", WRITTEN_MAX, || {
            entries(&store) > before
        });
        // Into the middle of whatever comes next: signing, sending, looking for what became of it.
        let events = run.rng.random_range(0..60);
        run.wait_for(&load, events);
        if run.rng.random_range(0..3) == 0 {
            signal(&settler, Signal::STOP);
            frozen += 1;
            asleep.push(settler);
        } else {
            settler.kill();
            killed += 1;
        }
        // Those that slept through their turns wake up beside whoever has it now.
        if asleep.len() == 2 {
            asleep.iter().for_each(|settler| signal(settler, Signal::CONT));
            let before = entries(&store);
            wait::until_true("one of two settlers to go on", WRITTEN_MAX, || entries(&store) > before);
            asleep.drain(..).for_each(Process::kill);
        }
    }
    asleep.iter().for_each(|settler| signal(settler, Signal::CONT));
    run.finish(load);
    run.stop();
    // With the gateway gone too, which sealed: what is not sealed yet is the next one's.
    run.stack.start_gateway();
    let verdict = all_sealed(&run.stack, &store.display().to_string());
    let settler = start(&run.stack, &chain, &node.url(), BLOWS);
    let paid = wait::until("everybody to be paid", PAID_MAX, || {
        runtime.block_on(all_paid(&run, &chain, &verdict))
    });
    drop((settler, asleep));
    let closing = books::close_with(&run.stack, run.reports(), &[], Duration::ZERO, &records(&store));
    run.note("settlers killed, frozen", format!("{killed}, {frozen}"));
    run.note("entries in their books", entries(&store).to_string());
    run.note("epochs, anchored the last", verdict["epochs"].to_string());
    run.note("paid on the chain", format!("{paid} nano, as earned"));
    run.check(&closing);
}

/// What all providers got, once each has what it earned and the last epoch is anchored. Nobody ever has more.
async fn all_paid(run: &Run, chain: &TheChain, verdict: &Value) -> Option<u64> {
    let last = verdict["epochs"].as_u64().expect("a number") - 1;
    let (mut sum, mut whole) = (0, chain.anchor().await.is_some_and(|anchor| anchor.epoch == last));
    for (number, provider) in run.stack.providers.iter().enumerate() {
        let mut earnings = verdict["earnings"].as_array().expect("a list").iter();
        let earned = earnings.find(|one| one["provider"] == provider.id.as_str());
        let earned = earned.map_or(0, |one| one["earned"].as_u64().expect("nano"));
        let address: Address = payout(number).parse().expect("an address");
        let got = chain.got(address).await;
        assert!(got <= earned, "{} got {got} nano of {earned}", provider.name());
        whole &= got == earned;
        sum += got;
    }
    whole.then_some(sum)
}

fn start(stack: &Stack, chain: &TheChain, redis: &str, number: usize) -> Process {
    let data = stack.data().display().to_string();
    let mut args: Vec<_> = ["settle", "--data", &data, "--redis", redis].map(str::to_owned).into();
    args.extend(GATEWAY.iter().map(|&word| word.to_owned()));
    args.extend(chain.settings());
    Process::start(stack.path(), &format!("settler-{number}"), &program("filature"), &args)
}

/// How many entries the settlers' books have.
fn entries(store: &Path) -> usize {
    let Ok(folders) = fs::read_dir(store.join("settlement")) else {
        return 0;
    };
    let folders = folders.flatten().filter_map(|folder| fs::read_dir(folder.path()).ok());
    let entries = folders.flat_map(Iterator::flatten);
    entries
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "json"))
        .count()
}

fn signal(process: &Process, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process.id()).expect("a number of a process"));
    kill_process(pid.expect("a child"), signal).expect("a signal can be sent to a child");
}
