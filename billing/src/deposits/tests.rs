//! The watcher on the devnet, with a ledger on disk that is closed and opened again, through every fault the way to the
//! chain has. `FILATURE_SEED` repeats a random history.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;
use crate::chain::{
    Body, CellBuilder, Coins, Devnet, DevnetSettings, Endpoint, Faults, Lie, Network, Payment, Toncenter,
    ToncenterSettings, Wallet, WalletKey, serve_devnet,
};
use crate::embedded::open_embedded;
use crate::id::AccountId;

const TON: u64 = 1_000_000_000;
const MINIMUM: u64 = TON / 10;

/// A devnet, a ledger on disk, and who watches the one for the other.
struct World {
    devnet: Devnet,
    dir: TempDir,
    ledger: Option<Arc<dyn Ledger>>,
    watcher: Option<Watcher>,
    key: WalletKey,
    wallet: Wallet,
    accounts: Vec<AccountId>,
}

fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("small")
}

fn comment(text: &str) -> Body {
    Body::comment_of(text).expect("a comment")
}

impl World {
    async fn new() -> Self {
        let key = WalletKey::from_seed(&[1; 32]);
        let mut world = Self {
            devnet: Devnet::open(DevnetSettings::default()).expect("a devnet"),
            dir: tempfile::tempdir().expect("a folder"),
            ledger: None,
            watcher: None,
            wallet: Wallet::new(key.public(), Network::Testnet).expect("a wallet"),
            key,
            accounts: vec![],
        };
        world.restart();
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..3 {
            let account = AccountId::generate(&mut rng);
            world
                .ledger()
                .create_account(&account, "somebody", 1)
                .await
                .expect("an account");
            world.accounts.push(account);
        }
        world
    }

    /// Ends the process, as far as a test can: the ledger is closed, and all that is known is what is on disk.
    fn restart(&mut self) {
        (self.watcher, self.ledger) = (None, None);
        let ledger: Arc<dyn Ledger> = Arc::new(open_embedded(self.dir.path()).expect("a ledger"));
        self.ledger = Some(ledger);
        self.watcher = Some(self.another_watcher(Arc::new(self.devnet.clone())));
    }

    fn ledger(&self) -> &Arc<dyn Ledger> {
        self.ledger.as_ref().expect("it is open")
    }

    fn another_watcher(&self, chain: Arc<dyn Chain>) -> Watcher {
        let settings = DepositSettings {
            address: self.wallet.address(),
            minimum: nano(MINIMUM),
        };
        Watcher::new(chain, Arc::clone(self.ledger()), settings)
    }

    fn now_ms(&self) -> u64 {
        u64::from(self.devnet.now()) * 1_000
    }

    fn invoice(&self, account: usize) -> String {
        Invoice::of(&self.accounts[account]).expect("an invoice").to_string()
    }

    fn give(&self, amount: u64, body: &Body) {
        let amount = Coins::new(amount.into()).expect("an amount");
        self.devnet.give(self.wallet.address(), amount, body).expect("a gift");
    }

    fn deposit(&self, account: usize, amount: u64) {
        self.give(amount, &comment(&self.invoice(account)));
    }

    async fn step(&mut self) -> Result<Watched, WatchError> {
        let now_ms = self.now_ms();
        self.watcher.as_mut().expect("it watches").step(now_ms).await
    }

    /// Steps until there is nothing new; the sum of what the steps did.
    async fn watch(&mut self) -> Watched {
        let mut all = Watched::default();
        loop {
            let step = self.step().await.expect("a step");
            if step.transactions == 0 {
                return all;
            }
            all.transactions += step.transactions;
            all.credited += step.credited;
            all.amount = all.amount.plus(step.amount).expect("small");
            all.late += step.late;
            all.uncredited.extend(step.uncredited);
        }
    }

    async fn deposited(&self) -> Vec<u64> {
        let mut deposited = Vec::new();
        for account in &self.accounts {
            let account = self
                .ledger()
                .account(account)
                .await
                .expect("an answer")
                .expect("an account");
            assert_eq!(account.available, account.deposited.signed());
            deposited.push(account.deposited.get());
        }
        deposited
    }

    /// Why transfers were credited to nobody, as the ledger has it.
    async fn reasons(&self) -> Vec<WhyUncredited> {
        let all = self.ledger().uncredited(None, 1_024).await.expect("a list");
        all.into_iter().map(|(_, one)| one.why).collect()
    }
}

#[tokio::test]
async fn a_deposit_credits_whom_its_comment_names_once() {
    let mut world = World::new().await;
    world.deposit(0, 2 * TON);
    world.deposit(1, MINIMUM);
    world.give(
        3 * TON,
        &comment(&format!(" {}\n", world.invoice(0).to_ascii_uppercase())),
    );
    let done = world.watch().await;
    assert_eq!((done.transactions, done.credited, done.late), (3, 3, 0));
    assert_eq!(done.amount, nano(5 * TON + MINIMUM));
    for _ in 0..2 {
        assert_eq!(world.step().await, Ok(Watched::default()));
        assert_eq!(world.deposited().await, [5 * TON, MINIMUM, 0]);
        world.restart();
    }
    let listed = world
        .ledger()
        .deposits(&world.accounts[0], None, 9)
        .await
        .expect("deposits");
    let history = world
        .devnet
        .transactions(world.wallet.address(), Position::START, 9)
        .await
        .expect("a page");
    assert!(
        history[0].aborted,
        "there is no contract yet, and the money stays all the same"
    );
    assert_eq!(
        listed[0].1.id,
        format!("ton:{}:{}", history[0].at.lt, history[0].at.hash)
    );
    assert_eq!(
        listed
            .iter()
            .map(|(_, deposit)| deposit.amount.get())
            .collect::<Vec<_>>(),
        [2 * TON, 3 * TON]
    );
    assert_eq!(world.reasons().await, []);
}

/// A body of raw bytes behind 32 bits.
fn raw(opcode: u32, bytes: &[u8]) -> Body {
    let mut cell = CellBuilder::new();
    cell.store_u32(opcode).expect("room");
    cell.store_raw(bytes, u16::try_from(bytes.len() * 8).expect("short"))
        .expect("room");
    Body::new(cell.build().expect("a cell"))
}

/// A comment whose bytes lie in a chain of cells.
fn snake(pieces: &[&[u8]]) -> Body {
    let bytes = |cell: &mut CellBuilder, piece: &[u8]| {
        let bits = u16::try_from(piece.len() * 8).expect("short");
        cell.store_raw(piece, bits).expect("room");
    };
    let (first, rest) = pieces.split_first().expect("a piece");
    let mut next = None;
    for piece in rest.iter().rev() {
        let mut cell = CellBuilder::new();
        bytes(&mut cell, piece);
        next.into_iter()
            .for_each(|next| cell.store_reference(next).expect("room"));
        next = Some(cell.build().expect("a cell"));
    }
    let mut cell = CellBuilder::new();
    cell.store_u32(0).expect("room");
    bytes(&mut cell, first);
    next.into_iter()
        .for_each(|next| cell.store_reference(next).expect("room"));
    Body::new(cell.build().expect("a cell"))
}

#[tokio::test]
async fn an_invoice_is_read_however_it_is_written() {
    let mut world = World::new().await;
    let invoice = world.invoice(1);
    let upper = invoice.to_ascii_uppercase();
    let letters: Vec<&[u8]> = invoice.as_bytes().chunks(1).collect();
    let bodies = [
        comment(&invoice),
        comment(&upper),
        comment(&format!("{}{}", &upper[..9], &invoice[9..])),
        comment(&format!("  {invoice}")),
        comment(&format!("{invoice}\n")),
        comment(&format!("\t{invoice} \r\n\u{a0}")),
        snake(&letters),
        snake(&[b"", invoice.as_bytes(), b""]),
        snake(&[
            &invoice.as_bytes()[..7],
            &[],
            &invoice.as_bytes()[7..],
            &[b' '; 127],
            b"\n",
        ]),
    ];
    for body in &bodies {
        world.give(TON, body);
    }
    let done = world.watch().await;
    let count = bodies.len() as u64;
    assert_eq!(
        (done.credited, done.uncredited.len()),
        (count, 0),
        "{:?}",
        done.uncredited
    );
    assert_eq!(world.deposited().await, [0, count * TON, 0]);
}

#[tokio::test]
async fn whatever_a_transfer_says_it_is_credited_or_told() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let invoice = world.invoice(0).into_bytes();
    for _ in 0..300 {
        let mut bytes: Vec<u8> = match rng.random_range(0..3) {
            0 => invoice.clone(),
            _ => (0..rng.random_range(0..300)).map(|_| rng.random()).collect(),
        };
        for _ in 0..rng.random_range(0..3) {
            let place = rng.random_range(0..=bytes.len());
            bytes.insert(place, rng.random());
        }
        let pieces: Vec<&[u8]> = bytes.chunks(rng.random_range(1..120)).collect();
        let body = match pieces.as_slice() {
            [] => Body::default(),
            [first, ..] if rng.random_bool(0.3) => raw(rng.random(), first),
            pieces => snake(pieces),
        };
        world.give(TON, &body);
    }
    let done = world.watch().await;
    let told = done.uncredited.len() as u64;
    assert_eq!((done.transactions, done.credited + told), (300, 300));
    assert_eq!(world.deposited().await, [done.credited * TON, 0, 0]);
    let terminal = |one: &Uncredited| !one.detail.contains(char::is_control);
    assert!(done.uncredited.iter().all(terminal));
}

#[tokio::test]
async fn what_names_nobody_credits_nobody_and_is_told() {
    use WhyUncredited::{Dust, NoComment, TooLarge, UnknownAccount, Unmatched, Unreadable};
    let mut world = World::new().await;
    let invoice = world.invoice(0);
    let stranger = AccountId::generate(&mut StdRng::seed_from_u64(99));
    let stranger = Invoice::of(&stranger).expect("an invoice").to_string();
    let mistyped = match invoice.strip_suffix('0') {
        Some(start) => format!("{start}1"),
        None => format!("{}0", &invoice[..invoice.len() - 1]),
    };
    let mut bits = CellBuilder::new();
    bits.store_u32(0).expect("room");
    bits.store_small_uint(5, 3).expect("room");
    let bits = Body::new(bits.build().expect("a cell"));
    let too_large = Nano::MAX.get() + 1;
    let cases = [
        (TON, Body::default(), NoComment, ""),
        (TON, comment(""), NoComment, ""),
        (TON, comment(" \n"), NoComment, ""),
        (
            TON,
            comment("hello"),
            Unmatched,
            "`hello`: the comment is not an invoice",
        ),
        (TON, comment(&mistyped), Unmatched, "checksum"),
        (TON, comment(&invoice.repeat(30)), Unmatched, "not an invoice"),
        (TON, comment(&format!("{invoice}\u{202e}")), Unmatched, "·`"),
        (TON, comment("\u{1b}[2J"), Unmatched, "`·[2J`"),
        (TON, comment(&stranger), UnknownAccount, ""),
        (MINIMUM - 1, comment(&invoice), Dust, "less than 0.100000000"),
        (0, comment(&invoice), Dust, ""),
        (too_large, comment(&invoice), TooLarge, ""),
        (TON, raw(0, b"f\xff\xfe"), Unreadable, "UTF-8"),
        (
            TON,
            raw(
                0,
                &invoice.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>(),
            ),
            Unmatched,
            "not an invoice",
        ),
        (
            TON,
            comment("🦋🧵 thanks! 🦋🧵 thanks! 🦋🧵 thanks! 🦋🧵 thanks!"),
            Unmatched,
            "`🦋🧵 thanks!",
        ),
        (
            TON,
            comment(&format!("f{}", "ж".repeat(25))),
            Unmatched,
            "not an invoice",
        ),
        (TON, comment(&format!("\u{feff}{invoice}")), Unmatched, "`·f"),
        (TON, comment(&format!("{invoice}\0")), Unmatched, "not an invoice"),
        (
            TON,
            snake(&[invoice.as_bytes(), &[b' '; 127], &[b'x'; 5]]),
            Unmatched,
            "not an invoice",
        ),
        (
            TON,
            snake(&[[b'x'; 100].as_slice(); 500]),
            Unreadable,
            "longer than 1024 bytes",
        ),
        (TON, snake(&[&[0xff; 100], &[0xfe; 127]]), Unreadable, "UTF-8"),
        (TON, raw(0x2167_da4b, b"secret"), Unreadable, "encrypted"),
        (TON, raw(0x7362_d09c, b"jetton"), Unreadable, "0x7362d09c"),
        (TON, bits, Unreadable, "malformed"),
    ];
    for (amount, body, ..) in &cases {
        world.give(*amount, body);
    }
    let done = world.watch().await;
    assert_eq!((done.transactions, done.credited), (cases.len(), 0));
    world.restart();
    let told = world.ledger().uncredited(None, 99).await.expect("a list");
    for ((amount, _, why, detail), (_, told)) in cases.iter().zip(&told) {
        assert_eq!((told.why, told.amount.clone()), (*why, amount.to_string()), "{told:?}");
        assert!(told.detail.contains(detail), "{told:?}");
        assert!(!told.detail.contains(char::is_control), "{told:?}");
    }
    assert_eq!(told.len(), cases.len());
    assert_eq!(world.deposited().await, [0, 0, 0]);
}

#[tokio::test]
async fn what_the_wallet_sends_and_what_comes_back_is_no_deposit() {
    let mut world = World::new().await;
    world.deposit(0, 10 * TON);
    let nobody = Address::basechain([9; 32]);
    let payment = Payment {
        bounce: true,
        ..Payment::new(nobody, nano(TON))
            .with_comment(&world.invoice(1))
            .expect("short")
    };
    let message = world
        .wallet
        .prepare(&[payment], 0, world.devnet.now() + 60)
        .expect("a message");
    let message = message.sign(&world.key).expect("a signature");
    world.devnet.send(&message.bytes).await.expect("taken");
    world.deposit(2, TON);
    let done = world.watch().await;
    assert_eq!(
        (done.transactions, done.credited),
        (4, 2),
        "paid in, sent, come back, paid in"
    );
    assert_eq!(world.deposited().await, [10 * TON, 0, TON]);
    assert_eq!(world.reasons().await, [WhyUncredited::Bounced]);
}

#[tokio::test]
async fn a_late_deposit_is_credited_and_counted() {
    let mut world = World::new().await;
    world.deposit(0, TON);
    world.devnet.advance(601);
    let done = world.watch().await;
    assert_eq!((done.credited, done.late), (1, 1));
    world.deposit(0, TON);
    let done = world.watch().await;
    assert_eq!((done.credited, done.late), (1, 0));
    let listed = world
        .ledger()
        .deposits(&world.accounts[0], None, 9)
        .await
        .expect("deposits");
    let late: Vec<_> = listed
        .iter()
        .map(|(_, deposit)| deposit.note.ends_with(", late"))
        .collect();
    assert_eq!(late, [true, false]);
}

#[tokio::test]
async fn a_false_or_lagging_history_changes_nothing() {
    let mut world = World::new().await;
    world.deposit(0, TON);
    world.watch().await;
    for _ in 0..3 {
        world.deposit(1, TON);
        world.give(TON, &Body::default());
    }
    let set = |world: &World, faults: Faults| world.devnet.set_faults(faults);
    for lie in [Lie::Omit, Lie::Repeat, Lie::Reverse] {
        set(
            &world,
            Faults {
                lie: Some(lie),
                ..Faults::default()
            },
        );
        let told = world.step().await;
        assert!(
            matches!(told, Err(WatchError::Chain(ChainError::Damaged(_)))),
            "{lie:?} {told:?}"
        );
    }
    set(
        &world,
        Faults {
            down: true,
            ..Faults::default()
        },
    );
    let told = world.step().await;
    assert!(
        matches!(told, Err(WatchError::Chain(ChainError::Unavailable(_)))),
        "{told:?}"
    );
    assert_eq!(world.deposited().await, [TON, 0, 0]);
    // As of a time before what is known, half-way, and now.
    for (lag_blocks, credited, uncredited) in [(99, 0, 0), (6, 0, 0), (3, 2, 1), (5, 2, 1), (0, 3, 3)] {
        set(
            &world,
            Faults {
                lag_blocks,
                ..Faults::default()
            },
        );
        while world.step().await.is_ok_and(|step| step.transactions > 0) {}
        assert_eq!(
            world.deposited().await,
            [TON, credited * TON, 0],
            "{lag_blocks} blocks behind"
        );
        assert_eq!(world.reasons().await.len(), uncredited, "{lag_blocks} blocks behind");
    }
}

#[tokio::test]
async fn a_crash_between_credit_and_bookmark_credits_once() {
    let mut world = World::new().await;
    world.deposit(0, TON);
    world.deposit(1, 2 * TON);
    world.give(TON, &Body::default());
    // What a watcher does before it dies: credits one, and no more.
    let page = world
        .devnet
        .transactions(world.wallet.address(), Position::START, 1)
        .await
        .expect("a page");
    let mut watched = Watched::default();
    let (watcher, now_ms) = (world.watcher.as_ref().expect("it watches"), world.now_ms());
    watcher.take(&page[0], now_ms, &mut watched).await.expect("taken");
    assert_eq!(world.deposited().await, [TON, 0, 0]);
    world.restart();
    let done = world.watch().await;
    assert_eq!((done.transactions, done.credited), (3, 1));
    assert_eq!(world.deposited().await, [TON, 2 * TON, 0]);
    assert_eq!(world.reasons().await.len(), 1);
}

#[tokio::test]
async fn two_watchers_credit_and_report_once() {
    let mut world = World::new().await;
    let mut other = world.another_watcher(Arc::new(world.devnet.clone()));
    let now_ms = world.now_ms();
    assert_eq!(other.step(now_ms).await, Ok(Watched::default()));
    for _ in 0..40 {
        world.deposit(0, TON);
        world.give(TON, &Body::default());
    }
    // One goes ahead by a page, and the other comes to what was done already.
    assert_eq!(world.step().await.expect("a step").transactions, PAGE_MAX);
    assert_eq!(world.step().await.expect("a step").transactions, PAGE_MAX);
    let behind = other.step(now_ms).await.expect("a step");
    assert_eq!((behind.credited, behind.overtaken), (0, true));
    let (mut credited, mut idle) = (64 / 2, 0);
    while idle < 2 {
        let (one, two) = tokio::join!(
            world.watcher.as_mut().expect("it watches").step(now_ms),
            other.step(now_ms)
        );
        idle = 0;
        for step in [one.expect("a step"), two.expect("a step")] {
            credited += step.credited;
            idle += u32::from(step.transactions == 0);
        }
    }
    assert_eq!(credited, 40);
    assert_eq!(world.deposited().await, [40 * TON, 0, 0]);
    assert_eq!(world.reasons().await.len(), 40);
}

/// A devnet's HTTP face.
struct Face {
    url: String,
    stop: oneshot::Sender<()>,
    task: JoinSet<()>,
}

impl Face {
    async fn start(devnet: &Devnet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = oneshot::channel::<()>();
        let mut task = JoinSet::new();
        let devnet = devnet.clone();
        task.spawn(async move {
            serve_devnet(devnet, listener, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { url, stop, task }
    }

    async fn stop(mut self) {
        drop(self.stop);
        self.task.join_next().await.expect("a server").expect("no panic");
    }
}

#[tokio::test]
async fn another_endpoint_goes_on_where_the_first_left_off() {
    let mut world = World::new().await;
    let (first, second) = (Face::start(&world.devnet).await, Face::start(&world.devnet).await);
    let endpoints = [&first.url, &second.url].map(|url| Endpoint::parse(url, Some("key")).expect("an endpoint"));
    let chain = Toncenter::new(ToncenterSettings::new(endpoints.to_vec())).expect("a client");
    world.watcher = Some(world.another_watcher(Arc::new(chain)));
    world.deposit(0, TON);
    assert_eq!(world.watch().await.credited, 1);
    first.stop().await;
    world.deposit(0, TON);
    world.give(TON, &Body::default());
    assert_eq!(world.watch().await.credited, 1);
    assert_eq!(world.deposited().await, [2 * TON, 0, 0]);
    assert_eq!(world.reasons().await, [WhyUncredited::NoComment]);
    second.stop().await;
}

#[tokio::test]
async fn whatever_happens_the_sum_credited_is_the_sum_received() {
    let seed = std::env::var("FILATURE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("FILATURE_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut world = World::new().await;
    let (mut expected, mut unmatched, mut restarts) = ([0; 3], 0, 0);
    for _ in 0..400 {
        match rng.random_range(0..10) {
            0..=3 => {
                let (account, amount) = (rng.random_range(0..3), rng.random_range(MINIMUM..5 * TON));
                world.deposit(account, amount);
                expected[account] += amount;
            }
            4 | 5 => {
                let body = [Body::default(), comment("hi"), raw(5, b"x")][rng.random_range(0..3)].clone();
                world.give(rng.random_range(0..TON), &body);
                unmatched += 1;
            }
            6 => {
                world.restart();
                restarts += 1;
            }
            7 => world.devnet.set_faults(Faults {
                down: rng.random_bool(0.2),
                lag_blocks: if rng.random_bool(0.5) {
                    rng.random_range(0..20)
                } else {
                    0
                },
                lie: [None, None, Some(Lie::Omit), Some(Lie::Repeat), Some(Lie::Reverse)][rng.random_range(0..5)],
                ..Faults::default()
            }),
            _ => match world.step().await {
                Ok(_) | Err(WatchError::Chain(_)) => {}
                Err(error) => panic!("{error}"),
            },
        }
    }
    world.devnet.set_faults(Faults::default());
    world.watch().await;
    assert_eq!(world.deposited().await, expected);
    let reasons = world.reasons().await;
    assert_eq!(reasons.len(), unmatched);
    let mut counts = BTreeMap::new();
    reasons.into_iter().for_each(|why| *counts.entry(why).or_insert(0) += 1);
    println!("{restarts} restarts, {expected:?} credited, {counts:?}");
}
