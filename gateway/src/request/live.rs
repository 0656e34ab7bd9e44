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
    /// How many calls who pays for has, live or in line for a provider.
    shares: Mutex<HashMap<AccountId, u32>>,
}

/// A call that is counted as waiting until this is dropped.
pub struct InLine<'a> {
    live: &'a LiveCalls,
    account: &'a AccountId,
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
        app.live.one_more(account);
        app.live.calls.lock().insert(*call, live);
        Listed {
            app: app.clone(),
            call: *call,
        }
    }

    /// Calls of an account that are live or in line.
    #[must_use]
    pub fn share(&self, account: &AccountId) -> u32 {
        self.shares.lock().get(account).copied().unwrap_or(0)
    }

    /// Counts a call of this account as waiting.
    #[must_use]
    pub fn in_line<'a>(&'a self, account: &'a AccountId) -> InLine<'a> {
        self.one_more(account);
        InLine { live: self, account }
    }

    fn one_more(&self, account: &AccountId) {
        let mut shares = self.shares.lock();
        match shares.get_mut(account) {
            Some(share) => *share += 1,
            None => drop(shares.insert(account.clone(), 1)),
        }
    }

    fn one_fewer(&self, account: &AccountId) {
        let mut shares = self.shares.lock();
        if let Some(share) = shares.get_mut(account) {
            *share -= 1;
            if *share == 0 {
                shares.remove(account);
            }
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

    /// A call that was due could not be renewed: it is due again at once.
    pub fn not_renewed(&self, call: &CallId) {
        if let Some(live) = self.calls.lock().get_mut(call) {
            live.expires_ms = 0;
        }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.live.one_fewer(self.account);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(live) = self.app.live.calls.lock().remove(&self.call) {
            self.app.live.one_fewer(&live.account);
            live.settled.cancel();
        }
    }
}
