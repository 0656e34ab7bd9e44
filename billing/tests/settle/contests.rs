//! Providers contest what the books say they were paid: a wrong contest is objected to, a right one is not.

use filature_billing::chain::{Address, Chain, Network, Payment, Wallet, WalletKey};
use filature_billing::settle::{
    ContractOrder, ContractState, Done, OpenContest, ProviderTag, Waiting, WhyOwed, owed, read_books,
};

use crate::world::{TON, World, nano, provider};

/// Has a provider contest by the last plan that it received only so much. Its wallet is that of the seed. The contract may
/// not agree that anything is due.
pub async fn contest(world: &World, name: &str, seed: u8, received: u64) {
    let books = read_books(&world.store).await.expect("books");
    let Some(plan) = books.round().map(|round| round.plan()) else {
        return;
    };
    let (place, _) = plan.find(&provider(name)).expect("a row");
    let proof = plan.payables().proof(place).expect("a leaf");
    let body = proof.contest(plan.anchor.epoch, nano(received), 1).expect("a body");
    let payment = Payment {
        bounce: true,
        body,
        ..Payment::new(world.contract, nano(2 * TON))
    };
    let (key, wallet) = wallet_of(seed);
    world.give(wallet.address(), 5 * TON);
    world.pay(&key, &wallet, &[payment]).await;
}

/// A provider takes its contest back, from a wallet of its own that lives.
pub async fn take_back(world: &World, name: &str, seed: u8) {
    let payment = ContractOrder::DropContest(ProviderTag::of(&provider(name))).payment(world.contract, 0);
    let (key, wallet) = wallet_of(seed);
    world.give(wallet.address(), 5 * TON);
    world.pay(&key, &wallet, &[payment.expect("a message")]).await;
}

fn wallet_of(seed: u8) -> (WalletKey, Wallet) {
    let key = WalletKey::from_seed(&[seed; 32]);
    let wallet = Wallet::new(key.public(), Network::Testnet).expect("a wallet");
    (key, wallet)
}

/// The provider's contest, as the contract has it.
pub async fn found(world: &World, name: &str) -> Option<OpenContest> {
    let account = world.devnet.view().account(world.contract).await.expect("an account");
    let state = ContractState::read(&account).expect("its data").expect("a contract");
    state.contests.get(&ProviderTag::of(&provider(name))).copied()
}

async fn objected(world: &World, name: &str) -> bool {
    found(world, name).await.expect("a contest").objected
}

/// A world in which `a` was paid and `b` waits below the threshold.
async fn one_paid_one_owed(seed: u64) -> (World, [Address; 2]) {
    let mut world = World::new(seed).await;
    world.settings.threshold = nano(TON);
    let payees = [world.walleted("a", 3).await, world.walleted("b", 4).await];
    world.seal(&[("a", 5 * TON), ("b", TON / 2)]).await;
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    (world, payees)
}

#[tokio::test]
async fn who_contests_what_it_was_paid_is_objected_to_and_who_was_not_paid_is_not() {
    let (mut world, payees) = one_paid_one_owed(31).await;
    contest(&world, "a", 3, 0).await;
    contest(&world, "b", 4, 0).await;
    assert_eq!(found(&world, "a").await.expect("a contest").total, nano(5 * TON));
    let mut settler = world.honest();
    let before = world.obeyed().await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(objected(&world, "a").await, "it has all it earned");
    assert!(!objected(&world, "b").await, "it is owed what it asks for");
    assert_eq!(world.obeyed().await, before + 1, "one message, once");
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    assert_eq!(world.obeyed().await, before + 1);

    // What `b` contests the contract may pay, and does not learn what is pushed meanwhile: nothing is, until the contest is over.
    world.seal(&[("b", TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(!objected(&world, "b").await);
    assert_eq!(world.got(payees[1]).await, 0);
    let waits = owed(&world.store).await.expect("books").expect("a round").owed;
    assert!(
        waits
            .iter()
            .all(|one| one.provider == provider("b") && one.why == WhyOwed::Contests),
        "{waits:?}"
    );
    take_back(&world, "b", 4).await;
    assert_eq!(found(&world, "b").await, None);
    world.seal(&[("b", TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!(world.got(payees[1]).await, TON * 5 / 2);
    world.check_books(&world.accounts()).await;
}

#[tokio::test]
async fn an_objection_that_was_not_taken_in_time_is_signed_anew_for_the_same_seqno() {
    let (world, _) = one_paid_one_owed(32).await;
    contest(&world, "a", 3, 1).await;
    let mut settler = world.honest();
    let first = settler.step(&world.payees).await.expect("a step");
    assert!(matches!(first, Done::Objects { contests: 1, .. }), "{first:?}");
    world.devnet.advance(world.settings.valid_s + 1);
    world.devnet.block().expect("a block");
    // Another settler goes on with it.
    let again = world.honest().step(&world.payees).await.expect("a step");
    assert_eq!(again, first);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(objected(&world, "a").await);
}

#[tokio::test]
async fn an_objection_that_comes_too_late_comes_back_and_is_not_repeated() {
    let (world, _) = one_paid_one_owed(33).await;
    contest(&world, "a", 3, 1).await;
    let mut settler = world.honest();
    let signed = settler.step(&world.payees).await.expect("a step");
    assert!(matches!(signed, Done::Objects { .. }), "{signed:?}");
    let deadline = found(&world, "a").await.expect("a contest").deadline;
    // Sent when it is too late for an answer: the contract refuses it.
    let now = world.devnet.now();
    world.devnet.advance(deadline - now + 1);
    world.devnet.block().expect("a block");
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(!objected(&world, "a").await);
    let obeyed = world.obeyed().await;
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    assert_eq!(world.obeyed().await, obeyed);
    world.check_books(&world.accounts()).await;
}

#[tokio::test]
async fn a_paused_settler_and_a_poor_one_object_when_they_can() {
    let (world, _) = one_paid_one_owed(34).await;
    contest(&world, "a", 3, 1).await;
    let mut settler = world.honest();
    settler.pause(true);
    assert_eq!(world.run(&mut settler).await, Waiting::Paused);
    settler.pause(false);
    take_all_but(&world, TON / 100).await;
    assert!(matches!(world.run(&mut settler).await, Waiting::Short { .. }));
    assert!(!objected(&world, "a").await);
    world.give(world.wallet.address(), TON);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(objected(&world, "a").await);
}

#[tokio::test]
async fn whoever_contests_keeps_nobody_from_being_paid() {
    let (mut world, payees) = one_paid_one_owed(35).await;
    contest(&world, "a", 3, 1).await;
    world.seal(&[("b", 2 * TON)]).await;
    let mut settler = world.honest();
    let first = settler.step(&world.payees).await.expect("a step");
    assert!(matches!(first, Done::Planned { payees: 1, .. }), "{first:?}");
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(world.got(payees[1]).await > TON);
    assert!(objected(&world, "a").await, "after the round");
}

#[tokio::test]
async fn no_contest_is_won_because_a_round_stands_still() {
    let (mut world, payees) = one_paid_one_owed(36).await;
    world.seal(&[("b", 2 * TON)]).await;
    let mut settler = world.honest();
    while !matches!(settler.step(&world.payees).await, Ok(Done::Anchored { .. })) {
        world.devnet.block().expect("a block");
    }
    // Nearly all is taken before it is paid, and then `a` contests.
    take_all_but(&world, TON / 10).await;
    contest(&world, "a", 3, 1).await;
    assert!(matches!(world.run(&mut settler).await, Waiting::Short { .. }));
    assert!(!objected(&world, "a").await, "it has time");
    let unanswered = settler.unanswered();
    assert_eq!(unanswered.len(), 1);
    assert_eq!(unanswered[0].provider, provider("a"));
    let left = unanswered[0].deadline - world.devnet.now();
    world.devnet.advance(left - 3_600);
    world.devnet.block().expect("a block");
    assert!(matches!(world.run(&mut settler).await, Waiting::Short { .. }));
    assert!(objected(&world, "a").await);
    assert_eq!(settler.unanswered(), []);
    world.give(world.wallet.address(), 5 * TON);
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert!(world.got(payees[1]).await > TON);
    world.check_books(&world.accounts()).await;
}

/// The operator takes what is in the wallet, but for this.
async fn take_all_but(world: &World, left: u64) {
    let account = world.devnet.truth(world.wallet.address()).expect("an account");
    let has = account.balance.nano().expect("an amount").get();
    let take = Payment::new(world.stranger.1.address(), nano(has - left));
    world.pay(&world.key, &world.wallet, &[take]).await;
}
