//! Keys, addresses and messages of the wallet, against the vectors of other implementations.

use rand::SeedableRng;
use rand::rngs::StdRng;
use tycho_types::models::{Message, RelaxedMessage, RelaxedMsgInfo};

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
fn a_secret_in_a_file_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("wallet.key");
    let refused = |path: &std::path::Path| WalletKey::load(path).expect_err("no secret");
    assert!(matches!(refused(&path), WalletKeyError::File(_)));
    std::fs::write(&path, format!("{WORDS}\n")).expect("a file");
    let allow = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    allow(0o640);
    assert!(matches!(refused(&path), WalletKeyError::Exposed(_)));
    allow(0o600);
    let key = WalletKey::load(&path).expect("a key");
    assert_eq!(key.public(), WalletKey::parse(WORDS).expect("a key").public());
    std::fs::write(&path, "rug ".repeat(1_000)).expect("a file");
    assert_eq!(refused(&path), WalletKeyError::Count(256));
    std::fs::write(&path, [0xff; 9]).expect("a file");
    assert!(matches!(refused(&path), WalletKeyError::File(_)));
}

#[test]
fn the_code_is_the_one_that_runs_on_the_mainnet() {
    let code = read_cell(CODE).expect("cells");
    assert_eq!(cell_hash(code.as_ref()).to_string(), CODE_HASH);
}

/// Two bodies that wallets of others sent on the mainnet: one with one transfer, one with four.
const SENT: [&str; 2] = [
    "b5ee9c720101040100940001a17369676e7fffff11ffffffff00000000bc04889cb28b36a3a00810e363a413763ec34860bf0fce552c5d36e\
     37289fafd442f1983d740f92378919d969dd530aec92d258a0779fb371d4659f10ca1b3826001020a0ec3c86d030302006642007847b4630eb\
     08d9f486fe846d5496878556dfd5a084f82a9a3fb01224e67c84c187a1200000000000000000000000000000000",
    "b5ee9c7201020a0100014a0001a17369676e7fffff1168f168d80000010db3172ba8e30d093aa36ec6e9e1f1f874cf38fb4a7914c66a0afcb\
     d562ec6b54537629c135ce86700ae64b87dfc85545b34d561a3f7b429512c8cc02edbedc0c2a001020a0ec3c86d030203020a0ec3c86d03040\
     500644200658250f64e6b787bcaa22ed0e90f9a348a637e5f1e9f2c997923bd441a3dd24911389800000000000000000000000000020a0ec3c\
     86d03060700644200658250f64e6b787bcaa22ed0e90f9a348a637e5f1e9f2c997923bd441a3dd249113890000000000000000000000000000\
     20a0ec3c86d03080900644200658250f64e6b787bcaa22ed0e90f9a348a637e5f1e9f2c997923bd441a3dd2491138880000000000000000000\
     0000000000000644200658250f64e6b787bcaa22ed0e90f9a348a637e5f1e9f2c997923bd441a3dd24911388000000000000000000000000000",
];

/// The payments in a list of actions, in the order they are made.
fn payments(list: &Cell) -> Vec<Payment> {
    let mut action = list.as_slice().expect("a list");
    if action.is_refs_empty() {
        return Vec::new();
    }
    let mut made = payments(&action.load_reference_cloned().expect("the actions before"));
    let message = action.load_reference_cloned().expect("a message");
    let message = message.parse::<RelaxedMessage<'_>>().expect("a message");
    let RelaxedMsgInfo::Int(info) = &message.info else {
        panic!("{message:?}");
    };
    let to = Address::of_int(&info.dst).expect("an address");
    let amount = Coins::from(info.value.tokens).nano().expect("an amount");
    made.push(Payment {
        bounce: info.bounce,
        ..Payment::new(to, amount)
    });
    made
}

#[test]
fn an_order_is_written_as_other_wallets_write_it() {
    for (sent, count) in SENT.into_iter().zip([1, 4]) {
        let body = read_cell(&hex::decode(sent).expect("hex")).expect("cells");
        let mut slice = body.as_slice().expect("a body");
        let head: Vec<_> = (0..4).map(|_| slice.load_u32().expect("a number")).collect();
        let [SIGNED, ID_MAINNET, valid_until, seqno] = head[..] else {
            panic!("{head:x?}");
        };
        let made = payments(&slice.load_reference_cloned().expect("a list"));
        assert_eq!(made.len(), count);
        let wallet = Wallet::new(WalletKey::from_seed(&[1; 32]).public(), Network::Mainnet).expect("a wallet");
        let ours = wallet.prepare(&made, seqno, valid_until).expect("a message");
        // All but the signature.
        let mut theirs = CellBuilder::new();
        let bits = body.as_slice().expect("a body").get_prefix(130, 1);
        theirs.store_slice(bits).expect("room");
        assert_eq!(cell_hash(theirs.build().expect("a cell").as_ref()), *ours.digest());
    }
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
    assert_eq!(Signed::of(first.bytes.clone()), Ok(first.clone()));
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
