//! Random histories: two settlers that die at any moment, endpoints with every fault, a wallet that others use, claims,
//! payees of every kind, and epochs that go on. In the end everybody was paid what the epochs say.

use std::sync::Arc;

use filature_billing::chain::{Devnet, DevnetSettings, Faults, Lie, Payment};
use filature_billing::settle::{SettleError, Settler, Waiting, read_books};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::contests::{contest, found, take_back};
use crate::crash::Killed;
use crate::world::{TON, World, account, nano, provider};

/// Histories and steps of each: in `make test`, and in `make faults`.
pub const SHORT: (u64, usize) = (4, 120);
pub const LONG: (u64, usize) = (40, 600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_everybody_is_paid_exactly_once() {
    run(SHORT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make faults"]
async fn whatever_happens_for_long_everybody_is_paid_exactly_once() {
    run(LONG).await;
}

async fn run((histories, steps): (u64, usize)) {
    for seed in seeds(histories) {
        history(seed, steps).await;
    }
}

/// `FILATURE_SEED` repeats a history, `FILATURE_HISTORIES` tries more.
pub fn seeds(histories: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("FILATURE_SEED") {
        Some(seed) => vec![seed],
        None => {
            let mut rng = rand::rng();
            let histories = number("FILATURE_HISTORIES").unwrap_or(histories);
            (0..histories).map(|_| rng.next_u64() >> 1).collect()
        }
    }
}

struct Actor {
    eyes: Devnet,
    settler: Settler,
}

async fn history(seed: u64, steps: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = DevnetSettings {
        slow: rng.random(),
        on_demand: rng.random(),
        ..DevnetSettings::default()
    };
    let mut world = World::with(seed, settings).await;
    for name in ["a", "b", "c"] {
        world.plain(name);
    }
    world.walleted("d", 3).await;
    world.walleted("e", 4).await;
    world.bouncing("f", 1).await;
    world.mortal("g", 1).await;
    world.seal(&[("a", TON), ("f", TON)]).await;
    let mut accounts = world.accounts();
    let mut actors: Vec<Actor> = (0..2).map(|_| actor(&world)).collect();
    for _ in 0..steps {
        match rng.random_range(0..12) {
            0 => {
                let place = rng.random_range(0..actors.len());
                actors[place] = actor(&world);
            }
            1 | 2 => {
                let place = rng.random_range(0..actors.len());
                actors[place].eyes.set_faults(faults(&mut rng));
            }
            3 => {
                world.devnet.advance(rng.random_range(0..200));
                world.devnet.block().expect("a block");
            }
            4 => disturb(&mut world, &mut rng).await,
            _ => {
                let place = rng.random_range(0..actors.len());
                let killed = rng.random_bool(0.3).then(|| rng.random_range(0..60));
                step(&world, &mut actors[place], killed).await;
            }
        }
        world.check_pushed().await;
    }
    // Everything is well again, and the one who sends money back named another account.
    world.plain("f");
    accounts.entry(provider("f")).or_default().push(account("f"));
    world.give(world.wallet.address(), 5_000 * TON);
    world.revive(1).await;
    let mut last = world.honest();
    assert_eq!(world.run(&mut last).await, Waiting::NothingDue, "seed {seed}");
    // Whoever asks for more than is left to pay was objected to; everybody is paid as soon as it contests nothing.
    for (name, seed_of) in [("d", 3), ("e", 4)] {
        let Some(contest) = found(&world, name).await else {
            continue;
        };
        let unpaid = unpaid(&world, name).await;
        assert!(
            contest.objected || contest.total <= nano(unpaid),
            "seed {seed}: {contest:?}, {unpaid} unpaid"
        );
        take_back(&world, name, seed_of).await;
    }
    // A payment that came to an account that had ended came back: it is tried again after a day.
    world.devnet.advance(world.settings.returned_rest_s);
    world.devnet.block().expect("a block");
    let all = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, 1_000));
    world.seal(&all).await;
    assert_eq!(world.run(&mut last).await, Waiting::NothingDue, "seed {seed}");
    world.check(&accounts).await;
    println!("seed {seed}: {} messages obeyed", world.obeyed().await);
}

fn actor(world: &World) -> Actor {
    let eyes = world.devnet.view();
    let settler = world.settler(Arc::new(eyes.clone()));
    Actor { eyes, settler }
}

async fn step(world: &World, actor: &mut Actor, killed: Option<usize>) {
    let inner = Box::pin(actor.settler.step(&world.payees));
    let done = match killed {
        Some(left) => Killed { inner, left }.await,
        None => Some(inner.await),
    };
    match done {
        None => {
            actor.settler = world.settler(Arc::new(actor.eyes.clone()));
        }
        Some(Ok(_) | Err(SettleError::Chain(_))) => {}
        Some(Err(error)) => panic!("{error}"),
    }
}

pub fn faults(rng: &mut StdRng) -> Faults {
    let mut faults = Faults::default();
    match rng.random_range(0..10) {
        0 => faults.down = true,
        1 => faults.lose_messages = true,
        2 => faults.lose_answers = true,
        3 => faults.refuse_messages = Some([133, 136, 0][rng.random_range(0..3)]),
        4 => faults.double_messages = true,
        5 => faults.delay_blocks = rng.random_range(1..6),
        6 => faults.lag_blocks = rng.random_range(1..6),
        7 => faults.lie = Some([Lie::Omit, Lie::Repeat, Lie::Reverse][rng.random_range(0..3)]),
        _ => {}
    }
    faults
}

/// What a provider earned and was not pushed by the books.
async fn unpaid(world: &World, name: &str) -> u64 {
    let before = read_books(&world.store).await.expect("books").before();
    let pushed = before.get(&provider(name)).map_or(0, |before| before.pushed.get());
    world.earned(&provider(name)).saturating_sub(pushed)
}

/// What other people do.
async fn disturb(world: &mut World, rng: &mut StdRng) {
    match rng.random_range(0..8) {
        0 | 1 => {
            let names = ["a", "b", "c", "d", "e", "f", "g"];
            let mut earned = Vec::new();
            for name in names {
                if rng.random_bool(0.6) {
                    earned.push((name, rng.random_range(1..3 * TON)));
                }
            }
            if !earned.is_empty() {
                world.seal(&earned).await;
            }
        }
        2 => {
            let payment = Payment::new(account("by hand"), nano(rng.random_range(1..100)));
            by_hand(world, &[payment]).await;
        }
        3 => {
            let balance = world.devnet.truth(world.wallet.address()).expect("an account").balance;
            let much = balance.nano().expect("an amount").get().saturating_sub(TON);
            if much > 0 {
                by_hand(world, &[Payment::new(account("cold"), nano(much))]).await;
            }
        }
        4 => world.give(world.wallet.address(), 50 * TON),
        5 => {
            let (name, seed) = [("d", 3), ("e", 4)][rng.random_range(0..2)];
            let books = read_books(&world.store).await.expect("books");
            if books
                .round()
                .is_some_and(|round| round.plan().find(&provider(name)).is_some())
            {
                contest(world, name, seed, rng.random_range(0..TON)).await;
            }
        }
        6 if rng.random() => world.end(1).await,
        6 => world.revive(1).await,
        _ => claim(world, rng).await,
    }
}

/// Uses the settling wallet, unless it is too poor to take a message.
async fn by_hand(world: &World, payments: &[Payment]) {
    let balance = world.devnet.truth(world.wallet.address()).expect("an account").balance;
    if balance.get() > u128::from(TON / 10) {
        world.pay(&world.key, &world.wallet, payments).await;
    }
}

/// Claims for somebody by the last plan, whether the contract agrees or not.
async fn claim(world: &World, rng: &mut StdRng) {
    let books = read_books(&world.store).await.expect("books");
    let Some(plan) = books.round().map(|round| round.plan()) else {
        return;
    };
    let row = &plan.rows[rng.random_range(0..plan.rows.len())];
    let payment = plan.claim(&row.provider, false).expect("a claim").expect("a row");
    world.strangers(&[payment]).await;
}
