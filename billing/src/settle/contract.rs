//! The settlement contract from outside: where it is deployed, how it is told an anchor, and how it stands.
//!
//! How it stands is read from its data in one answer, so that anchor and claims are of the same moment.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tycho_types::cell::{CellFamily, CellSlice, Load, Store};
use tycho_types::dict::RawDict;
use tycho_types::num::Tokens;

use super::leaf::{ProviderTag, operation};
use crate::chain::{
    AccountState, AccountStatus, Address, Body, Cell, CellBuilder, CellError, Chain, ChainError, Coins, Position,
    StateInit, Value, cell_hash, read_cell,
};
use crate::hash::Hash;
use crate::money::Nano;

/// The compiled contract, with its hash.
const CODE: &str = include_str!("../../contracts/settlement.code.json");
/// Operation: anchor.
const ANCHOR: u32 = 0xf11a_0001;
/// What the message with an anchor carries, in nano: the least that the contract takes. What fees leave of it stays in the
/// contract, as money for claims.
pub(super) const ANCHOR_VALUE: Nano = Nano::saturating(3_000_000);
/// What the message with a claim carries, in nano: 0.05 TON, above the 0.02 that the contract asks for. What fees leave of it
/// goes to the payee, with what it claims.
pub(super) const CLAIM_VALUE: Nano = Nano::saturating(50_000_000);
/// How far above the last one an anchor's epoch may be.
pub(super) const EPOCH_STEP_MAX: u64 = 65_536;

/// The roots of an epoch, as they are told to the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Anchor {
    /// Which epoch.
    pub epoch: u64,
    /// The root over what every provider has earned and what was pushed to it ([`super::Payables`]).
    pub earnings_root: Hash,
    /// What names all receipts up to then: the hash of the epoch's seal, which names the epoch before, and so on. An
    /// epoch that was not anchored itself is thus under the next anchor.
    pub receipts_root: Hash,
}

impl Anchor {
    /// The message's body. `owed` is what the tree leaves unpaid.
    ///
    /// # Errors
    /// None that numbers could cause.
    pub fn body(&self, owed: Nano, query: u64) -> Result<Body, CellError> {
        let mut body = operation(ANCHOR, query)?;
        body.store_u64(self.epoch)?;
        body.store_raw(self.earnings_root.as_bytes(), 256)?;
        body.store_raw(self.receipts_root.as_bytes(), 256)?;
        body.store_u64(owed.get())?;
        Ok(Body::new(body.build()?))
    }

    /// The value after this anchor that names all anchors so far, in order.
    #[must_use]
    pub fn chained(&self, before: &Hash) -> Hash {
        let parts: [&[u8]; 4] = [
            before.as_bytes(),
            &self.epoch.to_be_bytes(),
            self.earnings_root.as_bytes(),
            self.receipts_root.as_bytes(),
        ];
        Hash::of_parts(&parts)
    }
}

/// What is fixed when the contract is deployed. Delays in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Least stake.
    pub stake_min: Nano,
    /// Least bond.
    pub bond_min: Nano,
    /// Until an unstaked stake may go.
    pub unstake_delay_s: u32,
    /// To dispute a slash, or to object to a contest.
    pub answer_delay_s: u32,
    /// To rule.
    pub ruling_delay_s: u32,
    /// Until a proposed arbiter rules.
    pub arbiter_delay_s: u32,
    /// Longest pause.
    pub pause_max_s: u32,
    /// Between the end of a pause and the next.
    pub pause_gap_s: u32,
}

impl Default for Terms {
    /// What `billing/contracts/README.md` recommends.
    fn default() -> Self {
        const DAY: u32 = 86_400;
        Self {
            stake_min: Nano::saturating(10_000_000_000),
            bond_min: Nano::saturating(1_000_000_000),
            unstake_delay_s: 14 * DAY,
            answer_delay_s: 5 * DAY,
            ruling_delay_s: 14 * DAY,
            arbiter_delay_s: 30 * DAY,
            pause_max_s: 7 * DAY,
            pause_gap_s: 21 * DAY,
        }
    }
}

/// Whom a contract is deployed for. Everything here goes into its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parties {
    /// The cold key's wallet.
    pub owner: Address,
    /// The wallet that anchors and pays.
    pub operator: Address,
    /// Who rules on contests and slashes.
    pub arbiter: Address,
    /// Where forfeited stakes and bonds go.
    pub forfeit_to: Address,
    /// What the operator may draw on a UTC day.
    pub draw_limit: Nano,
    /// What never changes.
    pub terms: Terms,
}

impl Parties {
    /// Code and data to deploy the contract with. [`Address::of_contract`] says where.
    ///
    /// # Errors
    /// None that addresses and numbers could cause.
    pub fn init(&self) -> Result<StateInit, CellError> {
        Ok(StateInit {
            code: Some(code()?),
            data: Some(self.data()?),
            ..StateInit::default()
        })
    }

    /// The hash of the contract's code: by it the contract is known, whoever deployed it.
    ///
    /// # Errors
    /// None that this program's own code could cause.
    pub fn code_hash() -> Result<Hash, CellError> {
        Ok(cell_hash(code()?.as_ref()))
    }

    fn data(&self) -> Result<Cell, CellError> {
        // No anchor yet: count, epoch, time, two roots and the chain are zero, and no days are kept.
        let mut anchors = CellBuilder::new();
        anchors.store_zeros(32 + 64 + 32 + 3 * 256 + 1)?;
        let mut data = CellBuilder::new();
        self.operator.store(&mut data)?;
        store_coins(&mut data, Nano::ZERO)?;
        data.store_reference(anchors.build()?)?;
        // Paused until; held, contested, claimed; no pause before; the last draw's day, and what was drawn; no accounts
        // and no stakes.
        data.store_zeros(32 + 3 * 4 + 32 + 32 + 4 + 2)?;
        data.store_reference(self.roles()?)?;
        data.build()
    }

    fn roles(&self) -> Result<Cell, CellError> {
        let mut terms = CellBuilder::new();
        self.forfeit_to.store(&mut terms)?;
        store_coins(&mut terms, self.terms.stake_min)?;
        store_coins(&mut terms, self.terms.bond_min)?;
        let Terms {
            unstake_delay_s,
            answer_delay_s,
            ruling_delay_s,
            arbiter_delay_s,
            pause_max_s,
            pause_gap_s,
            ..
        } = self.terms;
        for seconds in [
            unstake_delay_s,
            answer_delay_s,
            ruling_delay_s,
            arbiter_delay_s,
            pause_max_s,
            pause_gap_s,
        ] {
            terms.store_u32(seconds)?;
        }
        // Nobody is proposed: no address is two zero bits.
        let mut court = CellBuilder::new();
        self.arbiter.store(&mut court)?;
        court.store_zeros(2 + 32)?;
        court.store_reference(terms.build()?)?;
        let mut roles = CellBuilder::new();
        self.owner.store(&mut roles)?;
        roles.store_zeros(2)?;
        store_coins(&mut roles, self.draw_limit)?;
        roles.store_reference(court.build()?)?;
        roles.build()
    }
}

pub(super) fn store_coins(cell: &mut CellBuilder, amount: Nano) -> Result<(), CellError> {
    Tokens::new(amount.get().into()).store_into(cell, Cell::empty_context())
}

#[derive(Deserialize)]
struct Compiled {
    boc: String,
}

fn code() -> Result<Cell, CellError> {
    let compiled: Compiled = serde_json::from_str(CODE).map_err(|_| CellError::InvalidData)?;
    let bytes = STANDARD.decode(compiled.boc).map_err(|_| CellError::InvalidData)?;
    read_cell(&bytes).map_err(|_| CellError::InvalidData)
}

/// A payee says that it was not paid what the last leaf says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenContest {
    /// What it says the contract should have paid it since ever: what it earned less what it says was pushed.
    pub total: Nano,
    /// Until when the operator may object, in Unix seconds; of one that was objected to, until when the arbiter may rule.
    pub deadline: u32,
    /// Whether it was objected to.
    pub objected: bool,
}

/// How the contract stands, all of one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContractState {
    /// Where it is.
    pub address: Address,
    /// Its balance.
    pub balance: Coins,
    /// Who may anchor.
    pub operator: Address,
    /// What the last anchor leaves unpaid, less what was claimed since.
    pub owed: Nano,
    /// How many anchors there were.
    pub anchors: u32,
    /// The last one.
    pub anchor: Option<Anchor>,
    /// What names all anchors, in order.
    pub chain: Hash,
    /// What it paid by claims and contests, by provider. Who is not here got nothing.
    pub claimed: BTreeMap<ProviderTag, Nano>,
    /// Open contests, by provider.
    pub contests: BTreeMap<ProviderTag, OpenContest>,
    /// Its last transaction.
    pub last: Position,
}

impl ContractState {
    /// Reads the contract's data. `None` if there is no such contract at the address.
    ///
    /// # Errors
    /// [`ChainError::Damaged`] if its data cannot be.
    pub fn read(account: &AccountState) -> Result<Option<Self>, ChainError> {
        let damaged = |error: CellError| ChainError::Damaged(format!("the contract's data: {error}"));
        let ours = cell_hash(code().map_err(damaged)?.as_ref());
        let active = account.status == AccountStatus::Active && account.code_hash == Some(ours);
        let Some(data) = account.data.as_ref().filter(|_| active) else {
            return Ok(None);
        };
        Self::read_data(account, data).map(Some).map_err(damaged)
    }

    fn read_data(account: &AccountState, data: &Cell) -> Result<Self, CellError> {
        let mut data = data.as_slice()?;
        let operator = load_address(&mut data)?;
        let owed = load_coins(&mut data)?;
        let mut anchors = data.load_reference_as_slice()?;
        // Paused until, held, contested, claimed in all, no pause before, day and amount of the last draw.
        data.load_u32()?;
        for _ in 0..3 {
            load_coins(&mut data)?;
        }
        data.load_u64()?;
        load_coins(&mut data)?;
        let accounts = RawDict::<224>::load_from(&mut data)?;
        let count = anchors.load_u32()?;
        let epoch = anchors.load_u64()?;
        anchors.load_u32()?;
        let mut hash = || anchors.load_u256().map(|hash| Hash::from_bytes(hash.0));
        let (earnings_root, receipts_root, chain) = (hash()?, hash()?, hash()?);
        let anchor = Anchor {
            epoch,
            earnings_root,
            receipts_root,
        };
        Ok(Self {
            address: account.address,
            balance: account.balance,
            operator,
            owed,
            anchors: count,
            anchor: (count > 0).then_some(anchor),
            chain,
            claimed: load_accounts(&accounts, load_coins)?,
            contests: load_accounts(&accounts, load_contest)?
                .into_iter()
                .filter_map(|(tag, contest)| Some((tag, contest?)))
                .collect(),
            last: account.last,
        })
    }
}

/// Something of every account.
fn load_accounts<T>(
    accounts: &RawDict<224>,
    load: fn(&mut CellSlice<'_>) -> Result<T, CellError>,
) -> Result<BTreeMap<ProviderTag, T>, CellError> {
    let mut all = BTreeMap::new();
    for entry in accounts.iter() {
        let (key, mut value) = entry?;
        let mut tag = [0; 28];
        key.as_data_slice().load_raw(&mut tag, 224)?;
        all.insert(ProviderTag::from_bytes(tag), load(&mut value)?);
    }
    Ok(all)
}

/// The contest of an account, if there is one.
fn load_contest(account: &mut CellSlice<'_>) -> Result<Option<OpenContest>, CellError> {
    load_coins(account)?;
    if !account.load_bit()? {
        return Ok(None);
    }
    let mut contest = account.load_reference_as_slice()?;
    // Whoever contests is the leaf's payee.
    contest.load_u256()?;
    let total = load_coins(&mut contest)?;
    // What is locked for it, and the bond.
    load_coins(&mut contest)?;
    load_coins(&mut contest)?;
    Ok(Some(OpenContest {
        total,
        deadline: contest.load_u32()?,
        objected: contest.load_bit()?,
    }))
}

/// An amount that the ledger can hold; more than that there are no coins of.
pub(super) fn load_coins(slice: &mut CellSlice<'_>) -> Result<Nano, CellError> {
    let tokens = Tokens::load_from(slice)?;
    let coins: Coins = tokens.into();
    coins.nano().map_err(|_| CellError::IntOverflow)
}

/// An address of the basechain: `addr_std$10`, no anycast, workchain 0.
pub(super) fn load_address(slice: &mut CellSlice<'_>) -> Result<Address, CellError> {
    const BASECHAIN: u64 = 0b100 << 8;
    if slice.load_uint(11)? != BASECHAIN {
        return Err(CellError::InvalidData);
    }
    Ok(Address::basechain(slice.load_u256()?.0))
}

/// What the contract says of its money, in nano.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContractMoney {
    /// All of it.
    pub balance: Nano,
    /// Stakes and bonds.
    pub held: Nano,
    /// Money for claims and draws; negative if it is short of its reserve.
    pub float: i64,
    /// What the last anchor leaves unpaid, less what was claimed since.
    pub owed: Nano,
    /// What open contests ask for.
    pub contested: Nano,
    /// What claims and contests paid since ever.
    pub claimed: Nano,
    /// What of the float may be drawn.
    pub drawable: Nano,
}

/// Asks the contract at `address` for its money.
///
/// # Errors
/// [`ChainError::Refused`] if there is no such contract, and what any question fails with.
pub async fn contract_money(chain: &dyn Chain, address: Address) -> Result<ContractMoney, ChainError> {
    let stack = chain.get(address, "money", &[]).await?;
    let nano = |place: usize| stack.get(place).and_then(nano_of);
    let read = || {
        Some(ContractMoney {
            balance: nano(0)?,
            held: nano(1)?,
            float: stack.get(2)?.number()?,
            owed: nano(3)?,
            contested: nano(4)?,
            claimed: nano(5)?,
            drawable: nano(6)?,
        })
    };
    read().ok_or_else(|| ChainError::damaged("the contract's answer to `money`"))
}

/// Asks the contract for its last anchor, and for what names all of them. `None` if there was none.
///
/// # Errors
/// As [`contract_money`].
pub async fn last_anchor(chain: &dyn Chain, address: Address) -> Result<Option<(Anchor, Hash)>, ChainError> {
    let stack = chain.get(address, "last_anchor", &[]).await?;
    let read = || {
        let count: u32 = stack.first()?.number()?;
        let hash = |place: usize| stack.get(place).and_then(Value::hash);
        let anchor = Anchor {
            epoch: stack.get(1)?.number()?,
            earnings_root: hash(3)?,
            receipts_root: hash(4)?,
        };
        Some((count > 0).then_some((anchor, hash(5)?)))
    };
    read().ok_or_else(|| ChainError::damaged("the contract's answer to `last_anchor`"))
}

/// Asks the contract what it paid to a provider by claims and contests.
///
/// # Errors
/// As [`contract_money`].
pub async fn claimed_of(chain: &dyn Chain, address: Address, provider: &ProviderTag) -> Result<Nano, ChainError> {
    let stack = chain.get(address, "claimed_of", &[provider.value()]).await?;
    let claimed = stack.first().and_then(nano_of);
    claimed.ok_or_else(|| ChainError::damaged("the contract's answer to `claimed_of`"))
}

fn nano_of(value: &Value) -> Option<Nano> {
    Nano::new(value.number()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    fn vectors() -> Json {
        serde_json::from_str(include_str!("../../contracts/vectors.json")).expect("JSON")
    }

    fn text(value: &Json) -> &str {
        value.as_str().expect("a text")
    }

    fn cell_of(value: &Json) -> Hash {
        let bytes = STANDARD.decode(text(value)).expect("base64");
        cell_hash(read_cell(&bytes).expect("a cell").as_ref())
    }

    #[test]
    fn it_is_deployed_where_the_vectors_say() {
        let vectors = vectors();
        let deploy = &vectors["deploy"];
        let address = |name: &str| text(&deploy[name]).parse().expect("an address");
        let parties = Parties {
            owner: address("owner"),
            operator: address("operator"),
            arbiter: address("arbiter"),
            forfeit_to: address("forfeitTo"),
            draw_limit: Nano::saturating(100_000_000_000),
            terms: Terms::default(),
        };
        let init = parties.init().expect("code and data");
        assert_eq!(
            cell_hash(init.data.as_ref().expect("data").as_ref()),
            cell_of(&deploy["data"])
        );
        assert_eq!(Address::of_contract(&init), Ok(address("address")));
        let compiled: Json = serde_json::from_str(CODE).expect("JSON");
        assert_eq!(
            cell_hash(init.code.expect("code").as_ref()).to_string(),
            compiled["hash"]
        );
    }

    #[test]
    fn anchors_are_written_and_chained_as_the_vectors_say() {
        let mut chain = Hash::from_bytes([0; 32]);
        for vector in vectors()["anchors"].as_array().expect("anchors") {
            let hash = |name: &str| Hash::parse(text(&vector[name])).expect("a hash");
            let number = |name: &str| text(&vector[name]).parse::<u64>().expect("a number");
            let anchor = Anchor {
                epoch: number("epoch"),
                earnings_root: hash("earnings_root"),
                receipts_root: hash("receipts_root"),
            };
            let body = anchor.body(Nano::saturating(number("owed")), 7).expect("a body");
            assert_eq!(cell_hash(body.cell().as_ref()), cell_of(&vector["body"]));
            chain = anchor.chained(&chain);
            assert_eq!(chain, hash("chain"));
        }
    }
}
