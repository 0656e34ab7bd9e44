use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::money::FeeBps;
use crate::price::{Price, Tokens};
use crate::record::tests::example;

pub(crate) fn key(seed: u64) -> ReceiptKey {
    ReceiptKey::generate(&mut StdRng::seed_from_u64(seed))
}

/// A random record whose every figure is right: one or two of five providers, some of it for nothing.
pub(crate) fn record(rng: &mut StdRng) -> UsageRecord {
    let mut record = example();
    let now_ms = 1_700_000_000_000 + rng.random_range(0..1_000_000);
    record.call = CallId::generate(now_ms, rng);
    record.created_ms = now_ms;
    record.fee_bps = FeeBps::new(rng.random_range(0..=2_000)).expect("in range");
    record.billed = Tokens::default();
    let legs = rng.random_range(1..=2);
    record.legs.truncate(legs);
    for leg in &mut record.legs {
        leg.provider = ProviderId::parse(&format!("provider{}", rng.random_range(0..5))).expect("an id");
        leg.price = Price {
            prompt: Nano::saturating(rng.random_range(0..1_000_000)),
            completion: Nano::saturating(rng.random_range(0..9_000_000)),
            ..Price::default()
        };
        leg.tokens = Tokens {
            prompt: rng.random_range(0..5_000),
            completion: rng.random_range(0..5_000),
            ..Tokens::default()
        };
        leg.cost = leg.price.cost(&leg.tokens).expect("small");
        (leg.fee, leg.earned) = record.fee_bps.split(leg.cost);
        record.billed = record.billed.plus(&leg.tokens);
    }
    record.cost = Nano::sum(record.legs.iter().map(|leg| leg.cost)).expect("small");
    record.fee = Nano::sum(record.legs.iter().map(|leg| leg.fee)).expect("small");
    record.quote = record.cost.plus(Nano::saturating(1_000)).expect("small");
    record
}

pub(crate) fn records(seed: u64, count: usize) -> Vec<UsageRecord> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| record(&mut rng)).collect()
}

/// Epochs of so many receipts each, one after the other.
pub(crate) fn chain(key: &ReceiptKey, counts: &[usize]) -> Vec<Epoch> {
    let mut epochs = Vec::<Epoch>::new();
    for (number, count) in (0_u64..).zip(counts) {
        let tip = epochs.last().map(|epoch| epoch.tip().expect("canonical"));
        let cursors = Cursors::from([("0".into(), format!("{number}-0"))]);
        let now_ms = 1_700_001_000_000 + number * 60_000;
        let epoch = Epoch::close(tip.as_ref(), records(number, *count), cursors, now_ms, key);
        epochs.push(epoch.expect("closed"));
    }
    epochs
}

#[test]
fn the_same_records_in_any_order_give_the_same_bytes() {
    let (key, mut shuffled) = (key(1), records(1, 20));
    let close = |records| Epoch::close(None, records, Cursors::new(), 1_700_001_000_000, &key).expect("closed");
    let bytes = close(shuffled.clone()).to_bytes().expect("canonical");
    for seed in 0..5 {
        shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
        assert_eq!(close(shuffled.clone()).to_bytes().expect("canonical"), bytes);
    }
}

#[test]
fn an_object_is_seal_earnings_and_records_line_by_line() {
    let epoch = &chain(&key(1), &[3])[0];
    let text = String::from_utf8(epoch.to_bytes().expect("canonical")).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1 + epoch.earnings.len() + 3);
    assert!(lines[0].starts_with(r#"{"gateway":""#), "{}", lines[0]);
    assert!(lines[0].contains(r#""header":{"cursors":{"0":"0-0"},"earnings_root":""#));
    assert!(!lines[0].contains("previous"));
    assert!(lines[1].starts_with(r#"{"earned":"#), "{}", lines[1]);
    let record: UsageRecord = serde_json::from_str(lines[lines.len() - 1]).expect("a record");
    assert_eq!(Some(&record), epoch.records.last());
}

#[test]
fn earnings_and_totals_run_on_from_epoch_to_epoch() {
    let epochs = chain(&key(1), &[7, 1, 12]);
    let mut earned = BTreeMap::<_, u64>::new();
    let mut totals = Sums::default();
    for (number, epoch) in (0_u64..).zip(&epochs) {
        for leg in epoch.records.iter().flat_map(|record| &record.legs) {
            *earned.entry(leg.provider.clone()).or_default() += leg.earned.get();
        }
        let stated = epoch.earnings.iter().map(|e| (e.provider.clone(), e.earned.get()));
        assert_eq!(stated.collect::<BTreeMap<_, _>>(), earned);
        let header = &epoch.seal.header;
        totals = totals.plus(&header.sums).expect("small");
        assert_eq!((header.number, header.totals), (number, totals));
        assert_eq!(header.totals.earned.get(), earned.values().sum::<u64>());
    }
    let (first, second) = (&epochs[0].seal, &epochs[1].seal.header);
    assert_eq!(second.previous, Some(first.hash().expect("canonical")));
    assert_eq!(second.from_ms, first.header.to_ms);
}

#[test]
fn time_does_not_run_backwards() {
    let first = chain(&key(1), &[1]).remove(0).tip().expect("canonical");
    let late = Epoch::close(Some(&first), records(9, 1), Cursors::new(), 5, &key(1)).expect("closed");
    assert_eq!(late.seal.header.to_ms, late.seal.header.from_ms);
}

#[test]
fn what_does_not_add_up_is_not_sealed() {
    let close = |records| Epoch::close(None, records, Cursors::new(), 0, &key(1)).map(|_| ());
    let mut twice = records(1, 3);
    twice.push(twice[1].clone());
    assert_eq!(close(twice.clone()), Err(EpochError::Twice(twice[1].call)));
    let mut wrong = records(1, 3);
    wrong[2].cost = wrong[2].cost.plus(Nano::saturating(1)).expect("small");
    let error = close(wrong.clone());
    assert!(
        matches!(error, Err(EpochError::Record { call, .. }) if call == wrong[2].call),
        "{error:?}"
    );
}

#[test]
fn a_leaf_of_earnings_is_the_amount_and_the_provider() {
    let earned = Earned {
        provider: ProviderId::parse("abc").expect("an id"),
        earned: Nano::saturating(258),
    };
    assert_eq!(earned.leaf(), b"\0\0\0\0\0\0\x01\x02abc");
}
