//! Whether ledger and store belong together: what the ledger charged stands in an epoch, or waits in its stream.

use super::state::State;
use super::{RECORDS_PER_READ, SealError, Sealed, Sealer};

impl Sealer {
    /// Looks once, before the first epoch of this sealer's: a store that lacks what was sealed and trimmed is another
    /// store, or an empty one, and a chain begun there would contradict the one that is lost from sight.
    ///
    /// Money is what is compared. Calls that cost nothing leave no trace in the ledger once they are trimmed.
    ///
    /// # Errors
    /// [`SealError::Missing`] says how much is in neither place, and what any reading may fail with.
    pub(super) async fn guard(&self, state: &State) -> Result<Option<Sealed>, SealError> {
        // The ledger's sum comes first: whatever is posted meanwhile is in the stream by then.
        let spent = self.ledger.totals().await?.spent;
        let sealed = state.tip.as_ref().map(|tip| tip.seal.header.totals.cost);
        let mut missing = spent.minus(sealed.unwrap_or_default()).unwrap_or_default();
        for shard in self.ledger.shards() {
            let mut after = None;
            while !missing.is_zero() {
                let records = self.ledger.unsealed(shard, after, RECORDS_PER_READ).await?;
                let Some((last, _)) = records.last() else { break };
                after = Some(*last);
                let new = records.iter().filter(|(_, record)| !state.known.contains(&record.call));
                for (_, record) in new {
                    missing = missing.minus(record.cost).unwrap_or_default();
                }
            }
        }
        if missing.is_zero() {
            return Ok(None);
        }
        // Another sealer may have taken some of them away meanwhile.
        let last = self.store.last().await?;
        match last.filter(|last| state.tip.as_ref().is_none_or(|tip| tip.seal.header.number < *last)) {
            Some(newer) => Ok(Some(Sealed::Overtaken(newer))),
            None => Err(SealError::Missing { missing }),
        }
    }
}
