//! What the ledger remembers: the stream of records, the use of days, leases, what is said of providers, the audit trail.

use std::sync::Arc;
use std::time::Duration;

use filature_billing::{
    Admission, AuditEntry, Cursor, Day, EmbeddedLedger, EmbeddedSettings, Ledger, LedgerError, LedgerShard, ProviderId,
    RedisLedger, RedisSettings, Tokens, Usage, UsageRecord, UsageSums,
};
use futures_util::future::join_all;
use tokio::task::JoinSet;

use crate::home::AT_ONCE;
use crate::server::Server;
use crate::world::{Payer, START_MS, World, check_sums, nano};

const DAY_MS: u64 = 86_400_000;

/// Posts a call and returns its record.
async fn post(world: &mut World, payer: &Payer, cost: u64) -> UsageRecord {
    let call = world.hold(payer, cost).await;
    let record = world.record(payer, call, cost);
    world.ledger.post(&record, world.now_ms).await.expect("posted");
    record
}

/// All records of all shards, a few at a time.
async fn unsealed(ledger: &dyn Ledger, at_once: usize) -> Vec<(LedgerShard, Cursor, UsageRecord)> {
    let mut records = Vec::new();
    for shard in ledger.shards() {
        let mut after = None;
        loop {
            let some = ledger.unsealed(shard, after, at_once).await.expect("records");
            assert!(some.len() <= at_once);
            let Some((last, _)) = some.last() else { break };
            after = Some(*last);
            records.extend(some.into_iter().map(|(place, record)| (shard, place, record)));
        }
    }
    records
}

pub async fn records_are_read_in_the_order_of_posting(world: &mut World) {
    let payer = world.payer(100_000).await;
    let other = world.payer(100_000).await;
    let mut posted = [vec![], vec![]];
    for cost in 0..90 {
        let at = usize::from(cost % 3 == 0);
        posted[at].push(post(world, [&payer, &other][at], cost).await);
    }
    for at_once in [1, 7, 4_096] {
        let found = unsealed(&*world.ledger, at_once).await;
        assert_eq!(found.len(), 90);
        let of = |payer: &Payer| {
            let own = found.iter().filter(|(.., record)| record.account == payer.account);
            own.map(|(.., record)| record.clone()).collect::<Vec<_>>()
        };
        assert_eq!([of(&payer), of(&other)], posted);
    }
    let shards = world.ledger.shards();
    assert_eq!(world.ledger.unsealed(shards[0], None, 0).await, Ok(vec![]));
    let most = world.ledger.unsealed(shards[0], None, usize::MAX).await;
    assert!(most.is_ok());
    // A repeated post adds none.
    world.ledger.post(&posted[0][0], world.now_ms).await.expect("again");
    assert_eq!(unsealed(&*world.ledger, 4_096).await.len(), 90);
}

pub async fn what_is_trimmed_is_gone_and_still_charged_once(world: &mut World) {
    let payer = world.payer(100_000).await;
    let mut posted = Vec::new();
    for cost in 1..=120 {
        posted.push(post(world, &payer, cost).await);
    }
    let found = unsealed(&*world.ledger, 4_096).await;
    let (shard, middle, _) = found[49];
    world.ledger.trim(shard, middle, world.now_ms).await.expect("trimmed");
    let left: Vec<_> = unsealed(&*world.ledger, 9)
        .await
        .into_iter()
        .map(|(.., record)| record)
        .collect();
    assert_eq!(left, posted[50..]);
    // A reader that stands further back goes on with what there is.
    let first = world
        .ledger
        .unsealed(shard, Some(found[3].1), 1)
        .await
        .expect("records");
    assert_eq!(first, [(found[50].1, posted[50].clone())]);
    for (at, record) in posted.iter().enumerate() {
        let stored = world
            .ledger
            .record(&payer.account, &record.call)
            .await
            .expect("an answer");
        assert_eq!(stored.as_ref(), (at >= 50).then_some(record), "{at}");
        let again = world.ledger.post(record, world.now_ms).await.expect("an answer");
        assert_eq!((again.fresh, again.charged), (false, record.cost), "{at}");
    }
    // Backwards nothing changes; again neither.
    world
        .ledger
        .trim(shard, found[0].1, world.now_ms)
        .await
        .expect("trimmed");
    world.ledger.trim(shard, middle, world.now_ms).await.expect("trimmed");
    assert_eq!(unsealed(&*world.ledger, 4_096).await.len(), 70);
    world.check(&payer, 100_000 - 7_260, 0, 7_260).await;

    // Beyond the end: all that is there, and nothing of what comes.
    let beyond = "18446744073709551615-0".parse().expect("a place");
    world.ledger.trim(shard, beyond, world.now_ms).await.expect("trimmed");
    assert_eq!(unsealed(&*world.ledger, 4_096).await.len(), 0);
    let next = post(world, &payer, 5).await;
    let found = unsealed(&*world.ledger, 4_096).await;
    assert_eq!(found.iter().map(|(.., record)| record).collect::<Vec<_>>(), [&next]);
    assert_eq!(world.ledger.record(&payer.account, &next.call).await, Ok(Some(next)));
    check_sums(&*world.ledger).await;
}

pub async fn a_long_stream_is_read_and_trimmed_while_it_grows(world: &mut World) {
    const POSTS: usize = 1_500;
    let payer = world.payer(1 << 40).await;
    let mut tasks = JoinSet::new();
    for _ in 0..POSTS {
        let call = world.call();
        let (ledger, record) = (Arc::clone(&world.ledger), world.record(&payer, call, 7));
        tasks.spawn(async move { ledger.post(&record, START_MS).await.expect("posted") });
    }
    let mut calls = std::collections::HashSet::new();
    let mut idle = 0;
    while idle < 2 {
        idle += usize::from(tasks.is_empty());
        for shard in world.ledger.shards() {
            let records = world.ledger.unsealed(shard, None, 100).await.expect("records");
            for (_, record) in &records {
                assert!(calls.insert(record.call), "twice");
            }
            if let Some((last, _)) = records.last() {
                idle = 0;
                world.ledger.trim(shard, *last, START_MS).await.expect("trimmed");
            }
        }
        while let Some(done) = tasks.try_join_next() {
            assert!(done.expect("no panic").fresh);
        }
    }
    assert_eq!(calls.len(), POSTS);
    check_sums(&*world.ledger).await;
}

pub async fn a_shard_that_is_not_has_no_records(world: &mut World) {
    let shard: LedgerShard = serde_json::from_str("200").expect("a shard");
    assert_eq!(world.ledger.unsealed(shard, None, 10).await, Ok(vec![]));
    let place = "1-1".parse().expect("a place");
    assert_eq!(world.ledger.trim(shard, place, START_MS).await, Ok(()));
    for shard in world.ledger.shards() {
        assert_eq!(world.ledger.unsealed(shard, Some(place), 10).await, Ok(vec![]));
        assert_eq!(world.ledger.trim(shard, place, START_MS).await, Ok(()));
    }
}

pub async fn use_is_counted_by_day_key_and_model(world: &mut World) {
    let payer = world.payer(100_000).await;
    let (key, _) = world.key(&payer.account, None).await;
    let other = Payer {
        account: payer.account.clone(),
        key: key.id,
    };
    let stranger = world.payer(100_000).await;
    let mut expected = std::collections::BTreeMap::<_, UsageSums>::new();
    for at in 0..40_u64 {
        let payer = [&payer, &other, &stranger][at as usize % 3];
        let call = world.hold(payer, at).await;
        let mut record = world.record(payer, call, at);
        record.model = ["sim:small", "sim-large"][at as usize / 3 % 2].into();
        record.billed = Tokens {
            prompt: at,
            cached_prompt: at / 2,
            completion: 2 * at,
            reasoning: 1,
        };
        // A post that comes days later counts on the day of the call.
        world
            .ledger
            .post(&record, world.now_ms + 5 * DAY_MS)
            .await
            .expect("posted");
        world.ledger.post(&record, world.now_ms).await.expect("again");
        if payer.account == other.account {
            let line = (Day::of(record.created_ms), record.key.clone(), record.model.clone());
            let sums = expected.entry(line).or_default();
            *sums = sums.plus(&UsageSums::of(&record));
        }
        world.now_ms += DAY_MS / 5;
    }
    let lines = |from: Day, to: Day| {
        let lines = expected.iter().filter(move |((day, ..), _)| (from..=to).contains(day));
        let line = |((day, key, model), sums): (&(Day, _, String), &UsageSums)| Usage {
            day: *day,
            key: Clone::clone(key),
            model: model.clone(),
            sums: *sums,
        };
        lines.map(line).collect::<Vec<_>>()
    };
    let first = Day::of(START_MS);
    for (from, to) in [(0, 30), (1, 1), (2, 4), (20, 30), (3, 2)] {
        let (from, to) = (first.plus(from), first.plus(to));
        assert_eq!(world.ledger.usage(&payer.account, from, to).await, Ok(lines(from, to)));
    }
    assert_eq!(lines(first, first.plus(30)).len(), expected.len());
    let refused = world.ledger.usage(&payer.account, first, first.plus(400)).await;
    assert!(matches!(refused, Err(LedgerError::TooLarge(_))), "{refused:?}");
    check_sums(&*world.ledger).await;
}

pub async fn use_counts_on_the_day_of_the_call_in_whatever_order_it_is_posted(world: &mut World) {
    let payer = world.payer(100_000).await;
    let first = Day::of(START_MS);
    let mut expected = std::collections::BTreeMap::<_, u64>::new();
    for (at, day) in [2, 0, 2, 1, 0, 3, 3, 2, 9, 3, 9, 40].into_iter().enumerate() {
        let cost = 10 + at as u64;
        let call = world.hold(&payer, cost).await;
        let mut record = world.record(&payer, call, cost);
        record.created_ms = first.plus(day).start_ms();
        world.ledger.post(&record, world.now_ms).await.expect("posted");
        *expected.entry(first.plus(day)).or_default() += cost;
        let found = world
            .ledger
            .usage(&payer.account, first, first.plus(60))
            .await
            .expect("usage");
        let found: Vec<_> = found.iter().map(|line| (line.day, line.sums.cost.get())).collect();
        assert_eq!(found, expected.clone().into_iter().collect::<Vec<_>>(), "after {at}");
    }
}

pub async fn too_many_models_are_counted_as_others(world: &mut World) {
    const MODELS: u64 = 4_096;
    let payer = world.payer(100_000).await;
    let mut tasks = JoinSet::new();
    for at in 0..MODELS + 10 {
        let call = world.call();
        let mut record = world.record(&payer, call, 1);
        record.model = format!("model-{at}");
        let ledger = Arc::clone(&world.ledger);
        tasks.spawn(async move { ledger.post(&record, START_MS).await.expect("posted") });
    }
    tasks.join_all().await;
    let day = Day::of(START_MS);
    let usage = world.ledger.usage(&payer.account, day, day).await.expect("usage");
    assert_eq!(usage.len() as u64, MODELS + 1);
    let other = usage.iter().find(|line| line.model == "other").expect("the others");
    assert_eq!((other.sums.calls, other.sums.cost), (10, nano(10)));
    check_sums(&*world.ledger).await;
}

pub async fn a_lease_has_one_holder(world: &mut World) {
    let lease = async |world: &World, name: &str, holder: &str, ttl_ms| {
        world
            .ledger
            .lease(name, holder, ttl_ms, world.now_ms)
            .await
            .expect("an answer")
    };
    assert!(lease(world, "sealer", "a", 60_000).await);
    assert!(!lease(world, "sealer", "b", 60_000).await);
    assert!(lease(world, "sealer", "a", 60_000).await, "renewed");
    assert!(lease(world, "sweeper", "b", 60_000).await, "another one");
    // Nobody gives up what another holds.
    assert!(!lease(world, "sealer", "b", 0).await);
    assert!(!lease(world, "sealer", "b", 60_000).await);
    assert!(!lease(world, "sealer", "a", 0).await, "given up");
    assert!(lease(world, "sealer", "b", 300).await);
    assert!(!lease(world, "sealer", "a", 300).await);
    // Redis counts by its own clock, the embedded ledger by what it is told.
    tokio::time::sleep(Duration::from_millis(320)).await;
    world.now_ms += 320;
    assert!(lease(world, "sealer", "a", u64::MAX).await, "expired");
    assert!(!lease(world, "sealer", "b", 1).await);
    let long = "x".repeat(257);
    for (name, holder) in [(long.as_str(), "a"), ("a", long.as_str())] {
        let refused = world.ledger.lease(name, holder, 1, START_MS).await;
        assert!(matches!(refused, Err(LedgerError::TooLarge(_))), "{refused:?}");
    }
}

pub async fn a_lease_wanted_by_many_goes_to_one(world: &mut World) {
    for name in ["one", "two", "three"] {
        let mut tasks = JoinSet::new();
        for holder in 0..50 {
            let ledger = Arc::clone(&world.ledger);
            tasks.spawn(async move { ledger.lease(name, &format!("h{holder}"), 60_000, START_MS).await });
        }
        let held = tasks
            .join_all()
            .await
            .into_iter()
            .filter(|held| *held == Ok(true))
            .count();
        assert_eq!(held, 1);
    }
}

fn entry(payer: Option<&Payer>, at_ms: u64) -> AuditEntry {
    AuditEntry {
        at_ms,
        actor: "alice".into(),
        action: "key.update".into(),
        account: payer.map(|payer| payer.account.clone()),
        subject: payer.map(|payer| payer.key.to_string()).unwrap_or_default(),
        detail: r#"{"requests_per_min":5}"#.into(),
    }
}

pub async fn what_is_said_of_a_provider_stands_until_it_is_forgotten(world: &mut World) {
    let [a, b] = ["provider-a", "provider-b"].map(|id| ProviderId::parse(id).expect("an id"));
    let ledger = &world.ledger;
    assert_eq!(ledger.admission(&a).await, Ok(None));
    assert_eq!(ledger.admissions().await, Ok(vec![]));
    ledger.admit(&b, Some(Admission::Allow)).await.expect("said");
    ledger.admit(&a, Some(Admission::Allow)).await.expect("said");
    ledger.admit(&a, Some(Admission::Deny)).await.expect("said");
    assert_eq!(ledger.admission(&a).await, Ok(Some(Admission::Deny)));
    assert_eq!(
        ledger.admissions().await,
        Ok(vec![(a.clone(), Admission::Deny), (b.clone(), Admission::Allow)])
    );
    ledger.admit(&a, None).await.expect("forgotten");
    ledger.admit(&a, None).await.expect("forgotten before");
    assert_eq!(ledger.admission(&a).await, Ok(None));
    assert_eq!(ledger.admissions().await, Ok(vec![(b, Admission::Allow)]));
}

pub async fn where_a_provider_is_paid_changes_from_what_stands_there(world: &mut World) {
    let [a, b] = ["provider-a", "provider-b"].map(|id| ProviderId::parse(id).expect("an id"));
    let ledger = &world.ledger;
    let name = async |from, to: &str| ledger.name_payout(&a, from, to).await;
    assert_eq!(ledger.payout_names(&[]).await, Ok(vec![]));
    assert_eq!(ledger.payout_names(std::slice::from_ref(&a)).await, Ok(vec![None]));
    assert_eq!(name(Some("1"), "2").await, Ok(false));
    assert_eq!(name(None, "1").await, Ok(true));
    assert_eq!(name(None, "1").await, Ok(true));
    assert_eq!(name(None, "2").await, Ok(false));
    assert_eq!(name(Some("1"), "2").await, Ok(true));
    let long = "x".repeat(257);
    assert!(matches!(name(Some("2"), &long).await, Err(LedgerError::TooLarge(_))));
    let found = ledger.payout_names(&[b, a.clone()]).await;
    assert_eq!(found, Ok(vec![None, Some("2".to_owned())]));
    // Of many that change it at once, one does.
    let to = ["3", "4", "5", "6"];
    let named = join_all(to.iter().map(|to| ledger.name_payout(&a, Some("2"), to))).await;
    assert_eq!(named.iter().filter(|named| **named == Ok(true)).count(), 1);
    // More than are asked about at a time.
    let many: Vec<_> = (0..1_500)
        .map(|n| ProviderId::parse(&format!("p{n}")).expect("an id"))
        .collect();
    assert_eq!(ledger.name_payout(&many[1_400], None, "x").await, Ok(true));
    let found = ledger.payout_names(&many).await.expect("names");
    assert_eq!((found.len(), found[1_400].as_deref()), (1_500, Some("x")));
    assert_eq!(found.iter().flatten().count(), 1);
}

pub async fn what_operators_did_is_read_in_order(world: &mut World) {
    let payer = world.payer(0).await;
    assert_eq!(world.ledger.audit_log(None, 10).await, Ok(vec![]));
    let mut entries = Vec::new();
    for at_ms in 0..30 {
        let entry = entry((at_ms % 2 == 0).then_some(&payer), at_ms);
        world.ledger.audit(&entry).await.expect("written");
        entries.push(entry);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let some = world.ledger.audit_log(after, 7).await.expect("entries");
        assert!(some.len() <= 7);
        let Some((last, _)) = some.last() else { break };
        after = Some(*last);
        found.extend(some.into_iter().map(|(_, entry)| entry));
    }
    assert_eq!(found, entries);
    for change in [
        |entry: &mut AuditEntry| entry.actor = "x".repeat(257),
        |entry: &mut AuditEntry| entry.action = "x".repeat(257),
        |entry: &mut AuditEntry| entry.subject = "x".repeat(257),
        |entry: &mut AuditEntry| entry.detail = "x".repeat(2_049),
    ] {
        let mut entry = entry(None, 1);
        change(&mut entry);
        let refused = world.ledger.audit(&entry).await;
        assert!(matches!(refused, Err(LedgerError::TooLarge(_))), "{refused:?}");
    }
    assert_eq!(
        world.ledger.audit_log(None, usize::MAX).await.expect("entries").len(),
        30
    );
}

async fn the_audit_trail_is_bounded(ledger: Arc<dyn Ledger>) {
    for at_ms in 0..35 {
        ledger.audit(&entry(None, at_ms)).await.expect("written");
    }
    let entries = ledger.audit_log(None, 1_000).await.expect("entries");
    let times: Vec<_> = entries.iter().map(|(_, entry)| entry.at_ms).collect();
    assert_eq!(times, (25..35).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_audit_trail_is_bounded_embedded() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = EmbeddedSettings {
        audit_max: 10,
        ..AT_ONCE
    };
    the_audit_trail_is_bounded(Arc::new(EmbeddedLedger::open(dir.path(), settings).expect("a ledger"))).await;
}

#[tokio::test]
async fn the_audit_trail_is_bounded_in_redis() {
    let server = Server::start(&[]);
    let settings = RedisSettings {
        audit_max: 10,
        ..RedisSettings::default()
    };
    the_audit_trail_is_bounded(Arc::new(
        RedisLedger::open(&server.url(), settings).await.expect("a ledger"),
    ))
    .await;
}

#[tokio::test]
async fn a_call_is_forgotten_when_its_time_is_over_embedded() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = EmbeddedSettings {
        posted_kept: Duration::from_secs(60),
        ..AT_ONCE
    };
    let mut world = World::new(Arc::new(EmbeddedLedger::open(dir.path(), settings).expect("a ledger")));
    let payer = world.payer(1_000).await;
    let old = post(&mut world, &payer, 10).await;
    world.now_ms += 30_000;
    let young = post(&mut world, &payer, 10).await;
    world.now_ms += 30_001;
    let unread = post(&mut world, &payer, 10).await;
    let found = unsealed(&*world.ledger, 10).await;
    world
        .ledger
        .trim(found[1].0, found[1].1, world.now_ms)
        .await
        .expect("trimmed");
    assert!(!world.ledger.post(&young, world.now_ms).await.expect("posted").fresh);
    assert!(
        !world
            .ledger
            .post(&unread, world.now_ms + DAY_MS)
            .await
            .expect("posted")
            .fresh
    );
    assert!(
        world.ledger.post(&old, world.now_ms).await.expect("posted").fresh,
        "forgotten"
    );
    check_sums(&*world.ledger).await;
}

#[tokio::test]
async fn a_call_is_forgotten_when_its_time_is_over_in_redis() {
    let server = Server::start(&[]);
    let settings = RedisSettings {
        posted_kept: Duration::from_millis(150),
        ..RedisSettings::default()
    };
    let ledger = RedisLedger::open(&server.url(), settings).await.expect("a ledger");
    let mut world = World::new(Arc::new(ledger));
    let payer = world.payer(1_000).await;
    let trimmed = post(&mut world, &payer, 10).await;
    let unread = post(&mut world, &payer, 10).await;
    let found = unsealed(&*world.ledger, 10).await;
    world
        .ledger
        .trim(found[0].0, found[0].1, world.now_ms)
        .await
        .expect("trimmed");
    assert!(!world.ledger.post(&trimmed, world.now_ms).await.expect("posted").fresh);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!world.ledger.post(&unread, world.now_ms).await.expect("posted").fresh);
    assert!(
        world.ledger.post(&trimmed, world.now_ms).await.expect("posted").fresh,
        "forgotten"
    );
    check_sums(&*world.ledger).await;
}

#[tokio::test]
async fn what_was_trimmed_stays_so_after_a_close() {
    let dir = tempfile::tempdir().expect("a folder");
    let open = || Arc::new(EmbeddedLedger::open(dir.path(), AT_ONCE).expect("a ledger"));
    let mut world = World::new(open());
    let payer = world.payer(100_000).await;
    let mut posted = Vec::new();
    for cost in 0..80 {
        posted.push(post(&mut world, &payer, cost).await);
    }
    world.ledger.audit(&entry(Some(&payer), 5)).await.expect("written");
    let found = unsealed(&*world.ledger, 4_096).await;
    let (shard, last, _) = found[79];
    let day = Day::of(START_MS);
    let usage = world.ledger.usage(&payer.account, day, day).await;
    let used = world.key_use(&payer).await;
    for (trimmed, left) in [(Some(found[40].1), 39), (Some(last), 0), (None, 0)] {
        if let Some(place) = trimmed {
            world.ledger.trim(shard, place, world.now_ms).await.expect("trimmed");
        }
        let World { ledger, rng, now_ms } = world;
        drop(ledger);
        world = World {
            ledger: open(),
            rng,
            now_ms,
        };
        assert_eq!(unsealed(&*world.ledger, 4_096).await.len(), left);
        assert_eq!(world.ledger.record(&payer.account, &posted[3].call).await, Ok(None));
        assert!(
            !world
                .ledger
                .post(&posted[3], world.now_ms)
                .await
                .expect("an answer")
                .fresh
        );
        assert_eq!(world.ledger.usage(&payer.account, day, day).await, usage);
        assert_eq!(world.key_use(&payer).await, used);
        assert_eq!(world.ledger.audit_log(None, 10).await.expect("entries").len(), 1);
    }
    let next = post(&mut world, &payer, 5).await;
    let found = unsealed(&*world.ledger, 10).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].1 > last, "places only ever grow");
    assert_eq!(world.ledger.record(&payer.account, &next.call).await, Ok(Some(next)));
    check_sums(&*world.ledger).await;
}

on_all!(books:
    records_are_read_in_the_order_of_posting,
    what_is_trimmed_is_gone_and_still_charged_once,
    a_long_stream_is_read_and_trimmed_while_it_grows,
    a_shard_that_is_not_has_no_records,
    use_is_counted_by_day_key_and_model,
    use_counts_on_the_day_of_the_call_in_whatever_order_it_is_posted,
    too_many_models_are_counted_as_others,
    a_lease_has_one_holder,
    a_lease_wanted_by_many_goes_to_one,
    what_operators_did_is_read_in_order,
    what_is_said_of_a_provider_stands_until_it_is_forgotten,
    where_a_provider_is_paid_changes_from_what_stands_there,
);
