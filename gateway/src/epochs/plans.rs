//! The plans of settlement's last rounds, for those who ask for a leaf of them. A plan is large and read once; whoever asks for
//! roots that are not there makes nobody read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use filature_billing::settle::{Payables, Plan, ProvenLeaf, SettleError, last_plans};
use filature_billing::{EpochStore, Hash, ProviderId};
use tokio::runtime::Handle;

/// Plans that are kept: the last one, and the one before, under which all can be claimed until the last is anchored.
const PLANS_MAX: usize = 2;
/// How long it is believed that there is no newer plan.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The last plans.
#[derive(Debug, Default)]
pub struct Plans(tokio::sync::Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    plans: Vec<Arc<(Plan, Payables)>>,
    looked: Option<Instant>,
}

impl Plans {
    /// A provider's leaf under a root. `None` if the root is not of one of the last plans, or the provider not in it.
    ///
    /// # Errors
    /// As [`last_plans`].
    pub async fn leaf(
        &self,
        store: &EpochStore,
        root: &Hash,
        provider: &ProviderId,
    ) -> Result<Option<ProvenLeaf>, SettleError> {
        let found = self.under(store, root).await?;
        Ok(found.and_then(|found| ProvenLeaf::under(&found.0, &found.1, provider)))
    }

    async fn under(&self, store: &EpochStore, root: &Hash) -> Result<Option<Arc<(Plan, Payables)>>, SettleError> {
        let mut known = self.0.lock().await;
        let find = |known: &Known| {
            let mut plans = known.plans.iter();
            plans.find(|one| one.0.anchor.earnings_root == *root).cloned()
        };
        let fresh = known.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY);
        if let Some(found) = find(&known) {
            return Ok(Some(found));
        }
        if fresh {
            return Ok(None);
        }
        // Before the answer: whoever comes after a read that failed or took too long does not begin another at once.
        known.looked = Some(Instant::now());
        known.plans = read(store.clone()).await?;
        Ok(find(&known))
    }
}

/// Reads the last plans and builds their trees, on a thread that serves no calls: a plan may be many megabytes.
async fn read(store: EpochStore) -> Result<Vec<Arc<(Plan, Payables)>>, SettleError> {
    let runtime = Handle::current();
    let reading = tokio::task::spawn_blocking(move || {
        let plans = runtime.block_on(last_plans(&store, PLANS_MAX))?;
        let with_tree = |plan: Plan| {
            let payables = plan.payables();
            Arc::new((plan, payables))
        };
        Ok(plans.into_iter().map(with_tree).collect())
    });
    reading
        .await
        .unwrap_or_else(|error| Err(SettleError::Form(error.to_string())))
}
