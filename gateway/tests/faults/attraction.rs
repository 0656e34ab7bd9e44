//! Providers that fail fast, lie about their load or swallow calls do not attract traffic, though they are the cheapest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use filature_loadtest::fleet::{FleetSettings, Manner};

use crate::crowd::Crowd;
use crate::rescue::{Case, Heard, hear};

/// Two of each bad kind among so many.
const PROVIDERS: u16 = 18;
const CALLS: usize = 3_000;
const CALLERS: usize = 24;
/// The share of all attempts that a kind may draw: two of eighteen would have 11 % if nobody looked.
const SHARE_MAX: f64 = 0.02;

#[test]
#[ignore = "minutes long: make faults"]
fn fast_failers_liars_and_sinkholes_do_not_attract_calls() {
    let bad = [Manner::FastFailer, Manner::Sinkhole, Manner::Liar];
    let names = ["fast failer", "sinkhole", "liar"];
    let settings = FleetSettings {
        manners: bad.iter().chain(&bad).cloned().collect(),
        bait: 0.5,
        concurrency_max: 32,
        ..Crowd::alike(PROVIDERS, 20.0, 2.0)
    };
    let crowd = Crowd::start(&[], settings);
    let heard = load(&crowd);
    let wrong: Vec<_> = heard.iter().filter(|heard| heard.is_whole().is_err()).collect();
    let attempts = crowd.sum(|provider| provider.engine.stats().started);
    println!(
        "  {} calls, {attempts} attempts, {} without a whole answer",
        heard.len(),
        wrong.len()
    );
    let mut shares = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let providers = crowd.fleet.providers();
        let started = [place, place + bad.len()].map(|number| providers[number].engine.stats().started);
        let share = ratio(started.iter().sum(), attempts);
        println!("  {name:<12} {started:?} attempts, {:.2} %", share * 100.0);
        shares.push((name, share));
    }
    assert!(wrong.is_empty(), "{:?}", wrong.first());
    for (name, share) in shares {
        assert!(share < SHARE_MAX, "{name}: {:.2} % of all attempts", share * 100.0);
    }
    crowd.check_logs();
}

/// So many calls, so many at once; every tenth is long enough to meet a slow engine in mid-stream.
fn load(crowd: &Crowd) -> Vec<Heard> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (client, next) = (crowd.stack.client.clone(), next.clone());
        let work = async move {
            let mut heard = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= CALLS {
                    return heard;
                }
                heard.push(hear(&client, &Case::healthy(number)).await);
            }
        };
        callers.spawn_on(work, crowd.stack.runtime.handle());
    }
    crowd
        .stack
        .runtime
        .block_on(callers.join_all())
        .into_iter()
        .flatten()
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a share of some thousand calls")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
