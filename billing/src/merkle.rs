//! The Merkle tree of RFC 6962 (section 2.1; the same as RFC 9162): roots, inclusion proofs and their verification.
//!
//! Pure: hashes in, hashes out. What a leaf is made of is `epoch`'s business.

use crate::hash::Hash;

/// The hash of a leaf: SHA-256 over the byte 0 and the leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash::of_parts(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256 over the byte 1 and the hashes of both children.
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// A tree over leaves that are all known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MerkleTree {
    /// The leaves' hashes, then each row of nodes above them, up to a row of one.
    rows: Vec<Vec<Hash>>,
}

impl MerkleTree {
    /// The tree over these leaf hashes, in this order.
    #[must_use]
    pub fn new(leaves: Vec<Hash>) -> Self {
        let mut rows = vec![leaves];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            // A node without a sibling rises unchanged, which gives RFC 6962's split at the largest power of two.
            let above = row.chunks(2).map(|pair| match pair {
                [left, right] => node_hash(left, right),
                [alone, ..] => *alone,
                [] => Hash::of(&[]),
            });
            rows.push(above.collect());
        }
        Self { rows }
    }

    /// How many leaves there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// Whether there is no leaf.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The hash of the leaf at `index`.
    #[must_use]
    pub fn leaf(&self, index: usize) -> Option<Hash> {
        self.rows.first()?.get(index).copied()
    }

    /// The root; that of no leaves is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let top = self.rows.last().and_then(|row| row.first());
        top.copied().unwrap_or_else(|| Hash::of(&[]))
    }

    /// The proof that the leaf at `index` is in the tree: the siblings on its way to the root, from the leaf up. `None`
    /// if there is no such leaf.
    #[must_use]
    pub fn path(&self, index: usize) -> Option<Vec<Hash>> {
        if index >= self.len() {
            return None;
        }
        let mut at = index;
        let mut path = Vec::new();
        for row in &self.rows {
            path.extend(row.get(at ^ 1).filter(|_| row.len() > 1));
            at >>= 1;
        }
        Some(path)
    }
}

/// The root of the tree of `leaves` leaves in which the leaf with hash `leaf` stands at `index` and `path` is its proof
/// (RFC 9162, section 2.1.3.2). `None` if no such tree can be: the place is outside, or the path has the wrong length.
///
/// It proves inclusion where it equals a root that somebody signed together with the number of leaves.
#[must_use]
pub fn root_from_path(leaf: Hash, index: u64, leaves: u64, path: &[Hash]) -> Option<Hash> {
    if index >= leaves {
        return None;
    }
    let (mut at, mut last) = (index, leaves.checked_sub(1)?);
    let mut node = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            node = node_hash(sibling, &node);
            // A node without a sibling rose unchanged.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The leaves of the reference tests of google/certificate-transparency (`cpp/merkletree/merkle_tree_test.cc`).
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    /// The roots of the first 0, 1, … 8 of them.
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn reference(leaves: usize) -> MerkleTree {
        let hash = |hex| leaf_hash(&hex::decode(hex).expect("hex"));
        MerkleTree::new(LEAVES[..leaves].iter().map(hash).collect())
    }

    fn numbered(leaves: u32) -> Vec<Hash> {
        (0..leaves).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_the_reference_implementation() {
        for (leaves, root) in ROOTS.iter().enumerate() {
            assert_eq!(reference(leaves).root().to_string(), *root, "{leaves} leaves");
        }
    }

    #[test]
    fn proofs_are_those_of_the_reference_implementation() {
        let check = |index: usize, leaves: usize, path: &[&str]| {
            let proof = reference(leaves).path(index).expect("a leaf");
            let text: Vec<_> = proof.iter().map(Hash::to_string).collect();
            assert_eq!(text, path, "leaf {index} of {leaves}");
        };
        check(0, 1, &[]);
        check(
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        );
        check(
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                ROOTS[4],
            ],
        );
        check(2, 3, &[ROOTS[2]]);
        check(
            1,
            5,
            &[
                ROOTS[1],
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        );
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proved_where_it_stands_and_nowhere_else() {
        for leaves in 1..=33_u32 {
            let hashes = numbered(leaves);
            let tree = MerkleTree::new(hashes.clone());
            assert_eq!(tree.path(hashes.len()), None);
            for (index, leaf) in hashes.iter().enumerate() {
                let path = tree.path(index).expect("a leaf");
                for claimed in 0..u64::from(leaves) + 2 {
                    let proved = root_from_path(*leaf, claimed, leaves.into(), &path) == Some(tree.root());
                    assert_eq!(proved, claimed == index as u64, "{index} of {leaves}, as {claimed}");
                }
            }
        }
    }

    /// The definition of RFC 6962, section 2.1, word for word.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(&[]),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node_hash(&defined(left), &defined(right))
            }
        }
    }

    proptest! {
        #[test]
        fn the_root_is_the_defined_one(leaves in 0..300_u32) {
            let hashes = numbered(leaves);
            prop_assert_eq!(MerkleTree::new(hashes.clone()).root(), defined(&hashes));
        }

        #[test]
        fn every_flipped_bit_of_leaf_and_path_is_found(leaves in 1..300_u32, index in 0..300_usize, bit in 0..256_usize) {
            let hashes = numbered(leaves);
            let index = index % hashes.len();
            let tree = MerkleTree::new(hashes.clone());
            let path = tree.path(index).expect("a leaf");
            let proves = |leaf: Hash, path: &[Hash]| {
                root_from_path(leaf, index as u64, leaves.into(), path) == Some(tree.root())
            };
            prop_assert!(proves(hashes[index], &path));
            let flipped = |hash: &Hash| {
                let mut bytes = *hash.as_bytes();
                bytes[bit / 8] ^= 1 << (bit % 8);
                Hash::from_bytes(bytes)
            };
            prop_assert!(!proves(flipped(&hashes[index]), &path));
            for at in 0..path.len() {
                let mut forged = path.clone();
                forged[at] = flipped(&path[at]);
                prop_assert!(!proves(hashes[index], &forged));
            }
        }

        #[test]
        fn a_path_too_short_or_too_long_proves_nothing(leaves in 1..300_u32, index in 0..300_usize) {
            let hashes = numbered(leaves);
            let index = index % hashes.len();
            let tree = MerkleTree::new(hashes.clone());
            let mut path = tree.path(index).expect("a leaf");
            path.push(tree.root());
            prop_assert_eq!(root_from_path(hashes[index], index as u64, leaves.into(), &path), None);
            path.pop();
            if path.pop().is_some() {
                prop_assert_ne!(root_from_path(hashes[index], index as u64, leaves.into(), &path), Some(tree.root()));
            }
        }

        #[test]
        fn no_claim_makes_it_panic(index: u64, leaves: u64, length in 0..80_usize) {
            let path = vec![Hash::of(b"x"); length];
            let _ = root_from_path(Hash::of(b"y"), index, leaves, &path);
        }
    }
}
