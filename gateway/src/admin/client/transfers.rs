//! What an operator asks of deposits and withdrawals.

use filature_billing::{AccountId, Cursor, Withdrawal};
use http::Method;

use super::super::wire::{NewWithdrawal, Return, UncreditedList, Withdrawals};
use super::{AdminClient, AdminError};

impl AdminClient {
    /// Withdraws credit in an account's name.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn withdraw(&self, account: &AccountId, new: &NewWithdrawal) -> Result<Withdrawal, AdminError> {
        self.call(Method::POST, &format!("/accounts/{account}/withdrawals"), Some(new))
            .await
    }

    /// Gives a withdrawal back that was not sent.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn return_withdrawal(&self, account: &AccountId, id: &str, why: &str) -> Result<Withdrawal, AdminError> {
        let path = format!("/accounts/{account}/withdrawals/{id}/return");
        let why = why.to_owned();
        self.call(Method::POST, &path, Some(&Return { why })).await
    }

    /// An account's withdrawals behind `after`; without an account, all that wait to be paid.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn withdrawals(
        &self,
        account: Option<&AccountId>,
        after: Option<Cursor>,
        max: usize,
    ) -> Result<Withdrawals, AdminError> {
        let Some(account) = account else {
            return self.get("/withdrawals").await;
        };
        let after = after.map_or_else(String::new, |after| format!("after={after}&"));
        self.get(&format!("/accounts/{account}/withdrawals?{after}max={max}"))
            .await
    }

    /// At most `max` transfers on TON that were credited to nobody, behind `after` or from the oldest one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn uncredited(&self, after: Option<Cursor>, max: usize) -> Result<UncreditedList, AdminError> {
        let after = after.map_or_else(String::new, |after| format!("after={after}&"));
        self.get(&format!("/uncredited?{after}max={max}")).await
    }
}
