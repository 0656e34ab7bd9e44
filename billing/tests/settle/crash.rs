//! A settler that dies: at every await of every step, and by signal 9.

use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use filature_billing::chain::{DevnetSettings, Endpoint, Toncenter, ToncenterSettings, serve_devnet};
use filature_billing::settle::{Done, Payees, SettleSettings, Settler, Waiting};
use filature_billing::{EpochStore, TrustedKeys};
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::world::{TON, World, nano, provider, wallet};

/// A future that is dropped when it has had to wait so many times.
pub struct Killed<F> {
    pub inner: Pin<Box<F>>,
    pub left: usize,
}

impl<F: Future> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.inner.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.left == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.left -= 1;
                Poll::Pending
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_killed_at_any_await_is_followed_by_one_that_goes_on() {
    let mut world = World::new(1).await;
    world.plain("a");
    world.walleted("b", 3).await;
    let mut left = 0;
    loop {
        world.seal(&[("a", TON), ("b", TON)]).await;
        let mut settler = world.honest();
        let inner = Box::pin(world.run(&mut settler));
        let ended = Killed { inner, left }.await;
        assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
        world.check(&world.accounts()).await;
        if ended.is_some() {
            break;
        }
        left += 1;
    }
    println!("killed at {left} places");
    assert!(left >= 20, "only {left} places");
}

#[tokio::test]
async fn a_settler_that_dies_after_every_step_gets_there_too() {
    let mut world = World::new(2).await;
    world.plain("a");
    world.bouncing("b", 1).await;
    world.seal(&[("a", TON), ("b", TON)]).await;
    let mut steps = Vec::new();
    loop {
        match world.honest().step(&world.payees).await.expect("a step") {
            Done::Waits(Waiting::NothingDue) => break,
            done => steps.push(done),
        }
    }
    // Plan; sign, send, reconcile and note the anchor; sign, send and reconcile the batch.
    assert_eq!(steps.len(), 8, "{steps:?}");
    world.check_books(&world.accounts()).await;
}

/// Names what a copy of this program is to settle until it is killed: folder, contract and the chain's address.
const CHILD: &str = "FILATURE_TEST_SETTLER";
const CHILD_TEST: &str = "crash::a_settler_killed_by_signal_nine_pays_once";

/// This very test, started again as a process of its own, settles over HTTP until it is killed, in each life a little later;
/// sometimes two of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settler_killed_by_signal_nine_pays_once() {
    if let Ok(task) = std::env::var(CHILD) {
        return settle_until_killed(&task).await;
    }
    let lives = match std::env::var("FILATURE_LIVES") {
        Ok(lives) => lives.parse().expect("a number"),
        Err(_) => 8,
    };
    let settings = DevnetSettings {
        slow: true,
        ..DevnetSettings::default()
    };
    let mut world = World::with(3, settings).await;
    world.plain("a");
    world.plain("b");
    world.plain("c");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut server = JoinSet::new();
    server.spawn(serve_devnet(world.devnet.view(), listener, std::future::pending()));
    let mut rng = rand::rng();
    let task = format!(
        "{}\n{}\n{url}\n{}",
        world.folder.path().display(),
        world.contract,
        world.seal.public_hex()
    );
    for life in 0..lives {
        world.seal(&[("a", TON + life), ("b", 2 * TON), ("c", 3 * TON)]).await;
        let mut children: Vec<_> = (0..=life % 2)
            .map(|_| {
                let child = Command::new(std::env::current_exe().expect("this program"))
                    .args(["--exact", CHILD_TEST, "--nocapture"])
                    .env(CHILD, &task)
                    .stdout(Stdio::null())
                    .spawn();
                Life(child.expect("started"))
            })
            .collect();
        let before = world.honest().books().await.expect("books").next();
        // Until something was written; then somewhere between two of the steps that follow.
        while world.honest().books().await.expect("books").next() == before {
            world.devnet.block().expect("a block");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        for _ in 0..rng.random_range(0..30) {
            world.devnet.block().expect("a block");
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..5))).await;
        }
        for Life(child) in &mut children {
            assert!(
                child.try_wait().expect("a state").is_none(),
                "life {life} ended by itself"
            );
        }
        drop(children);
        world.check_pushed().await;
    }
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    world.seal(&[("a", 1_000), ("b", 1_000), ("c", 1_000)]).await;
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    println!("{} messages obeyed in {lives} lives", world.obeyed().await);
}

/// A process that is killed by signal 9 when this is dropped.
struct Life(Child);

impl Drop for Life {
    fn drop(&mut self) {
        let killed = self.0.kill().and_then(|()| self.0.wait());
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}

async fn settle_until_killed(task: &str) {
    let mut lines = task.lines();
    let mut next = || lines.next().expect("a line");
    let (folder, contract, url, seal) = (next(), next(), next(), next());
    let store = EpochStore::folder(&std::path::Path::new(folder).join("epochs")).expect("a store");
    let endpoint = Endpoint::parse(url, None).expect("an endpoint");
    let chain = Toncenter::new(ToncenterSettings::new(vec![endpoint])).expect("a client");
    let (key, wallet) = wallet(1);
    let settings = SettleSettings {
        threshold: nano(1_000),
        every_s: 0,
        ..SettleSettings::new(contract.parse().expect("an address"))
    };
    let keys = TrustedKeys::new([seal.to_owned()]);
    let mut settler = Settler::new(Arc::new(chain), store, keys, wallet, Arc::new(key), settings);
    let payees: Payees = ["a", "b", "c"]
        .map(|name| (provider(name), crate::world::account(name)))
        .into();
    loop {
        if let Err(error) = settler.settle(&payees).await {
            eprintln!("{error}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
