//! What the corpus of receipts, epochs and trailers was made from: one operator's chain of three epochs, from fixed keys.
//!
//! `FILATURE_BLESS=1` writes the files anew. That is for a new form of a record only: files that verified once must go on
//! doing so, for callers keep theirs.

use ed25519_dalek::{Signer, SigningKey};
use filature_billing::{
    AccountId, CallId, CallOutcome, Cursors, Epoch, FeeBps, Hash, KeyId, Leg, Nano, Nonce, Price, ProviderId, Receipt,
    ReceiptKey, Seen, Served, Tokens, UsageRecord,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::driver::folder;

/// What the provider of the samples claims.
pub const TOKENS: Tokens = Tokens {
    prompt: 40,
    cached_prompt: 8,
    completion: 25,
    reasoning: 0,
};
const SALT: Nonce = Nonce::from_bytes([7; 32]);

fn provider_key() -> SigningKey {
    SigningKey::from_bytes(&[11; 32])
}

/// The call that trailers are of, its provider, and what the gateway saw of it.
pub fn call() -> (CallId, ProviderId, Seen) {
    let provider = hex::encode(provider_key().verifying_key().as_bytes());
    let salt = SALT.salt(&ProviderId::parse(&provider).expect("an id"));
    let seen = Seen {
        request_hash: salt.request().all_of(b"the request"),
        response_hash: salt.response().all_of(b"the answer"),
        claimed: Some(TOKENS),
    };
    let call = CallId::parse("gen-01HF7YAT000000000000000000").expect("an id");
    (call, ProviderId::parse(&provider).expect("an id"), seen)
}

fn signed(tokens: Option<Tokens>) -> Served {
    let (call, _, seen) = call();
    let message = Served::message(&call, &seen.request_hash, &seen.response_hash, &tokens);
    Served {
        request_hash: seen.request_hash,
        response_hash: seen.response_hash,
        tokens,
        signature: hex::encode(provider_key().sign(&message).to_bytes()),
    }
}

/// The `n`-th call: by one provider, or taken over by another.
fn record(n: u64, key: &ReceiptKey) -> UsageRecord {
    let (first, signer, _) = call();
    let call = CallId::parse(&format!("gen-01HF7YAT0000000000000000{n:02}")).expect("an id");
    let fee_bps = FeeBps::new(500).expect("in range");
    let leg = |provider: ProviderId, from_byte: u64| {
        let nano = Nano::saturating;
        let price = Price {
            prompt: nano(1_000_000 * (n + 1)),
            completion: nano(3_500_001),
            ..Price::default()
        };
        let cost = price.cost(&TOKENS).expect("small");
        let (fee, earned) = fee_bps.split(cost);
        Leg {
            provider,
            from_byte,
            quantization: n.is_multiple_of(2).then(|| "fp8".to_owned()),
            price,
            tokens: TOKENS,
            cost,
            fee,
            earned,
            served: (call == first).then(|| signed(Some(TOKENS))),
        }
    };
    let mut legs = vec![leg(signer, 0)];
    if n % 3 == 1 {
        legs.push(leg(ProviderId::parse("direct.one").expect("an id"), 17));
    }
    let sum = |part: fn(&Leg) -> Nano| Nano::sum(legs.iter().map(part)).expect("small");
    let (cost, fee) = (sum(|leg| leg.cost), sum(|leg| leg.fee));
    let nonce = key.nonce(&call);
    UsageRecord {
        version: UsageRecord::VERSION,
        call,
        account: AccountId::parse("acct_samples").expect("an id"),
        key: KeyId::parse("key_samples").expect("an id"),
        endpoint: "/v1/chat/completions".into(),
        model: "org/small-é \"7b\"".into(),
        stream: n.is_multiple_of(2),
        created_ms: 1_700_000_000_000 + n,
        ended_ms: 1_700_000_000_900 + n,
        first_token_ms: n.is_multiple_of(2).then_some(80),
        outcome: CallOutcome::Completed,
        finish_reason: Some("stop".into()),
        claimed: Some(TOKENS),
        counted: TOKENS,
        billed: legs.iter().fold(Tokens::default(), |sum, leg| sum.plus(&leg.tokens)),
        counted_by: "o200k_base".into(),
        fee_bps,
        quote: cost.plus(Nano::saturating(1_000)).expect("small"),
        cost,
        fee,
        request_hash: Some(nonce.request().all_of(b"{}")),
        response_hash: Some(Hash::of(b"anything")),
        nonce_hash: Some(nonce.hash()),
        legs,
    }
}

/// Three epochs, of four calls, one, and none.
fn chain(key: &ReceiptKey) -> Vec<Epoch> {
    let mut epochs = Vec::<Epoch>::new();
    for (number, calls) in [(0_u64, 0..4), (1, 4..5), (2, 5..5)] {
        let tip = epochs.last().map(|epoch| epoch.tip().expect("canonical"));
        let cursors = Cursors::from([("00".into(), format!("{number}-0")), ("07".into(), "12-3".into())]);
        let records = calls.map(|n| record(n, key)).collect();
        let now_ms = 1_700_001_000_000 + number * 60_000;
        epochs.push(Epoch::close(tip.as_ref(), records, cursors, now_ms, key).expect("closed"));
    }
    epochs
}

#[test]
fn the_corpus_is_written_anew_where_that_is_asked_for() {
    if std::env::var_os("FILATURE_BLESS").is_none() {
        return;
    }
    let key = ReceiptKey::generate(&mut StdRng::seed_from_u64(1));
    let epochs = chain(&key);
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        std::fs::create_dir_all(folder(target)).expect("a folder");
        std::fs::write(folder(target).join(name), bytes).expect("written");
    };
    for epoch in &epochs {
        let name = format!("{}.jsonl", epoch.seal.header.number);
        write("epoch", &name, epoch.to_bytes().expect("canonical"));
    }
    let seals: Vec<_> = epochs.iter().map(|epoch| &epoch.seal).collect();
    write("seals", "all.json", serde_json::to_vec(&seals).expect("json"));
    write("seals", "two.json", serde_json::to_vec(&seals[..2]).expect("json"));

    let json = |receipt: &Receipt| serde_json::to_vec(receipt).expect("json");
    for (name, at) in [("cosigned.json", 0), ("spliced.json", 1), ("whole.json", 2)] {
        let call = epochs[0].records[at].call;
        let mut receipt = key.sign(epochs[0].records[at].clone()).expect("signed");
        receipt.inclusion = Some(epochs[0].inclusion(&call).expect("sealed"));
        receipt.nonce = Some(key.nonce(&call));
        write("receipt", name, json(&receipt));
    }
    write(
        "receipt",
        "unsealed.json",
        json(&key.sign(epochs[1].records[0].clone()).expect("signed")),
    );

    for (name, tokens) in [("tokens.json", Some(TOKENS)), ("silent.json", None)] {
        write("trailer", name, serde_json::to_vec(&signed(tokens)).expect("json"));
    }
}
