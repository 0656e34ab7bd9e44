//! What the operator says it pushed and did not: contested, answered, and decided by silence.

use filature_billing::chain::Payment;
use filature_billing::settle::{Anchor, Leaf, Payables, ProvenLeaf, ProviderTag};
use filature_billing::{Hash, Nano, ProviderId};
use serde_json::{Value, json};

use crate::chain::{Chain, key_file};
use crate::house::{House, Kind, Ran};
use crate::onchain::{address, told};
use crate::wallets::{TON, wallet};

/// Anchors in a contract that a provider earned so many coins and was pushed so many; the file with the leaf.
async fn anchored_leaf(house: &House, chain: &Chain, contract: &str, earned: u64, pushed: u64) -> String {
    let provider = ProviderId::parse("direct.rich").expect("an id");
    let (earned, pushed) = (Nano::saturating(earned * TON), Nano::saturating(pushed * TON));
    let leaf = Leaf {
        payee: Some(wallet(5).1.address()),
        provider: ProviderTag::of(&provider),
        earned,
        pushed,
    };
    let anchor = Anchor {
        epoch: 12,
        earnings_root: Payables::new([leaf.clone()]).root(),
        receipts_root: Hash::of(b"seal"),
    };
    let anchor = Payment {
        body: anchor.body(Nano::ZERO, 0).expect("a body"),
        ..Payment::new(address(contract), Nano::saturating(TON / 100))
    };
    chain.pay(1, anchor).await;
    let proof = ProvenLeaf {
        version: ProvenLeaf::VERSION,
        contract: address(contract),
        epoch: 12,
        provider,
        payee: leaf.payee,
        earned,
        pushed,
        index: 0,
        leaves: 1,
        path: Vec::new(),
    };
    house.file("rich.json", serde_json::to_string(&proof).expect("JSON"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_what_was_not_pushed_is_contested_and_silence_loses() {
    let house = House::new(Kind::Embedded).await;
    let chain = Chain::start(&[1, 2, 3, 5]);
    let hasty = ["--answer-delay", "2s", "--value", "60", "--despite-doubts"];
    let contract = chain.deploy(&house, &hasty);
    let leaf = anchored_leaf(&house, &chain, &contract, 50, 50).await;
    let (mine, theirs) = (key_file(&house, 5), key_file(&house, 2));
    let run = |args: &[&str]| chain.filature(&house, &[args, &["--contract", &contract]].concat());
    let open = |received: &str, key: &str| {
        run(&[
            "contest",
            "open",
            "--proof",
            &leaf,
            "--received",
            received,
            "--wallet",
            key,
        ])
    };
    told(
        &run(&["claim", "--proof", &leaf, "--wallet", &mine]),
        1,
        "nothing is due",
    );
    told(&open("20", &theirs), 1, "only the payee ");
    told(&open("50", &mine), 1, "there is nothing to contest");
    let small = [
        "contest",
        "open",
        "--proof",
        &leaf,
        "--received",
        "1",
        "--bond",
        "0.5",
        "--wallet",
        &mine,
    ];
    told(&run(&small), 2, "--bond: the least is 1.000000000");
    let link = run(&["contest", "open", "--proof", &leaf, "--received", "20", "--print"]);
    let start = format!("ton://transfer/{contract}?amount=1020000000&bin=");
    assert!(link.code == 0 && link.out.contains(&start), "{} {}", link.out, link.err);

    let before = chain.balance(wallet(5).1.address()).await;
    let opened = open("20", &mine);
    assert!(
        opened.code == 0 && opened.out.contains("asks for   30.000000000 TON"),
        "{} {}",
        opened.out,
        opened.err
    );
    told(&open("20", &mine), 1, "is open already");
    // The operator is silent. When its time is over, anybody may end it.
    loop {
        let closed = run(&["contest", "close", "direct.rich", "--wallet", &theirs]);
        if closed.code == 0 {
            assert!(closed.out.contains("none is open"), "{}", closed.out);
            break;
        }
        told(&closed, 1, "the operator may object. Nothing was sent");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let got = chain.balance(wallet(5).1.address()).await - before;
    // Thirty coins, the bond, and what fees left of the message that ended it; less what opening it cost.
    let coins = u128::from(TON);
    assert!(got > 30 * coins && got < 30 * coins + coins / 20, "{got}");
    let shown = chain.json(&house, &["contract", "show", "--contract", &contract]);
    assert_eq!((&shown["claimed"], &shown["contested"]), (&json!(30 * TON), &json!(0)));
    assert_eq!(shown["held"], json!(0));
    contests_are_answered(&house, &chain).await;
}

fn rule_early(run: &impl Fn(&[&str]) -> Ran, arbiter: &str) -> Ran {
    run(&["contest", "rule", "direct.rich", "1", "--wallet", arbiter])
}

/// An operator that does not sleep, and a payee that takes its contest back.
async fn contests_are_answered(house: &House, chain: &Chain) {
    let contract = chain.deploy(house, &["--value", "5"]);
    let leaf = anchored_leaf(house, chain, &contract, 3, 3).await;
    let (payee, operator) = (key_file(house, 5), key_file(house, 1));
    let run = |args: &[&str]| chain.filature(house, &[args, &["--contract", &contract]].concat());
    let by = |what: &str, key: &str| run(&["contest", what, "direct.rich", "--wallet", key]);
    told(&by("object", &operator), 1, "no contest of direct.rich is open");
    let open = || {
        run(&[
            "contest",
            "open",
            "--proof",
            &leaf,
            "--received",
            "0",
            "--wallet",
            &payee,
        ])
    };
    assert_eq!(open().code, 0);
    told(&rule_early(&run, &key_file(house, 3)), 1, "nobody has objected");
    told(&by("close", &payee), 1, "the operator may object. Nothing was sent");
    told(&by("object", &payee), 1, "only the operator ");
    let objected = by("object", &operator);
    assert!(
        objected.code == 0 && objected.out.contains("the arbiter rules until"),
        "{} {}",
        objected.out,
        objected.err
    );
    told(&by("object", &operator), 1, "was answered already");
    told(&by("close", &payee), 1, "the arbiter may rule. Nothing was sent");
    let arbiter = key_file(house, 3);
    let rule = |amount: &str, key: &str| run(&["contest", "rule", "direct.rich", amount, "--wallet", key]);
    told(&rule("4", &arbiter), 1, "and gets no more. Nothing was sent");
    told(&rule("1", &operator), 1, "only the arbiter ");
    let none_is_open = |ran: Ran| {
        assert!(
            ran.code == 0 && ran.out.contains("none is open"),
            "{} {}",
            ran.out,
            ran.err
        )
    };
    none_is_open(rule("1", &arbiter));
    let shown = chain.json(house, &["contract", "show", "--contract", &contract]);
    assert_eq!(shown["claimed"], json!(TON));

    // The rest is contested again, and taken back.
    assert_eq!(open().code, 0);
    none_is_open(by("drop", &payee));
    let shown = chain.json(house, &["contest", "show", "direct.rich", "--contract", &contract]);
    assert_eq!(shown["contest"], Value::Null);
}
