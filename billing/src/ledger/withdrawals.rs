//! Withdrawals: unused credit on its way out. What a payer does with one is a step here; how it pays is its own business.

use serde::{Deserialize, Serialize};

use crate::id::AccountId;
use crate::ledger::{Account, LedgerError, check_text};
use crate::money::Nano;

/// Most deposits or withdrawals that one question is answered with.
pub(crate) const TRANSFERS_READ_MAX: usize = 1_024;
/// Most withdrawals of a shard that wait to be paid.
pub(crate) const WITHDRAWALS_OPEN_MAX: u64 = 65_536;

/// What is asked of [`Ledger::withdraw`](crate::Ledger::withdraw).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdraw {
    /// What makes it once: repeated with the same id, nothing more is taken. At most 256 bytes.
    pub id: String,
    /// Whose money.
    pub account: AccountId,
    /// How much.
    pub amount: Nano,
    /// Where it goes, in the payer's words: an address. At most 256 bytes.
    pub to: String,
    /// The time now.
    pub now_ms: u64,
}

/// Money that leaves an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Withdrawal {
    /// Its name within the account.
    pub id: String,
    /// Whose money.
    pub account: AccountId,
    /// How much.
    pub amount: Nano,
    /// Where it goes.
    pub to: String,
    /// When it was asked for, in Unix milliseconds.
    pub asked_ms: u64,
    /// How far it is.
    #[serde(flatten)]
    pub state: WithdrawalState,
}

/// How far a withdrawal is. In JSON, `state` names it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum WithdrawalState {
    /// It waits for the payer.
    Asked,
    /// A payer has it: it is signed for, or will be.
    Sent {
        /// In which batch, in the payer's words.
        reference: String,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// It was paid.
    Paid {
        /// In which batch.
        reference: String,
        /// By what: the hash of the payer's transaction.
        transaction: String,
        /// When that was known, in Unix milliseconds.
        at_ms: u64,
    },
    /// It was given back: the money is available again.
    Returned {
        /// The batch whose payment came back; `None` if no payer had it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Why, for people.
        why: String,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
}

/// What becomes of a withdrawal. Each step names where it begins, so that nobody gives back what another has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WithdrawalStep {
    /// A payer takes it. It says so before it signs, and never lets go of it but by one of the other steps.
    Sent {
        /// In which batch: a name that no other batch of any payer has. At most 256 bytes.
        reference: String,
    },
    /// It was paid.
    Paid {
        /// In which batch.
        reference: String,
        /// By what: the hash of the payer's transaction. At most 256 bytes.
        transaction: String,
    },
    /// It will not be paid: the money becomes available again.
    Returned {
        /// The batch whose payment came back; `None` gives back what no payer has.
        reference: Option<String>,
        /// Why, for people. At most 256 bytes.
        why: String,
    },
}

/// What a withdraw did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Withdrawn {
    /// Whether this took the money; false if an earlier one had.
    pub fresh: bool,
    /// The withdrawal as it stands.
    pub withdrawal: Withdrawal,
    /// The account afterwards.
    pub account: Account,
}

impl Withdraw {
    /// Refuses texts that would bloat the store.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        check_text(&self.id, "the id of a withdrawal")?;
        check_text(&self.to, "the address of a withdrawal")
    }

    /// The withdrawal as it begins.
    pub(crate) fn begun(&self) -> Withdrawal {
        Withdrawal {
            id: self.id.clone(),
            account: self.account.clone(),
            amount: self.amount,
            to: self.to.clone(),
            asked_ms: self.now_ms,
            state: WithdrawalState::Asked,
        }
    }

    /// Whether a withdrawal of this id is the one that is asked for.
    pub(crate) fn is(&self, known: &Withdrawal) -> Result<(), LedgerError> {
        if self.amount == known.amount && self.to == known.to {
            Ok(())
        } else {
            Err(LedgerError::Conflict(format!("the withdrawal {}", self.id)))
        }
    }
}

impl Withdrawal {
    /// Reads what [`Withdrawal::write`] wrote.
    pub(crate) fn read(json: &[u8]) -> Result<Self, LedgerError> {
        serde_json::from_slice(json).map_err(|_| LedgerError::Damaged("a withdrawal cannot be read".into()))
    }

    pub(crate) fn write(&self) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|_| LedgerError::Damaged("the withdrawal cannot be written".into()))
    }

    /// Whether it waits for the payer.
    pub(crate) fn is_open(&self) -> bool {
        self.state == WithdrawalState::Asked
    }

    /// What its account gets back of it.
    pub(crate) const fn given_back(&self) -> Nano {
        match self.state {
            WithdrawalState::Returned { .. } => self.amount,
            WithdrawalState::Asked | WithdrawalState::Sent { .. } | WithdrawalState::Paid { .. } => Nano::ZERO,
        }
    }

    fn out_of_turn(&self, step: &str) -> LedgerError {
        let stands = match &self.state {
            WithdrawalState::Asked => "was not sent".to_owned(),
            WithdrawalState::Sent { reference, .. } => format!("was sent in {reference}"),
            WithdrawalState::Paid { reference, .. } => format!("was paid in {reference}"),
            WithdrawalState::Returned { .. } => "was given back".to_owned(),
        };
        LedgerError::OutOfTurn(format!("{} {stands}: it cannot be {step}", self.id))
    }
}

impl WithdrawalStep {
    /// Refuses texts that would bloat the store.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        match self {
            Self::Sent { reference } => check_text(reference, "the reference"),
            Self::Paid { transaction, .. } => check_text(transaction, "the transaction"),
            Self::Returned { why, .. } => check_text(why, "the reason"),
        }
    }

    /// The withdrawal after this step; `None` if the step was taken before.
    pub(crate) fn take(&self, known: &Withdrawal, now_ms: u64) -> Result<Option<Withdrawal>, LedgerError> {
        use WithdrawalState::{Asked, Paid, Returned, Sent};
        let state = match (self, &known.state) {
            (Self::Sent { reference }, Asked) => Sent {
                reference: reference.clone(),
                at_ms: now_ms,
            },
            (Self::Sent { reference }, Sent { reference: by, .. }) if reference == by => return Ok(None),
            (Self::Sent { .. }, _) => return Err(known.out_of_turn("sent")),
            (Self::Paid { reference, transaction }, Sent { reference: by, .. }) if reference == by => Paid {
                reference: reference.clone(),
                transaction: transaction.clone(),
                at_ms: now_ms,
            },
            (Self::Paid { reference, .. }, Paid { reference: by, .. }) if reference == by => return Ok(None),
            (Self::Paid { .. }, _) => return Err(known.out_of_turn("paid")),
            (Self::Returned { reference, .. }, Returned { reference: by, .. }) if reference == by => return Ok(None),
            (Self::Returned { reference, why }, Asked | Sent { .. }) if known.state.is_in(reference.as_deref()) => {
                Returned {
                    reference: reference.clone(),
                    why: why.clone(),
                    at_ms: now_ms,
                }
            }
            (Self::Returned { .. }, _) => return Err(known.out_of_turn("given back")),
        };
        Ok(Some(Withdrawal { state, ..known.clone() }))
    }
}

impl WithdrawalState {
    /// The batch it is or was in; `None` if no payer had it.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        match self {
            Self::Asked => None,
            Self::Sent { reference, .. } | Self::Paid { reference, .. } => Some(reference),
            Self::Returned { reference, .. } => reference.as_deref(),
        }
    }

    /// Whether it is in this batch, and not over; with `None`, in none yet.
    fn is_in(&self, batch: Option<&str>) -> bool {
        match self {
            Self::Asked => batch.is_none(),
            Self::Sent { reference, .. } => batch == Some(reference),
            Self::Paid { .. } | Self::Returned { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Withdrawal {
        Withdraw {
            id: "w1".into(),
            account: AccountId::parse("acct_a").expect("an id"),
            amount: Nano::new(5).expect("small"),
            to: "0:00".into(),
            now_ms: 1,
        }
        .begun()
    }

    fn sent(reference: &str) -> WithdrawalStep {
        let reference = reference.into();
        WithdrawalStep::Sent { reference }
    }

    fn paid(reference: &str) -> WithdrawalStep {
        let (reference, transaction) = (reference.into(), "47".into());
        WithdrawalStep::Paid { reference, transaction }
    }

    fn returned(reference: Option<&str>) -> WithdrawalStep {
        let reference = reference.map(ToOwned::to_owned);
        WithdrawalStep::Returned {
            reference,
            why: "it bounced".into(),
        }
    }

    #[test]
    fn every_step_begins_where_it_says() {
        let take = |withdrawal: &Withdrawal, step: &WithdrawalStep| step.take(withdrawal, 2).expect("in turn");
        let asked = asked();
        let in_a = take(&asked, &sent("a")).expect("a change");
        let back = take(&in_a, &returned(Some("a"))).expect("a change");
        let unsent = take(&asked, &returned(None)).expect("a change");
        let done = take(&in_a, &paid("a")).expect("a change");
        for (withdrawal, step) in [
            (&in_a, sent("a")),
            (&done, paid("a")),
            (&back, returned(Some("a"))),
            (&unsent, returned(None)),
        ] {
            assert_eq!(take(withdrawal, &step), None, "{step:?}");
        }
        for (withdrawal, step) in [
            (&in_a, sent("b")),
            (&in_a, paid("b")),
            (&asked, paid("a")),
            (&done, sent("a")),
            (&done, paid("b")),
            (&done, returned(Some("a"))),
            (&done, returned(None)),
            (&in_a, returned(None)),
            (&in_a, returned(Some("b"))),
            (&asked, returned(Some("a"))),
            (&back, sent("a")),
            (&back, paid("a")),
            (&back, returned(None)),
            (&unsent, returned(Some("a"))),
            (&unsent, sent("a")),
        ] {
            let refused = step.take(withdrawal, 2);
            assert!(
                matches!(refused, Err(LedgerError::OutOfTurn(_))),
                "{step:?} {refused:?}"
            );
        }
    }

    #[test]
    fn a_withdrawal_reads_back() {
        let json = asked().write().expect("json");
        assert_eq!(
            json,
            r#"{"id":"w1","account":"acct_a","amount":5,"to":"0:00","asked_ms":1,"state":"asked"}"#
        );
        let in_a = sent("a").take(&asked(), 9).expect("in turn").expect("a change");
        for (before, step) in [(&asked(), sent("a")), (&asked(), returned(None)), (&in_a, paid("a"))] {
            let after = step.take(before, 9).expect("in turn").expect("a change");
            let json = after.write().expect("json");
            assert_eq!(Withdrawal::read(json.as_bytes()), Ok(after));
        }
    }
}
