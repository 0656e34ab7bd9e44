//! What goes over the admin socket and the admin API. Amounts are integers in nano, times are Unix milliseconds.

use filature_billing::chain::Address;
use filature_billing::settle::{Ordered, OwedList};
use filature_billing::{
    Account, AccountId, Admission, AuditEntry, Budget, Cursor, Day, Earnings, KeyLimits, KeyRecord, KeyUse, Nano,
    Period, ProviderId, Totals, Uncredited, Usage, Withdrawal,
};
use serde::{Deserialize, Deserializer, Serialize};

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
    /// What it may use; absent is without limits.
    #[serde(default, skip_serializing_if = "KeyLimits::is_empty")]
    pub limits: KeyLimits,
}

/// `PATCH /keys/{id}`: what is absent stays, `null` takes a limit or the expiry away (RFC 7396).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyPatch {
    /// Another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Another expiry.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub expires_ms: Option<Option<u64>>,
    /// Other limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsPatch>,
}

/// What is to change of a key's limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsPatch {
    /// Calls started per minute.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub requests_per_min: Option<Option<u32>>,
    /// Tokens per minute.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub tokens_per_min: Option<Option<u64>>,
    /// Calls at a time.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub concurrent: Option<Option<u32>>,
    /// Money per period.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub budget: Option<Option<BudgetPatch>>,
    /// The models it may call, in place of those so far.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub models: Option<Option<Vec<String>>>,
}

/// What is to change of a key's budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetPatch {
    /// How much, in nano.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Nano>,
    /// How often it starts anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
}

/// A member that is there, be it `null`.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl LimitsPatch {
    /// The limits that `limits` become.
    ///
    /// # Errors
    /// A sentence for people, if a period is given to a key without a budget.
    pub fn applied(&self, limits: &KeyLimits) -> Result<KeyLimits, &'static str> {
        let budget = match (self.budget, limits.budget) {
            (None, before) => before,
            (Some(None), _) => None,
            (Some(Some(patch)), before) => {
                let amount = patch.amount.or(before.map(|before| before.amount));
                let period = patch.period.or(before.map(|before| before.period));
                Some(Budget {
                    amount: amount.ok_or("a budget needs an amount")?,
                    period: period.unwrap_or_default(),
                })
            }
        };
        Ok(KeyLimits {
            requests_per_min: self.requests_per_min.unwrap_or(limits.requests_per_min),
            tokens_per_min: self.tokens_per_min.unwrap_or(limits.tokens_per_min),
            concurrent: self.concurrent.unwrap_or(limits.concurrent),
            budget,
            models: match &self.models {
                Some(models) => models.clone().unwrap_or_default(),
                None => limits.models.clone(),
            },
        })
    }
}

/// Answer of `GET /keys/{id}`: a key and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyShown {
    /// What is known of it.
    pub record: KeyRecord,
    /// What is used of it now.
    #[serde(rename = "use")]
    pub used: KeyUse,
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

/// Answer of `GET /accounts/{id}/usage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageOf {
    /// Whose.
    pub account: AccountId,
    /// The first day.
    pub from: Day,
    /// The last day.
    pub to: Day,
    /// The sums of each day, key and model, in that order.
    pub usage: Vec<Usage>,
}

/// `PUT /providers/{id}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admittance {
    /// Whether it may join, whatever the settings say.
    pub admission: Admission,
}

/// What operators have said of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// Its public key.
    pub provider: ProviderId,
    /// Whether it may join; `null` leaves that to the settings.
    pub admission: Option<Admission>,
}

/// Answer of `GET /providers`: those of which something was said, ordered by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Providers {
    /// The providers.
    pub providers: Vec<Admitted>,
}

/// `POST /accounts/{id}/withdrawals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWithdrawal {
    /// What makes it once: the same id again withdraws nothing.
    pub id: String,
    /// How much.
    pub amount: Nano,
    /// Where to: an address on TON in its raw form, `0:` and 64 hexadecimal digits.
    pub to: String,
}

/// `POST /accounts/{id}/withdrawals/{withdrawal}/return`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// Why, for the owner of the account.
    pub why: String,
}

/// Answer of `GET /withdrawals` and `GET /accounts/{id}/withdrawals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawals {
    /// The withdrawals, those asked for first first.
    pub withdrawals: Vec<Withdrawal>,
    /// The place of the last one, which leads to the next page of an account's; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Answer of `GET /uncredited`: a page of transfers on TON that were credited to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncreditedList {
    /// The transfers, oldest first. The last one's cursor leads to the next page.
    pub transfers: Vec<UncreditedOne>,
}

/// A transfer that was credited to nobody, and where it stands in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncreditedOne {
    /// Where.
    pub cursor: Cursor,
    /// Which.
    pub transfer: Uncredited,
}

/// `PUT /settlement/turn`: of several settlers one works at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedTurn {
    /// Who asks.
    pub holder: String,
    /// For how long, in milliseconds; 0 gives the turn up.
    pub ttl_ms: u64,
}

/// Answer of `PUT /settlement/turn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Whether it is the asker's turn now.
    pub yours: bool,
}

/// Answer of `GET /payouts`: payments of whole rounds, the last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payouts {
    /// The payments.
    pub payouts: Vec<Ordered>,
    /// What leads to the rounds before; absent at the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Answer of `GET /payouts/owed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedPayouts {
    /// Who is owed what as of the last plan, and why it waits; `null` before the first.
    pub plan: Option<OwedList>,
}

/// Answer of `GET /payees`: those who have earned something and said where they are paid, ordered by provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayeeList {
    /// The providers.
    pub payees: Vec<PayeeOne>,
}

/// Where one provider is paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayeeOne {
    /// Who.
    pub provider: ProviderId,
    /// Where it is paid now.
    pub address: Option<Address>,
    /// Where it will be paid, if it has changed that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextAddress>,
}

/// A change of a payout address that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextAddress {
    /// The address.
    pub address: Address,
    /// From when on it counts, in Unix milliseconds.
    pub from_ms: u64,
}

/// Answer of `GET /audit`: a page of what operators did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The entries, oldest first. The last one's cursor leads to the next page; a page without any was behind the end.
    pub entries: Vec<Audited>,
}

/// Something an operator did, and where that stands in the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// Where.
    pub cursor: Cursor,
    /// What.
    pub entry: AuditEntry,
}

/// Any answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// What went wrong, for the operator.
    pub error: String,
}
