//! What became of messages: found by the hash of what the wallet's transaction took in, and for every payment that may come
//! back, by its payee's transaction. Nothing is concluded from an answer that is not there.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::ANCHOR_VALUE;
use super::contract::OBJECT_VALUE;
use super::entry::{Fate, Message, Order, Outcome, Taken};
use crate::chain::{
    AccountState, Address, Chain, ChainError, Incoming, PAGE_MAX, Position, Transaction, Transfer, Wallet,
};
use crate::money::Nano;

/// Payees asked about at a time.
pub(super) const LOOKUPS: usize = 8;

/// What became of the seqno of `open`, messages that all have it, now that the wallet is past it. `None` if that cannot be
/// told yet.
///
/// # Errors
/// What any question fails with; [`ChainError::Damaged`] if the wallet did what it was not told.
pub(super) async fn reconcile(
    chain: &dyn Chain,
    wallet: &AccountState,
    contract: Address,
    open: &[Message],
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
        let taken = |message: &&Message| transaction.incoming == Incoming::External(message.hash);
        open.iter().find(taken)
    };
    let mut after = first.after;
    loop {
        let page = chain.transactions(wallet.address, after, PAGE_MAX).await?;
        if let Some((message, transaction)) = page.iter().find_map(|one| Some((ours(one)?, one))) {
            let fates = fates(chain, contract, message, transaction).await?;
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

/// One payment of a message: to whom, how much, and where to look for what became of it if it may come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ordered {
    to: Address,
    amount: Nano,
    bounces_after: Option<Position>,
}

fn ordered(message: &Message, contract: Address) -> Vec<Ordered> {
    match &message.order {
        Order::Anchor(after) => vec![Ordered {
            to: contract,
            amount: ANCHOR_VALUE,
            bounces_after: Some(*after),
        }],
        Order::Pay(payouts) => {
            let payouts = payouts.iter().map(|payout| Ordered {
                to: payout.payee,
                amount: payout.amount,
                bounces_after: payout.bounces_after,
            });
            payouts.collect()
        }
        Order::Object(objections) => {
            let one = Ordered {
                to: contract,
                amount: OBJECT_VALUE,
                bounces_after: Some(objections.after),
            };
            vec![one; objections.contests.len()]
        }
    }
}

async fn fates(
    chain: &dyn Chain,
    contract: Address,
    message: &Message,
    transaction: &Transaction,
) -> Result<Option<Vec<Fate>>, ChainError> {
    let ordered = ordered(message, contract);
    let sent = sent(&ordered, &transaction.outgoing)
        .ok_or_else(|| ChainError::damaged("the wallet sent what it was not told to send"))?;
    let tells = !matches!(message.order, Order::Pay(_));
    let lookups = ordered
        .iter()
        .zip(sent)
        .map(|(ordered, sent)| fate(chain, *ordered, sent, tells));
    let fates: Vec<_> = stream::iter(lookups.collect::<Vec<_>>())
        .buffered(LOOKUPS)
        .try_collect()
        .await?;
    Ok(fates.into_iter().collect())
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

async fn fate(
    chain: &dyn Chain,
    ordered: Ordered,
    sent: Option<&Transfer>,
    tells: bool,
) -> Result<Option<Fate>, ChainError> {
    let Some(sent) = sent else {
        return Ok(Some(Fate::Skipped));
    };
    let Some(mut after) = ordered.bounces_after else {
        return Ok(Some(Fate::Sent(sent.created_lt)));
    };
    loop {
        let page = chain.transactions(ordered.to, after, PAGE_MAX).await?;
        let got = page.iter().find(|one| took(one, sent));
        if let Some(got) = got {
            // A transaction that failed and could not afford to send the value back has kept it. What the contract was to be told is not there then.
            let refused = got.returned || (tells && !got.succeeded());
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
