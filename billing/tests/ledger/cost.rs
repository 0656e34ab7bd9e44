//! What a step costs, to be run by hand on a quiet machine:
//! `cargo test --release -p filature-billing --test ledger cost -- --ignored --nocapture --test-threads 1`

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{Ledger, UsageRecord, open_embedded, open_redis};
use tokio::task::JoinSet;

use crate::home::Home;
use crate::server::Server;
use crate::world::{Payer, World, nano};

const SECONDS: u32 = 5;
const PAYERS: usize = 100;

/// CPU time so far of the threads whose names start with `name`.
fn cpu(name: &str) -> Duration {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux") {
        let path = task.expect("a task").path();
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        if read("comm").starts_with(name) {
            // The first number is nanoseconds on a processor.
            let nanoseconds = read("schedstat").split(' ').next().and_then(|text| text.parse().ok());
            sum += Duration::from_nanos(nanoseconds.unwrap_or_default());
        }
    }
    sum
}

async fn payers(world: &mut World) -> Vec<Payer> {
    let mut payers = Vec::new();
    for _ in 0..PAYERS {
        payers.push(world.payer(1 << 40).await);
    }
    payers
}

/// Posts at an even rate from one task each, as the gateway does; returns CPU per post and the latencies.
async fn post_evenly(world: &mut World, payers: &[Payer], rate: u32, post: bool) -> ([Duration; 2], Vec<Duration>) {
    let mut tasks = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (before, writer_before, per_tick) = (cpu(""), cpu("ledger-writer"), rate / 1_000);
    for tick in 0..SECONDS * 1_000 {
        ticks.tick().await;
        for at in 0..per_tick {
            let payer = &payers[((tick * per_tick + at) as usize) % payers.len()];
            let (ledger, ask) = (Arc::clone(&world.ledger), world.ask(payer, 1_000, 1_000));
            let record = world.record(payer, ask.call, 500);
            tasks.spawn(async move {
                let started = Instant::now();
                if post {
                    ledger.reserve(&ask).await.expect("reserved");
                    ledger.post(&record, ask.now_ms).await.expect("posted");
                }
                std::hint::black_box((&ask, &record));
                started.elapsed()
            });
        }
    }
    let mut latencies = tasks.join_all().await;
    latencies.sort();
    let posts = rate * SECONDS;
    (
        [cpu("") - before, cpu("ledger-writer") - writer_before].map(|cpu| cpu / posts),
        latencies,
    )
}

async fn report(name: &str, ledger: Arc<dyn Ledger>, rate: u32) {
    let mut world = World::new(ledger);
    let payers = payers(&mut world).await;
    let ([idle, _], _) = post_evenly(&mut world, &payers, rate, false).await;
    let ([busy, writer], latencies) = post_evenly(&mut world, &payers, rate, true).await;
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{name}: reserve + post at {rate}/s: {:?} of CPU per call, {writer:?} of it the writer's ({idle:?} more is the test's own), \
         p50 {:?}, p99 {:?}, max {:?}",
        busy.saturating_sub(idle),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_post_embedded() {
    for rate in [1_000, 5_000, 10_000] {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = open_embedded(dir.path()).expect("a ledger");
        report("embedded", Arc::new(ledger), rate).await;
        let bytes = std::fs::metadata(dir.path().join("ledger.redb"))
            .expect("the file")
            .len();
        let posts = u64::from(rate * SECONDS);
        println!("  {bytes} bytes on disk for {posts} records, {} each", bytes / posts);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn cost_of_a_post_in_redis() {
    // As the README asks an operator to set it.
    let server = Server::start(&["--appendfsync", "everysec"]);
    let ledger = open_redis(&server.url()).await.expect("a ledger in Redis");
    report("Redis (without the server's own CPU)", Arc::new(ledger), 3_000).await;
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_a_reserve_embedded() {
    const ROUNDS: u32 = 200_000;
    let home = Home::embedded();
    let mut world = World::new(home.ledger());
    let payer = world.payer(1 << 40).await;
    let asks: Vec<_> = (0..ROUNDS).map(|_| world.ask(&payer, 1_000, 1_000)).collect();
    let started = Instant::now();
    for ask in &asks {
        world.ledger.reserve(ask).await.expect("reserved");
    }
    let reserve = started.elapsed() / ROUNDS;
    let started = Instant::now();
    for ask in &asks {
        assert_eq!(world.ledger.void(&payer.account, &ask.call).await, Ok(nano(1_000)));
    }
    println!(
        "embedded: reserve {reserve:?}, void {:?}, with up to {ROUNDS} holds",
        started.elapsed() / ROUNDS
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_a_record() {
    const ROUNDS: u32 = 100_000;
    let home = Home::embedded();
    let mut world = World::new(home.ledger());
    let payer = world.payer(0).await;
    let call = world.call();
    let record: UsageRecord = world.record(&payer, call, 500);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(serde_json::to_vec(std::hint::black_box(&record)).expect("json"));
    }
    let bytes = serde_json::to_vec(&record).expect("json").len();
    println!("a record: {bytes} bytes of JSON in {:?}", started.elapsed() / ROUNDS);
}
