//! Facts about offers, and the sample that other modules' tests sign.

use serde_json::json;

use super::*;

/// The time the sample offer is read at, in milliseconds of Unix time.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

/// A good offer of two models, an hour long.
pub(crate) fn offer(key: &ProviderKey) -> Offer {
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
            call: 1,
        },
        endpoints: vec!["chat".to_owned(), "completions".to_owned()],
        capabilities: vec!["tools".to_owned()],
        parameters: Some(vec!["seed".to_owned(), "top_k".to_owned()]),
    };
    Offer {
        version: OFFER_VERSION,
        provider: key.public(),
        name: "Zoë's GPU".to_owned(),
        models: vec![model("small"), model("large")],
        payout: Some("EQAAAA".to_owned()),
        sequence: 7,
        expires_at_ms: NOW_MS + 3_600_000,
    }
}

fn key() -> ProviderKey {
    ProviderKey::generate(&mut rand::rng())
}

/// Signs an offer after `change`, and reads it.
fn check(change: impl FnOnce(&mut Offer)) -> Result<Offer, OfferError> {
    let key = key();
    let mut offer = offer(&key);
    change(&mut offer);
    SignedOffer::sign(&offer, &key)?.verify(NOW_MS)
}

fn check_bounds(change: impl FnOnce(&mut Offer), expected: &str) {
    match check(change) {
        Err(OfferError::Bounds { field, .. }) => assert_eq!(field, expected),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn a_signed_offer_reads_back_as_it_was() {
    let key = key();
    let offer = offer(&key);
    let wire = serde_json::to_string(&SignedOffer::sign(&offer, &key).unwrap()).unwrap();
    assert_eq!(
        serde_json::from_str::<SignedOffer>(&wire).unwrap().verify(NOW_MS),
        Ok(offer)
    );
}

/// Calls `visit` with every place in `value` that holds a number, a text or an empty spot to tamper with.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| leaves(value, &format!("{path}/{name}"), found)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, value)| leaves(value, &format!("{path}/{at}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn tampering_with_any_field_is_detected() {
    let key = key();
    let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
    let mut places = Vec::new();
    leaves(&signed.offer, "", &mut places);
    assert!(places.len() > 30, "every field of the sample is visited: {places:?}");
    for place in places {
        let mut tampered = signed.clone();
        let leaf = tampered.offer.pointer_mut(&place).unwrap();
        *leaf = match &*leaf {
            Value::Number(number) => json!(number.as_u64().unwrap() + 1),
            _ if place == "/provider" => json!(self::key().public()),
            other => json!(format!("{}x", other.as_str().unwrap())),
        };
        let expected = if place == "/version" {
            OfferError::Version(2)
        } else {
            OfferError::Signature
        };
        assert_eq!(tampered.verify(NOW_MS), Err(expected), "{place}");
    }
}

#[test]
fn adding_or_removing_a_field_is_detected() {
    let key = key();
    let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
    let mut more = signed.clone();
    more.offer["models"][0]["discount"] = json!(1);
    assert_eq!(more.verify(NOW_MS), Err(OfferError::Signature));
    let mut less = signed;
    less.offer.as_object_mut().unwrap().remove("payout");
    assert_eq!(less.verify(NOW_MS), Err(OfferError::Signature));
}

#[test]
fn a_field_of_a_later_version_is_signed_and_passed_over() {
    let key = key();
    let mut value = serde_json::to_value(offer(&key)).unwrap();
    value["region"] = json!("fi-hel");
    let signature = key.sign(&signed_bytes(&value).unwrap());
    let mut signed = SignedOffer {
        offer: value,
        signature,
    };
    assert_eq!(signed.verify(NOW_MS), Ok(offer(&key)));
    signed.offer["region"] = json!("us-east");
    assert_eq!(signed.verify(NOW_MS), Err(OfferError::Signature));
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let key = key();
    let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
    let shuffled = reversed(&signed.offer);
    assert_ne!(shuffled, signed.offer.to_string(), "the text really differs");
    let again = SignedOffer {
        offer: serde_json::from_str(&shuffled).unwrap(),
        signature: signed.signature,
    };
    assert_eq!(again.verify(NOW_MS), Ok(offer(&key)));
}

/// The same JSON with every object's fields in reverse order and spaces between.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| format!("{} : {}", json!(name), reversed(value)))
                .collect();
            fields.sort_by(|left, right| right.cmp(left));
            format!("{{ {} }}", fields.join(" , "))
        }
        Value::Array(items) => format!("[ {} ]", items.iter().map(reversed).collect::<Vec<_>>().join(" , ")),
        leaf => leaf.to_string(),
    }
}

#[test]
fn what_is_signed_is_canonical_json() {
    let value = json!({"b": [1, true, null], "a": "é\n", "\u{20ac}": 10, "\r": 1});
    let signed = signed_bytes(&value).unwrap();
    assert_eq!(
        String::from_utf8(signed).unwrap(),
        "filature-offer-v1\n{\"\\r\":1,\"a\":\"é\\n\",\"b\":[1,true,null],\"€\":10}"
    );
}

#[test]
fn an_offer_ends_when_it_says() {
    let key = key();
    let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
    let end = offer(&key).expires_at_ms;
    assert!(signed.verify(end - 1).is_ok());
    assert_eq!(
        signed.verify(end),
        Err(OfferError::Expired {
            expires_at_ms: end,
            now_ms: end
        })
    );
}

#[test]
fn nobody_signs_for_somebody_else() {
    assert_eq!(SignedOffer::sign(&offer(&key()), &key()), Err(OfferError::Signature));
}

#[test]
fn a_later_version_is_named_as_such() {
    assert_eq!(check(|offer| offer.version = 2), Err(OfferError::Version(2)));
}

#[test]
fn nonsense_is_unreadable() {
    for offer in [
        json!(null),
        json!([]),
        json!({}),
        json!({"version": "1"}),
        json!({"version": 1}),
    ] {
        let found = SignedOffer {
            offer,
            signature: "00".repeat(64),
        }
        .verify(NOW_MS);
        assert!(matches!(found, Err(OfferError::Unreadable(_))), "{found:?}");
    }
}

#[test]
fn a_price_with_a_fraction_or_a_sign_is_unreadable() {
    let key = key();
    for price in [json!(1.5), json!(-1), json!("1"), json!(1e30)] {
        let mut value = serde_json::to_value(offer(&key)).unwrap();
        value["models"][0]["price"]["prompt"] = price;
        let signature = key.sign(&signed_bytes(&value).unwrap());
        let found = SignedOffer {
            offer: value,
            signature,
        }
        .verify(NOW_MS);
        assert!(matches!(found, Err(OfferError::Unreadable(_))), "{found:?}");
    }
}

#[test]
fn every_bound_is_kept() {
    assert!(check(|offer| offer.models[1].price.call = PRICE_NANO_MAX).is_ok());
    check_bounds(
        |offer| offer.models[1].price.call = PRICE_NANO_MAX + 1,
        "models[1].price.call",
    );
    check_bounds(
        |offer| offer.models[0].price.reasoning = u64::MAX,
        "models[0].price.reasoning",
    );
    check_bounds(|offer| offer.models[1].concurrency_max = 0, "models[1].concurrency_max");
    check_bounds(
        |offer| offer.models[0].output_tokens_max = 0,
        "models[0].output_tokens_max",
    );
    check_bounds(
        |offer| offer.models[0].output_tokens_max = 8193,
        "models[0].output_tokens_max",
    );
    check_bounds(|offer| offer.models[0].model.clear(), "models[0].model");
    check_bounds(|offer| offer.models[0].model = "m".repeat(257), "models[0].model");
    check_bounds(|offer| offer.models[1].model = "small".to_owned(), "models[1].model");
    check_bounds(|offer| offer.models[0].endpoints.clear(), "models[0].endpoints");
    check_bounds(
        |offer| offer.models[0].capabilities = vec!["x".to_owned(); 17],
        "models[0].capabilities",
    );
    check_bounds(
        |offer| offer.models[0].parameters = Some(vec!["x".to_owned(); 17]),
        "models[0].parameters",
    );
    check_bounds(
        |offer| offer.models[0].parameters = Some(vec![String::new()]),
        "models[0].parameters",
    );
    check_bounds(|offer| offer.name = "two\nlines".to_owned(), "name");
    check_bounds(|offer| offer.payout = Some(String::new()), "payout");
    check_bounds(|offer| offer.sequence = 1 << 53, "sequence");
    check_bounds(|offer| offer.expires_at_ms = u64::MAX, "expires_at_ms");
    check_bounds(|offer| offer.models.clear(), "models");
    let many = |offer: &mut Offer| {
        offer.models = (0..257)
            .map(|at| ModelOffer {
                model: format!("m{at}"),
                ..offer.models[0].clone()
            })
            .collect();
    };
    check_bounds(many, "models");
}

#[test]
fn all_problems_are_told_at_once() {
    let mut bad = offer(&key());
    bad.name.clear();
    bad.models[0].price.prompt = u64::MAX;
    bad.models[1].concurrency_max = 0;
    let fields: Vec<_> = bad.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "models[0].price.prompt", "models[1].concurrency_max"]);
}

#[test]
fn an_offer_of_an_older_agent_is_read() {
    let key = key();
    let mut value = serde_json::to_value(offer(&key)).unwrap();
    for model in value["models"].as_array_mut().unwrap() {
        model.as_object_mut().unwrap().remove("parameters");
    }
    let signature = key.sign(&signed_bytes(&value).unwrap());
    let read = SignedOffer {
        offer: value,
        signature,
    }
    .verify(NOW_MS)
    .unwrap();
    assert_eq!(read.models[0].parameters, None);
}

#[test]
fn an_engine_that_continues_is_offered_so_where_it_chats() {
    let mut offer = offer(&key());
    offer.models[1].endpoints = vec!["embeddings".to_owned()];
    offer.add_continue();
    offer.add_continue();
    assert_eq!(offer.models[0].capabilities, ["tools", CONTINUE]);
    assert_eq!(offer.models[1].capabilities, ["tools"]);
}
