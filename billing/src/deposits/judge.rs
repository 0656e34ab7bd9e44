//! What a transaction at the operator's address is to the books. No I/O: values in, a verdict out.

use super::invoice::{BadInvoice, Invoice};
use crate::chain::{BadComment, Body, Incoming, Transaction, Transfer};
use crate::id::AccountId;
use crate::ledger::{Deposit, Uncredited, WhyUncredited};
use crate::money::Nano;

/// What an encrypted comment begins with (TON's comment encryption), in 32 bits.
const ENCRYPTED: u32 = 0x2167_da4b;
/// A transfer that is credited so long after the chain took it was late: an endpoint, or whoever watches, was away. 10 minutes.
const LATE_MS: u64 = 600_000;
/// Characters of a comment that are quoted.
const QUOTED_CHARS: usize = 40;

/// What a transaction is.
pub(super) enum Verdict {
    /// No money arrived: it was ours going out, or nothing.
    Nothing,
    /// Money for an account; and what to note if the account cannot be credited.
    Credit { deposit: Deposit, otherwise: Uncredited },
    /// Money for nobody.
    Nobody(Uncredited),
}

/// Judges by the value that arrived: a deposit at a wallet that was never used shows as aborted, and counts.
pub(super) fn judge(transaction: &Transaction, minimum: Nano, now_ms: u64) -> Verdict {
    let Incoming::Transfer(transfer) = &transaction.incoming else {
        return Verdict::Nothing;
    };
    let at_ms = u64::from(transaction.time).saturating_mul(1_000);
    let note = |why, account: Option<AccountId>, detail: String| Uncredited {
        id: format!("ton:{}:{}", transaction.at.lt, transaction.at.hash),
        at_ms,
        from: transfer.from.to_string(),
        amount: transfer.value.to_string(),
        why,
        account,
        detail,
    };
    if transfer.bounced {
        return Verdict::Nobody(note(WhyUncredited::Bounced, None, String::new()));
    }
    if transaction.credited().is_none() {
        return Verdict::Nobody(note(WhyUncredited::SentBack, None, String::new()));
    }
    let account = match payee(transfer) {
        Ok(account) => account,
        Err((why, detail)) => return Verdict::Nobody(note(why, None, detail)),
    };
    let Ok(amount) = transfer.value.nano() else {
        return Verdict::Nobody(note(WhyUncredited::TooLarge, Some(account), String::new()));
    };
    if amount < minimum || amount.is_zero() {
        let detail = format!("less than {minimum}");
        return Verdict::Nobody(note(WhyUncredited::Dust, Some(account), detail));
    }
    let late = if is_late(at_ms, now_ms) { ", late" } else { "" };
    let otherwise = note(WhyUncredited::UnknownAccount, Some(account.clone()), String::new());
    Verdict::Credit {
        deposit: Deposit {
            id: otherwise.id.clone(),
            account,
            amount,
            note: format!("from {} at {}{late}", transfer.from, transaction.time),
            now_ms,
        },
        otherwise,
    }
}

/// Whether a transfer is credited late.
pub(super) const fn is_late(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) > LATE_MS
}

/// Whom a transfer's comment names; or why it names nobody, and what it says.
fn payee(transfer: &Transfer) -> Result<AccountId, (WhyUncredited, String)> {
    let text = match transfer.body.comment() {
        Ok(Some(text)) => text,
        Ok(None) => return Err(without_comment(&transfer.body)),
        Err(bad @ (BadComment::TooLong | BadComment::NotText | BadComment::Malformed)) => {
            return Err((WhyUncredited::Unreadable, bad.to_string()));
        }
    };
    if text.trim().is_empty() {
        return Err((WhyUncredited::NoComment, String::new()));
    }
    match Invoice::read(&text) {
        Ok(invoice) => Ok(invoice.account().clone()),
        Err(bad @ (BadInvoice::Other | BadInvoice::Checksum)) => {
            Err((WhyUncredited::Unmatched, format!("`{}`: {bad}", quoted(&text))))
        }
    }
}

fn without_comment(body: &Body) -> (WhyUncredited, String) {
    match body.opcode() {
        None => (WhyUncredited::NoComment, String::new()),
        Some(ENCRYPTED) => (WhyUncredited::Unreadable, "the comment is encrypted".to_owned()),
        Some(opcode) => (
            WhyUncredited::Unreadable,
            format!("a message for a contract (0x{opcode:08x}) and no comment"),
        ),
    }
}

/// The beginning of a comment, fit for a terminal: whoever sends one can write anything.
fn quoted(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_invisible(c) { '·' } else { c };
    text.chars().take(QUOTED_CHARS).map(plain).collect()
}

/// Marks that change how the text around them is shown (Unicode's directional and zero-width characters).
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
