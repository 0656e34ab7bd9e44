//! Keys, addresses and messages of the wallet, against the vectors of other implementations.

use rand::SeedableRng;
use rand::rngs::StdRng;
use tycho_types::models::Message;

use super::*;
use crate::chain::{COMMENT_BYTES_MAX, message::external};

/// From the test vectors of TON's own libraries; nobody's money.
const WORDS: &str = "section garden tomato dinner season dice renew length useful spin trade intact use universe what \
                     post spike keen mandate behind concert egg doll rug";
const WORDS_2: &str = "dose ice enrich trigger test dove century still betray gas diet dune use other base gym mad law \
                       immense village world example praise game";
/// The hash of wallet v5r1's code, as explorers list it.
const CODE_HASH: &str = "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f";

fn wallet(seed: u8) -> (WalletKey, Wallet) {
    let key = WalletKey::from_seed(&[seed; 32]);
    let wallet = Wallet::new(key.public(), Network::Testnet).expect("a wallet");
    (key, wallet)
}

fn payment(to: u8) -> Payment {
    Payment::new(Address::basechain([to; 32]), Nano::saturating(1_000))
}

#[test]
fn words_give_the_key_and_the_address_that_other_wallets_show() {
    let key = WalletKey::parse(WORDS).expect("a key");
    let shown = |network| Wallet::new(key.public(), network).expect("a wallet").address();
    assert_eq!(
        shown(Network::Mainnet).friendly(false, Network::Mainnet),
        "UQDv2YSmlrlLH3hLNOVxC8FcQf4F9eGNs4vb2zKma4txo6i3"
    );
    assert_eq!(
        shown(Network::Testnet).friendly(false, Network::Testnet),
        "0QA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2anN"
    );
    let seed = "119dcf2840a3d56521d260b2f125eedc0d4f3795b9e627269a4b5a6dca8257bd";
    let public = |secret: &str| WalletKey::parse(secret).map(|key| hex::encode(key.public().to_bytes()));
    let wanted = "c04ad1885c127fe863abb00752fa844e6439bb04f264d70de7cea580b32637ab";
    assert_eq!(public(WORDS_2).as_deref(), Ok(wanted));
    assert_eq!(
        public(&WORDS_2.to_uppercase().replace(' ', "\n ")).as_deref(),
        Ok(wanted)
    );
    assert_eq!(public(&format!(" {seed}\n")).as_deref(), Ok(wanted));
}

#[test]
fn a_wrong_secret_says_what_is_wrong_and_not_what_it_is() {
    let refused = |secret: &str| WalletKey::parse(secret).expect_err("no secret");
    assert_eq!(refused(""), WalletKeyError::Count(0));
    assert_eq!(refused("abc"), WalletKeyError::Count(1));
    assert_eq!(refused(&format!("{WORDS} rug")), WalletKeyError::Count(25));
    assert_eq!(refused(&WORDS.replace("tomato", "tomatoe")), WalletKeyError::Word(3));
    assert_eq!(
        refused(&WORDS.replace("egg doll", "doll egg")),
        WalletKeyError::Checksum
    );
    assert!(
        !refused(&WORDS.replace("tomato", "tomatoe"))
            .to_string()
            .contains("tomatoe")
    );
    let key = WalletKey::generate(&mut StdRng::seed_from_u64(1));
    assert_eq!(format!("{key:?}"), "WalletKey(…)");
}

#[test]
fn the_code_is_the_one_that_runs_on_the_mainnet() {
    let code = read_cell(CODE).expect("cells");
    assert_eq!(cell_hash(code.as_ref()).to_string(), CODE_HASH);
}

#[test]
fn the_same_order_gives_the_same_bytes_and_any_other_gives_others() {
    let (key, wallet) = wallet(1);
    let signed = |payments: &[Payment], seqno, until| {
        let unsigned = wallet.prepare(payments, seqno, until).expect("a message");
        unsigned.sign(&key).expect("a signature")
    };
    let first = signed(&[payment(2)], 7, 100);
    assert_eq!(first, signed(&[payment(2)], 7, 100));
    let others = [
        signed(&[payment(3)], 7, 100),
        signed(&[payment(2)], 8, 100),
        signed(&[payment(2)], 7, 101),
        signed(&[payment(2), payment(2)], 7, 100),
    ];
    for other in others {
        assert_ne!(other.hash, first.hash);
    }
}

#[test]
fn the_first_message_deploys_the_wallet_and_its_name_does_not_depend_on_that() {
    let (key, wallet) = wallet(1);
    for (seqno, deploys) in [(0, true), (1, false)] {
        let unsigned = wallet.prepare(&[payment(2)], seqno, 100).expect("a message");
        let signed = unsigned.sign(&key).expect("a signature");
        let cell = read_cell(&signed.bytes).expect("cells");
        let message = cell.parse::<Message<'_>>().expect("a message");
        assert_eq!(message.init.is_some(), deploys);
        let (to, body) = external(&cell).expect("an external message");
        assert_eq!(to, wallet.address());
        assert_eq!(external_hash(to, &body).expect("a hash"), signed.hash);
    }
}

#[test]
fn a_message_that_the_chain_would_not_take_is_not_made() {
    let (key, wallet) = wallet(1);
    let refused = |payments: &[Payment]| wallet.prepare(payments, 1, 100).map(|_| ()).expect_err("too many");
    assert_eq!(refused(&[]), WalletError::Count(0));
    assert_eq!(refused(&vec![payment(2); 255]), WalletError::Count(255));
    // The same comment is one cell; different ones are many.
    let talkative = |n: usize| {
        let comment = format!("{n:0COMMENT_BYTES_MAX$}");
        payment(2).with_comment(&comment).expect("a comment")
    };
    let batch: Vec<_> = (0..BATCH_MAX).map(talkative).collect();
    let unsigned = wallet.prepare(&batch, 1, 100).expect("a message");
    assert!(matches!(unsigned.sign(&key), Err(WalletError::TooLarge(_))));
    let (strangers, _) = self::wallet(2);
    let unsigned = wallet.prepare(&[payment(2)], 1, 100).expect("a message");
    assert_eq!(unsigned.sign(&strangers), Err(WalletError::Signature));
}
