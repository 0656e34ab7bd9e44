//! From a call to a root on chain, and from a root to coins, by whoever is not the operator: real processes, a real chain.

use filature_billing::chain::{Address, Network, Payment};
use filature_billing::settle::{Anchor, Leaf, Payables, ProvenLeaf, ProviderTag};
use filature_billing::{Hash, Nano, ProviderId};
use serde_json::{Value, json};

use crate::chain::{Chain, friendly, key_file, operation, payees};
use crate::house::{House, Kind, Place, Ran};
use crate::wallets::{TON, wallet};

/// More than anybody earns: nothing is pushed.
const NEVER: u64 = 1_000 * TON;

/// What failed was said in one line, with this exit code.
pub fn told(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{} {}", ran.out, ran.err);
    let last = ran.err.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("filature: ") && last.contains(words),
        "{words}: {}",
        ran.err
    );
}

pub fn address(text: &str) -> Address {
    Address::parse(text, Network::Testnet).expect("an address").address
}

/// Makes a call, and gives the file of its sealed receipt and the number of its epoch.
async fn receipt(house: &House, place: &Place, name: &str) -> (String, u64) {
    let made = place.call(false, name).await.expect("an answer");
    let receipt = place.sealed(&made.id).await;
    let number = receipt["inclusion"]["epoch"]["header"]["number"]
        .as_u64()
        .expect("a number");
    (house.file(&format!("{name}.json"), receipt.to_string()), number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_receipt_is_followed_to_the_root_on_chain() {
    let house = House::new(Kind::Embedded).await;
    let chain = Chain::start(&[1]);
    let contract = chain.deploy(&house, &[]);
    let place = house.place("one");
    let _gateway = house.gateway(&place, 50, &[]).await;
    let store = place.data.join("epochs").display().to_string();
    let gateway = place.client.origin().to_owned();
    let verify = |file: &str, more: &[&str]| {
        chain.filature(
            &house,
            &[&["receipts", "verify", file, "--contract", &contract], more].concat(),
        )
    };

    let (first, number) = receipt(&house, &place, "first").await;
    let words = format!("epoch {number} is not anchored yet: nothing is anchored so far");
    told(&verify(&first, &[]), 1, &words);
    chain.settle(&place, &contract, NEVER, &payees(5)).await;
    // Anchored itself: the seal in the receipt is all that is needed.
    let ran = verify(&first, &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out
            .contains(&format!("{contract} has that hash as its anchor of epoch {number}")),
        "{}",
        ran.out
    );

    let (second, _) = receipt(&house, &place, "second").await;
    let (third, last) = receipt(&house, &place, "third").await;
    let words = format!("epoch {last} is not anchored yet: the last anchor is of epoch {number}");
    told(&verify(&third, &["--gateway", &gateway]), 1, &words);
    chain.settle(&place, &contract, NEVER, &payees(5)).await;
    // The first stands under a later anchor now, and somebody must have the seals between.
    told(
        &verify(&first, &[]),
        1,
        "say who has them with --epochs STORE or --gateway URL",
    );
    for from in [["--gateway", &gateway], ["--epochs", &store]] {
        for file in [&first, &second, &third] {
            let ran = verify(file, &from);
            assert_eq!(ran.code, 0, "{from:?} {}", ran.err);
        }
        let ran = verify(&first, &[&from[..], &["--json"]].concat());
        let verdict: Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!((&verdict["ok"], &verdict["epoch"]), (&json!(true), &json!(number)));
        let anchor = &verdict["anchor"];
        assert_eq!(
            (&anchor["epoch"], &anchor["seals"]),
            (&json!(last), &json!(last - number))
        );
        assert_eq!(anchor["contract"], json!(address(&contract)));
    }

    settings_lead_there(&house, &chain, &contract, &first, &store);
    tampering(&house, &chain, &contract, &first, &store);
    other_contracts(&house, &chain, &first, number).await;
}

/// Where a configuration names the contract, nothing has to be said; and it can be told to ask nobody.
fn settings_lead_there(house: &House, chain: &Chain, contract: &str, first: &str, store: &str) {
    let text = format!(
        "[settlement]\nnetwork = \"testnet\"\ncontract = \"{contract}\"\nendpoints = [\"{}\"]\n[epochs]\nstore = \"{store}\"\n",
        chain.endpoint
    );
    let config = house.file("settled.toml", text);
    let ran = house.filature(&["receipts", "verify", first, "--config", &config]);
    assert!(
        ran.code == 0 && ran.out.contains("has that hash as its anchor"),
        "{} {}",
        ran.out,
        ran.err
    );
    let ran = house.filature(&["receipts", "verify", first, "--config", &config, "--offline"]);
    assert!(
        ran.code == 0 && !ran.out.contains("as its anchor"),
        "{} {}",
        ran.out,
        ran.err
    );
}

/// Seals that were changed, a receipt that was changed, and an endpoint that is not there.
fn tampering(house: &House, chain: &Chain, contract: &str, first: &str, store: &str) {
    let verify = |file: &str, more: &[&str]| {
        chain.filature(
            house,
            &[&["receipts", "verify", file, "--contract", contract], more].concat(),
        )
    };
    let copy = house.path("copied");
    let copied = std::process::Command::new("cp").args(["-r", store, &copy]).status();
    assert!(copied.expect("cp runs").success());
    let last = std::fs::read_dir(format!("{copy}/epochs/000000000")).expect("a folder");
    let last = last
        .map(|entry| entry.expect("an entry").path())
        .max()
        .expect("an epoch");
    let epoch = std::fs::read_to_string(&last).expect("text");
    std::fs::write(&last, epoch.replacen("\"calls\":1", "\"calls\":2", 1)).expect("written");
    told(
        &verify(first, &["--epochs", &copy]),
        1,
        "lead to no anchor: the seal of epoch",
    );
    std::fs::remove_file(&last).expect("removed");
    told(&verify(first, &["--epochs", &copy]), 1, "which leads there, is not in");
    told(
        &verify(first, &["--epochs", &house.path("nothing")]),
        1,
        "there are no epochs in",
    );
    told(
        &verify(first, &["--gateway", "http://127.0.0.1:9"]),
        1,
        "http://127.0.0.1:9 cannot be asked",
    );
    told(&verify(first, &["--gateway", "ftp://x"]), 2, "--gateway");

    let forged = std::fs::read_to_string(first).expect("text");
    let forged = forged.replacen("\"cost\":", "\"cost\":1", 1);
    let forged = house.file("forged.json", forged);
    told(
        &verify(&forged, &["--epochs", store]),
        1,
        "this receipt proves nothing: ",
    );
    // Offline nobody is asked, and it says what it did not look at.
    let ran = house.filature(&["receipts", "verify", first]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("name the operator's contract with --contract"),
        "{}",
        ran.out
    );
    let gone = [
        "receipts",
        "verify",
        first,
        "--contract",
        contract,
        "--network",
        "testnet",
    ];
    let gone = house.filature(&[&gone[..], &["--endpoint", "http://127.0.0.1:9"]].concat());
    told(&gone, 1, "the chain cannot be reached: http://127.0.0.1:9");
}

/// Contracts that say something else.
async fn other_contracts(house: &House, chain: &Chain, first: &str, number: u64) {
    let verify = |contract: &str| chain.filature(house, &["receipts", "verify", first, "--contract", contract]);
    let other = chain.deploy(house, &["--draw-limit", "7"]);
    told(&verify(&other), 1, "nothing is anchored so far");
    let lie = Anchor {
        epoch: number,
        earnings_root: Hash::of(b"earnings"),
        receipts_root: Hash::of(b"another seal"),
    };
    let lie = Payment {
        body: lie.body(Nano::ZERO, 0).expect("a body"),
        ..Payment::new(address(&other), Nano::saturating(TON / 10))
    };
    chain.pay(1, lie).await;
    told(
        &verify(&other),
        1,
        "this is not the chain of epochs that the operator anchored",
    );
    told(
        &verify(&friendly(1)),
        1,
        "is not Filature's settlement contract: its code has the hash",
    );
    told(&verify(&friendly(9)), 1, "there is no contract at");
    let mistyped = other.replacen('k', "x", 1);
    told(&verify(&mistyped), 2, "the address");
    let mainnet = [
        "receipts",
        "verify",
        first,
        "--contract",
        &other,
        "--endpoint",
        &chain.endpoint,
    ];
    told(&house.filature(&mainnet), 2, "this is an address for the testnet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_provider_claims_without_the_operator() {
    let house = House::new(Kind::Embedded).await;
    let chain = Chain::start(&[1, 5]);
    let contract = chain.deploy(&house, &[]);
    let place = house.place("one");
    let gateway = house.gateway(&place, 50, &[]).await;
    let (file, _) = receipt(&house, &place, "first").await;
    let earned: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("text")).expect("JSON");
    let earned = earned["record"]["legs"][0]["earned"].as_u64().expect("an amount");
    let on = ["--contract", contract.as_str()];
    let origin = place.client.origin().to_owned();
    let claim = |args: &[&str]| chain.filature(&house, &[&["claim"], args, &on].concat());

    told(
        &claim(&["direct.engine", "--gateway", &origin]),
        1,
        "nothing is anchored in",
    );
    chain.settle(&place, &contract, NEVER, &payees(6)).await;
    let leaf = house.path("leaf.json");
    let dry = [
        "claim",
        "direct.engine",
        "--gateway",
        &origin,
        "--save",
        &leaf,
        "--dry-run",
    ];
    let dry = chain.json(&house, &[&dry[..], &on].concat());
    assert_eq!(
        (&dry["due"], &dry["earned"], &dry["pushed"]),
        (&json!(earned), &json!(earned), &json!(0))
    );
    told(
        &claim(&["direct.somebody", "--gateway", &origin]),
        1,
        "has no leaf of direct.somebody under the anchor",
    );
    gateway.kill();

    // The operator is gone, and so is its gateway. Its books, or the leaf alone, are enough.
    let store = place.data.join("epochs").display().to_string();
    for from in [
        ["direct.engine", "--epochs", &store],
        ["direct.engine", "--proof", &leaf],
    ] {
        let ran = claim(&[&from[..], &["--print"]].concat());
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.out
                .contains(&format!("ton://transfer/{contract}?amount=50000000&bin=")),
            "{}",
            ran.out
        );
    }
    told(&claim(&["direct.engine", "--gateway", &origin]), 1, "cannot be asked");
    told(
        &claim(&["direct.engine"]),
        2,
        "give --epochs STORE, --gateway URL or --proof FILE",
    );
    bad_proofs(&house, &chain, &contract, &leaf);
    bad_wallets(&house, &claim, &leaf);

    // Wallet 5 sends it, and wallet 6, which nobody has used yet, is paid.
    let (key, payee) = (key_file(&house, 5), wallet(6).1.address());
    let done = chain.json(
        &house,
        &[&["claim", "--proof", &leaf, "--wallet", &key], &on[..]].concat(),
    );
    let received = done["done"]["received"].as_u64().expect("an amount");
    assert!(
        received > earned + 45_000_000 && received < earned + 50_000_000,
        "{done}"
    );
    assert_eq!(chain.balance(payee).await, u128::from(received));
    let shown = chain.json(&house, &[&["contract", "show"], &on[..]].concat());
    assert_eq!(
        (&shown["claimed"], &shown["claimants"], &shown["owed"]),
        (&json!(earned), &json!(1), &json!(0))
    );
    told(&claim(&["--proof", &leaf, "--wallet", &key]), 1, "nothing is due");
}

/// Proofs of others, of nothing, and spoilt ones.
fn bad_proofs(house: &House, chain: &Chain, contract: &str, leaf: &str) {
    let good: Value = serde_json::from_str(&std::fs::read_to_string(leaf).expect("text")).expect("JSON");
    let claim = |file: &str, contract: &str| {
        chain.filature(house, &["claim", "--proof", file, "--contract", contract, "--dry-run"])
    };
    let spoil = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad[field] = value;
        claim(&house.file("bad.json", bad.to_string()), contract)
    };
    let more = good["earned"].as_u64().expect("an amount") + 1;
    told(
        &spoil("earned", json!(more)),
        1,
        "this is not what the operator anchored",
    );
    told(
        &spoil("provider", json!("somebody")),
        1,
        "this is not what the operator anchored",
    );
    told(
        &spoil("payee", json!(wallet(5).1.address())),
        1,
        "this is not what the operator anchored",
    );
    told(&spoil("epoch", json!(7_000)), 1, "only the last one pays");
    told(&spoil("index", json!(3)), 1, "fits no tree");
    told(&spoil("version", json!(2)), 1, "of version 2");
    told(&spoil("more", json!(2)), 1, "holds no proof of a leaf");
    told(
        &claim(&house.file("bad.json", "{}"), contract),
        1,
        "holds no proof of a leaf",
    );
    told(&claim(&house.path("none.json"), contract), 1, "cannot read");
    told(&claim(leaf, &friendly(1)), 1, "is not Filature's settlement contract");
    let other = chain.deploy(house, &["--draw-limit", "7"]);
    told(&claim(leaf, &other), 1, "the proof is for the contract");
    let named = ["claim", "direct.somebody", "--proof", leaf, "--contract", contract];
    told(
        &chain.filature(house, &named),
        1,
        "is the proof of direct.engine, not of direct.somebody",
    );
}

fn bad_wallets(house: &House, claim: &impl Fn(&[&str]) -> Ran, leaf: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let poor = key_file(house, 8);
    told(
        &claim(&["--proof", leaf, "--wallet", &poor]),
        1,
        "are needed: nothing was sent",
    );
    std::fs::set_permissions(&poor, std::fs::Permissions::from_mode(0o644)).expect("permissions");
    told(&claim(&["--proof", leaf, "--wallet", &poor]), 1, "chmod 600");
    told(
        &claim(&["--proof", leaf, "--wallet", &house.path("none.key")]),
        1,
        "cannot be read",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_contract_is_deployed_and_shown_as_it_stands() {
    let house = House::new(Kind::Embedded).await;
    let chain = Chain::start(&[1, 2, 5]);
    let (key, people) = (key_file(&house, 1), [2, 3, 4].map(friendly));
    let [owner, arbiter, forfeit] = people.each_ref().map(String::as_str);
    let deploy = |more: &[&str]| {
        let args = [
            "contract",
            "deploy",
            "--owner",
            owner,
            "--arbiter",
            arbiter,
            "--wallet",
            &key,
        ];
        chain.filature(&house, &[&args[..], more].concat())
    };
    let ran = deploy(&["--forfeit-to", forfeit, "--dry-run"]);
    assert!(
        ran.code == 0 && ran.out.contains("no: nothing was sent"),
        "{} {}",
        ran.out,
        ran.err
    );
    told(&deploy(&["--forfeit-to", owner]), 2, "--despite-doubts");
    told(
        &deploy(&["--forfeit-to", forfeit, "--pause-max", "14d"]),
        2,
        "--despite-doubts",
    );
    told(
        &deploy(&["--forfeit-to", &forfeit.replacen('Q', "R", 1)]),
        2,
        "--forfeit-to: ",
    );
    told(
        &deploy(&["--forfeit-to", forfeit, "--value", "500"]),
        1,
        "are needed: nothing was sent",
    );
    told(
        &deploy(&["--forfeit-to", forfeit, "--contract", forfeit]),
        2,
        "settlement.contract names another",
    );

    let args = [
        "contract",
        "deploy",
        "--owner",
        owner,
        "--arbiter",
        arbiter,
        "--wallet",
        &key,
    ];
    let deployed = chain.json(
        &house,
        &[&args[..], &["--forfeit-to", forfeit, "--value", "3"]].concat(),
    );
    assert_eq!((&deployed["deployed"], &deployed["doubts"]), (&json!(true), &json!([])));
    let fees = deployed["fees_nano"].as_u64().expect("fees");
    assert!(fees > 5_000_000 && fees < 15_000_000, "{deployed}");
    let contract = deployed["friendly"].as_str().expect("an address").to_owned();
    let again = deploy(&["--forfeit-to", forfeit]);
    assert!(
        again.code == 0 && again.err.contains("it is deployed already: nothing was sent"),
        "{}",
        again.err
    );

    let show = || chain.json(&house, &["contract", "show", "--contract", &contract]);
    let before = show();
    for (field, seed) in [("owner", 2), ("operator", 1), ("arbiter", 3), ("forfeit_to", 4)] {
        assert_eq!(before[field], json!(wallet(seed).1.address()), "{field}");
    }
    assert_eq!(
        (&before["anchors"], &before["kept"], &before["paused_until"]),
        (&json!(0), &json!([]), &Value::Null)
    );
    what_happens_is_shown(&house, &chain, &contract).await;
    told(&house.filature(&["contract", "show"]), 2, "give --contract ADDRESS");
    let gone = ["contract", "show", "--contract", &contract, "--network", "testnet"];
    let gone = house.filature(&[&gone[..], &["--endpoint", "http://127.0.0.1:9"]].concat());
    told(&gone, 1, "the chain cannot be reached");
    let plain = [
        "contract",
        "show",
        "--contract",
        &contract,
        "--network",
        "testnet",
        "--endpoint",
        "http://example.org",
    ];
    told(&house.filature(&plain), 2, "must be https");
}

/// Stakes, proposals, anchors, a claim above what there is, and a pause.
async fn what_happens_is_shown(house: &House, chain: &Chain, contract: &str) {
    let to = address(contract);
    let send = |amount: u64, body| Payment {
        body,
        ..Payment::new(to, Nano::saturating(amount))
    };
    let provider = ProviderId::parse("rich").expect("an id");
    let tag = ProviderTag::of(&provider);
    let stake = operation(0xf11a_0020, |body| body.store_raw(tag.as_bytes(), 224).expect("room"));
    chain.pay(5, send(20 * TON, stake)).await;
    let next = operation(0xf11a_0046, |body| wallet(5).1.address().store(body).expect("room"));
    chain.pay(2, send(TON / 10, next)).await;
    let next = operation(0xf11a_0047, |body| wallet(6).1.address().store(body).expect("room"));
    chain.pay(2, send(TON / 10, next)).await;
    let leaf = Leaf {
        payee: Some(wallet(5).1.address()),
        provider: tag,
        earned: Nano::saturating(50 * TON),
        pushed: Nano::ZERO,
    };
    let anchor = Anchor {
        epoch: 12,
        earnings_root: Payables::new([leaf]).root(),
        receipts_root: Hash::of(b"seal"),
    };
    chain
        .pay(
            1,
            send(TON / 100, anchor.body(Nano::saturating(50 * TON), 0).expect("a body")),
        )
        .await;

    let shown = chain.json(house, &["contract", "show", "--contract", contract]);
    let entry_fee = TON / 50;
    assert_eq!(
        shown["stakes"],
        json!({ "wallets": 1, "staked": 20 * TON - entry_fee, "leaving": 0 })
    );
    assert_eq!(
        (&shown["held"], &shown["owed"]),
        (&json!(20 * TON - entry_fee), &json!(50 * TON))
    );
    assert_eq!(shown["next_owner"], json!(wallet(5).1.address()));
    assert_eq!(shown["next_arbiter"], json!(wallet(6).1.address()));
    assert_eq!(shown["arbiter"], json!(wallet(3).1.address()));
    assert_eq!((&shown["anchors"], &shown["kept"][0]["epoch"]), (&json!(1), &json!(12)));
    let (balance, float) = (
        shown["balance"].as_str().expect("digits"),
        shown["float"].as_i64().expect("a number"),
    );
    let balance: i64 = balance.parse().expect("a number");
    assert_eq!(float, balance - i64::try_from(21 * TON - entry_fee).expect("small"));

    let proof = ProvenLeaf {
        version: ProvenLeaf::VERSION,
        contract: to,
        epoch: 12,
        provider,
        payee: Some(wallet(5).1.address()),
        earned: Nano::saturating(50 * TON),
        pushed: Nano::ZERO,
        index: 0,
        leaves: 1,
        path: Vec::new(),
    };
    let proof = house.file("rich.json", serde_json::to_string(&proof).expect("JSON"));
    let key = key_file(house, 5);
    let claim = ["claim", "--proof", &proof, "--contract", contract, "--wallet", &key];
    told(
        &chain.filature(house, &claim),
        1,
        "a claim waits for more money in it: nothing was sent",
    );
    let pause = operation(0xf11a_0044, |body| body.store_u32(86_400).expect("room"));
    chain.pay(2, send(TON / 10, pause)).await;
    told(&chain.filature(house, &claim), 1, "the contract is paused until ");
    let text = chain.filature(house, &["contract", "show", "--contract", contract]).out;
    for words in [
        "Filature's",
        "paused       until ",
        "next owner   ",
        "epoch 12",
        "19.980000000 TON by 1 wallets",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
