use super::*;
use filature_openapi::call::parse_call;

fn view() -> CallView {
    let body = br#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"four score and seven"}]}"#;
    parse_call(Endpoint::ChatCompletions, body).expect("a good body")
}

fn bill(meter: &Meter, prompt: bool, count: Option<&Count>) -> Metered {
    let terms = Terms {
        prompt,
        prompt_tokens_max: prompt_bound(&view()),
        output_tokens_max: 50,
        price: &Price::default(),
        count,
    };
    meter.bill(&view(), &terms)
}

fn billed(meter: &Meter) -> Tokens {
    bill(meter, true, None).billed
}

fn claim(prompt: u64, completion: u64) -> Option<UsageClaim> {
    Some(UsageClaim {
        prompt: Some(prompt),
        completion: Some(completion),
        ..UsageClaim::default()
    })
}

#[test]
fn the_router_and_rescue_believe_no_more_tokens_than_passed() {
    let absurd = Meter {
        claim: claim(12, 4_294_967_295),
        output_bytes: 80,
        output_events: 20,
        ..Meter::default()
    };
    assert_eq!(u64::from(absurd.completion_tokens(&view())), 80 + SILENT_TOKENS);
    let honest = Meter {
        claim: claim(12, 21),
        ..absurd
    };
    assert_eq!(honest.completion_tokens(&view()), 21);
}

#[test]
fn an_honest_claim_is_paid_as_claimed() {
    let meter = Meter {
        claim: claim(12, 20),
        output_bytes: 80,
        output_events: 20,
        ..Meter::default()
    };
    assert_eq!(
        billed(&meter),
        Tokens {
            prompt: 12,
            completion: 20,
            ..Tokens::default()
        }
    );
}

#[test]
fn an_absurd_claim_is_cut_to_what_passed() {
    let meter = Meter {
        claim: claim(u64::from(u32::MAX), u64::from(u32::MAX)),
        output_bytes: 10,
        output_events: 3,
        ..Meter::default()
    };
    let Metered {
        billed: tokens,
        overclaimed,
        ..
    } = bill(&meter, true, None);
    assert_eq!(tokens.completion, 14);
    assert_eq!(tokens.prompt, prompt_bound(&view()));
    let beyond = |tokens| u64::from(u32::MAX) - tokens;
    let beyond = (beyond(tokens.prompt), beyond(tokens.completion));
    assert_eq!((overclaimed.prompt, overclaimed.completion), beyond);
    // A prompt that is forfeited was not claimed beyond anything.
    let broken = bill(&meter, false, None).overclaimed;
    assert_eq!((broken.prompt, broken.completion), (0, beyond.1));
}

#[test]
fn a_claim_never_exceeds_what_the_caller_asked_for() {
    let meter = Meter {
        claim: claim(12, 10_000),
        output_bytes: 100_000,
        output_events: 9,
        ..Meter::default()
    };
    assert_eq!(billed(&meter).completion, 50);
}

#[test]
fn a_missing_claim_is_estimated_by_events_and_bytes() {
    let meter = |output_bytes, output_events| Meter {
        claim: None,
        output_bytes,
        output_events,
        ..Meter::default()
    };
    assert_eq!(billed(&meter(20, 7)).completion, 7);
    // An engine may put many tokens into one event.
    assert_eq!(billed(&meter(320, 7)).completion, 40);
}

#[test]
fn a_prompt_that_is_echoed_is_paid_for_once() {
    let prompt = "four score and seven years ago our fathers brought forth ".repeat(8);
    let body = format!(r#"{{"model":"m","n":2,"max_tokens":1000,"prompt":"{prompt}","echo":true}}"#);
    let view = parse_call(Endpoint::Completions, body.as_bytes()).expect("a good body");
    let terms = Terms {
        prompt: true,
        prompt_tokens_max: prompt_bound(&view),
        output_tokens_max: 1000,
        price: &Price::default(),
        count: None,
    };
    // Each choice says the prompt, and forty bytes of its own.
    let said = 2 * (prompt.len() as u64 + 40);
    for output_events in [0, 30] {
        let mut meter = Meter {
            output_bytes: said,
            output_events,
            ..Meter::default()
        };
        let silent = meter.bill(&view, &terms).billed;
        assert_eq!(silent.prompt, u64::from(prompt_estimate(&view)));
        assert!((18..=20).contains(&silent.completion), "{silent:?}");
        let told = meter.told_usage(&Told::of(&view, terms.prompt_tokens_max));
        assert_eq!(told.completion, silent.completion);
        assert_eq!(u64::from(meter.completion_tokens(&view)), silent.completion);
        // A claim is another matter.
        meter.claim = claim(120, 25);
        assert_eq!(meter.bill(&view, &terms).billed.completion, 25);
    }
}

#[test]
fn an_explicit_zero_is_not_a_missing_claim() {
    let meter = Meter {
        claim: claim(0, 0),
        output_bytes: 400,
        output_events: 7,
        ..Meter::default()
    };
    assert_eq!(billed(&meter), Tokens::default());
}

#[test]
fn a_forfeited_prompt_is_free() {
    let meter = Meter {
        claim: claim(12, 5),
        output_bytes: 400,
        output_events: 7,
        ..Meter::default()
    };
    let tokens = bill(&meter, false, None).billed;
    assert_eq!(
        tokens,
        Tokens {
            completion: 5,
            ..Tokens::default()
        }
    );
}

#[test]
fn a_picture_by_url_may_be_more_tokens_than_its_url_has_bytes() {
    let body = br#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}"#;
    let view = parse_call(Endpoint::ChatCompletions, body).expect("a good body");
    let meter = Meter {
        claim: claim(1200, 5),
        output_bytes: 400,
        output_events: 7,
        ..Meter::default()
    };
    let terms = Terms {
        prompt: true,
        prompt_tokens_max: prompt_bound(&view),
        output_tokens_max: 50,
        price: &Price::default(),
        count: None,
    };
    assert_eq!(meter.bill(&view, &terms).billed.prompt, 1200);
    assert!(prompt_bound(&view) < 4500 && prompt_estimate(&view) < 600);
}

#[test]
fn parts_never_exceed_their_whole() {
    let lie = UsageClaim {
        prompt: Some(10),
        cached_prompt: Some(99),
        completion: Some(5),
        reasoning: Some(99),
    };
    let tokens = billed(&Meter {
        claim: Some(lie),
        output_bytes: 400,
        output_events: 7,
        ..Meter::default()
    });
    assert_eq!((tokens.cached_prompt, tokens.reasoning), (10, 5));
}
