//! The names of all Redis keys. Those of one account share a shard's hash tag, so that every money step stays on one
//! slot of a cluster; what finds a key by its hash lies on a slot of its own.

use crate::calendar::Day;
use crate::id::{AccountId, CallId, KeyId};
use crate::key::KeyHash;
use crate::ledger::LedgerShard;

/// Into how many slots accounts are spread. Changing it would lose every account: it is part of the data's form.
pub(super) const SHARDS: u8 = 16;

/// What the functions of the library (`lua/`) are called, before their own names.
pub(super) const FUNCTION_PREFIX: &str = "filature_4_";

/// One ledger shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shard(u8);

impl Shard {
    /// The shard of an account: FNV-1a (64 bits, folded to 32) over its id, modulo 16.
    pub(super) fn of(account: &AccountId) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = account.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step);
        // The lowest byte alone is FNV's weakest.
        let [a, b, c, d, ..] = (hash ^ (hash >> 32)).to_le_bytes();
        Self((a ^ b ^ c ^ d) & SHARDS.saturating_sub(1))
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// The shard as others name it; `None` if there is no such one.
    pub(super) fn named(shard: LedgerShard) -> Option<Self> {
        (shard.0 < SHARDS).then_some(Self(shard.0))
    }

    /// How others name it.
    pub(super) const fn name(self) -> LedgerShard {
        LedgerShard(self.0)
    }

    fn key(self, name: &str) -> String {
        format!("{{s{:02}}}:{name}", self.0)
    }

    /// Set of account ids.
    pub(super) fn accounts(self) -> String {
        self.key("accounts")
    }

    /// Hash of `account:call`, with what the call holds.
    pub(super) fn holds(self) -> String {
        self.key("holds")
    }

    /// Stream of records.
    pub(super) fn records(self) -> String {
        self.key("records")
    }

    /// Hash of what the shard's accounts deposited, withdrew and spent, and of `provider:fee` and `provider:earned`.
    pub(super) fn totals(self) -> String {
        self.key("totals")
    }

    /// Hash of an account's name and balances, of what its keys may, what is used of them, and what they used of models on
    /// the latest day.
    pub(super) fn account(self, account: &str) -> String {
        self.key(&format!("account:{account}"))
    }

    /// Set of an account's key ids.
    pub(super) fn account_keys(self, account: &str) -> String {
        self.key(&format!("keys:{account}"))
    }

    /// Hash of what is known of a key.
    pub(super) fn api_key(self, key: &KeyId) -> String {
        self.key(&format!("key:{key}"))
    }

    /// Hash of `key:model`, with what was used of them on a day that is over.
    pub(super) fn usage(self, account: &AccountId, day: Day) -> String {
        self.key(&format!("usage:{account}:{}", day.number()))
    }

    /// Where a call's record lies in the stream, and what it cost; `member` as in [`member`].
    pub(super) fn marker(self, member: &str) -> String {
        self.key(&format!("record:{member}"))
    }

    /// Written when replicas are asked whether they have what came before.
    pub(super) fn synced(self) -> String {
        self.key("synced")
    }

    /// Stream of an account's deposits.
    pub(super) fn deposits(self, account: &AccountId) -> String {
        self.key(&format!("deposits:{account}"))
    }

    /// A withdrawal, as JSON.
    pub(super) fn withdrawal(self, account: &AccountId, id: &str) -> String {
        self.key(&format!("withdrawal:{account}:{id}"))
    }

    /// Stream of the ids of an account's withdrawals.
    pub(super) fn withdrawals(self, account: &AccountId) -> String {
        self.key(&format!("withdrawals:{account}"))
    }

    /// Hash of `account:id`, with the withdrawals that wait to be paid.
    pub(super) fn withdrawals_open(self) -> String {
        self.key("withdrawals-open")
    }

    /// Where a reader of what is outside has got to. One shard keeps all of them, with what they found.
    pub(super) fn bookmark(reader: &str) -> String {
        Self(0).key(&format!("bookmark:{reader}"))
    }

    /// Stream of transfers that were credited to nobody.
    pub(super) fn uncredited() -> String {
        Self(0).key("uncredited")
    }

    /// Stream of those of them that named an account.
    pub(super) fn uncredited_of(account: &AccountId) -> String {
        Self(0).key(&format!("uncredited:{account}"))
    }

    /// Hash of where providers are to be paid.
    pub(super) fn payout_names() -> String {
        Self(0).key("payout-names")
    }

    /// The shard of [`Shard::bookmark`], [`Shard::uncredited`] and [`Shard::payout_names`].
    pub(super) const fn of_bookmarks() -> Self {
        Self(0)
    }

    /// A deposit that was made.
    pub(super) fn deposit(self, account: &AccountId, id: &str) -> String {
        self.key(&format!("deposit:{account}:{id}"))
    }
}

/// How a call is named inside its shard. An account id has no colon, so this has one reading.
pub(super) fn member(account: &AccountId, call: &CallId) -> String {
    format!("{account}:{call}")
}

/// Which key has this hash: `account key`.
pub(super) fn by_hash(hash: &KeyHash) -> String {
    format!("key-hash:{{{hash}}}")
}

/// Whose key this is.
pub(super) fn owner(key: &KeyId) -> String {
    format!("key-owner:{{{key}}}")
}

/// Who holds a lease.
pub(super) fn lease(name: &str) -> String {
    format!("lease:{{{name}}}")
}

/// Hash of what operators have said of providers.
pub(super) const ADMISSIONS: &str = "admissions";
/// Stream of what operators did.
pub(super) const AUDIT: &str = "audit";

/// As [`Shard::synced`], on the slot of another key: one without a tag, or with a tag of its own.
pub(super) fn synced(key: &str) -> String {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    format!("synced:{{{}}}", tag.map_or(key, |(tag, _)| tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u32) -> AccountId {
        AccountId::parse(&format!("acct_{n}")).expect("an id")
    }

    /// What version 1 gave; other values would mean that stored accounts are not found again.
    const SHARDS_OF_THE_FIRST_EIGHT: [u8; 8] = [4, 0, 11, 7, 3, 10, 2, 14];

    #[test]
    fn the_shard_of_an_account_never_changes() {
        let shards: Vec<_> = (0..8).map(|n| Shard::of(&account(n)).0).collect();
        assert_eq!(shards, SHARDS_OF_THE_FIRST_EIGHT);
    }

    #[test]
    fn accounts_spread_evenly() {
        let mut counts = [0_u32; SHARDS as usize];
        for n in 0..16_000 {
            counts[usize::from(Shard::of(&account(n)).0)] += 1;
        }
        assert!(counts.iter().all(|&count| (850..1150).contains(&count)), "{counts:?}");
    }

    #[test]
    fn all_keys_of_an_account_share_a_tag() {
        let account = account(7);
        let shard = Shard::of(&account);
        let tag = format!("{{s{:02}}}:", shard.0);
        let member = member(
            &account,
            &CallId::parse("gen-01HF7YAT000000000000000000").expect("an id"),
        );
        let key = KeyId::parse("key_a").expect("an id");
        for name in [
            shard.account(account.as_str()),
            shard.account_keys(account.as_str()),
            shard.api_key(&key),
            shard.marker(&member),
            shard.deposit(&account, "a{b}c"),
            shard.holds(),
            shard.synced(),
            shard.usage(&account, Day::default()),
            shard.deposits(&account),
            shard.withdrawal(&account, "a{b}c"),
            shard.withdrawals(&account),
            shard.withdrawals_open(),
        ] {
            assert!(name.starts_with(&tag), "{name}");
        }
        assert_eq!(owner(&key), "key-owner:{key_a}");
        assert_eq!(synced(&owner(&key)), "synced:{key_a}");
        assert_eq!(synced(AUDIT), "synced:{audit}");
        assert_eq!(synced(&shard.totals()), format!("synced:{}", &tag[..tag.len() - 1]));
    }
}
