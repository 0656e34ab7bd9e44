//! Where every provider is full: waits for a place, in line with the other calls of the model, for a bounded time.

use std::time::{Duration, Instant};

use filature_router::{Ask, NoRoute, Rank};

use crate::app::Worker;
use crate::fleet::line::Turn;
use crate::fleet::routed::Routed;
use crate::reject::Reject;

/// A call that goes first asks again after this long even if nobody called it: claims and pauses run out in silence.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What became of a call in line.
pub enum Waited<'a> {
    /// It has a plan.
    Routed(Box<Routed<'a>>),
    /// Nobody had room in time, or nobody will serve it.
    Over(Reject),
    /// Its caller has left.
    Gone,
}

/// The rank of a call that was let in already and has lost its provider: it goes before all that were not, and is not asked
/// to be content with less time when the line is long.
pub const ADMITTED: Rank = Rank {
    tier: u8::MAX,
    share: 0,
};

/// Waits in line for a plan, as long as `wait_max` at most. `full` is what the caller is told if none comes, with a truer
/// time to come again where there is one; `gone` resolves when the caller leaves.
pub async fn wait<'a>(
    worker: &'a Worker,
    ask: &Ask<'_>,
    rank: Rank,
    wait_max: Duration,
    full: Reject,
    gone: impl Future<Output = ()>,
) -> Waited<'a> {
    let app = &worker.app;
    let mut place = match app.fleet.line_up(ask.model, rank, app.clock) {
        Ok(place) => place,
        Err(retry_after) => return Waited::Over(later(full, retry_after)),
    };
    let since = Instant::now();
    let mut gone = std::pin::pin!(gone);
    loop {
        let patience = if rank == ADMITTED {
            wait_max
        } else {
            place.patience().min(wait_max)
        };
        let left = patience.saturating_sub(since.elapsed());
        let is_called = tokio::select! {
            turn = place.turn() => match turn {
                Turn::Come => true,
                Turn::Displaced => break,
            },
            () = tokio::time::sleep(left.min(ASK_AGAIN)) => {
                if left.is_zero() {
                    break;
                }
                if !place.is_first() {
                    continue;
                }
                false
            }
            () = gone.as_mut() => return Waited::Gone,
        };
        match place.route(ask) {
            Ok(routed) => return Waited::Routed(Box::new(routed)),
            Err(NoRoute::Full { .. } | NoRoute::UnknownModel) if is_called => place.wait_again(),
            Err(NoRoute::Full { .. } | NoRoute::UnknownModel) => {}
            Err(NoRoute::NoneEligible { reason }) => return Waited::Over(super::admit::unfit(reason)),
        }
    }
    drop(place);
    match app.fleet.retry_after(ask.model, rank, app.clock.now()) {
        Some(retry_after) => Waited::Over(later(full, retry_after)),
        None => Waited::Over(full),
    }
}

/// The same refusal with a truer time to come again.
fn later(full: Reject, retry_after: Duration) -> Reject {
    match full {
        Reject::ProvidersFull { .. } => Reject::ProvidersFull { retry_after },
        other => other,
    }
}
