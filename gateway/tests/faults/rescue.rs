//! Every fault at every place of an answer, against the gateway's promise: the caller gets the engine's own text, nothing
//! lost, nothing doubled, nothing reordered, and one stream with one of everything.
//!
//! [`case`] says what is asked and what goes wrong, [`heard`] what the caller heard and whether it is one stream,
//! [`truth`] what the engine says when asked without a gateway, and [`table`] what is printed.

mod case;
mod heard;
mod table;
mod truth;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use filature_billing::{CallOutcome, UsageRecord};
use filature_loadtest::engine::{CallSeen, Ending};
use rand::seq::SliceRandom as _;

pub use case::{Case, Endpoint};
pub use heard::{Heard, hear, now_us};
use table::Table;
pub use truth::Truth;

use crate::caller::Client;
use crate::crowd::Crowd;
use crate::seed;

/// At least 50 are asked for; each may be shunned for a while after a fault.
const PROVIDERS: u16 = 60;
/// Tokens of every answer.
pub const TOKENS: u32 = 40;
/// Cases under way at once.
const WORKERS: usize = 24;
/// Longer texts are gone on from, shorter ones may be asked for again.
const ANEW_BYTES_MAX: u64 = 24;
/// Calls without a fault before each with one: they close the breakers and keep retries within their share.
const HEALTHY: usize = 4;

/// One case and what came of it.
struct Done {
    case: Case,
    heard: Heard,
    wrong: Option<String>,
}

#[test]
#[ignore = "minutes long: make faults"]
fn every_fault_at_every_place_is_noticed_by_nobody() {
    let mut rng = seed::generator("every fault at every place");
    let mut crowd = Crowd::start(&[], Crowd::alike(PROVIDERS, 2.0, 1.0));
    let truth = crowd.stack.runtime.block_on(Truth::learn(&crowd.engine()));
    let mut cases = case::every();
    cases.shuffle(&mut rng);
    let began = Instant::now();
    let done = run(&crowd, Arc::new(truth), cases);
    let took = began.elapsed();
    crowd.wait_until_idle();
    let seen = crowd.calls_seen();
    let misbegun = crowd.sum(|provider| provider.engine.stats().misbegun);
    let records = crowd.records(done.iter().map(|done| done.heard.call.clone()));

    let mut table = Table::default();
    let mut wrongs = Vec::new();
    for done in &done {
        let attempts = seen.get(&done.heard.call).map_or(&[][..], Vec::as_slice);
        let wrong = done
            .wrong
            .clone()
            .or_else(|| check_attempts(done, attempts).err())
            .or_else(|| check_record(done, records.get(&done.heard.call)).err());
        table.add(&done.case, &done.heard, attempts, wrong.is_some());
        wrongs.extend(wrong.map(|wrong| format!("{}: {wrong}", done.case)));
    }
    let races = seen
        .values()
        .filter(|attempts| attempts.iter().any(|seen| seen.fault.is_some()) && raced(attempts));
    let races = races.count();
    println!(
        "{table}  {} calls with a fault in {took:.0?}, {races} of them with a race besides",
        done.len()
    );
    assert!(races * 20 < done.len(), "too many races: what they hide is not checked");
    for wrong in wrongs.iter().take(20) {
        eprintln!("WRONG {wrong}");
    }
    assert!(wrongs.is_empty(), "{} of {} cases", wrongs.len(), done.len());
    assert_eq!(misbegun, 0, "an engine was given a text that is not its own");
    crowd.check_logs();
}

#[test]
#[ignore = "minutes long: make faults"]
fn streams_that_break_again_and_again_go_on_again_and_again() {
    let mut crowd = Crowd::start(&[], Crowd::alike(16, 2.0, 1.0));
    let truth = crowd.stack.runtime.block_on(Truth::learn(&crowd.engine()));
    let mut cases = Vec::new();
    for (number, kind) in ["close", "reset", "truncate", "half_frame", "garbage"]
        .into_iter()
        .enumerate()
    {
        for endpoint in [Endpoint::Chat, Endpoint::Completion] {
            // Ten events each: three parts that break, and one that ends.
            cases.push(Case::new(kind, 11, true, endpoint, number).on_attempts(&[1, 2, 3]));
        }
    }
    let done = run(&crowd, Arc::new(truth), cases);
    let records = crowd.records(done.iter().map(|done| done.heard.call.clone()));
    let mut spliced = 0;
    for done in &done {
        assert_eq!(done.wrong, None, "{}", done.case);
        let record = &records[&done.heard.call];
        // An attempt that reaches no engine takes a number too, and a connection that breaks takes along what was on its
        // way: then there is a break less that shows.
        let splices = done.heard.splices.len();
        assert!((1..=3).contains(&splices), "{}: {record:?}", done.case);
        assert_eq!(record.legs.len(), splices + 1, "{}: {record:?}", done.case);
        spliced += splices;
        check_record(done, Some(record)).unwrap_or_else(|wrong| panic!("{}: {wrong}", done.case));
    }
    println!("  {} streams went on {spliced} times", done.len());
    assert!(spliced * 4 > done.len() * 9, "{spliced} splices of {}", 3 * done.len());
    crowd.check_logs();
}

#[test]
#[ignore = "minutes long: make faults"]
fn what_cannot_be_continued_soundly_is_retried_before_its_first_token_and_told_after_it() {
    let mut crowd = Crowd::start(&[], Crowd::alike(24, 2.0, 1.0));
    let truth = Arc::new(crowd.stack.runtime.block_on(Truth::learn(&crowd.engine())));
    let mut broken = Vec::new();
    for (number, unsound) in case::unsound().into_iter().enumerate() {
        for kind in ["close", "reset", "truncate", "half_frame", "garbage", "ok_with_error"] {
            for at in [0, 7] {
                let case = Case::new(kind, at, true, Endpoint::Chat, number).with(unsound.clone());
                // After the first token it happens to a rival of the first attempt as well.
                let case = if at == 0 { case } else { case.on_attempts(&[1, 2]) };
                let client = crowd.stack.client.clone();
                let heard = crowd.stack.runtime.block_on(hear(&client, &case));
                if at == 0 {
                    let whole = heard.one_stream().and_then(|()| heard.is_whole());
                    whole.unwrap_or_else(|wrong| panic!("{case}: {wrong}: {heard:?}"));
                } else {
                    heard
                        .is_told_broken()
                        .unwrap_or_else(|wrong| panic!("{case}: {wrong}: {heard:?}"));
                    broken.push(heard.call);
                }
                for number in 0..HEALTHY {
                    let healthy = Case::healthy(number);
                    let heard = crowd.stack.runtime.block_on(hear(&client, &healthy));
                    assert_eq!(truth.check(&healthy, &heard), Ok(()));
                }
            }
        }
    }
    let seen = crowd.calls_seen();
    for call in &broken {
        let asked = &seen[call];
        assert!(asked.len() == 1 || raced(asked), "nobody else is asked: {asked:?}");
        assert!(asked.iter().all(|seen| seen.continued.is_none()), "{asked:?}");
    }
    let records = crowd.records(broken.iter().cloned());
    for (call, record) in &records {
        assert_eq!((record.outcome, record.legs.len()), (CallOutcome::Broken, 1), "{call}");
    }
    assert_eq!(records.len(), broken.len());
    crowd.check_logs();
}

/// Runs the cases, several at once, each after some calls without a fault.
fn run(crowd: &Crowd, truth: Arc<Truth>, cases: Vec<Case>) -> Vec<Done> {
    let (cases, next) = (Arc::new(cases), Arc::new(AtomicUsize::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..WORKERS {
        let (client, truth, cases, next) = (crowd.stack.client.clone(), truth.clone(), cases.clone(), next.clone());
        let work = async move {
            let mut done = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                for number in 0..HEALTHY {
                    let healthy = Case::healthy(number);
                    let heard = hear(&client, &healthy).await;
                    if let Err(wrong) = truth.check(&healthy, &heard) {
                        done.push(Done {
                            case: healthy,
                            heard,
                            wrong: Some(wrong),
                        });
                    }
                }
                done.push(one(&client, &truth, case).await);
            }
            done
        };
        workers.spawn_on(work, crowd.stack.runtime.handle());
    }
    let done = crowd.stack.runtime.block_on(workers.join_all());
    done.into_iter().flatten().collect()
}

async fn one(client: &Client, truth: &Truth, case: &Case) -> Done {
    let heard = hear(client, case).await;
    let wrong = truth.check(case, &heard).err();
    Done {
        case: case.clone(),
        heard,
        wrong,
    }
}

/// Whether a second attempt was started beside the first, as far as the gateway could see: what the first had sent may
/// still have been on its way.
fn raced(attempts: &[CallSeen]) -> bool {
    let [first, second, ..] = attempts else { return false };
    let is_loser = second.ending == Ending::Cancelled && second.fault.is_none();
    second.continued.is_none() && (second.began_us < first.ended_us || is_loser)
}

/// The fault really happened, and what the engines saw is what the caller was told.
fn check_attempts(done: &Done, attempts: &[CallSeen]) -> Result<(), String> {
    let Done { case, heard, .. } = done;
    if case.kind.is_empty() {
        return Ok(());
    }
    let first = attempts.first().ok_or("no engine saw the call")?;
    if first.attempt != Some(1) {
        // The agent met a connection that its engine was just closing: the first attempt reached no engine.
        return (attempts.len() == 1)
            .then_some(())
            .ok_or_else(|| format!("{attempts:?}"));
    }
    if raced(attempts) {
        // A rival was started beside a late first attempt: which of them won, and what the other met, is chance.
        return Ok(());
    }
    let met = first.fault.map(|kind| serde_json::json!(kind));
    if case.must_happen() && met.as_ref().and_then(serde_json::Value::as_str) != Some(case.kind) {
        return Err(format!("the fault did not happen: {attempts:?}"));
    }
    let continued = attempts.iter().filter(|seen| seen.continued.is_some()).count();
    // So little text that no engine can be asked to go on from it is asked for again instead.
    let anew = heard
        .splices
        .iter()
        .filter(|splice| splice.at_byte <= ANEW_BYTES_MAX)
        .count();
    if continued + anew < heard.splices.len() {
        return Err(format!(
            "{} splices, and the engines saw {attempts:?}",
            heard.splices.len()
        ));
    }
    let is_right = match case.expected() {
        case::Expected::Untouched => attempts.len() == 1 && heard.splices.is_empty(),
        case::Expected::Retried => attempts.len() > 1 && heard.splices.is_empty(),
        // A connection that breaks takes along what was still on its way: then it is a retry after all.
        case::Expected::Rescued => {
            attempts.len() > 1 && (heard.splices.len() == 1 || (case.loses_bytes() && heard.splices.is_empty()))
        }
    };
    is_right.then_some(()).ok_or_else(|| {
        format!(
            "{:?}, but {} splices and {attempts:?}",
            case.expected(),
            heard.splices.len()
        )
    })
}

/// The record has a leg for each part, and every token is paid for once.
fn check_record(done: &Done, record: Option<&UsageRecord>) -> Result<(), String> {
    let Done { case, heard, .. } = done;
    let record = record.ok_or("there is no record")?;
    let tokens: u64 = record.legs.iter().map(|leg| leg.tokens.completion).sum();
    if tokens != u64::from(case.tokens) || record.billed.completion != tokens {
        return Err(format!("{tokens} tokens were billed: {record:?}"));
    }
    let told = heard.usage.as_ref().and_then(|usage| usage["prompt_tokens"].as_u64());
    if told.is_some_and(|told| told != record.billed.prompt) {
        return Err(format!(
            "told of {told:?} prompt tokens, billed {}",
            record.billed.prompt
        ));
    }
    let places: Vec<_> = record.legs.iter().skip(1).map(|leg| leg.from_byte).collect();
    let told: Vec<_> = heard.splices.iter().map(|splice| splice.at_byte).collect();
    // Who goes on without a word left to say has no leg of its own to speak of.
    if places != told || record.outcome != CallOutcome::Completed {
        return Err(format!("the splices {told:?} are not those of {record:?}"));
    }
    Ok(())
}
