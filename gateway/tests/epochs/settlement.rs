//! From a call to a payment: gateways, agents and settlers that are processes, and a chain reached over HTTP. In the end
//! everybody has what the epochs say, to the nano, and the chain names the last of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use filature_billing::chain::{Address, Network};
use filature_gateway::admin::{AdminClient, SOCKET};
use filature_loadtest::engine::{Engine, EngineSettings};
use filature_loadtest::fleet::{Fleet, FleetSettings};
use filature_provider_sdk::agent::{self, AgentSettings};
use filature_provider_sdk::{ModelOffer, OfferPrice, ProviderKey};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::contract_chain::{TheChain, account};
use crate::home::{free_port, program};
use crate::house::{House, Kind, Place, Ran};
use crate::wallets::wallet;

/// The model that only providers behind tunnels serve.
const MODEL: &str = "sim-tunnel";
/// How long payments may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the operator's own provider is paid.
const OWN: u8 = 50;

/// A gateway's house, a chain, and two providers that name payout addresses.
struct Paid {
    // Dropped from the top: files last.
    chain: TheChain,
    place: Place,
    house: House,
}

/// Where a provider of the fleet is paid.
fn payee(number: usize) -> Address {
    account(u8::try_from(100 + number).expect("few"))
}

impl Paid {
    async fn new(kind: Kind) -> Self {
        let payout = format!("payout = {:?}", account(OWN).friendly(false, Network::Testnet));
        let house = House::paid(kind, &payout).await;
        let place = house.place("one");
        let chain = TheChain::start(house.folder(), &program("filature"), free_port()).await;
        Self { house, place, chain }
    }

    async fn fleet(&self) -> Fleet {
        let fleet = FleetSettings {
            gateways: vec![self.place.client.origin().to_owned()],
            providers: 2,
            models: vec![MODEL.to_owned()],
            payouts: (0..2)
                .map(|number| payee(number).friendly(false, Network::Testnet))
                .collect(),
            keys: Some(self.house.path("fleet").into()),
            ..FleetSettings::default()
        };
        let fleet = Fleet::start(fleet).await.expect("a fleet");
        fleet.ready(PATIENCE).await.expect("tunnels");
        fleet
    }

    /// Calls of both kinds of providers.
    async fn calls(&self, count: usize) {
        for number in 0..count {
            let model = if number % 3 == 0 { "sim-small" } else { MODEL };
            let words = format!("number {number}");
            let made = self.place.call_of(model, number % 2 == 0, &words).await;
            made.expect("an answer");
        }
    }

    /// Waits until everything is sealed and everybody has exactly what the epochs say. Returns the number of the last one.
    async fn all_paid(&self, fleet: &Fleet) -> u64 {
        let store = self.place.data.join("epochs").display().to_string();
        let verdict = self.house.all_sealed(&store).await;
        let earned = self.earned(fleet, &verdict);
        let began = Instant::now();
        loop {
            let mut got = BTreeMap::new();
            for &address in earned.keys() {
                got.insert(address, self.chain.got(address).await);
            }
            for (address, got) in &got {
                assert!(got <= &earned[address], "{address} got {got} of {}", earned[address]);
            }
            let last = verdict["epochs"].as_u64().expect("a number") - 1;
            let anchored = self.chain.anchor().await.filter(|anchor| anchor.epoch == last);
            if let Some(anchor) = anchored
                && got == earned
            {
                assert_eq!(anchor.receipts_root.to_string(), verdict["last_hash"]);
                return last;
            }
            assert!(began.elapsed() < PATIENCE, "got {got:?} of {earned:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What each address is to have.
    fn earned(&self, fleet: &Fleet, verdict: &Value) -> BTreeMap<Address, u64> {
        let of = |provider: &str| {
            let place = fleet.providers().iter().position(|one| one.id.to_string() == provider);
            place.map_or(account(OWN), payee)
        };
        let earnings = verdict["earnings"].as_array().expect("a list").iter();
        earnings
            .map(|one| {
                let provider = one["provider"].as_str().expect("an id");
                (of(provider), one["earned"].as_u64().expect("nano"))
            })
            .collect()
    }

    /// The books tell the operator who was paid what, and that nobody waits: on the command line and by the admin API.
    async fn books_say(&self, earned: &BTreeMap<Address, u64>) {
        let store = self.place.data.join("epochs").display().to_string();
        let json = |args: &[&str]| -> Value {
            let ran = self
                .house
                .filature(&[&["payouts"], args, &["--store", &store, "--json"]].concat());
            serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{} {}", ran.out, ran.err))
        };
        let listed = json(&["list"]);
        let payouts = listed["payouts"].as_array().expect("a list");
        let told: BTreeMap<Address, u64> = payouts
            .iter()
            .map(|one| {
                assert_eq!(one["state"], "paid");
                let payee = one["payee"].as_str().expect("an address").parse();
                (payee.expect("an address"), one["amount"].as_u64().expect("nano"))
            })
            .collect();
        assert_eq!(told, *earned);
        let owed = json(&["owed"]);
        assert_eq!(owed["plan"]["owed"], Value::Array(vec![]));
        let table = self.house.filature(&["payouts", "list", "--store", &store]);
        let message = payouts[0]["message"].as_str().expect("a hash");
        assert!(
            table.out.contains(message) && table.out.contains(" paid "),
            "{}",
            table.out
        );

        let admin = AdminClient::connect(&self.place.data.join(SOCKET))
            .await
            .expect("a gateway");
        let by_api = admin.payouts(None, 100).await.expect("payouts");
        assert_eq!(serde_json::to_value(&by_api).expect("JSON"), listed);
        let by_api = admin.owed().await.expect("what is owed");
        assert_eq!(serde_json::to_value(&by_api).expect("JSON"), owed);
    }

    /// Runs `filature settle` with the gateway's settings.
    fn settle(&self, more: &[&str]) -> Ran {
        self.settle_as(&[], more)
    }

    /// Runs it with some of them changed.
    fn settle_as(&self, changes: &[(&str, &str)], more: &[&str]) -> Ran {
        let (ledger, mut settings) = (self.house.settings(&self.place), self.chain.settings());
        for (name, value) in changes {
            let flag = format!("--settlement-{name}");
            match settings.iter().position(|word| *word == flag) {
                Some(place) => (*value).clone_into(&mut settings[place + 1]),
                None => settings.extend([flag, (*value).to_owned()]),
            }
        }
        let args: Vec<_> = ["settle"]
            .into_iter()
            .chain(words(&ledger))
            .chain(words(&settings))
            .collect();
        self.house.filature(&[&args, more].concat())
    }
}

fn words(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}

async fn a_gateway_pays_what_the_epochs_say(kind: Kind, agree: usize) {
    let mut paid = Paid::new(kind).await;
    paid.chain.agree = agree;
    let settings = paid.chain.settings();
    let gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    let fleet = paid.fleet().await;
    paid.calls(9).await;
    let first = paid.all_paid(&fleet).await;
    paid.calls(9).await;
    let last = paid.all_paid(&fleet).await;
    assert!(last > first);
    let metrics = paid.place.client.get("/metrics").await.expect("metrics");
    let metrics = metrics.as_str().expect("text");
    for line in [
        format!("filature_settlement_anchored {last}"),
        "filature_settlement_owed_nano 0".to_owned(),
        r#"filature_settlement_addresses_total{filature_outcome="named"} 3"#.to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    fleet.shutdown().await.expect("the agents end well");
    gateway.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_gateway_pays_what_the_epochs_say() {
    a_gateway_pays_what_the_epochs_say(Kind::Embedded, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_a_gateway_pays_what_the_epochs_say_and_two_endpoints_agree_on() {
    a_gateway_pays_what_the_epochs_say(Kind::Redis, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_a_process_of_its_own_pays_beside_a_gateway_that_does_not() {
    let paid = Paid::new(Kind::Embedded).await;
    let settings = paid.chain.settings_without_key();
    let gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    let fleet = paid.fleet().await;
    paid.calls(6).await;
    let store = paid.place.data.join("epochs").display().to_string();
    let verdict = paid.house.all_sealed(&store).await;
    let earned = paid.earned(&fleet, &verdict);
    let (count, sum) = (earned.len(), earned.values().sum::<u64>());

    // The plan, as a table and as JSON; nothing is sent.
    let table = paid.settle(&["--dry-run"]);
    assert!(
        table.code == 0 && table.out.contains(&format!("{count} of {count} providers are paid")),
        "{} {}",
        table.out,
        table.err
    );
    let plan = paid.settle(&["--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan.out).unwrap_or_else(|_| panic!("{} {}", plan.out, plan.err));
    let planned = plan["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["planned"].as_u64());
    assert_eq!(planned.sum::<Option<u64>>(), Some(sum));
    assert_eq!(paid.chain.anchor().await, None);

    let once = paid.settle(&["--once", "--json"]);
    assert_eq!(once.code, 0, "{} {}", once.out, once.err);
    let told: Value = serde_json::from_str(&once.out).expect("JSON");
    assert_eq!(
        (told["payees"].as_u64(), told["paid_nano"].as_u64()),
        (Some(count as u64), Some(sum))
    );
    paid.all_paid(&fleet).await;
    paid.books_say(&earned).await;
    let again = paid.settle(&["--once"]);
    assert_eq!(
        (again.code, again.out.as_str()),
        (0, "nothing is left to do; nobody was due\n"),
        "{}",
        again.err
    );
    fleet.shutdown().await.expect("the agents end well");

    // Without the gateway it opens the ledger itself, and lets go of it.
    gateway.kill();
    let again = paid.settle(&["--once"]);
    assert_eq!(again.code, 0, "{}", again.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_two_settlers_at_once_pay_once() {
    let paid = Paid::new(Kind::Redis).await;
    let settings = paid.chain.settings();
    let gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    let fleet = paid.fleet().await;
    let ledger = paid.house.settings(&paid.place);
    let args: Vec<_> = ["settle"]
        .into_iter()
        .chain(words(&ledger))
        .chain(words(&settings))
        .collect();
    let mut beside = paid.house.run("settle", &args);
    paid.calls(9).await;
    paid.all_paid(&fleet).await;
    // Whoever had its turn, the other one goes on when it is gone; and in good order.
    fleet.shutdown().await.expect("the agents end well");
    beside.terminate();
    assert!(beside.wait_for_exit(PATIENCE).success(), "{}", beside.printed());
    let fleet = paid.fleet().await;
    paid.calls(6).await;
    paid.all_paid(&fleet).await;
    let beside = paid.house.run("settle", &args);
    gateway.kill();
    let unpaid = paid.chain.settings_without_key();
    let gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&unpaid).collect::<Vec<_>>())
        .await;
    fleet.ready(PATIENCE).await.expect("tunnels");
    paid.calls(6).await;
    paid.all_paid(&fleet).await;
    drop((beside, gateway));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_what_is_wrong_with_a_settler_is_told() {
    let paid = Paid::new(Kind::Embedded).await;
    let settings = paid.chain.settings_without_key();
    let gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    paid.calls(1).await;
    let refused = |ran: Ran, code: i32, what: &str| {
        assert!(
            ran.code == code && ran.err.contains(what),
            "{what}: {} {} {}",
            ran.code,
            ran.out,
            ran.err
        );
    };
    let key_file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt as _;
        let file = paid.house.file(name, text);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        file
    };
    let with = |name: &str, value: &str| paid.settle_as(&[(name, value)], &[]);
    let key = |file: &str| with("wallet-key-file", file);
    refused(key("/nowhere"), 1, "cannot be read from /nowhere");
    refused(key(&key_file("open.key", &"02".repeat(32), 0o644)), 1, "chmod 600");
    refused(
        key(&key_file("typo.key", "abandon abandon", 0o600)),
        1,
        "this has 2 words",
    );
    let ran = key(&key_file("other.key", &"02".repeat(32), 0o600));
    let stranger = wallet(2).1.address().to_string();
    assert!(ran.err.contains(&stranger), "{}", ran.err);
    refused(ran, 1, "takes anchors from");
    refused(key(""), 2, "settlement.wallet_key_file");
    let contract = |address: &str| with("contract", address);
    refused(contract(&account(9).to_string()), 1, "there is no contract at");
    refused(contract(&stranger), 1, "is not the settlement contract");
    refused(contract("hello"), 2, "settlement.contract");
    let elsewhere = [("endpoints", "http://127.0.0.1:1"), ("api-key", "secret")];
    refused(paid.settle_as(&elsewhere, &[]), 1, "could not be seen");
    let alone = with("endpoints", "http://127.0.0.1:1");
    refused(alone, 2, "settlement.api_key: has 2 of them, and there are 1 endpoints");
    let plan = paid.settle_as(&[("wallet-key-file", &paid.house.path("other.key"))], &["--dry-run"]);
    refused(plan, 1, "there is no plan: the contract's operator is");
    refused(with("wallet-key", &"03".repeat(32)), 2, "one of the two");
    let ran = paid.settle_as(&[("wallet-key-file", ""), ("wallet-key", "hello")], &[]);
    assert!(!ran.err.contains("hello"), "{}", ran.err);
    refused(ran, 2, "24 words");
    // What needs somebody to do something ends `--once` with it.
    let store = paid.place.data.join("epochs").display().to_string();
    paid.house.all_sealed(&store).await;
    let paused = paid.settle_as(&[("payouts-paused", "true")], &["--once"]);
    refused(paused, 1, "settlement is paused");
    gateway.kill();
    // A gateway serves all the same, and says it.
    let mut settings = paid.chain.settings();
    *settings.last_mut().expect("the file") = paid.house.path("other.key");
    let mut gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    let line = gateway.wait_for_line("nobody is paid until this is put right");
    assert!(
        line.contains("takes anchors from") && line.contains(&stranger),
        "{line}"
    );
    gateway.wait_for_line("settlement waits");
    paid.calls(1).await;
}

/// What an agent that offers this payout address is told.
async fn refusal(paid: &Paid, payout: &str) -> String {
    let engine = EngineSettings {
        models: vec![MODEL.to_owned()],
        ..EngineSettings::default()
    };
    let engine = Engine::start(engine).await.expect("an engine");
    let model = ModelOffer {
        model: MODEL.to_owned(),
        engine_model: None,
        quantization: None,
        context_tokens_max: 4096,
        output_tokens_max: 4096,
        concurrency_max: 1,
        price: OfferPrice::default(),
        endpoints: vec!["chat".to_owned()],
        capabilities: vec![],
        parameters: None,
    };
    let gateway = paid.place.client.origin().parse().expect("a URL");
    let key = ProviderKey::generate(&mut rand::rng());
    let mut settings = AgentSettings::new(
        key,
        "mistaken",
        engine.url().parse().expect("a URL"),
        vec![gateway],
        vec![model],
    );
    settings.payout = Some(payout.to_owned());
    settings.once = true;
    let ended = tokio::time::timeout(PATIENCE, agent::run(settings, CancellationToken::new())).await;
    ended.expect("an end").expect_err("it is not let in").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_an_agent_hears_what_is_wrong_with_its_payout_address() {
    let paid = Paid::new(Kind::Embedded).await;
    let mut settings = paid.chain.settings_without_key();
    let network = settings.iter().position(|word| word == "testnet").expect("it is there");
    settings[network] = "mainnet".to_owned();
    let file = paid.house.path("filature.toml");
    let text = std::fs::read_to_string(&file).expect("settings");
    std::fs::write(&file, text.replace("payout", "# payout")).expect("written");
    let _gateway = paid
        .house
        .gateway(&paid.place, 100, &words(&settings).collect::<Vec<_>>())
        .await;
    let good = account(7).friendly(false, Network::Mainnet);
    let mistyped = good.replacen('B', "C", 1);
    assert_ne!(good, mistyped);
    for (payout, what) in [
        (mistyped.as_str(), "checksum"),
        (&account(7).friendly(false, Network::Testnet), "for the testnet"),
        ("hello", "48 characters"),
        (&format!("-1:{}", "33".repeat(32)), "workchain -1"),
        (&format!("0:{}", "00".repeat(32)), "zero address"),
        (&paid.chain.contract.friendly(true, Network::Mainnet), "gateway's own"),
    ] {
        let told = refusal(&paid, payout).await;
        assert!(told.contains(what) && told.contains(payout), "{what}: {told}");
    }
    let metrics = paid.place.client.get("/metrics").await.expect("metrics");
    let metrics = metrics.as_str().expect("text");
    let line = r#"filature_settlement_addresses_total{filature_outcome="refused"} 6"#;
    assert!(metrics.contains(line), "{line} in {metrics}");
}
