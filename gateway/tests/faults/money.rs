//! The ledger is taken away under load, or the wire to it, or the disk beneath its journal, or the sealer: what callers got
//! whole is charged once, nothing stays held, and nobody who is refused has waited for the ledger to come back.

mod run;
mod sealer;
mod settler;
mod wire;

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::nodes::{Node, Watched, wait_until};
use crate::stack::RedisUrls;
use crate::wait;
use run::Run;
use wire::{Way, Wire};

/// What a Redis that must lose nothing is set to.
const DURABLE: &[&str] = &["appendfsync always", "maxmemory-policy noeviction"];
/// What callers see before something breaks, and after all is well: heads, pieces and ends of answers.
const EVENTS: u64 = 2_500;
/// How long Redis is frozen.
const FROZEN: Duration = Duration::from_secs(10);
/// How long the wire is cut, each time.
const CUT: Duration = Duration::from_secs(8);
/// No record is as short as this, in bytes.
const NO_ROOM: u64 = 64;

fn urls(node: &Node) -> RedisUrls {
    RedisUrls {
        gateway: node.url(),
        operator: node.url(),
    }
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_journal_outlives_redis_and_the_gateway() {
    let mut node = Node::start(DURABLE);
    let mut run = Run::begin("journal", urls(&node), &[]);
    let load = run.load();
    run.wait_for(&load, EVENTS);
    run.strikes();
    node.kill();
    run.wait_for(&load, EVENTS / 4);
    run.finish(load);
    // Redis is gone, so what was not posted before is on disk, or will be.
    let journalled = run.wait_until_journalled();
    assert!(journalled > 0, "no call ended while Redis was away");
    run.stack.take_gateway().kill();
    node.restart();
    run.stack.start_gateway();
    run.stack.wait_until_joined();
    run.is_well();
    let load = run.load();
    run.wait_for(&load, EVENTS);
    run.finish(load);
    run.note("journalled, with the gateway killed", journalled.to_string());
    run.close();
}

#[test]
#[ignore = "minutes long: make faults"]
fn redis_is_frozen_for_ten_seconds() {
    let node = Node::start(DURABLE);
    let mut run = Run::begin("frozen", urls(&node), &[]);
    let load = run.load();
    run.wait_for(&load, EVENTS);
    let struck = run.strikes();
    node.signal("-STOP");
    wait::until_true("Redis to have been frozen long enough", FROZEN * 2, || {
        struck.elapsed() >= FROZEN
    });
    node.signal("-CONT");
    run.is_well();
    run.wait_for(&load, EVENTS);
    run.finish(load);
    run.close();
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_wire_to_redis_swallows_everything_and_then_resets_everything() {
    let node = Node::start(DURABLE);
    let wire = Wire::to(node.port);
    let urls = RedisUrls {
        gateway: format!("redis://127.0.0.1:{}/", wire.port),
        operator: node.url(),
    };
    let mut run = Run::begin("wire", urls, &[]);
    let load = run.load();
    for way in [Way::Swallows, Way::Resets] {
        run.wait_for(&load, EVENTS);
        let struck = run.strikes();
        wire.turn(way);
        wait::until_true("the wire to have been cut long enough", CUT * 2, || {
            struck.elapsed() >= CUT
        });
        wire.turn(Way::Whole);
        run.is_well();
    }
    run.wait_for(&load, EVENTS);
    run.finish(load);
    run.close();
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_master_dies_and_sentinels_promote_its_replica() {
    let mut watched = Watched::start();
    let urls = RedisUrls {
        gateway: watched.url(),
        operator: watched.url(),
    };
    let mut run = Run::begin("failover", urls, &["--ledger-redis-wait-replicas", "1"]);
    let load = run.load();
    run.wait_for(&load, EVENTS);
    let before = watched.master();
    run.strikes();
    watched.servers[before].kill();
    wait_until("the replica took over", || {
        let now = watched.master();
        now != before && watched.servers[now].info("role") == "master"
    });
    // Calls go on with the new master; their posts wait in the journal until it has a replica again.
    run.is_well();
    run.wait_for(&load, EVENTS);
    watched.servers[before].restart();
    wait_until("one follows the other", || watched.is_whole());
    run.wait_for(&load, EVENTS);
    run.finish(load);
    run.close();
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_disk_is_full_while_redis_is_away() {
    let mut node = Node::start(DURABLE);
    let mut run = Run::begin("disk", urls(&node), &[]);
    run.stack.take_gateway().kill();
    // The limit below ends a process that does not ignore its signal, and its log must not count as a file.
    run.stack.start_gateway_after("exec > >(exec cat) 2>&1; trap '' XFSZ");
    run.stack.wait_until_joined();
    let load = run.load();
    run.wait_for(&load, EVENTS);
    let gateway = Pid::from_raw(i32::try_from(run.stack.gateway().id()).expect("a number of a process"));
    let full = Rlimit {
        current: Some(NO_ROOM),
        ..getrlimit(Resource::Fsize)
    };
    prlimit(gateway, Resource::Fsize, full).expect("the limit of a child can be set");
    run.strikes();
    node.kill();
    run.wait_for(&load, EVENTS / 4);
    run.finish(load);
    let kept = run.wait_until_logged("a post could not be journalled");
    assert_eq!(run.journalled(), 0, "there is no room for a record");
    assert!(run.segments().len() <= 1, "tries that failed leave no files behind");
    node.restart();
    run.is_well();
    let load = run.load();
    run.wait_for(&load, EVENTS);
    run.finish(load);
    run.note("kept in memory, without Redis and disk", kept.to_string());
    run.close();
}
