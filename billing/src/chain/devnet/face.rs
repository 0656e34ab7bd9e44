//! The devnet's HTTP face: the part of toncenter's API (v2 and v3) that clients like ours use, in its shapes, errors and
//! all. What is asked is in `Question`; how things are written is in `json`. Beside it `/devnet/…`, which no chain has.

mod json;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use self::json::{account_state, address_information, block, block_id, hash, stack_v2, stack_v3, transaction};
use super::Devnet;
use crate::chain::address::{Address, Network};
use crate::chain::cell::read_base64;
use crate::chain::message::Body;
use crate::chain::toncenter::StackEntry;
use crate::chain::{ChainError, Position, Value};
use crate::hash::Hash;
use crate::money::Nano;

/// Transactions in an answer unless the question says otherwise; toncenter's figures.
const LIMIT: usize = 10;
const LIMIT_MAX: usize = 1_000;

/// A request, as far as it matters.
pub(super) struct Question<'a> {
    pub(super) post: bool,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// A status and a JSON body.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Json,
}

/// Why there is no answer: status and words.
struct Wrong(u16, String);

impl From<ChainError> for Wrong {
    fn from(error: ChainError) -> Self {
        match error {
            ChainError::Refused { reason, .. } => {
                let before = "LITE_SERVER_UNKNOWN: cannot apply external message to current state : ";
                Self(500, format!("{before}{reason}"))
            }
            ChainError::Unavailable(why) => Self(504, format!("LITE_SERVER_NETWORK: {why}")),
            ChainError::Damaged(why) => Self(500, why),
        }
    }
}

/// Answers one question.
pub(super) fn answer(devnet: &Devnet, question: &Question<'_>) -> Answer {
    let version_2 = question.path.starts_with("/api/v2/");
    let found = match (question.post, question.path) {
        (false, "/api/v2/getMasterchainInfo") => masterchain_info_v2(devnet),
        (false, "/api/v2/getAddressInformation") => address_information_v2(devnet, question),
        (true, "/api/v2/sendBoc") => send(devnet, question).map(|_| json!({ "@type": "ok" })),
        (true, "/api/v2/sendBocReturnHash") => send(devnet, question).map(
            |(exact, norm)| json!({ "@type": "raw.extMessageInfo", "hash": hash(exact), "hash_norm": hash(norm) }),
        ),
        (true, "/api/v2/runGetMethod") => run_v2(devnet, question),
        (false, "/api/v3/masterchainInfo") => masterchain_info(devnet),
        (false, "/api/v3/accountStates") => account_states(devnet, question),
        (false, "/api/v3/transactions") => transactions(devnet, question),
        (true, "/api/v3/message") => send(devnet, question)
            .map(|(exact, norm)| json!({ "message_hash": hash(exact), "message_hash_norm": hash(norm) })),
        (true, "/api/v3/runGetMethod") => run(devnet, question),
        (true, "/devnet/faucet") => faucet(devnet, question),
        (true, "/devnet/block") => devnet.block().map(|head| json!(head.seqno)).map_err(Wrong::from),
        (false, "/devnet/replays") => devnet.replays(0).map(|all| json!(all)).map_err(Wrong::from),
        _ => Err(Wrong(404, "no such method".into())),
    };
    match found {
        Ok(result) if version_2 => Answer {
            status: 200,
            body: json!({ "ok": true, "result": result }),
        },
        Ok(body) => Answer { status: 200, body },
        Err(Wrong(status, error)) if version_2 => Answer {
            status,
            body: json!({ "ok": false, "error": error, "code": status }),
        },
        Err(Wrong(status, error)) => Answer {
            status,
            body: json!({ "error": error }),
        },
    }
}

impl Question<'_> {
    fn parameter(&self, name: &str) -> Option<String> {
        let mut parameters = form_urlencoded::parse(self.query.as_bytes());
        let found = parameters.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    }

    fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Wrong> {
        let wrong = || Wrong(422, format!("{name} is not a number"));
        let text = self.parameter(name);
        text.map(|text| text.parse().map_err(|_| wrong())).transpose()
    }

    fn address(&self, name: &str) -> Result<Address, Wrong> {
        let text = self.parameter(name);
        address(&text.ok_or_else(|| Wrong(422, format!("{name} is required")))?)
    }

    fn json<T: DeserializeOwned>(&self) -> Result<T, Wrong> {
        serde_json::from_slice(self.body).map_err(|error| Wrong(422, error.to_string()))
    }
}

/// Any form, of any workchain: nothing is paid here.
fn address(text: &str) -> Result<Address, Wrong> {
    let written = Address::parse(text, Network::Testnet).map(|written| written.address);
    written
        .or_else(|_| text.parse())
        .map_err(|error| Wrong(422, error.to_string()))
}

fn masterchain_info_v2(devnet: &Devnet) -> Result<Json, Wrong> {
    let head = devnet.read_head()?;
    Ok(json!({ "@type": "blocks.masterchainInfo", "last": block_id(head.seqno), "init": block_id(0) }))
}

fn masterchain_info(devnet: &Devnet) -> Result<Json, Wrong> {
    Ok(json!({ "last": block(devnet.read_head()?) }))
}

fn address_information_v2(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    let address = question.address("address")?;
    let (state, code) = (devnet.read_account(address)?, devnet.read_code(address)?);
    Ok(address_information(&state, code.as_ref(), devnet.read_head()?))
}

fn account_states(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    let state = devnet.read_account(question.address("address")?)?;
    Ok(json!({ "accounts": [account_state(&state)], "address_book": {}, "metadata": {} }))
}

fn transactions(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    if question.parameter("sort").as_deref() != Some("asc") {
        return Err(Wrong(422, "the devnet sorts only with sort=asc".into()));
    }
    let start = question.number::<u64>("start_lt")?.unwrap_or_default();
    let after = Position {
        lt: start.saturating_sub(1),
        ..Position::START
    };
    let limit = question.number::<usize>("limit")?.unwrap_or(LIMIT).min(LIMIT_MAX);
    let records = devnet.read_records(question.address("account")?, after, limit)?;
    let all = records.iter().map(|record| transaction(record));
    let all = all
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Wrong(500, error.to_string()))?;
    Ok(json!({ "transactions": all, "address_book": {} }))
}

#[derive(Deserialize)]
struct Send {
    boc: String,
}

/// Sends a message; its hash, and the normalised one.
fn send(devnet: &Devnet, question: &Question<'_>) -> Result<(Hash, Hash), Wrong> {
    let send: Send = question.json()?;
    let cell = read_base64(&send.boc).map_err(|error| Wrong(422, error.to_string()))?;
    let norm = devnet.take(&crate::chain::write_cell(cell.as_ref()))?;
    Ok((crate::chain::cell_hash(cell.as_ref()), norm))
}

#[derive(Deserialize)]
struct Run {
    address: String,
    method: String,
    #[serde(default)]
    stack: Vec<StackEntry>,
}

#[derive(Deserialize)]
struct RunV2 {
    address: String,
    method: String,
    stack: Vec<(String, Json)>,
}

/// What a get-method gave, and with which exit code. A method that fails has given an answer too.
fn got(found: Result<Vec<Value>, ChainError>) -> Result<(i32, Vec<Value>), Wrong> {
    match found {
        Ok(stack) => Ok((0, stack)),
        Err(ChainError::Refused {
            exit_code: Some(code), ..
        }) => Ok((code, Vec::new())),
        Err(error) => Err(error.into()),
    }
}

fn run(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    let run: Run = question.json()?;
    let stack = run
        .stack
        .into_iter()
        .map(StackEntry::value)
        .collect::<Result<Vec<_>, _>>();
    let stack = stack.map_err(|error| Wrong(422, error.to_string()))?;
    let (exit_code, stack) = got(devnet.run_get(address(&run.address)?, &run.method, &stack))?;
    Ok(json!({ "gas_used": 0, "exit_code": exit_code, "stack": stack_v3(&stack) }))
}

fn run_v2(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    let run: RunV2 = question.json()?;
    let stack = run.stack.into_iter().map(|(kind, value)| json::value_v2(&kind, &value));
    let stack = stack.collect::<Option<Vec<_>>>();
    let stack = stack.ok_or_else(|| Wrong(422, "the stack cannot be read".into()))?;
    let (exit_code, stack) = got(devnet.run_get(address(&run.address)?, &run.method, &stack))?;
    Ok(json!({ "@type": "smc.runResult", "gas_used": 0, "exit_code": exit_code, "stack": stack_v2(&stack) }))
}

#[derive(Deserialize)]
struct Faucet {
    address: String,
    /// In nanoTON.
    amount: Nano,
    #[serde(default)]
    comment: String,
}

fn faucet(devnet: &Devnet, question: &Question<'_>) -> Result<Json, Wrong> {
    let asked: Faucet = question.json()?;
    let body = match asked.comment.as_str() {
        "" => Body::default(),
        comment => Body::comment_of(comment).map_err(|error| Wrong(422, error.to_string()))?,
    };
    let to = address(&asked.address)?;
    devnet.give(to, asked.amount.into(), &body)?;
    let state = devnet.truth(to)?;
    Ok(json!({ "address": to, "balance": state.balance.to_string() }))
}
