//! What crosses the ledger's border: deposits, withdrawals, and how far the world outside was read.

use redb::{ReadableTable, ReadableTableMetadata, Table};

use super::{
    BOOKMARKS, DEPOSIT_ORDER, Entered, Tables, UNCREDITED, UNCREDITED_OF, WITHDRAWAL_IDS, WITHDRAWALS,
    WITHDRAWALS_OPEN, WITHDRAWN, balance,
};
use crate::embedded::store::StoreError;
use crate::id::AccountId;
use crate::ledger::{
    Deposit, LedgerError, UNCREDITED_MAX, Uncredited, WITHDRAWALS_OPEN_MAX, Withdraw, Withdrawal, WithdrawalStep,
};
use crate::money::Nano;

/// The number of an account's next row.
fn next_number(table: &Table<'_, (&'static str, u64), &'static str>, account: &AccountId) -> Result<u64, StoreError> {
    let mut rows = table.range((account.as_str(), 0)..=(account.as_str(), u64::MAX))?;
    let last = rows.next_back().transpose()?.map(|(at, _)| at.value().1);
    Ok(last.map_or(0, |last| last.saturating_add(1)))
}

impl Tables<'_> {
    /// Writes a deposit, unless its id is known. Returns whether it was new.
    pub(in crate::embedded) fn deposit(&mut self, deposit: &Deposit) -> Entered<bool> {
        let Deposit {
            id,
            account,
            amount,
            note,
            now_ms,
        } = deposit;
        if self.accounts.get(account.as_str())?.is_none() {
            return Ok(Err(LedgerError::UnknownAccount(account.clone())));
        }
        if self.deposits.get((account.as_str(), id.as_str()))?.is_some() {
            return Ok(Ok(false));
        }
        let Ok(deposited) = self.changed.deposited.plus(*amount) else {
            return Ok(Err(LedgerError::TooLarge("the sum of all deposits")));
        };
        self.changed.deposited = deposited;
        self.deposits
            .insert((account.as_str(), id.as_str()), (amount.get(), note.as_str(), *now_ms))?;
        let mut order = self.txn.open_table(DEPOSIT_ORDER)?;
        let number = next_number(&order, account)?;
        order.insert((account.as_str(), number), id.as_str())?;
        let balance = balance(&mut self.changed, &self.balances, account)?;
        balance.0 = balance.0.saturating_add(amount.get());
        Ok(Ok(true))
    }

    /// Writes a withdrawal, unless its id is known. Returns whether it was new. That the account has so much is known.
    pub(in crate::embedded) fn withdraw(&mut self, ask: &Withdraw) -> Entered<bool> {
        let (account, id) = (ask.account.as_str(), ask.id.as_str());
        let mut ids = self.txn.open_table(WITHDRAWAL_IDS)?;
        if ids.get((account, id))?.is_some() {
            return Ok(Ok(false));
        }
        let mut open = self.txn.open_table(WITHDRAWALS_OPEN)?;
        if open.len()? >= WITHDRAWALS_OPEN_MAX {
            return Ok(Err(LedgerError::TooLarge("the list of open withdrawals")));
        }
        let begun = match ask.begun().write() {
            Ok(begun) => begun,
            Err(error) => return Ok(Err(error)),
        };
        let mut withdrawals = self.txn.open_table(WITHDRAWALS)?;
        let number = next_number(&withdrawals, &ask.account)?;
        withdrawals.insert((account, number), begun.as_str())?;
        ids.insert((account, id), number)?;
        open.insert((ask.now_ms, account, number), ())?;
        let mut withdrawn = self.txn.open_table(WITHDRAWN)?;
        let sum = withdrawn.get(account)?.map(|sum| sum.value()).unwrap_or_default();
        withdrawn.insert(account, sum.saturating_add(ask.amount.get()))?;
        Ok(Ok(true))
    }

    /// Writes what became of a withdrawal. Returns whether anything changed, and what its account gets back.
    pub(in crate::embedded) fn step_withdrawal(
        &mut self,
        account: &AccountId,
        id: &str,
        step: &WithdrawalStep,
        now_ms: u64,
    ) -> Entered<(bool, Nano)> {
        let account = account.as_str();
        let ids = self.txn.open_table(WITHDRAWAL_IDS)?;
        let mut withdrawals = self.txn.open_table(WITHDRAWALS)?;
        let nothing = Ok(Ok((false, Nano::ZERO)));
        let Some(number) = ids.get((account, id))?.map(|number| number.value()) else {
            return nothing;
        };
        let Some(json) = withdrawals.get((account, number))?.map(|row| row.value().to_owned()) else {
            return nothing;
        };
        let taken = Withdrawal::read(json.as_bytes()).and_then(|before| step.take(&before, now_ms));
        let after = match taken {
            Ok(Some(after)) => after,
            Ok(None) => return nothing,
            Err(error) => return Ok(Err(error)),
        };
        let json = match after.write() {
            Ok(json) => json,
            Err(error) => return Ok(Err(error)),
        };
        withdrawals.insert((account, number), json.as_str())?;
        let mut open = self.txn.open_table(WITHDRAWALS_OPEN)?;
        let at = (after.asked_ms, account, number);
        if after.is_open() {
            open.insert(at, ())?;
        } else {
            open.remove(at)?;
        }
        let back = after.given_back();
        if !back.is_zero() {
            let mut withdrawn = self.txn.open_table(WITHDRAWN)?;
            let sum = withdrawn.get(account)?.map(|sum| sum.value()).unwrap_or_default();
            withdrawn.insert(account, sum.saturating_sub(back.get()))?;
        }
        Ok(Ok((true, back)))
    }

    /// Moves a reader's bookmark and writes down what it found, if the bookmark is at `from`. Returns whether it is at
    /// `to` now.
    pub(in crate::embedded) fn move_bookmark(
        &mut self,
        reader: &str,
        from: Option<&str>,
        to: &str,
        transfers: &[(Option<AccountId>, Vec<u8>)],
    ) -> Entered<bool> {
        let mut bookmarks = self.txn.open_table(BOOKMARKS)?;
        let known = bookmarks.get(reader)?.map(|known| known.value().to_owned());
        if known.as_deref() == Some(to) {
            return Ok(Ok(true));
        }
        if known.as_deref() != from {
            return Ok(Ok(false));
        }
        bookmarks.insert(reader, to)?;
        let mut uncredited = self.txn.open_table(UNCREDITED)?;
        let mut of = self.txn.open_table(UNCREDITED_OF)?;
        for (account, json) in transfers {
            let next = uncredited
                .last()?
                .map_or(0, |(number, _)| number.value().saturating_add(1));
            uncredited.insert(next, json.as_slice())?;
            if let Some(account) = account {
                of.insert((account.as_str(), next), ())?;
            }
            if let Some(gone) = next.checked_sub(UNCREDITED_MAX) {
                let removed = uncredited.remove(gone)?.map(|json| Uncredited::read(json.value()));
                if let Some(Ok(Uncredited {
                    account: Some(account), ..
                })) = removed
                {
                    of.remove((account.as_str(), gone))?;
                }
            }
        }
        Ok(Ok(true))
    }
}
