//! Real Redis servers that belong together: a cluster, or a master with replicas and sentinels. Each listens on ports
//! of its own on this machine and keeps its files in a folder of its own.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::RngExt;
use redis::{FromRedisValue, RedisResult};
use tempfile::TempDir;

/// Where no connection that goes out has its port.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// The file of a server's log, and how much of it is shown when a test fails.
const LOG: &str = "redis.log";
const LOG_LINES: usize = 40;
/// After so long without an answer a master is replaced.
pub const DOWN_AFTER_MS: u64 = 1_000;

/// One server.
pub struct Node {
    process: Child,
    dir: TempDir,
    pub port: u16,
    bus: u16,
    options: Vec<String>,
    is_alive: bool,
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that is free, as is likely.
pub fn free_port() -> u16 {
    loop {
        let port = rand::rng().random_range(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Node {
    /// Starts a server with options of its own; each is a line of its configuration.
    pub fn start(options: &[&str]) -> Self {
        Self::start_as(options, false)
    }

    fn start_as(options: &[&str], is_sentinel: bool) -> Self {
        for _ in 0..10 {
            let dir = tempfile::tempdir().expect("a folder");
            let (port, bus) = (free_port(), free_port());
            let mut options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
            if is_sentinel {
                options.push("sentinel".into());
            }
            if let Some(process) = launch(&dir, port, bus, &options) {
                let is_alive = true;
                return Self {
                    process,
                    dir,
                    port,
                    bus,
                    options,
                    is_alive,
                };
            }
        }
        panic!("redis-server does not start with {options:?}")
    }

    pub fn url(&self) -> String {
        format!("redis://{}/", self.place())
    }

    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a command of words without spaces.
    pub fn try_ask<T: FromRedisValue>(&self, command: &str) -> RedisResult<T> {
        let mut cmd = redis::Cmd::new();
        command.split(' ').for_each(|word| {
            cmd.arg(word);
        });
        let mut connection = redis::Client::open(self.url())?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        cmd.query(&mut connection)
    }

    #[track_caller]
    pub fn ask<T: FromRedisValue>(&self, command: &str) -> T {
        let answer = self.try_ask(command);
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// A line of INFO; nothing while the server does not answer, as when it has just been told who its master is.
    pub fn info(&self, line: &str) -> String {
        let info: String = self.try_ask("INFO").unwrap_or_default();
        let found = info.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    }

    /// Kills the server without a warning.
    pub fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("gone");
        self.is_alive = false;
    }

    /// Starts a killed server again, on its files.
    pub fn restart(&mut self) {
        assert!(!self.is_alive, "killed before");
        self.process = launch(&self.dir, self.port, self.bus, &self.options).expect("its ports are still free");
        self.is_alive = true;
    }

    /// Freezes the server, or lets it go on.
    pub fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }
}

/// `None` if another process was faster to take the port.
fn launch(dir: &TempDir, port: u16, bus: u16, options: &[String]) -> Option<Child> {
    let file = dir.path().join("redis.conf");
    // A server that ran before has written what it knows into its configuration.
    if !file.exists() {
        let is_sentinel = options.iter().any(|option| option == "sentinel");
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".into(),
            format!("dir {}", dir.path().display()),
            format!("logfile {LOG}"),
        ];
        if !is_sentinel {
            // Killed alone, a process loses nothing that it wrote; that the disk has it all only costs time here. Not
            // `everysec`: while a sync takes long, Redis then answers before it has written at all.
            lines.extend(["save \"\"", "appendonly yes", "appendfsync no"].map(String::from));
            lines.extend(["repl-diskless-sync-delay 0", "repl-ping-replica-period 1"].map(String::from));
        }
        if options.iter().any(|option| option == "cluster-enabled yes") {
            lines.push(format!("cluster-port {bus}"));
        }
        lines.extend(options.iter().filter(|option| *option != "sentinel").cloned());
        fs::write(&file, lines.join("\n") + "\n").expect("written");
    }
    let mut command = Command::new("redis-server");
    command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    if options.iter().any(|option| option == "sentinel") {
        command.arg("--sentinel");
    }
    let mut process = command
        .spawn()
        .expect("this test needs redis-server 7 or newer (Debian package redis-server)");
    let started = Instant::now();
    let url = format!("redis://127.0.0.1:{port}/");
    let client = redis::Client::open(url).expect("a URL");
    loop {
        if process.try_wait().expect("a state").is_some() {
            return None;
        }
        let connection = client.get_connection_with_timeout(Duration::from_secs(1));
        let answer = connection.and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        if answer.is_ok() {
            return Some(process);
        }
        assert!(started.elapsed() < PATIENCE, "redis-server did not come up");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join(LOG)).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES);
            println!(
                "--- what the server on port {} logged last\n{}",
                self.port,
                lines[last..].join("\n")
            );
        }
    }
}

/// A cluster whose masters share all slots.
pub struct Cluster {
    pub masters: Vec<Node>,
    /// The replicas, the first master's first.
    pub replicas: Vec<Node>,
}

impl Cluster {
    /// Three masters and as many replicas of each.
    pub fn start(replicas_each: usize) -> Self {
        Self::start_with(&[vec![], vec![], vec![]], replicas_each)
    }

    /// The same, with options of each master.
    pub fn start_with(of_masters: &[Vec<String>], replicas_each: usize) -> Self {
        let timeout = format!("cluster-node-timeout {DOWN_AFTER_MS}");
        let options = ["cluster-enabled yes", &timeout];
        let master = |own: &Vec<String>| {
            let own: Vec<_> = options.into_iter().chain(own.iter().map(String::as_str)).collect();
            Node::start(&own)
        };
        let masters: Vec<_> = of_masters.iter().map(master).collect();
        let replicas: Vec<_> = (0..3 * replicas_each).map(|_| Node::start(&options)).collect();
        for (at, (node, slots)) in masters.iter().zip(["0 5460", "5461 10922", "10923 16383"]).enumerate() {
            node.ask::<()>(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
            node.ask::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1));
        }
        let cluster = Self { masters, replicas };
        for node in cluster.nodes().skip(1) {
            cluster.meet(node);
        }
        let count = cluster.nodes().count();
        for node in cluster.nodes() {
            wait_until("all nodes know each other", || known(node) == count);
        }
        for (at, replica) in cluster.replicas.iter().enumerate() {
            let master: String = cluster.masters[at / replicas_each].ask("CLUSTER MYID");
            replica.ask::<()>(&format!("CLUSTER REPLICATE {master}"));
        }
        for replica in &cluster.replicas {
            wait_until("a replica follows", || replica.info("master_link_status") == "up");
        }
        for node in cluster.nodes() {
            wait_until("the cluster is ready", || is_ready(node));
        }
        cluster
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.masters.iter().chain(&self.replicas)
    }

    /// Makes a server known to the cluster.
    pub fn meet(&self, node: &Node) {
        self.masters[0].ask::<()>(&format!("CLUSTER MEET 127.0.0.1 {} {}", node.port, node.bus));
    }

    pub fn url(&self) -> String {
        let places: Vec<_> = self.masters.iter().map(Node::place).collect();
        format!("redis+cluster://{}", places.join(","))
    }

    /// Forgets every key.
    pub fn flush(&self) {
        for master in &self.masters {
            master.ask::<()>("FLUSHALL");
        }
    }
}

/// How many nodes a node knows that have shaken hands.
fn known(node: &Node) -> usize {
    let nodes: String = node.ask("CLUSTER NODES");
    nodes.lines().filter(|line| !line.contains("handshake")).count()
}

pub fn is_ready(node: &Node) -> bool {
    let info: String = node.ask("CLUSTER INFO");
    info.contains("cluster_state:ok")
}

/// A master, a replica of it, and three sentinels that watch them.
pub struct Watched {
    pub servers: Vec<Node>,
    pub sentinels: Vec<Node>,
    /// Where the servers and the sentinels are for each other and for the ledger.
    ports: Vec<u16>,
    sentinel_ports: Vec<u16>,
}

/// What a server is set to that listens on this port with TLS.
pub type Secured<'a> = &'a dyn Fn(u16) -> Vec<String>;

impl Watched {
    pub fn start() -> Self {
        Self::start_as(None)
    }

    /// The same, and all of them talk to each other with TLS only.
    pub fn start_over_tls(options: Secured<'_>) -> Self {
        Self::start_as(Some(options))
    }

    fn start_as(secured: Option<Secured<'_>>) -> Self {
        let mut ports = Vec::new();
        let mut start = |own: Vec<String>, is_sentinel| {
            let port = secured.map(|options| (free_port(), options));
            let mut secured = port.map_or_else(Vec::new, |(port, options)| options(port));
            // A sentinel does not know the commands that the ledger's user may use.
            secured.retain(|option| !(is_sentinel && option.starts_with("user ")));
            let talks_so = port.map(|_| "tls-replication yes".to_owned());
            let options: Vec<_> = secured.into_iter().chain(talks_so).chain(own).collect();
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            let node = Node::start_as(&options, is_sentinel);
            ports.push(port.map_or(node.port, |(port, _)| port));
            (*ports.last().expect("just pushed"), node)
        };
        let (port, master) = start(vec![], false);
        let (_, replica) = start(vec![format!("replicaof 127.0.0.1 {port}")], false);
        wait_until("the replica follows", || replica.info("master_link_status") == "up");
        let lines = [
            format!("sentinel monitor money 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds money {DOWN_AFTER_MS}"),
            "sentinel failover-timeout money 5000".into(),
        ];
        let sentinels: Vec<_> = (0..3).map(|_| start(lines.to_vec(), true).1).collect();
        for sentinel in &sentinels {
            wait_until("the sentinels know each other and the replica", || {
                let info = sentinel.info("master0");
                info.contains("slaves=1") && info.contains("sentinels=3")
            });
        }
        let sentinel_ports = ports.split_off(2);
        Self {
            servers: vec![master, replica],
            sentinels,
            ports,
            sentinel_ports,
        }
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/money", self.places())
    }

    /// Where the sentinels are.
    pub fn places(&self) -> String {
        let places: Vec<_> = self
            .sentinel_ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        places.join(",")
    }

    /// Where in `servers` the master is that the sentinels name.
    /// Whether one server follows another. Which is which may change once more: on a busy machine sentinels may take the new
    /// master for dead, too, and go back to the old one.
    pub fn is_whole(&self) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.info("master_link_status") == "up")
    }

    pub fn master(&self) -> usize {
        let (_, port): (String, u16) = self.sentinels[2].ask("SENTINEL GET-MASTER-ADDR-BY-NAME money");
        let master = self.ports.iter().position(|server| *server == port);
        master.expect("one of them")
    }
}
