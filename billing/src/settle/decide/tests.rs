//! Steps out of books and views that are written by hand; and entries that may not follow.

use super::*;
use crate::chain::{AccountStatus, Coins, Position};
use crate::epoch::Earned;
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::settle::{
    Anchored, Basis, ClaimedNow, Fate, Message, Order, Outcome, Payees, Payout, Plan, Returned, Taken, What,
};

const NOW: u32 = 1_000;
const RULES: Rules = Rules {
    paused: false,
    every_s: 100,
};
const TON: u64 = 1_000_000_000;

fn address(id: u8) -> Address {
    Address::basechain([id; 32])
}

fn at(lt: u64) -> Position {
    Position {
        lt,
        hash: Hash::of(&lt.to_be_bytes()),
    }
}

fn provider() -> ProviderId {
    ProviderId::parse("a").expect("an id")
}

/// The chain before anything was settled: wallet 1, contract 2, epoch 0 sealed.
fn view(seqno: u32) -> View {
    let mut data = crate::chain::CellBuilder::new();
    data.store_bit_one().expect("room");
    data.store_u32(seqno).expect("room");
    View {
        head: Head { seqno: 5, time: NOW },
        wallet: AccountState {
            address: address(1),
            balance: Coins::new(100 * u128::from(TON)).expect("an amount"),
            status: AccountStatus::Active,
            code_hash: Some(Hash::of(b"wallet")),
            data: Some(data.build().expect("a cell")),
            last: at(7),
        },
        contract_at: address(2),
        contract: Some(ContractState {
            address: address(2),
            balance: Coins::ZERO,
            operator: address(1),
            owed: Nano::ZERO,
            anchors: 0,
            anchor: None,
            chain: Hash::from_bytes([0; 32]),
            claimed: Default::default(),
            contests: Default::default(),
            last: at(8),
        }),
        epoch: Some(0),
    }
}

fn plan(view: &View) -> Plan {
    let payees: Payees = [(provider(), address(3))].into();
    let earnings = [Earned {
        provider: provider(),
        earned: Nano::saturating(TON),
    }];
    Plan::new(&Basis {
        epoch: 0,
        seal: Hash::of(b"seal"),
        earnings: &earnings,
        before: &Default::default(),
        payees: &payees,
        wallet: view.wallet.address,
        contract: view.contract.as_ref().expect("a contract"),
        threshold: Nano::saturating(1),
        seqno_min: 1,
        returned_rest_s: 0,
        now: NOW,
    })
    .expect("a plan")
}

fn message(seqno: u32, valid_until: u32, order: Order) -> Message {
    Message {
        seqno,
        valid_until,
        after: at(7),
        hash: Hash::of(&[seqno.to_be_bytes(), valid_until.to_be_bytes()].concat()),
        boc: String::new(),
        order,
    }
}

fn pays(amount: u64, bounces_after: Option<Position>) -> Order {
    Order::Pay(vec![Payout {
        provider: provider(),
        payee: address(3),
        amount: Nano::saturating(amount),
        bounces_after,
    }])
}

fn took(message: &Message, fate: Fate) -> What {
    What::Outcome(Outcome {
        seqno: message.seqno,
        taken: Taken::Ours {
            hash: message.hash,
            at: at(9),
            payments: vec![fate],
        },
    })
}

/// Adds an entry; its error, if it may not follow.
fn add(books: &mut Books, time: u32, what: What) -> Result<(), String> {
    let entry = books.entry(what, time);
    let hash = Hash::of(&entry.to_bytes().expect("bytes"));
    books.apply(entry, hash).map_err(|bad| bad.wrong)
}

/// Books with these entries, all at one time.
fn books(entries: impl IntoIterator<Item = What>) -> Books {
    let mut books = Books::default();
    for what in entries {
        add(&mut books, NOW, what).expect("an entry that may follow");
    }
    books
}

/// A round up to its anchor, which reached the contract.
fn landed() -> Vec<What> {
    let anchor = message(1, NOW + 60, Order::Anchor(at(8)));
    let reached = took(&anchor, Fate::Reached(at(10)));
    vec![What::Plan(plan(&view(1))), What::Message(anchor), reached]
}

fn anchored(claimed: u64) -> What {
    let claimed = ClaimedNow {
        provider: provider(),
        claimed: Nano::saturating(claimed),
    };
    What::Anchored(Anchored {
        at: at(11),
        claimed: vec![claimed],
    })
}

/// The view when the contract has the plan's anchor.
fn view_anchored(seqno: u32) -> View {
    let mut view = view(seqno);
    let anchor = plan(&view).anchor;
    if let Some(contract) = &mut view.contract {
        contract.anchor = Some(anchor);
    }
    view
}

fn step(books: &Books, view: &View) -> String {
    match decide(books, view, &RULES) {
        Step::Wait(why) => format!("{why:?}").split([' ', '(']).next().expect("a word").to_owned(),
        Step::Send(message) => format!("Send {}", message.valid_until),
        step => format!("{step:?}"),
    }
}

#[test]
fn a_round_goes_from_step_to_step() {
    let mut entries = landed();
    entries.push(anchored(0));
    let batch = message(2, NOW + 60, pays(TON, None));
    entries.extend([What::Message(batch.clone()), took(&batch, Fate::Sent(12))]);
    let wanted = [
        (view(1), "Plan"),
        (view(1), "SignAnchor(1)"),
        (view(1), "Send 1060"),
        (view_anchored(2), "NoteAnchor"),
        (view_anchored(2), "SignPayouts(2)"),
        (view_anchored(2), "Send 1060"),
        (view_anchored(3), "NothingDue"),
    ];
    let mut books = Books::default();
    let mut entries = entries.into_iter();
    for (view, wanted) in wanted {
        assert_eq!(step(&books, &view), wanted);
        if let Some(what) = entries.next() {
            add(&mut books, NOW, what).expect("an entry that may follow");
        }
    }
    assert_eq!(books.round().expect("a round").paid(), (1, Nano::saturating(TON)));
    assert_eq!(books.before()[&provider()].pushed, Nano::saturating(TON));
}

#[test]
fn an_open_message_is_sent_until_the_seqno_moves_or_its_time_is_over() {
    let open = books([
        What::Plan(plan(&view(1))),
        What::Message(message(1, NOW + 60, Order::Anchor(at(8)))),
    ]);
    let at_time = |seqno: u32, time: u32| {
        let mut view = view(seqno);
        view.head.time = time;
        step(&open, &view)
    };
    assert_eq!(at_time(1, NOW + 59), "Send 1060");
    // Another one, but for the same seqno.
    assert_eq!(at_time(1, NOW + 60), "SignAnchor(1)");
    assert_eq!(at_time(2, NOW), "Reconcile");
    assert_eq!(at_time(9, NOW + 61), "Reconcile");
    assert_eq!(at_time(0, NOW + 61), "Lagging");
}

#[test]
fn an_answer_from_before_what_is_known_is_waited_out() {
    let landed = books(landed());
    assert_eq!(step(&landed, &view(1)), "Lagging");
    // The wallet is up to date, and the contract is not.
    assert_eq!(step(&landed, &view(2)), "Lagging");
    let mut strange = view_anchored(2);
    if let Some(contract) = &mut strange.contract {
        contract.anchor = contract.anchor.map(|anchor| Anchor {
            earnings_root: Hash::of(b"another"),
            ..anchor
        });
    }
    assert_eq!(step(&landed, &strange), "Stranger");
}

#[test]
fn nothing_begins_where_something_is_wrong() {
    let with = |change: &dyn Fn(&mut View)| {
        let mut view = view(1);
        change(&mut view);
        step(&Books::default(), &view)
    };
    let contract = |view: &mut View, change: &dyn Fn(&mut ContractState)| view.contract.iter_mut().for_each(change);
    assert_eq!(with(&|_| {}), "Plan");
    assert_eq!(with(&|view| view.epoch = None), "NothingDue");
    assert_eq!(with(&|view| view.contract = None), "NoContract");
    let other = |contract: &mut ContractState| contract.operator = address(9);
    assert_eq!(with(&|view| contract(view, &other)), "NotOperator");
    let anchored = |contract: &mut ContractState| contract.anchor = Some(plan(&view(1)).anchor);
    assert_eq!(with(&|view| view.contract.iter_mut().for_each(anchored)), "Stranger");
    assert_eq!(with(&|view| view.wallet.data = Some(Default::default())), "NoWallet");
    let paused = Rules { paused: true, ..RULES };
    assert_eq!(
        decide(&Books::default(), &view(1), &paused),
        Step::Wait(Waiting::Paused)
    );
}

#[test]
fn a_round_is_ended_from_the_wallet_that_began_it() {
    let open = books([
        What::Plan(plan(&view(1))),
        What::Message(message(1, NOW + 60, Order::Anchor(at(8)))),
    ]);
    let of_another = |seqno| {
        let mut view = view_anchored(seqno);
        view.wallet.address = address(9);
        if let Some(contract) = &mut view.contract {
            contract.operator = address(9);
        }
        view.epoch = Some(1);
        view.head.time = NOW + 100;
        view
    };
    for seqno in [0, 1, 2] {
        assert_eq!(step(&open, &of_another(seqno)), "OtherWallet");
    }
    // When it is over, another one may begin, whatever its seqno.
    let mut entries = landed();
    entries.push(anchored(TON));
    let mut over = books(entries);
    assert_eq!(step(&over, &of_another(0)), "Plan");
    let mut next = plan(&of_another(0));
    next.seqno_min = 0;
    add(&mut over, NOW, What::Plan(next)).expect("a plan");
    let mut forgetful = plan(&view(1));
    forgetful.seqno_min = 0;
    let mut entries = landed();
    entries.push(anchored(TON));
    let forgets = add(&mut books(entries), NOW, What::Plan(forgetful));
    assert_eq!(forgets, Err("it forgets what the wallet has sent".into()));
}

#[test]
fn nothing_is_signed_that_the_wallet_cannot_afford() {
    let planned = books([What::Plan(plan(&view(1)))]);
    let mut poor = view(1);
    poor.wallet.balance = Coins::from(Nano::saturating(TON));
    assert_eq!(step(&planned, &poor), "Short");
    let mut entries = landed();
    entries.push(anchored(0));
    let mut poor = view_anchored(2);
    poor.wallet.balance = Coins::from(Nano::saturating(TON));
    assert_eq!(step(&books(entries), &poor), "Short");
}

#[test]
fn the_next_round_waits_for_an_epoch_and_its_time() {
    let mut entries = landed();
    // All of it was claimed meanwhile: nobody is to be paid.
    entries.push(anchored(TON));
    let over = books(entries);
    let later = |time: u32, epoch: u64| {
        let mut view = view_anchored(2);
        view.head.time = time;
        view.epoch = Some(epoch);
        step(&over, &view)
    };
    assert_eq!(later(NOW + 100, 0), "NothingDue");
    assert_eq!(later(NOW + 99, 1), "NothingDue");
    assert_eq!(later(NOW + 100, 1), "Plan");
    // The last one was told that it began in what is the future still: that puts off nothing.
    assert_eq!(later(NOW - 1, 1), "Plan");
}

#[test]
fn an_anchor_that_the_contract_refused_ends_the_round_and_pays_nobody() {
    let anchor = message(1, NOW + 60, Order::Anchor(at(8)));
    let returned = took(&anchor, Fate::Returned(at(10)));
    let refused = books([What::Plan(plan(&view(1))), What::Message(anchor), returned]);
    assert!(refused.round().expect("a round").is_over());
    assert_eq!(refused.anchor(), None);
    assert_eq!(refused.before()[&provider()].pushed, Nano::ZERO);
}

#[test]
fn what_came_back_or_was_skipped_is_not_paid() {
    let mut entries = landed();
    entries.push(anchored(0));
    let batch = message(2, NOW + 60, pays(TON, Some(at(4))));
    entries.push(What::Message(batch.clone()));
    let with = |fate| {
        let mut books = books(entries.clone());
        add(&mut books, NOW + 5, took(&batch, fate)).expect("an outcome");
        books
    };
    let returned = with(Fate::Returned(at(12)));
    let before = returned.before()[&provider()];
    assert_eq!(before.pushed, Nano::ZERO);
    let time = NOW + 5;
    let payee = address(3);
    assert_eq!(before.returned, Some(Returned { payee, time }));
    assert!(returned.round().expect("a round").is_over());
    let skipped = with(Fate::Skipped);
    assert_eq!(step(&skipped, &view_anchored(3)), "SignPayouts(3)");
    let foreign = {
        let mut books = books(entries.clone());
        let taken = Taken::Foreign;
        add(&mut books, NOW, What::Outcome(Outcome { seqno: 2, taken })).expect("an outcome");
        books
    };
    assert_eq!(step(&foreign, &view_anchored(3)), "SignPayouts(3)");
}

#[test]
fn an_entry_that_may_not_follow_is_refused() {
    let check = |entries: Vec<What>, time: u32, what: What, wrong: &str| {
        let mut books = books(entries);
        let next = books.next();
        assert_eq!(add(&mut books, time, what), Err(wrong.to_owned()));
        assert_eq!(books.next(), next);
    };
    let planned = || What::Plan(plan(&view(1)));
    let anchor = |seqno, until| What::Message(message(seqno, until, Order::Anchor(at(8))));
    let batch = |seqno, amount| What::Message(message(seqno, NOW + 60, pays(amount, None)));
    check(vec![planned()], NOW, planned(), "the round before is not over");
    check(vec![planned()], NOW, anchor(0, NOW), "its seqno was used before");
    check(vec![planned()], NOW, batch(1, TON), "it orders what is not due");
    check(
        vec![planned()],
        NOW,
        anchored(0),
        "the anchor is not in the contract yet, or was read before",
    );
    let open = || vec![planned(), anchor(1, NOW + 60)];
    check(
        open(),
        NOW + 59,
        anchor(1, NOW + 90),
        "the message before is still good",
    );
    check(open(), NOW + 61, anchor(2, NOW + 90), "the seqno before is not settled");
    let unknown = took(&message(1, 5, Order::Anchor(at(8))), Fate::Reached(at(10)));
    check(open(), NOW, unknown, "it names no open message");
    let of_anchor = message(1, NOW + 60, Order::Anchor(at(8)));
    check(
        open(),
        NOW,
        took(&of_anchor, Fate::Sent(9)),
        "an anchor is one message that may come back",
    );
    let paying = || {
        let mut entries = landed();
        entries.push(anchored(0));
        entries
    };
    check(paying(), NOW, batch(2, TON - 1), "it orders what is not due");
    check(paying(), NOW, batch(2, TON + 1), "it orders what is not due");
    let twice = match (pays(TON, None), pays(TON, None)) {
        (Order::Pay(mut one), Order::Pay(other)) => {
            one.extend(other);
            What::Message(message(2, NOW + 60, Order::Pay(one)))
        }
        _ => planned(),
    };
    check(paying(), NOW, twice, "it orders what is not due");
    let mut paid = paying();
    let sent = message(2, NOW + 60, pays(TON, None));
    paid.extend([What::Message(sent.clone()), took(&sent, Fate::Sent(12))]);
    check(paid.clone(), NOW, batch(3, TON), "it orders what is not due");
    check(
        paid,
        NOW,
        took(&sent, Fate::Sent(12)),
        "no message of its seqno is open",
    );
    let mut changed = plan(&view(1));
    changed.rows[0].planned = Nano::saturating(5);
    check(vec![], NOW, What::Plan(changed), "its root is not that of its rows");
}
