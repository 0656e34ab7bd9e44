//! What owner, operator, arbiter and providers tell the contract, by commands, on a real chain.

use serde_json::{Value, json};

use crate::chain::{Chain, friendly, key_file};
use crate::house::{House, Kind, Ran};
use crate::onchain::told;
use crate::wallets::{TON, wallet};

/// A contract on a chain, with wallets: 1 operates, 2 owns, 3 arbitrates, 4 gets what is forfeit, 5 stakes.
struct Contract {
    house: House,
    chain: Chain,
    address: String,
}

impl Contract {
    async fn deployed() -> Self {
        let house = House::new(Kind::Embedded).await;
        let chain = Chain::start(&[1, 2, 3, 5]);
        let quick = [
            "--value",
            "20",
            "--draw-limit",
            "10",
            "--unstake-delay",
            "1s",
            "--answer-delay",
            "2s",
            "--despite-doubts",
        ];
        let address = chain.deploy(&house, &quick);
        Self { house, chain, address }
    }

    fn run(&self, args: &[&str]) -> Ran {
        let on = ["--contract", self.address.as_str()];
        self.chain.filature(&self.house, &[args, &on].concat())
    }

    /// From the wallet with this seed.
    fn by(&self, seed: u8, args: &[&str]) -> Ran {
        let key = key_file(&self.house, seed);
        self.run(&[args, &["--wallet", &key]].concat())
    }

    /// The same of a command that must succeed, and what it says.
    fn done(&self, seed: u8, args: &[&str]) -> Value {
        let ran = self.by(seed, &[args, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        serde_json::from_str(&ran.out).expect("JSON")
    }

    fn shown(&self, args: &[&str]) -> Value {
        let on = ["--contract", self.address.as_str()];
        self.chain.json(&self.house, &[args, &on].concat())
    }

    fn stake(&self) -> Value {
        self.shown(&["stake", "show", &friendly(5)])["stake"].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_owner_and_operator_tell_the_contract_what_they_want() {
    let contract = Contract::deployed().await;
    let drawn = contract.done(1, &["contract", "draw", "4"]);
    assert_eq!(
        (&drawn["order"], &drawn["carries"]),
        (&json!("draw"), &json!(30_000_000))
    );
    assert!(drawn["transaction"]["hash"].is_string(), "{drawn}");
    told(
        &contract.by(1, &["contract", "draw", "7"]),
        1,
        "more than there is or than the limit",
    );
    told(
        &contract.by(1, &["contract", "draw", "1", "--to", &friendly(5)]),
        1,
        "this wallet may not do it",
    );
    told(
        &contract.by(5, &["contract", "draw", "1"]),
        1,
        &format!("only the operator {}", friendly(1)),
    );
    told(
        &contract.by(2, &["contract", "draw", "100", "--to", &friendly(4)]),
        1,
        "its money does not suffice",
    );
    contract.done(2, &["contract", "draw", "1", "--to", &friendly(4)]);
    contract.done(2, &["contract", "set-draw-limit", "3"]);
    assert_eq!(contract.shown(&["contract", "show"])["draw_limit"], json!(3 * TON));

    let owner = format!("only the owner {} may do that", friendly(2));
    told(&contract.by(1, &["contract", "pause", "--for", "1h"]), 1, &owner);
    told(
        &contract.by(2, &["contract", "pause", "--for", "60d"]),
        2,
        "--for: the terms allow 604800 seconds",
    );
    contract.done(2, &["contract", "pause", "--for", "1h"]);
    assert!(contract.shown(&["contract", "show"])["paused_until"].is_u64());
    told(
        &contract.by(2, &["contract", "pause", "--for", "1h"]),
        1,
        "can be paused again from ",
    );
    told(&contract.by(1, &["contract", "draw", "1"]), 1, "it is paused");
    contract.done(2, &["contract", "resume"]);
    assert_eq!(contract.shown(&["contract", "show"])["paused_until"], Value::Null);

    contract.done(2, &["contract", "set-operator", &friendly(5)]);
    told(
        &contract.by(1, &["contract", "draw", "1"]),
        1,
        &format!("only the operator {}", friendly(5)),
    );
    told(&contract.by(5, &["contract", "accept-owner"]), 1, "that is nobody now");
    contract.done(2, &["contract", "propose-owner", &friendly(5)]);
    told(
        &contract.by(1, &["contract", "accept-owner"]),
        1,
        &format!("only the proposed owner {}", friendly(5)),
    );
    contract.done(2, &["contract", "propose-owner", "none"]);
    told(&contract.by(5, &["contract", "accept-owner"]), 1, "that is nobody now");
    contract.done(2, &["contract", "propose-owner", &friendly(5)]);
    contract.done(5, &["contract", "accept-owner"]);
    told(
        &contract.by(2, &["contract", "resume"]),
        1,
        &format!("only the owner {}", friendly(5)),
    );
    contract.done(5, &["contract", "propose-arbiter", &friendly(1)]);
    assert!(contract.shown(&["contract", "show"])["next_arbiter"].is_string());

    // From a wallet that is kept elsewhere.
    let link = contract.run(&["contract", "resume", "--print"]);
    let start = format!("ton://transfer/{}?amount=30000000&bin=", contract.address);
    assert!(link.code == 0 && link.out.contains(&start), "{} {}", link.out, link.err);
    assert_eq!(contract.run(&["contract", "resume"]).code, 2);
    told(
        &contract.by(5, &["contract", "set-operator", "EQnonsense"]),
        2,
        "ADDRESS: ",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_stakes_come_back_and_slashes_are_disputed() {
    let contract = Contract::deployed().await;
    assert_eq!(contract.stake(), Value::Null);
    told(
        &contract.by(5, &["stake", "add", "direct.rich", "5"]),
        1,
        "the least stake is 10.000000000 TON: nothing was sent",
    );
    let cut = contract.by(5, &["stake", "add", "5f1d", "12"]);
    assert!(
        cut.code == 2 && cut.err.contains("64 hexadecimal digits"),
        "{}",
        cut.err
    );
    contract.done(5, &["stake", "add", "direct.rich", "12"]);
    told(
        &contract.by(5, &["stake", "add", "direct.poor", "12"]),
        1,
        "is for another provider",
    );
    contract.done(5, &["stake", "add", "direct.rich", "8"]);
    assert_eq!(contract.stake()["staked"], json!(20 * TON));
    told(&contract.by(5, &["stake", "withdraw"]), 1, "there is no such stake");
    told(
        &contract.by(5, &["stake", "leave", "15"]),
        1,
        "leaves less than the least stake",
    );

    // A slash that nobody disputes is carried out; anybody may see to it.
    let why = contract.house.file("why.txt", "it served another model");
    let slash = |amount: &str| contract.by(2, &["stake", "slash", &friendly(5), amount, "--reason", &why]);
    assert_eq!(slash("4").code, 0);
    told(&slash("4"), 1, "a case is open");
    let open = contract.stake()["slash"].clone();
    assert_eq!((&open["amount"], &open["disputed"]), (&json!(4 * TON), &json!(false)));
    let reason = filature_billing::Hash::of(b"it served another model").to_string();
    assert_eq!(open["reason"], json!(reason));
    loop {
        let closed = contract.by(3, &["stake", "close-slash", &friendly(5)]);
        if closed.code == 0 {
            break;
        }
        told(&closed, 1, "it is too early");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(contract.stake()["staked"], json!(16 * TON));

    // A disputed one is the arbiter's; and the owner may take one back.
    assert_eq!(slash("5").code, 0);
    contract.done(5, &["stake", "dispute"]);
    told(
        &contract.by(2, &["stake", "rule-slash", &friendly(5), "5"]),
        1,
        "only the arbiter",
    );
    contract.done(3, &["stake", "rule-slash", &friendly(5), "1"]);
    assert_eq!(slash("5").code, 0);
    contract.done(2, &["stake", "drop-slash", &friendly(5)]);
    assert_eq!(contract.stake()["staked"], json!(15 * TON));

    contract.done(5, &["stake", "leave", "15"]);
    let shown = contract.run(&["stake", "show", &friendly(5)]);
    assert!(shown.out.contains("leaving    15.000000000 TON from "), "{}", shown.out);
    let before = contract.chain.balance(wallet(5).1.address()).await;
    loop {
        let taken = contract.by(5, &["stake", "withdraw"]);
        if taken.code == 0 {
            break;
        }
        told(&taken, 1, "it is too early");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let back = contract.chain.balance(wallet(5).1.address()).await - before;
    assert!(back > 14 * u128::from(TON), "{back}");
    assert_eq!(contract.stake(), Value::Null);
    assert_eq!(contract.shown(&["contract", "show"])["held"], json!(0));
}
