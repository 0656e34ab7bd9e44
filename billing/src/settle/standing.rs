//! How the contract stands in full, for whoever looks at it: who may do what, on which terms, and whose money is whose. All of
//! one moment, since it is read from the contract's data.

use serde::Serialize;
use tycho_types::cell::{Cell, CellSlice, Load};
use tycho_types::dict::RawDict;

use super::contract::{Anchor, ContractState, Parties, Terms, load_address, load_coins};
use crate::chain::{AccountState, Address, CellError, ChainError};
use crate::hash::Hash;
use crate::money::Nano;

/// What the contract keeps for storage fees: neither claims nor draws touch it (1 TON).
pub const RESERVE: Nano = Nano::saturating(1_000_000_000);

/// How the contract stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What settlement reads.
    pub state: ContractState,
    /// Who may do what, on which terms. The arbiter is the one who was named last and rules, if `next_arbiter` does not.
    pub parties: Parties,
    /// Who is to be owner, as soon as it accepts.
    pub next_owner: Option<Address>,
    /// Who rules from a time on, in Unix seconds.
    pub next_arbiter: Option<(Address, u32)>,
    /// The anchors that are kept, the newest first: the last one, and the last of each day before.
    pub kept: Vec<KeptAnchor>,
    /// Until when it is paused, in Unix seconds.
    pub paused_until: u32,
    /// Before when it may not be paused, in Unix seconds.
    pub pause_not_before: u32,
    /// Stakes and bonds.
    pub held: Nano,
    /// What open contests ask for.
    pub contested: Nano,
    /// What claims and contests paid since ever.
    pub claimed: Nano,
    /// Who staked, and how much.
    pub stakes: Stakes,
}

/// An anchor that the contract still knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct KeptAnchor {
    /// What was anchored.
    #[serde(flatten)]
    pub anchor: Anchor,
    /// When, in Unix seconds.
    pub time: u32,
}

/// All stakes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Stakes {
    /// How many wallets stake.
    pub wallets: u64,
    /// What they staked and did not take back.
    pub staked: Nano,
    /// What is on its way back.
    pub leaving: Nano,
}

impl Standing {
    /// Reads the contract's data. `None` if there is no such contract at the address.
    ///
    /// # Errors
    /// [`ChainError::Damaged`] if its data cannot be.
    pub fn read(account: &AccountState) -> Result<Option<Self>, ChainError> {
        let (Some(state), Some(data)) = (ContractState::read(account)?, &account.data) else {
            return Ok(None);
        };
        let read = Self::read_data(state, data);
        read.map(Some)
            .map_err(|error| ChainError::Damaged(format!("the contract's data: {error}")))
    }

    fn read_data(state: ContractState, data: &Cell) -> Result<Self, CellError> {
        let mut data = data.as_slice()?;
        let operator = load_address(&mut data)?;
        load_coins(&mut data)?;
        let mut anchors = data.load_reference_as_slice()?;
        let paused_until = data.load_u32()?;
        let (held, contested, claimed) = (load_coins(&mut data)?, load_coins(&mut data)?, load_coins(&mut data)?);
        let pause_not_before = data.load_u32()?;
        // Day and amount of the last draw, and what was paid to whom.
        data.load_u32()?;
        load_coins(&mut data)?;
        RawDict::<224>::load_from(&mut data)?;
        let stakes = load_stakes(&RawDict::load_from(&mut data)?)?;
        let mut roles = data.load_reference_as_slice()?;
        let owner = load_address(&mut roles)?;
        let next_owner = load_maybe_address(&mut roles)?;
        let draw_limit = load_coins(&mut roles)?;
        let mut court = roles.load_reference_as_slice()?;
        let arbiter = load_address(&mut court)?;
        let next_arbiter = load_maybe_address(&mut court)?;
        let next_arbiter_at = court.load_u32()?;
        let mut terms = court.load_reference_as_slice()?;
        let forfeit_to = load_address(&mut terms)?;
        Ok(Self {
            kept: load_anchors(&mut anchors, state.anchor)?,
            parties: Parties {
                owner,
                operator,
                arbiter,
                forfeit_to,
                draw_limit,
                terms: load_terms(&mut terms)?,
            },
            state,
            next_owner,
            next_arbiter: next_arbiter.map(|next| (next, next_arbiter_at)),
            paused_until,
            pause_not_before,
            held,
            contested,
            claimed,
            stakes,
        })
    }

    /// Money for claims and draws, in nano; negative if it is short of its reserve.
    #[must_use]
    pub fn float(&self) -> i64 {
        let balance = self.state.balance.nano().unwrap_or(Nano::MAX).signed();
        balance
            .saturating_sub(self.held.signed())
            .saturating_sub(RESERVE.signed())
    }

    /// The earliest anchor that is kept of this epoch or a later one.
    #[must_use]
    pub fn anchor_over(&self, epoch: u64) -> Option<&KeptAnchor> {
        let over = self.kept.iter().filter(|kept| kept.anchor.epoch >= epoch);
        over.min_by_key(|kept| kept.anchor.epoch)
    }
}

fn load_terms(slice: &mut CellSlice<'_>) -> Result<Terms, CellError> {
    Ok(Terms {
        stake_min: load_coins(slice)?,
        bond_min: load_coins(slice)?,
        unstake_delay_s: slice.load_u32()?,
        answer_delay_s: slice.load_u32()?,
        ruling_delay_s: slice.load_u32()?,
        arbiter_delay_s: slice.load_u32()?,
        pause_max_s: slice.load_u32()?,
        pause_gap_s: slice.load_u32()?,
    })
}

/// The last anchor and those of days before it.
fn load_anchors(slice: &mut CellSlice<'_>, last: Option<Anchor>) -> Result<Vec<KeptAnchor>, CellError> {
    slice.load_u32()?;
    slice.load_u64()?;
    let time = slice.load_u32()?;
    for _ in 0..3 {
        slice.load_u256()?;
    }
    let days = RawDict::<8>::load_from(slice)?;
    let mut kept: Vec<_> = last.map(|anchor| KeptAnchor { anchor, time }).into_iter().collect();
    for day in days.iter() {
        let (_, mut day) = day?;
        let (epoch, time) = (day.load_u64()?, day.load_u32()?);
        let mut hash = || day.load_u256().map(|hash| Hash::from_bytes(hash.0));
        let anchor = Anchor {
            epoch,
            earnings_root: hash()?,
            receipts_root: hash()?,
        };
        if kept.iter().all(|known| known.anchor.epoch != epoch) {
            kept.push(KeptAnchor { anchor, time });
        }
    }
    kept.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.anchor.epoch));
    Ok(kept)
}

fn load_stakes(stakes: &RawDict<256>) -> Result<Stakes, CellError> {
    let mut sum = Stakes::default();
    for stake in stakes.iter() {
        let (_, mut stake) = stake?;
        // For which provider.
        stake.skip_first(224, 0)?;
        let (staked, leaving) = (load_coins(&mut stake)?, load_coins(&mut stake)?);
        let add = |sum: Nano, one| sum.plus(one).map_err(|_| CellError::IntOverflow);
        sum = Stakes {
            wallets: sum.wallets.saturating_add(1),
            staked: add(sum.staked, staked)?,
            leaving: add(sum.leaving, leaving)?,
        };
    }
    Ok(sum)
}

/// An address, or two zero bits.
fn load_maybe_address(slice: &mut CellSlice<'_>) -> Result<Option<Address>, CellError> {
    if slice.get_small_uint(0, 2)? == 0 {
        slice.skip_first(2, 0)?;
        return Ok(None);
    }
    load_address(slice).map(Some)
}
