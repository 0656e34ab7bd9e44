//! What goes through the writer: an entry, what it writes to disk, and what it then does to memory.

use super::state::{Earned, State};
use super::tables::{Entered, Tables};
use crate::calendar::Day;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::key::{KeyChange, KeyHash, KeyRecord};
use crate::ledger::{Admission, Cursor, Deposit, LedgerError, UsageSums, Withdraw, WithdrawalStep};
use crate::money::Nano;
use crate::record::{Leg, UsageRecord};

/// What goes to disk.
pub(super) enum Entry {
    Post(PostEntry),
    Deposit(Deposit),
    /// The money is held from before the entry is made.
    Withdraw(Withdraw),
    WithdrawalStep {
        account: AccountId,
        id: String,
        step: WithdrawalStep,
        now_ms: u64,
    },
    Bookmark {
        reader: String,
        from: Option<String>,
        to: String,
        /// Each with the account it names.
        uncredited: Vec<(Option<AccountId>, Vec<u8>)>,
    },
    Account {
        id: AccountId,
        name: String,
        created_ms: u64,
    },
    Key {
        record: KeyRecord,
        hash: KeyHash,
    },
    Revoke {
        key: KeyId,
        revoked_ms: u64,
    },
    Update {
        key: KeyId,
        change: KeyChange,
    },
    Audit {
        json: Vec<u8>,
        entries_max: u64,
    },
    Admit {
        provider: ProviderId,
        admission: Option<Admission>,
    },
    NamePayout {
        provider: ProviderId,
        from: Option<String>,
        to: String,
    },
    /// Forgets records, and the calls that started before `forget_before_ms`.
    Trim {
        up_to: Cursor,
        forget_before_ms: u64,
    },
}

/// A record on its way to disk, with what the books need of it.
pub(super) struct PostEntry {
    pub(super) account: AccountId,
    pub(super) key: KeyId,
    pub(super) call: CallId,
    /// When the money moves, in Unix milliseconds.
    pub(super) now_ms: u64,
    /// The day that its use counts on, and the model.
    pub(super) day: Day,
    pub(super) model: String,
    pub(super) sums: UsageSums,
    pub(super) parts: Vec<(ProviderId, Earned)>,
    pub(super) json: Vec<u8>,
}

/// What came of an entry.
pub(super) struct Done {
    /// Whether it was new; of a trim, whether there is more to do.
    pub(super) fresh: bool,
    /// Of a post: what the call costs.
    pub(super) charged: Nano,
    /// Of a post, or of a step of a withdrawal: what was given back.
    pub(super) released: Nano,
}

impl Entry {
    /// A checked record, made ready outside of every lock.
    pub(super) fn post(record: &UsageRecord, now_ms: u64) -> Result<Self, LedgerError> {
        let json =
            serde_json::to_vec(record).map_err(|_| LedgerError::Damaged("the record cannot be written".into()))?;
        let part = |leg: &Leg| {
            (
                leg.provider.clone(),
                Earned {
                    fee: leg.fee,
                    earned: leg.earned,
                },
            )
        };
        Ok(Self::Post(PostEntry {
            account: record.account.clone(),
            key: record.key.clone(),
            call: record.call,
            now_ms,
            day: Day::of(record.created_ms),
            model: record.model.clone(),
            sums: UsageSums::of(record),
            parts: record.legs.iter().map(part).collect(),
            json,
        }))
    }

    /// Puts the entry into the transaction. Returns (fresh, charged); of a step of a withdrawal (fresh, given back).
    pub(super) fn write(&self, tables: &mut Tables<'_>) -> Entered<(bool, Nano)> {
        let fresh = match self {
            Self::Post(post) => return tables.post(post),
            Self::WithdrawalStep {
                account,
                id,
                step,
                now_ms,
            } => return tables.step_withdrawal(account, id, step, *now_ms),
            Self::Deposit(deposit) => tables.deposit(deposit),
            Self::Withdraw(ask) => tables.withdraw(ask),
            Self::Bookmark {
                reader,
                from,
                to,
                uncredited,
            } => tables.move_bookmark(reader, from.as_deref(), to, uncredited),
            Self::Account { id, name, created_ms } => tables.account(id, name, *created_ms),
            Self::Key { record, hash } => tables.key(record, hash),
            Self::Revoke { key, revoked_ms } => tables.revoke(key, *revoked_ms),
            Self::Update { key, change } => tables.update_key(key, change),
            Self::Audit { json, entries_max } => tables.audit(json, *entries_max),
            Self::Admit { provider, admission } => tables.admit(provider, *admission),
            Self::NamePayout { provider, from, to } => tables.name_payout(provider, from.as_deref(), to),
            Self::Trim {
                up_to,
                forget_before_ms,
            } => tables.trim(*up_to, *forget_before_ms),
        }?;
        Ok(fresh.map(|fresh| (fresh, Nano::ZERO)))
    }

    /// Puts the entry, now on disk, into memory.
    pub(super) fn apply(&self, state: &mut State, (fresh, charged): (bool, Nano)) -> Done {
        let mut released = Nano::ZERO;
        match self {
            Self::Post(post) => released = state.finish_post(post, fresh),
            Self::Withdraw(ask) => state.finish_withdraw(&ask.account, ask.amount, fresh),
            _ if !fresh => {}
            Self::WithdrawalStep { account, .. } => {
                released = charged;
                state.give_back_withdrawal(account, charged);
            }
            Self::Deposit(deposit) => state.add_deposit(&deposit.account, deposit.amount),
            Self::Account { id, name, created_ms } => state.add_account(id, name, *created_ms),
            Self::Key { record, hash } => state.add_key(record, hash),
            Self::Revoke { key, revoked_ms } => state.revoke(key, *revoked_ms),
            Self::Update { key, change } => state.update_key(key, change),
            Self::Audit { .. }
            | Self::Admit { .. }
            | Self::NamePayout { .. }
            | Self::Trim { .. }
            | Self::Bookmark { .. } => {}
        }
        Done {
            fresh,
            charged,
            released,
        }
    }

    /// Takes the entry, which did not get to disk, back.
    pub(super) fn abandon(&self, state: &mut State) {
        match self {
            Self::Post(post) => state.abandon_post(&post.account, &post.call),
            Self::Withdraw(ask) => state.finish_withdraw(&ask.account, ask.amount, false),
            _ => {}
        }
    }
}
