//! The devnet itself: its file, its clock, its HTTP face, and what it hands to another executor.

use serde_json::{Value as Json, json};

use super::answers::BLOCK_SECONDS;
use super::face::{Question, answer};
use super::*;
use crate::chain::suite::{TON, Through, World, pay, payee};
use crate::chain::{Network, Position, write_cell};
use crate::money::Nano;

fn gift(devnet: &Devnet, to: Address, nano: u64) {
    let amount = Nano::saturating(nano).into();
    devnet.give(to, amount, &Body::default()).expect("a gift");
}

fn kept(folder: &tempfile::TempDir) -> DevnetSettings {
    DevnetSettings {
        folder: Some(folder.path().to_owned()),
        ..DevnetSettings::default()
    }
}

#[test]
fn a_folder_has_one_devnet_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Devnet::open(kept(&folder)).expect("a devnet");
    let second = Devnet::open(kept(&folder)).map(|_| ());
    assert!(matches!(second, Err(DevnetError::Folder(_))), "{second:?}");
    drop(first);
    Devnet::open(kept(&folder)).expect("a devnet");
}

#[test]
fn a_copy_of_the_file_at_any_moment_is_a_whole_chain() {
    let (folder, copy) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let devnet = Devnet::open(kept(&folder)).expect("a devnet");
    for n in 1..=5 {
        gift(&devnet, payee(9), n * TON);
        // As a machine that loses power would find it: not closed.
        std::fs::copy(folder.path().join("devnet.redb"), copy.path().join("devnet.redb")).expect("a copy");
        let found = Devnet::open(kept(&copy)).expect("a devnet");
        assert_eq!(found.truth(payee(9)), devnet.truth(payee(9)));
        assert_eq!(found.replays(0), devnet.replays(0));
        assert_eq!(found.read_head(), devnet.read_head());
        // And it goes on from there.
        gift(&found, payee(9), 1);
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("devnet.redb"), b"not a database").expect("a file");
    let refused = Devnet::open(kept(&folder)).map(|_| ());
    assert!(matches!(refused, Err(DevnetError::Folder(_))), "{refused:?}");
}

#[test]
fn by_the_machines_clock_a_block_is_made_for_whoever_looks() {
    let settings = DevnetSettings {
        time: DevnetTime::Wall,
        ..DevnetSettings::default()
    };
    let devnet = Devnet::open(settings).expect("a devnet");
    let first = devnet.read_head().expect("a head");
    assert!(first.time.abs_diff(wall()) <= BLOCK_SECONDS);
    // As if it had slept.
    devnet.inner.live.lock().state.blocks = vec![first.time - BLOCK_SECONDS];
    let next = devnet.read_head().expect("a head");
    assert_eq!(next.seqno, first.seqno + 1);
    assert!(next.time >= first.time);
}

#[test]
fn more_coins_than_there_are_cannot_be_given() {
    let devnet = Devnet::open(DevnetSettings::default()).expect("a devnet");
    let refused = devnet.give(payee(9), Coins::MAX, &Body::default());
    assert!(matches!(refused, Err(ChainError::Refused { .. })), "{refused:?}");
    gift(&devnet, payee(9), 1);
}

#[tokio::test]
async fn every_transaction_can_be_run_elsewhere() {
    let world = World::funded(Through::Process).await;
    let batch = [pay(payee(8), 1), pay(payee(9), 2)];
    world.chain.send(&world.sign(&batch, 0).bytes).await.expect("taken");
    let replays = world.devnet.replays(0).expect("replays");
    let replays: Vec<_> = replays.iter().map(|replay| json!(replay)).collect();
    // The gift, the wallet's own, and one for each payee.
    assert_eq!(replays.len(), 4);
    let configured = replays.iter().map(|replay| replay["config_boc"].is_string());
    assert_eq!(configured.collect::<Vec<_>>(), [true, false, false, false]);
    let mine = &replays[1];
    let sent = &mine["out_messages"];
    assert_eq!((&sent[0]["to"], &sent[1]["value"]), (&json!(payee(8)), &json!("2")));
    assert_eq!(
        (&mine["exit_code"], mine["now"].as_u64()),
        (&json!(0), Some(world.devnet.now().into()))
    );
    assert!(mine["gas"].as_u64().is_some_and(|gas| gas > 1_000));
    let state = world.devnet.truth(world.wallet.address()).expect("an account");
    assert_eq!(mine["balance_after"], json!(state.balance.to_string()));
    let data = state.data.expect("data");
    assert_eq!(mine["data_hash_after"], json!(crate::chain::cell_hash(data.as_ref())));
    assert_eq!(replays[3]["balance_after"], json!("2"));
    assert_eq!(replays[3]["data_hash_after"], Json::Null);
}

fn ask(devnet: &Devnet, post: bool, url: &str, body: &Json) -> (u16, Json) {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let body = body.to_string();
    let question = Question {
        post,
        path,
        query,
        body: body.as_bytes(),
    };
    let answered = answer(devnet, &question);
    (answered.status, answered.body)
}

#[tokio::test]
async fn version_2_is_answered_as_toncenter_does() {
    let world = World::funded(Through::Process).await;
    let (devnet, me) = (&world.devnet, world.wallet.address());
    let get = |url: String| ask(devnet, false, &url, &Json::Null);
    let (status, info) = get("/api/v2/getMasterchainInfo".into());
    assert_eq!(
        (status, &info["ok"], &info["result"]["@type"]),
        (200, &json!(true), &json!("blocks.masterchainInfo"))
    );
    assert_eq!(info["result"]["last"]["seqno"], json!(2));

    let signed = world.sign(&[pay(payee(9), 1)], 0);
    let boc = json!({ "boc": crate::chain::cell::write_base64(read(&signed.bytes).as_ref()) });
    let (status, sent) = ask(devnet, true, "/api/v2/sendBocReturnHash", &boc);
    assert_eq!((status, &sent["result"]["@type"]), (200, &json!("raw.extMessageInfo")));
    let (status, refused) = ask(devnet, true, "/api/v2/sendBoc", &boc);
    assert_eq!(
        (status, &refused["ok"], &refused["code"]),
        (500, &json!(false), &json!(500))
    );
    assert!(
        refused["error"]
            .as_str()
            .is_some_and(|error| error.contains("exitcode=133")),
        "{refused}"
    );

    // In any of an address's forms.
    for address in [
        me.to_string(),
        me.friendly(true, Network::Testnet),
        me.friendly(false, Network::Mainnet),
    ] {
        let (status, found) = get(format!("/api/v2/getAddressInformation?address={address}"));
        assert_eq!((status, &found["result"]["state"]), (200, &json!("active")));
        let code = found["result"]["code"].as_str().expect("code");
        let code = crate::chain::cell::read_base64(code).expect("cells");
        let state = devnet.truth(me).expect("an account");
        assert_eq!(Some(crate::chain::cell_hash(code.as_ref())), state.code_hash);
    }
    let run = json!({ "address": me, "method": "seqno", "stack": [] });
    let (status, ran) = ask(devnet, true, "/api/v2/runGetMethod", &run);
    assert_eq!((status, &ran["result"]["stack"]), (200, &json!([["num", "0x1"]])));
    let run = json!({ "address": me, "method": "nothing", "stack": [["num", 5], ["num", "0x5"]] });
    let (_, ran) = ask(devnet, true, "/api/v2/runGetMethod", &run);
    assert_eq!(ran["result"]["exit_code"], json!(11));
}

#[test]
fn a_question_that_makes_no_sense_is_told_so() {
    let devnet = Devnet::open(DevnetSettings::default()).expect("a devnet");
    for (post, url, body, wanted) in [
        (false, "/", json!(null), 404),
        (true, "/api/v3/masterchainInfo", json!(null), 404),
        (false, "/api/v2/getAddressInformation", json!(null), 422),
        (false, "/api/v2/getAddressInformation?address=x", json!(null), 422),
        (false, "/api/v3/accountStates?address=0:12", json!(null), 422),
        (false, "/api/v3/transactions?account=0:12&sort=asc", json!(null), 422),
        (false, "/api/v3/transactions?sort=desc", json!(null), 422),
        (false, "/api/v3/transactions?sort=asc&limit=-1", json!(null), 422),
        (true, "/api/v3/message", json!({}), 422),
        (true, "/api/v3/message", json!({ "boc": "AAAA" }), 422),
        (
            true,
            "/api/v3/message",
            json!({ "boc": "te6cckEBAQEAAgAAAEysuc0=" }),
            500,
        ),
        (
            true,
            "/api/v3/runGetMethod",
            json!({ "address": "x", "method": "y" }),
            422,
        ),
        (true, "/devnet/faucet", json!({ "address": "x", "amount": 1 }), 422),
        (
            true,
            "/devnet/faucet",
            json!({ "address": payee(9), "amount": u64::MAX }),
            422,
        ),
    ] {
        let (status, answered) = ask(&devnet, post, url, &body);
        assert_eq!(status, wanted, "{url} {body} {answered}");
        assert!(
            answered["error"].as_str().is_some_and(|error| !error.is_empty()),
            "{answered}"
        );
    }
}

#[test]
fn the_faucet_gives_coins_with_a_comment() {
    let devnet = Devnet::open(DevnetSettings::default()).expect("a devnet");
    let asked = json!({ "address": payee(9), "amount": 5, "comment": "inv-7" });
    let (status, given) = ask(&devnet, true, "/devnet/faucet", &asked);
    assert_eq!((status, given), (200, json!({ "address": payee(9), "balance": "5" })));
    let records = devnet.read_records(payee(9), Position::START, 9).expect("records");
    let transaction = records.first().expect("a record").transaction().expect("a transaction");
    let gift = transaction.credited().expect("a gift");
    assert_eq!(gift.body.comment(), Ok(Some("inv-7".into())));
    let (_, replays) = ask(&devnet, false, "/devnet/replays", &Json::Null);
    assert_eq!(replays.as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&devnet, true, "/devnet/block", &Json::Null), (200, json!(3)));
}

fn read(bytes: &[u8]) -> Cell {
    let cell = crate::chain::read_cell(bytes).expect("cells");
    assert_eq!(crate::chain::read_cell(&write_cell(cell.as_ref())).as_ref(), Ok(&cell));
    cell
}

#[tokio::test]
async fn a_message_with_one_wrong_bit_is_refused_or_means_the_same() {
    let world = World::funded(Through::Process).await;
    world
        .chain
        .send(&world.sign(&[pay(payee(8), 1)], 0).bytes)
        .await
        .expect("taken");
    // Looked at as ever, and then thrown away: the next one finds the wallet as it was.
    world.devnet.set_faults(Faults {
        lose_messages: true,
        ..Faults::default()
    });
    let signed = world.sign(&[pay(payee(9), TON)], 1);
    let mut same = 0;
    for bit in 0..signed.bytes.len() * 8 {
        let mut bytes = signed.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match world.devnet.take(&bytes) {
            Ok(hash) => {
                assert_eq!(hash, signed.hash, "bit {bit}");
                same += 1;
            }
            Err(ChainError::Refused { .. }) => {}
            Err(error) => panic!("bit {bit}: {error}"),
        }
    }
    // The import fee and the like: nobody signed them.
    assert!(same < 20, "{same}");
}
