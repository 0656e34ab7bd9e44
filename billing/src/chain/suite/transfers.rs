//! Wallets that pay: what arrives, what it costs, and what is refused.

use super::*;

both![
    a_first_message_deploys_the_wallet_and_pays,
    a_message_is_obeyed_once,
    a_foreign_signature_is_refused,
    an_old_message_is_refused,
    a_message_for_later_is_refused,
    a_wallet_without_coins_takes_nothing,
    a_transfer_that_bounces_comes_back,
    a_batch_pays_254_at_once,
    fees_stay_below_their_bound,
    what_the_wallet_cannot_afford_is_skipped_and_the_rest_is_paid,
    a_get_method_takes_and_gives_values,
    a_contract_is_deployed_by_a_payment,
    an_older_wallet_is_paid_like_any_other,
    what_is_no_message_is_refused,
];

/// The code of wallet v4r2, which most people have had before v5r1; and its hash, as explorers list it.
const OLDER: (&[u8], &str) = (
    include_bytes!("v4r2.boc"),
    "feb5ff6820e2ff0d9483e7e0d62c817d846789fb4ae580c878866d959dabd5c0",
);

async fn a_first_message_deploys_the_wallet_and_pays(through: Through) {
    let world = World::funded(through).await;
    let me = world.wallet.address();
    let before = world.chain.account(me).await.expect("an account");
    assert_eq!((before.status, before.code_hash), (AccountStatus::Uninitialised, None));
    assert_eq!(before.balance.get(), u128::from(100 * TON));
    assert_eq!(
        (world.wallet.seqno(&*world.chain).await, Wallet::seqno_in(&before)),
        (Ok(0), Some(0))
    );

    let payment = pay(payee(9), TON).with_comment("epoch 7").expect("a comment");
    let signed = world.sign(&[payment], 0);
    assert_eq!(world.chain.send(&signed.bytes).await, Ok(signed.hash));

    let after = world.chain.account(me).await.expect("an account");
    assert_eq!(after.status, AccountStatus::Active);
    assert!(after.code_hash.is_some() && after.data.is_some());
    assert_eq!(
        (world.wallet.seqno(&*world.chain).await, Wallet::seqno_in(&after)),
        (Ok(1), Some(1))
    );
    let mine = world.history(me).await;
    let [gift, sent] = mine.as_slice() else {
        panic!("{mine:?}");
    };
    assert_eq!(
        gift.credited().map(|gift| gift.value.get()),
        Some(u128::from(100 * TON))
    );
    assert_eq!(sent.incoming, Incoming::External(signed.hash));
    assert!(sent.succeeded() && sent.credited().is_none());
    assert_eq!(after.last, sent.at);

    // The payee has no contract, which is why its transaction is aborted; the coins stay.
    let theirs = world.history(payee(9)).await;
    let [got] = theirs.as_slice() else {
        panic!("{theirs:?}");
    };
    let transfer = got.credited().expect("a transfer");
    assert_eq!((transfer.from, transfer.value.get()), (me, u128::from(TON)));
    assert_eq!(transfer.body.comment(), Ok(Some("epoch 7".into())));
    assert_eq!(sent.outgoing.iter().collect::<Vec<_>>(), [transfer]);
    assert!(got.aborted && !got.returned && got.exit_code.is_none());
    let state = world.chain.account(payee(9)).await.expect("an account");
    assert_eq!(state.status, AccountStatus::Uninitialised);
    assert_eq!(state.balance.get(), u128::from(TON));
}

async fn a_message_is_obeyed_once(through: Through) {
    let world = World::funded(through).await;
    let first = world.sign(&[pay(payee(9), TON)], 0);
    let rival = world.sign(&[pay(payee(8), TON)], 0);
    world.chain.send(&first.bytes).await.expect("taken");
    for again in [&first, &rival] {
        let refused = world.chain.send(&again.bytes).await.expect_err("obeyed before");
        assert!(Wallet::refused_seqno(&refused), "{refused:?}");
    }
    assert_eq!((world.balance(payee(9)), world.balance(payee(8))), (TON, 0));
    // The next one with the same payment is another message.
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 1).bytes)
        .await
        .expect("taken");
    assert_eq!(world.balance(payee(9)), 2 * TON);
}

async fn a_foreign_signature_is_refused(through: Through) {
    let world = World::funded(through).await;
    for seqno in [0, 1] {
        let until = world.devnet.now() + 60;
        let unsigned = world
            .wallet
            .prepare(&[pay(payee(9), TON)], seqno, until)
            .expect("a message");
        let signature = WalletKey::from_seed(&[2; 32]).sign(unsigned.digest());
        let forged = unsigned.with(&signature).expect("a message");
        let refused = world.chain.send(&forged.bytes).await.expect_err("forged");
        assert!(Wallet::refused_signature(&refused), "{refused:?}");
        if seqno == 0 {
            world
                .chain
                .send(&world.sign(&[pay(payee(8), TON)], 0).bytes)
                .await
                .expect("taken");
        }
    }
    assert_eq!(world.balance(payee(9)), 0);
}

async fn an_old_message_is_refused(through: Through) {
    let world = World::funded(through).await;
    let signed = world.sign(&[pay(payee(9), TON)], 0);
    world.devnet.advance(61);
    let refused = world.chain.send(&signed.bytes).await.expect_err("too old");
    assert!(Wallet::refused_expired(&refused), "{refused:?}");
    assert_eq!(world.balance(payee(9)), 0);
}

async fn a_message_for_later_is_refused(through: Through) {
    let world = World::funded(through).await;
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 0).bytes)
        .await
        .expect("taken");
    let early = world.sign(&[pay(payee(9), TON)], 2);
    let refused = world.chain.send(&early.bytes).await.expect_err("not its turn");
    assert!(Wallet::refused_seqno(&refused), "{refused:?}");
    world
        .chain
        .send(&world.sign(&[pay(payee(9), TON)], 1).bytes)
        .await
        .expect("taken");
    world.chain.send(&early.bytes).await.expect("its turn has come");
    assert_eq!(world.balance(payee(9)), 3 * TON);
}

async fn a_wallet_without_coins_takes_nothing(through: Through) {
    let world = World::new(through, DevnetSettings::default()).await;
    let refused = world.chain.send(&world.sign(&[pay(payee(9), 1)], 0).bytes).await;
    assert!(matches!(refused, Err(ChainError::Refused { .. })), "{refused:?}");
    let unknown = world.chain.account(world.wallet.address()).await.expect("an account");
    assert_eq!(unknown, AccountState::nonexistent(world.wallet.address()));
}

async fn a_transfer_that_bounces_comes_back(through: Through) {
    let world = World::funded(through).await;
    let payment = Payment {
        bounce: true,
        ..pay(payee(9), TON)
    };
    world.chain.send(&world.sign(&[payment], 0).bytes).await.expect("taken");
    assert_eq!(world.balance(payee(9)), 0);
    let theirs = world.history(payee(9)).await;
    assert!(
        matches!(theirs.as_slice(), [got] if got.returned && got.credited().is_none()),
        "{theirs:?}"
    );
    let mine = world.history(world.wallet.address()).await;
    let Some(Incoming::Transfer(back)) = mine.last().map(|last| &last.incoming) else {
        panic!("{mine:?}");
    };
    assert!(back.bounced && back.from == payee(9));
    assert!(
        mine.last().is_some_and(|last| last.credited().is_none()),
        "a bounce is nobody's payment"
    );
    let kept = 100 * TON - world.balance(world.wallet.address());
    assert!(kept < TON / 100, "{kept} nano went to fees");
}

async fn a_batch_pays_254_at_once(through: Through) {
    let world = World::funded(through).await;
    world
        .chain
        .send(&world.sign(&[pay(payee(9), 1)], 0).bytes)
        .await
        .expect("taken");
    let before = world.balance(world.wallet.address());
    let to = |n: usize| {
        let mut id = [0xee; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Address::basechain(id)
    };
    let amount = |n: usize| 1_000_000 + u64::try_from(n).expect("a small number");
    let batch: Vec<_> = (0..BATCH_MAX).map(|n| pay(to(n), amount(n))).collect();
    let signed = world.sign(&batch, 1);
    assert!(signed.bytes.len() < EXTERNAL_BYTES_MAX / 2);
    world.chain.send(&signed.bytes).await.expect("taken");
    let paid: u64 = (0..BATCH_MAX).map(amount).sum();
    for n in 0..BATCH_MAX {
        assert_eq!(world.balance(to(n)), amount(n));
    }
    let mine = world.history(world.wallet.address()).await;
    let sent = mine.last().expect("a transaction");
    assert_eq!(sent.incoming, Incoming::External(signed.hash));
    let told: Vec<_> = sent.outgoing.iter().map(|out| (out.to, out.value.get())).collect();
    let wanted: Vec<_> = (0..BATCH_MAX).map(|n| (to(n), u128::from(amount(n)))).collect();
    assert_eq!(told, wanted, "in the order of the batch");
    let cost = (before - paid - world.balance(world.wallet.address())) / 254;
    assert!(cost < 200_000, "{cost} nano per payee");
}

async fn fees_stay_below_their_bound(through: Through) {
    let world = World::funded(through).await;
    let me = world.wallet.address();
    let long = "x".repeat(COMMENT_BYTES_MAX);
    // The first deploys the wallet as well.
    for (seqno, payments, comment) in [
        (0, 1, long.as_str()),
        (1, 1, ""),
        (2, 1, &long),
        (3, 20, &long),
        (4, 20, ""),
    ] {
        let to = |n| pay(payee(n), 1).with_comment(comment).expect("a comment");
        let batch: Vec<_> = (1..=payments).map(to).collect();
        let before = world.balance(me);
        world.chain.send(&world.sign(&batch, seqno).bytes).await.expect("taken");
        let fees = before - world.balance(me) - u64::from(payments);
        assert!(
            fees < FEE_MAX.get() * u64::from(payments),
            "{payments} {}: {fees}",
            comment.len()
        );
    }
}

async fn what_the_wallet_cannot_afford_is_skipped_and_the_rest_is_paid(through: Through) {
    let world = World::funded(through).await;
    let batch = [pay(payee(7), TON), pay(payee(8), 200 * TON), pay(payee(9), TON)];
    world.chain.send(&world.sign(&batch, 0).bytes).await.expect("taken");
    assert_eq!([7, 8, 9].map(|id| world.balance(payee(id))), [TON, 0, TON]);
    let mine = world.history(world.wallet.address()).await;
    let told: Vec<_> = mine.iter().flat_map(|tx| &tx.outgoing).map(|out| out.to).collect();
    assert_eq!(told, [payee(7), payee(9)]);
}

async fn a_get_method_takes_and_gives_values(through: Through) {
    let world = World::funded(through).await;
    let me = world.wallet.address();
    let refused = |answer: Result<_, ChainError>| match answer {
        Err(ChainError::Refused { exit_code, .. }) => exit_code,
        answer => panic!("{answer:?}"),
    };
    assert_eq!(refused(world.chain.get(payee(9), "seqno", &[]).await), Some(-13));
    assert_eq!(refused(world.chain.get(me, "seqno", &[]).await), Some(-13));
    world
        .chain
        .send(&world.sign(&[pay(payee(9), 1)], 0).bytes)
        .await
        .expect("taken");
    let key = world.chain.get(me, "get_public_key", &[]).await.expect("a key");
    let key: Vec<_> = key.iter().map(Value::hash).collect();
    assert_eq!(key, [Some(Hash::from_bytes(world.key.public().to_bytes()))]);
    let extensions = world.chain.get(me, "get_extensions", &[]).await;
    assert_eq!(extensions, Ok(vec![Value::Null]));
    assert_eq!(refused(world.chain.get(me, "no_such_method", &[]).await), Some(11));
}

async fn a_contract_is_deployed_by_a_payment(through: Through) {
    let world = World::funded(through).await;
    // Another wallet serves as the contract.
    let other = Wallet::new(WalletKey::from_seed(&[3; 32]).public(), Network::Testnet).expect("a wallet");
    let payment = Payment {
        init: Some(other.init().clone()),
        bounce: true,
        ..pay(other.address(), TON)
    };
    world.chain.send(&world.sign(&[payment], 0).bytes).await.expect("taken");
    let state = world.chain.account(other.address()).await.expect("an account");
    assert_eq!(state.status, AccountStatus::Active);
    let theirs = world.history(other.address()).await;
    assert!(
        matches!(theirs.as_slice(), [got] if got.succeeded() && got.credited().is_some()),
        "{theirs:?}"
    );
}

async fn an_older_wallet_is_paid_like_any_other(through: Through) {
    let world = World::funded(through).await;
    let mut data = CellBuilder::new();
    data.store_u32(0).expect("room");
    data.store_u32(698_983_191).expect("room");
    data.store_raw(&[5; 32], 256).expect("room");
    data.store_bit_zero().expect("room");
    let init = StateInit {
        code: Some(read_cell(OLDER.0).expect("cells")),
        data: Some(data.build().expect("a cell")),
        ..StateInit::default()
    };
    let to = Address::of_contract(&init).expect("an address");
    let first = Payment {
        init: Some(init),
        ..pay(to, TON)
    };
    let second = Payment {
        bounce: true,
        ..pay(to, TON).with_comment("epoch 7").expect("a comment")
    };
    world
        .chain
        .send(&world.sign(&[first, second], 0).bytes)
        .await
        .expect("taken");
    let state = world.chain.account(to).await.expect("an account");
    let code = state.code_hash.map(|hash| hash.to_string());
    assert_eq!((state.status, code.as_deref()), (AccountStatus::Active, Some(OLDER.1)));
    let theirs = world.history(to).await;
    let got: Vec<_> = theirs
        .iter()
        .filter_map(Transaction::credited)
        .map(|got| got.body.comment())
        .collect();
    assert_eq!(got, [Ok(None), Ok(Some("epoch 7".into()))]);
    let kept = state.balance.nano().expect("an amount").get();
    assert!(
        (2 * TON - TON / 100..2 * TON).contains(&kept),
        "all but its own fees: {kept}"
    );
}

async fn what_is_no_message_is_refused(through: Through) {
    let world = World::funded(through).await;
    let cell = write_cell(Cell::default().as_ref());
    for bytes in [&[][..], b"not a bag of cells", &cell, &vec![0; EXTERNAL_BYTES_MAX + 1]] {
        let refused = world.chain.send(bytes).await;
        assert!(
            matches!(refused, Err(ChainError::Refused { exit_code: None, .. })),
            "{refused:?}"
        );
    }
}
