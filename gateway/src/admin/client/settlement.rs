//! What a settler asks.

use http::Method;

use super::super::wire::{AskedTurn, PayeeList, Turn};
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
}
