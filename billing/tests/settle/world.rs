//! Epochs, a devnet with a deployed contract and a funded wallet, providers of every kind, and what must be true at the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use filature_billing::chain::{
    Address, BATCH_MAX, Body, Cell, CellBuilder, Chain, Coins, Devnet, DevnetSettings, Incoming, Network, PAGE_MAX,
    Payment, Position, StateInit, Transaction, Wallet, WalletKey,
};
use filature_billing::settle::{
    Done, Parties, Payees, ProviderTag, SettleSettings, Settler, Terms, Waiting, claimed_of,
};
use filature_billing::{
    CallId, CallOutcome, Cursors, Epoch, EpochStore, FeeBps, Leg, Nano, Price, ProviderId, ReceiptKey, Tip, Tokens,
    TrustedKeys, UsageRecord,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

pub const TON: u64 = 1_000_000_000;
/// Legs of one record.
const LEGS_MAX: usize = 16;

pub struct World {
    pub devnet: Devnet,
    pub folder: TempDir,
    pub store: EpochStore,
    pub seal: ReceiptKey,
    pub key: Arc<WalletKey>,
    pub wallet: Wallet,
    pub contract: Address,
    pub payees: Payees,
    pub settings: SettleSettings,
    pub rng: StdRng,
    /// Another wallet with coins: anybody's.
    pub stranger: (WalletKey, Wallet),
    tip: Option<Tip>,
    now_ms: u64,
}

pub fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("an amount")
}

pub fn provider(name: &str) -> ProviderId {
    ProviderId::parse(name).expect("an id")
}

pub fn wallet(seed: u8) -> (WalletKey, Wallet) {
    let key = WalletKey::from_seed(&[seed; 32]);
    let wallet = Wallet::new(key.public(), Network::Testnet).expect("a wallet");
    (key, wallet)
}

/// An account that nobody has a contract at.
pub fn account(name: &str) -> Address {
    Address::basechain(*filature_billing::Hash::of(name.as_bytes()).as_bytes())
}

/// A contract that takes whatever says something, and sends everything else back: drops the selector, and throws 42 if the
/// body is empty.
pub fn bouncer(salt: u8) -> StateInit {
    let cell = |bytes: &[u8]| -> Cell {
        let mut cell = CellBuilder::new();
        let bits = u16::try_from(bytes.len() * 8).expect("short");
        cell.store_raw(bytes, bits).expect("room");
        cell.build().expect("a cell")
    };
    StateInit {
        code: Some(cell(&[0x30, 0xc7, 0x01, 0xf2, 0x6a])),
        data: Some(cell(&[salt])),
        ..StateInit::default()
    }
}

/// A contract that keeps what it gets, until a message says something: then it sends everything to nobody and is no more.
pub fn mortal(salt: u8) -> StateInit {
    let mut last = CellBuilder::new();
    // A message without bounce to an account of workchain 0, of value 0, without code and body.
    last.store_raw(&[0x42, 0x00, 0x00], 17).expect("room");
    last.store_raw(&[salt; 32], 256).expect("room");
    last.store_zeros(4 + 1 + 4 + 4 + 64 + 32 + 1 + 1).expect("room");
    // DROP, SDEMPTY, IFRET; then the message of its data, with all that is left (128), and no account after it (32).
    let mut code = CellBuilder::new();
    let bytes = [0x30, 0xc7, 0x01, 0xdc, 0xed, 0x44, 0x81, 0x00, 0xa0, 0xfb, 0x00];
    code.store_raw(&bytes, 88).expect("room");
    StateInit {
        code: Some(code.build().expect("a cell")),
        data: Some(last.build().expect("a cell")),
        ..StateInit::default()
    }
}

/// Where a mortal account is.
pub fn mortal_at(salt: u8) -> Address {
    Address::of_contract(&mortal(salt)).expect("an address")
}

impl World {
    pub async fn new(seed: u64) -> Self {
        Self::with(seed, DevnetSettings::default()).await
    }

    pub async fn with(seed: u64, devnet: DevnetSettings) -> Self {
        println!("seed {seed}");
        let devnet = Devnet::open(devnet).expect("a devnet");
        let folder = tempfile::tempdir().expect("a folder");
        let store = EpochStore::folder(&folder.path().join("epochs")).expect("a store");
        let (key, wallet) = wallet(1);
        let parties = Parties {
            owner: account("owner"),
            operator: wallet.address(),
            arbiter: account("arbiter"),
            forfeit_to: account("forfeit"),
            draw_limit: nano(100 * TON),
            terms: Terms::default(),
        };
        let init = parties.init().expect("code and data");
        let contract = Address::of_contract(&init).expect("an address");
        let world = Self {
            settings: SettleSettings {
                threshold: nano(1_000),
                every_s: 0,
                ..SettleSettings::new(contract)
            },
            devnet,
            folder,
            store,
            seal: ReceiptKey::generate(&mut StdRng::seed_from_u64(1)),
            key: Arc::new(key),
            wallet,
            contract,
            payees: Payees::new(),
            rng: StdRng::seed_from_u64(seed),
            stranger: self::wallet(2),
            tip: None,
            now_ms: 1_800_000_000_000,
        };
        world.give(world.stranger.1.address(), 10_000 * TON);
        let deploy = Payment {
            init: Some(init),
            ..Payment::new(contract, nano(2_000 * TON))
        };
        world.strangers(&[deploy]).await;
        world.give(world.wallet.address(), 5_000 * TON);
        world
    }

    pub fn keys(&self) -> TrustedKeys {
        TrustedKeys::new([self.seal.public_hex()])
    }

    pub fn give(&self, to: Address, amount: u64) {
        let amount = Coins::from(nano(amount));
        self.devnet.give(to, amount, &Body::default()).expect("a gift");
        while self.devnet.truth(to).expect("an account").last == Position::START {
            self.devnet.block().expect("a block");
        }
    }

    /// A settler that sees the chain through these eyes.
    pub fn settler(&self, chain: Arc<dyn Chain>) -> Settler {
        let (wallet, key) = (self.wallet.clone(), Arc::clone(&self.key));
        // Every settler has the store from its own handle, as another process would.
        let store = EpochStore::folder(&self.folder.path().join("epochs")).expect("a store");
        Settler::new(chain, store, self.keys(), wallet, key, self.settings)
    }

    pub fn honest(&self) -> Settler {
        self.settler(Arc::new(self.devnet.view()))
    }

    /// Adds a provider that is paid to an account without a contract.
    pub fn plain(&mut self, name: &str) -> Address {
        let payee = account(name);
        self.payees.insert(provider(name), payee);
        payee
    }

    /// Adds a provider with a real wallet.
    pub async fn walleted(&mut self, name: &str, seed: u8) -> Address {
        let (key, wallet) = wallet(seed);
        self.give(wallet.address(), TON);
        self.pay(&key, &wallet, &[Payment::new(account("somebody"), nano(1))])
            .await;
        self.payees.insert(provider(name), wallet.address());
        wallet.address()
    }

    /// Adds a provider whose account sends everything back.
    pub async fn bouncing(&mut self, name: &str, salt: u8) -> Address {
        let init = bouncer(salt);
        let payee = Address::of_contract(&init).expect("an address");
        let deploy = Payment {
            init: Some(init),
            ..Payment::new(payee, nano(TON))
        };
        let deploy = deploy.with_comment("not empty").expect("a comment");
        self.strangers(&[deploy]).await;
        self.payees.insert(provider(name), payee);
        payee
    }

    /// Adds a provider whose account lives until somebody tells it something, and again when it is made anew.
    pub async fn mortal(&mut self, name: &str, salt: u8) -> Address {
        self.payees.insert(provider(name), mortal_at(salt));
        self.revive(salt).await;
        mortal_at(salt)
    }

    /// Makes a mortal account live.
    pub async fn revive(&self, salt: u8) {
        let deploy = Payment {
            init: Some(mortal(salt)),
            ..Payment::new(mortal_at(salt), nano(TON / 10))
        };
        self.strangers(&[deploy]).await;
    }

    /// Makes a mortal account end.
    pub async fn end(&self, salt: u8) {
        let word = Payment::new(mortal_at(salt), nano(TON / 10)).with_comment("enough");
        self.strangers(&[word.expect("a comment")]).await;
    }

    /// Sends what the stranger orders, and waits until it is done.
    pub async fn strangers(&self, payments: &[Payment]) {
        let (key, wallet) = &self.stranger;
        self.pay(key, wallet, payments).await;
    }

    /// Sends what a wallet orders, and waits until all of it has arrived.
    pub async fn pay(&self, key: &WalletKey, wallet: &Wallet, payments: &[Payment]) {
        let chain = self.devnet.view();
        let seqno = wallet.seqno(&chain).await.expect("a seqno");
        let until = self.devnet.now() + 60;
        let signed = wallet
            .prepare(payments, seqno, until)
            .expect("a message")
            .sign(key)
            .expect("a signature");
        chain.send(&signed.bytes).await.expect("taken");
        while wallet.seqno(&chain).await.expect("a seqno") == seqno {
            self.devnet.block().expect("a block");
        }
        self.deliver();
    }

    /// Lets everything arrive that is on its way from one account to another.
    fn deliver(&self) {
        for _ in 0..4 {
            self.devnet.block().expect("a block");
        }
    }

    /// Seals an epoch in which these providers earned so much.
    pub async fn seal(&mut self, earned: &[(&str, u64)]) {
        let earned: Vec<_> = earned.iter().map(|(name, amount)| (provider(name), *amount)).collect();
        self.seal_all(&earned).await;
    }

    pub async fn seal_all(&mut self, earned: &[(ProviderId, u64)]) {
        self.now_ms += 60_000;
        let records = earned
            .chunks(LEGS_MAX)
            .map(|legs| record(legs, self.now_ms, &mut self.rng));
        let records = records.collect();
        let epoch =
            Epoch::close(self.tip.as_ref(), records, Cursors::new(), self.now_ms, &self.seal).expect("an epoch");
        let number = epoch.seal.header.number;
        self.store
            .create(number, epoch.to_bytes().expect("bytes"))
            .await
            .expect("stored");
        self.tip = Some(epoch.tip().expect("a tip"));
    }

    pub fn earned(&self, who: &ProviderId) -> u64 {
        let tip = self.tip.as_ref().expect("an epoch");
        tip.earnings.get(who).map_or(0, |earned| earned.get())
    }

    /// Lets a settler work, and the chain go on, until it waits for something other than the chain.
    pub async fn run(&self, settler: &mut Settler) -> Waiting {
        for _ in 0..10_000 {
            match settler.settle(&self.payees).await.expect("a step") {
                Done::Waits(Waiting::UnderWay | Waiting::Lagging) | Done::Sent { .. } => {
                    self.devnet.block().expect("a block");
                }
                Done::Waits(why) => return why,
                _ => {}
            }
        }
        panic!("settlement does not come to an end");
    }

    /// The account's whole history.
    pub async fn transactions(&self, address: Address) -> Vec<Transaction> {
        let (chain, mut all, mut after) = (self.devnet.view(), Vec::new(), Position::START);
        loop {
            let page = chain.transactions(address, after, PAGE_MAX).await.expect("a page");
            let Some(last) = page.last() else { return all };
            after = last.at;
            all.extend(page);
        }
    }

    /// What an account got from the settling wallet and kept.
    pub async fn got(&self, address: Address) -> u64 {
        let from = self.wallet.address();
        let got = self.transactions(address).await;
        let kept = got
            .iter()
            .filter_map(Transaction::credited)
            .filter(|gift| gift.from == from);
        kept.map(|gift| gift.value.nano().expect("an amount").get()).sum()
    }

    pub async fn claimed(&self, who: &ProviderId) -> u64 {
        let claimed = claimed_of(&self.devnet.view(), self.contract, &ProviderTag::of(who)).await;
        claimed.expect("an answer").get()
    }

    /// What each provider got by push, over all accounts it ever named.
    pub async fn pushed(&self, accounts: &BTreeMap<ProviderId, Vec<Address>>) -> BTreeMap<ProviderId, u64> {
        let mut pushed = BTreeMap::new();
        for (who, accounts) in accounts {
            let mut sum = 0;
            for account in accounts {
                sum += self.got(*account).await;
            }
            pushed.insert(who.clone(), sum);
        }
        pushed
    }

    pub fn accounts(&self) -> BTreeMap<ProviderId, Vec<Address>> {
        self.payees
            .iter()
            .map(|(who, payee)| (who.clone(), vec![*payee]))
            .collect()
    }

    /// Everybody was paid what the epochs say, and the books say what the chain says.
    pub async fn check(&self, accounts: &BTreeMap<ProviderId, Vec<Address>>) {
        self.deliver();
        let pushed = self.pushed(accounts).await;
        for who in self.payees.keys() {
            let (earned, got) = (self.earned(who), pushed.get(who).copied().unwrap_or_default());
            assert_eq!(
                got + self.claimed(who).await,
                earned,
                "{} got what it earned",
                who.as_str()
            );
        }
        self.check_books(accounts).await;
    }

    /// The books say what the chain says.
    pub async fn check_books(&self, accounts: &BTreeMap<ProviderId, Vec<Address>>) {
        self.deliver();
        let pushed = self.pushed(accounts).await;
        let mut settler = self.honest();
        let books = settler.books().await.expect("the books").before();
        for (who, before) in &books {
            let got = pushed.get(who).copied().unwrap_or_default();
            assert_eq!(before.pushed.get(), got, "the books of {}", who.as_str());
        }
        // Nobody was paid whom the books do not know.
        let unknown = pushed
            .iter()
            .filter(|(who, got)| **got > 0 && !books.contains_key(*who));
        assert_eq!(unknown.count(), 0);
    }

    /// How many messages the settling wallet obeyed.
    pub async fn obeyed(&self) -> usize {
        let mine = self.transactions(self.wallet.address()).await;
        mine.iter()
            .filter(|one| matches!(one.incoming, Incoming::External(_)))
            .count()
    }
}

/// One record by which up to sixteen providers earn.
fn record(earned: &[(ProviderId, u64)], now_ms: u64, rng: &mut StdRng) -> UsageRecord {
    let leg = |(provider, amount): &(ProviderId, u64)| Leg {
        provider: provider.clone(),
        from_byte: 0,
        quantization: None,
        price: Price {
            call: nano(*amount),
            ..Price::default()
        },
        tokens: Tokens::default(),
        cost: nano(*amount),
        fee: Nano::ZERO,
        earned: nano(*amount),
        served: None,
    };
    let cost = nano(earned.iter().map(|(_, amount)| amount).sum());
    let id = |text: &str| format!("{text}01HF7YAT00000000000000");
    UsageRecord {
        version: UsageRecord::VERSION,
        call: CallId::generate(now_ms, rng),
        account: id("acct_").parse().expect("an id"),
        key: id("key_").parse().expect("an id"),
        endpoint: "/v1/chat/completions".into(),
        model: "sim-small".into(),
        stream: true,
        created_ms: now_ms,
        ended_ms: now_ms,
        first_token_ms: None,
        outcome: CallOutcome::Completed,
        finish_reason: None,
        legs: earned.iter().map(leg).collect(),
        claimed: None,
        counted: Tokens::default(),
        billed: Tokens::default(),
        counted_by: "bytes".into(),
        fee_bps: FeeBps::default(),
        quote: cost,
        cost,
        fee: Nano::ZERO,
        request_hash: None,
        response_hash: None,
        nonce_hash: None,
    }
}

/// More than fit one message.
pub fn many() -> Vec<(ProviderId, u64)> {
    let count = u64::try_from(BATCH_MAX).expect("small") + 50;
    (0..count)
        .map(|n| (provider(&format!("many-{n:04}")), 10_000 + n))
        .collect()
}

impl World {
    /// Nobody got more than it earned.
    pub async fn check_pushed(&self) {
        for (who, payee) in &self.payees {
            let (earned, got) = (self.earned(who), self.got(*payee).await);
            assert!(got <= earned, "{} got {got} of {earned}", who.as_str());
        }
    }
}
