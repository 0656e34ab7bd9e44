//! One step of a settler: reads books and chain, asks [`decide()`](super::decide()), and does what it says.

use futures_util::{StreamExt, TryStreamExt, stream, try_join};

use super::books::{Books, Round};
use super::contract::ContractState;
use super::decide::{Step, View, Waiting, affords, could_plan, decide, follows, round_costs};
use super::entry::{Anchored, ClaimedNow, Message, Objection, Objections, Order, Outcome, Payout, What};
use super::leaf::ProviderTag;
use super::order::ContractOrder;
use super::plan::{Basis, Plan};
use super::{ANCHOR_VALUE, Payees, SettleError, Settler};
use crate::chain::{BATCH_MAX, ChainError, Payment, Wallet};
use crate::epoch::Epoch;
use crate::hash::Hash;
use crate::money::Nano;
use crate::outbox::{self, LOOKUPS, Sending, bounces_after, reconcile};
use crate::verify::verify_epoch;

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// Nothing, and why.
    Waits(Waiting),
    /// Planned a round.
    Planned {
        /// Up to which epoch.
        epoch: u64,
        /// How many providers are to be paid.
        payees: usize,
        /// How much in all.
        sum: Nano,
    },
    /// Signed a message and wrote it down.
    Signed {
        /// For which seqno of the wallet.
        seqno: u32,
        /// How many payments it makes; an anchor is one.
        payments: usize,
    },
    /// Signed an objection to contests and wrote it down.
    Objects {
        /// For which seqno of the wallet.
        seqno: u32,
        /// How many contests.
        contests: usize,
    },
    /// Sent a message, for the first time or again.
    Sent {
        /// The wallet's seqno it is good for.
        seqno: u32,
        /// Its normalised hash.
        hash: Hash,
    },
    /// Found out what became of a seqno, and wrote it down.
    Reconciled {
        /// Which seqno.
        seqno: u32,
        /// How many providers it has paid.
        payees: usize,
        /// How much in all.
        paid: Nano,
    },
    /// Found the anchor in the contract, and wrote down what was claimed by then.
    Anchored {
        /// Of which epoch.
        epoch: u64,
    },
    /// Somebody else wrote the next entry first.
    Overtaken,
}

impl Settler {
    /// Does the next thing there is to do. A step that fails or is dropped at any await leaves nothing that the next one, of
    /// this settler or another, would not go on from.
    ///
    /// # Errors
    /// [`SettleError`]
    pub async fn step(&mut self, payees: &Payees) -> Result<Done, SettleError> {
        let mut books = self.read_books().await?;
        let begins = books.round().is_none_or(Round::is_over);
        let view = self.view(begins).await?;
        let done = Box::pin(self.act(&mut books, &view, payees)).await?;
        self.books = Some(books);
        self.seen = Some(view);
        Ok(done)
    }

    /// What the next round would do, were it planned now, and what it would wait for. Nothing is written or sent.
    ///
    /// # Errors
    /// [`SettleError`]; no plan, but why, where there is nothing to plan or nobody to carry it out.
    pub async fn dry_run(&mut self, payees: &Payees) -> Result<Result<(Plan, Option<Waiting>), Waiting>, SettleError> {
        let books = self.read_books().await?;
        let view = self.view(true).await?;
        let planned = match could_plan(&books, &view) {
            Ok(()) => Box::pin(self.plan(&books, &view, payees)).await,
            Err(why) => Ok(Err(why)),
        };
        self.books = Some(books);
        let paused = self.settings.paused.then_some(Waiting::Paused);
        Ok(planned?.map(|plan| {
            let short = affords(&view, round_costs(&plan)).err();
            (plan, paused.or(short))
        }))
    }

    async fn act(&self, books: &mut Books, view: &View, payees: &Payees) -> Result<Done, SettleError> {
        let time = view.head.time;
        let (what, done) = match decide(books, view, &self.settings.rules()) {
            Step::Wait(why) => return Ok(Done::Waits(why)),
            Step::Send(message) => return self.send(message).await,
            Step::Plan => match self.plan(books, view, payees).await? {
                Err(why) => return Ok(Done::Waits(why)),
                Ok(plan) => {
                    if let Err(why) = affords(view, round_costs(&plan)) {
                        return Ok(Done::Waits(why));
                    }
                    let (count, sum) = plan.sum();
                    let epoch = plan.anchor.epoch;
                    let payees = count;
                    (What::Plan(plan), Done::Planned { epoch, payees, sum })
                }
            },
            Step::SignAnchor(seqno) => self.sign_anchor(books, view, seqno)?,
            Step::SignPayouts(seqno) => self.sign_payouts(books, view, seqno).await?,
            Step::SignObjections(seqno, contests) => self.sign_objections(books, view, seqno, contests)?,
            Step::Reconcile => {
                let open = books.round().map_or(&[][..], Round::open);
                let ordered = |order: &Order| order.payments(self.settings.contract);
                let found = reconcile(&*self.chain, (&view.wallet, time), open, ordered).await?;
                let Some(outcome) = found else {
                    return Ok(Done::Waits(Waiting::UnderWay));
                };
                return self.reconciled(books, outcome, time).await;
            }
            Step::NoteAnchor => note_anchor(books, view)?,
        };
        let written = self.append(books, what, time).await?;
        Ok(if written { done } else { Done::Overtaken })
    }

    async fn reconciled(&self, books: &mut Books, outcome: Outcome, time: u32) -> Result<Done, SettleError> {
        let paid = |books: &Books| books.round().map(Round::paid).unwrap_or_default();
        let (seqno, before) = (outcome.seqno, paid(books));
        if !self.append(books, What::Outcome(outcome), time).await? {
            return Ok(Done::Overtaken);
        }
        let after = paid(books);
        Ok(Done::Reconciled {
            seqno,
            payees: after.0.saturating_sub(before.0),
            paid: after.1.minus(before.1).unwrap_or_default(),
        })
    }

    /// How the chain stands, and with `epoch` how far the epochs are.
    async fn view(&self, epoch: bool) -> Result<View, SettleError> {
        let head = self.chain.head().await?;
        let contract_at = self.settings.contract;
        let (wallet, contract) = try_join!(
            self.chain.account(self.wallet.address()),
            self.chain.account(contract_at)
        )?;
        Ok(View {
            head,
            wallet,
            contract_at,
            contract: ContractState::read(&contract)?,
            epoch: if epoch { self.epochs.last().await? } else { None },
        })
    }

    async fn plan(&self, books: &Books, view: &View, payees: &Payees) -> Result<Result<Plan, Waiting>, SettleError> {
        let Some(number) = view.epoch else {
            return Ok(Err(Waiting::NothingDue));
        };
        let Some(contract) = &view.contract else {
            return Ok(Err(Waiting::NoContract(view.contract_at)));
        };
        if !follows(number, contract) {
            return Ok(Err(Waiting::Stranger));
        }
        let epoch = self.epoch(number).await?;
        let seal = epoch
            .seal
            .hash()
            .map_err(|error| SettleError::Form(error.to_string()))?;
        let wallet = view.wallet.address;
        let seqno = Wallet::seqno_in(&view.wallet).unwrap_or_default();
        let before = books.round().filter(|round| round.plan().wallet == wallet);
        Ok(Ok(Plan::new(&Basis {
            epoch: number,
            seal,
            earnings: &epoch.earnings,
            before: &books.before(),
            payees,
            wallet,
            contract,
            threshold: self.settings.threshold,
            seqno_min: seqno.max(before.map_or(0, Round::seqno_min)),
            returned_rest_s: self.settings.returned_rest_s,
            now: view.head.time,
        })?))
    }

    async fn epoch(&self, number: u64) -> Result<Epoch, SettleError> {
        let (object, keys) = (self.epochs.object(number).await?, self.keys.clone());
        self.epochs.persist(number).await?;
        let verified = tokio::task::spawn_blocking(move || verify_epoch(&object, &keys));
        Ok(verified.await.map_err(|error| SettleError::Form(error.to_string()))??)
    }

    async fn send(&self, message: &Message) -> Result<Done, SettleError> {
        let bytes = message.bytes();
        let bytes = bytes.ok_or_else(|| SettleError::Form("a message that is not base64".into()))?;
        let (seqno, hash) = (message.seqno, message.hash);
        Ok(match outbox::send(&*self.chain, &bytes).await? {
            Sending::Sent => Done::Sent { seqno, hash },
            Sending::UnderWay => Done::Waits(Waiting::UnderWay),
            Sending::Refused(reason) => Done::Waits(Waiting::Refused(reason)),
        })
    }

    fn sign_anchor(&self, books: &Books, view: &View, seqno: u32) -> Result<(What, Done), SettleError> {
        let (Some(round), Some(contract)) = (books.round(), &view.contract) else {
            return Err(nothing_to_sign());
        };
        let plan = round.plan();
        let body = plan.anchor.body(plan.owed, round.number());
        let payment = Payment {
            bounce: true,
            body: body.map_err(|error| SettleError::Form(error.to_string()))?,
            ..Payment::new(plan.contract, ANCHOR_VALUE)
        };
        self.sign(&[payment], Order::Anchor(contract.last), view, seqno)
    }

    fn sign_objections(
        &self,
        books: &Books,
        view: &View,
        seqno: u32,
        contests: Vec<Objection>,
    ) -> Result<(What, Done), SettleError> {
        let (Some(round), Some(contract)) = (books.round(), &view.contract) else {
            return Err(nothing_to_sign());
        };
        let payment = |contest: &Objection| {
            let order = ContractOrder::Object(ProviderTag::of(&contest.provider));
            let payment = order.payment(round.plan().contract, round.number());
            payment.map_err(|error| SettleError::Form(error.to_string()))
        };
        let payments = contests.iter().map(payment).collect::<Result<Vec<_>, SettleError>>()?;
        let objections = Objections {
            after: contract.last,
            contests,
        };
        let count = objections.contests.len();
        let (message, _) = self.sign(&payments, Order::Object(objections), view, seqno)?;
        Ok((message, Done::Objects { seqno, contests: count }))
    }

    async fn sign_payouts(&self, books: &Books, view: &View, seqno: u32) -> Result<(What, Done), SettleError> {
        let round = books.round().ok_or_else(nothing_to_sign)?;
        let batch = round.due().take(BATCH_MAX).filter_map(|(row, amount)| {
            let payee = row.payee?;
            Some((row.provider.clone(), payee, amount))
        });
        let lookups = batch.map(|(provider, payee, amount)| async move {
            let bounces_after = bounces_after(&*self.chain, payee).await?;
            Ok::<_, ChainError>(Payout {
                provider,
                payee,
                amount,
                bounces_after,
            })
        });
        let payouts: Vec<Payout> = stream::iter(lookups.collect::<Vec<_>>())
            .buffered(LOOKUPS)
            .try_collect()
            .await?;
        let payments = payouts.iter().map(|payout| Payment {
            bounce: payout.bounces_after.is_some(),
            ..Payment::new(payout.payee, payout.amount)
        });
        let payments: Vec<_> = payments.collect();
        self.sign(&payments, Order::Pay(payouts), view, seqno)
    }

    fn sign(&self, payments: &[Payment], order: Order, view: &View, seqno: u32) -> Result<(What, Done), SettleError> {
        let signers = (&self.wallet, &*self.key);
        let until = view.head.time.saturating_add(self.settings.valid_s);
        let message = outbox::sign(signers, payments, order, &view.wallet, (seqno, until))?;
        let payments = payments.len();
        Ok((What::Message(message), Done::Signed { seqno, payments }))
    }
}

fn note_anchor(books: &Books, view: &View) -> Result<(What, Done), SettleError> {
    let (Some(round), Some(contract)) = (books.round(), &view.contract) else {
        return Err(nothing_to_sign());
    };
    let plan = round.plan();
    let planned = plan.rows.iter().filter(|row| !row.planned.is_zero());
    let claimed = planned.filter_map(|row| {
        let claimed = contract.claimed.get(&ProviderTag::of(&row.provider));
        let claimed = claimed.copied().unwrap_or_default();
        (claimed != row.claimed).then(|| ClaimedNow {
            provider: row.provider.clone(),
            claimed,
        })
    });
    let anchored = Anchored {
        at: contract.last,
        claimed: claimed.collect(),
    };
    let epoch = plan.anchor.epoch;
    Ok((What::Anchored(anchored), Done::Anchored { epoch }))
}

/// What [`decide()`](super::decide()) says is there, is there.
fn nothing_to_sign() -> SettleError {
    SettleError::Form("a step without a round or a contract".into())
}
