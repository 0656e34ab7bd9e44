//! Reads what endpoints answer. Any bytes give a value or a [`ChainError::Damaged`]; what would not be believed is refused
//! here: foreign accounts, bodies that do not have their hash, numbers that are none.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, de};

use super::stack::StackEntry;
use crate::chain::account::{AccountState, AccountStatus};
use crate::chain::address::Address;
use crate::chain::amount::Coins;
use crate::chain::cell::{cell_hash, read_base64};
use crate::chain::message::{Body, Transfer, external_hash};
use crate::chain::transaction::{Incoming, Transaction};
use crate::chain::{Cell, ChainError, Head, Position, Value};
use crate::hash::Hash;

/// What an endpoint says of a transaction that a masterchain block refers to.
const FINAL: &str = "finalized";

/// A number that comes as text, or as a number.
struct Digits(String);

impl<'de> Deserialize<'de> for Digits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(u64),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Text(text) => text,
            Either::Number(number) => number.to_string(),
        }))
    }
}

impl Digits {
    fn whole(&self) -> Result<u64, ChainError> {
        let digits = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { self.0.parse().ok() } else { None };
        number.ok_or_else(|| ChainError::damaged("a number that is none"))
    }

    fn coins(&self) -> Result<Coins, ChainError> {
        self.0
            .parse()
            .map_err(|_| ChainError::damaged("an amount that is none"))
    }
}

/// A hash in base64.
struct Base64Hash(Hash);

impl<'de> Deserialize<'de> for Base64Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| de::Error::custom("a hash is 32 bytes in base64"))?;
        Ok(Self(Hash::from_bytes(bytes)))
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ChainError> {
    serde_json::from_slice(body).map_err(|error| ChainError::Damaged(error.to_string()))
}

#[derive(Deserialize)]
struct MasterchainInfo {
    last: Block,
}

#[derive(Deserialize)]
struct Block {
    seqno: u32,
    gen_utime: Digits,
}

pub(super) fn head(body: &[u8]) -> Result<Head, ChainError> {
    let MasterchainInfo { last } = parse(body)?;
    let time = u32::try_from(last.gen_utime.whole()?);
    Ok(Head {
        seqno: last.seqno,
        time: time.map_err(|_| ChainError::damaged("a block of another age"))?,
    })
}

#[derive(Deserialize)]
struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    address: Address,
    balance: Option<Digits>,
    status: Option<String>,
    code_hash: Option<Base64Hash>,
    data_hash: Option<Base64Hash>,
    data_boc: Option<String>,
    last_transaction_hash: Option<Base64Hash>,
    last_transaction_lt: Option<Digits>,
}

/// The account; one that is left out is unknown to the chain.
pub(super) fn account(address: Address, body: &[u8]) -> Result<AccountState, ChainError> {
    let Accounts { accounts } = parse(body)?;
    let mut state = AccountState::nonexistent(address);
    let Some(found) = accounts.into_iter().next() else {
        return Ok(state);
    };
    if found.address != address {
        return Err(ChainError::damaged("the state of another account"));
    }
    state.balance = found.balance.map_or(Ok(Coins::ZERO), |balance| balance.coins())?;
    state.status = match found.status.as_deref() {
        Some("active") => AccountStatus::Active,
        Some("uninit") => AccountStatus::Uninitialised,
        Some("frozen") => AccountStatus::Frozen,
        Some("nonexist") | None => AccountStatus::Nonexistent,
        Some(_) => return Err(ChainError::damaged("an account of an unknown status")),
    };
    if let (Some(hash), Some(lt)) = (found.last_transaction_hash, found.last_transaction_lt) {
        state.last = Position {
            lt: lt.whole()?,
            hash: hash.0,
        };
    }
    if state.status == AccountStatus::Active {
        let code = found
            .code_hash
            .ok_or_else(|| ChainError::damaged("a contract without code"))?;
        state.code_hash = Some(code.0);
        state.data = found.data_boc.map(|boc| cell(&boc, found.data_hash)).transpose()?;
    }
    Ok(state)
}

fn cell(boc: &str, hash: Option<Base64Hash>) -> Result<Cell, ChainError> {
    let cell = read_base64(boc).map_err(|error| ChainError::Damaged(error.to_string()))?;
    if hash.is_some_and(|hash| hash.0 != cell_hash(cell.as_ref())) {
        return Err(ChainError::damaged("cells that do not have their hash"));
    }
    Ok(cell)
}

#[derive(Deserialize)]
struct Ran {
    exit_code: i32,
    stack: Vec<StackEntry>,
}

pub(super) fn stack(method: &str, body: &[u8]) -> Result<Vec<Value>, ChainError> {
    #[derive(Deserialize)]
    struct ExitCode {
        exit_code: i32,
    }
    // A failed method's stack may hold what has no form.
    let ExitCode { exit_code } = parse(body)?;
    if exit_code != 0 && exit_code != 1 {
        return Err(ChainError::Refused {
            exit_code: Some(exit_code),
            reason: format!("{method} failed with exit code {exit_code}"),
        });
    }
    let ran: Ran = parse(body)?;
    debug_assert_eq!(ran.exit_code, exit_code, "the same answer");
    ran.stack.into_iter().map(StackEntry::value).collect()
}

#[derive(Deserialize)]
struct Page {
    transactions: Vec<Tx>,
}

#[derive(Deserialize)]
struct Tx {
    account: Address,
    hash: Base64Hash,
    lt: Digits,
    now: u32,
    mc_block_seqno: Option<u32>,
    prev_trans_hash: Base64Hash,
    prev_trans_lt: Digits,
    #[serde(default)]
    orig_status: Status,
    total_fees: Digits,
    description: Description,
    in_msg: Option<Msg>,
    out_msgs: Vec<Msg>,
    /// Guessed by the endpoint from messages that are still under way.
    #[serde(default)]
    emulated: bool,
    /// How sure the endpoint is; older ones do not say.
    finality: Option<String>,
}

/// How the account stood before.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Nonexist,
    #[default]
    #[serde(other)]
    There,
}

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    aborted: bool,
    compute_ph: Option<ComputePhase>,
    action: Option<ActionPhase>,
    bounce: Option<BouncePhase>,
}

#[derive(Deserialize)]
struct ComputePhase {
    exit_code: Option<i32>,
}

#[derive(Deserialize)]
struct ActionPhase {
    result_code: Option<i32>,
}

#[derive(Deserialize)]
struct BouncePhase {
    r#type: String,
}

#[derive(Deserialize)]
struct Msg {
    /// Of a log, the receiver may be any text.
    source: Option<String>,
    destination: Option<String>,
    value: Option<Digits>,
    bounce: Option<bool>,
    bounced: Option<bool>,
    created_lt: Option<Digits>,
    message_content: Option<Content>,
}

#[derive(Deserialize)]
struct Content {
    hash: Option<Base64Hash>,
    body: Option<String>,
}

/// The transactions that are final; what follows the first that is not is left for later.
pub(super) fn transactions(body: &[u8]) -> Result<Vec<Transaction>, ChainError> {
    let Page { transactions } = parse(body)?;
    let sealed = transactions.into_iter().map_while(|tx| {
        let sure = tx.finality.as_deref().is_none_or(|finality| finality == FINAL);
        let seqno = tx.mc_block_seqno.filter(|seqno| *seqno > 0 && sure && !tx.emulated)?;
        Some((tx, seqno))
    });
    sealed.map(|(tx, seqno)| tx.read(seqno)).collect()
}

impl Tx {
    fn read(self, seqno: u32) -> Result<Transaction, ChainError> {
        let mut outgoing = Vec::new();
        for message in self.out_msgs {
            // One that carries no value, not even zero, is a log.
            if message.value.is_some() {
                outgoing.push(message.transfer()?);
            }
        }
        if outgoing.iter().any(|transfer| transfer.from != self.account) {
            return Err(ChainError::damaged("a message that another account sent"));
        }
        let description = self.description;
        Ok(Transaction {
            account: self.account,
            at: Position {
                lt: self.lt.whole()?,
                hash: self.hash.0,
            },
            previous: Position {
                lt: self.prev_trans_lt.whole()?,
                hash: self.prev_trans_hash.0,
            },
            begins: self.orig_status == Status::Nonexist,
            time: self.now,
            seqno,
            fees: self.total_fees.coins()?,
            incoming: self
                .in_msg
                .map_or(Ok(Incoming::None), |message| message.incoming(self.account))?,
            outgoing,
            aborted: description.aborted,
            returned: description.bounce.is_some_and(|phase| phase.r#type == "ok"),
            exit_code: description.compute_ph.and_then(|phase| phase.exit_code),
            action_code: description.action.and_then(|phase| phase.result_code),
        })
    }
}

fn address(text: Option<&str>) -> Result<Address, ChainError> {
    let address = text.and_then(|text| text.parse().ok());
    address.ok_or_else(|| ChainError::damaged("a message without an address"))
}

impl Msg {
    fn incoming(self, account: Address) -> Result<Incoming, ChainError> {
        if address(self.destination.as_deref())? != account {
            return Err(ChainError::damaged("a message to another account"));
        }
        if self.source.is_some() {
            return self.transfer().map(Incoming::Transfer);
        }
        let hash = external_hash(account, &self.body()?).map_err(|error| ChainError::Damaged(error.to_string()))?;
        Ok(Incoming::External(hash))
    }

    fn transfer(self) -> Result<Transfer, ChainError> {
        let missing = || ChainError::damaged("a message without all that one has");
        Ok(Transfer {
            from: address(self.source.as_deref())?,
            to: address(self.destination.as_deref())?,
            value: self.value.as_ref().ok_or_else(missing)?.coins()?,
            bounce: self.bounce.ok_or_else(missing)?,
            bounced: self.bounced.ok_or_else(missing)?,
            created_lt: self.created_lt.as_ref().ok_or_else(missing)?.whole()?,
            body: self.body()?,
        })
    }

    /// A message whose words are not told could be one with a comment: nothing is made of it.
    fn body(&self) -> Result<Body, ChainError> {
        let missing = || ChainError::damaged("a message without its body");
        let content = self.message_content.as_ref().ok_or_else(missing)?;
        let body = content.body.as_deref().ok_or_else(missing)?;
        let hash = content.hash.as_ref().map(|hash| Base64Hash(hash.0));
        cell(body, hash).map(Body::new)
    }
}
