//! Three times as many calls as the fleet can serve: those that are admitted hardly notice, the least important are turned
//! away first, and whoever is turned away is told when to come again and is served then.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use filature_loadtest::fleet::FleetSettings;
use http_body_util::BodyExt as _;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::caller::Client;
use crate::crowd::Crowd;
use crate::seed;
use crate::stack::{KEY_ID, MODEL};

const PROVIDERS: u16 = 4;
/// Calls at once per provider.
const PLACES: u32 = 4;
const TTFT_MS: u32 = 40;
const ITL_MS: u32 = 40;
const TOKENS: u32 = 10;
/// How long each load lasts.
const LOAD: Duration = Duration::from_secs(20);
/// A light load, as a share of what the fleet can serve.
const LIGHT: f64 = 0.3;
const HEAVY: f64 = 3.0;
/// The bound of the promise: p99 of admitted calls at 3 × overload over p99 without.
const RATIO_MAX: f64 = 2.0;
/// Of those who wait as long as they are told, so many are served at their next try. One in four of them comes: twice as
/// many are turned away as the fleet can serve, and nobody's word can make room for all.
const COME_AGAIN_MIN: f64 = 0.8;
const TIERS: [&str; 3] = ["flex", "default", "priority"];

/// The first moments of an overload, in which nobody can know that it will last.
const ONSET: Duration = Duration::from_secs(3);

/// One call and how it ended.
#[derive(Debug, Clone)]
struct Call {
    tier: &'static str,
    /// Since the load began.
    due: Duration,
    /// Since it was due.
    took: Duration,
    end: End,
}

#[derive(Debug, Clone, PartialEq)]
enum End {
    Served,
    /// Turned away, and told to come again after so many seconds.
    Later(Option<u64>),
    Odd(String),
}

#[test]
#[ignore = "minutes long: make faults"]
fn at_three_times_the_load_the_admitted_hardly_notice_and_the_rest_are_told_when_to_come() {
    let mut rng = seed::generator("three times the load");
    let settings = FleetSettings {
        concurrency_max: PLACES,
        ..Crowd::alike(PROVIDERS, TTFT_MS.into(), ITL_MS.into())
    };
    let crowd = Crowd::start(&["--routing-priority-keys", KEY_ID], settings);
    let one = f64::from(TTFT_MS + (TOKENS - 1) * ITL_MS) / 1_000.0;
    let capacity = f64::from(PROVIDERS) * f64::from(PLACES) / one;
    // Limits adapt; what counts is the fleet as it is after some calls.
    let warm = crowd
        .stack
        .runtime
        .block_on(open_loop(&crowd.stack.client, capacity * 0.8, LOAD / 2, &mut rng));
    assert!(warm.iter().all(|call| !matches!(call.end, End::Odd(_))), "{warm:?}");
    let light = crowd
        .stack
        .runtime
        .block_on(open_loop(&crowd.stack.client, capacity * LIGHT, LOAD, &mut rng));
    let heavy = crowd
        .stack
        .runtime
        .block_on(open_loop(&crowd.stack.client, capacity * HEAVY, LOAD, &mut rng));
    let (unloaded, loaded) = (p99(&light), p99(&heavy));
    let ratio = loaded.as_secs_f64() / unloaded.as_secs_f64();
    println!("  capacity {capacity:.0} calls/s, offered {LIGHT} and {HEAVY} times that for {LOAD:?} each");
    println!("  admitted: p99 {unloaded:.0?} without load, {loaded:.0?} at {HEAVY} × ({ratio:.2} ×)");
    let (onset, lasting): (Vec<_>, Vec<_>) = heavy.iter().cloned().partition(|call| call.due < ONSET);
    println!(
        "  p99 of those due in the first {ONSET:?} {:.0?}, later {:.0?}",
        p99(&onset),
        p99(&lasting)
    );
    for tier in TIERS {
        let of: Vec<_> = lasting.iter().filter(|call| call.tier == tier).cloned().collect();
        println!("  {tier:<8} {:.2} served, p99 {:.0?}", served(&of), p99(&of));
    }
    let shares = shares(&heavy);
    println!("  served by tier: {shares:.2?}; of all {:.2}", served(&heavy));
    let after = crowd.stack.runtime.block_on(come_again(&crowd.stack.client, &heavy, 4));
    println!("  one in four came again after as long as it was told: {after:?}");
    let all = crowd.stack.runtime.block_on(come_again(&crowd.stack.client, &heavy, 1));
    println!("  all of them, twice as many as the fleet can serve: {all:?}");
    let odd: Vec<_> = light
        .iter()
        .chain(&heavy)
        .filter(|call| matches!(call.end, End::Odd(_)))
        .collect();
    assert!(odd.is_empty(), "{} of them: {:?}", odd.len(), odd.first());
    let early: Vec<_> = light.iter().filter(|call| call.end != End::Served).collect();
    assert!(
        early.is_empty(),
        "turned away without need: {} of {}: {early:?}",
        early.len(),
        light.len()
    );
    let told = heavy.iter().all(|call| call.end != End::Later(None));
    assert!(told, "everybody who is turned away is told when to come again");
    assert!(
        shares["flex"] <= shares["default"] && shares["default"] < shares["priority"],
        "{shares:?}"
    );
    assert!(served(&heavy) * HEAVY > 0.8, "the fleet is kept busy");
    assert!(ratio <= RATIO_MAX, "{ratio:.2}");
    assert!(after.share() >= COME_AGAIN_MIN, "{after:?}");
    crowd.check_logs();
}

/// Calls at random moments, so many a second, whether those before have ended or not.
async fn open_loop(client: &Client, per_second: f64, lasting: Duration, rng: &mut StdRng) -> Vec<Call> {
    let began = Instant::now();
    let (mut due, mut calls) = (Duration::ZERO, JoinSet::new());
    while due < lasting {
        due += Duration::from_secs_f64(-(1.0 - rng.random::<f64>()).ln() / per_second);
        let tier = TIERS[rng.random_range(0..TIERS.len())];
        let (client, when) = (client.clone(), began + due);
        calls.spawn(async move {
            tokio::time::sleep_until(when.into()).await;
            let end = call(&client, tier).await;
            Call {
                tier,
                due,
                took: when.elapsed(),
                end,
            }
        });
    }
    calls.join_all().await
}

async fn call(client: &Client, tier: &str) -> End {
    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "How much silk?" }],
        "service_tier": tier,
        "stream": true,
        "max_tokens": TOKENS,
        "sim": { "tokens": TOKENS },
    });
    let response = match client.post("/v1/chat/completions", body.to_string()).await {
        Ok(response) => response,
        Err(error) => return End::Odd(error),
    };
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else {
        return End::Odd("the answer broke off".to_owned());
    };
    let body = body.to_bytes();
    match head.status.as_u16() {
        200 if body.ends_with(b"data: [DONE]\n\n") && !body.windows(7).any(|part| part == b"\"error\"") => End::Served,
        429 => {
            let told = head.headers.get("retry-after");
            End::Later(told.and_then(|told| told.to_str().ok()?.parse().ok()))
        }
        status => {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            End::Odd(format!("{status}: {body}"))
        }
    }
}

/// What became of those who came again.
#[derive(Debug, Default)]
struct Again {
    asked: usize,
    served: usize,
    /// The shortest and the longest time anybody was told, in seconds.
    told_s: Option<(u64, u64)>,
}

impl Again {
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousand calls")]
    fn share(&self) -> f64 {
        self.served as f64 / self.asked.max(1) as f64
    }
}

/// Those who were turned away last come again, each as long after that as it was told: one in `every` of them.
async fn come_again(client: &Client, calls: &[Call], every: usize) -> Again {
    let mut again = Again::default();
    let mut tries = JoinSet::new();
    let mut told: Vec<_> = calls
        .iter()
        .filter_map(|call| match call.end {
            End::Later(Some(seconds)) => Some((call.due + call.took, call.tier, seconds)),
            _ => None,
        })
        .collect();
    told.sort_unstable();
    let last = told.split_off(told.len().saturating_sub(60));
    let began = last.first().map_or(Duration::ZERO, |(turned_away, ..)| *turned_away);
    for (turned_away, tier, seconds) in last.into_iter().step_by(every) {
        let (low, high) = again.told_s.unwrap_or((seconds, seconds));
        again.told_s = Some((low.min(seconds), high.max(seconds)));
        let client = client.clone();
        tries.spawn(async move {
            tokio::time::sleep(turned_away - began + Duration::from_secs(seconds)).await;
            call(&client, tier).await
        });
    }
    for end in tries.join_all().await {
        again.asked += 1;
        again.served += usize::from(end == End::Served);
    }
    again
}

/// Of the calls that were served.
fn p99(calls: &[Call]) -> Duration {
    let mut took: Vec<_> = calls
        .iter()
        .filter(|call| call.end == End::Served)
        .map(|call| call.took)
        .collect();
    took.sort();
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a share of some thousand calls")]
fn served(calls: &[Call]) -> f64 {
    calls.iter().filter(|call| call.end == End::Served).count() as f64 / calls.len() as f64
}

/// The share that was served of each tier.
fn shares(calls: &[Call]) -> BTreeMap<&'static str, f64> {
    let of = |tier| {
        calls
            .iter()
            .filter(|call| call.tier == tier)
            .cloned()
            .collect::<Vec<_>>()
    };
    TIERS.into_iter().map(|tier| (tier, served(&of(tier)))).collect()
}
