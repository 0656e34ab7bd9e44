//! What paying 5,000 providers in one round costs, and how long it takes: `make bench-settle`.
//!
//! On the devnet in this process, which runs the real contracts under the mainnet's fees of 2026, with books and epoch in a
//! local folder. Half of the payees have a wallet, which may send a payment back and is followed for that; half have none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use filature_billing::chain::{
    Address, BATCH_MAX, Body, Chain, Coins, Devnet, DevnetSettings, Incoming, Network, PAGE_MAX, Payment, Position,
    Wallet, WalletKey,
};
use filature_billing::settle::{Done, Parties, Payees, SettleSettings, Settler, Terms, Waiting};
use filature_billing::{
    CallId, CallOutcome, Cursors, Epoch, EpochStore, FeeBps, Hash, Leg, Nano, Price, ProviderId, ReceiptKey, Tokens,
    TrustedKeys, UsageRecord,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

const PAYEES: usize = 5_000;
const TON: u64 = 1_000_000_000;
/// What a payee is to cost at most, and an anchor, in nano.
const GOALS: (u64, u64) = (200_000, 600_000);

type Failed = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let out = std::env::args().nth(1).map(PathBuf::from);
    let folder = std::env::temp_dir().join(format!("filature-bench-{}", std::process::id()));
    let measured = bench(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    let Measured {
        messages,
        per_payee,
        per_anchor,
        per_message,
        paid,
        seconds,
    } = measured?;
    let verdict = |is: u64, goal: u64| if is <= goal { "met" } else { "MISSED" };
    println!("| {PAYEES} providers, one round | | goal | |");
    println!("|---|---:|---:|---|");
    println!("| paid, TON | {paid} | | to the nano |");
    println!("| messages of the wallet | {messages} | | an anchor, and batches of {BATCH_MAX} |");
    println!(
        "| nano per payee | {per_payee} | {} | {} |",
        GOALS.0,
        verdict(per_payee, GOALS.0)
    );
    println!(
        "| nano per anchor | {per_anchor} | {} | {} |",
        GOALS.1,
        verdict(per_anchor, GOALS.1)
    );
    println!(
        "| nano for the wallet's message around an anchor | {per_message} | | one more for every {BATCH_MAX} payees, counted there |"
    );
    println!("| seconds | {seconds:.1} | | |");
    let json = serde_json::json!({
        "payees": PAYEES,
        "messages": messages,
        "nano_per_payee": per_payee,
        "nano_per_anchor": per_anchor,
        "nano_per_message": per_message,
        "seconds": seconds,
    });
    if let Some(out) = out {
        std::fs::create_dir_all(out.parent().ok_or("a file in no folder")?)?;
        std::fs::write(&out, format!("{json}\n"))?;
    }
    Ok(())
}

struct Measured {
    messages: u64,
    per_payee: u64,
    per_anchor: u64,
    per_message: u64,
    paid: Nano,
    seconds: f64,
}

async fn bench(folder: &std::path::Path) -> Result<Measured, Failed> {
    let devnet = Devnet::open(DevnetSettings::default())?;
    let key = WalletKey::from_seed(&[1; 32]);
    let wallet = Wallet::new(key.public(), Network::Testnet)?;
    give(&devnet, wallet.address(), 100_000 * TON)?;
    let contract = deploy(&devnet, &key, &wallet).await?;
    let per_message = message_costs(&devnet, &key, &wallet).await?;
    let mut payees = Payees::new();
    for n in 0..PAYEES {
        let provider: ProviderId = format!("provider-{n:05}").parse()?;
        payees.insert(provider, payee(&devnet, n).await?);
    }
    let seal = ReceiptKey::generate(&mut StdRng::seed_from_u64(1));
    let store = EpochStore::folder(folder)?;
    store.create(0, epoch(&payees, &seal)?).await?;
    let settings = SettleSettings::new(contract);
    let keys = TrustedKeys::new([seal.public_hex()]);
    let chain = Arc::new(devnet.clone());
    let mut settler = Settler::new(chain, store, keys, wallet.clone(), Arc::new(key), settings);

    let balance = || devnet.truth(wallet.address()).map(|state| state.balance.get());
    let before = balance()?;
    let (mut messages, mut after_anchor) = (0, before);
    let begun = Instant::now();
    loop {
        match settler.step(&payees).await? {
            Done::Signed { .. } => messages += 1,
            Done::Anchored { .. } => after_anchor = balance()?,
            Done::Waits(Waiting::NothingDue) => break,
            Done::Waits(why) => return Err(why.into()),
            _ => {}
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = balance()?;
    let (count, paid) = settler.books().await?.round().ok_or("no round")?.paid();
    check(&devnet, &payees, count).await?;

    let anchor = devnet.transactions(contract, Position::START, PAGE_MAX).await?;
    let anchor = anchor.last().ok_or("no anchor")?;
    let Incoming::Transfer(told) = &anchor.incoming else {
        return Err("the contract's last transaction is no anchor".into());
    };
    // What the contract was given and did not spend is still the operator's.
    let per_anchor = before - after_anchor - told.value.get() + anchor.fees.get() - per_message;
    let fees = after_anchor - after - u128::from(paid.get());
    Ok(Measured {
        messages,
        per_payee: u64::try_from(fees.div_ceil(PAYEES as u128))?,
        per_anchor: u64::try_from(per_anchor)?,
        per_message: u64::try_from(per_message)?,
        paid,
        seconds,
    })
}

fn give(devnet: &Devnet, to: Address, amount: u64) -> Result<(), Failed> {
    Ok(devnet.give(to, Coins::from(Nano::new(amount)?), &Body::default())?)
}

async fn deploy(devnet: &Devnet, key: &WalletKey, wallet: &Wallet) -> Result<Address, Failed> {
    let named = |name: &str| Address::basechain(*Hash::of(name.as_bytes()).as_bytes());
    let parties = Parties {
        owner: named("owner"),
        operator: wallet.address(),
        arbiter: named("arbiter"),
        forfeit_to: named("forfeit"),
        draw_limit: Nano::ZERO,
        terms: Terms::default(),
    };
    let init = parties.init()?;
    let contract = Address::of_contract(&init)?;
    let payment = Payment {
        init: Some(init),
        ..Payment::new(contract, Nano::new(2 * TON)?)
    };
    send(devnet, key, wallet, &[payment]).await?;
    Ok(contract)
}

/// What a message of the wallet costs before it orders anything: by how much one payment costs more than half of two.
async fn message_costs(devnet: &Devnet, key: &WalletKey, wallet: &Wallet) -> Result<u128, Failed> {
    let balance = || devnet.truth(wallet.address()).map(|state| state.balance.get());
    let payment = Payment::new(Address::basechain([7; 32]), Nano::new(1)?);
    let begun = balance()?;
    send(devnet, key, wallet, std::slice::from_ref(&payment)).await?;
    let one = balance()?;
    send(devnet, key, wallet, &[payment.clone(), payment]).await?;
    Ok(2 * (begun - one) - (one - balance()?))
}

async fn send(devnet: &Devnet, key: &WalletKey, wallet: &Wallet, payments: &[Payment]) -> Result<(), Failed> {
    let seqno = wallet.seqno(devnet).await?;
    let signed = wallet.prepare(payments, seqno, devnet.now() + 60)?.sign(key)?;
    devnet.send(&signed.bytes).await?;
    Ok(())
}

/// Every other payee has a wallet that is in use.
async fn payee(devnet: &Devnet, n: usize) -> Result<Address, Failed> {
    let seed = Hash::of(&n.to_be_bytes());
    if !n.is_multiple_of(2) {
        return Ok(Address::basechain(*seed.as_bytes()));
    }
    let key = WalletKey::from_seed(seed.as_bytes());
    let wallet = Wallet::new(key.public(), Network::Testnet)?;
    give(devnet, wallet.address(), TON)?;
    let first = Payment::new(Address::basechain([7; 32]), Nano::new(1)?);
    send(devnet, &key, &wallet, &[first]).await?;
    Ok(wallet.address())
}

/// Every payee has got what its provider earned, by the chain.
async fn check(devnet: &Devnet, payees: &Payees, paid: usize) -> Result<(), Failed> {
    if paid != PAYEES {
        return Err(format!("only {paid} of {PAYEES} were paid").into());
    }
    for (n, payee) in payees.values().enumerate() {
        let history = devnet.transactions(*payee, Position::START, PAGE_MAX).await?;
        let got = history.last().and_then(|last| last.credited()).map(|gift| gift.value);
        if got != Some(earned(n).into()) {
            return Err(format!("payee {n} got {got:?} and not {}", earned(n)).into());
        }
    }
    Ok(())
}

fn earned(n: usize) -> Nano {
    Nano::saturating(2 * TON + n as u64)
}

/// An epoch in which provider `n` earned [`earned`].
fn epoch(payees: &Payees, seal: &ReceiptKey) -> Result<Vec<u8>, Failed> {
    const NOW_MS: u64 = 1_800_000_000_000;
    let mut rng = StdRng::seed_from_u64(2);
    let legs = payees.keys().enumerate().map(|(n, provider)| Leg {
        provider: provider.clone(),
        from_byte: 0,
        quantization: None,
        price: Price {
            call: earned(n),
            ..Price::default()
        },
        tokens: Tokens::default(),
        cost: earned(n),
        fee: Nano::ZERO,
        earned: earned(n),
        served: None,
    });
    let id = |text: &str| format!("{text}01HF7YAT00000000000000");
    let record = |leg: Leg| -> Result<UsageRecord, Failed> {
        Ok(UsageRecord {
            version: UsageRecord::VERSION,
            call: CallId::generate(NOW_MS, &mut rng),
            account: id("acct_").parse()?,
            key: id("key_").parse()?,
            endpoint: "/v1/chat/completions".into(),
            model: "llama-3.3-70b".into(),
            stream: true,
            created_ms: NOW_MS,
            ended_ms: NOW_MS,
            first_token_ms: None,
            outcome: CallOutcome::Completed,
            finish_reason: None,
            cost: leg.cost,
            quote: leg.cost,
            legs: vec![leg],
            claimed: None,
            counted: Tokens::default(),
            billed: Tokens::default(),
            counted_by: "bytes".into(),
            fee_bps: FeeBps::default(),
            fee: Nano::ZERO,
            request_hash: None,
            response_hash: None,
            nonce_hash: None,
        })
    };
    let records = legs.map(record).collect::<Result<Vec<_>, _>>()?;
    Ok(Epoch::close(None, records, Cursors::new(), NOW_MS, seal)?.to_bytes()?)
}
