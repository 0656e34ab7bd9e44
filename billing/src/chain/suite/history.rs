//! Histories that are read page by page, and across restarts.

use super::*;

both![
    pages_follow_each_other_without_a_gap,
    comments_come_as_they_were_sent,
    the_head_moves_with_the_blocks,
    a_history_outlives_a_restart,
];

async fn pages_follow_each_other_without_a_gap(through: Through) {
    let world = World::new(through, DevnetSettings::default()).await;
    let (me, other) = (world.wallet.address(), payee(9));
    for n in 1..=70 {
        world.give(me, n, &format!("deposit {n}"));
        world.give(other, 1, "");
    }
    let (mut after, mut sizes, mut values) = (Position::START, Vec::new(), Vec::new());
    loop {
        let page = world.chain.transactions(me, after, 1_000).await.expect("a page");
        sizes.push(page.len());
        let Some(last) = page.last() else { break };
        assert_eq!(page.first().map(|first| first.previous), Some(after));
        after = last.at;
        values.extend(
            page.iter()
                .filter_map(Transaction::credited)
                .map(|gift| gift.value.get()),
        );
    }
    assert_eq!(sizes, [32, 32, 6, 0]);
    assert_eq!(values, (1..=70).collect::<Vec<u128>>());
    let account = world.chain.account(me).await.expect("an account");
    assert_eq!(account.last, after);
    // From where it was read to, only what is new.
    world.give(me, 71, "");
    let page = world.chain.transactions(me, after, 5).await.expect("a page");
    assert_eq!(page.len(), 1);
    // A position that never was is a gap.
    let wrong = Position {
        hash: Hash::of(b"never"),
        ..after
    };
    let refused = world.chain.transactions(me, wrong, 5).await;
    assert!(matches!(refused, Err(ChainError::Damaged(_))), "{refused:?}");
    assert_eq!(world.chain.transactions(payee(3), Position::START, 5).await, Ok(vec![]));
}

async fn comments_come_as_they_were_sent(through: Through) {
    let world = World::new(through, DevnetSettings::default()).await;
    let (me, long) = (world.wallet.address(), "я".repeat(COMMENT_BYTES_MAX / 2));
    for comment in ["a", &long] {
        world.give(me, 5, comment);
    }
    let mut foreign = CellBuilder::new();
    foreign.store_u32(0).expect("room");
    foreign.store_raw(b"\xef\xf0\xe8", 24).expect("room");
    let foreign = Body::new(foreign.build().expect("a cell"));
    let much = Coins::new(1 << 60).expect("an amount");
    world.devnet.give(me, much, &foreign).expect("a gift");
    let mine = world.history(me).await;
    let comments: Vec<_> = mine
        .iter()
        .filter_map(Transaction::credited)
        .map(|gift| gift.body.comment())
        .collect();
    assert_eq!(
        comments,
        [Ok(Some("a".into())), Ok(Some(long)), Err(BadComment::NotText)]
    );
    // More than the ledger can hold is seen as what it is.
    let last = mine.last().and_then(Transaction::credited).expect("a gift");
    assert_eq!((last.value, last.value.nano()), (much, Err(crate::money::Overflow)));
}

async fn the_head_moves_with_the_blocks(through: Through) {
    let world = World::new(through, DevnetSettings::default()).await;
    let first = world.chain.head().await.expect("a head");
    world.devnet.advance(5);
    world.devnet.block().expect("a block");
    let second = world.chain.head().await.expect("a head");
    assert_eq!((second.seqno, second.time), (first.seqno + 1, first.time + 5));
    world.give(payee(9), 1, "");
    let got = world.history(payee(9)).await;
    assert!(
        matches!(got.as_slice(), [got] if (got.seqno, got.time) == (second.seqno + 1, second.time)),
        "{got:?}"
    );
}

async fn a_history_outlives_a_restart(through: Through) {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = DevnetSettings {
        folder: Some(folder.path().to_owned()),
        on_demand: true,
        ..DevnetSettings::default()
    };
    let mut world = World::new(through, settings.clone()).await;
    let me = world.wallet.address();
    for n in 1..=40 {
        world.give(me, n * TON, "");
    }
    let page = world.chain.transactions(me, Position::START, 10).await.expect("a page");
    let after = page.last().expect("a transaction").at;
    let before = (
        world.devnet.truth(me),
        world.history(me).await,
        world.chain.head().await,
    );
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");

    // What waited for its block and was in no block is gone, as with a node that stops.
    world.close().await;
    world = World::new(through, settings.clone()).await;
    assert_eq!(
        (
            world.devnet.truth(me),
            world.history(me).await,
            world.chain.head().await
        ),
        before
    );
    let rest = world.chain.transactions(me, after, PAGE_MAX).await.expect("a page");
    assert_eq!(rest.len(), 30);
    assert_eq!(rest.first().map(|first| first.previous), Some(after));

    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");
    world.devnet.block().expect("a block");
    world.close().await;
    world = World::new(through, settings).await;
    assert_eq!(world.wallet.seqno(&*world.chain).await, Ok(1));
    assert_eq!(world.balance(payee(9)), TON);
}
