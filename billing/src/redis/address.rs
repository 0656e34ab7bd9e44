//! Where the server is: one server, a cluster, or sentinels that know which server is the master.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};

use super::RedisSettings;
use crate::ledger::LedgerError;

/// Where sentinels listen when the URL does not say.
const SENTINEL_PORT: &str = "26379";

/// What TLS needs beyond the system's certificates. All of it is PEM text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RedisTls {
    /// The authorities that may sign the server's certificate; without them, the system's.
    pub ca: Option<Vec<u8>>,
    /// This gateway's own certificate and its private key, for servers that ask for one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One of them is a private key.
        f.debug_struct("RedisTls").finish_non_exhaustive()
    }
}

impl RedisTls {
    /// As the client takes it; `None` if there is nothing beyond the system's certificates.
    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        let Self { ca, client } = self.clone();
        let client_tls = client.map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        });
        let certificates = TlsCertificates {
            client_tls,
            root_cert: ca,
        };
        (certificates.root_cert.is_some() || certificates.client_tls.is_some()).then_some(certificates)
    }
}

/// A URL, read.
#[derive(Clone)]
pub(super) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// Nodes of a cluster, which know the others.
    Cluster(Vec<ConnectionInfo>),
    /// Sentinels, and how the master is to be reached that they tell.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        login: RedisConnectionInfo,
        tcp: TcpSettings,
        is_tls: bool,
    },
}

/// The parts of `scheme://[login@]host,host[/path][?query]`.
struct Parts<'a> {
    login: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: &'a str,
}

fn wrong(what: impl fmt::Display) -> LedgerError {
    // The URL may hold a password, so it is never repeated.
    LedgerError::Unavailable(format!("this is no Redis URL: {what}"))
}

impl Address {
    /// Reads a URL: `redis[s]://…`, `redis+unix:///…`, `redis[s]+cluster://…` or `redis[s]+sentinel://…`.
    pub(super) fn read(url: &str, settings: &RedisSettings) -> Result<Self, LedgerError> {
        // A peer that vanished without a word is given up after a few deadlines instead of the system's quarter hour.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(settings.deadline.saturating_mul(3));
        let several = url.split_once("://").and_then(|(scheme, rest)| {
            let (scheme, kind) = scheme.split_once('+')?;
            Some((scheme, kind, Parts::of(rest)))
        });
        match several {
            Some((scheme, "cluster", parts)) => parts.cluster(scheme, &tcp),
            Some((scheme, "sentinel", parts)) => parts.sentinel(scheme, &tcp),
            _ => Ok(Self::Server(info(url, &tcp)?)),
        }
    }
}

fn info(url: &str, tcp: &TcpSettings) -> Result<ConnectionInfo, LedgerError> {
    let info = url.into_connection_info().map_err(wrong)?;
    Ok(info.set_tcp_settings(tcp.clone()))
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Self {
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        Self {
            login,
            hosts: hosts.split(',').map(str::trim).collect(),
            path,
            query,
        }
    }

    fn cluster(&self, scheme: &str, tcp: &TcpSettings) -> Result<Address, LedgerError> {
        if !self.path.is_empty() {
            return Err(wrong("a cluster has no database but its own"));
        }
        let login = self.login;
        let nodes = self.hosts.iter().map(|host| {
            let login = if login.is_empty() {
                String::new()
            } else {
                format!("{login}@")
            };
            info(&format!("{scheme}://{login}{host}"), tcp)
        });
        Ok(Address::Cluster(nodes.collect::<Result<_, _>>()?))
    }

    /// The login is the master's; that of the sentinels is in the query.
    fn sentinel(&self, scheme: &str, tcp: &TcpSettings) -> Result<Address, LedgerError> {
        let (service, database) = self.path.split_once('/').unwrap_or((self.path, ""));
        if service.is_empty() {
            return Err(wrong("the sentinels' name of the master is missing: …:26379/NAME"));
        }
        let login = if self.login.is_empty() {
            String::new()
        } else {
            format!("{}@", self.login)
        };
        let master = info(&format!("{scheme}://{login}master/{database}"), tcp)?;
        let is_tls = matches!(master.addr(), ConnectionAddr::TcpTls { .. });
        let (mut user, mut password) = ("", "");
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sentinel_user", value)) => user = value,
                Some(("sentinel_password", value)) => password = value,
                _ => return Err(wrong("only sentinel_user and sentinel_password may follow the `?`")),
            }
        }
        let login = if password.is_empty() {
            String::new()
        } else {
            format!("{user}:{password}@")
        };
        let sentinels = self.hosts.iter().map(|host| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
            let port = if has_port { "" } else { SENTINEL_PORT };
            let colon = if has_port { "" } else { ":" };
            info(&format!("{scheme}://{login}{host}{colon}{port}"), tcp)
        });
        Ok(Address::Sentinel {
            sentinels: sentinels.collect::<Result<_, _>>()?,
            service: service.to_owned(),
            login: master.redis_settings().clone(),
            tcp: tcp.clone(),
            is_tls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Address, LedgerError> {
        Address::read(url, &RedisSettings::default())
    }

    fn places(nodes: &[ConnectionInfo]) -> Vec<String> {
        nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn a_cluster_is_a_list_of_nodes_with_one_login() {
        let Ok(Address::Cluster(nodes)) = read("rediss+cluster://ann:p%40ss@one:7000,[::1]:7001,three") else {
            panic!("a cluster");
        };
        assert_eq!(places(&nodes), ["one:7000", "::1:7001", "three:6379"]);
        for node in &nodes {
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
            let login = node.redis_settings();
            assert_eq!((login.username(), login.password()), (Some("ann"), Some("p@ss")));
        }
    }

    #[test]
    fn sentinels_and_their_master_have_logins_of_their_own() {
        let url = "redis+sentinel://ann:secret@one,two:5000/mymaster/3?sentinel_password=other";
        let Ok(Address::Sentinel {
            sentinels,
            service,
            login,
            is_tls,
            ..
        }) = read(url)
        else {
            panic!("sentinels");
        };
        assert_eq!(places(&sentinels), ["one:26379", "two:5000"]);
        assert_eq!((service.as_str(), login.db(), is_tls), ("mymaster", 3, false));
        assert_eq!((login.username(), login.password()), (Some("ann"), Some("secret")));
        let of_sentinel = sentinels[0].redis_settings();
        assert_eq!((of_sentinel.username(), of_sentinel.password()), (None, Some("other")));
    }

    #[test]
    fn what_is_no_url_is_said_without_the_password() {
        for url in [
            "redis+cluster://:secret@one/3",
            "redis+sentinel://:secret@one",
            "redis+sentinel://:secret@one/m?x=secret",
            "redis+cluster://:secret@",
            "http+cluster://:secret@one",
            "rediss://:secret@one/#insecure=secret",
            "redis+else://:secret@one",
        ] {
            let error = read(url).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| !error.contains("secret")), "{url}");
        }
    }
}
