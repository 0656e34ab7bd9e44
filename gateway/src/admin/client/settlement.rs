//! What a settler asks, and what settlement's books say.

use http::Method;

use super::super::wire::{AskedTurn, OwedPayouts, PayeeList, Payouts, Turn};
use super::{AdminClient, AdminError};

impl AdminClient {
    /// Takes the settlers' turn for `holder`, or renews it, for `ttl_ms`; with 0 it is given up. True if it is `holder`'s
    /// now.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn settlement_turn(&self, holder: &str, ttl_ms: u64) -> Result<bool, AdminError> {
        let asked = AskedTurn {
            holder: holder.to_owned(),
            ttl_ms,
        };
        let turn: Turn = self.call(Method::PUT, "/settlement/turn", Some(&asked)).await?;
        Ok(turn.yours)
    }

    /// Who of those that have earned anything is paid where.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn payees(&self) -> Result<PayeeList, AdminError> {
        self.get("/payees").await
    }

    /// Payments of as many rounds as make `max` of them, the last first, before what another answer's `next` says.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn payouts(&self, before: Option<u64>, max: usize) -> Result<Payouts, AdminError> {
        let before = before.map_or_else(String::new, |before| format!("before={before}&"));
        self.get(&format!("/payouts?{before}max={max}")).await
    }

    /// Who is owed what as of the last round, and why it waits.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn owed(&self) -> Result<OwedPayouts, AdminError> {
        self.get("/payouts/owed").await
    }
}
