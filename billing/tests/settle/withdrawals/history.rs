//! Random histories: two payers that die at any moment and two watchers, endpoints with every fault, a wallet that others
//! use, an operator who gives back, payees of every kind. At every moment nobody was paid twice; in the end everything that
//! was asked for is paid or credit again, and ledger and chain say the same.

use std::sync::Arc;

use filature_billing::LedgerError;
use filature_billing::chain::{Address, Devnet, DevnetSettings};
use filature_billing::deposits::{WatchError, Watcher};
use filature_billing::withdrawals::{PayError, Payer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::till::Till;
use crate::crash::Killed;
use crate::history::{LONG, SHORT, faults, seeds};
use crate::home::Home;
use crate::world::{TON, account};

pub async fn whatever_happens_everybody_is_paid_exactly_once(home: Home) {
    let seed = seeds(1)[0];
    history(seed, SHORT.1, home).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: make faults"]
async fn whatever_happens_for_long_everybody_is_paid_exactly_once() {
    for (number, seed) in seeds(LONG.0).into_iter().enumerate() {
        let home = match number % 4 {
            0 => Home::redis().await,
            _ => Home::embedded(),
        };
        history(seed, LONG.1, home).await;
    }
}

struct Actor {
    eyes: Devnet,
    payer: Payer,
    watcher: Watcher,
}

async fn history(seed: u64, steps: usize, home: Home) {
    let mut rng = StdRng::seed_from_u64(seed);
    let settings = DevnetSettings {
        slow: rng.random(),
        on_demand: rng.random(),
        ..DevnetSettings::default()
    };
    let till = Till::with(seed, home, settings).await;
    let payees = [
        account("a"),
        account("b"),
        till.walleted(12).await,
        till.refusing(1).await,
        till.world.contract,
    ];
    let mut actors: Vec<Actor> = (0..2).map(|_| actor(&till)).collect();
    let mut asked = Vec::new();
    for step in 0..steps {
        let place = rng.random_range(0..actors.len());
        match rng.random_range(0..14) {
            0 => actors[place] = actor(&till),
            1 | 2 => actors[place].eyes.set_faults(faults(&mut rng)),
            3 => {
                till.world.devnet.advance(rng.random_range(0..200));
                till.world.devnet.block().expect("a block");
            }
            4 | 5 => ask(&till, step, &payees, &mut asked, &mut rng).await,
            6 => disturb(&till, &asked, &mut rng).await,
            7 => {
                let watched = actors[place].watcher.step(till.now_ms()).await;
                assert!(matches!(watched, Ok(_) | Err(WatchError::Chain(_))), "{watched:?}");
            }
            _ => {
                let killed = rng.random_bool(0.3).then(|| rng.random_range(0..60));
                act(&till, &mut actors[place], killed).await;
            }
        }
        if step % 8 == 0 {
            till.check_always().await;
        }
    }
    // Everything is well again.
    till.world.give(till.wallet.address(), 5_000 * TON);
    till.finish().await;
    let (asked, obeyed) = (asked.len(), till.obeyed().await);
    println!("seed {seed}: {asked} withdrawals, {obeyed} messages obeyed");
}

fn actor(till: &Till) -> Actor {
    let eyes = till.eyes();
    let payer = till.payer(Arc::new(eyes.clone()));
    let watcher = till.watcher(Arc::new(eyes.clone()));
    Actor { eyes, payer, watcher }
}

async fn act(till: &Till, actor: &mut Actor, killed: Option<usize>) {
    let inner = Box::pin(actor.payer.step(till.now_ms()));
    let done = match killed {
        Some(left) => Killed { inner, left }.await,
        None => Some(inner.await),
    };
    match done {
        None => actor.payer = till.payer(Arc::new(actor.eyes.clone())),
        Some(Ok(_) | Err(PayError::Chain(_))) => {}
        Some(Err(error)) => panic!("{error}"),
    }
}

async fn ask(till: &Till, step: usize, payees: &[Address], asked: &mut Vec<(usize, String)>, rng: &mut StdRng) {
    let (place, id) = (rng.random_range(0..till.accounts.len()), format!("w{step}"));
    let amount = rng.random_range(1..8 * TON);
    let to = match rng.random_range(0..12) {
        0 => "nowhere".to_owned(),
        1 => till.wallet.address().to_string(),
        _ => payees[rng.random_range(0..payees.len())].to_string(),
    };
    match till.try_ask(place, &id, amount, &to).await {
        Ok(_) => asked.push((place, id)),
        Err(LedgerError::Insufficient { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

/// What other people do.
async fn disturb(till: &Till, asked: &[(usize, String)], rng: &mut StdRng) {
    let balance = till.balance();
    match rng.random_range(0..6) {
        0 | 1 => {
            till.pay_in(
                rng.random_range(0..till.accounts.len()),
                rng.random_range(TON / 10..9 * TON),
            )
            .await
        }
        2 if balance > TON => till.by_hand(rng.random_range(1..TON / 2)).await,
        3 if balance > 3 * TON => till.by_hand(balance - 2 * TON).await,
        4 => till.world.give(till.wallet.address(), 50 * TON),
        _ if asked.is_empty() => {}
        _ => {
            let (place, id) = &asked[rng.random_range(0..asked.len())];
            let given = till.give_back(*place, id).await;
            assert!(
                matches!(given, Ok(Some(_)) | Err(LedgerError::OutOfTurn(_))),
                "{given:?}"
            );
        }
    }
}

on_both!(history:
    whatever_happens_everybody_is_paid_exactly_once,
);
