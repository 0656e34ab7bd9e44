//! A connection that finds the master again: to one server, to a cluster, or to the server that sentinels name.
//!
//! One server's connection reconnects by itself when it breaks, and a cluster's follows its slots. What neither sees (a
//! master that was replaced under another address, or that is silent without being gone; a connection that is dead and
//! was never told) is found out here, by connecting anew beside the traffic.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError,
    RedisFuture, RedisResult, TlsCertificates, Value,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::RedisSettings;
use super::address::Address;
use crate::ledger::LedgerError;

/// Commands that may wait for the socket; above that, callers wait until their deadline.
const WAITING_MAX: usize = 1024;
/// Longest pause between two attempts to reconnect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Attempts per failed command; the next command starts over.
const RECONNECT_ATTEMPTS: usize = 3;
/// Pause between two attempts of a command that a cluster cannot take now, in milliseconds: somewhere between them.
const RETRY_PAUSE_MS: (u64, u64) = (5, 25);
/// Least time between two searches for the master.
const SEARCH_PAUSE: Duration = Duration::from_secs(1);

/// How to connect.
pub(super) struct Way {
    address: Address,
    certificates: Option<TlsCertificates>,
    deadline: Duration,
}

/// A connection as it is now.
#[derive(Clone)]
pub(super) enum Live {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

pub(super) struct Link {
    way: Arc<Way>,
    live: Arc<RwLock<Live>>,
    searched: Arc<Mutex<Instant>>,
    /// The search under way; it ends with the link.
    search: parking_lot::Mutex<JoinSet<()>>,
}

impl Way {
    pub(super) fn read(url: &str, settings: &RedisSettings) -> Result<Self, LedgerError> {
        Ok(Self {
            address: Address::read(url, settings)?,
            certificates: settings.tls.certificates(),
            deadline: settings.deadline,
        })
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.address, Address::Cluster(_))
    }

    async fn connect(&self) -> RedisResult<Live> {
        match &self.address {
            Address::Server(info) => self.server(self.client(info.clone())?).await,
            Address::Cluster(nodes) => self.cluster(nodes).await,
            Address::Sentinel { sentinels, service, .. } => self.server(self.master(sentinels, service).await?).await,
        }
    }

    fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match (&self.certificates, info.addr()) {
            (Some(certificates), ConnectionAddr::TcpTls { .. }) => Client::build_with_tls(info, certificates.clone()),
            _ => Client::open(info),
        }
    }

    async fn server(&self, client: Client) -> RedisResult<Live> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(None)
            .set_number_of_retries(RECONNECT_ATTEMPTS)
            .set_max_delay(RECONNECT_PAUSE_MAX)
            .set_pipeline_buffer_size(WAITING_MAX);
        Ok(Live::Server(ConnectionManager::new_with_config(client, config).await?))
    }

    async fn cluster(&self, nodes: &[ConnectionInfo]) -> RedisResult<Live> {
        let (pause_ms, pause_max_ms) = RETRY_PAUSE_MS;
        // Retries end with the deadline.
        let retries = u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX);
        let mut builder = ClusterClient::builder(nodes.iter().cloned())
            .connection_timeout(self.deadline)
            .overall_response_timeout(Some(self.deadline))
            .retries(retries)
            .retry_wait_formula(pause_max_ms, 1)
            .min_retry_wait(pause_ms)
            .max_retry_wait(pause_max_ms);
        if let Some(node) = nodes.first() {
            builder = builder.tcp_settings(node.tcp_settings().clone());
        }
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        Ok(Live::Cluster(builder.build()?.get_async_connection().await?))
    }

    /// The master that the first sentinel to answer names, once the server itself says that it is one.
    async fn master(&self, sentinels: &[ConnectionInfo], service: &str) -> RedisResult<Client> {
        let mut last = RedisError::from((redis::ErrorKind::Client, "no sentinel knows this master"));
        for sentinel in sentinels {
            match self.ask(sentinel, service).await {
                Ok(Some(master)) => return Ok(master),
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, sentinel: &ConnectionInfo, service: &str) -> RedisResult<Option<Client>> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            .set_response_timeout(Some(self.deadline));
        let sentinel = self.client(sentinel.clone())?;
        let mut sentinel = sentinel.get_multiplexed_async_connection_with_config(&config).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
        let Some((host, port)) = question.query_async::<Option<(String, u16)>>(&mut sentinel).await? else {
            return Ok(None);
        };
        let Some(info) = self.master_info(host, port)? else {
            return Ok(None);
        };
        let master = self.client(info)?;
        let mut server = master.get_multiplexed_async_connection_with_config(&config).await?;
        let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut server).await?;
        let is_master = matches!(role.first(), Some(Value::BulkString(role)) if role == b"master");
        Ok(is_master.then_some(master))
    }

    fn master_info(&self, host: String, port: u16) -> RedisResult<Option<ConnectionInfo>> {
        let Address::Sentinel { login, tcp, is_tls, .. } = &self.address else {
            return Ok(None);
        };
        let address = if *is_tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = address.into_connection_info()?;
        Ok(Some(
            info.set_redis_settings(login.clone()).set_tcp_settings(tcp.clone()),
        ))
    }
}

impl Link {
    pub(super) async fn open(way: Arc<Way>) -> RedisResult<Self> {
        let live = way.connect().await?;
        Ok(Self {
            way,
            live: Arc::new(RwLock::new(live)),
            searched: Arc::new(Mutex::new(Instant::now())),
            search: parking_lot::Mutex::default(),
        })
    }

    pub(super) fn live(&self) -> Live {
        self.live.read().clone()
    }

    /// To be told of every command that came to no answer, or to one that a master does not give. Connects anew where
    /// that may lead elsewhere, while commands go on with the old connection.
    pub(super) fn failed(&self, error: Option<&RedisError>) {
        // Silence may mean a connection that is dead without a word, whatever is behind it. What one server's connection
        // is told, it sees to by itself.
        let is_lost = error.is_none_or(|error| {
            let is_replica = error.code() == Some("READONLY") || error.code() == Some("MASTERDOWN");
            (error.is_io_error() || is_replica) && !matches!(self.way.address, Address::Server(_))
        });
        if !is_lost {
            return;
        }
        // Whoever searches has the lock.
        let Ok(mut searched) = Arc::clone(&self.searched).try_lock_owned() else {
            return;
        };
        if searched.elapsed() < SEARCH_PAUSE {
            return;
        }
        let (way, live) = (Arc::clone(&self.way), Arc::clone(&self.live));
        let mut search = self.search.lock();
        while search.try_join_next().is_some() {}
        search.spawn(async move {
            match way.connect().await {
                Ok(found) => *live.write() = found,
                Err(error) => tracing::warn!(%error, "the ledger in Redis could not be connected to anew"),
            }
            *searched = Instant::now();
        });
    }
}

impl ConnectionLike for Live {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(server) => server.req_packed_command(command),
            Self::Cluster(cluster) => cluster.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(server) => server.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(server) => server.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

/// The master of the slot that `key` lies on.
fn master_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

impl Live {
    /// Sends a command that names no key to the server that has `key`.
    pub(super) async fn command_at(&mut self, key: &str, command: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::Server(server) => server.req_packed_command(command).await,
            Self::Cluster(cluster) => {
                let routing = RoutingInfo::SingleNode(master_of(key));
                cluster.route_command(command.clone(), routing).await
            }
        };
        answer?.extract_error()
    }

    /// Sends commands one behind the other to the server that has `key`.
    pub(super) async fn commands_at(&mut self, key: &str, commands: Pipeline) -> RedisResult<Vec<Value>> {
        let count = commands.len();
        let answers = match self {
            Self::Server(server) => server.req_packed_commands(&commands, 0, count).await?,
            Self::Cluster(cluster) => cluster.route_pipeline(commands, 0, count, master_of(key)).await?,
        };
        answers.into_iter().map(Value::extract_error).collect()
    }
}
