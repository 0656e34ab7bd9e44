//! The calls that hold money now: so that their holds can be renewed, and a receipt asked for too early can be waited for.

use std::collections::HashMap;
use std::sync::Arc;

use filature_billing::{AccountId, CallId};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Every call between its reservation and its settlement. Bounded by the limit on concurrent calls.
#[derive(Default)]
pub struct LiveCalls {
    calls: Mutex<HashMap<CallId, Live>>,
}

/// One live call.
#[derive(Clone)]
pub struct Live {
    /// Who pays.
    pub account: AccountId,
    /// When its hold expires, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
    settled: CancellationToken,
}

/// Keeps a call listed; dropping it says that the call is settled.
pub struct Listed {
    app: Arc<App>,
    call: CallId,
}

impl LiveCalls {
    /// Lists a call whose hold expires at `expires_ms`.
    #[must_use]
    pub fn list(app: &Arc<App>, call: &CallId, account: &AccountId, expires_ms: u64) -> Listed {
        let live = Live {
            account: account.clone(),
            expires_ms,
            settled: CancellationToken::new(),
        };
        app.live.calls.lock().insert(*call, live);
        Listed {
            app: app.clone(),
            call: *call,
        }
    }

    /// Waits until the call is settled; returns at once if it is not live here.
    pub async fn settled(&self, call: &CallId) {
        let settled = self.calls.lock().get(call).map(|live| live.settled.clone());
        if let Some(settled) = settled {
            settled.cancelled().await;
        }
    }

    /// The calls whose holds expire before `before_ms`, moved to `expires_ms` in this list.
    #[must_use]
    pub fn due(&self, before_ms: u64, expires_ms: u64) -> Vec<(CallId, AccountId)> {
        let mut calls = self.calls.lock();
        let due = calls.iter_mut().filter(|(_, live)| live.expires_ms < before_ms);
        due.map(|(call, live)| {
            live.expires_ms = expires_ms;
            (*call, live.account.clone())
        })
        .collect()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(live) = self.app.live.calls.lock().remove(&self.call) {
            live.settled.cancel();
        }
    }
}
