//! Claims between plan, anchor and payment: what the contract pays is not pushed as well.

use filature_billing::settle::{Done, Plan, Settler, Waiting};

use crate::world::{TON, World, nano, provider};

/// Claims for a provider, by what a plan says.
async fn claim(world: &World, plan: &Plan, name: &str) {
    let payment = plan.claim(&provider(name), false).expect("a claim").expect("a row");
    world.strangers(&[payment]).await;
}

async fn until(world: &World, settler: &mut Settler, wanted: impl Fn(&Done) -> bool) {
    for _ in 0..100 {
        if wanted(&settler.step(&world.payees).await.expect("a step")) {
            return;
        }
    }
    panic!("it does not come to that");
}

async fn plan(settler: &mut Settler) -> Plan {
    let books = settler.books().await.expect("books");
    books.round().expect("a round").plan().clone()
}

#[tokio::test]
async fn what_is_claimed_before_the_anchor_is_not_pushed_and_after_it_nothing_can_be_claimed() {
    let mut world = World::new(1).await;
    world.settings.threshold = nano(TON);
    for name in ["a", "b", "c"] {
        world.plain(name);
    }
    let mut settler = world.honest();
    // Below the threshold: left to be claimed.
    world.seal(&[("a", TON / 2), ("b", TON / 2), ("c", TON / 2)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    let first = plan(&mut settler).await;
    claim(&world, &first, "a").await;
    assert_eq!(world.claimed(&provider("a")).await, TON / 2);

    world.seal(&[("a", TON), ("b", TON), ("c", TON)]).await;
    until(&world, &mut settler, |done| matches!(done, Done::Planned { .. })).await;
    // Claimed when all was planned already.
    claim(&world, &first, "b").await;
    until(&world, &mut settler, |done| matches!(done, Done::Sent { .. })).await;
    // Anchored: neither root pays what is being pushed.
    let second = plan(&mut settler).await;
    for plan in [&first, &second] {
        claim(&world, plan, "c").await;
    }
    assert_eq!(world.claimed(&provider("c")).await, 0);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
    let pushed = world.pushed(&world.accounts()).await;
    assert_eq!(pushed[&provider("a")], TON);
    assert_eq!(pushed[&provider("b")], TON);
    assert_eq!(pushed[&provider("c")], TON * 3 / 2);

    // And the next round goes on from what really was paid.
    world.seal(&[("a", TON), ("b", 2 * TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}
