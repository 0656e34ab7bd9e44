use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::epoch::tests::{chain, key, record, records};
use crate::epoch::{Cursors, Epoch};
use crate::hash::Nonce;
use crate::receipt::ReceiptKey;
use crate::served;

/// A receipt with everything that one can have, as a caller keeps it, of an epoch of thirteen.
fn full_receipt(key: &ReceiptKey) -> Receipt {
    let mut rng = StdRng::seed_from_u64(3);
    let mut record = record(&mut rng);
    let nonce = key.nonce(&record.call);
    record.request_hash = Some(nonce.request().finish());
    record.response_hash = Some(nonce.response().finish());
    record.nonce_hash = Some(nonce.hash());
    let tokens = record.legs[0].tokens;
    let (provider, served) = served::tests::example(&record.call, Some(tokens));
    record.legs[0].provider = provider;
    record.legs[0].served = Some(served);
    let call = record.call;
    let mut all = records(8, 12);
    all.push(record);
    let epoch = Epoch::close(None, all, Cursors::new(), 1_700_001_000_000, key).expect("closed");
    let at = epoch
        .records
        .iter()
        .position(|record| record.call == call)
        .expect("sealed");
    let mut receipt = key.sign(epoch.records[at].clone()).expect("signed");
    receipt.inclusion = epoch.inclusion(&call);
    receipt.nonce = Some(nonce);
    receipt
}

#[test]
fn a_receipt_verifies_however_its_json_is_laid_out() {
    let receipt = full_receipt(&key(1));
    let keys = TrustedKeys::new([key(1).public_hex()]);
    let compact = serde_json::to_vec(&receipt).expect("json");
    let pretty = serde_json::to_vec_pretty(&receipt).expect("json");
    for file in [compact, pretty, serde_jcs::to_vec(&receipt).expect("json")] {
        assert_eq!(verify_receipt(&file, &keys), Ok(receipt.clone()));
    }
    let fault = verify_receipt(
        &serde_json::to_vec(&receipt).expect("json"),
        &TrustedKeys::new([key(2).public_hex()]),
    );
    assert!(matches!(fault.expect_err("a stranger").wrong, Wrong::Stranger(_)));
}

#[test]
fn every_flipped_bit_of_a_receipt_and_its_proof_is_reported() {
    let file = serde_json::to_vec(&full_receipt(&key(1))).expect("json");
    assert!(file.windows(7).any(|w| w == b"\"nonce\"") && file.windows(6).any(|w| w == b"served"));
    for (at, bit) in (0..file.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << bit;
        let context = String::from_utf8_lossy(&file[at.saturating_sub(20)..file.len().min(at + 20)]);
        let fault = verify_receipt(&flipped, &TrustedKeys::default());
        let fault = fault.expect_err(&format!("bit {bit} of byte {at}: {context}"));
        assert!(!fault.to_string().is_empty());
    }
}

#[test]
fn what_was_added_left_out_or_said_twice_is_reported() {
    let file = serde_json::to_string(&full_receipt(&key(1))).expect("json");
    let check = |from: &str, to: &str, wanted: &str| {
        assert!(file.contains(from), "{from} in {file}");
        let fault = verify_receipt(file.replacen(from, to, 1).as_bytes(), &TrustedKeys::default());
        let fault = fault.expect_err(to).to_string();
        assert!(fault.contains(wanted), "{to}: {fault}");
    };
    check("{", "{\"more\":1,", "does not belong there");
    check("\"stream\":true", "\"stream\":true,\"tip\":0", "does not belong there");
    check("\"stream\":true", "\"stream\":true,\"stream\":true", "duplicate field");
    check(",\"first_token_ms\":80", "", "does not belong to this text and key");
    check("\"index\":", "\"index\":1", "is said to be");
    check("\"path\":[\"", "\"path\":[\"00", "64 lowercase hex digits");
    let nonce = file.find("\"nonce\":\"").expect("a nonce");
    let other = format!(
        "{}\"nonce\":\"{}\"{}",
        &file[..nonce],
        "0".repeat(64),
        &file[nonce + 74..]
    );
    let fault = verify_receipt(other.as_bytes(), &TrustedKeys::default()).expect_err("another nonce");
    assert!(fault.to_string().contains("the nonce's hash"), "{fault}");
    let huge = vec![b' '; RECEIPT_BYTES_MAX + 1];
    assert!(verify_receipt(&huge, &TrustedKeys::default()).is_err());
}

#[test]
fn a_gateway_that_signs_wrong_figures_is_found_out() {
    let check = |change: &dyn Fn(&mut UsageRecord), wanted: &str| {
        let mut record = records(5, 1).remove(0);
        change(&mut record);
        let receipt = key(1).sign(record).expect("it adds up");
        let fault = verify_receipt(&serde_json::to_vec(&receipt).expect("json"), &TrustedKeys::default());
        let fault = fault.expect_err(wanted).to_string();
        assert!(fault.contains(wanted), "{fault}");
    };
    let one = Nano::saturating(1);
    check(&|r| r.billed.completion += 1, "what was billed");
    check(
        &|r| {
            r.legs[0].cost = r.legs[0].cost.plus(one).expect("small");
            r.legs[0].earned = r.legs[0].earned.plus(one).expect("small");
            r.cost = r.cost.plus(one).expect("small");
        },
        "the cost of a leg",
    );
    check(
        &|r| {
            let leg = &mut r.legs[0];
            leg.fee = leg.fee.plus(one).expect("small");
            leg.earned = leg.earned.minus(one).expect("enough");
            r.fee = r.fee.plus(one).expect("small");
        },
        "the fee of a leg",
    );
}

#[test]
fn a_cost_that_was_cut_to_the_quote_is_right() {
    let mut record = records(5, 1).remove(0);
    record.legs.truncate(1);
    record.billed = record.legs[0].tokens;
    let cut = record.legs[0].cost.minus(Nano::saturating(1)).expect("enough");
    record.legs[0].cost = cut;
    (record.legs[0].fee, record.legs[0].earned) = record.fee_bps.split(cut);
    (record.cost, record.fee, record.quote) = (cut, record.legs[0].fee, cut);
    assert_eq!(verify_figures(&record), Ok(()));
    record.quote = cut.plus(Nano::saturating(1)).expect("small");
    assert!(verify_figures(&record).is_err());
}

fn objects(counts: &[usize]) -> Vec<Vec<u8>> {
    let epochs = chain(&key(1), counts);
    epochs
        .iter()
        .map(|epoch| epoch.to_bytes().expect("canonical"))
        .collect()
}

fn follow<'a>(objects: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<(), Fault> {
    let mut chain = Chain::new(TrustedKeys::new([key(1).public_hex()]));
    objects
        .into_iter()
        .try_for_each(|object| chain.follow(object).map(drop))
}

#[test]
fn every_flipped_byte_of_every_object_of_a_chain_is_reported_with_its_place() {
    let objects = objects(&[2, 3, 1]);
    assert_eq!(follow(&objects), Ok(()));
    let mut rng = StdRng::seed_from_u64(1);
    for number in 0..objects.len() {
        let mut chain = Chain::new(TrustedKeys::default());
        for before in &objects[..number] {
            chain.follow(before).expect("untouched");
        }
        for at in 0..objects[number].len() {
            let mut flipped = objects[number].clone();
            flipped[at] ^= rng.random_range(1..=255_u8);
            let fault = chain
                .clone()
                .follow(&flipped)
                .expect_err(&format!("byte {at} of {number}"));
            let place = &fault.place;
            assert!(
                place.contains("epoch") || place.contains("line") || place == "the object",
                "{fault}"
            );
        }
    }
}

#[test]
fn an_object_that_says_the_same_in_other_bytes_is_reported() {
    let text = String::from_utf8(objects(&[2]).remove(0)).expect("text");
    for (at, line) in text.lines().enumerate() {
        let spaced = text.replacen(line, &line.replacen(':', ": ", 1), 1);
        let fault = verify_epoch(spaced.as_bytes(), &TrustedKeys::default())
            .expect_err(line)
            .to_string();
        assert!(
            fault.ends_with("it is not the canonical text of what it says"),
            "{fault}"
        );
        assert!(fault.contains(&format!("line {}:", at + 1)), "{fault}");
        let doubled = text.replacen(line, &format!("{line}\n{line}"), 1);
        assert!(
            verify_epoch(doubled.as_bytes(), &TrustedKeys::default()).is_err(),
            "{line}"
        );
    }
}

#[test]
fn every_cut_of_an_object_is_reported() {
    let object = &objects(&[2])[0];
    for length in 0..object.len() {
        assert!(
            verify_epoch(&object[..length], &TrustedKeys::default()).is_err(),
            "{length}"
        );
    }
}

#[test]
fn a_missing_moved_or_repeated_epoch_is_reported() {
    let [a, b, c]: [Vec<u8>; 3] = objects(&[2, 3, 1]).try_into().expect("three");
    for (objects, wanted) in [
        (vec![&b], "epoch 1: the number is said to be Some(1), and is Some(0)"),
        (vec![&a, &c], "epoch 2: the number"),
        (vec![&a, &a], "epoch 0: the number"),
        (vec![&a, &c, &b], "epoch 2: the number"),
    ] {
        let fault = follow(objects).expect_err(wanted).to_string();
        assert!(fault.contains(wanted), "{fault}");
    }
}

/// What an operator can do who holds the key: seal again, rightly signed, but not what was sealed before.
#[test]
fn an_operator_that_rewrites_history_is_found_out() {
    let epochs = chain(&key(1), &[2, 3, 1]);
    let tip = epochs[0].tip().expect("canonical");
    let rewritten = Epoch::close(Some(&tip), records(77, 3), Cursors::new(), 1_700_001_060_000, &key(1));
    let rewritten = rewritten.expect("closed").to_bytes().expect("canonical");
    let [a, _, c]: [Vec<u8>; 3] = objects(&[2, 3, 1]).try_into().expect("three");
    let fault = follow([&a, &rewritten, &c]).expect_err("rewritten").to_string();
    assert!(fault.contains("epoch 2: the hash of the epoch before"), "{fault}");

    // Earnings that do not go on from those before: the same provider is credited too little.
    let mut less = tip.clone();
    let (provider, earned) = less.earnings.iter_mut().next().expect("a provider");
    let provider = provider.clone();
    *earned = earned.minus(Nano::saturating(1)).expect("enough");
    let mut totals = less.seal.header.totals;
    totals.earned = totals.earned.minus(Nano::saturating(1)).expect("enough");
    totals.fee = totals.fee.plus(Nano::saturating(1)).expect("small");
    less.seal.header.totals = totals;
    let forged = Epoch::close(Some(&less), records(1, 3), Cursors::new(), 1_700_001_060_000, &key(1));
    let forged = forged.expect("closed").to_bytes().expect("canonical");
    assert!(
        verify_epoch(&forged, &TrustedKeys::default()).is_ok(),
        "consistent by itself"
    );
    let fault = follow([&a, &forged]).expect_err("too little").to_string();
    assert!(fault.contains("epoch 1: the totals"), "{fault}");

    // The same with a right total: another provider gets what this one was denied.
    let mut moved = tip.clone();
    *moved.earnings.get_mut(&provider).expect("a provider") = less.earnings[&provider];
    let other = moved
        .earnings
        .keys()
        .find(|other| **other != provider)
        .expect("another")
        .clone();
    let more = moved.earnings[&other].plus(Nano::saturating(1)).expect("small");
    moved.earnings.insert(other.clone(), more);
    let forged = Epoch::close(Some(&moved), records(1, 3), Cursors::new(), 1_700_001_060_000, &key(1));
    let forged = forged.expect("closed").to_bytes().expect("canonical");
    let fault = follow([&a, &forged]).expect_err("moved").to_string();
    assert!(fault.contains("what a provider has earned is said to be"), "{fault}");
}

#[test]
fn a_receipt_signed_with_a_newer_key_stands_in_an_older_epoch_for_whoever_names_both() {
    let mut receipt = full_receipt(&key(1));
    receipt.signature = key(2).sign(receipt.record.clone()).expect("signed").signature;
    receipt.gateway = key(2).public_hex();
    receipt.nonce = None;
    let file = serde_json::to_vec(&receipt).expect("json");
    let both = TrustedKeys::new([key(1).public_hex(), key(2).public_hex()]);
    assert_eq!(verify_receipt(&file, &both), Ok(receipt));
    for keys in [TrustedKeys::default(), TrustedKeys::new([key(2).public_hex()])] {
        assert!(verify_receipt(&file, &keys).is_err(), "a stranger sealed it");
    }
}

#[test]
fn a_record_in_an_epoch_with_a_providers_signature_that_does_not_fit_is_reported() {
    let mut all = records(8, 2);
    let (provider, served) = served::tests::example(&all[0].call, Some(all[0].legs[0].tokens));
    all[1].legs[0].provider = provider;
    all[1].legs[0].served = Some(served);
    let call = all[1].call;
    let epoch = Epoch::close(None, all, Cursors::new(), 1_700_001_000_000, &key(1)).expect("closed");
    let at = epoch
        .records
        .iter()
        .position(|record| record.call == call)
        .expect("sealed");
    let fault = verify_epoch(&epoch.to_bytes().expect("canonical"), &TrustedKeys::default());
    let fault = fault.expect_err("not its signature").to_string();
    let line = epoch.earnings.len() + 2 + at;
    assert!(fault.starts_with(&format!("epoch 0, line {line} ({call}")), "{fault}");
    assert!(fault.contains("the provider's signature of leg 0"), "{fault}");
}

#[test]
fn seals_alone_show_that_a_receipts_epoch_is_of_the_chain() {
    let epochs = chain(&key(1), &[2, 3, 1]);
    let mut seals: Vec<_> = epochs.iter().map(|epoch| epoch.seal.clone()).collect();
    let keys = TrustedKeys::new([key(1).public_hex()]);
    assert_eq!(
        verify_seals(&seals, &keys),
        Ok(Some(seals[2].hash().expect("canonical")))
    );
    let call = epochs[1].records[2].call;
    assert_eq!(epochs[1].inclusion(&call).expect("a proof").epoch, seals[1]);
    seals[1].header.to_ms += 1;
    let fault = verify_seals(&seals, &keys).expect_err("forged").to_string();
    assert!(
        fault.starts_with("the seal of epoch 1: the gateway's signature"),
        "{fault}"
    );
}

#[test]
fn a_path_of_seals_leads_from_one_to_a_later_one_and_nowhere_else() {
    let epochs = chain(&key(1), &[2, 3, 1, 2]);
    let seals: Vec<_> = epochs.iter().map(|epoch| epoch.seal.clone()).collect();
    let keys = TrustedKeys::new([key(1).public_hex()]);
    let begun = || SealPath::begin(&seals[1], keys.clone()).expect("a seal");
    let mut path = begun();
    for seal in &seals[2..] {
        path.follow(seal).expect("the next one");
    }
    assert_eq!((path.number(), path.hash()), (3, seals[3].hash().expect("canonical")));
    // Not one that was left out, the same again, the one before, or one of another chain.
    let strange = chain(&key(1), &[2, 2, 1]).remove(2).seal;
    for wrong in [&seals[3], &seals[1], &seals[0], &strange] {
        let mut path = begun();
        path.follow(wrong).expect_err("another one");
        assert_eq!((path.number(), path.hash()), (1, seals[1].hash().expect("canonical")));
    }
    let stranger = TrustedKeys::new([key(2).public_hex()]);
    SealPath::begin(&seals[1], stranger).expect_err("a stranger's");
}

#[test]
fn texts_are_shown_to_be_those_of_the_receipt() {
    let nonce = Nonce::from_bytes([7; 32]);
    let mut record = records(5, 1).remove(0);
    let mut request = nonce.request();
    request.update(b"{}");
    record.request_hash = Some(request.finish());
    record.nonce_hash = Some(nonce.hash());
    let mut receipt = key(1).sign(record).expect("signed");
    assert_eq!(receipt.is_of_request(b"{}"), None, "without its nonce");
    receipt.nonce = Some(nonce);
    assert_eq!(receipt.is_of_request(b"{}"), Some(true));
    assert_eq!(receipt.is_of_request(b"{ }"), Some(false));
    assert_eq!(receipt.is_of_response(b"{}"), None, "no hash");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify_receipt(&bytes, &TrustedKeys::default()).is_err());
        prop_assert!(verify_epoch(&bytes, &TrustedKeys::default()).is_err());
    }

    /// Pieces of a right file, cut out, doubled, moved: what somebody who looks for a hole would try.
    #[test]
    fn no_rearrangement_of_right_bytes_is_right(from in 0.0..1.0, length in 1..400_usize, to in 0.0..1.0, keep: bool) {
        let receipt = serde_json::to_vec(&full_receipt(&key(1))).expect("json");
        let object = objects(&[2]).remove(0);
        for (file, is_receipt) in [(receipt, true), (object, false)] {
            let place = |share: f64| (share * file.len() as f64) as usize;
            let piece = &file[place(from)..file.len().min(place(from) + length)];
            let mut rest = file.clone();
            if !keep {
                rest.drain(place(from)..place(from) + piece.len());
            }
            let at = place(to).min(rest.len());
            let moved = [&rest[..at], piece, &rest[at..]].concat();
            let accepted = if is_receipt {
                verify_receipt(&moved, &TrustedKeys::default()).is_ok()
            } else {
                verify_epoch(&moved, &TrustedKeys::default()).is_ok()
            };
            prop_assert_eq!(accepted, moved == file);
        }
    }
}
