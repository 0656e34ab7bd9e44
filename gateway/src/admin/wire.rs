//! What goes over the admin socket. Amounts are integers in nano, times are Unix milliseconds.

use filature_billing::{Account, AccountId, Earnings, KeyRecord, Nano, Totals};
use serde::{Deserialize, Serialize};

/// `POST /accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    /// What people call it.
    pub name: String,
}

/// Answer of `GET /accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// All accounts, ordered by id.
    pub accounts: Vec<Account>,
}

/// `POST /accounts/{id}/credit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credit {
    /// How much.
    pub amount: Nano,
    /// What makes it once: the same id again credits nothing. A fresh one is made where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Answer of `POST /accounts/{id}/credit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credited {
    /// The id of the credit.
    pub id: String,
    /// Whether this request added the money; false if an earlier one with the same id had.
    pub fresh: bool,
    /// The account afterwards.
    pub account: Account,
}

/// `POST /keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// Who pays.
    pub account: AccountId,
    /// What its owner calls it.
    #[serde(default)]
    pub name: String,
    /// From when on it is refused; absent is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// Answer of `POST /keys`: the only time the secret is ever shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The secret.
    pub key: String,
    /// Everything else about it.
    pub record: KeyRecord,
}

/// Answer of `GET /keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The keys, ordered by id.
    pub keys: Vec<KeyRecord>,
}

/// Answer of `GET /books`: the sums over everything, and who earned what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// The sums.
    pub totals: Totals,
    /// What each provider earned, ordered by provider.
    pub earnings: Vec<Earnings>,
    /// Whether they add up to the nano.
    pub conserved: bool,
}

/// Any answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// What went wrong, for the operator.
    pub error: String,
}
