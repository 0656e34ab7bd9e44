//! A devnet that is a process, reached over HTTP; a wallet on it, and the settlement contract of that wallet.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use filature_billing::Nano;
use filature_billing::chain::{
    Address, Chain, Endpoint, PAGE_MAX, Payment, Position, Toncenter, ToncenterSettings, Transaction, Wallet,
};
use filature_billing::settle::{Anchor, Parties, Terms, last_anchor};

use crate::process::Process;
use crate::wallets::{TON, pay, wallet};

/// Seeds of the wallet that settles, and of the one that deploys the contract.
const SETTLES: u8 = 1;
const DEPLOYS: u8 = 2;

/// A chain with a wallet that settles, and its contract.
pub struct TheChain {
    pub contract: Address,
    pub wallet: Wallet,
    /// The file with the wallet's secret.
    pub key_file: String,
    pub url: String,
    /// How many must tell the same of the chain: 1, or 2, of whom both are this one.
    pub agree: usize,
    chain: Toncenter,
    _devnet: Process,
}

/// An account that nobody has a contract at.
pub fn account(id: u8) -> Address {
    Address::basechain([id; 32])
}

impl TheChain {
    /// A chain on this port, run by the program `filature`, whose wallet has 100 TON. Files are in `home`.
    pub async fn start(home: &Path, filature: &Path, port: u16) -> Self {
        let ((_, wallet), (_, deployer)) = (wallet(SETTLES), wallet(DEPLOYS));
        let listen = format!("127.0.0.1:{port}");
        let gift = |to: &Wallet, ton: u64| format!("{}={ton}", to.address());
        let (own, others) = (gift(&wallet, 100), gift(&deployer, 1_000));
        let args = ["devnet", "--listen", &listen, "--faucet", &own, "--faucet", &others];
        let mut devnet = Process::start(home, "devnet", filature, &args.map(str::to_owned));
        devnet.wait_for_line("endpoint");
        let url = format!("http://{listen}");
        let endpoint = Endpoint::parse(&url, Some("secret")).expect("a URL");
        let chain = Toncenter::new(ToncenterSettings::new(vec![endpoint])).expect("a client");
        let parties = Parties {
            owner: account(201),
            operator: wallet.address(),
            arbiter: account(202),
            forfeit_to: account(203),
            draw_limit: nano(100 * TON),
            terms: Terms::default(),
        };
        let init = parties.init().expect("code and data");
        let contract = Address::of_contract(&init).expect("an address");
        let deploy = Payment {
            init: Some(init),
            ..Payment::new(contract, nano(100 * TON))
        };
        let key_file = home.join("wallet.key");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&key_file);
        let written = file.expect("a file").write_all(hex::encode([SETTLES; 32]).as_bytes());
        written.expect("written");
        let the_chain = Self {
            contract,
            wallet,
            key_file: key_file.display().to_string(),
            url,
            agree: 1,
            chain,
            _devnet: devnet,
        };
        pay(&the_chain.chain, DEPLOYS, &[deploy]).await;
        the_chain
    }

    /// What a settler is told of it.
    pub fn settings(&self) -> Vec<String> {
        let mut settings = self.settings_without_key();
        settings.extend(["--settlement-wallet-key-file".to_owned(), self.key_file.clone()]);
        settings
    }

    /// What a gateway is told of it that pays nobody, but asks providers where they are paid.
    pub fn settings_without_key(&self) -> Vec<String> {
        let pairs = [
            ("network", "testnet".to_owned()),
            ("contract", self.contract.to_string()),
            (
                "endpoints",
                format!("{},{}", self.url, self.url.replace("127.0.0.1", "localhost")),
            ),
            ("endpoints-agree", self.agree.to_string()),
            ("api-key", "secret,secret".to_owned()),
            ("poll-every-ms", "100".to_owned()),
            ("payout-min-nano", "1".to_owned()),
            ("payout-every-s", "0".to_owned()),
        ];
        let flag = |(name, value): (&str, String)| [format!("--settlement-{name}"), value];
        pairs.into_iter().flat_map(flag).collect()
    }

    /// What an account got from the wallet that settles, and kept.
    pub async fn got(&self, address: Address) -> u64 {
        let from = self.wallet.address();
        let history = self.transactions(address).await;
        let kept = history.iter().filter_map(Transaction::credited);
        let kept = kept.filter(|gift| gift.from == from);
        kept.map(|gift| gift.value.nano().expect("an amount").get()).sum()
    }

    /// The contract's last anchor.
    pub async fn anchor(&self) -> Option<Anchor> {
        let last = last_anchor(&self.chain, self.contract).await.expect("an answer");
        last.map(|(anchor, _)| anchor)
    }

    async fn transactions(&self, address: Address) -> Vec<Transaction> {
        let (mut all, mut after) = (Vec::new(), Position::START);
        loop {
            let page = self.chain.transactions(address, after, PAGE_MAX).await.expect("a page");
            let Some(last) = page.last() else { return all };
            after = last.at;
            all.extend(page);
        }
    }
}

fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("an amount")
}
