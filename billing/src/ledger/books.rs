//! What the books say: balances of accounts, earnings of providers, the use of keys, and the sums over all.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, ProviderId};
use crate::ledger::LedgerError;
use crate::limits::RateState;
use crate::money::Nano;

/// An account and its balances.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Which account.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_ms: u64,
    /// All money that ever arrived.
    pub deposited: Nano,
    /// What left again, or is on its way out.
    #[serde(default)]
    pub withdrawn: Nano,
    /// What can be reserved, in nano; below zero only after a late post.
    pub available: i64,
    /// What running calls hold.
    pub held: Nano,
    /// What posted calls cost.
    pub spent: Nano,
}

/// What a provider has earned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Earnings {
    /// Who.
    pub provider: ProviderId,
    /// What callers paid for its part: `fee` and `earned` together.
    pub cost: Nano,
    /// The operator's part.
    pub fee: Nano,
    /// The provider's part.
    pub earned: Nano,
}

/// The sums over all accounts: `deposited = available + held + spent + withdrawn` and `spent = earned + fees`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// All money that ever arrived.
    pub deposited: Nano,
    /// What left again, or is on its way out.
    #[serde(default)]
    pub withdrawn: Nano,
    /// What can be reserved, in nano.
    pub available: i128,
    /// What running calls hold.
    pub held: Nano,
    /// What posted calls cost.
    pub spent: Nano,
    /// The providers' part of it.
    pub earned: Nano,
    /// The operator's part of it.
    pub fees: Nano,
    /// How many holds there are.
    pub holds: u64,
}

impl Totals {
    /// Whether nothing appeared and nothing vanished.
    #[must_use]
    pub fn are_conserved(&self) -> bool {
        let signed = |amount: Nano| i128::from(amount.get());
        let kept = self
            .available
            .saturating_add(signed(self.held))
            .saturating_add(signed(self.spent))
            .saturating_add(signed(self.withdrawn));
        kept == signed(self.deposited) && self.earned.plus(self.fees) == Ok(self.spent)
    }
}

/// What operators have said of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// It may join, whatever the settings say.
    Allow,
    /// It may not, whatever the settings say.
    Deny,
}

impl Admission {
    /// Its name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// The admission with this name.
    pub(crate) fn named(name: &str) -> Result<Self, LedgerError> {
        [Self::Allow, Self::Deny]
            .into_iter()
            .find(|admission| admission.as_str() == name)
            .ok_or_else(|| LedgerError::Damaged("an admission".to_owned()))
    }
}

/// What is used of a key at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeyUse {
    /// All that was ever posted with it.
    pub spent: Nano,
    /// What was posted since midnight, UTC.
    pub spent_day: Nano,
    /// What was posted since Monday's midnight.
    pub spent_week: Nano,
    /// What was posted since the first of the month.
    pub spent_month: Nano,
    /// What its running calls hold.
    pub held: Nano,
    /// How many calls run.
    pub holds: u64,
    /// What is left of its limits per minute.
    pub limits: RateState,
}
