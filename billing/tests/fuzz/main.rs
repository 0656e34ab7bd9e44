//! Fuzz targets: what must hold of any bytes that claim to be a receipt, an epoch, or what a provider signed. `driver`
//! says how they are run, `samples` what their corpus was made from.

#[path = "../../../openapi/tests/fuzz/driver.rs"]
mod driver;
mod samples;

use std::collections::BTreeSet;

use filature_billing::{
    AccountId, CallId, Chain, Cursor, Day, Hash, KeyId, Nano, Receipt, Seen, Served, TrustedKeys, verify_epoch,
    verify_receipt, verify_seals,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::Value;

use self::driver::{Sample, corpus, fuzz, fuzz_one_byte};

const RECEIPT: [&str; 14] = [
    "\"record\":",
    "\"gateway\":",
    "\"signature\":",
    "\"nonce\":",
    "\"inclusion\":",
    "\"path\":[",
    "\"index\":1,",
    "\"version\":1,",
    "\"legs\":[",
    "\"served\":",
    "\"tokens\":",
    "\"cost\":",
    "\"fee\":",
    "\"request_hash\":",
];
const EPOCH: [&str; 9] = [
    "\"header\":",
    "\"number\":",
    "\"previous\":",
    "\"sums\":",
    "\"totals\":",
    "\"providers\":",
    "\"earned\":",
    "\"provider\":",
    "\"cursors\":{",
];

/// The files of a corpus that are what they claim to be: of those every byte counts.
fn right(target: &str, is_right: impl Fn(&[u8]) -> bool) -> Vec<Sample> {
    let mut samples = corpus(target);
    samples.retain(|(_, bytes)| is_right(bytes));
    assert!(samples.len() > 1, "the corpus of {target} holds what is right");
    samples
}

fn any_key() -> TrustedKeys {
    TrustedKeys::default()
}

fn is_receipt(file: &[u8]) -> bool {
    verify_receipt(file, &any_key()).is_ok()
}

#[test]
fn no_receipt_verifies_that_nobody_signed() {
    let lines = right("receipt", is_receipt)
        .into_iter()
        .map(|(_, file)| line(&file))
        .collect::<BTreeSet<_>>();
    fuzz("receipt", &RECEIPT, |file| {
        let Ok(receipt) = verify_receipt(file, &any_key()) else {
            return Ok(());
        };
        prop_assert!(
            lines.contains(&receipt.line().expect("canonical")),
            "what is signed is what was signed"
        );
        let (said, stated) = (
            serde_json::to_value(&receipt).expect("json"),
            serde_json::from_slice::<Value>(file),
        );
        prop_assert_eq!(said, stated.expect("json"), "nothing is said that nobody signed");
        let again = serde_json::to_vec(&receipt).expect("json");
        prop_assert_eq!(verify_receipt(&again, &any_key()), Ok(receipt));
        Ok(())
    });
}

fn line(file: &[u8]) -> Vec<u8> {
    let receipt: Receipt = serde_json::from_slice(file).expect("a receipt");
    receipt.line().expect("canonical")
}

#[test]
fn no_byte_of_a_receipt_and_its_proof_can_be_another() {
    fuzz_one_byte("receipt", right("receipt", is_receipt), |wrong, _| {
        let fault = verify_receipt(wrong, &any_key());
        prop_assert!(fault.is_err_and(|fault| !fault.to_string().is_empty()));
        Ok(())
    });
}

fn is_epoch(object: &[u8]) -> bool {
    verify_epoch(object, &any_key()).is_ok()
}

#[test]
fn no_epoch_verifies_that_nobody_sealed() {
    let words: Vec<_> = RECEIPT.into_iter().chain(EPOCH).collect();
    let sealed = right("epoch", is_epoch)
        .into_iter()
        .map(|(_, object)| object)
        .collect::<BTreeSet<_>>();
    fuzz("epoch", &words, |object| {
        if let Ok(epoch) = verify_epoch(object, &any_key()) {
            prop_assert_eq!(
                epoch.to_bytes().expect("canonical"),
                object,
                "there is one way to write it"
            );
            prop_assert!(sealed.contains(object), "what is sealed is what was sealed");
        }
        Ok(())
    });
}

#[test]
fn no_byte_of_an_epoch_can_be_another() {
    fuzz_one_byte("epoch", right("epoch", is_epoch), |wrong, _| {
        prop_assert!(verify_epoch(wrong, &any_key()).is_err());
        Ok(())
    });
}

/// The corpus holds a chain of three epochs: whatever is followed in their place is one of them, in its place.
#[test]
fn a_chain_has_no_other_links() {
    let links: Vec<_> = right("epoch", is_epoch).into_iter().map(|(_, object)| object).collect();
    let mut chain = Chain::new(any_key());
    let mut places = vec![chain.clone()];
    for link in &links {
        chain.follow(link).expect("the corpus is a chain");
        places.push(chain.clone());
    }
    fuzz("epoch", &EPOCH, |object| {
        for (place, chain) in places.iter().enumerate() {
            if chain.clone().follow(object).is_ok() {
                prop_assert_eq!(Some(object), links.get(place).map(Vec::as_slice));
            }
        }
        Ok(())
    });
}

#[test]
fn a_list_of_seals_is_that_of_the_chain_or_refused() {
    let seals: Vec<_> = right("epoch", is_epoch)
        .iter()
        .map(|(_, object)| verify_epoch(object, &any_key()).expect("right").seal)
        .collect();
    fuzz("seals", &EPOCH, |text| {
        if let Ok(read) = serde_json::from_slice::<Vec<_>>(text)
            && verify_seals(&read, &any_key()).is_ok()
        {
            prop_assert!(seals.starts_with(&read), "a chain is followed from its beginning");
        }
        Ok(())
    });
}

/// What an agent sends behind an answer, as the gateway reads it.
#[test]
fn no_trailer_fits_a_call_that_no_provider_signed() {
    let right = right("trailer", |trailer| fits(trailer).is_some());
    let signed: Vec<_> = right.iter().filter_map(|(_, trailer)| fits(trailer)).collect();
    fuzz(
        "trailer",
        &[
            "\"request_hash\":",
            "\"response_hash\":",
            "\"tokens\":null,",
            "\"signature\":",
        ],
        |trailer| {
            if let Some(served) = fits(trailer) {
                prop_assert!(signed.contains(&served));
                let again = serde_json::to_vec(&served).expect("json");
                prop_assert_eq!(fits(&again), Some(served));
            }
            Ok(())
        },
    );
    fuzz_one_byte("trailer", right, |wrong, _| {
        prop_assert!(fits(wrong).is_none());
        Ok(())
    });
}

/// What a trailer says, if the provider of the samples signed it of their call.
fn fits(trailer: &[u8]) -> Option<Served> {
    let (call, provider, seen) = samples::call();
    let served: Served = serde_json::from_slice(trailer).ok()?;
    let seen = |claimed| Seen { claimed, ..seen };
    let claims = [Some(samples::TOKENS), None];
    claims
        .into_iter()
        .any(|claimed| served.check(&call, &provider, &seen(claimed)).is_ok())
        .then_some(served)
}

/// What comes in headers, paths and queries: what is read is written the same.
#[test]
fn an_id_has_one_spelling() {
    fuzz(
        "id",
        &["gen-", "acct_", "key_", "T", "-", ".", "L", "O", "U", "0", "Z"],
        |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return Ok(());
            };
            check_spelling(text)
        },
    );
}

fn check_spelling(text: &str) -> TestCaseResult {
    if let Ok(call) = CallId::parse(text) {
        prop_assert_eq!(call.to_string(), text);
    }
    if let Ok(account) = text.parse::<AccountId>() {
        prop_assert_eq!(account.as_str(), text);
        prop_assert!(text.len() <= 128);
    }
    if let Ok(key) = text.parse::<KeyId>() {
        prop_assert_eq!(key.as_str(), text);
    }
    if let Some(hash) = Hash::parse(text) {
        prop_assert_eq!(hash.to_string(), text);
    }
    if let Ok(day) = text.parse::<Day>() {
        prop_assert_eq!(day.to_string(), text);
    }
    if let Ok(amount) = Nano::parse_ton(text) {
        prop_assert!(amount <= Nano::MAX);
        prop_assert_eq!(Nano::parse_ton(&amount.to_string()), Ok(amount));
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    Ok(())
}
