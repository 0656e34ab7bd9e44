//! A devnet that is a process, wallets with coins on it, and a settlement that anchors a gateway's epochs in a contract.

use std::io::BufReader;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::chain::{
    Address, Body, CellBuilder, Chain as _, Endpoint, Network, Payment, Toncenter, ToncenterSettings,
};
use filature_billing::settle::{Done, Payees, SettleSettings, Settler, Waiting};
use filature_billing::{EpochStore, Nano, ProviderId, TrustedKeys};
use serde_json::Value;

use crate::home::program;
use crate::house::{House, Place, Ran};
use crate::process::without_settings;
use crate::wallets::{PATIENCE, pay, wallet};

/// A devnet, and who has wallets on it.
pub struct Chain {
    devnet: Child,
    pub endpoint: String,
    client: Arc<Toncenter>,
}

impl Drop for Chain {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill.
        let _ = self.devnet.kill();
        let _ = self.devnet.wait();
    }
}

/// A wallet's address as people write it.
pub fn friendly(seed: u8) -> String {
    wallet(seed).1.address().friendly(false, Network::Testnet)
}

/// The file with the secret of the wallet with this seed.
pub fn key_file(house: &House, seed: u8) -> String {
    let path = house.file(&format!("wallet-{seed}.key"), hex::encode([seed; 32]));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("permissions");
    path
}

/// A body for the contract: operation, query id, and what follows.
pub fn operation(operation: u32, more: impl FnOnce(&mut CellBuilder)) -> Body {
    let mut body = CellBuilder::new();
    body.store_u32(operation).expect("room");
    body.store_u64(0).expect("room");
    more(&mut body);
    Body::new(body.build().expect("a cell"))
}

impl Chain {
    /// A devnet on which these wallets have a hundred coins each.
    pub fn start(seeds: &[u8]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program("filature"));
        command.args(["devnet", "--listen", "127.0.0.1:0", "--json"]);
        for seed in seeds {
            command.args(["--faucet", &format!("{}=100", friendly(*seed))]);
        }
        without_settings(&mut command);
        if let Some(folder) = std::env::var_os("FILATURE_REPLAYS") {
            command.env("FILATURE_REPLAYS", folder);
        }
        let mut devnet = command.stdout(Stdio::piped()).spawn().expect("the devnet starts");
        let out = BufReader::new(devnet.stdout.take().expect("its output"));
        let mut read = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
        let running = read.next().expect("an answer").expect("JSON");
        let endpoint = running["endpoint"].as_str().expect("an endpoint").to_owned();
        let settings = ToncenterSettings::new(vec![Endpoint::parse(&endpoint, None).expect("an endpoint")]);
        Self {
            devnet,
            endpoint,
            client: Arc::new(Toncenter::new(settings).expect("a client")),
        }
    }

    /// Runs `filature` on this chain.
    pub fn filature(&self, house: &House, args: &[&str]) -> Ran {
        let on = ["--network", "testnet", "--endpoint", &self.endpoint];
        house.filature(&[args, &on].concat())
    }

    /// The same of a command that must succeed, and its JSON.
    pub fn json(&self, house: &House, args: &[&str]) -> Value {
        let ran = self.filature(house, &[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        serde_json::from_str(&ran.out).expect("JSON")
    }

    /// Deploys a contract by the command, for the operator's wallet 1; its address as people write it.
    pub fn deploy(&self, house: &House, more: &[&str]) -> String {
        let (key, people) = (key_file(house, 1), [2, 3, 4].map(friendly));
        let [owner, arbiter, forfeit] = people.each_ref().map(String::as_str);
        let args = [
            "contract",
            "deploy",
            "--owner",
            owner,
            "--arbiter",
            arbiter,
            "--forfeit-to",
            forfeit,
        ];
        let deployed = self.json(house, &[&args[..], &["--wallet", &key], more].concat());
        deployed["friendly"].as_str().expect("an address").to_owned()
    }

    /// Makes a wallet pay, and waits until it has.
    pub async fn pay(&self, seed: u8, payment: Payment) {
        pay(&*self.client, seed, &[payment]).await;
    }

    /// What an account holds, in nano.
    pub async fn balance(&self, address: Address) -> u128 {
        self.client.account(address).await.expect("an account").balance.get()
    }

    /// Anchors a place's epochs from wallet 1. What is below the threshold, in nano, is left to be claimed.
    pub async fn settle(&self, place: &Place, contract: &str, threshold: u64, payees: &Payees) {
        let contract = Address::parse(contract, Network::Testnet).expect("an address").address;
        let (key, wallet) = wallet(1);
        let settings = SettleSettings {
            threshold: Nano::saturating(threshold),
            every_s: 0,
            ..SettleSettings::new(contract)
        };
        let store = EpochStore::folder(&place.data.join("epochs")).expect("a store");
        let chain = self.client.clone();
        let mut settler = Settler::new(chain, store, TrustedKeys::default(), wallet, Arc::new(key), settings);
        let began = Instant::now();
        loop {
            match settler.settle(payees).await.expect("a step") {
                Done::Waits(Waiting::NothingDue) => return,
                _ => assert!(began.elapsed() < PATIENCE, "settlement does not end"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The engine's provider is paid to this wallet.
pub fn payees(seed: u8) -> Payees {
    let provider = ProviderId::parse("direct.engine").expect("an id");
    [(provider, wallet(seed).1.address())].into()
}
