//! What the queueing model promises.

use super::*;

const MAKE: Make = Make {
    slots: 4,
    gap_s: 0.02,
    prefill_s: 1e-4,
};

fn job(prompt: u32, stop: u32) -> Job {
    Job {
        prompt,
        shared: 0,
        opening: None,
        stop,
    }
}

/// Runs until nothing is left to do; gives what happened with its moment.
fn run(engine: &mut Engine) -> Vec<(f64, Did)> {
    let (mut all, mut did) = (Vec::new(), Vec::new());
    while let Some(at) = engine.next_s() {
        let at = (at * 1e6).ceil() / 1e6;
        engine.tick(at, &mut did);
        all.extend(did.drain(..).map(|did| (at, did)));
    }
    all
}

#[test]
fn one_call_takes_its_prefill_and_its_gaps() {
    let mut engine = Engine::new(MAKE);
    engine.submit(1, job(1000, 101), 5.0);
    let did = run(&mut engine);
    assert_eq!(did.len(), 2);
    assert!((did[0].0 - 5.1).abs() < 1e-4 && did[0].1 == Did::First(1), "{did:?}");
    assert!((did[1].0 - 7.1).abs() < 1e-4 && did[1].1 == Did::Last(1), "{did:?}");
}

#[test]
fn streams_share_the_engine_and_the_rest_waits() {
    let mut engine = Engine::new(MAKE);
    for id in 0..6 {
        engine.submit(id, job(1, 101), 0.0);
    }
    assert_eq!((engine.running(), engine.queued()), (4, 2));
    let did = run(&mut engine);
    // Four streams: 20 ms · 13/10 = 26 ms a token; then two: 22 ms.
    let last = |id| did.iter().find(|(_, d)| *d == Did::Last(id)).expect("it ended").0;
    assert!((last(0) - 2.6).abs() < 0.01, "{did:?}");
    assert!((last(5) - 4.8).abs() < 0.02, "{did:?}");
    assert_eq!(engine.running(), 0);
}

#[test]
fn work_is_conserved_whatever_is_cancelled() {
    let mut engine = Engine::new(MAKE);
    let (mut dropped, mut did) = (Work::default(), Vec::new());
    let mut prefilled = 0.0;
    for id in 0..40_u32 {
        let at = f64::from(id) * 0.11;
        while let Some(next) = engine.next_s().filter(|next| *next < at) {
            engine.tick((next * 1e6).ceil() / 1e6, &mut did);
        }
        engine.submit(id, job(500 + id, 30), at);
        if id % 3 == 0 {
            let work = engine.cancel(id.saturating_sub(4), at).unwrap_or_default();
            dropped.tokens += work.tokens;
            prefilled += work.prefilled;
        }
    }
    let rest: Vec<Did> = run(&mut engine).into_iter().map(|(_, did)| did).collect();
    did.extend(rest);
    let served: Vec<u32> = did
        .iter()
        .filter_map(|did| if let Did::Last(id) = did { Some(*id) } else { None })
        .collect();
    let served_prefill: f64 = served.iter().map(|id| f64::from(500 + id)).sum();
    // The first token of a stream comes out of its prefill; a stream that was cut had a fraction of a token more.
    let tokens = f64::from(served.len() as u32 * 29);
    assert!(served.len() > 25 && served.len() < 40);
    assert!(
        (engine.prefilled - served_prefill - prefilled).abs() < 1.0,
        "{}",
        engine.prefilled
    );
    let decoded_for_dropped = engine.decoded - tokens;
    assert!(decoded_for_dropped >= -1.0 && decoded_for_dropped <= f64::from(dropped.tokens) + 1.0);
}

#[test]
fn a_saturated_engine_serves_what_the_formula_says() {
    let make = Make { slots: 16, ..MAKE };
    let mut engine = Engine::new(make);
    for id in 0..2000 {
        engine.submit(id, job(1155, 211), 0.0);
    }
    let all = run(&mut engine);
    let rate = 2000.0 / all.last().expect("all ended").0;
    let formula = make.calls_per_s(1155.0, 211.0);
    assert!((rate / formula - 1.0).abs() < 0.06, "{rate} against {formula}");
}

#[test]
fn what_was_prefilled_before_is_not_prefilled_again() {
    let mut engine = Engine::new(MAKE);
    let turn = Job {
        opening: Some(7),
        shared: 900,
        ..job(1000, 1)
    };
    engine.submit(1, turn, 0.0);
    run(&mut engine);
    engine.submit(2, turn, 10.0);
    let did = run(&mut engine);
    let at = |wanted| did.iter().find(|(_, did)| *did == wanted).expect("it came").0;
    assert!((at(Did::First(2)) - 10.01).abs() < 1e-4, "{did:?}");
    assert_eq!(engine.crash(20.0), []);
    engine.submit(3, turn, 20.0);
    assert!(
        (engine.next_s().expect("busy") - 20.1).abs() < 1e-4,
        "a crash empties the cache"
    );
}

#[test]
fn a_crash_gives_back_what_was_delivered() {
    let mut engine = Engine::new(MAKE);
    let mut did = Vec::new();
    engine.submit(1, job(100, 1000), 0.0);
    let first_s = engine.next_s().expect("busy");
    engine.tick(first_s + 1e-6, &mut did);
    engine.submit(2, job(100, 1000), 1.0);
    let lost = engine.crash(1.001);
    assert_eq!(lost.len(), 2);
    // 990 ms at 20 ms: 49 more than the first.
    assert_eq!((lost[0].0, lost[0].1.tokens), (1, 50));
    assert_eq!((lost[1].0, lost[1].1.tokens), (2, 0));
    assert_eq!(engine.next_s(), None);
}

#[test]
fn a_slow_down_stretches_what_is_under_way() {
    let mut engine = Engine::new(MAKE);
    engine.submit(1, job(1000, 1), 0.0);
    engine.slow(4.0, 0.05);
    assert!((engine.next_s().expect("busy") - 0.25).abs() < 1e-9);
}
