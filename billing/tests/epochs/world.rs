//! A ledger that calls are posted to, a store that they are sealed into, and what must be true of both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use filature_billing::{
    AccountId, ApiKey, CallId, CallOutcome, Chain, Epoch, EpochStore, FeeBps, KeyId, KeyLimits, KeyRecord, Ledger, Leg,
    Nano, Price, ProviderId, Receipt, ReceiptKey, SealSettings, Sealer, Tokens, TrustedKeys, UsageRecord, verify_epoch,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub const START_MS: u64 = 1_800_000_000_000;
/// Closes an epoch with every step that finds a record.
pub const AT_ONCE: SealSettings = SealSettings {
    age_ms: 0,
    receipts_max: 1_000,
};

pub struct World {
    pub ledger: Arc<dyn Ledger>,
    pub store: EpochStore,
    pub key: Arc<ReceiptKey>,
    pub now_ms: u64,
    pub posted: BTreeSet<CallId>,
    accounts: Vec<(AccountId, KeyId)>,
    pub rng: StdRng,
}

impl World {
    /// Posts to this ledger from several accounts, so that in Redis several shards have records.
    pub async fn new(ledger: Arc<dyn Ledger>, store: EpochStore, seed: u64) -> Self {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let key = Arc::new(ReceiptKey::generate(&mut StdRng::seed_from_u64(1)));
        let mut accounts = Vec::new();
        for _ in 0..5 {
            let account = AccountId::generate(&mut rng);
            ledger
                .create_account(&account, "somebody", START_MS)
                .await
                .expect("an account");
            let secret = ApiKey::generate(&mut rng);
            let record = KeyRecord {
                id: KeyId::generate(&mut rng),
                account: account.clone(),
                name: "a key".into(),
                hint: secret.hint(),
                created_ms: START_MS,
                expires_ms: None,
                revoked_ms: None,
                limits: KeyLimits::default(),
            };
            ledger.create_key(&record, &secret.hash()).await.expect("a key");
            accounts.push((account, record.id));
        }
        Self {
            ledger,
            store,
            key,
            now_ms: START_MS,
            posted: BTreeSet::new(),
            accounts,
            rng,
        }
    }

    pub fn keys(&self) -> TrustedKeys {
        TrustedKeys::new([self.key.public_hex()])
    }

    pub fn sealer(&self, settings: SealSettings) -> Sealer {
        self.sealer_into(self.store.clone(), settings)
    }

    pub fn sealer_into(&self, store: EpochStore, settings: SealSettings) -> Sealer {
        let (ledger, key) = (Arc::clone(&self.ledger), Arc::clone(&self.key));
        Sealer::new(ledger, store, key, TrustedKeys::default(), settings)
    }

    /// Posts so many calls. None of them was reserved: a post that comes late charges all the same.
    pub async fn post(&mut self, calls: usize) {
        for _ in 0..calls {
            self.now_ms += 1;
            let record = self.record();
            let posted = self.ledger.post(&record, self.now_ms).await.expect("posted");
            assert!(posted.fresh);
            self.posted.insert(record.call);
        }
    }

    /// The receipt of a call with the proof that it is sealed, as a gateway gives it out.
    pub async fn receipt(&self, call: &CallId) -> Option<Receipt> {
        let found = self.store.find(call, &self.keys(), self.now_ms).await;
        let (record, inclusion) = found.expect("an answer")?;
        let mut receipt = self.key.sign(record).expect("it adds up");
        receipt.inclusion = Some(inclusion);
        Some(receipt)
    }

    /// A record whose every figure is right.
    pub fn record(&mut self) -> UsageRecord {
        let (account, key) = self.accounts[self.rng.random_range(0..self.accounts.len())].clone();
        record(&mut self.rng, account, key, self.now_ms)
    }

    /// Every posted call is in exactly one place, an epoch or the ledger's stream, and every provider has earned there
    /// what the ledger says.
    pub async fn check(&self) {
        let epochs = self.epochs().await;
        let mut calls = BTreeSet::new();
        let mut earned = BTreeMap::<ProviderId, u64>::new();
        for record in epochs.iter().flat_map(|epoch| &epoch.records) {
            assert!(calls.insert(record.call), "{} is sealed twice", record.call);
        }
        for one in epochs.last().map(|epoch| epoch.earnings.clone()).unwrap_or_default() {
            earned.insert(one.provider, one.earned.get());
        }
        for record in self.unsealed().await {
            assert!(
                calls.insert(record.call),
                "{} is sealed and was not trimmed",
                record.call
            );
            for leg in record.legs {
                *earned.entry(leg.provider).or_default() += leg.earned.get();
            }
        }
        assert_eq!(calls, self.posted, "sealed and unsealed calls are the posted ones");
        let ledger = self.ledger.earnings().await.expect("an answer");
        let ledger: BTreeMap<_, _> = ledger.into_iter().map(|e| (e.provider, e.earned.get())).collect();
        earned.retain(|_, nano| *nano > 0);
        assert_eq!(earned, ledger.into_iter().filter(|(_, nano)| *nano > 0).collect());
    }

    /// All epochs, verified as one chain.
    pub async fn epochs(&self) -> Vec<Epoch> {
        let Some(last) = self.store.last().await.expect("an answer") else {
            return Vec::new();
        };
        let mut seals = 0;
        let chain = self.store.verify(Chain::new(self.keys()), last, |_| seals += 1).await;
        let chain = chain.expect("the chain is right");
        assert_eq!(seals, last + 1);
        assert_eq!(chain.tip().map(|tip| tip.seal.header.number), Some(last));
        let mut epochs = Vec::new();
        for number in 0..=last {
            let object = self.store.object(number).await.expect("an object");
            epochs.push(verify_epoch(&object, &self.keys()).expect("right"));
        }
        epochs
    }

    pub async fn unsealed(&self) -> Vec<UsageRecord> {
        let mut records = Vec::new();
        for shard in self.ledger.shards() {
            let page = self.ledger.unsealed(shard, None, 4_096).await.expect("an answer");
            records.extend(page.into_iter().map(|(_, record)| record));
        }
        records
    }
}

pub fn record(rng: &mut StdRng, account: AccountId, key: KeyId, now_ms: u64) -> UsageRecord {
    let tokens = Tokens {
        prompt: rng.random_range(1..5_000),
        completion: rng.random_range(1..5_000),
        ..Tokens::default()
    };
    let nano = |nano: u64| Nano::new(nano).expect("small");
    let price = Price {
        prompt: nano(rng.random_range(0..1_000_000)),
        completion: nano(rng.random_range(1..9_000_000)),
        ..Price::default()
    };
    let cost = price.cost(&tokens).expect("small");
    let fee_bps = FeeBps::new(500).expect("in range");
    let (fee, earned) = fee_bps.split(cost);
    let leg = Leg {
        provider: ProviderId::parse(&format!("provider{}", rng.random_range(0..7))).expect("an id"),
        from_byte: 0,
        quantization: None,
        price,
        tokens,
        cost,
        fee,
        earned,
        served: None,
    };
    UsageRecord {
        version: UsageRecord::VERSION,
        call: CallId::generate(now_ms, rng),
        account,
        key,
        endpoint: "/v1/chat/completions".into(),
        model: "sim-small".into(),
        stream: true,
        created_ms: now_ms,
        ended_ms: now_ms,
        first_token_ms: None,
        outcome: CallOutcome::Completed,
        finish_reason: None,
        legs: vec![leg],
        claimed: Some(tokens),
        counted: tokens,
        billed: tokens,
        counted_by: "bytes".into(),
        fee_bps,
        quote: cost,
        cost,
        fee,
        request_hash: None,
        response_hash: None,
        nonce_hash: None,
    }
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &PathBuf) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
