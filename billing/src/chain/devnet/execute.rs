//! One transaction, and one get-method, on the real executor and virtual machine.

use tycho_executor::{Executor, ExecutorInspector, ExecutorParams, TxError};
use tycho_types::cell::{Cell, CellBuilder, Lazy};
use tycho_types::crc::crc_16;
use tycho_types::models::{Account, AccountState, CurrencyCollection, MsgInfo, OptionalAccount, ShardAccount};
use tycho_types::num::Tokens;
use tycho_vm::{GasParams, RcStackValue, SmcInfoBase, VmState};

use super::DevnetError;
use super::record::Record;
use super::rules::Rules;
use crate::chain::address::Address;
use crate::chain::{CellError, ChainError, Value};

/// Marks the id of a get-method, over the checksum of its name.
const METHOD: u32 = 0x1_0000;
/// What a node says of a get-method at an address without a contract.
const NO_CONTRACT: i32 = -13;

/// What one message did.
pub(super) struct Executed {
    pub(super) record: Record,
    /// Messages for other accounts, in order.
    pub(super) outgoing: Vec<Cell>,
    /// The earliest logical time of what follows.
    pub(super) next_lt: u64,
}

/// Where and when a message is executed.
pub(super) struct Place<'a> {
    pub(super) rules: &'a Rules,
    pub(super) block: &'a ExecutorParams,
    /// Earliest logical time of the transaction.
    pub(super) lt: u64,
    /// The block's number.
    pub(super) seqno: u32,
}

/// An account that nothing was ever sent to.
pub(super) fn nobody() -> Result<ShardAccount, CellError> {
    Ok(ShardAccount {
        account: Lazy::new(&OptionalAccount::EMPTY)?,
        last_trans_hash: Default::default(),
        last_trans_lt: 0,
    })
}

/// Executes a message.
///
/// # Errors
/// [`ChainError::Refused`] for an external message that the account does not take; the rest is a fault of the devnet.
pub(super) fn execute(
    place: &Place<'_>,
    to: Address,
    external: bool,
    message: &Cell,
    before: &ShardAccount,
) -> Result<Executed, ChainError> {
    let mut seen = ExecutorInspector::default();
    let executor = Executor::new(place.block, &place.rules.config).with_min_lt(place.lt);
    let begun = executor.begin_ordinary_ext(&to.std(), external, message.clone(), before, Some(&mut seen));
    let done = match begun {
        Ok(transaction) => transaction.commit().map_err(|error| failed(&error))?,
        Err(TxError::Skipped) => return Err(not_accepted(seen.exit_code)),
        Err(TxError::Fatal(error)) if external => return Err(refused(None, format!("{error:#}"))),
        Err(TxError::Fatal(error)) => return Err(failed(&error)),
    };
    let cells = || {
        Ok::<_, CellError>(Record {
            address: to,
            seqno: place.seqno,
            lt: done.transaction.load()?.lt,
            before: CellBuilder::build_from(before)?,
            message: message.clone(),
            transaction: done.transaction.inner().clone(),
            after: CellBuilder::build_from(&done.new_state)?,
        })
    };
    Ok(Executed {
        record: cells().map_err(|error| failed(&error))?,
        outgoing: done
            .transaction_meta
            .out_msgs
            .iter()
            .map(|message| message.inner().clone())
            .collect(),
        next_lt: done.transaction_meta.next_lt,
    })
}

/// Whom an internal message is for; `None` for a log.
pub(super) fn receiver(message: &Cell) -> Option<Address> {
    match message.parse::<MsgInfo>().ok()? {
        MsgInfo::Int(info) => Address::of_int(&info.dst),
        _ => None,
    }
}

/// Runs a get-method on an account.
pub(super) fn get(
    place: &Place<'_>,
    address: Address,
    account: Option<Account>,
    method: &str,
    stack: &[Value],
) -> Result<Vec<Value>, ChainError> {
    let nothing = || refused(Some(NO_CONTRACT), "there is no contract at this address".into());
    let account = account.ok_or_else(nothing)?;
    let AccountState::Active(init) = account.state else {
        return Err(nothing());
    };
    let code = init.code.ok_or_else(nothing)?;
    let mut arguments: Vec<RcStackValue> = stack.iter().map(Value::to_vm).collect();
    let id = u32::from(crc_16(method.as_bytes())) | METHOD;
    arguments.push(Value::from(u64::from(id)).to_vm());
    let about = SmcInfoBase::new()
        .with_now(place.block.block_unixtime)
        .with_block_lt(place.lt)
        .with_tx_lt(place.lt)
        .with_account_balance(account.balance)
        .with_account_addr(address.std().into())
        .with_config(place.rules.config.raw.params.clone())
        .require_ton_v4()
        .with_code(code.clone())
        .with_message_balance(CurrencyCollection::ZERO)
        .with_storage_fees(Tokens::ZERO)
        .require_ton_v6()
        .with_unpacked_config(place.rules.config.unpacked.as_tuple())
        .require_ton_v11();
    let mut machine = VmState::builder()
        .with_smc_info(about)
        .with_stack(arguments)
        .with_code(code)
        .with_data(init.data.unwrap_or_default())
        .with_gas(GasParams::getter())
        .build();
    // The machine gives the exit code's complement.
    let exit_code = !machine.run();
    if exit_code != 0 && exit_code != 1 {
        return Err(refused(
            Some(exit_code),
            format!("{method} failed with exit code {exit_code}"),
        ));
    }
    machine
        .stack
        .items
        .iter()
        .map(|value| Value::of_vm(value.as_ref()))
        .collect()
}

/// The node's words for a message that the account did not accept.
pub(super) fn not_accepted(exit_code: Option<i32>) -> ChainError {
    let code = exit_code.map_or_else(String::new, |code| format!(": exitcode={code}"));
    refused(exit_code, format!("External message was not accepted{code}"))
}

fn refused(exit_code: Option<i32>, reason: String) -> ChainError {
    ChainError::Refused { exit_code, reason }
}

fn failed(error: &dyn std::fmt::Display) -> ChainError {
    ChainError::Unavailable(format!("the devnet failed: {error:#}"))
}

impl From<CellError> for DevnetError {
    fn from(error: CellError) -> Self {
        Self::Damaged(error.to_string())
    }
}
