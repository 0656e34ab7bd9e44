//! A payer that dies: at every await of every step, after every step, and by signal 9.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use filature_billing::chain::{DevnetSettings, Endpoint, Toncenter, ToncenterSettings, serve_devnet};
use filature_billing::withdrawals::{Done, Payer, PayerSettings, Waiting};
use filature_billing::{EpochStore, RedisLedger, WithdrawalState};
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::till::Till;
use crate::crash::Killed;
use crate::home::{Home, patient};
use crate::world::{TON, account, wallet};

pub async fn a_payer_killed_at_any_await_is_followed_by_one_that_goes_on(home: Home) {
    let till = Till::new(1, home).await;
    let (walleted, refusing) = (till.walleted(12).await, till.refusing(1).await);
    let mut left = 0;
    loop {
        // So that no life has more batches to look back at than the one before.
        till.world.devnet.advance(100);
        till.ask(0, &format!("a{left}"), TON / 10, account("a")).await;
        till.ask(1, &format!("b{left}"), TON / 10, walleted).await;
        till.ask(2, &format!("c{left}"), TON / 10, refusing).await;
        let mut payer = till.honest();
        let inner = Box::pin(till.run(&mut payer));
        let ended = Killed { inner, left }.await;
        assert_eq!(till.run(&mut till.honest()).await, Waiting::NothingAsked);
        if left % 16 == 0 || ended.is_some() {
            till.finish().await;
        }
        if ended.is_some() {
            break;
        }
        left += 1;
    }
    println!("killed at {left} places");
    assert!(left >= 30, "only {left} places");
}

pub async fn a_payer_that_dies_after_every_step_gets_there_too(home: Home) {
    let till = Till::new(2, home).await;
    let refusing = till.refusing(1).await;
    till.ask(0, "a", TON, account("a")).await;
    till.ask(1, "b", TON, refusing).await;
    let mut steps = Vec::new();
    loop {
        match till.honest().step(till.now_ms()).await.expect("a step") {
            Done::Waits(Waiting::NothingAsked) => break,
            done => steps.push(done),
        }
        till.check_always().await;
    }
    // Take, hold, sign, send, settle.
    assert_eq!(steps.len(), 5, "{steps:?}");
    till.finish().await;
}

/// Names what a copy of this program is to pay from until it is killed: folder, Redis and the chain's address.
const CHILD: &str = "FILATURE_TEST_PAYER";
const CHILD_TEST: &str = "withdrawals::crash::a_payer_killed_by_signal_nine_pays_once";

/// This very test, started again as a process of its own, pays over HTTP until it is killed, in each life a little later;
/// sometimes two of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_killed_by_signal_nine_pays_once() {
    if let Ok(task) = std::env::var(CHILD) {
        return pay_until_killed(&task).await;
    }
    let lives = match std::env::var("FILATURE_LIVES") {
        Ok(lives) => lives.parse().expect("a number"),
        Err(_) => 8,
    };
    let settings = DevnetSettings {
        slow: true,
        ..DevnetSettings::default()
    };
    let till = Till::with(3, Home::redis().await, settings).await;
    let refusing = till.refusing(1).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut server = JoinSet::new();
    server.spawn(serve_devnet(till.eyes(), listener, std::future::pending()));
    let Home::Redis { server: redis, .. } = &till.home else {
        panic!("it is in Redis");
    };
    let task = format!("{}\n{}\n{url}", till.world.folder.path().display(), redis.url());
    let mut rng = rand::rng();
    for life in 0..lives {
        till.ask(0, &format!("a{life}"), TON + life, account("a")).await;
        till.ask(1, &format!("b{life}"), TON, refusing).await;
        let mut children: Vec<_> = (0..=life % 2).map(|_| Life(start(&task))).collect();
        while till.state(0, &format!("a{life}")).await == WithdrawalState::Asked {
            till.world.devnet.block().expect("a block");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for _ in 0..rng.random_range(0..30) {
            till.world.devnet.block().expect("a block");
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..5))).await;
        }
        for Life(child) in &mut children {
            let ended = child.try_wait().expect("a state");
            assert!(ended.is_none(), "life {life} ended by itself");
        }
        drop(children);
        till.check_always().await;
    }
    till.finish().await;
    println!("{} messages obeyed in {lives} lives", till.obeyed().await);
}

fn start(task: &str) -> Child {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", CHILD_TEST, "--nocapture"])
        .env(CHILD, task)
        .stdout(Stdio::null())
        .spawn();
    child.expect("started")
}

/// A process that is killed by signal 9 when this is dropped.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}

async fn pay_until_killed(task: &str) {
    let mut lines = task.lines();
    let mut next = || lines.next().expect("a line");
    let (folder, redis, url) = (next(), next(), next());
    let store = EpochStore::folder(&std::path::Path::new(folder).join("epochs")).expect("a store");
    let ledger = RedisLedger::open(redis, patient()).await.expect("a ledger");
    let endpoint = Endpoint::parse(url, None).expect("an endpoint");
    let chain = Toncenter::new(ToncenterSettings::new(vec![endpoint])).expect("a client");
    let (key, wallet) = wallet(11);
    let settings = PayerSettings::default();
    let (chain, ledger, key) = (Arc::new(chain), Arc::new(ledger), Arc::new(key));
    let mut payer = Payer::new(chain, ledger, store, wallet, key, settings, &mut rand::rng());
    loop {
        if let Err(error) = payer.pay(1_800_000_000_000).await {
            eprintln!("{error}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

on_both!(crash:
    a_payer_killed_at_any_await_is_followed_by_one_that_goes_on,
    a_payer_that_dies_after_every_step_gets_there_too,
);
