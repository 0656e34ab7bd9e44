//! Random histories, the same for both ledgers, checked against plain sums kept here. `FILATURE_SEED` repeats one.

use std::sync::Arc;

use filature_billing::{CallId, Ledger, LedgerError, ReserveError, UsageRecord};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::home::Home;
use crate::world::{HOLD_MS, Payer, World, check_sums};

const STEPS: usize = 2_500;
const STEPS_PER_CHECK: usize = 50;

fn seed() -> u64 {
    let seed = std::env::var("FILATURE_SEED")
        .ok()
        .map(|text| text.parse().expect("FILATURE_SEED is a number"));
    let seed = seed.unwrap_or_else(rand::random);
    println!("FILATURE_SEED={seed}");
    seed
}

/// What an account should have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Balance {
    deposited: i64,
    available: i64,
    held: i64,
    spent: i64,
}

struct Live {
    payer: usize,
    call: CallId,
    held: i64,
    expires_ms: u64,
}

/// Plays a history on one ledger and knows what must come of it.
struct Player {
    world: World,
    rng: StdRng,
    payers: Vec<Payer>,
    balances: Vec<Balance>,
    live: Vec<Live>,
    /// Calls whose hold was swept or voided and that may still be posted.
    swept: Vec<(usize, CallId)>,
    posted: Vec<UsageRecord>,
    deposits: u32,
}

impl Player {
    async fn new(ledger: Arc<dyn Ledger>, seed: u64) -> Self {
        let mut world = World::new(ledger);
        let mut payers = Vec::new();
        for _ in 0..5 {
            payers.push(world.payer(0).await);
        }
        let balances = vec![Balance::default(); payers.len()];
        let (live, swept, posted) = (vec![], vec![], vec![]);
        Self {
            world,
            rng: StdRng::seed_from_u64(seed),
            payers,
            balances,
            live,
            swept,
            posted,
            deposits: 0,
        }
    }

    /// Takes one step and says what came of it.
    async fn step(&mut self) -> String {
        self.world.now_ms += self.rng.random_range(0..200);
        match self.rng.random_range(0..100) {
            0..8 => self.deposit().await,
            8..45 => self.reserve().await,
            45..75 => self.post().await,
            75..83 => self.void().await,
            83..88 => self.renew().await,
            88..91 => self.sweep().await,
            91..96 => self.post_late().await,
            _ => self.post_again().await,
        }
    }

    async fn deposit(&mut self) -> String {
        let payer = self.rng.random_range(0..self.payers.len());
        // Now and then one that was made before.
        let is_new = self.deposits == 0 || self.rng.random_bool(0.8);
        let number = if is_new {
            self.deposits
        } else {
            self.rng.random_range(0..self.deposits)
        };
        let (payer, amount) = if is_new {
            (payer, self.rng.random_range(1..20_000))
        } else {
            (number as usize % 5, 1)
        };
        let payer = if is_new { number as usize % 5 } else { payer };
        let deposit = self
            .world
            .deposit(&self.payers[payer].account, &format!("d{number}"), amount);
        let deposited = self.world.ledger.deposit(&deposit).await.expect("a deposit");
        assert_eq!(deposited.fresh, is_new);
        if is_new {
            self.deposits += 1;
            self.balances[payer].deposited += amount.cast_signed();
            self.balances[payer].available += amount.cast_signed();
        }
        format!("{deposited:?}")
    }

    async fn reserve(&mut self) -> String {
        let payer = self.rng.random_range(0..self.payers.len());
        let quote = self.rng.random_range(0..6_000_u64);
        let quote_min = self.rng.random_range(0..=quote);
        let mut ask = self.world.ask(&self.payers[payer], quote, quote_min);
        ask.expires_ms = self.world.now_ms + self.rng.random_range(1..HOLD_MS);
        let available = self.balances[payer].available;
        let result = self.world.ledger.reserve(&ask).await;
        if available >= quote_min.cast_signed() {
            let held = available.min(quote.cast_signed());
            let reserved = result.as_ref().map(|reserved| reserved.held.signed());
            assert_eq!(reserved, Ok(held), "with {available} available");
            self.balances[payer].available -= held;
            self.balances[payer].held += held;
            self.live.push(Live {
                payer,
                call: ask.call,
                held,
                expires_ms: ask.expires_ms,
            });
        } else {
            assert_eq!(result, Err(ReserveError::Insufficient { available }));
        }
        format!("{result:?}")
    }

    fn random_record(&mut self, payer: usize, call: CallId, cost: u64) -> UsageRecord {
        let first = self.rng.random_range(0..=cost);
        let second = self.rng.random_range(0..=cost - first);
        let names = ["provider-a", "provider-b", "provider-c", "provider-d"];
        let mut name = || names[self.rng.random_range(0..names.len())];
        let costs = [(name(), first), (name(), second), (name(), cost - first - second)];
        self.world.record_of(&self.payers[payer], call, &costs)
    }

    async fn post(&mut self) -> String {
        if self.live.is_empty() {
            return "nothing to post".into();
        }
        let at = self.rng.random_range(0..self.live.len());
        let Live { payer, call, held, .. } = self.live[at];
        // Sometimes a little above what is held.
        let cost = self.rng.random_range(0..=held + 20).cast_unsigned();
        let record = self.random_record(payer, call, cost);
        let result = self.world.ledger.post(&record, self.world.now_ms).await;
        let cost = cost.cast_signed();
        if cost > held {
            assert!(matches!(result, Err(LedgerError::CostAboveHold { .. })), "{result:?}");
        } else {
            let posted = result.as_ref().expect("posted");
            let found = (posted.fresh, posted.charged.signed(), posted.released.signed());
            assert_eq!(found, (true, cost, held - cost));
            self.live.swap_remove(at);
            let balance = &mut self.balances[payer];
            balance.held -= held;
            balance.spent += cost;
            balance.available += held - cost;
            self.posted.push(record);
        }
        format!("{result:?}")
    }

    async fn void(&mut self) -> String {
        if self.live.is_empty() {
            return "nothing to void".into();
        }
        let at = self.rng.random_range(0..self.live.len());
        let Live { payer, call, held, .. } = self.live.swap_remove(at);
        let released = self
            .world
            .ledger
            .void(&self.payers[payer].account, &call)
            .await
            .expect("voided");
        assert_eq!(released.signed(), held);
        self.balances[payer].held -= held;
        self.balances[payer].available += held;
        self.swept.push((payer, call));
        format!("{released:?}")
    }

    async fn renew(&mut self) -> String {
        if self.live.is_empty() {
            return "nothing to renew".into();
        }
        let at = self.rng.random_range(0..self.live.len());
        let live = &mut self.live[at];
        live.expires_ms = self.world.now_ms + HOLD_MS;
        let account = &self.payers[live.payer].account;
        let renewed = self.world.ledger.renew(account, &live.call, live.expires_ms).await;
        assert_eq!(renewed, Ok(true));
        "renewed".into()
    }

    async fn sweep(&mut self) -> String {
        let now_ms = self.world.now_ms;
        let (expired, live): (Vec<_>, _) = self.live.drain(..).partition(|live| live.expires_ms <= now_ms);
        self.live = live;
        let swept = self.world.ledger.sweep(now_ms).await.expect("swept");
        let released: i64 = expired.iter().map(|live| live.held).sum();
        assert_eq!((swept.holds, swept.released.signed()), (expired.len() as u64, released));
        for Live { payer, call, held, .. } in expired {
            self.balances[payer].held -= held;
            self.balances[payer].available += held;
            self.swept.push((payer, call));
        }
        format!("{swept:?}")
    }

    async fn post_late(&mut self) -> String {
        let Some((payer, call)) = self.swept.pop() else {
            return "nothing late".into();
        };
        let cost = self.rng.random_range(0..6_000);
        let record = self.random_record(payer, call, cost);
        let posted = self
            .world
            .ledger
            .post(&record, self.world.now_ms)
            .await
            .expect("posted");
        assert_eq!(
            (posted.fresh, posted.charged.get(), posted.released.get()),
            (true, cost, 0)
        );
        self.balances[payer].spent += cost.cast_signed();
        self.balances[payer].available -= cost.cast_signed();
        self.posted.push(record);
        format!("{posted:?}")
    }

    async fn post_again(&mut self) -> String {
        if self.posted.is_empty() {
            return "nothing posted".into();
        }
        let record = &self.posted[self.rng.random_range(0..self.posted.len())];
        let posted = self
            .world
            .ledger
            .post(record, self.world.now_ms)
            .await
            .expect("an answer");
        assert_eq!(
            (posted.fresh, posted.charged, posted.released.get()),
            (false, record.cost, 0)
        );
        let stored = self.world.ledger.record(&record.account, &record.call).await;
        assert_eq!(stored.as_ref().map(Option::as_ref), Ok(Some(record)));
        format!("{posted:?}")
    }

    /// Whether the ledger agrees with the sums kept here, to the nano.
    async fn check(&self) -> Vec<Balance> {
        let mut found = Vec::new();
        for payer in &self.payers {
            let account = self
                .world
                .ledger
                .account(&payer.account)
                .await
                .expect("an answer")
                .expect("an account");
            let (deposited, held, spent) = (
                account.deposited.signed(),
                account.held.signed(),
                account.spent.signed(),
            );
            found.push(Balance {
                deposited,
                available: account.available,
                held,
                spent,
            });
        }
        assert_eq!(found, self.balances);
        check_sums(&*self.world.ledger).await;
        let holds = self.world.ledger.totals().await.expect("totals").holds;
        assert_eq!(holds, self.live.len() as u64);
        found
    }
}

async fn play(ledger: Arc<dyn Ledger>) {
    let mut player = Player::new(ledger, seed()).await;
    for step in 0..STEPS {
        player.step().await;
        let totals = player.world.ledger.totals().await.expect("totals");
        assert!(totals.are_conserved(), "after step {step}: {totals:?}");
        if step % STEPS_PER_CHECK == 0 {
            player.check().await;
        }
    }
    player.check().await;
}

#[tokio::test]
async fn a_random_history_adds_up_embedded() {
    let home = Home::embedded();
    play(home.ledger()).await;
}

#[tokio::test]
async fn a_random_history_adds_up_in_redis() {
    let home = Home::redis().await;
    play(home.ledger()).await;
}

#[tokio::test]
async fn both_ledgers_tell_the_same_history() {
    let (embedded, redis, seed) = (Home::embedded(), Home::redis().await, seed());
    let mut one = Player::new(embedded.ledger(), seed).await;
    let mut other = Player::new(redis.ledger(), seed).await;
    for step in 0..STEPS {
        let (here, there) = (one.step().await, other.step().await);
        assert_eq!(here, there, "at step {step}");
        if step % STEPS_PER_CHECK == 0 {
            assert_eq!(one.check().await, other.check().await, "after step {step}");
        }
    }
    assert_eq!(one.check().await, other.check().await);
    let (here, there) = (&one.world.ledger, &other.world.ledger);
    assert_eq!(here.totals().await, there.totals().await);
    assert_eq!(here.accounts().await, there.accounts().await);
    assert_eq!(here.keys(None).await, there.keys(None).await);
    assert_eq!(here.earnings().await, there.earnings().await);
}
