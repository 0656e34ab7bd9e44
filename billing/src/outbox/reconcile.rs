//! What became of messages: found by the hash of what the wallet's transaction took in, and for every payment that may come
//! back, by its payee's transaction. Nothing is concluded from an answer that is not there.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::message::{Fate, Message, Outcome, Taken};
use crate::chain::{
    AccountState, Address, Chain, ChainError, Incoming, PAGE_MAX, Position, Transaction, Transfer, Wallet,
};
use crate::money::Nano;

/// Payees asked about at a time.
pub(crate) const LOOKUPS: usize = 8;
/// So long after the message's time, in seconds of the chain, a payee is waited for whose history cannot be right: whoever
/// manages to make its own account unreadable keeps the others waiting no longer. And so often it is asked for then.
pub(crate) const UNREAD_AFTER_S: u32 = 3_600;
const UNREAD_ASKED: u32 = 5;
const UNREAD_EVERY: Duration = Duration::from_secs(1);

/// One payment of a message: to whom, how much, and what is to become of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ordered {
    pub(crate) to: Address,
    pub(crate) amount: Nano,
    /// Where to look for what became of it, if it may come back.
    pub(crate) bounces_after: Option<Position>,
    /// Whether it is for the contract to do something: then it did not reach it if the contract failed, though that may have
    /// kept the value.
    pub(crate) must_run: bool,
}

/// What became of the seqno of `open`, messages that all have it, now that the wallet is past it. `None` if that cannot be
/// told yet. `ordered` says what a message's order comes to, `now` the chain's time in Unix seconds.
///
/// # Errors
/// What any question fails with; [`ChainError::Damaged`] if the wallet did what it was not told.
pub(crate) async fn reconcile<O>(
    chain: &dyn Chain,
    (wallet, now): (&AccountState, u32),
    open: &[Message<O>],
    ordered: impl Fn(&O) -> Vec<Ordered>,
) -> Result<Option<Outcome>, ChainError> {
    let (Some(first), Some(seqno)) = (
        open.iter().min_by_key(|message| message.after),
        Wallet::seqno_in(wallet),
    ) else {
        return Ok(None);
    };
    if seqno <= first.seqno {
        return Ok(None);
    }
    let ours = |transaction: &Transaction| {
        let taken = |message: &&Message<O>| transaction.incoming == Incoming::External(message.hash);
        open.iter().find(taken)
    };
    let mut after = first.after;
    loop {
        let page = chain.transactions(wallet.address, after, PAGE_MAX).await?;
        if let Some((message, transaction)) = page.iter().find_map(|one| Some((ours(one)?, one))) {
            let sought = Sought {
                ordered: ordered(&message.order),
                late: now > message.valid_until.saturating_add(UNREAD_AFTER_S),
            };
            let fates = sought.fates(chain, transaction).await?;
            return Ok(fates.map(|payments| Outcome {
                seqno: message.seqno,
                taken: Taken::Ours {
                    hash: message.hash,
                    at: transaction.at,
                    payments,
                },
            }));
        }
        let Some(last) = page.last() else {
            // The history was read to where the wallet was past the seqno, and none of the messages is in it.
            let whole = after.lt >= wallet.last.lt;
            return Ok(whole.then_some(Outcome {
                seqno: first.seqno,
                taken: Taken::Foreign,
            }));
        };
        after = last.at;
    }
}

/// The payments of a message that the chain took.
struct Sought {
    ordered: Vec<Ordered>,
    /// Whether a payee whose account cannot be read is not waited for any more.
    late: bool,
}

impl Sought {
    async fn fates(&self, chain: &dyn Chain, transaction: &Transaction) -> Result<Option<Vec<Fate>>, ChainError> {
        let sent = sent(&self.ordered, &transaction.outgoing)
            .ok_or_else(|| ChainError::damaged("the wallet sent what it was not told to send"))?;
        let lookups = self.ordered.iter().zip(sent);
        let lookups = lookups.map(|(ordered, sent)| self.fate(chain, *ordered, sent));
        let fates: Vec<_> = stream::iter(lookups.collect::<Vec<_>>())
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        Ok(fates.into_iter().collect())
    }

    async fn fate(
        &self,
        chain: &dyn Chain,
        ordered: Ordered,
        sent: Option<&Transfer>,
    ) -> Result<Option<Fate>, ChainError> {
        let Some(sent) = sent else {
            return Ok(Some(Fate::Skipped));
        };
        let Some(after) = ordered.bounces_after else {
            return Ok(Some(Fate::Sent(sent.created_lt)));
        };
        let mut found = arrival(chain, ordered, sent, after).await;
        // What a contract of ours did is known, or settlement stands still. Nor is what did not arrive yet a reason: only what
        // cannot be right, however often one asks.
        for _ in 1..UNREAD_ASKED {
            if !self.late || ordered.must_run || !matches!(found, Err(ChainError::Damaged(_))) {
                return found;
            }
            tokio::time::sleep(UNREAD_EVERY).await;
            found = arrival(chain, ordered, sent, after).await;
        }
        if !matches!(found, Err(ChainError::Damaged(_))) {
            return found;
        }
        tracing::warn!(
            payee = %ordered.to,
            amount = %ordered.amount,
            "what a payee's account did with a payment cannot be read for an hour: it counts as paid"
        );
        Ok(Some(Fate::Unread(sent.created_lt)))
    }
}

/// The message that each payment became; the wallet skips those it cannot afford and keeps the order of the others. `None` if
/// messages are left that were not ordered.
fn sent<'a>(ordered: &[Ordered], outgoing: &'a [Transfer]) -> Option<Vec<Option<&'a Transfer>>> {
    let mut left = outgoing.iter().peekable();
    let sent = ordered
        .iter()
        .map(|ordered| left.next_if(|transfer| transfer.to == ordered.to && transfer.value == ordered.amount.into()));
    let sent = sent.collect();
    left.next().is_none().then_some(sent)
}

/// What the payee did with what was sent to it. `None` if it has not arrived.
async fn arrival(
    chain: &dyn Chain,
    ordered: Ordered,
    sent: &Transfer,
    mut after: Position,
) -> Result<Option<Fate>, ChainError> {
    loop {
        let page = chain.transactions(ordered.to, after, PAGE_MAX).await?;
        let got = page.iter().find(|one| took(one, sent));
        if let Some(got) = got {
            // A transaction that failed and could not afford to send the value back has kept it.
            let refused = got.returned || (ordered.must_run && !got.succeeded());
            return Ok(Some(if refused {
                Fate::Returned(got.at)
            } else {
                Fate::Reached(got.at)
            }));
        }
        let Some(last) = page.last() else {
            return Ok(None);
        };
        after = last.at;
    }
}

fn took(transaction: &Transaction, sent: &Transfer) -> bool {
    matches!(&transaction.incoming, Incoming::Transfer(got)
        if got.from == sent.from && got.created_lt == sent.created_lt && !got.bounced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Body;

    fn to(id: u8, amount: u64) -> (Ordered, Transfer) {
        let (to, amount) = (Address::basechain([id; 32]), Nano::saturating(amount));
        let ordered = Ordered {
            to,
            amount,
            bounces_after: None,
            must_run: false,
        };
        let transfer = Transfer {
            from: Address::basechain([9; 32]),
            to,
            value: amount.into(),
            bounce: false,
            bounced: false,
            created_lt: 5,
            body: Body::default(),
        };
        (ordered, transfer)
    }

    /// Which of the ordered payments were sent when the wallet sent these.
    fn check(sent_ones: &[(u8, u64)]) -> Option<Vec<bool>> {
        let ordered: Vec<_> = [(1, 5), (2, 5), (1, 5), (3, 7)]
            .map(|(id, amount)| to(id, amount).0)
            .into();
        let outgoing: Vec<_> = sent_ones.iter().map(|(id, amount)| to(*id, *amount).1).collect();
        Some(sent(&ordered, &outgoing)?.iter().map(Option::is_some).collect())
    }

    #[test]
    fn messages_are_matched_to_payments_in_their_order() {
        assert_eq!(check(&[(1, 5), (2, 5), (1, 5), (3, 7)]), Some(vec![true; 4]));
        assert_eq!(check(&[]), Some(vec![false; 4]));
        assert_eq!(check(&[(2, 5), (3, 7)]), Some(vec![false, true, false, true]));
        assert_eq!(check(&[(1, 5), (3, 7)]), Some(vec![true, false, false, true]));
    }

    #[test]
    fn what_was_not_ordered_is_not_explained_away() {
        assert_eq!(check(&[(1, 6)]), None);
        assert_eq!(check(&[(4, 5)]), None);
        assert_eq!(check(&[(3, 7), (1, 5)]), None);
        assert_eq!(check(&[(1, 5), (1, 5), (1, 5)]), None);
    }
}
