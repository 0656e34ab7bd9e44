//! Payees whose accounts are hard to follow: they end and come to be again, or nobody can read what they did.

use std::sync::Arc;

use filature_billing::Hash;
use filature_billing::chain::{
    AccountState, AccountStatus, Address, Chain, ChainError, Devnet, Head, Position, Transaction, Value,
};
use filature_billing::settle::{Done, OrderedState, SettleError, Settler, Waiting, payments};

use crate::world::{TON, World, mortal_at, provider};

/// A round with a mortal payee, `a`, and a plain one, `b`, in which the batch is signed.
async fn signed(world: &mut World) -> Settler {
    world.mortal("a", 1).await;
    world.plain("b");
    world.seal(&[("a", TON), ("b", TON)]).await;
    let mut settler = world.honest();
    loop {
        match settler.step(&world.payees).await.expect("a step") {
            Done::Signed { payments: 2, .. } => return settler,
            Done::Sent { .. } | Done::Waits(_) => drop(world.devnet.block().expect("a block")),
            _ => {}
        }
    }
}

async fn status(world: &World) -> AccountStatus {
    world
        .devnet
        .view()
        .account(mortal_at(1))
        .await
        .expect("an account")
        .status
}

#[tokio::test]
async fn an_account_that_ends_and_comes_to_be_again_is_followed() {
    let mut world = World::new(31).await;
    let mut settler = signed(&mut world).await;
    for _ in 0..2 {
        world.end(1).await;
        assert_eq!(status(&world).await, AccountStatus::Nonexistent);
        world.revive(1).await;
        assert_eq!(status(&world).await, AccountStatus::Active);
    }
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}

#[tokio::test]
async fn what_meets_an_account_that_has_ended_comes_back() {
    let mut world = World::new(32).await;
    let mut settler = signed(&mut world).await;
    world.end(1).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    assert_eq!(world.got(mortal_at(1)).await, 0);
    world.check_books(&world.accounts()).await;
    let (paid, _) = payments(&world.store, None, 9).await.expect("books");
    let of = |name: &str| {
        paid.iter()
            .find(|one| one.provider == provider(name))
            .map(|one| one.state)
    };
    assert_eq!(
        (of("a"), of("b")),
        (Some(OrderedState::Returned), Some(OrderedState::Paid))
    );
    // It is owed all of it, and is tried again after a day.
    world.revive(1).await;
    world.devnet.advance(world.settings.returned_rest_s);
    world.devnet.block().expect("a block");
    world.seal(&[("a", TON)]).await;
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}

/// A chain that cannot tell what an account did.
struct Unreadable(Devnet, Address);

#[async_trait::async_trait]
impl Chain for Unreadable {
    async fn head(&self) -> Result<Head, ChainError> {
        self.0.head().await
    }

    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError> {
        self.0.send(message).await
    }

    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        self.0.account(address).await
    }

    async fn transactions(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError> {
        if address == self.1 {
            return Err(ChainError::Damaged("a transaction that cannot be read".into()));
        }
        self.0.transactions(address, after, limit).await
    }

    async fn get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError> {
        self.0.get(address, method, stack).await
    }
}

#[tokio::test]
async fn an_account_that_cannot_be_read_keeps_nobody_waiting_for_long() {
    let mut world = World::new(33).await;
    drop(signed(&mut world).await);
    let mut settler = world.settler(Arc::new(Unreadable(world.devnet.view(), mortal_at(1))));
    let sent = settler.step(&world.payees).await.expect("a step");
    assert!(matches!(sent, Done::Sent { .. }), "{sent:?}");
    for _ in 0..5 {
        world.devnet.block().expect("a block");
    }
    for _ in 0..3 {
        let unread = settler.step(&world.payees).await;
        assert!(
            matches!(unread, Err(SettleError::Chain(ChainError::Damaged(_)))),
            "{unread:?}"
        );
    }
    // An hour after the message's time it counts as paid: it was sent.
    world.devnet.advance(world.settings.valid_s + 3_601);
    world.devnet.block().expect("a block");
    assert_eq!(world.run(&mut settler).await, Waiting::NothingDue);
    let (paid, _) = payments(&world.store, None, 9).await.expect("books");
    let of = |name: &str| {
        paid.iter()
            .find(|one| one.provider == provider(name))
            .map(|one| one.state)
    };
    assert_eq!(
        (of("a"), of("b")),
        (Some(OrderedState::Unread), Some(OrderedState::Paid))
    );
    // Nobody is paid again.
    world.seal(&[("b", TON)]).await;
    assert_eq!(world.run(&mut world.honest()).await, Waiting::NothingDue);
    world.check(&world.accounts()).await;
}
