//! The tree of payables: what every provider has earned and what was pushed to it, in the form that the settlement
//! contract reads (`billing/contracts/README.md`, "Formats").

use sha2::{Digest, Sha256};

use crate::chain::{Address, Body, Cell, CellBuilder, CellError, Value};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::merkle::{MerkleTree, leaf_hash};
use crate::money::Nano;

/// Bytes of a leaf.
const LEAF_BYTES: usize = 77;
/// Siblings in one cell of a path.
const SIBLINGS_PER_CELL: usize = 3;
/// Operation: claim what a leaf says is due.
const CLAIM: u32 = 0xf11a_0010;
/// Operation: contest what a leaf says was pushed.
const CONTEST: u32 = 0xf11a_0011;
/// The workchain in the leaf of a provider that named no address: the contract refuses to pay there.
const NOWHERE: i8 = -1;

/// What stands for a provider in the contract: the first 28 bytes of the SHA-256 of its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProviderTag([u8; 28]);

impl ProviderTag {
    /// The tag of a provider.
    #[must_use]
    pub fn of(provider: &ProviderId) -> Self {
        let hash = Sha256::digest(provider.as_str().as_bytes());
        let mut tag = [0; 28];
        tag.copy_from_slice(hash.first_chunk::<28>().unwrap_or(&[0; 28]));
        Self(tag)
    }

    /// A tag as the contract gives it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 28]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 28] {
        &self.0
    }

    /// The tag as a get-method takes it.
    #[must_use]
    pub fn value(&self) -> Value {
        let mut number = [0; 32];
        for (place, byte) in number.iter_mut().skip(4).zip(self.0) {
            *place = byte;
        }
        Value::from(Hash::from_bytes(number))
    }
}

/// What a leaf says of one provider, in sums since epoch 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// Who may be paid by the contract; nobody, as long as the provider has named no address.
    pub payee: Option<Address>,
    /// Which provider.
    pub provider: ProviderTag,
    /// What it earned.
    pub earned: Nano,
    /// What was pushed to it.
    pub pushed: Nano,
}

impl Leaf {
    /// The 77 bytes under the root.
    #[must_use]
    pub fn bytes(&self) -> [u8; LEAF_BYTES] {
        leaf_bytes(self.payee, &self.provider, self.earned.get(), self.pushed.get())
    }
}

fn leaf_bytes(payee: Option<Address>, provider: &ProviderTag, earned: u64, pushed: u64) -> [u8; LEAF_BYTES] {
    let workchain = payee.map_or(NOWHERE, |payee| payee.workchain());
    let account = payee.map_or([0; 32], |payee| *payee.id());
    let parts: [&[u8]; 5] = [
        &workchain.to_be_bytes(),
        &account,
        &provider.0,
        &earned.to_be_bytes(),
        &pushed.to_be_bytes(),
    ];
    let mut bytes = [0; LEAF_BYTES];
    for (place, byte) in bytes.iter_mut().zip(parts.concat()) {
        *place = byte;
    }
    bytes
}

/// The tree over the leaves of all providers.
#[derive(Clone, Debug)]
pub struct Payables {
    leaves: Vec<[u8; LEAF_BYTES]>,
    tree: MerkleTree,
}

/// A leaf and its way to the root, as claims and contests carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeafProof {
    leaf: [u8; LEAF_BYTES],
    /// Bit i is set where sibling i stands on the left.
    sides: u32,
    siblings: Vec<Hash>,
}

impl Payables {
    /// The tree over these leaves, in this order.
    #[must_use]
    pub fn new(leaves: impl IntoIterator<Item = Leaf>) -> Self {
        Self::over(leaves.into_iter().map(|leaf| leaf.bytes()).collect())
    }

    fn over(leaves: Vec<[u8; LEAF_BYTES]>) -> Self {
        let tree = MerkleTree::new(leaves.iter().map(|leaf| leaf_hash(leaf)).collect());
        Self { leaves, tree }
    }

    /// What is anchored.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The siblings of the leaf at `index` on its way to the root, from the leaf up; `None` if there is none.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<Vec<Hash>> {
        self.tree.path(index)
    }

    /// The proof of the leaf at `index`; `None` if there is none.
    #[must_use]
    pub fn proof(&self, index: usize) -> Option<LeafProof> {
        Some(LeafProof {
            leaf: *self.leaves.get(index)?,
            sides: sides(index, self.leaves.len()),
            siblings: self.tree.path(index)?,
        })
    }
}

/// On which side the siblings of a leaf's path stand: set bits are on the left.
fn sides(index: usize, leaves: usize) -> u32 {
    let (mut at, mut row) = (index, leaves);
    let (mut sides, mut bit) = (0_u32, 1_u32);
    while row > 1 {
        // A node without a sibling rises unchanged, and its path has nothing there.
        if at ^ 1 < row {
            if at & 1 == 1 {
                sides |= bit;
            }
            bit = bit.wrapping_shl(1);
        }
        at >>= 1;
        row = row.div_ceil(2);
    }
    sides
}

impl LeafProof {
    /// The proof of a leaf that stands at `index` among so many, with this path.
    pub(super) fn of(leaf: &Leaf, index: usize, leaves: usize, siblings: Vec<Hash>) -> Self {
        Self {
            leaf: leaf.bytes(),
            sides: sides(index, leaves),
            siblings,
        }
    }

    /// The body of a claim: whoever sends it, the leaf's payee is paid. A payout that is `bounceable` comes back if the
    /// payee refuses it.
    ///
    /// # Errors
    /// None that a proof of [`Payables`] could cause.
    pub fn claim(&self, bounceable: bool, query: u64) -> Result<Body, CellError> {
        let mut body = operation(CLAIM, query)?;
        body.store_bit(bounceable)?;
        self.store(&mut body)?;
        Ok(Body::new(body.build()?))
    }

    /// The body of a contest: the payee says that it received only so much.
    ///
    /// # Errors
    /// As [`LeafProof::claim`].
    pub fn contest(&self, epoch: u64, received: Nano, query: u64) -> Result<Body, CellError> {
        self.contest_of(epoch, received.get(), query)
    }

    fn contest_of(&self, epoch: u64, received: u64, query: u64) -> Result<Body, CellError> {
        let mut proof = CellBuilder::new();
        self.store(&mut proof)?;
        let mut body = operation(CONTEST, query)?;
        body.store_u64(epoch)?;
        body.store_u64(received)?;
        body.store_reference(proof.build()?)?;
        Ok(Body::new(body.build()?))
    }

    fn store(&self, cell: &mut CellBuilder) -> Result<(), CellError> {
        cell.store_raw(&self.leaf, 77 * 8)?;
        cell.store_u8(u8::try_from(self.siblings.len()).map_err(|_| CellError::IntOverflow)?)?;
        cell.store_u32(self.sides)?;
        let mut path = None;
        for row in self.siblings.chunks(SIBLINGS_PER_CELL).rev() {
            path = Some(path_cell(row, path)?);
        }
        cell.store_bit(path.is_some())?;
        path.map_or(Ok(()), |path| cell.store_reference(path))
    }
}

fn path_cell(siblings: &[Hash], next: Option<Cell>) -> Result<Cell, CellError> {
    let mut cell = CellBuilder::new();
    for sibling in siblings {
        cell.store_raw(sibling.as_bytes(), 256)?;
    }
    if let Some(next) = next {
        cell.store_reference(next)?;
    }
    cell.build()
}

/// How every body for the contract begins: which operation, and a number that comes back in the answer.
pub(super) fn operation(operation: u32, query: u64) -> Result<CellBuilder, CellError> {
    let mut body = CellBuilder::new();
    body.store_u32(operation)?;
    body.store_u64(query)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value as Json;

    use super::*;
    use crate::chain::{cell_hash, read_cell};

    fn cell_of(text: &Json) -> Hash {
        let bytes = STANDARD.decode(text.as_str().expect("a text")).expect("base64");
        cell_hash(read_cell(&bytes).expect("a cell").as_ref())
    }

    #[test]
    fn trees_and_proofs_are_those_of_the_contracts_vectors() {
        let vectors: Json = serde_json::from_str(include_str!("../../contracts/vectors.json")).expect("JSON");
        let mut proofs = 0;
        for tree in vectors["trees"].as_array().expect("trees") {
            let number = |value: &Json| value.as_str().expect("a text").parse::<u64>().expect("a number");
            let leaf = |leaf: &Json| {
                let provider = ProviderId::parse(leaf["provider"].as_str().expect("an id")).expect("an id");
                let tag = ProviderTag::of(&provider);
                assert_eq!(hex::encode(tag.0), leaf["tag"]);
                let payee = leaf["payee"].as_str().expect("an address").parse().expect("an address");
                leaf_bytes(Some(payee), &tag, number(&leaf["earned"]), number(&leaf["pushed"]))
            };
            let leaves = tree["leaves"].as_array().expect("leaves");
            let payables = Payables::over(leaves.iter().map(leaf).collect());
            assert_eq!(payables.root().to_string(), tree["root"]);
            for (index, leaf) in leaves.iter().enumerate() {
                assert_eq!(hex::encode(payables.leaves[index]), leaf["bytes"]);
                let proof = payables.proof(index).expect("a leaf");
                assert_eq!(proof.sides, leaf["sides"].as_u64().expect("sides") as u32, "{index}");
                let bounceable = leaf["bounceable"].as_bool().expect("a bit");
                let claim = proof.claim(bounceable, 7).expect("a body");
                assert_eq!(cell_hash(claim.cell().as_ref()), cell_of(&leaf["claim"]));
                let contest = proof.contest_of(5, number(&leaf["pushed"]), 7).expect("a body");
                assert_eq!(cell_hash(contest.cell().as_ref()), cell_of(&leaf["contest"]));
                proofs += 1;
            }
        }
        assert!(proofs >= 36, "{proofs} proofs");
    }

    #[test]
    fn a_leaf_without_a_payee_pays_nobody() {
        let leaf = Leaf {
            payee: None,
            provider: ProviderTag([1; 28]),
            earned: Nano::saturating(5),
            pushed: Nano::ZERO,
        };
        assert_eq!(leaf.bytes()[0], 0xff);
    }
}
