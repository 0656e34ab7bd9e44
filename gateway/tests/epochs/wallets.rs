//! Wallets of tests, and how one is made to pay.

use std::time::{Duration, Instant};

use filature_billing::chain::{Chain, Network, Payment, Wallet, WalletKey};

/// One coin, in nano.
pub const TON: u64 = 1_000_000_000;
/// How long the chain may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long a message that was signed may take to be executed, on the chain's clock.
const VALID_S: u32 = 600;

/// The wallet with this seed.
pub fn wallet(seed: u8) -> (WalletKey, Wallet) {
    let key = WalletKey::from_seed(&[seed; 32]);
    let wallet = Wallet::new(key.public(), Network::Testnet).expect("a wallet");
    (key, wallet)
}

/// Sends what the wallet with this seed orders, and waits until it is done.
pub async fn pay(chain: &dyn Chain, seed: u8, payments: &[Payment]) {
    let (key, wallet) = wallet(seed);
    let seqno = wallet.seqno(chain).await.expect("a seqno");
    let until = chain.head().await.expect("a head").time + VALID_S;
    let signed = wallet.prepare(payments, seqno, until).expect("a message");
    let signed = signed.sign(&key).expect("a signature");
    chain.send(&signed.bytes).await.expect("taken");
    let began = Instant::now();
    while wallet.seqno(chain).await.expect("a seqno") == seqno {
        assert!(began.elapsed() < PATIENCE, "the wallet does not pay");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
