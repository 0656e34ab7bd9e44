//! Work that nobody wants any more ends at the engine within 50 ms: of a caller that leaves, of a race that is lost, of an
//! attempt that is given up. Judged by the moments the engines themselves noted.

use std::time::Duration;

use filature_loadtest::engine::{CallSeen, Ending};
use http_body_util::BodyExt as _;

use crate::crowd::Crowd;
use crate::rescue::{Case, Endpoint, hear, now_us};
use crate::wait;

/// The promise.
const STOPPED_MAX_US: u64 = 50_000;
/// How long an engine's note of a call may take to be there.
const NOTED_MAX: Duration = Duration::from_secs(20);
const CALLS: usize = 40;
const RACES: usize = 12;
const HEALTHY: usize = 104;

#[test]
#[ignore = "minutes long: make faults"]
fn the_engine_of_a_caller_that_leaves_stops_within_50_ms() {
    let crowd = Crowd::start(&[], Crowd::alike(8, 5.0, 5.0));
    let mut lags = Vec::new();
    for number in 0..CALLS {
        // Streams are left after some events, answers in one piece while they are made, some before the first token.
        let (stream, events) = (!number.is_multiple_of(4), number % 7);
        let mut case = Case::new("", 0, stream, Endpoint::Chat, number);
        case.tokens = 4_000;
        let left = crowd.stack.runtime.block_on(leave(&crowd, &case, events));
        let what = format!("the engine to note the end of {left:?}, {case}");
        let seen = wait::until(&what, NOTED_MAX, || last_since(&crowd, &left));
        assert_eq!(seen.ending, Ending::Cancelled, "{seen:?}");
        lags.push(seen.ended_us.saturating_sub(left.at_us));
    }
    report("a caller left", lags);
    crowd.wait_until_idle();
    crowd.check_logs();
}

/// A call that was left, and when; its name, if an answer had begun to come.
#[derive(Debug)]
struct Left {
    call: Option<String>,
    at_us: u64,
}

/// Leaves a call after so many events of a stream; an answer in one piece, or no event, once an engine is at work on it.
async fn leave(crowd: &Crowd, case: &Case, events: usize) -> Left {
    let before = crowd.sum(|provider| provider.engine.stats().started);
    let calling = crowd.stack.client.post(case.endpoint.path(), case.body());
    if !case.stream || events == 0 {
        let at_work = async {
            while crowd.sum(|provider| provider.engine.stats().started) == before {
                tokio::task::yield_now().await;
            }
            now_us()
        };
        return tokio::select! {
            biased;
            answered = calling => panic!("it was answered before it could be left: {answered:?}"),
            at_us = at_work => Left { call: None, at_us },
        };
    }
    let mut response = calling.await.expect("an answer");
    let call = response.headers()["x-request-id"].to_str().expect("an id").to_owned();
    for _ in 0..events {
        response.body_mut().frame().await.expect("more").expect("a piece");
    }
    let at_us = now_us();
    drop(response);
    let call = Some(call);
    Left { call, at_us }
}

/// What an engine noted of the call that was left: of one without a name, the last that ended.
fn last_since(crowd: &Crowd, left: &Left) -> Option<CallSeen> {
    let calls = crowd
        .fleet
        .providers()
        .iter()
        .flat_map(|provider| provider.engine.calls());
    let ended = calls.filter(|seen| match &left.call {
        Some(_) => seen.call == left.call,
        None => seen.ended_us >= left.at_us,
    });
    ended.max_by_key(|seen| seen.ended_us)
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_engine_of_an_attempt_that_is_given_up_stops_within_50_ms() {
    let crowd = Crowd::start(&[], Crowd::alike(12, 5.0, 2.0));
    let cases: Vec<_> = (0..12)
        .map(|number| Case::new("stall", 10, true, Endpoint::Chat, number))
        .collect();
    let calls = cases.iter().map(|case| hear(&crowd.stack.client, case));
    let heard = crowd.stack.runtime.block_on(futures_util::future::join_all(calls));
    crowd.wait_until_idle();
    let seen = crowd.calls_seen();
    let mut lags = Vec::new();
    for heard in &heard {
        assert_eq!(heard.is_whole(), Ok(()), "{heard:?}");
        let [stalled, next] = seen[&heard.call].as_slice() else {
            panic!("two attempts: {:?}", seen[&heard.call]);
        };
        assert_eq!(stalled.ending, Ending::Cancelled, "{stalled:?}");
        lags.push(stalled.ended_us.saturating_sub(next.began_us));
    }
    report("an attempt was given up (to the next one's start)", lags);
    crowd.check_logs();
}

#[test]
#[ignore = "minutes long: make faults"]
fn the_loser_of_a_race_stops_within_50_ms() {
    let crowd = Crowd::start(&[], Crowd::alike(12, 5.0, 1.0));
    healthy(&crowd, 4 * HEALTHY);
    let mut lags = Vec::new();
    for number in 0..RACES {
        // The first attempt says nothing; long before it counts as lost a second one is started beside it.
        let case = Case::new("hang", 0, true, Endpoint::Chat, number);
        let heard = crowd.stack.runtime.block_on(hear(&crowd.stack.client, &case));
        assert_eq!(heard.is_whole(), Ok(()), "{heard:?}");
        crowd.wait_until_idle();
        let attempts = crowd.calls_seen().remove(&heard.call).expect("engines saw the call");
        // Whether a rival is worth its price is the router's matter; a first attempt without one is given up in time.
        let Some((loser, winner)) = race(&attempts) else {
            continue;
        };
        assert_eq!(
            (loser.ending, winner.ending),
            (Ending::Cancelled, Ending::Finished),
            "{attempts:?}"
        );
        // The first token came after the winner had begun; the loser may be stopped a little before the caller sees it.
        let first_us = heard.first_us.expect("a first token");
        lags.push(loser.ended_us.saturating_sub(first_us));
        healthy(&crowd, HEALTHY);
    }
    assert!(lags.len() >= RACES / 2, "{} races of {RACES} calls", lags.len());
    report("a race was lost (after the caller's first token)", lags);
    crowd.wait_until_idle();
    crowd.check_logs();
}

/// Makes so many calls without a fault, some at once. Rivals may be started for a share of the calls only.
fn healthy(crowd: &Crowd, calls: usize) {
    let cases: Vec<_> = (0..calls).map(Case::healthy).collect();
    for some in cases.chunks(8) {
        let calls = some.iter().map(|case| hear(&crowd.stack.client, case));
        for heard in crowd.stack.runtime.block_on(futures_util::future::join_all(calls)) {
            assert_eq!(heard.is_whole(), Ok(()), "{heard:?}");
        }
    }
}

/// The first attempt and the second, if that ran beside it: started long before the first could be given up (8 s).
fn race(attempts: &[CallSeen]) -> Option<(&CallSeen, &CallSeen)> {
    let [first, second, ..] = attempts else { return None };
    let is_race = second.began_us < first.ended_us && second.began_us - first.began_us < 4_000_000;
    is_race.then_some((first, second))
}

fn report(what: &str, mut lags_us: Vec<u64>) {
    lags_us.sort_unstable();
    let (median, most) = (lags_us[lags_us.len() / 2], lags_us[lags_us.len() - 1]);
    println!(
        "  {what}: {} engines stopped after {median} µs (median), {most} µs (most)",
        lags_us.len()
    );
    assert!(most < STOPPED_MAX_US, "{lags_us:?}");
}
