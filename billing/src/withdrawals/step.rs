//! One step of a payer: reads books and chain, asks [`decide()`](super::decide()), and does what it says.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::books::{Batch, Books};
use super::decide::{Step, View, Waiting, decide};
use super::entry::{Held, Message, Payout, What};
use super::tell::TOLD_AT_ONCE;
use super::{PayError, Payer};
use crate::chain::Payment;
use crate::hash::Hash;
use crate::id::AccountId;
use crate::money::Nano;
use crate::outbox::{self, Fate, LOOKUPS, Outcome, Sending, Taken, bounces_after, reconcile};

/// Bytes of a withdrawal's id that its payment's comment names: as many as the API lets it have.
const COMMENT_ID_BYTES_MAX: usize = 64;

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// Nothing, and why.
    Waits(Waiting),
    /// Gave back what cannot be paid, such as what names no address.
    GaveBack {
        /// How many.
        count: usize,
    },
    /// Told the ledger, which had lost it, what became of withdrawals.
    Retold,
    /// Took withdrawals into a batch.
    Took {
        /// How many.
        count: usize,
        /// How much in all.
        sum: Nano,
    },
    /// Found out what of it is in the payer's hands, and wrote it down.
    Holds {
        /// How many were given back just before.
        gone: usize,
    },
    /// Signed a message and wrote it down.
    Signed {
        /// For which seqno of the wallet.
        seqno: u32,
        /// How many payments it makes.
        payments: usize,
    },
    /// Sent a message, for the first time or again.
    Sent {
        /// The wallet's seqno it is good for.
        seqno: u32,
        /// Its normalised hash.
        hash: Hash,
    },
    /// Found out what became of a seqno, and wrote it down.
    Settled {
        /// Which seqno.
        seqno: u32,
        /// How many withdrawals are paid by it.
        paid: usize,
        /// How much in all.
        sum: Nano,
        /// How many came back.
        returned: usize,
    },
    /// Somebody else wrote the next entry first.
    Overtaken,
}

impl Payer {
    /// Does the next thing there is to do. A step that fails or is dropped at any await leaves nothing that the next one, of
    /// this payer or another, would not go on from.
    ///
    /// # Errors
    /// [`PayError`]
    pub async fn step(&mut self, now_ms: u64) -> Result<Done, PayError> {
        let books = self.read_books(now_ms).await?;
        let done = Box::pin(self.act(&books, now_ms)).await?;
        self.books = Some(books);
        Ok(done)
    }

    async fn act(&self, books: &Books, now_ms: u64) -> Result<Done, PayError> {
        let asked = match books.under_way() {
            Some(_) => Vec::new(),
            None => self.asked().await?,
        };
        let Some(batch) = books.under_way() else {
            if asked.is_empty() {
                return Ok(Done::Waits(Waiting::NothingAsked));
            }
            if self.retell(books, &asked, now_ms).await? {
                return Ok(Done::Retold);
            }
            if self.settles().await? {
                return Ok(Done::Waits(Waiting::Settles(self.wallet.address())));
            }
            let view = self.view().await?;
            return match decide(books, &view, self.settings.paused) {
                Step::Take(seqno) => self.take(books, &view, seqno, asked, now_ms).await,
                Step::Wait(why) => Ok(Done::Waits(why)),
                _ => Err(out_of_place()),
            };
        };
        let view = self.view().await?;
        let (what, done) = match decide(books, &view, self.settings.paused) {
            Step::Wait(why) => return Ok(Done::Waits(why)),
            Step::Send(message) => return self.send(message).await,
            Step::Hold => self.hold(batch).await?,
            Step::Sign(seqno) => self.sign(batch, &view, seqno).await?,
            Step::Reconcile => {
                let ordered = |order: &Vec<Payout>| batch.ordered(order);
                let found = reconcile(&*self.chain, (&view.wallet, view.head.time), batch.open(), ordered).await?;
                let Some(outcome) = found else {
                    return Ok(Done::Waits(Waiting::UnderWay));
                };
                let done = settled(batch, &outcome);
                (What::Outcome(outcome), done)
            }
            Step::Take(_) => return Err(out_of_place()),
        };
        let written = self.write(books, what, view.head.time).await?;
        Ok(if written { done } else { Done::Overtaken })
    }

    async fn view(&self) -> Result<View, PayError> {
        // The head first: what is asked after it is not older.
        let head = self.chain.head().await?;
        let wallet = self.chain.account(self.wallet.address()).await?;
        Ok(View { head, wallet })
    }

    /// Asks the ledger what of the batch is in it. It was told of all of it before.
    async fn hold(&self, batch: &Batch) -> Result<(What, Done), PayError> {
        let reference = batch.reference();
        let lookups = batch.all().iter().map(|due| async {
            let found = self.ledger.withdrawal(&due.account, &due.id).await?;
            let found = found.ok_or_else(|| self.unknown(&due.account, &due.id))?;
            Ok::<_, PayError>(found.state.reference() == Some(&reference))
        });
        let ours: Vec<bool> = stream::iter(lookups.collect::<Vec<_>>())
            .buffered(TOLD_AT_ONCE)
            .try_collect()
            .await?;
        let gone = ours.iter().enumerate().filter(|(_, ours)| !**ours);
        let gone: Vec<usize> = gone.map(|(place, _)| place).collect();
        let count = gone.len();
        Ok((What::Held(Held { gone }), Done::Holds { gone: count }))
    }

    async fn sign(&self, batch: &Batch, view: &View, seqno: u32) -> Result<(What, Done), PayError> {
        let lookups = batch.due().map(|(place, due)| async move {
            let bounces_after = bounces_after(&*self.chain, due.payee).await?;
            let payment = Payment {
                bounce: bounces_after.is_some(),
                ..Payment::new(due.payee, due.amount)
            };
            let payment = payment.with_comment(&comment(&due.id));
            let payment = payment.map_err(|error| PayError::Form(error.to_string()))?;
            Ok::<_, PayError>((Payout { place, bounces_after }, payment))
        });
        let ordered: Vec<(Payout, Payment)> = stream::iter(lookups.collect::<Vec<_>>())
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        let (order, payments): (Vec<_>, Vec<_>) = ordered.into_iter().unzip();
        let signers = (&self.wallet, &*self.key);
        let until = view.head.time.saturating_add(self.settings.valid_s);
        let message = outbox::sign(signers, &payments, order, &view.wallet, (seqno, until))?;
        let payments = payments.len();
        Ok((What::Message(message), Done::Signed { seqno, payments }))
    }

    async fn send(&self, message: &Message) -> Result<Done, PayError> {
        let bytes = message.bytes();
        let bytes = bytes.ok_or_else(|| PayError::Form("a message that is not base64".into()))?;
        let (seqno, hash) = (message.seqno, message.hash);
        Ok(match outbox::send(&*self.chain, &bytes).await? {
            Sending::Sent => Done::Sent { seqno, hash },
            Sending::UnderWay => Done::Waits(Waiting::UnderWay),
            Sending::Refused(reason) => Done::Waits(Waiting::Refused(reason)),
        })
    }

    pub(super) fn unknown(&self, account: &AccountId, id: &str) -> PayError {
        PayError::OtherLedger {
            account: account.clone(),
            id: id.to_owned(),
        }
    }
}

/// What the payee reads. Never the id alone: contracts may take a text for a command of the wallet's owner.
fn comment(id: &str) -> String {
    let id = id.get(..id.floor_char_boundary(COMMENT_ID_BYTES_MAX)).unwrap_or(id);
    format!("withdrawal {id}")
}

/// What an outcome says, in figures.
fn settled(batch: &Batch, outcome: &Outcome) -> Done {
    let (mut paid, mut sum, mut returned) = (0_usize, 0_u64, 0_usize);
    if let Taken::Ours { hash, payments, .. } = &outcome.taken {
        let order = batch.open().iter().find(|message| message.hash == *hash);
        let ordered = order.map(|message| batch.ordered(&message.order));
        for (ordered, fate) in ordered.unwrap_or_default().iter().zip(payments) {
            match fate {
                Fate::Sent(_) | Fate::Reached(_) | Fate::Unread(_) => {
                    paid = paid.saturating_add(1);
                    sum = sum.saturating_add(ordered.amount.get());
                }
                Fate::Returned(_) => returned = returned.saturating_add(1),
                Fate::Skipped => {}
            }
        }
    }
    let (seqno, sum) = (outcome.seqno, Nano::saturating(sum));
    Done::Settled {
        seqno,
        paid,
        sum,
        returned,
    }
}

/// What [`decide()`](super::decide()) says fits the books.
fn out_of_place() -> PayError {
    PayError::Form("a step without its batch".into())
}
