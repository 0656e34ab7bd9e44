//! Where an operator works: the ledger, and the name their changes are written down under.

use std::sync::Arc;

use filature_billing::{AccountId, AuditEntry, EpochStore, Ledger};

use super::refused::Refused;
use crate::clock::now_ms;
use crate::withdrawals::Destinations;

/// Longest detail of an audit entry, in bytes: what the ledger takes.
const DETAIL_BYTES_MAX: usize = 2048;

/// An operator at a ledger.
#[derive(Clone)]
pub struct Desk {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Where epochs and the books of settlement are; `None` for one who has only the ledger.
    pub epochs: Option<EpochStore>,
    /// Where withdrawals may go; `None` for one who has only the ledger, and takes raw addresses alone.
    pub destinations: Option<Destinations>,
    /// Who they are: `cli:` and a user of this machine, or the name of an admin token.
    pub operator: Arc<str>,
}

/// What is about to be changed, for the audit trail.
pub(super) struct Change {
    /// A fixed word.
    pub(super) action: &'static str,
    /// The account it touches, if it does.
    pub(super) account: Option<AccountId>,
    /// What else it touches: a key, a credit, a provider.
    pub(super) subject: String,
    /// The particulars.
    pub(super) detail: serde_json::Value,
}

impl Desk {
    /// Makes a change, after it was written down: nothing is done without a trace. One that then fails leaves a second
    /// entry that says so.
    pub(super) async fn change<T>(
        &self,
        change: Change,
        work: impl Future<Output = Result<T, Refused>>,
    ) -> Result<T, Refused> {
        let mut entry = AuditEntry {
            at_ms: now_ms(),
            actor: self.operator.to_string(),
            action: change.action.to_owned(),
            account: change.account,
            subject: change.subject,
            detail: shortened(change.detail.to_string()),
        };
        self.ledger.audit(&entry).await?;
        let done = work.await;
        if let Err(refused) = &done {
            entry.at_ms = now_ms();
            entry.action.push_str(".failed");
            entry.detail = shortened(refused.to_string());
            // The change was not made, and its entry stands; that this one is missing changes nothing.
            if let Err(error) = self.ledger.audit(&entry).await {
                tracing::warn!(%error, action = entry.action, "an audit entry could not be written");
            }
        }
        done
    }
}

/// A text that fits into an entry.
fn shortened(mut text: String) -> String {
    if text.len() > DETAIL_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_fits_whatever_it_is_made_of() {
        assert_eq!(shortened("a".to_owned()), "a");
        for letter in ["a", "ä", "…", "🦀"] {
            let text = shortened(letter.repeat(DETAIL_BYTES_MAX + 1));
            assert!(text.len() <= DETAIL_BYTES_MAX && text.ends_with('…'), "{letter}");
        }
    }
}
