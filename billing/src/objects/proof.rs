//! Proves that a record stands in its epoch: the tree over the epoch's records, made once from the object.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::lines::Line;
use super::{EpochStore, StoreError};
use crate::epoch::{Inclusion, Seal};
use crate::id::CallId;
use crate::merkle::{MerkleTree, leaf_hash};
use crate::record::UsageRecord;
use crate::verify::{Fault, TrustedKeys, Wrong, verify_seal};

/// Epochs whose trees are kept, about 80 bytes a receipt.
const TREES_MAX: usize = 16;

/// The trees of the epochs that receipts were asked of lately.
#[derive(Debug, Default)]
pub(super) struct Proofs(VecDeque<Arc<Tree>>);

#[derive(Debug)]
struct Tree {
    seal: Seal,
    /// The calls, in order.
    calls: Vec<CallId>,
    tree: MerkleTree,
}

impl EpochStore {
    /// The proof that a record stands in epoch `number`.
    ///
    /// # Errors
    /// [`StoreError::Fault`] for a damaged object, or if the record is not one of that epoch's;
    /// [`StoreError::Missing`], [`StoreError::Store`].
    pub async fn prove(&self, number: u64, record: &UsageRecord, keys: &TrustedKeys) -> Result<Inclusion, StoreError> {
        let tree = self.tree(number, keys).await?;
        let inclusion = tree.inclusion(record).ok_or_else(|| Fault {
            place: format!("epoch {number}, {}", record.call),
            wrong: Wrong::Form("the record is not among those that were sealed".to_owned()),
        })?;
        Ok(inclusion)
    }

    /// Only one object is read at a time, however many receipts are asked for.
    async fn tree(&self, number: u64, keys: &TrustedKeys) -> Result<Arc<Tree>, StoreError> {
        let mut proofs = self.proofs.lock().await;
        if let Some(at) = proofs.0.iter().position(|tree| tree.seal.header.number == number)
            && let Some(tree) = proofs.0.remove(at)
        {
            proofs.0.push_front(Arc::clone(&tree));
            return Ok(tree);
        }
        let (object, keys) = (self.object(number).await?, keys.clone());
        let tree = tokio::task::spawn_blocking(move || Tree::read(&object, number, &keys));
        let tree = Arc::new(tree.await.map_err(std::io::Error::other)??);
        proofs.0.push_front(Arc::clone(&tree));
        proofs.0.truncate(TREES_MAX);
        Ok(tree)
    }
}

impl Tree {
    fn read(object: &Bytes, number: u64, keys: &TrustedKeys) -> Result<Self, Fault> {
        let damaged = |wrong: &str| Fault {
            place: format!("epoch {number}"),
            wrong: Wrong::Form(wrong.to_owned()),
        };
        let mut lines = object.split(|&b| b == b'\n');
        let seal = Seal::read(lines.next().unwrap_or_default(), number)?;
        verify_seal(&seal, keys)?;
        let before = usize::try_from(seal.header.providers).unwrap_or(usize::MAX);
        let (mut calls, mut leaves) = (Vec::new(), Vec::new());
        // The last line feed is followed by nothing.
        for line in lines.skip(before).filter(|line| !line.is_empty()) {
            let call = Line::read(line).ok().and_then(|line| line.call());
            calls.push(call.ok_or_else(|| damaged("a line that should be a record is none"))?);
            leaves.push(leaf_hash(line));
        }
        let tree = MerkleTree::new(leaves);
        if tree.root() != seal.header.receipts_root || !calls.is_sorted() {
            return Err(damaged("its records are not those that were sealed"));
        }
        Ok(Self { seal, calls, tree })
    }

    /// The proof of a record; `None` if it is not exactly one that was sealed here.
    fn inclusion(&self, record: &UsageRecord) -> Option<Inclusion> {
        let at = self.calls.binary_search(&record.call).ok()?;
        let mut line = Vec::new();
        record.write_canonical(&mut line).ok()?;
        let leaf = leaf_hash(&line);
        (self.tree.leaf(at)? == leaf).then_some(())?;
        Some(Inclusion {
            epoch: self.seal.clone(),
            index: u64::try_from(at).ok()?,
            path: self.tree.path(at)?,
        })
    }
}
