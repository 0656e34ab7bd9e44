//! What a payer does next. Pure: the books and how the chain stands give a step.

use super::books::{Batch, Books};
use super::entry::Message;
use crate::chain::{AccountState, Address, FEE_MAX, Head, Wallet};
use crate::money::Nano;
use crate::outbox::{Turn, lacks};

/// More than one payment costs the wallet in fees, its comment included, in nano: 0.001 TON. Every message costs [`FEE_MAX`]
/// at most besides.
pub const PAYMENT_FEE_MAX: u64 = 1_000_000;

/// How the chain stands, as somebody who may lag behind tells it.
#[derive(Clone, Debug)]
pub struct View {
    /// The newest block.
    pub head: Head,
    /// The wallet.
    pub wallet: AccountState,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Nothing, until something changes.
    Wait(Waiting),
    /// Take what is asked for into a batch, which is paid from this seqno on.
    Take(u32),
    /// Find out what of the batch is in the payer's hands.
    Hold,
    /// Sign the batch for this seqno, and store it.
    Sign(u32),
    /// Send this, for the first time or again.
    Send(&'a Message),
    /// Find out which message the chain took for the seqno of the open ones.
    Reconcile,
}

/// Why nothing can be done now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Waiting {
    /// All that was asked for is paid or given back.
    #[error("nothing is asked for")]
    NothingAsked,
    /// The operator said so.
    #[error("withdrawals are paused")]
    Paused,
    /// The chain's answers are older than what is known.
    #[error("the chain's answers lag behind the books")]
    Lagging,
    /// A message was sent and is not in a block yet, or a payment has not reached its payee.
    #[error("what was sent is under way")]
    UnderWay,
    /// The wallet needs coins.
    #[error(
        "the wallet {wallet} has {has} and needs {needs} for the next withdrawals, {} more: send coins to it, and they are \
         paid", Nano::saturating(needs.get().saturating_sub(has.get()))
    )]
    Short {
        /// Where to send them.
        wallet: Address,
        /// What it has.
        has: Nano,
        /// What the next payments may cost.
        needs: Nano,
    },
    /// The last batch is not over, and another wallet pays it.
    #[error("the last withdrawals are being paid from the wallet {0}: pay with its key until that is over")]
    OtherWallet(Address),
    /// The wallet is the one that settles.
    #[error("the wallet {0} is the settlement contract's operator: withdrawals need a wallet of their own")]
    Settles(Address),
    /// At the wallet's address is something else.
    #[error("the account {0} is not this wallet")]
    NoWallet(Address),
    /// The chain did not take a message, for a reason other than its seqno or age.
    #[error("the chain does not take the message: {0}")]
    Refused(String),
}

/// The next step. With `paused` only what was sent is followed.
#[must_use]
pub fn decide<'a>(books: &'a Books, view: &View, paused: bool) -> Step<'a> {
    let address = view.wallet.address;
    let Some(seqno) = Wallet::seqno_in(&view.wallet) else {
        return Step::Wait(Waiting::NoWallet(address));
    };
    let step = match books.under_way() {
        Some(batch) if batch.wallet() != address => Err(Waiting::OtherWallet(batch.wallet())),
        Some(batch) => go_on(batch, view, seqno),
        None if seqno < books.seqno_min(address) => Err(Waiting::Lagging),
        None => Ok(Step::Take(seqno)),
    };
    match step {
        Ok(Step::Reconcile) | Err(_) => step.unwrap_or_else(Step::Wait),
        Ok(_) if paused => Step::Wait(Waiting::Paused),
        Ok(step) => step,
    }
}

fn go_on<'a>(batch: &'a Batch, view: &View, seqno: u32) -> Result<Step<'a>, Waiting> {
    if !batch.is_held() {
        return Ok(Step::Hold);
    }
    match batch.outgoing().turn(seqno, &view.head) {
        Turn::Lagging => Err(Waiting::Lagging),
        Turn::Reconcile => Ok(Step::Reconcile),
        Turn::Send(message) => Ok(Step::Send(message)),
        Turn::Sign(seqno) => {
            affords(view, batch.due().map(|(_, due)| due.amount))?;
            Ok(Step::Sign(seqno))
        }
    }
}

/// More than paying these amounts in one message can cost the wallet.
pub(super) fn costs(amounts: impl Iterator<Item = Nano>) -> u64 {
    amounts.fold(FEE_MAX.get(), |sum, amount| {
        sum.saturating_add(amount.get()).saturating_add(PAYMENT_FEE_MAX)
    })
}

pub(super) fn affords(view: &View, amounts: impl Iterator<Item = Nano>) -> Result<(), Waiting> {
    let wallet = view.wallet.address;
    let short = lacks(&view.wallet, costs(amounts)).map(|(has, needs)| Waiting::Short { wallet, has, needs });
    short.map_or(Ok(()), Err)
}
