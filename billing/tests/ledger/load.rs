//! Calls that are reserved and posted while servers die and slots move, and what must be true of them afterwards.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use filature_billing::{AccountId, CallId, Ledger, LedgerError, ReserveError};
use rand::RngExt;
use tokio::task::JoinSet;

use crate::world::{Payer, World, check_sums, nano};

/// Accounts: enough to lie on every master.
const PAYERS: usize = 24;
const PATIENCE: Duration = Duration::from_secs(60);

/// Running calls.
pub struct Load {
    world: World,
    tasks: JoinSet<Vec<(AccountId, CallId, u64)>>,
    /// Posts that were answered.
    posted: Arc<AtomicU64>,
    until: Arc<AtomicU64>,
}

impl Load {
    pub async fn start(ledger: Arc<dyn Ledger>) -> Self {
        let mut world = World::new(ledger);
        world.rng = rand::make_rng();
        let mut load = Self {
            world,
            tasks: JoinSet::new(),
            posted: Arc::default(),
            until: Arc::new(AtomicU64::new(u64::MAX)),
        };
        for _ in 0..PAYERS {
            let payer = load.world.payer(1 << 40).await;
            load.tasks.spawn(calls(
                Arc::clone(&load.world.ledger),
                payer,
                Arc::clone(&load.posted),
                Arc::clone(&load.until),
            ));
        }
        load
    }

    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::Relaxed)
    }

    /// Waits until so many more posts were answered.
    pub async fn more(&self, count: u64) {
        let (wanted, started) = (self.posted() + count, Instant::now());
        while self.posted() < wanted {
            assert!(started.elapsed() < PATIENCE, "{} of {wanted} posts", self.posted());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets the calls end, each with an answer, and sums up: every answered post is there and was paid once.
    pub async fn check(mut self) -> u64 {
        self.until.store(0, Ordering::Relaxed);
        let mut spent: HashMap<AccountId, u64> = HashMap::new();
        let mut count = 0;
        while let Some(posts) = self.tasks.join_next().await {
            for (account, call, cost) in posts.expect("no panic") {
                let record = self.world.ledger.record(&account, &call).await.expect("an answer");
                assert_eq!(record.expect("an answered post is kept").cost, nano(cost));
                *spent.entry(account).or_default() += cost;
                count += 1;
            }
        }
        // Holds whose answer was lost are nobody's.
        self.world.ledger.sweep(u64::MAX >> 12).await.expect("swept");
        for account in self.world.ledger.accounts().await.expect("accounts") {
            let expected = spent.get(&account.id).copied().unwrap_or_default();
            assert_eq!((account.spent.get(), account.held.get()), (expected, 0), "{account:?}");
        }
        check_sums(&*self.world.ledger).await;
        count
    }
}

/// Calls one after the other. As a gateway's journal does, a post is repeated until it is answered.
async fn calls(
    ledger: Arc<dyn Ledger>,
    payer: Payer,
    posted: Arc<AtomicU64>,
    until: Arc<AtomicU64>,
) -> Vec<(AccountId, CallId, u64)> {
    let mut world = World {
        ledger,
        rng: rand::make_rng(),
        now_ms: crate::world::START_MS,
    };
    let mut posts = Vec::new();
    while posted.load(Ordering::Relaxed) < until.load(Ordering::Relaxed) {
        let ask = world.ask(&payer, 1_000, 1_000);
        match world.ledger.reserve(&ask).await {
            Ok(_) => {}
            Err(ReserveError::Unavailable(LedgerError::Unavailable(_))) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        let cost = world.rng.random_range(0..=1_000);
        let record = world.record_of(
            &payer,
            ask.call,
            &[("provider-a", cost / 3), ("provider-b", cost - cost / 3)],
        );
        let started = Instant::now();
        loop {
            match world.ledger.post(&record, world.now_ms).await {
                Ok(answer) => {
                    assert_eq!(answer.charged, record.cost);
                    break;
                }
                Err(LedgerError::Unavailable(why)) => {
                    assert!(started.elapsed() < PATIENCE, "{why}");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        posts.push((payer.account.clone(), ask.call, cost));
        posted.fetch_add(1, Ordering::Relaxed);
    }
    posts
}
