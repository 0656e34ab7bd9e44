//! What sealing and verifying cost: `cargo run --release -p filature-billing --example bench_seal`.
//!
//! One thread, a local folder. The receipts are about as long as those of real calls. What computes is given in time on the
//! processor, so that company on the machine hardly changes it; what reads and writes in time on the clock.

use std::time::{Duration, Instant};

use filature_billing::{
    CallId, CallOutcome, Chain, Cursors, Epoch, EpochStore, FeeBps, Leg, Nano, Price, ProviderId, ReceiptKey, Tokens,
    TrustedKeys, UsageRecord, verify_epoch, verify_receipt,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

const RECEIPTS: usize = 16_384;
const NOW_MS: u64 = 1_800_000_000_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = StdRng::seed_from_u64(1);
    let key = ReceiptKey::generate(&mut rng);
    let keys = TrustedKeys::new([key.public_hex()]);
    let records: Vec<_> = (0..RECEIPTS).map(|_| record(&key, &mut rng)).collect();
    let calls: Vec<_> = records.iter().map(|record| record.call).collect();

    let (closed, epoch) = timed(|| Epoch::close(None, records, Cursors::new(), NOW_MS, &key));
    let epoch = epoch?;
    let (written, bytes) = timed(|| epoch.to_bytes());
    let bytes = bytes?;
    let (verified, read) = timed(|| verify_epoch(&bytes, &keys));
    read?;
    let mut receipt = key.sign(epoch.records[7].clone())?;
    receipt.inclusion = epoch.inclusion(&receipt.record.call);
    let receipt = serde_json::to_vec(&receipt)?;
    let (checked, receipts) = timed(|| (0..1_000).try_for_each(|_| verify_receipt(&receipt, &keys).map(drop)));
    receipts?;

    let folder = std::env::temp_dir().join(format!("filature-bench-{}", std::process::id()));
    let store = EpochStore::folder(&folder)?;
    let size = bytes.len();
    let begun = Instant::now();
    store.create(0, bytes).await?;
    let stored = begun.elapsed();
    let begun = Instant::now();
    let first = store.find(&calls[0], &keys, NOW_MS).await?;
    let found = begun.elapsed();
    let begun = Instant::now();
    for call in &calls[1..101] {
        assert!(store.find(call, &keys, NOW_MS).await?.is_some());
    }
    let again = begun.elapsed() / 100;
    store.verify(Chain::new(keys), 0, |_| {}).await?;
    assert!(first.is_some());
    std::fs::remove_dir_all(&folder)?;

    let each = |whole: Duration| whole.as_secs_f64() * 1e6 / RECEIPTS as f64;
    println!("an epoch of {RECEIPTS} receipts");
    println!(
        "close (write, hash, sign) {closed:>10.1?}  {:.1} us a receipt",
        each(closed)
    );
    println!(
        "put together              {written:>10.1?}  {} bytes, {} a receipt",
        size,
        size / RECEIPTS
    );
    println!("store durably             {stored:>10.1?}");
    println!(
        "verify the object         {verified:>10.1?}  {:.1} us a receipt",
        each(verified)
    );
    println!(
        "verify one receipt file   {:>10.1?}  {} bytes",
        checked / 1_000,
        receipt.len()
    );
    println!("find a receipt, first     {found:>10.1?}");
    println!("find a receipt, then      {again:>10.1?}");
    Ok(())
}

/// What some work took of this thread's time on the processor (Linux).
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = on_processor();
    let done = work();
    (on_processor() - begun, done)
}

fn on_processor() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

fn record(key: &ReceiptKey, rng: &mut StdRng) -> UsageRecord {
    let nano = |nano: u64| Nano::saturating(nano);
    let tokens = Tokens {
        prompt: 1_234,
        completion: 567,
        ..Tokens::default()
    };
    let price = Price {
        prompt: nano(20_000_000),
        completion: nano(60_000_000),
        ..Price::default()
    };
    let cost = price.cost(&tokens).unwrap_or_default();
    let fee_bps = FeeBps::new(500).unwrap_or_default();
    let (fee, earned) = fee_bps.split(cost);
    let call = CallId::generate(1_799_999_999_000, rng);
    let nonce = key.nonce(&call);
    let id = |text: &str| format!("{text}01HF7YAT00000000000000");
    UsageRecord {
        version: UsageRecord::VERSION,
        call,
        account: id("acct_").parse().expect("an id"),
        key: id("key_").parse().expect("an id"),
        endpoint: "/v1/chat/completions".into(),
        model: "llama-3.3-70b".into(),
        stream: true,
        created_ms: 1_799_999_999_000,
        ended_ms: 1_799_999_999_900,
        first_token_ms: Some(120),
        outcome: CallOutcome::Completed,
        finish_reason: Some("stop".into()),
        legs: vec![Leg {
            provider: ProviderId::parse(&key.public_hex()).expect("an id"),
            from_byte: 0,
            quantization: Some("fp8".into()),
            price,
            tokens,
            cost,
            fee,
            earned,
            served: None,
        }],
        claimed: Some(tokens),
        counted: tokens,
        billed: tokens,
        counted_by: "bytes".into(),
        fee_bps,
        quote: cost,
        cost,
        fee,
        request_hash: Some(nonce.request().all_of(b"request")),
        response_hash: Some(nonce.response().all_of(b"response")),
        nonce_hash: Some(nonce.hash()),
    }
}
