//! Random histories, the same for all ledgers, with crashes in between, checked against plain sums kept here.
//! `FILATURE_SEED` repeats one.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use filature_billing::{
    CallId, Day, EmbeddedLedger, Ledger, LedgerError, Nano, Posted, ReserveError, UsageRecord, Withdrawal,
    WithdrawalState, WithdrawalStep, open_redis,
};
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::home::{AT_ONCE, Home};
use crate::model::{DAY_MS, KeyModel, Taken, random_limits};
use crate::nodes::{Cluster, is_ready, wait_until};
use crate::restart::wait_until_back;
use crate::server::Server;
use crate::world::{HOLD_MS, Payer, START_MS, World, check_sums};

const STEPS: usize = 10_000;
const STEPS_PER_CRASH: usize = 1_700;
const STEPS_PER_CHECK: usize = 200;
const ACCOUNTS: usize = 5;
const KEYS_PER_ACCOUNT: usize = 2;

/// Servers are killed here and no machine is, so none needs to wait for its disk. Not `everysec`: while a sync takes long,
/// Redis then answers before it has written at all.
const LAZILY: [&str; 2] = ["--appendfsync", "no"];

/// Where a history is played, and what a crash is there.
enum Stage {
    Embedded { dir: TempDir },
    Redis { server: Server },
    Cluster { cluster: Cluster },
}

impl Stage {
    fn embedded() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self::Embedded { dir }
    }

    fn redis() -> Self {
        Self::Redis {
            server: Server::start(&LAZILY),
        }
    }

    fn cluster() -> Self {
        Self::Cluster {
            cluster: Cluster::start(0),
        }
    }

    async fn ledger(&self) -> Arc<dyn Ledger> {
        match self {
            Self::Embedded { dir } => {
                Arc::new(EmbeddedLedger::open(&dir.path().join("data"), AT_ONCE).expect("an embedded ledger"))
            }
            Self::Redis { server } => Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")),
            Self::Cluster { cluster } => crate::cluster::ledger(cluster).await,
        }
    }

    /// Kills the servers without a warning, or closes the ledger, and starts again with what is on disk. (A child
    /// that is killed with an embedded ledger is in `restart`.)
    async fn crash(&mut self, player: &mut Player) {
        match self {
            Self::Embedded { .. } => {
                // A ledger must be closed before it is opened again, and a player always has one.
                let spare = Home::embedded();
                player.world.ledger = spare.ledger();
                player.world.ledger = self.ledger().await;
                player.forget_holds();
            }
            Self::Redis { server } => server.kill_and_restart(),
            Self::Cluster { cluster } => {
                for master in &mut cluster.masters {
                    master.kill();
                    master.restart();
                }
                for master in &cluster.masters {
                    wait_until("the cluster is ready", || is_ready(master));
                }
            }
        }
        wait_until_back(&*player.world.ledger).await;
    }
}

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
    withdrawn: i64,
    available: i64,
    held: i64,
    spent: i64,
}

struct Live {
    payer: usize,
    call: CallId,
    held: i64,
    /// What was taken of the key's limit of tokens, if it had one.
    tokens: Option<Taken>,
    expires_ms: u64,
}

/// Plays a history on one ledger and knows what must come of it.
struct Player {
    world: World,
    rng: StdRng,
    payers: Vec<Payer>,
    keys: Vec<KeyModel>,
    /// By account.
    balances: Vec<Balance>,
    live: Vec<Live>,
    /// Calls whose hold was swept or voided and that may still be posted.
    swept: Vec<(usize, CallId)>,
    posted: Vec<UsageRecord>,
    /// By account: the records that were not trimmed, in order.
    stream: Vec<VecDeque<UsageRecord>>,
    trimmed: HashSet<CallId>,
    deposits: u32,
    /// By account, in the order of asking.
    withdrawals: Vec<Vec<Withdrawal>>,
    refused: BTreeMap<&'static str, u32>,
}

/// The number of a payer's account.
fn account_of(payer: usize) -> usize {
    payer / KEYS_PER_ACCOUNT
}

impl Player {
    async fn new(ledger: Arc<dyn Ledger>, seed: u64) -> Self {
        let mut world = World::new(ledger);
        let mut payers = Vec::new();
        for _ in 0..ACCOUNTS {
            let payer = world.payer(0).await;
            for _ in 1..KEYS_PER_ACCOUNT {
                let key = world.key(&payer.account, None).await.0.id;
                let account = payer.account.clone();
                payers.push(Payer { account, key });
            }
            payers.push(payer);
        }
        Self {
            world,
            rng: StdRng::seed_from_u64(seed),
            keys: vec![KeyModel::default(); payers.len()],
            payers,
            balances: vec![Balance::default(); ACCOUNTS],
            live: vec![],
            swept: vec![],
            posted: vec![],
            stream: vec![VecDeque::new(); ACCOUNTS],
            trimmed: HashSet::new(),
            deposits: 0,
            withdrawals: vec![vec![]; ACCOUNTS],
            refused: BTreeMap::new(),
        }
    }

    /// Takes one step and says what came of it.
    async fn step(&mut self) -> String {
        // Now and then the next day, week or month.
        let is_leap = self.rng.random_bool(0.001);
        self.world.now_ms += self.rng.random_range(0..if is_leap { 15 * DAY_MS } else { 200 });
        match self.rng.random_range(0..100) {
            0..7 => self.deposit().await,
            7..9 => self.withdraw().await,
            9..12 => self.step_withdrawal().await,
            12..48 => self.reserve().await,
            48..73 => self.post().await,
            73..80 => self.void().await,
            80..84 => self.renew().await,
            84..87 => self.sweep().await,
            87..91 => self.post_late().await,
            91..94 => self.post_again().await,
            94..98 => self.limit().await,
            _ => self.trim().await,
        }
    }

    async fn deposit(&mut self) -> String {
        // Now and then one that was made before.
        let is_new = self.deposits == 0 || self.rng.random_bool(0.8);
        let number = if is_new {
            self.deposits
        } else {
            self.rng.random_range(0..self.deposits)
        };
        let amount = if is_new { self.rng.random_range(1..24_000) } else { 1 };
        let account = number as usize % ACCOUNTS;
        let payer = account * KEYS_PER_ACCOUNT;
        let deposit = self
            .world
            .deposit(&self.payers[payer].account, &format!("d{number}"), amount);
        let deposited = self.world.ledger.deposit(&deposit).await.expect("a deposit");
        assert_eq!(deposited.fresh, is_new);
        if is_new {
            self.deposits += 1;
            self.balances[account].deposited += amount.cast_signed();
            self.balances[account].available += amount.cast_signed();
        }
        format!("{deposited:?}")
    }

    /// Asks for a withdrawal, now and then for one that was asked for before.
    async fn withdraw(&mut self) -> String {
        let account = self.rng.random_range(0..ACCOUNTS);
        let known = self.withdrawals[account].len();
        let is_new = known == 0 || self.rng.random_bool(0.8);
        let number = if is_new { known } else { self.rng.random_range(0..known) };
        let amount = match is_new {
            true => self.rng.random_range(1..3_000),
            false => self.withdrawals[account][number].amount.get(),
        };
        let payer = &self.payers[account * KEYS_PER_ACCOUNT];
        let ask = self.world.withdraw(&payer.account, &format!("w{number}"), amount);
        let result = self.world.ledger.withdraw(&ask).await;
        let balance = &mut self.balances[account];
        match &result {
            Ok(withdrawn) => {
                assert_eq!(withdrawn.fresh, is_new);
                if is_new {
                    assert_eq!(withdrawn.withdrawal.state, WithdrawalState::Asked);
                    assert!(amount.cast_signed() <= balance.available, "{balance:?}");
                    balance.available -= amount.cast_signed();
                    balance.withdrawn += amount.cast_signed();
                    self.withdrawals[account].push(withdrawn.withdrawal.clone());
                }
                assert_eq!(withdrawn.withdrawal, self.withdrawals[account][number]);
            }
            Err(LedgerError::Insufficient { available }) => {
                assert_eq!(*available, balance.available);
                assert!(is_new && amount.cast_signed() > *available);
            }
            Err(other) => panic!("{other}"),
        }
        format!("{result:?}")
    }

    /// Takes a step of a withdrawal, most often one that is its turn, sometimes twice.
    async fn step_withdrawal(&mut self) -> String {
        let account = self.rng.random_range(0..ACCOUNTS);
        let known = self.withdrawals[account].len();
        if known == 0 {
            return "nothing withdrawn".into();
        }
        let number = self.rng.random_range(0..known);
        let reference = format!("m{}", self.rng.random_range(0..2));
        let step = match self.rng.random_range(0..4) {
            0 | 1 => WithdrawalStep::Sent { reference },
            2 => WithdrawalStep::Paid {
                reference,
                transaction: "47".into(),
            },
            _ => WithdrawalStep::Returned {
                reference: self.rng.random_bool(0.7).then_some(reference),
                why: "it bounced".into(),
            },
        };
        let before = self.withdrawals[account][number].clone();
        let (payer, now_ms) = (&self.payers[account * KEYS_PER_ACCOUNT], self.world.now_ms);
        let mut told = String::new();
        for _ in 0..self.rng.random_range(1..3) {
            let ledger = &self.world.ledger;
            let result = ledger.step_withdrawal(&payer.account, &before.id, &step, now_ms).await;
            told = format!("{result:?}");
            let expected = stepped(&before.state, &step, now_ms);
            match (result, expected) {
                (Ok(Some(after)), Some(state)) => {
                    assert_eq!(after.state, state);
                    self.withdrawals[account][number] = after;
                }
                (Err(LedgerError::OutOfTurn(_)), None) => {}
                (result, expected) => panic!("{step:?} of {before:?}: {result:?}, expected {expected:?}"),
            }
        }
        let after = &self.withdrawals[account][number];
        if is_returned(&after.state) && !is_returned(&before.state) {
            let balance = &mut self.balances[account];
            balance.available += before.amount.signed();
            balance.withdrawn -= before.amount.signed();
        }
        told
    }

    async fn reserve(&mut self) -> String {
        let payer = self.rng.random_range(0..self.payers.len());
        let quote = self.rng.random_range(0..6_000_u64);
        let quote_min = self.rng.random_range(0..=quote);
        let mut ask = self.world.ask(&self.payers[payer], quote, quote_min);
        ask.tokens = self.rng.random_range(0..600);
        ask.expires_ms = self.world.now_ms + self.rng.random_range(1..HOLD_MS);
        let (held, holds) = self.held(payer);
        let available = self.balances[account_of(payer)].available;
        let expected = self.keys[payer].reserve(&ask, held, holds, available);
        let result = self.world.ledger.reserve(&ask).await;
        assert_eq!(result, expected, "{ask:?} with {:?}", self.keys[payer]);
        match &result {
            Ok(reserved) => {
                let held = reserved.held.signed();
                let balance = &mut self.balances[account_of(payer)];
                balance.available -= held;
                balance.held += held;
                self.live.push(Live {
                    payer,
                    call: ask.call,
                    held,
                    tokens: self.keys[payer].taken(ask.tokens),
                    expires_ms: ask.expires_ms,
                });
            }
            Err(error) => *self.refused.entry(reason(error)).or_default() += 1,
        }
        format!("{result:?}")
    }

    /// What a key's calls hold, and how many there are.
    fn held(&self, payer: usize) -> (i64, u64) {
        let own = self.live.iter().filter(|live| live.payer == payer);
        own.fold((0, 0), |(held, holds), live| (held + live.held, holds + 1))
    }

    async fn limit(&mut self) -> String {
        let payer = self.rng.random_range(0..self.payers.len());
        let limits = random_limits(&mut self.rng);
        self.world.limit(&self.payers[payer], limits.clone()).await;
        self.keys[payer].limits = limits;
        "limited".into()
    }

    /// Reads some records of a shard and forgets them.
    async fn trim(&mut self) -> String {
        let shards = self.world.ledger.shards();
        let shard = shards[self.rng.random_range(0..64) % shards.len()];
        let max = self.rng.random_range(1..200);
        let records = self.world.ledger.unsealed(shard, None, max).await.expect("records");
        for (_, record) in &records {
            let account = self.payers.iter().position(|payer| payer.account == record.account);
            let expected = self.stream[account_of(account.expect("a payer"))].pop_front();
            assert_eq!(Some(record), expected.as_ref());
            self.trimmed.insert(record.call);
        }
        if let Some((last, _)) = records.last() {
            self.world
                .ledger
                .trim(shard, *last, self.world.now_ms)
                .await
                .expect("trimmed");
        }
        "trimmed".into()
    }

    fn random_record(&mut self, payer: usize, call: CallId, cost: u64) -> UsageRecord {
        let first = self.rng.random_range(0..=cost);
        let second = self.rng.random_range(0..=cost - first);
        let names = ["provider-a", "provider-b", "provider-c", "provider-d"];
        let mut name = || names[self.rng.random_range(0..names.len())];
        let costs = [(name(), first), (name(), second), (name(), cost - first - second)];
        let mut record = self.world.record_of(&self.payers[payer], call, &costs);
        record.billed.prompt = self.rng.random_range(0..300);
        record.billed.completion = self.rng.random_range(0..300);
        record.model = format!("model-{}", self.rng.random_range(0..3));
        record
    }

    /// A post that was the first of its call, for which these tokens had been taken.
    fn charged(&mut self, payer: usize, record: UsageRecord, tokens: Option<Taken>) {
        self.keys[payer].post(&record, tokens, self.world.now_ms);
        self.stream[account_of(payer)].push_back(record.clone());
        self.posted.push(record);
    }

    /// Posts some calls at once, sometimes one of them twice.
    async fn post(&mut self) -> String {
        let most = if self.rng.random_bool(0.1) { 12 } else { 1 };
        let lives: Vec<_> = (0..most.min(self.live.len()))
            .map(|_| self.live.swap_remove(self.rng.random_range(0..self.live.len())))
            .collect();
        let mut records = Vec::new();
        for live in &lives {
            // Sometimes a little above what is held.
            let cost = self.rng.random_range(0..=live.held + 20).cast_unsigned();
            records.push(self.random_record(live.payer, live.call, cost));
        }
        if most > 1 && !records.is_empty() {
            records.push(records[self.rng.random_range(0..records.len())].clone());
        }
        let (ledger, now_ms) = (Arc::clone(&self.world.ledger), self.world.now_ms);
        let results = join_all(records.iter().map(|record| ledger.post(record, now_ms))).await;
        let told = format!("{results:?}");
        let mut posts = records.into_iter().zip(results);
        let mut refused = Vec::new();
        for (live, (record, result)) in lives.into_iter().zip(&mut posts) {
            if !self.posted_once(&live, record, &result) {
                refused.push(live);
            }
        }
        if let Some((record, result)) = posts.next() {
            match refused.iter().any(|live| live.call == record.call) {
                true => assert!(matches!(result, Err(LedgerError::CostAboveHold { .. })), "{result:?}"),
                false => assert!(result.is_ok_and(|posted| !posted.fresh && posted.released == Nano::ZERO)),
            }
        }
        self.live.extend(refused);
        told
    }

    /// Whether the call was charged; it must be if its cost is within what it holds.
    fn posted_once(&mut self, live: &Live, record: UsageRecord, result: &Result<Posted, LedgerError>) -> bool {
        let (cost, held) = (record.cost.signed(), live.held);
        if cost > held {
            assert!(matches!(result, Err(LedgerError::CostAboveHold { .. })), "{result:?}");
            return false;
        }
        let posted = result.as_ref().expect("posted");
        let found = (posted.fresh, posted.charged.signed(), posted.released.signed());
        assert_eq!(found, (true, cost, held - cost));
        let balance = &mut self.balances[account_of(live.payer)];
        balance.held -= held;
        balance.spent += cost;
        balance.available += held - cost;
        self.charged(live.payer, record, live.tokens);
        true
    }

    async fn void(&mut self) -> String {
        if self.live.is_empty() {
            return "nothing to void".into();
        }
        let at = self.rng.random_range(0..self.live.len());
        let live = self.live.swap_remove(at);
        let (payer, call, held) = (live.payer, live.call, live.held);
        let released = self
            .world
            .ledger
            .void(&self.payers[payer].account, &call)
            .await
            .expect("voided");
        assert_eq!(released.signed(), held);
        self.released(&live);
        format!("{released:?}")
    }

    fn released(&mut self, live: &Live) {
        let balance = &mut self.balances[account_of(live.payer)];
        balance.held -= live.held;
        balance.available += live.held;
        if let Some(taken) = live.tokens {
            self.keys[live.payer].tokens.give_back(taken.count, taken);
        }
        self.swept.push((live.payer, live.call));
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
        for live in &expired {
            self.released(live);
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
        let balance = &mut self.balances[account_of(payer)];
        balance.spent += cost.cast_signed();
        balance.available -= cost.cast_signed();
        let late = self.keys[payer].late();
        self.charged(payer, record, late);
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
        let kept = (!self.trimmed.contains(&record.call)).then_some(record);
        assert_eq!(stored.as_ref().map(Option::as_ref), Ok(kept));
        format!("{posted:?}")
    }

    /// The ledger gave all holds back and forgot what was used of limits per minute.
    fn forget_holds(&mut self) {
        for live in std::mem::take(&mut self.live) {
            self.released(&live);
        }
        for key in &mut self.keys {
            (key.requests, key.tokens) = Default::default();
        }
    }

    /// Ends all calls and lets so much time go by that a crash is the same to every ledger.
    async fn settle(&mut self) {
        while !self.live.is_empty() {
            self.void().await;
        }
        self.world.now_ms += 601_000;
    }

    /// Whether the ledger lists the withdrawals kept here, and those that are open.
    async fn check_withdrawals(&self) {
        for (account, expected) in self.withdrawals.iter().enumerate() {
            let payer = &self.payers[account * KEYS_PER_ACCOUNT];
            let listed = self.world.ledger.withdrawals(&payer.account, None, 1_024).await;
            let listed: Vec<_> = listed.expect("withdrawals").into_iter().map(|(_, one)| one).collect();
            assert_eq!(listed, expected[..expected.len().min(1_024)]);
        }
        let all = self.withdrawals.iter().flatten();
        let mut expected: Vec<_> = all.filter(|one| one.state == WithdrawalState::Asked).cloned().collect();
        let mut open = self.world.open_withdrawals().await;
        for list in [&mut expected, &mut open] {
            list.sort_unstable_by(|a, b| (&a.account, &a.id).cmp(&(&b.account, &b.id)));
        }
        assert_eq!(open, expected);
    }

    /// Whether the ledger agrees with the sums kept here, to the nano.
    async fn check(&self) -> Vec<Balance> {
        let mut found = Vec::new();
        for payer in self.payers.iter().step_by(KEYS_PER_ACCOUNT) {
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
                withdrawn: account.withdrawn.signed(),
                available: account.available,
                held,
                spent,
            });
        }
        assert_eq!(found, self.balances);
        self.check_withdrawals().await;
        for (at, payer) in self.payers.iter().enumerate() {
            let used = self.world.key_use(payer).await;
            let (held, holds) = self.held(at);
            assert_eq!(used, self.keys[at].used(held, holds, self.world.now_ms), "key {at}");
        }
        check_sums(&*self.world.ledger).await;
        let holds = self.world.ledger.totals().await.expect("totals").holds;
        assert_eq!(holds, self.live.len() as u64);
        found
    }
}

async fn play(mut stage: Stage) {
    let mut player = Player::new(stage.ledger().await, seed()).await;
    for step in 1..=STEPS {
        player.step().await;
        if step % 10 == 0 {
            let totals = player.world.ledger.totals().await.expect("totals");
            assert!(totals.are_conserved(), "after step {step}: {totals:?}");
        }
        if step % STEPS_PER_CRASH == 0 {
            stage.crash(&mut player).await;
        }
        if step % STEPS_PER_CHECK == 0 || step % STEPS_PER_CRASH == 0 {
            player.check().await;
        }
    }
    player.check().await;
    println!(
        "{} posted, {} trimmed, refused: {:?}",
        player.posted.len(),
        player.trimmed.len(),
        player.refused
    );
    // A history that did not meet every limit would show nothing.
    assert!(
        player.refused.len() == 5 && player.refused.values().all(|&count| count > 5),
        "{:?}",
        player.refused
    );
}

fn is_returned(state: &WithdrawalState) -> bool {
    matches!(state, WithdrawalState::Returned { .. })
}

/// What a step must make of a withdrawal; `None` if it must be refused.
fn stepped(before: &WithdrawalState, step: &WithdrawalStep, at_ms: u64) -> Option<WithdrawalState> {
    let sent_as = match before {
        WithdrawalState::Sent { reference, .. } => Some(reference.clone()),
        _ => None,
    };
    match step {
        WithdrawalStep::Sent { reference } if *before == WithdrawalState::Asked => Some(WithdrawalState::Sent {
            reference: reference.clone(),
            at_ms,
        }),
        WithdrawalStep::Sent { reference } => (sent_as.as_ref() == Some(reference)).then(|| before.clone()),
        WithdrawalStep::Paid { reference, transaction } => match before {
            WithdrawalState::Paid { reference: earlier, .. } => (earlier == reference).then(|| before.clone()),
            _ => (sent_as.as_ref() == Some(reference)).then(|| WithdrawalState::Paid {
                reference: reference.clone(),
                transaction: transaction.clone(),
                at_ms,
            }),
        },
        WithdrawalStep::Returned { reference, why } => match before {
            WithdrawalState::Paid { .. } => None,
            WithdrawalState::Returned { reference: earlier, .. } => (earlier == reference).then(|| before.clone()),
            _ => (sent_as == *reference).then(|| WithdrawalState::Returned {
                reference: reference.clone(),
                why: why.clone(),
                at_ms,
            }),
        },
    }
}

fn reason(error: &ReserveError) -> &'static str {
    match error {
        ReserveError::RateLimited { what, .. } => what.as_str(),
        ReserveError::BudgetSpent { .. } => "budget",
        ReserveError::Insufficient { .. } => "balance",
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_random_history_adds_up_embedded() {
    play(Stage::embedded()).await;
}

#[tokio::test]
async fn a_random_history_adds_up_in_redis() {
    play(Stage::redis()).await;
}

#[tokio::test]
async fn a_random_history_adds_up_in_a_cluster() {
    play(Stage::cluster()).await;
}

#[tokio::test]
async fn all_ledgers_tell_the_same_history() {
    let (mut stages, seed) = ([Stage::embedded(), Stage::redis(), Stage::cluster()], seed());
    let mut players = Vec::new();
    for stage in &stages {
        players.push(Player::new(stage.ledger().await, seed).await);
    }
    for step in 1..=STEPS {
        let mut told = Vec::new();
        for player in &mut players {
            told.push(player.step().await);
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "at step {step}: {told:?}");
        if step % STEPS_PER_CRASH == 0 {
            for (stage, player) in stages.iter_mut().zip(&mut players) {
                player.settle().await;
                stage.crash(player).await;
            }
        }
        if step % STEPS_PER_CHECK == 0 || step == STEPS {
            let mut found = Vec::new();
            for player in &players {
                found.push(player.check().await);
            }
            assert!(found.iter().all(|balances| *balances == found[0]), "after step {step}");
        }
    }
    let [one, others @ ..] = players.as_slice() else {
        unreachable!("there are three")
    };
    for other in others {
        are_the_same(one, other).await;
    }
}

/// Everything that can be read of two ledgers is the same.
async fn are_the_same(one: &Player, other: &Player) {
    let (here, there) = (&one.world.ledger, &other.world.ledger);
    assert_eq!(here.totals().await, there.totals().await);
    assert_eq!(here.accounts().await, there.accounts().await);
    assert_eq!(here.keys(None).await, there.keys(None).await);
    assert_eq!(here.earnings().await, there.earnings().await);
    for payer in &one.payers {
        let (from, to) = (Day::of(START_MS), Day::of(START_MS).plus(399));
        assert_eq!(
            here.usage(&payer.account, from, to).await,
            there.usage(&payer.account, from, to).await
        );
    }
}
