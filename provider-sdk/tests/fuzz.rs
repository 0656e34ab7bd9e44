//! Fuzz targets: what must hold of any bytes that a provider's agent answers a gateway with. `driver` says how they are
//! run.

#[path = "../../openapi/tests/fuzz/driver.rs"]
mod driver;

use filature_provider_sdk::offer::{MODELS_MAX, NAME_BYTES_MAX, PRICE_NANO_MAX};
use filature_provider_sdk::tunnel::{Hello, Status, sign_hello, verify_hello};
use filature_provider_sdk::{ModelOffer, Offer, OfferPrice, ProviderKey, SignedOffer};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};

use self::driver::{Sample, corpus, folder, fuzz, fuzz_one_byte};

/// When the offers of the corpus are read, in milliseconds of Unix time: an hour before they end.
const NOW_MS: u64 = 1_790_000_000_000;
const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const AUTHORITY: &str = "gate.example:8080";
const OFFER: [&str; 14] = [
    "\"offer\":",
    "\"signature\":",
    "\"version\":1,",
    "\"provider\":",
    "\"models\":[",
    "\"model\":",
    "\"price\":{",
    "\"prompt\":",
    "\"sequence\":",
    "\"expires_at_ms\":",
    "\"capabilities\":[",
    "\"endpoints\":[",
    "\"chat\"",
    "\"payout\":",
];

fn key() -> ProviderKey {
    ProviderKey::from_seed(&[5; 32])
}

fn read_offer(bytes: &[u8]) -> Option<(Value, Offer)> {
    let signed: SignedOffer = serde_json::from_slice(bytes).ok()?;
    let offer = signed.verify(NOW_MS).ok()?;
    Some((signed.offer, offer))
}

/// The files of a corpus that are what they claim to be.
fn right<T>(target: &str, read: impl Fn(&[u8]) -> Option<T>) -> Vec<Sample> {
    let mut samples = corpus(target);
    samples.retain(|(_, bytes)| read(bytes).is_some());
    assert!(!samples.is_empty(), "the corpus of {target} holds what is right");
    samples
}

#[test]
fn no_offer_holds_that_its_provider_did_not_sign() {
    let signed: Vec<_> = right("offer", read_offer)
        .iter()
        .filter_map(|(_, bytes)| read_offer(bytes))
        .collect();
    fuzz("offer", &OFFER, |bytes| {
        let Some((said, offer)) = read_offer(bytes) else {
            return Ok(());
        };
        prop_assert!(signed.contains(&(said.clone(), offer.clone())), "{:?}", said);
        check_bounds(&offer)?;
        let again = SignedOffer::sign(&offer, &key()).expect("its own key");
        prop_assert_eq!(again.verify(NOW_MS), Ok(offer), "what is read can be signed again");
        Ok(())
    });
}

/// What gateways count on.
fn check_bounds(offer: &Offer) -> TestCaseResult {
    prop_assert!((1..=MODELS_MAX).contains(&offer.models.len()) && offer.expires_at_ms > NOW_MS);
    for model in &offer.models {
        prop_assert!((1..=NAME_BYTES_MAX).contains(&model.model.len()));
        prop_assert!(model.output_tokens_max > 0 && model.output_tokens_max <= model.context_tokens_max);
        let OfferPrice {
            prompt,
            cached_prompt,
            completion,
            reasoning,
            call,
        } = model.price;
        let prices = [prompt, cached_prompt, completion, reasoning, call];
        prop_assert!(prices.into_iter().all(|nano| nano <= PRICE_NANO_MAX) && model.concurrency_max > 0);
    }
    Ok(())
}

#[test]
fn no_byte_of_an_offer_can_be_another() {
    fuzz_one_byte("offer", right("offer", read_offer), |wrong, _| {
        prop_assert!(read_offer(wrong).is_none());
        Ok(())
    });
}

fn read_hello(bytes: &[u8]) -> Option<(Hello, Offer)> {
    let hello: Hello = serde_json::from_slice(bytes).ok()?;
    let offer = verify_hello(&hello, CHALLENGE, AUTHORITY, NOW_MS).ok()?;
    Some((hello, offer))
}

#[test]
fn no_hello_is_believed_but_the_one_that_was_signed() {
    let right = right("hello", read_hello);
    let signed: Vec<_> = right.iter().filter_map(|(_, bytes)| read_hello(bytes)).collect();
    fuzz("hello", &["\"proof\":", "\"agent\":", "\"offer\":"], |bytes| {
        if let Some((hello, offer)) = read_hello(bytes) {
            prop_assert!(
                signed
                    .iter()
                    .any(|(one, of)| *of == offer && one.offer == hello.offer && one.proof == hello.proof)
            );
        }
        Ok(())
    });
    fuzz_one_byte("hello", right, |wrong, right| {
        // The agent's name is for people, and not signed.
        let named = |bytes| read_hello(bytes).map(|(hello, offer)| (hello.agent, offer));
        let (found, wanted) = (named(wrong), named(right));
        prop_assert!(found.is_none() || found.as_ref().map(|(name, _)| name) != wanted.as_ref().map(|(name, _)| name));
        Ok(())
    });
}

#[test]
fn a_status_is_read_as_it_is_written() {
    let words = [
        "\"running\":",
        "\"waiting\":",
        "\"engine_running\":",
        "\"cache_use\":",
        "\"draining\":",
        "\"sequence\":",
    ];
    fuzz("status", &words, |bytes| {
        if let Ok(status) = serde_json::from_slice::<Status>(bytes) {
            let again = serde_json::to_vec(&status).expect("json");
            let again: Status = serde_json::from_slice(&again).expect("a status");
            let bits = |status: &Status| status.cache_use.map(f32::to_bits);
            prop_assert_eq!(
                (bits(&again), again.running, again.sequence),
                (bits(&status), status.running, status.sequence)
            );
        }
        Ok(())
    });
}

/// What the corpus was made from. `FILATURE_BLESS=1` writes it anew: for a new form of an offer only, for gateways meet
/// agents of all ages.
#[test]
fn the_corpus_is_written_anew_where_that_is_asked_for() {
    if std::env::var_os("FILATURE_BLESS").is_none() {
        return;
    }
    let write = |target: &str, name: &str, bytes: Vec<u8>| {
        std::fs::create_dir_all(folder(target)).expect("a folder");
        std::fs::write(folder(target).join(name), bytes).expect("written");
    };
    let model = |name: &str| ModelOffer {
        model: name.to_owned(),
        engine_model: Some(format!("org/{name}")),
        quantization: Some("fp8".to_owned()),
        context_tokens_max: 8192,
        output_tokens_max: 4096,
        concurrency_max: 16,
        price: OfferPrice {
            prompt: 20,
            cached_prompt: 5,
            completion: 60,
            reasoning: 60,
            call: PRICE_NANO_MAX,
        },
        endpoints: vec!["chat".to_owned(), "completions".to_owned()],
        capabilities: vec!["tools".to_owned()],
        parameters: Some(vec!["seed".to_owned()]),
    };
    let offer = Offer {
        version: 1,
        provider: key().public(),
        name: "Zoë's \"GPU\"".to_owned(),
        models: vec![model("small"), model("large")],
        payout: Some("EQAAAA".to_owned()),
        sequence: 7,
        expires_at_ms: NOW_MS + 3_600_000,
    };
    let plain = Offer {
        models: vec![ModelOffer {
            engine_model: None,
            quantization: None,
            parameters: None,
            capabilities: Vec::new(),
            ..model("small")
        }],
        payout: None,
        sequence: (1 << 53) - 1,
        ..offer.clone()
    };
    let signed = |offer: &Offer| SignedOffer::sign(offer, &key()).expect("its own key");
    write("offer", "full.json", serde_json::to_vec(&signed(&offer)).expect("json"));
    write(
        "offer",
        "plain.json",
        serde_json::to_vec(&signed(&plain)).expect("json"),
    );
    // What a later agent may say more is signed as well.
    let mut later = serde_json::to_value(&plain).expect("json");
    later["regions"] = json!(["eu", 1.5, null]);
    let mut bytes = b"filature-offer-v1\n".to_vec();
    serde_jcs::to_writer(&mut bytes, &later).expect("canonical");
    let signature = key().sign(&bytes);
    let later = SignedOffer {
        offer: later,
        signature,
    };
    write("offer", "later.json", serde_json::to_vec(&later).expect("json"));

    let hello =
        sign_hello(&key(), &signed(&plain), CHALLENGE, AUTHORITY, "filature-provider/0.1.0").expect("a challenge");
    write("hello", "plain.json", serde_json::to_vec(&hello).expect("json"));
}
