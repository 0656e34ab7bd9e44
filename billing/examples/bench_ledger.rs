//! What a call costs the ledgers: pairs of reserve and post per second, and the processor time of each side.
//!
//! `cargo run --release -p filature-billing --example bench_ledger [seconds] [target/bench/ledger.json]`
//!
//! Every key has every limit, none of them reached, so that all that `reserve` checks is checked. The Redis server is
//! one process of its own with `appendonly yes` and `appendfsync everysec`, reached over TCP on this machine. What the
//! load itself costs (identifiers, records) is measured beside it and taken off the client's time.

#[expect(dead_code, reason = "shared with the ledger's suite, which uses all of it")]
#[path = "../tests/ledger/server.rs"]
mod server;
#[expect(dead_code, reason = "shared with the ledger's suite, which uses all of it")]
#[path = "../tests/ledger/world.rs"]
mod world;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use filature_billing::{Budget, CallId, KeyLimits, Ledger, Period, RedisLedger, RedisSettings, Reserve, open_embedded};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::world::{Payer, World, check_sums, nano};

/// Accounts, each with one key: enough to fill all shards.
const PAYERS: usize = 512;
/// Calls at a time.
const TASKS: usize = 256;
/// What the figures of a start would spoil.
const WARM_UP: Duration = Duration::from_millis(500);

/// Limits of every kind that are never reached.
fn limits() -> KeyLimits {
    let amount = nano(1 << 52);
    KeyLimits {
        requests_per_min: Some(u32::MAX),
        tokens_per_min: Some(10_000_000_000),
        concurrent: Some(u32::MAX),
        budget: Some(Budget {
            amount,
            period: Period::Month,
        }),
        models: vec![],
    }
}

/// Processor time of this process so far: of all its threads that still live.
fn own_cpu() -> Duration {
    let mut sum = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux") {
        let path = task.expect("a task").path().join("schedstat");
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // The first number is nanoseconds on a processor.
        let nanoseconds = stat.split(' ').next().and_then(|text| text.parse().ok());
        sum += Duration::from_nanos(nanoseconds.unwrap_or_default());
    }
    sum
}

/// Processor time of the Redis server so far, by its own account.
async fn server_cpu(url: &str) -> Duration {
    let client = redis::Client::open(url).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let info: redis::InfoDict = redis::cmd("INFO").query_async(&mut connection).await.expect("INFO");
    let seconds = ["used_cpu_user", "used_cpu_sys"].map(|name| info.get::<f64>(name).expect("a figure"));
    Duration::from_secs_f64(seconds.iter().sum())
}

/// The world's time, running.
fn now_ms() -> u64 {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    world::START_MS + u64::try_from(STARTED.elapsed().as_millis()).unwrap_or_default()
}

/// Many tasks that reserve and post until the time is over; without a ledger, only what the load itself does.
async fn pairs(ledger: Option<&Arc<dyn Ledger>>, payers: &Arc<Vec<Payer>>, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (ledger, payers) = (ledger.cloned(), Arc::clone(payers));
        let mut rng = StdRng::seed_from_u64(task as u64 ^ rand::random::<u64>());
        tasks.spawn(async move {
            let mut count = 0_u64;
            while Instant::now() < until {
                let payer = &payers[(task + TASKS * count as usize) % payers.len()];
                let (ask, record) = call(payer, &mut rng);
                if let Some(ledger) = &ledger {
                    ledger.reserve(&ask).await.expect("reserved");
                    assert!(ledger.post(&record, ask.now_ms).await.expect("posted").fresh);
                } else {
                    std::hint::black_box((&ask, &record));
                    tokio::task::yield_now().await;
                }
                count += 1;
            }
            count
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// A call and its record, as the gateway would make them.
fn call(payer: &Payer, rng: &mut StdRng) -> (Reserve, filature_billing::UsageRecord) {
    let now_ms = now_ms();
    let ask = Reserve {
        call: CallId::generate(now_ms, rng),
        account: payer.account.clone(),
        key: payer.key.clone(),
        quote: nano(1_000),
        quote_min: nano(1_000),
        tokens: 500,
        now_ms,
        expires_ms: now_ms + 60_000,
    };
    let record = world::record(payer, ask.call, &[("provider-a", 500)], now_ms);
    (ask, record)
}

async fn measure(name: &str, ledger: Arc<dyn Ledger>, server: Option<&str>, time: Duration) -> Value {
    let mut world = World::new(Arc::clone(&ledger));
    let mut payers = Vec::new();
    for _ in 0..PAYERS {
        let payer = world.payer(1 << 40).await;
        world.limit(&payer, limits()).await;
        payers.push(payer);
    }
    let payers = Arc::new(payers);
    let before = own_cpu();
    let idle = pairs(None, &payers, WARM_UP).await;
    let load = (own_cpu() - before).as_secs_f64() / idle as f64;
    pairs(Some(&ledger), &payers, WARM_UP).await;

    let of_server = async || match server {
        Some(url) => server_cpu(url).await,
        None => Duration::ZERO,
    };
    let (server_before, client_before, started) = (of_server().await, own_cpu(), Instant::now());
    let count = pairs(Some(&ledger), &payers, time).await;
    let (elapsed, client, server_after) = (started.elapsed(), own_cpu() - client_before, of_server().await);
    check_sums(&*ledger).await;
    let per_pair = |cpu: Duration| cpu.as_secs_f64() / count as f64 * 1e6;
    let (on_server, on_client) = (per_pair(server_after - server_before), per_pair(client) - load * 1e6);
    let rate = count as f64 / elapsed.as_secs_f64();
    let per_core = if server.is_some() {
        format!("{:.0}", 1e6 / on_server)
    } else {
        "–".into()
    };
    println!("{name:<10} {rate:>10.0} {on_server:>18.1} {on_client:>18.1} {per_core:>22}");
    let rounded = |figure: f64| (figure * 10.0).round() / 10.0;
    let mut found = json!({ "pairs_per_s": rate.round(), "client_cpu_us_per_pair": rounded(on_client) });
    if server.is_some() {
        found["server_cpu_us_per_pair"] = json!(rounded(on_server));
        found["pairs_per_s_per_server_core"] = json!((1e6 / on_server).round());
    }
    found
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(5, |text| text.parse().expect("a number of seconds"));
    let file = PathBuf::from(args.next().unwrap_or_else(|| "target/bench/ledger.json".into()));
    let time = Duration::from_secs(seconds);
    println!(
        "{:<10} {:>10} {:>18} {:>18} {:>22}",
        "ledger", "pairs/s", "server CPU µs", "client CPU µs", "pairs/s per server core"
    );

    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let server = Server::start(&["--appendfsync", "everysec", "--port", &port.to_string()]);
    let url = format!("redis://127.0.0.1:{port}/");
    let settings = RedisSettings {
        deadline: Duration::from_secs(10),
        ..RedisSettings::default()
    };
    let ledger = RedisLedger::open(&url, settings).await.expect("a ledger in Redis");
    let redis = measure("redis", Arc::new(ledger), Some(&url), time).await;
    drop(server);

    let dir = tempfile::tempdir().expect("a folder");
    let ledger = open_embedded(dir.path()).expect("an embedded ledger");
    let embedded = measure("embedded", Arc::new(ledger), None, time).await;

    let report = json!({ "redis": redis, "embedded": embedded });
    std::fs::create_dir_all(file.parent().expect("a file in a folder")).expect("the folder");
    std::fs::write(&file, format!("{report:#}\n")).expect("the report");
    println!("{}", file.display());
}
