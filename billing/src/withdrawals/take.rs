//! What is asked for, and which of it is taken into the next batch.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::books::Books;
use super::decide::{View, Waiting, affords, costs};
use super::entry::{Due, Takes, What};
use super::step::Done;
use super::{PayError, Payer};
use crate::chain::{Address, BATCH_MAX, Network};
use crate::ledger::{LedgerError, Withdrawal, WithdrawalStep};
use crate::money::Nano;
use crate::outbox::LOOKUPS;
use crate::settle::ContractState;

/// Longest reason that is told, in bytes: less than the ledger takes.
const WHY_BYTES_MAX: usize = 200;

impl Payer {
    /// Whether the wallet is the one that settles: each of its payments would cost settlement a message, and coins that are
    /// for providers would go to callers.
    pub(super) async fn settles(&self) -> Result<bool, PayError> {
        let Some(contract) = self.settings.contract else {
            return Ok(false);
        };
        let contract = ContractState::read(&self.chain.account(contract).await?)?;
        Ok(contract.is_some_and(|contract| contract.operator == self.wallet.address()))
    }

    /// What is asked for, those asked for first first.
    pub(super) async fn asked(&self) -> Result<Vec<Withdrawal>, PayError> {
        let shards = self.ledger.shards().into_iter();
        let open = shards.map(|shard| self.ledger.open_withdrawals(shard, BATCH_MAX));
        let open: Vec<_> = stream::iter(open.collect::<Vec<_>>())
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        let mut asked: Vec<Withdrawal> = open.into_iter().flatten().collect();
        asked.sort_unstable_by(|a, b| (a.asked_ms, &a.account, &a.id).cmp(&(b.asked_ms, &b.account, &b.id)));
        asked.truncate(BATCH_MAX);
        Ok(asked)
    }

    /// Begins a batch with the first of what is asked for, as many as the wallet affords.
    pub(super) async fn take(
        &self,
        books: &Books,
        view: &View,
        seqno: u32,
        asked: Vec<Withdrawal>,
        now_ms: u64,
    ) -> Result<Done, PayError> {
        let (mut due, mut bad) = (Vec::new(), Vec::new());
        for withdrawal in asked {
            match self.payee(&withdrawal) {
                Ok(payee) => due.push(Due {
                    account: withdrawal.account,
                    id: withdrawal.id,
                    payee,
                    amount: withdrawal.amount,
                }),
                Err(why) => bad.push((withdrawal, why)),
            }
        }
        if !bad.is_empty() {
            return self.give_back(bad, now_ms).await;
        }
        let amounts = |count: usize| due.iter().take(count).map(|due| due.amount);
        let balance = u64::try_from(view.wallet.balance.get()).unwrap_or(u64::MAX);
        let count = (1..=due.len())
            .take_while(|count| costs(amounts(*count)) <= balance)
            .last();
        let Some(count) = count else {
            // Whoever asked first is paid first: those behind wait.
            let short = affords(view, amounts(1)).err();
            return Ok(Done::Waits(short.unwrap_or(Waiting::NothingAsked)));
        };
        due.truncate(count);
        let sum = due.iter().fold(0_u64, |sum, due| sum.saturating_add(due.amount.get()));
        let sum = Nano::saturating(sum);
        let takes = Takes {
            payer: self.name,
            wallet: view.wallet.address,
            seqno_min: seqno,
            due,
        };
        // Not before anything in it was asked for, by the clock that says when that was: see `lost`.
        let now_s = u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX);
        let time = view.head.time.max(now_s);
        let written = self.write(books, What::Takes(takes), time).await?;
        let took = Done::Took { count, sum };
        Ok(if written { took } else { Done::Overtaken })
    }

    /// The account that a withdrawal is paid to; or why it is not paid.
    fn payee(&self, withdrawal: &Withdrawal) -> Result<Address, String> {
        // The ledger has the raw form, which is the same on every network.
        let to = Address::parse(&withdrawal.to, Network::Mainnet).map_err(|error| error.to_string())?;
        let to = to.address;
        let own = [Some(self.wallet.address()), self.settings.contract];
        if own.contains(&Some(to)) || self.settings.own.contains(&to) {
            return Err("the address is the operator's own".to_owned());
        }
        if withdrawal.amount.is_zero() {
            return Err("there is nothing to pay".to_owned());
        }
        Ok(to)
    }

    async fn give_back(&self, bad: Vec<(Withdrawal, String)>, now_ms: u64) -> Result<Done, PayError> {
        let mut count: usize = 0;
        for (Withdrawal { account, id, .. }, mut why) in bad {
            why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
            let step = WithdrawalStep::Returned { reference: None, why };
            match self.ledger.step_withdrawal(&account, &id, &step, now_ms).await {
                Ok(_) => count = count.saturating_add(1),
                // Somebody else was first, with this or something else.
                Err(LedgerError::OutOfTurn(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Done::GaveBack { count })
    }
}
