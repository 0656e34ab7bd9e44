//! What goes wrong on the way to the chain and back, and what can be told from it.

use super::*;

both![
    a_lost_message_leaves_no_trace,
    a_lost_answer_leaves_it_open,
    a_refusal_may_be_a_lie,
    a_doubled_message_is_obeyed_once,
    a_delayed_message_comes_in_its_block_or_not_at_all,
    a_lagging_answer_is_as_of_its_head,
    a_history_told_falsely_is_not_believed,
    a_chain_that_is_down_is_unavailable,
    a_slow_chain_delivers_a_step_in_each_block,
];

fn refused_or_down(answer: &Result<Hash, ChainError>) -> &'static str {
    match answer {
        Ok(_) => "taken",
        Err(ChainError::Refused { .. }) => "refused",
        Err(ChainError::Unavailable(_)) => "unavailable",
        Err(ChainError::Damaged(_)) => "damaged",
    }
}

async fn a_lost_message_leaves_no_trace(through: Through) {
    let world = World::funded(through).await;
    let signed = world.sign(&[pay(payee(9), TON)], 0);
    world.devnet.set_faults(Faults {
        lose_messages: true,
        ..Faults::default()
    });
    world.chain.send(&signed.bytes).await.expect("taken with thanks");
    assert_eq!(world.wallet.seqno(&*world.chain).await, Ok(0));
    world.devnet.set_faults(Faults::default());
    world.chain.send(&signed.bytes).await.expect("taken");
    assert_eq!(world.balance(payee(9)), TON);
}

async fn a_lost_answer_leaves_it_open(through: Through) {
    let world = World::funded(through).await;
    let signed = world.sign(&[pay(payee(9), TON)], 0);
    world.devnet.set_faults(Faults {
        lose_answers: true,
        ..Faults::default()
    });
    // The HTTP client asks again by itself, and is told that the message has been obeyed.
    let answer = world.chain.send(&signed.bytes).await;
    assert!(
        ["unavailable", "refused"].contains(&refused_or_down(&answer)),
        "{answer:?}"
    );
    assert_eq!(world.balance(payee(9)), TON);
    world.devnet.set_faults(Faults::default());
    let refused = world.chain.send(&signed.bytes).await.expect_err("obeyed before");
    assert!(Wallet::refused_seqno(&refused), "{refused:?}");
    assert_eq!(world.balance(payee(9)), TON);
}

async fn a_refusal_may_be_a_lie(through: Through) {
    let world = World::funded(through).await;
    let signed = world.sign(&[pay(payee(9), TON)], 0);
    world.devnet.set_faults(Faults {
        refuse_messages: Some(133),
        ..Faults::default()
    });
    let refused = world.chain.send(&signed.bytes).await.expect_err("refused");
    assert!(Wallet::refused_seqno(&refused), "{refused:?}");
    world.devnet.set_faults(Faults::default());
    assert_eq!(
        world.wallet.seqno(&*world.chain).await,
        Ok(0),
        "the wallet knows better"
    );
    world.chain.send(&signed.bytes).await.expect("taken");
    assert_eq!(world.balance(payee(9)), TON);
}

async fn a_doubled_message_is_obeyed_once(through: Through) {
    let world = World::funded(through).await;
    world.devnet.set_faults(Faults {
        double_messages: true,
        ..Faults::default()
    });
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");
    assert_eq!(world.balance(payee(9)), TON);
    assert_eq!(world.history(world.wallet.address()).await.len(), 2);
}

async fn a_delayed_message_comes_in_its_block_or_not_at_all(through: Through) {
    let world = World::funded(through).await;
    world.devnet.set_faults(Faults {
        delay_blocks: 2,
        ..Faults::default()
    });
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");
    let mut seen = vec![world.balance(payee(9))];
    for _ in 0..2 {
        world.devnet.block().expect("a block");
        seen.push(world.balance(payee(9)));
    }
    assert_eq!(seen, [0, 0, TON]);
    // One that is too old when its block comes is dropped.
    world
        .chain
        .send(&world.sign(&[pay(payee(8), TON)], 1).bytes)
        .await
        .expect("taken");
    world.devnet.advance(61);
    for _ in 0..3 {
        world.devnet.block().expect("a block");
    }
    assert_eq!(world.balance(payee(8)), 0);
    assert_eq!(world.wallet.seqno(&*world.chain).await, Ok(1));
}

async fn a_lagging_answer_is_as_of_its_head(through: Through) {
    let world = World::funded(through).await;
    let head = world.chain.head().await.expect("a head");
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");
    world.give(payee(9), 5, "");
    world.devnet.set_faults(Faults {
        lag_blocks: 2,
        ..Faults::default()
    });
    assert_eq!(world.chain.head().await, Ok(head));
    assert_eq!(world.wallet.seqno(&*world.chain).await, Ok(0));
    assert_eq!(world.history(world.wallet.address()).await.len(), 1);
    let unknown = world.chain.account(payee(9)).await.expect("an account");
    assert_eq!(unknown.status, AccountStatus::Nonexistent);
    world.devnet.set_faults(Faults {
        lag_blocks: 1,
        ..Faults::default()
    });
    assert_eq!(world.wallet.seqno(&*world.chain).await, Ok(1));
    let state = world.chain.account(payee(9)).await.expect("an account");
    assert_eq!(state.balance.get(), u128::from(TON));
}

async fn a_history_told_falsely_is_not_believed(through: Through) {
    let world = World::funded(through).await;
    for n in 1..=3 {
        world.give(world.wallet.address(), n, "");
    }
    for lie in [Lie::Omit, Lie::Repeat, Lie::Reverse] {
        world.devnet.set_faults(Faults {
            lie: Some(lie),
            ..Faults::default()
        });
        let told = world
            .chain
            .transactions(world.wallet.address(), Position::START, 10)
            .await;
        assert!(matches!(told, Err(ChainError::Damaged(_))), "{lie:?} {told:?}");
    }
}

async fn a_chain_that_is_down_is_unavailable(through: Through) {
    let world = World::funded(through).await;
    world.devnet.set_faults(Faults {
        down: true,
        ..Faults::default()
    });
    let me = world.wallet.address();
    let unavailable =
        |error: Option<ChainError>| assert!(matches!(error, Some(ChainError::Unavailable(_))), "{error:?}");
    unavailable(world.chain.head().await.err());
    unavailable(world.chain.account(me).await.err());
    unavailable(world.chain.transactions(me, Position::START, 1).await.err());
    unavailable(world.chain.get(me, "seqno", &[]).await.err());
    unavailable(
        world
            .chain
            .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
            .await
            .err(),
    );
    world.devnet.set_faults(Faults::default());
    assert_eq!(world.balance(payee(9)), 0);
}

async fn a_slow_chain_delivers_a_step_in_each_block(through: Through) {
    let settings = DevnetSettings {
        slow: true,
        ..DevnetSettings::default()
    };
    let world = World::new(through, settings).await;
    world.give(world.wallet.address(), TON, "");
    let bouncing = Payment {
        bounce: true,
        ..pay(payee(9), TON / 2)
    };
    world
        .chain
        .send(&world.sign(&[bouncing], 0).bytes)
        .await
        .expect("taken");
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let (mine, theirs) = (
            world.history(world.wallet.address()).await,
            world.history(payee(9)).await,
        );
        lengths.push((mine.len(), theirs.len()));
        world.devnet.block().expect("a block");
    }
    assert_eq!(lengths, [(2, 0), (2, 1), (3, 1)], "sent, bounced, come back");
}
