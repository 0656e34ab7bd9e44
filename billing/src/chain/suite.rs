//! What both implementations of [`Chain`] do: one suite, run on the devnet in this process, and on toncenter's client
//! against the devnet's HTTP face.

mod faults;
mod history;
mod transfers;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;
use crate::money::Nano;

/// One coin, in nano.
pub(super) const TON: u64 = 1_000_000_000;

/// A devnet, and the chain as it is seen through an implementation.
pub(super) struct World {
    pub(super) devnet: Devnet,
    pub(super) chain: Box<dyn Chain>,
    pub(super) key: WalletKey,
    pub(super) wallet: Wallet,
    server: Option<Server>,
}

/// A devnet's face on a port. Stops when it is dropped.
pub(super) struct Server {
    pub(super) url: String,
    /// The server runs as long as this lives.
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

/// How the chain is seen.
#[derive(Clone, Copy)]
pub(super) enum Through {
    Process,
    Http,
}

impl World {
    pub(super) async fn new(through: Through, settings: DevnetSettings) -> Self {
        let devnet = Devnet::open(settings).expect("a devnet");
        let server = match through {
            Through::Process => None,
            Through::Http => Some(Server::start(&devnet).await),
        };
        let chain: Box<dyn Chain> = match &server {
            None => Box::new(devnet.clone()),
            Some(server) => Box::new(client(&server.url)),
        };
        let key = WalletKey::from_seed(&[1; 32]);
        let wallet = Wallet::new(key.public(), Network::Testnet).expect("a wallet");
        Self {
            devnet,
            chain,
            key,
            wallet,
            server,
        }
    }

    /// Stops everything that has the devnet's file open.
    pub(super) async fn close(mut self) {
        if let Some(Server { stop, mut task, .. }) = self.server.take() {
            drop(stop);
            task.join_next().await.expect("a server").expect("no panic");
        }
    }

    /// The same with a funded wallet.
    pub(super) async fn funded(through: Through) -> Self {
        let world = Self::new(through, DevnetSettings::default()).await;
        world.give(world.wallet.address(), 100 * TON, "");
        world
    }

    pub(super) fn give(&self, to: Address, nano: u64, comment: &str) {
        let body = match comment {
            "" => Body::default(),
            comment => Body::comment_of(comment).expect("a comment"),
        };
        self.devnet
            .give(to, Nano::saturating(nano).into(), &body)
            .expect("a gift");
    }

    pub(super) fn sign(&self, payments: &[Payment], seqno: u32) -> Signed {
        let until = self.devnet.now() + 60;
        let unsigned = self.wallet.prepare(payments, seqno, until).expect("a message");
        unsigned.sign(&self.key).expect("a signature")
    }

    pub(super) fn balance(&self, address: Address) -> u64 {
        let state = self.devnet.truth(address).expect("an account");
        state.balance.nano().expect("an amount the ledger can hold").get()
    }

    /// The account's whole history, as the chain tells it.
    pub(super) async fn history(&self, address: Address) -> Vec<Transaction> {
        let (mut all, mut after) = (Vec::new(), Position::START);
        loop {
            let page = self.chain.transactions(address, after, PAGE_MAX).await.expect("a page");
            let Some(last) = page.last() else { return all };
            after = last.at;
            all.extend(page);
        }
    }
}

impl Server {
    pub(super) async fn start(devnet: &Devnet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel();
        let devnet = devnet.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let stopped = async { drop(stopped.await) };
            serve_devnet(devnet, listener, stopped).await;
        });
        Self { url, stop, task }
    }
}

pub(super) fn client(url: &str) -> Toncenter {
    let endpoint = Endpoint::parse(url, None).expect("an endpoint");
    let settings = ToncenterSettings {
        rest: std::time::Duration::from_millis(1),
        ..ToncenterSettings::new(vec![endpoint])
    };
    Toncenter::new(settings).expect("a client")
}

pub(super) fn payee(id: u8) -> Address {
    Address::basechain([id; 32])
}

pub(super) fn pay(to: Address, nano: u64) -> Payment {
    Payment::new(to, Nano::saturating(nano))
}

/// Runs each of these on both implementations.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::chain::suite::Through::Process).await;
            })*
        }
        mod over_http {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::chain::suite::Through::Http).await;
            })*
        }
    };
}
use both;
