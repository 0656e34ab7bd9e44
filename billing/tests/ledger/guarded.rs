//! TLS with certificates on both sides, and a user with no more rights than `docs/redis.md` gives it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use filature_billing::{
    AuditEntry, Ledger, LedgerError, RedisConnection, RedisLedger, RedisSettings, RedisTls, WithdrawalStep,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use crate::home::patient;
use crate::load::Load;
use crate::nodes::{Cluster, Node, Watched, free_port, wait_until};
use crate::world::{World, nano};

/// An authority, and what it signed: a server's certificate and a gateway's.
struct Certificates {
    dir: TempDir,
    tls: RedisTls,
}

impl Certificates {
    fn new() -> Self {
        let key = || KeyPair::generate().expect("a key");
        // Whoever bears its issuer's name counts as having signed itself.
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut authority = named("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("an authority");
        let signed = |key: &KeyPair| {
            let mut params = named("redis");
            params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
            params.signed_by(key, &authority).expect("a certificate").pem()
        };
        let (server, client) = (key(), key());
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("ca.pem", &authority.pem());
        write("server.pem", &signed(&server));
        write("server.key", &server.serialize_pem());
        let tls = RedisTls {
            ca: Some(authority.pem().into_bytes()),
            client: Some((signed(&client).into_bytes(), client.serialize_pem().into_bytes())),
        };
        Self { dir, tls }
    }

    /// What a server is set to that listens on `port`.
    fn options(&self, port: u16) -> Vec<String> {
        let path = |name| self.dir.path().join(name).display().to_string();
        vec![
            format!("tls-port {port}"),
            format!("tls-cert-file {}", path("server.pem")),
            format!("tls-key-file {}", path("server.key")),
            format!("tls-ca-cert-file {}", path("ca.pem")),
            "tls-auth-clients yes".into(),
            acl(),
        ]
    }
}

/// The line of the document.
fn acl() -> String {
    let document = include_str!("../../../docs/redis.md");
    let line = document.lines().find(|line| line.starts_with("user filature "));
    line.expect("the line is there").to_owned()
}

/// A server that asks for certificates and a login.
pub struct Guarded {
    pub node: Node,
    port: u16,
    certificates: Certificates,
}

impl Guarded {
    pub fn start() -> Self {
        let (certificates, port) = (Certificates::new(), free_port());
        let options = certificates.options(port);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        Self {
            node: Node::start(&options),
            port,
            certificates,
        }
    }

    async fn open(&self, password: &str, settings: RedisSettings) -> Result<Arc<dyn Ledger>, LedgerError> {
        let url = format!("rediss://filature:{password}@127.0.0.1:{}/", self.port);
        let ledger = RedisLedger::open(&url, settings).await?;
        Ok(Arc::new(ledger))
    }

    fn settings(&self) -> RedisSettings {
        let tls = self.certificates.tls.clone();
        RedisSettings { tls, ..patient() }
    }

    pub async fn ledger(&self) -> Arc<dyn Ledger> {
        self.open("password", self.settings()).await.expect("a ledger")
    }
}

#[tokio::test]
async fn who_has_no_certificate_or_password_stays_outside() {
    let server = Guarded::start();
    let tls = &server.certificates.tls;
    let other = Certificates::new().tls;
    for (what, tls) in [
        (
            "the system's authorities only",
            RedisTls {
                ca: None,
                ..tls.clone()
            },
        ),
        (
            "another authority",
            RedisTls {
                ca: other.ca.clone(),
                ..tls.clone()
            },
        ),
        (
            "no certificate",
            RedisTls {
                client: None,
                ..tls.clone()
            },
        ),
        (
            "another authority's certificate",
            RedisTls {
                client: other.client,
                ..tls.clone()
            },
        ),
    ] {
        let settings = RedisSettings { tls, ..patient() };
        let refused = server.open("password", settings).await.err();
        assert!(
            matches!(refused, Some(LedgerError::Unavailable(_))),
            "{what}: {refused:?}"
        );
    }
    let error = server.open("secret", server.settings()).await.err().expect("refused");
    assert!(!error.to_string().contains("secret"), "{error}");
    let nonsense = RedisTls {
        ca: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()),
        client: None,
    };
    let refused = server
        .open(
            "password",
            RedisSettings {
                tls: nonsense,
                ..patient()
            },
        )
        .await;
    assert!(refused.is_err());
    let debugged = format!("{:?}", server.settings());
    assert!(
        !debugged.contains("PRIVATE") && !debugged.contains("client"),
        "{debugged}"
    );
}

#[tokio::test]
async fn the_least_rights_are_enough_for_what_lies_beside_the_ledger() {
    let server = Guarded::start();
    let url = format!("rediss://filature:password@127.0.0.1:{}/", server.port);
    let connection = RedisConnection::open(&url, &server.settings())
        .await
        .expect("a connection");
    let key = "filature:{fleet}:memories";
    let written = connection
        .send::<()>(redis::cmd("HSET").arg(key).arg("a").arg("1"))
        .await;
    assert_eq!(written, Ok(()));
    let gone = connection.send::<u32>(redis::cmd("HDEL").arg(key).arg("a")).await;
    assert_eq!(gone, Ok(1));
}

#[tokio::test]
async fn the_least_rights_are_little() {
    let server = Guarded::start();
    for command in [
        "FLUSHALL",
        "KEYS *",
        "CONFIG GET *",
        "SHUTDOWN",
        "GET other",
        "ACL WHOAMI",
    ] {
        let answer = server
            .node
            .try_ask::<redis::Value>(&format!("ACL DRYRUN filature {command}"));
        let text = format!("{answer:?}");
        assert!(text.contains("no permissions"), "{command}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_rights_are_enough_to_wait_for_replicas() {
    let server = Guarded::start();
    let replica = Node::start(&[&format!("replicaof 127.0.0.1 {}", server.node.port)]);
    wait_until("the master knows its replica", || {
        server.node.info("slave0").contains("state=online")
    });
    let settings = RedisSettings {
        wait_replicas: 1,
        ..server.settings()
    };
    let mut world = World::new(server.open("password", settings).await.expect("a ledger"));
    every_safe_step(&mut world).await;
    let there: u64 = replica.ask("DBSIZE");
    assert_eq!(there, server.node.ask::<u64>("DBSIZE"));
}

/// Every step that waits for replicas.
async fn every_safe_step(world: &mut World) {
    let payer = world.payer(1_000).await;
    let call = world.hold(&payer, 300).await;
    let record = world.record(&payer, call, 100);
    assert!(world.ledger.post(&record, world.now_ms).await.expect("posted").fresh);
    let again = world.ledger.post(&record, world.now_ms).await.expect("posted");
    assert_eq!((again.fresh, again.charged), (false, nano(100)));
    world.limit(&payer, filature_billing::KeyLimits::default()).await;
    world
        .ledger
        .revoke_key(&payer.key, world.now_ms)
        .await
        .expect("revoked");
    let entry = AuditEntry {
        at_ms: 1,
        actor: "me".into(),
        action: "key.revoke".into(),
        account: None,
        subject: String::new(),
        detail: String::new(),
    };
    world.ledger.audit(&entry).await.expect("written");
    let mut found = 0;
    for shard in world.ledger.shards() {
        found += world.ledger.unsealed(shard, None, 10).await.expect("read").len();
    }
    assert_eq!(found, 1);
    let ask = world.withdraw(&payer.account, "w", 200);
    for fresh in [true, false] {
        assert_eq!(world.ledger.withdraw(&ask).await.expect("withdrawn").fresh, fresh);
    }
    let returned = WithdrawalStep::Returned {
        reference: None,
        why: "a typo".into(),
    };
    for _ in 0..2 {
        let step = world.ledger.step_withdrawal(&payer.account, "w", &returned, 1).await;
        assert!(step.is_ok_and(|after| after.is_some()));
    }
    let moved = world.ledger.move_bookmark("reader", None, "1", &[]).await;
    assert_eq!(moved, Ok(true));
    world.check(&payer, 900, 0, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_with_least_rights() {
    let certificates = Certificates::new();
    let ports: Vec<_> = (0..3).map(|_| free_port()).collect();
    let cluster = Cluster::start_with(
        &ports
            .iter()
            .map(|&port| {
                let mut options = certificates.options(port);
                options.push("tls-cluster yes".into());
                options
            })
            .collect::<Vec<_>>(),
        0,
    );
    let url = format!("rediss+cluster://filature:password@127.0.0.1:{}", ports[0]);
    let settings = RedisSettings {
        tls: certificates.tls.clone(),
        ..patient()
    };
    let mut world = World::new(Arc::new(RedisLedger::open(&url, settings).await.expect("a ledger")));
    for _ in 0..16 {
        let payer = world.payer(1_000).await;
        let call = world.hold(&payer, 300).await;
        world
            .ledger
            .post(&world.record(&payer, call, 100), world.now_ms)
            .await
            .expect("posted");
    }
    assert_eq!(world.ledger.totals().await.expect("totals").spent, nano(1_600));
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_over_tls_name_who_takes_over() {
    let certificates = Certificates::new();
    let mut watched = Watched::start_over_tls(&|port| certificates.options(port));
    let url = format!("rediss+sentinel://filature:password@{}/money", watched.places());
    let settings = RedisSettings {
        tls: certificates.tls.clone(),
        wait_replicas: 1,
        ..RedisSettings::default()
    };
    let load = Load::start(Arc::new(RedisLedger::open(&url, settings).await.expect("a ledger"))).await;
    load.more(200).await;
    let before = watched.master();
    watched.servers[before].kill();
    wait_until("the replica took over", || {
        let now = watched.master();
        now != before && watched.servers[now].info("role") == "master"
    });
    // Without a replica of its own it answers no post, so the old master comes back as one.
    watched.servers[before].restart();
    wait_until("one follows the other", || watched.is_whole());
    load.more(300).await;
    println!("{} posts", load.check().await);

    let strangers = RedisSettings {
        tls: Certificates::new().tls,
        ..patient()
    };
    assert!(
        RedisLedger::open(&url, strangers).await.is_err(),
        "another authority's sentinels are not asked"
    );
}
