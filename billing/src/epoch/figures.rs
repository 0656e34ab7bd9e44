//! The figures of an epoch, derived from its records and from what it goes on from: once when it is closed, and again by
//! whoever verifies it.

use super::{Earned, Sums, Tip};
use crate::hash::Hash;
use crate::merkle::{MerkleTree, leaf_hash};
use crate::money::{Nano, Overflow};
use crate::record::UsageRecord;

impl Sums {
    pub(super) fn plus(&self, other: &Self) -> Result<Self, Overflow> {
        Ok(Self {
            calls: self.calls.checked_add(other.calls).ok_or(Overflow)?,
            cost: self.cost.plus(other.cost)?,
            fee: self.fee.plus(other.fee)?,
            earned: self.earned.plus(other.earned)?,
        })
    }
}

/// The number of the epoch after `previous`.
pub(crate) fn next_number(previous: Option<&Tip>) -> Option<u64> {
    previous.map_or(Some(0), |tip| tip.seal.header.number.checked_add(1))
}

/// The sums over these records.
pub(crate) fn sums(records: &[UsageRecord]) -> Result<Sums, Overflow> {
    records.iter().try_fold(Sums::default(), |sums, record| {
        sums.plus(&Sums {
            calls: 1,
            cost: record.cost,
            fee: record.fee,
            earned: Nano::sum(record.legs.iter().map(|leg| leg.earned))?,
        })
    })
}

/// The sums since epoch 0.
pub(crate) fn totals(previous: Option<&Tip>, sums: &Sums) -> Result<Sums, Overflow> {
    previous.map_or(Ok(*sums), |tip| tip.seal.header.totals.plus(sums))
}

/// What every provider has earned since epoch 0, ordered by provider.
pub(crate) fn earnings(previous: Option<&Tip>, records: &[UsageRecord]) -> Result<Vec<Earned>, Overflow> {
    let mut sums = previous.map(|tip| tip.earnings.clone()).unwrap_or_default();
    for leg in records.iter().flat_map(|record| &record.legs) {
        let earned = sums.entry(leg.provider.clone()).or_default();
        *earned = earned.plus(leg.earned)?;
    }
    let earned = sums.into_iter().map(|(provider, earned)| Earned { provider, earned });
    Ok(earned.collect())
}

/// The root over what providers have earned.
pub(crate) fn earnings_root(earnings: &[Earned]) -> Hash {
    MerkleTree::new(earnings.iter().map(|earned| leaf_hash(&earned.leaf())).collect()).root()
}

/// The tree over an epoch's records, from their lines: each is a leaf.
pub(crate) fn records_tree(lines: &[u8]) -> MerkleTree {
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    let leaves = lines.map(|line| leaf_hash(line.strip_suffix(b"\n").unwrap_or(line)));
    MerkleTree::new(leaves.collect())
}
