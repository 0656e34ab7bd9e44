//! Signs messages and sends them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::message::Message;
use crate::chain::{
    AccountState, AccountStatus, Address, Chain, ChainError, Payment, Position, Wallet, WalletError, WalletKey,
};
use crate::money::Nano;

/// What became of sending a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Sending {
    /// The chain has it.
    Sent,
    /// It was taken before, or it came too late: the chain will show which.
    UnderWay,
    /// The chain does not take it, for another reason.
    Refused(String),
}

/// Sends the bytes of a message.
///
/// # Errors
/// If the chain cannot say.
pub(crate) async fn send(chain: &dyn Chain, bytes: &[u8]) -> Result<Sending, ChainError> {
    match chain.send(bytes).await {
        Ok(_) => Ok(Sending::Sent),
        Err(error) if Wallet::refused_seqno(&error) || Wallet::refused_expired(&error) => Ok(Sending::UnderWay),
        Err(ChainError::Refused { reason, .. }) => Ok(Sending::Refused(reason)),
        Err(error) => Err(error),
    }
}

/// Signs the message by which `wallet`, which stands as `state` says, makes these payments.
///
/// # Errors
/// [`WalletError`]
pub(crate) fn sign<O>(
    (wallet, key): (&Wallet, &WalletKey),
    payments: &[Payment],
    order: O,
    state: &AccountState,
    (seqno, valid_until): (u32, u32),
) -> Result<Message<O>, WalletError> {
    let signed = wallet.prepare(payments, seqno, valid_until)?.sign(key)?;
    Ok(Message {
        seqno,
        valid_until,
        after: state.last,
        hash: signed.hash,
        boc: STANDARD.encode(&signed.bytes),
        order,
    })
}

/// The payee's last transaction, if there is a contract. Whoever has none keeps what it gets.
pub(crate) async fn bounces_after(chain: &dyn Chain, payee: Address) -> Result<Option<Position>, ChainError> {
    let state = chain.account(payee).await?;
    Ok((state.status == AccountStatus::Active).then_some(state.last))
}

/// What the wallet has and needs, if it has less than it needs.
pub(crate) fn lacks(wallet: &AccountState, costs: u64) -> Option<(Nano, Nano)> {
    let needs = Nano::saturating(costs);
    let has = wallet.balance.nano().unwrap_or(Nano::MAX);
    (has < needs).then_some((has, needs))
}
