//! Accounts, keys and calls to try a ledger with, and the sums that must always add up.

use std::sync::Arc;

use filature_billing::{
    Account, AccountId, ApiKey, CallId, CallOutcome, Day, Deposit, FeeBps, KeyChange, KeyId, KeyLimits, KeyRecord,
    KeyUse, Ledger, Leg, Nano, Price, ProviderId, Reserve, ReserveError, Tokens, UsageRecord, Withdraw, Withdrawal,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The first moment of every test, in Unix milliseconds.
pub const START_MS: u64 = 1_800_000_000_000;
/// How long a hold lives unless a test says otherwise.
pub const HOLD_MS: u64 = 60_000;

pub fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("an amount")
}

/// A payer: an account and a key of it.
#[derive(Clone, Debug)]
pub struct Payer {
    pub account: AccountId,
    pub key: KeyId,
}

pub struct World {
    pub ledger: Arc<dyn Ledger>,
    pub rng: StdRng,
    pub now_ms: u64,
}

impl World {
    pub fn new(ledger: Arc<dyn Ledger>) -> Self {
        Self {
            ledger,
            rng: StdRng::seed_from_u64(1),
            now_ms: START_MS,
        }
    }

    pub fn call(&mut self) -> CallId {
        CallId::generate(self.now_ms, &mut self.rng)
    }

    pub async fn payer(&mut self, deposit: u64) -> Payer {
        let account = AccountId::generate(&mut self.rng);
        self.ledger
            .create_account(&account, "somebody", self.now_ms)
            .await
            .expect("an account");
        if deposit > 0 {
            let deposit = self.deposit(&account, "first", deposit);
            assert!(self.ledger.deposit(&deposit).await.expect("a deposit").fresh);
        }
        let key = self.key(&account, None).await.0.id;
        Payer { account, key }
    }

    pub async fn key(&mut self, account: &AccountId, expires_ms: Option<u64>) -> (KeyRecord, ApiKey) {
        let secret = ApiKey::generate(&mut self.rng);
        let record = KeyRecord {
            id: KeyId::generate(&mut self.rng),
            account: account.clone(),
            name: "a key".into(),
            hint: secret.hint(),
            created_ms: self.now_ms,
            expires_ms,
            revoked_ms: None,
            limits: KeyLimits::default(),
        };
        self.ledger.create_key(&record, &secret.hash()).await.expect("a key");
        (record, secret)
    }

    /// Gives a payer's key limits.
    pub async fn limit(&self, payer: &Payer, limits: KeyLimits) {
        let change = KeyChange {
            limits: Some(limits),
            ..KeyChange::default()
        };
        let changed = self.ledger.update_key(&payer.key, &change).await;
        assert!(changed.expect("an answer").is_some(), "a key");
    }

    pub async fn key_use(&self, payer: &Payer) -> KeyUse {
        let used = self.ledger.key_use(&payer.account, &payer.key, self.now_ms).await;
        used.expect("an answer").expect("a key")
    }

    pub fn deposit(&self, account: &AccountId, id: &str, amount: u64) -> Deposit {
        let (id, note) = (id.to_owned(), "from a test".to_owned());
        Deposit {
            id,
            account: account.clone(),
            amount: nano(amount),
            note,
            now_ms: self.now_ms,
        }
    }

    pub fn withdraw(&self, account: &AccountId, id: &str, amount: u64) -> Withdraw {
        Withdraw {
            id: id.to_owned(),
            account: account.clone(),
            amount: nano(amount),
            to: "0:0123".to_owned(),
            now_ms: self.now_ms,
        }
    }

    /// Every open withdrawal.
    pub async fn open_withdrawals(&self) -> Vec<Withdrawal> {
        let mut open = Vec::new();
        for shard in self.ledger.shards() {
            open.extend(
                self.ledger
                    .open_withdrawals(shard, usize::MAX)
                    .await
                    .expect("withdrawals"),
            );
        }
        open
    }

    pub fn ask(&mut self, payer: &Payer, quote: u64, quote_min: u64) -> Reserve {
        let (account, key) = (payer.account.clone(), payer.key.clone());
        let (quote, quote_min) = (nano(quote), nano(quote_min));
        let call = self.call();
        Reserve {
            call,
            account,
            key,
            quote,
            quote_min,
            tokens: 0,
            now_ms: self.now_ms,
            expires_ms: self.now_ms + HOLD_MS,
        }
    }

    /// Holds exactly `quote` for a new call.
    pub async fn hold(&mut self, payer: &Payer, quote: u64) -> CallId {
        let ask = self.ask(payer, quote, quote);
        let reserved = self.ledger.reserve(&ask).await.expect("affordable");
        assert_eq!(reserved.held, ask.quote);
        ask.call
    }

    pub async fn try_hold(&mut self, payer: &Payer, quote: u64) -> Result<CallId, ReserveError> {
        let ask = self.ask(payer, quote, quote);
        self.ledger.reserve(&ask).await.map(|_| ask.call)
    }

    /// A call served by one provider.
    pub fn record(&self, payer: &Payer, call: CallId, cost: u64) -> UsageRecord {
        self.record_of(payer, call, &[("provider-a", cost)])
    }

    /// A call served by several providers, each for its cost. The fee is 5 %.
    pub fn record_of(&self, payer: &Payer, call: CallId, costs: &[(&str, u64)]) -> UsageRecord {
        record(payer, call, costs, self.now_ms)
    }

    /// Asserts an account's (available, held, spent), and that everything adds up.
    pub async fn check(&self, payer: &Payer, available: i64, held: u64, spent: u64) {
        let account = self
            .ledger
            .account(&payer.account)
            .await
            .expect("an answer")
            .expect("an account");
        let found = (account.available, account.held.get(), account.spent.get());
        assert_eq!(found, (available, held, spent), "(available, held, spent)");
        check_sums(&*self.ledger).await;
    }
}

/// A call that arrived at `now_ms` and was served by several providers, each for its cost. The fee is 5 %.
pub fn record(payer: &Payer, call: CallId, costs: &[(&str, u64)], now_ms: u64) -> UsageRecord {
    let fee_bps = FeeBps::new(500).expect("in range");
    let tokens = Tokens {
        prompt: 12,
        cached_prompt: 0,
        completion: 34,
        reasoning: 0,
    };
    let legs = costs.iter().map(|&(provider, cost)| {
        let (fee, earned) = fee_bps.split(nano(cost));
        let provider = ProviderId::parse(provider).expect("an id");
        let price = Price {
            call: nano(cost),
            ..Price::default()
        };
        Leg {
            provider,
            from_byte: 0,
            quantization: None,
            price,
            tokens,
            cost: nano(cost),
            fee,
            earned,
            served: None,
        }
    });
    let legs: Vec<_> = legs.collect();
    let cost = Nano::sum(legs.iter().map(|leg| leg.cost)).expect("small");
    UsageRecord {
        version: UsageRecord::VERSION,
        call,
        account: payer.account.clone(),
        key: payer.key.clone(),
        endpoint: "/v1/chat/completions".into(),
        model: "sim-small".into(),
        stream: true,
        created_ms: now_ms,
        ended_ms: now_ms + 1_000,
        first_token_ms: Some(120),
        outcome: CallOutcome::Completed,
        finish_reason: Some("stop".into()),
        claimed: Some(tokens),
        counted: tokens,
        billed: tokens,
        counted_by: "bytes".into(),
        fee_bps,
        quote: cost,
        cost,
        fee: Nano::sum(legs.iter().map(|leg| leg.fee)).expect("small"),
        request_hash: None,
        response_hash: None,
        nonce_hash: None,
        legs,
    }
}

/// Nothing appeared, nothing vanished, and the totals are the sums of what they are totals of.
pub async fn check_sums(ledger: &dyn Ledger) {
    let totals = ledger.totals().await.expect("totals");
    assert!(totals.are_conserved(), "{totals:?}");
    let accounts = ledger.accounts().await.expect("accounts");
    let signed = |amount: Nano| i128::from(amount.get());
    let mut sums = [0_i128; 5];
    for account in &accounts {
        let kept = i128::from(account.available) + signed(account.held) + signed(account.spent);
        assert_eq!(
            kept,
            signed(account.deposited) - signed(account.withdrawn),
            "{account:?}"
        );
        let parts = [
            signed(account.deposited),
            signed(account.withdrawn),
            account.available.into(),
            signed(account.held),
            signed(account.spent),
        ];
        sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        check_keys(ledger, account).await;
    }
    assert_eq!(
        sums,
        [
            signed(totals.deposited),
            signed(totals.withdrawn),
            totals.available,
            signed(totals.held),
            signed(totals.spent)
        ]
    );
    let (mut fees, mut earned) = (0, 0);
    for earnings in ledger.earnings().await.expect("earnings") {
        assert_eq!(earnings.fee.plus(earnings.earned), Ok(earnings.cost), "{earnings:?}");
        fees += earnings.fee.get();
        earned += earnings.earned.get();
    }
    assert_eq!((fees, earned), (totals.fees.get(), totals.earned.get()));
}

/// What the keys of an account hold and spent is what it holds and spent, and their days' use adds up to it.
async fn check_keys(ledger: &dyn Ledger, account: &Account) {
    let (mut spent, mut held) = (0, 0);
    for key in ledger.keys(Some(&account.id)).await.expect("keys") {
        let used = ledger.key_use(&account.id, &key.id, START_MS).await;
        let used = used.expect("an answer").expect("a key");
        let spent_alone = ledger.key_spent(&account.id, &key.id).await;
        assert_eq!(spent_alone, Ok(Some(used.spent)));
        spent += used.spent.get();
        held += used.held.get();
    }
    assert_eq!(
        (spent, held),
        (account.spent.get(), account.held.get()),
        "the sums of the keys"
    );
    let (from, to) = (Day::of(START_MS), Day::of(START_MS).plus(399));
    let usage = ledger.usage(&account.id, from, to).await.expect("usage");
    let cost: u64 = usage.iter().map(|line| line.sums.cost.get()).sum();
    assert_eq!(cost, account.spent.get(), "the sum of the days");
}
