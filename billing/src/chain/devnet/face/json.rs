//! How toncenter writes things: addresses raw with capital digits, hashes in base64, numbers that may be large as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigInt;
use serde_json::{Value as Json, json};
use tycho_types::models::{
    AccountStatus as RawStatus, BouncePhase, ComputePhase, ComputePhaseSkipReason, Message, MsgInfo, OrdinaryTxInfo,
    ShardAccount, TxInfo,
};

use super::super::record::Record;
use crate::chain::account::{AccountState, AccountStatus};
use crate::chain::address::Address;
use crate::chain::cell::{cell_hash, read_base64, write_base64};
use crate::chain::message::{Body, external_hash};
use crate::chain::toncenter::StackEntry;
use crate::chain::transaction::transfer;
use crate::chain::{Cell, CellError, Head, Value};
use crate::hash::Hash;

/// The masterchain's only shard, as v2 writes it.
const SHARD_V2: &str = "-9223372036854775808";
/// The same as v3 writes it.
const SHARD: &str = "8000000000000000";

type Read<T> = Result<T, CellError>;

pub(super) fn hash(hash: Hash) -> String {
    STANDARD.encode(hash.as_bytes())
}

fn raw_hash(hash: &tycho_types::cell::HashBytes) -> String {
    STANDARD.encode(hash.0)
}

fn raw(address: Address) -> String {
    address.to_string().to_uppercase()
}

/// A block's hashes are made of its number: the devnet has no blocks that could be hashed.
fn block_hash(seqno: u32) -> String {
    hash(Hash::of(&seqno.to_be_bytes()))
}

pub(super) fn block_id(seqno: u32) -> Json {
    json!({
        "@type": "ton.blockIdExt", "workchain": -1, "shard": SHARD_V2, "seqno": seqno,
        "root_hash": block_hash(seqno), "file_hash": block_hash(seqno),
    })
}

pub(super) fn block(head: Head) -> Json {
    json!({
        "workchain": -1, "shard": SHARD, "seqno": head.seqno, "root_hash": block_hash(head.seqno),
        "file_hash": block_hash(head.seqno), "gen_utime": head.time.to_string(),
    })
}

pub(super) fn address_information(state: &AccountState, code: Option<&Cell>, head: Head) -> Json {
    let cell = |cell: Option<&Cell>| cell.map_or_else(String::new, |cell| write_base64(cell.as_ref()));
    let status = match state.status {
        AccountStatus::Active => "active",
        AccountStatus::Frozen => "frozen",
        AccountStatus::Nonexistent | AccountStatus::Uninitialised => "uninitialized",
    };
    json!({
        "@type": "raw.fullAccountState", "balance": state.balance.to_string(), "code": cell(code),
        "data": cell(state.data.as_ref()), "frozen_hash": "", "state": status, "sync_utime": head.time,
        "last_transaction_id": {
            "@type": "internal.transactionId", "lt": state.last.lt.to_string(), "hash": hash(state.last.hash),
        },
        "block_id": block_id(head.seqno),
    })
}

pub(super) fn account_state(state: &AccountState) -> Json {
    let data = state.data.as_ref();
    json!({
        "address": raw(state.address),
        "balance": state.balance.to_string(),
        "status": match state.status {
            AccountStatus::Active => "active",
            AccountStatus::Frozen => "frozen",
            AccountStatus::Uninitialised => "uninit",
            AccountStatus::Nonexistent => "nonexist",
        },
        "last_transaction_hash": hash(state.last.hash),
        "last_transaction_lt": state.last.lt.to_string(),
        "data_hash": data.map(|data| hash(cell_hash(data.as_ref()))),
        "code_hash": state.code_hash.map(hash),
        "data_boc": data.map(|data| write_base64(data.as_ref())),
    })
}

pub(super) fn transaction(record: &Record) -> Read<Json> {
    let tx = record.raw()?;
    let incoming = tx.load_in_msg()?;
    let mut outgoing = Vec::new();
    for one in tx.iter_out_msgs() {
        let one = one?;
        outgoing.push(message(&one, None)?);
    }
    Ok(json!({
        "account": raw(record.address),
        "hash": hash(cell_hash(record.transaction.as_ref())),
        "lt": tx.lt.to_string(),
        "now": tx.now,
        "mc_block_seqno": record.seqno,
        "block_ref": { "workchain": record.address.workchain(), "shard": SHARD, "seqno": record.seqno },
        "prev_trans_hash": raw_hash(&tx.prev_trans_hash),
        "prev_trans_lt": tx.prev_trans_lt.to_string(),
        "orig_status": status(tx.orig_status),
        "end_status": status(tx.end_status),
        "total_fees": tx.total_fees.tokens.to_string(),
        "total_fees_extra_currencies": {},
        "description": match tx.load_info()? {
            TxInfo::Ordinary(info) => ordinary(&info),
            TxInfo::TickTock(info) => json!({ "type": "tick_tock", "aborted": info.aborted }),
        },
        "in_msg": incoming.map(|incoming| message(&incoming, Some(record.address))).transpose()?,
        "out_msgs": outgoing,
        "account_state_before": balance(&record.before)?,
        "account_state_after": balance(&record.after)?,
        "emulated": false,
        "finality": "finalized",
    }))
}

fn status(status: RawStatus) -> &'static str {
    match status {
        RawStatus::Active => "active",
        RawStatus::Frozen => "frozen",
        RawStatus::Uninit => "uninit",
        RawStatus::NotExists => "nonexist",
    }
}

fn balance(shard: &Cell) -> Read<Json> {
    let account = shard.parse::<ShardAccount>()?.load_account()?;
    Ok(account.map_or(
        Json::Null,
        |account| json!({ "balance": account.balance.tokens.to_string() }),
    ))
}

fn ordinary(info: &OrdinaryTxInfo) -> Json {
    let mut described = json!({
        "type": "ord", "aborted": info.aborted, "destroyed": info.destroyed, "credit_first": info.credit_first,
        "compute_ph": match &info.compute_phase {
            ComputePhase::Skipped(phase) => {
                json!({ "skipped": true, "reason": reason(phase.reason) })
            }
            ComputePhase::Executed(phase) => json!({
                "skipped": false, "success": phase.success, "exit_code": phase.exit_code,
                "gas_fees": phase.gas_fees.to_string(), "gas_used": phase.gas_used.to_string(),
                "vm_steps": phase.vm_steps,
            }),
        },
    });
    let credit = info.credit_phase.as_ref();
    described["credit_ph"] = credit.map_or(Json::Null, |phase| json!({ "credit": phase.credit.tokens.to_string() }));
    if let Some(phase) = &info.action_phase {
        described["action"] = json!({
            "success": phase.success, "valid": phase.valid, "no_funds": phase.no_funds,
            "result_code": phase.result_code, "tot_actions": phase.total_actions,
            "skipped_actions": phase.skipped_actions, "msgs_created": phase.messages_created,
        });
    }
    if let Some(phase) = &info.bounce_phase {
        let kind = match phase {
            BouncePhase::Executed(_) => "ok",
            BouncePhase::NoFunds(_) => "nofunds",
            BouncePhase::NegativeFunds => "negfunds",
        };
        described["bounce"] = json!({ "type": kind });
    }
    described
}

fn reason(reason: ComputePhaseSkipReason) -> &'static str {
    match reason {
        ComputePhaseSkipReason::NoState => "no_state",
        ComputePhaseSkipReason::BadState => "bad_state",
        ComputePhaseSkipReason::NoGas => "no_gas",
        ComputePhaseSkipReason::Suspended => "suspended",
    }
}

/// A message; `to` is where one from outside went.
fn message(message: &Message<'_>, to: Option<Address>) -> Read<Json> {
    let body = Body::of(message)?;
    let mut written = match (transfer(message)?, &message.info) {
        (Some(transfer), MsgInfo::Int(info)) => json!({
            "source": raw(transfer.from), "destination": raw(transfer.to), "value": transfer.value.to_string(),
            "value_extra_currencies": {}, "bounce": transfer.bounce, "bounced": transfer.bounced,
            "fwd_fee": info.fwd_fee.to_string(), "ihr_fee": "0", "extra_flags": "0", "ihr_disabled": info.ihr_disabled,
            "created_lt": transfer.created_lt.to_string(), "created_at": info.created_at.to_string(),
            "import_fee": null,
        }),
        (_, MsgInfo::ExtOut(info)) => json!({
            "source": Address::of_int(&info.src).map(raw), "destination": null, "value": null, "bounce": null,
            "bounced": null, "fwd_fee": null, "ihr_fee": null, "ihr_disabled": null,
            "created_lt": info.created_lt.to_string(), "created_at": info.created_at.to_string(), "import_fee": null,
        }),
        _ => json!({
            "source": null, "destination": to.map(raw), "value": null, "bounce": null, "bounced": null,
            "fwd_fee": null, "ihr_fee": null, "ihr_disabled": null, "created_lt": null, "created_at": null,
            "import_fee": "0",
        }),
    };
    written["hash"] = json!(hash(cell_hash(
        tycho_types::cell::CellBuilder::build_from(message)?.as_ref()
    )));
    if let (MsgInfo::ExtIn(_), Some(to)) = (&message.info, to) {
        written["hash_norm"] = json!(hash(external_hash(to, &body)?));
    }
    written["opcode"] = json!(body.opcode().map(|opcode| format!("0x{opcode:08x}")));
    written["message_content"] = json!({
        "hash": hash(cell_hash(body.cell().as_ref())),
        "body": write_base64(body.cell().as_ref()),
        "decoded": body.comment().ok().flatten().map(|comment| json!({ "@type": "text_comment", "comment": comment })),
    });
    written["init_state"] = Json::Null;
    Ok(written)
}

pub(super) fn stack_v3(stack: &[Value]) -> Vec<StackEntry> {
    stack.iter().map(StackEntry::of).collect()
}

/// v2 writes numbers and cells as pairs, and what it has no pair for in its own types.
pub(super) fn stack_v2(stack: &[Value]) -> Vec<Json> {
    let bytes = |cell: &Cell| json!({ "bytes": write_base64(cell.as_ref()) });
    let entry = |value: &Value| match value {
        Value::Int(number) => json!(["num", StackEntry::hexadecimal(number)]),
        Value::Cell(cell) => json!(["cell", bytes(cell)]),
        Value::Slice(cell) => json!(["slice", bytes(cell)]),
        Value::Null => json!(["list", { "@type": "tvm.list", "elements": [] }]),
        Value::Tuple(_) => json!(["tuple", { "@type": "tvm.tuple", "elements": [] }]),
    };
    stack.iter().map(entry).collect()
}

pub(super) fn value_v2(kind: &str, value: &Json) -> Option<Value> {
    let text = match value {
        Json::Number(number) => number.to_string(),
        value => value.as_str()?.to_owned(),
    };
    match kind {
        "num" => StackEntry::number(&text)
            .or_else(|| text.parse::<BigInt>().ok())
            .map(Value::Int),
        "tvm.Cell" | "cell" => read_base64(&text).ok().map(Value::Cell),
        "tvm.Slice" | "slice" => read_base64(&text).ok().map(Value::Slice),
        _ => None,
    }
}
