//! What the wallet is told to do: a list of messages to send.

use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{CurrencyCollection, OwnedRelaxedMessage, RelaxedIntMsgInfo, RelaxedMsgInfo};

use super::{Payment, WalletError};
use crate::chain::amount::Coins;

/// `action_send_msg`, from the chain's block schema.
const SEND: u32 = 0x0ec3_c86d;
/// Pay the fees from the balance (1), and skip a message that cannot be sent (2): the wallet demands the latter of every
/// request from outside, since a failing action would let the same request be run again and again.
const MODE: u8 = 1 | 2;

/// The list of actions: the first is innermost.
pub(super) fn order(payments: &[Payment]) -> Result<Cell, WalletError> {
    let mut list = Cell::default();
    for payment in payments {
        let mut action = CellBuilder::new();
        action.store_reference(list)?;
        action.store_u32(SEND)?;
        action.store_u8(MODE)?;
        action.store_reference(message(payment)?)?;
        list = action.build()?;
    }
    Ok(list)
}

fn message(payment: &Payment) -> Result<Cell, WalletError> {
    let message = OwnedRelaxedMessage {
        info: RelaxedMsgInfo::Int(RelaxedIntMsgInfo {
            ihr_disabled: true,
            bounce: payment.bounce,
            bounced: false,
            src: None,
            dst: payment.to.std().into(),
            value: CurrencyCollection::from(Coins::from(payment.amount).tokens()),
            extra_flags: Default::default(),
            fwd_fee: Coins::ZERO.tokens(),
            created_lt: 0,
            created_at: 0,
        }),
        init: payment.init.clone(),
        body: payment.body.cell().clone().into(),
        layout: None,
    };
    Ok(CellBuilder::build_from(&message)?)
}
