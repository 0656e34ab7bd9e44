//! A wallet where deposits arrive and withdrawals leave, callers of every kind, and what must always be true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use filature_billing::chain::{
    Address, Chain, Devnet, DevnetSettings, Payment, StateInit, Transaction, Wallet, WalletKey,
};
use filature_billing::deposits::{DepositSettings, Invoice, Watcher};
use filature_billing::withdrawals::{Done, Payer, PayerSettings, Waiting};
use filature_billing::{
    AccountId, EpochStore, Ledger, LedgerError, Uncredited, WhyUncredited, Withdraw, Withdrawal, WithdrawalState,
    WithdrawalStep,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::home::Home;
use crate::world::{TON, World, account, nano, wallet};

pub struct Till {
    pub world: World,
    pub home: Home,
    pub ledger: Arc<dyn Ledger>,
    pub key: Arc<WalletKey>,
    pub wallet: Wallet,
    pub settings: PayerSettings,
    pub accounts: Vec<AccountId>,
    /// Withdrawals asked for: each a millisecond after the one before.
    asked: AtomicU64,
}

/// A contract that takes what says nothing, and sends everything else back: it never takes what has a comment.
fn refuser(salt: u8) -> StateInit {
    let cell = |bytes: &[u8]| {
        let mut cell = filature_billing::chain::CellBuilder::new();
        let bits = u16::try_from(bytes.len() * 8).expect("short");
        cell.store_raw(bytes, bits).expect("room");
        cell.build().expect("a cell")
    };
    StateInit {
        // Drops the selector, and throws 42 unless the body is empty.
        code: Some(cell(&[0x30, 0xc7, 0x01, 0xf2, 0xaa])),
        data: Some(cell(&[salt])),
        ..StateInit::default()
    }
}

impl Till {
    /// Three accounts with 100 TON each, that they paid in.
    pub async fn new(seed: u64, home: Home) -> Self {
        Self::with(seed, home, DevnetSettings::default()).await
    }

    pub async fn with(seed: u64, home: Home, devnet: DevnetSettings) -> Self {
        let world = World::with(seed, devnet).await;
        let (key, wallet) = wallet(11);
        let ledger = home.ledger();
        let mut rng = StdRng::seed_from_u64(7);
        let mut accounts = Vec::new();
        for _ in 0..3 {
            let account = AccountId::generate(&mut rng);
            ledger
                .create_account(&account, "a caller", 1)
                .await
                .expect("an account");
            accounts.push(account);
        }
        let till = Self {
            settings: PayerSettings {
                contract: Some(world.contract),
                own: vec![account("cold")],
                ..PayerSettings::default()
            },
            world,
            ledger,
            home,
            key: Arc::new(key),
            wallet,
            accounts,
            asked: AtomicU64::new(0),
        };
        for place in 0..till.accounts.len() {
            till.pay_in(place, 100 * TON).await;
        }
        till.watch().await;
        for account in &till.accounts {
            assert_eq!(till.available(account).await, (100 * TON).cast_signed());
        }
        till
    }

    pub fn now_ms(&self) -> u64 {
        u64::from(self.world.devnet.now()) * 1_000
    }

    /// A stranger pays in for an account.
    pub async fn pay_in(&self, place: usize, amount: u64) {
        let invoice = Invoice::of(&self.accounts[place]).expect("an invoice").to_string();
        let payment = Payment::new(self.wallet.address(), nano(amount)).with_comment(&invoice);
        self.world.strangers(&[payment.expect("a comment")]).await;
    }

    pub fn watcher(&self, chain: Arc<dyn Chain>) -> Watcher {
        let settings = DepositSettings {
            address: self.wallet.address(),
            minimum: nano(TON / 10),
        };
        Watcher::new(chain, Arc::clone(&self.ledger), settings)
    }

    /// Credits what has arrived.
    pub async fn watch(&self) {
        let mut watcher = self.watcher(Arc::new(self.world.devnet.view()));
        while watcher.step(self.now_ms()).await.expect("a step").transactions > 0 {}
    }

    pub fn payer(&self, chain: Arc<dyn Chain>) -> Payer {
        let store = EpochStore::folder(&self.world.folder.path().join("epochs")).expect("a store");
        self.payer_with(chain, store)
    }

    pub fn payer_with(&self, chain: Arc<dyn Chain>, store: EpochStore) -> Payer {
        let (ledger, key) = (Arc::clone(&self.ledger), Arc::clone(&self.key));
        let (wallet, settings) = (self.wallet.clone(), self.settings.clone());
        Payer::new(chain, ledger, store, wallet, key, settings, &mut rand::rng())
    }

    pub fn honest(&self) -> Payer {
        self.payer(Arc::new(self.world.devnet.view()))
    }

    pub async fn try_ask(&self, place: usize, id: &str, amount: u64, to: &str) -> Result<Withdrawal, LedgerError> {
        let ask = Withdraw {
            id: id.to_owned(),
            account: self.accounts[place].clone(),
            amount: nano(amount),
            to: to.to_owned(),
            now_ms: self.now_ms() + self.asked.fetch_add(1, Ordering::Relaxed),
        };
        self.ledger.withdraw(&ask).await.map(|done| done.withdrawal)
    }

    pub async fn ask(&self, place: usize, id: &str, amount: u64, to: Address) {
        let asked = self.try_ask(place, id, amount, &to.to_string()).await;
        assert_eq!(asked.expect("withdrawn").state, WithdrawalState::Asked);
    }

    /// The operator gives a withdrawal back that no payer has.
    pub async fn give_back(&self, place: usize, id: &str) -> Result<Option<Withdrawal>, LedgerError> {
        let why = "changed my mind".to_owned();
        let step = WithdrawalStep::Returned { reference: None, why };
        let account = &self.accounts[place];
        self.ledger.step_withdrawal(account, id, &step, self.now_ms()).await
    }

    pub async fn state(&self, place: usize, id: &str) -> WithdrawalState {
        let found = self.ledger.withdrawal(&self.accounts[place], id).await;
        found.expect("an answer").expect("a withdrawal").state
    }

    pub async fn available(&self, account: &AccountId) -> i64 {
        let found = self.ledger.account(account).await.expect("an answer");
        found.expect("an account").available
    }

    /// Lets a payer work, and the chain go on, until it waits for something other than the chain.
    pub async fn run(&self, payer: &mut Payer) -> Waiting {
        for _ in 0..10_000 {
            match payer.pay(self.now_ms()).await.expect("a step") {
                Done::Waits(Waiting::UnderWay | Waiting::Lagging) | Done::Sent { .. } => {
                    self.world.devnet.block().expect("a block");
                }
                Done::Waits(why) => return why,
                _ => {}
            }
        }
        panic!("payment does not come to an end");
    }

    /// Lets a fresh payer pay all there is, and checks that it was right.
    pub async fn finish(&self) {
        assert_eq!(self.run(&mut self.honest()).await, Waiting::NothingAsked);
        self.check().await;
        for withdrawal in self.withdrawals().await {
            let over = matches!(
                withdrawal.state,
                WithdrawalState::Paid { .. } | WithdrawalState::Returned { .. }
            );
            assert!(over, "{withdrawal:?}");
        }
    }

    /// An account with a real wallet at it.
    pub async fn walleted(&self, seed: u8) -> Address {
        let (key, wallet) = wallet(seed);
        self.world.give(wallet.address(), TON);
        let payment = Payment::new(account("somebody"), nano(1));
        self.world.pay(&key, &wallet, &[payment]).await;
        wallet.address()
    }

    /// A contract that sends back whatever a payer sends.
    pub async fn refusing(&self, salt: u8) -> Address {
        let init = refuser(salt);
        let payee = Address::of_contract(&init).expect("an address");
        let deploy = Payment {
            init: Some(init),
            ..Payment::new(payee, nano(TON))
        };
        self.world.strangers(&[deploy]).await;
        payee
    }

    /// Every withdrawal of every account.
    pub async fn withdrawals(&self) -> Vec<Withdrawal> {
        let mut all = Vec::new();
        for account in &self.accounts {
            let found = self.ledger.withdrawals(account, None, 1_024).await.expect("a list");
            all.extend(found.into_iter().map(|(_, withdrawal)| withdrawal));
        }
        all
    }

    pub async fn uncredited(&self) -> Vec<Uncredited> {
        let found = self.ledger.uncredited(None, 1_024).await.expect("a list");
        found.into_iter().map(|(_, one)| one).collect()
    }

    /// What an account of the chain got from the wallet with this comment, and kept.
    async fn got(&self, withdrawal: &Withdrawal) -> Vec<u64> {
        let Ok(payee) = withdrawal.to.parse::<Address>() else {
            return Vec::new();
        };
        let comment = Ok(Some(format!("withdrawal {}", withdrawal.id)));
        let got = self.world.transactions(payee).await;
        let kept = got.iter().filter_map(Transaction::credited);
        let kept = kept.filter(|gift| gift.from == self.wallet.address() && gift.body.comment() == comment);
        kept.map(|gift| gift.value.nano().expect("an amount").get()).collect()
    }

    /// What holds at any moment: nobody was paid twice, too much, or what is credit again; each account adds up.
    pub async fn check_always(&self) {
        for withdrawal in self.withdrawals().await {
            let got = self.got(&withdrawal).await;
            let amount = withdrawal.amount.get();
            match &withdrawal.state {
                WithdrawalState::Asked | WithdrawalState::Returned { .. } => {
                    assert_eq!(got, Vec::<u64>::new(), "{withdrawal:?}");
                }
                // What cannot come back is paid as soon as it is on its way.
                WithdrawalState::Sent { .. } | WithdrawalState::Paid { .. } => {
                    assert!(got.is_empty() || got == [amount], "{withdrawal:?} {got:?}");
                }
            }
        }
        self.check_accounts().await;
    }

    /// Available, held and spent are what was deposited less what was withdrawn, and that is what was not given back.
    async fn check_accounts(&self) {
        let all = self.withdrawals().await;
        for id in &self.accounts {
            let account = self.ledger.account(id).await.expect("an answer").expect("an account");
            let own = all.iter().filter(|one| one.account == *id);
            let out = own.filter(|one| !matches!(one.state, WithdrawalState::Returned { .. }));
            let out: u64 = out.map(|one| one.amount.get()).sum();
            assert_eq!(account.withdrawn.get(), out, "{account:?}");
            let has = account.available + (account.held.get() + account.spent.get()).cast_signed();
            assert_eq!(
                has,
                account.deposited.signed() - account.withdrawn.signed(),
                "{account:?}"
            );
        }
    }

    /// What holds when everything is over: the wallet's history is what the ledger says, to the nano.
    pub async fn check(&self) {
        for _ in 0..4 {
            self.world.devnet.block().expect("a block");
        }
        self.watch().await;
        self.check_always().await;
        let (mut paid, mut deposited) = (0, 0);
        for withdrawal in self.withdrawals().await {
            if let WithdrawalState::Paid { transaction, .. } = &withdrawal.state {
                let amount = withdrawal.amount.get();
                assert_eq!(self.got(&withdrawal).await, [amount], "{withdrawal:?}");
                assert_eq!(transaction.len(), 64, "{withdrawal:?}");
                paid += amount;
            }
        }
        let (mut left, mut came_back, mut came) = (0, 0, 0);
        for transaction in self.world.transactions(self.wallet.address()).await {
            for sent in &transaction.outgoing {
                if matches!(sent.body.comment(), Ok(Some(text)) if text.starts_with("withdrawal ")) {
                    left += sent.value.nano().expect("an amount").get();
                    came_back += self.sent_back(sent.to, sent.created_lt).await;
                }
            }
            let invoice = |text: &str| Invoice::read(text).is_ok();
            came += transaction.credited().map_or(0, |gift| match gift.body.comment() {
                Ok(Some(text)) if invoice(&text) => gift.value.nano().expect("an amount").get(),
                _ => 0,
            });
        }
        assert_eq!(
            left - came_back,
            paid,
            "what left the wallet and was kept is what is paid"
        );
        for id in &self.accounts {
            deposited += self
                .ledger
                .account(id)
                .await
                .expect("an answer")
                .expect("an account")
                .deposited
                .get();
        }
        assert_eq!(came, deposited, "what arrived is what is credited");
        // Nobody's credit grew by what came back on the chain: the ledger gave it back.
        let bounced = self.uncredited().await;
        let bounced = bounced.iter().filter(|one| one.why == WhyUncredited::Bounced).count();
        let back = self.bounces().await;
        assert_eq!(
            bounced, back,
            "each transfer that came back is noted, and credits nobody"
        );
    }

    async fn bounces(&self) -> usize {
        let mine = self.world.transactions(self.wallet.address()).await;
        let bounced = mine
            .iter()
            .filter(|one| matches!(&one.incoming, filature_billing::chain::Incoming::Transfer(got) if got.bounced));
        bounced.count()
    }

    /// What the payee sent back of a message.
    async fn sent_back(&self, payee: Address, created_lt: u64) -> u64 {
        let theirs = self.world.transactions(payee).await;
        let back = theirs
            .iter()
            .filter(|one| one.returned)
            .find_map(|one| match &one.incoming {
                filature_billing::chain::Incoming::Transfer(got) if got.created_lt == created_lt => Some(got.value),
                _ => None,
            });
        back.map_or(0, |value| value.nano().expect("an amount").get())
    }

    /// How many messages the wallet obeyed.
    pub async fn obeyed(&self) -> usize {
        let mine = self.world.transactions(self.wallet.address()).await;
        let obeyed = mine
            .iter()
            .filter(|one| matches!(one.incoming, filature_billing::chain::Incoming::External(_)));
        obeyed.count()
    }

    /// Somebody with the key sends something by hand.
    pub async fn by_hand(&self, amount: u64) {
        let payment = Payment::new(account("cold"), nano(amount));
        self.world.pay(&self.key, &self.wallet, &[payment]).await;
    }

    pub fn balance(&self) -> u64 {
        let state = self.world.devnet.truth(self.wallet.address()).expect("an account");
        state.balance.nano().expect("an amount").get()
    }

    pub fn eyes(&self) -> Devnet {
        self.world.devnet.view()
    }
}
