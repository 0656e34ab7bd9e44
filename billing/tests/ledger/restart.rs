//! What survives: a close, a kill in the middle of the load, a server that forgets its functions or does not answer.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use filature_billing::{
    Account, AccountId, CallId, EmbeddedLedger, KeyHash, Ledger, LedgerError, Nano, RedisSettings, ReserveError,
    open_embedded, open_redis,
};
use rand::RngExt;
use tokio::task::JoinSet;

use crate::home::{AT_ONCE, Home};
use crate::server::Server;
use crate::world::{Payer, World, check_sums, nano};

/// Tells the child of a kill test where its ledger is.
const DIR: &str = "FILATURE_TEST_DIR";
const KILLS: usize = 6;

fn open(dir: &Path) -> Arc<dyn Ledger> {
    Arc::new(EmbeddedLedger::open(dir, AT_ONCE).expect("an embedded ledger"))
}

#[tokio::test]
async fn what_is_durable_is_there_after_a_close() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut world = World::new(open(dir.path()));
    let payer = world.payer(1_000).await;
    let (key, secret) = world.key(&payer.account, Some(5)).await;
    world.ledger.revoke_key(&key.id, 4).await.expect("revoked");
    let posted = world.hold(&payer, 300).await;
    let record = world.record_of(&payer, posted, &[("provider-a", 100), ("provider-b", 20)]);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    let held = world.hold(&payer, 500).await;
    world.check(&payer, 380, 500, 120).await;
    let earnings = world.ledger.earnings().await;

    let World { ledger, rng, now_ms } = world;
    drop(ledger);
    let mut world = World {
        ledger: open(dir.path()),
        rng,
        now_ms,
    };
    // The hold was the old process's, and gone with it.
    world.check(&payer, 880, 0, 120).await;
    assert_eq!(world.ledger.void(&payer.account, &held).await, Ok(Nano::ZERO));
    assert_eq!(
        world.ledger.record(&payer.account, &posted).await,
        Ok(Some(record.clone()))
    );
    assert!(!world.ledger.post(&record, world.now_ms).await.expect("an answer").fresh);
    assert_eq!(world.ledger.earnings().await, earnings);
    let found = world
        .ledger
        .key_by_hash(&secret.hash())
        .await
        .expect("an answer")
        .expect("a key");
    assert_eq!((found.revoked_ms, found.expires_ms), (Some(4), Some(5)));
    assert_eq!(
        world.ledger.key_spent(&payer.account, &payer.key).await,
        Ok(Some(nano(120)))
    );
    let again = world.deposit(&payer.account, "first", 1_000);
    assert!(!world.ledger.deposit(&again).await.expect("an answer").fresh);
    world.hold(&payer, 880).await;
    world.check(&payer, 0, 880, 120).await;
}

#[tokio::test]
async fn a_ledger_is_open_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let ledger = open(dir.path());
    let in_use = |result: Result<EmbeddedLedger, LedgerError>| matches!(result, Err(LedgerError::InUse(_)));
    assert!(in_use(open_embedded(dir.path())));
    drop(ledger);
    let mut child = Load::start(dir.path());
    assert!(child.next_post().is_some(), "the child has it open");
    assert!(in_use(open_embedded(dir.path())));
    child.kill();
    assert!(open_embedded(dir.path()).is_ok());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    assert!(matches!(open_embedded(&file), Err(LedgerError::Unavailable(_))));
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    std::fs::write(dir.path().join("data/ledger.redb"), "not a ledger").expect("written");
    assert!(matches!(
        open_embedded(&dir.path().join("data")),
        Err(LedgerError::Damaged(_))
    ));
}

#[tokio::test]
async fn only_its_owner_reads_the_ledger() {
    let dir = tempfile::tempdir().expect("a folder");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    std::fs::create_dir(dir.path().join("open")).expect("a folder");
    for name in ["open", "new/data"] {
        drop(open(&dir.path().join(name)));
        assert_eq!(mode(&dir.path().join(name).join("ledger.redb")), 0o600);
    }
    assert_eq!(mode(&dir.path().join("new/data")), 0o700);
}

/// A child process that posts as fast as it can, until it is killed.
struct Load {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Load {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args([
            "--exact",
            "restart::load_until_killed",
            "--ignored",
            "--nocapture",
            "--test-threads",
            "1",
        ]);
        let mut process = command.env(DIR, dir).stdout(Stdio::piped()).spawn().expect("a child");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines }
    }

    /// The next acknowledged post: account, call, cost.
    fn next_post(&mut self) -> Option<(AccountId, CallId, u64)> {
        for line in self.lines.by_ref() {
            let line = line.ok()?;
            let Some(post) = line.strip_prefix("posted ") else {
                continue;
            };
            let words: Vec<_> = post.split(' ').collect();
            // The last line may have been cut off by the kill.
            let &[account, call, cost, "."] = words.as_slice() else {
                return None;
            };
            let (account, call) = (account.parse().expect("an account"), call.parse().expect("a call"));
            return Some((account, call, cost.parse().expect("a cost")));
        }
        None
    }

    fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reserves and posts from many tasks, and prints each post once it is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of a kill test, not a test"]
async fn load_until_killed() {
    let dir = std::env::var(DIR).expect("run by its parent");
    let mut world = World::new(Arc::new(open_embedded(Path::new(&dir)).expect("an embedded ledger")));
    world.rng = rand::make_rng();
    println!();
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let payer = world.payer(1 << 40).await;
        let mut world = World {
            ledger: Arc::clone(&world.ledger),
            rng: rand::make_rng(),
            now_ms: world.now_ms,
        };
        tasks.spawn(async move {
            loop {
                let call = world.hold(&payer, 1_000).await;
                let cost = world.rng.random_range(0..=1_000);
                let record = world.record_of(
                    &payer,
                    call,
                    &[("provider-a", cost / 3), ("provider-b", cost - cost / 3)],
                );
                world.ledger.post(&record, world.now_ms).await.expect("posted");
                writeln!(std::io::stdout(), "posted {} {call} {cost} .", payer.account).expect("a reader");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_post() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut acknowledged = BTreeMap::new();
    for _ in 0..KILLS {
        let mut load = Load::start(dir.path());
        let count = rand::rng().random_range(1..400);
        let posts: Vec<_> = std::iter::from_fn(|| load.next_post()).take(count).collect();
        assert_eq!(posts.len(), count, "the child died by itself");
        load.kill();
        let rest = std::iter::from_fn(|| load.next_post());
        acknowledged.extend(
            posts
                .into_iter()
                .chain(rest)
                .map(|(account, call, cost)| ((account, call), cost)),
        );
        check_after_kill(dir.path(), &acknowledged).await;
    }
}

async fn check_after_kill(dir: &Path, acknowledged: &BTreeMap<(AccountId, CallId), u64>) {
    let ledger = open(dir);
    check_sums(&*ledger).await;
    let mut spent: BTreeMap<&AccountId, u64> = BTreeMap::new();
    for ((account, call), cost) in acknowledged {
        let record = ledger
            .record(account, call)
            .await
            .expect("an answer")
            .expect("an acknowledged post is kept");
        assert_eq!(record.cost.get(), *cost);
        *spent.entry(account).or_default() += cost;
    }
    for account in ledger.accounts().await.expect("accounts") {
        assert!(account.held.is_zero(), "a crash gives all holds back");
        // A post may have got to disk without having been acknowledged, at most one of each task.
        let known = spent.get(&account.id).copied().unwrap_or_default();
        assert!(
            (known..=known + 1_000).contains(&account.spent.get()),
            "{account:?}, {known} known"
        );
    }
}

/// A step whose answer was not waited for may arrive after a sweep: on a connection that was given up.
async fn sweep_until_nothing_is_held(ledger: &dyn Ledger, account: &AccountId) -> Account {
    let swept = async {
        loop {
            ledger.sweep(u64::MAX >> 12).await.expect("swept");
            let account = ledger.account(account).await.expect("an answer").expect("an account");
            if account.held.is_zero() {
                return account;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept)
        .await
        .expect("all holds are swept")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_comes_back_with_every_acknowledged_post() {
    let mut server = Server::start(&[]);
    let ledger: Arc<dyn Ledger> = Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis"));
    let mut world = World::new(Arc::clone(&ledger));
    let payer = world.payer(1 << 40).await;
    let mut acknowledged = HashSet::new();
    let held = world.hold(&payer, 77).await;
    for _ in 0..3 {
        let mut tasks = JoinSet::new();
        // A task whose step found the server back again would notice nothing and go on for ever.
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..8 {
            tasks.spawn(post_until_it_fails(
                Arc::clone(&ledger),
                payer.clone(),
                Arc::clone(&is_over),
            ));
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill_and_restart();
        is_over.store(true, Ordering::Relaxed);
        let posts = tasks.join_all().await;
        acknowledged.extend(posts.into_iter().flatten());
        wait_until_back(&*ledger).await;
        check_sums(&*ledger).await;
    }
    assert!(acknowledged.len() > 100, "{} posts", acknowledged.len());
    for call in &acknowledged {
        let record = ledger.record(&payer.account, call).await.expect("an answer");
        assert_eq!(record.expect("an acknowledged post is kept").cost, nano(10));
    }
    // Holds survive a restart of Redis, and so do the functions.
    assert_eq!(ledger.void(&payer.account, &held).await, Ok(nano(77)));
    let account = sweep_until_nothing_is_held(&*ledger, &payer.account).await;
    let known = 10 * acknowledged.len() as u64;
    // At most one unacknowledged post for each task and kill.
    assert!(
        (known..=known + 10 * 8 * 3).contains(&account.spent.get()),
        "{account:?}, {known} known"
    );
}

async fn post_until_it_fails(ledger: Arc<dyn Ledger>, payer: Payer, is_over: Arc<AtomicBool>) -> Vec<CallId> {
    let mut world = World {
        ledger,
        rng: rand::make_rng(),
        now_ms: crate::world::START_MS,
    };
    let mut posted = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let ask = world.ask(&payer, 100, 100);
        if world.ledger.reserve(&ask).await.is_err() {
            return posted;
        }
        let record = world.record(&payer, ask.call, 10);
        match world.ledger.post(&record, world.now_ms).await {
            Ok(_) => posted.push(ask.call),
            Err(_) => return posted,
        }
    }
    posted
}

pub async fn wait_until_back(ledger: &dyn Ledger) {
    let started = Instant::now();
    while let Err(error) = ledger.ping().await {
        assert!(started.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_redis_without_its_functions_gets_them_again() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    server.command("FUNCTION FLUSH");
    let call = world.hold(&payer, 300).await;
    server.command("FUNCTION FLUSH");
    world
        .ledger
        .post(&world.record(&payer, call, 100), world.now_ms)
        .await
        .expect("posted");
    world.check(&payer, 900, 0, 100).await;

    // A server that lost everything has no accounts, and says so instead of failing.
    server.command("FLUSHALL");
    server.command("FUNCTION FLUSH");
    assert_eq!(world.try_hold(&payer, 1).await, Err(ReserveError::UnknownAccount));
}

#[tokio::test]
async fn a_silent_redis_is_unavailable_after_the_deadline() {
    let server = Server::start(&[]);
    let settings = RedisSettings {
        deadline: Duration::from_millis(200),
        ..RedisSettings::default()
    };
    let ledger = filature_billing::RedisLedger::open(&server.url(), settings)
        .await
        .expect("a ledger in Redis");
    let mut world = World::new(Arc::new(ledger));
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 100).await;
    let record = world.record(&payer, call, 60);

    server.signal("-STOP");
    let started = Instant::now();
    let refused = world.try_hold(&payer, 1).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable(LedgerError::Unavailable(_)))),
        "{refused:?}"
    );
    assert!(matches!(
        world.ledger.post(&record, world.now_ms).await,
        Err(LedgerError::Unavailable(_))
    ));
    assert!(matches!(world.ledger.ping().await, Err(LedgerError::Unavailable(_))));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    server.signal("-CONT");

    // The commands were under way and are carried out late: repeating the post changes nothing, and the hold that
    // nobody owns expires.
    wait_until_back(&*world.ledger).await;
    assert_eq!(
        world.ledger.post(&record, world.now_ms).await.expect("posted").charged,
        nano(60)
    );
    world.ledger.sweep(u64::MAX >> 12).await.expect("swept");
    world.check(&payer, 940, 0, 60).await;
}

#[tokio::test]
async fn a_redis_that_would_lose_money_is_refused() {
    let server = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = open_redis(&server.url()).await.err().expect("refused");
    assert!(error.to_string().contains("noeviction"), "{error}");
    server.command("CONFIG SET maxmemory-policy noeviction");
    assert!(open_redis(&server.url()).await.is_ok());
}

#[tokio::test]
async fn a_full_redis_refuses_money_but_gives_holds_back() {
    let server = Server::start(&[]);
    let mut world = World::new(Arc::new(open_redis(&server.url()).await.expect("a ledger in Redis")));
    let payer = world.payer(1_000).await;
    let voided = world.hold(&payer, 100).await;
    let kept = world.hold(&payer, 200).await;
    server.command("CONFIG SET maxmemory 1");
    let until = world.now_ms + 120_000;
    assert_eq!(world.ledger.renew(&payer.account, &kept, until).await, Ok(true));
    let sealer = world.ledger.lease("sealer", "somebody", 60_000, world.now_ms).await;
    assert!(sealer.is_ok(), "who makes room gets in: {sealer:?}");
    assert!(matches!(
        world.try_hold(&payer, 1).await,
        Err(ReserveError::Unavailable(_))
    ));
    assert_eq!(world.ledger.void(&payer.account, &voided).await, Ok(nano(100)));
    assert_eq!(
        world.ledger.sweep(u64::MAX >> 12).await.expect("swept").released,
        nano(200)
    );
    world.check(&payer, 1_000, 0, 0).await;
}

#[tokio::test]
async fn what_is_no_redis_is_an_error_that_keeps_the_password() {
    for url in [
        "redis://:secret@127.0.0.1:1/",
        "http://:secret@127.0.0.1/",
        "redis+unix:///nowhere",
        "",
    ] {
        let error = open_redis(url).await.err().expect("refused");
        assert!(matches!(error, LedgerError::Unavailable(_)));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn two_gateways_share_one_redis() {
    let home = Home::redis().await;
    let Home::Redis { ledger, server } = &home else {
        unreachable!("made so")
    };
    let mut one = World::new(Arc::clone(ledger));
    let other = open_redis(&server.url()).await.expect("another connection");
    let payer = one.payer(1_000).await;
    let call = one.hold(&payer, 300).await;
    assert!(
        other
            .post(&one.record(&payer, call, 100), one.now_ms)
            .await
            .expect("posted")
            .fresh
    );
    one.check(&payer, 900, 0, 100).await;
    assert_eq!(other.key_by_hash(&KeyHash::of("nothing")).await, Ok(None));
}
