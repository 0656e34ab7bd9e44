//! The ledger in a Redis Cluster of three masters, whole and while it changes: slots that move, masters that die.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::{Ledger, RedisLedger, RedisSettings, open_redis};

use crate::home::patient;
use crate::load::Load;
use crate::nodes::{Cluster, Node, is_ready, wait_until};
use crate::world::{World, check_sums};

/// A cluster and a ledger in it.
pub async fn ledger(cluster: &Cluster) -> Arc<dyn Ledger> {
    let ledger = RedisLedger::open(&cluster.url(), patient()).await;
    Arc::new(ledger.expect("a ledger in the cluster"))
}

/// A ledger whose posts are answered when a replica has them.
pub async fn safe_ledger(url: &str) -> Arc<dyn Ledger> {
    let settings = RedisSettings {
        wait_replicas: 1,
        ..RedisSettings::default()
    };
    Arc::new(RedisLedger::open(url, settings).await.expect("a ledger"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_lie_on_every_master() {
    let cluster = Cluster::start(0);
    let mut world = World::new(ledger(&cluster).await);
    for _ in 0..64 {
        let payer = world.payer(1_000).await;
        let call = world.hold(&payer, 300).await;
        let record = world.record(&payer, call, 100);
        assert!(world.ledger.post(&record, world.now_ms).await.expect("posted").fresh);
    }
    check_sums(&*world.ledger).await;
    for master in &cluster.masters {
        let keys: u64 = master.ask("DBSIZE");
        assert!(keys > 64, "{keys} keys on one of the masters");
    }
}

#[tokio::test]
async fn a_node_of_a_cluster_is_no_server_of_its_own() {
    let cluster = Cluster::start(0);
    let error = open_redis(&cluster.masters[0].url()).await.err().expect("refused");
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_move_to_a_new_master_during_load() {
    let cluster = Cluster::start(0);
    let load = Load::start(ledger(&cluster).await).await;
    load.more(200).await;
    // It knows nobody's functions: who met it that way gives it none.
    let new = Node::start(&["cluster-enabled yes", "cluster-node-timeout 1000"]);
    cluster.meet(&new);
    for node in cluster.nodes().chain([&new]) {
        let count = |node: &Node| node.ask::<String>("CLUSTER NODES").matches("connected").count();
        wait_until("the new master is known", || count(node) == 4 && is_ready(node));
    }
    for shard in 0..16 {
        let slot: u16 = new.ask(&format!("CLUSTER KEYSLOT {{s{shard:02}}}"));
        migrate(
            slot,
            &Member::of(&cluster.masters[usize::from(slot) * 3 / 16_384]),
            &Member::of(&new),
        );
    }
    assert!(new.ask::<u64>("DBSIZE") > 200);
    load.more(500).await;
    let count = load.check().await;
    println!("{count} posts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_loses_no_answered_post() {
    let mut cluster = Cluster::start(1);
    let load = Load::start(safe_ledger(&cluster.url()).await).await;
    for at in 0..2 {
        load.more(300).await;
        cluster.masters[at].kill();
        let replica = &cluster.replicas[at];
        wait_until("the replica is the master", || replica.info("role") == "master");
        // Without a replica of its own it answers no post, so the old master comes back as one.
        cluster.masters[at].restart();
    }
    load.more(300).await;
    println!("{} posts", load.check().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_master_is_left_for_its_replica() {
    let cluster = Cluster::start(1);
    let ledger = safe_ledger(&cluster.url()).await;
    let mut world = World::new(Arc::clone(&ledger));
    let mut payers = Vec::new();
    for _ in 0..24 {
        payers.push(world.payer(1_000).await);
    }
    let load = Load::start(ledger).await;
    load.more(200).await;
    cluster.masters[0].signal("-STOP");
    let replica = &cluster.replicas[0];
    wait_until("the replica is the master", || replica.info("role") == "master");
    // All accounts can be served again, while the old master keeps its connections and says nothing.
    for payer in &payers {
        let started = Instant::now();
        while let Err(error) = world.try_hold(payer, 1).await {
            assert!(started.elapsed() < Duration::from_secs(30), "{error}");
        }
    }
    // Their posts are answered again only when there is a replica: the old master, which learns what it is.
    let before = load.posted();
    cluster.masters[0].signal("-CONT");
    wait_until("the old master follows", || {
        cluster.masters[0].info("master_link_status") == "up"
    });
    load.more(500).await;
    assert!(load.posted() > before);
    println!("{} posts", load.check().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_without_a_replica_is_answered_once_there_is_one() {
    let master = Node::start(&[]);
    let settings = RedisSettings {
        deadline: Duration::from_millis(300),
        wait_replicas: 1,
        ..RedisSettings::default()
    };
    let plain: Arc<dyn Ledger> = Arc::new(open_redis(&master.url()).await.expect("a ledger"));
    let mut world = World::new(plain);
    let payer = world.payer(1_000).await;
    world.ledger = Arc::new(RedisLedger::open(&master.url(), settings).await.expect("a ledger"));
    let call = world.hold(&payer, 300).await;
    let record = world.record(&payer, call, 100);
    let refused = world.ledger.post(&record, world.now_ms).await;
    assert!(refused.is_err(), "{refused:?}");
    let replica = Node::start(&[&format!("replicaof 127.0.0.1 {}", master.port)]);
    wait_until("the master knows that it follows", || {
        master.info("slave0").contains("state=online")
    });
    assert_eq!(replica.info("master_link_status"), "up");
    // A replica on a busy machine may be later than the deadline: whoever posts asks again.
    let started = Instant::now();
    let posted = loop {
        match world.ledger.post(&record, world.now_ms).await {
            Ok(posted) => break posted,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
        }
    };
    assert!(!posted.fresh, "it was charged before");
    let other = world.payer(500).await;
    world
        .ledger
        .revoke_key(&other.key, world.now_ms)
        .await
        .expect("revoked");
    let shard = world.ledger.shards();
    for shard in shard {
        world.ledger.unsealed(shard, None, 10).await.expect("read");
    }
    world.check(&payer, 900, 0, 100).await;
}

/// Moves a slot as `redis-cli --cluster reshard` does.
fn migrate(slot: u16, from: &Member, to: &Member) {
    to.ask::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &from.id]);
    from.ask::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &to.id]);
    loop {
        let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "50"]);
        if keys.is_empty() {
            break;
        }
        let port = to.port.to_string();
        let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        command.extend(keys.iter().map(String::as_str));
        from.ask::<()>(&command);
    }
    for node in [to, from] {
        node.ask::<()>(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &to.id]);
    }
}

/// A master as the others know it.
struct Member {
    port: u16,
    id: String,
}

impl Member {
    fn of(node: &Node) -> Self {
        Self {
            port: node.port,
            id: node.ask("CLUSTER MYID"),
        }
    }

    #[track_caller]
    fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", self.port)).expect("a URL");
        let mut cmd = redis::Cmd::new();
        cmd.arg(command);
        let answer = cmd.query(&mut client.get_connection().expect("a connection"));
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }
}
