//! What settlement does next. Pure: the books and how the chain stands give a step.

use super::ANCHOR_VALUE;
use super::books::{Books, Round, Stage};
use super::contract::{Anchor, ContractState, EPOCH_STEP_MAX};
use super::entry::{Message, Objection, Order};
use super::leaf::ProviderTag;
use super::order::ORDER_VALUE;
use super::plan::Plan;
use crate::chain::{AccountState, Address, BATCH_MAX, FEE_MAX, Head, Wallet};
use crate::money::Nano;
use crate::outbox::{Turn, lacks};

/// More than one payout costs the wallet in fees, in nano: 0.0004 TON, twice what is measured at 2026's prices. Every message
/// costs [`FEE_MAX`] at most besides.
pub(super) const PAYOUT_FEE_MAX: u64 = 400_000;

/// A contest is answered before rounds, and within one, when it has so much time left, in seconds: a day. Otherwise after
/// them: whoever opens contests and takes them back keeps nobody from being paid.
const URGENT_S: u32 = 86_400;

/// How the chain stands, as somebody who may lag behind tells it.
#[derive(Clone, Debug)]
pub struct View {
    /// The newest block.
    pub head: Head,
    /// The wallet.
    pub wallet: AccountState,
    /// Where the contract is.
    pub contract_at: Address,
    /// How it stands, if it is there.
    pub contract: Option<ContractState>,
    /// The last sealed epoch.
    pub epoch: Option<u64>,
}

/// When rounds begin, and whether anything is sent at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whether nothing is to be planned, signed or sent. What was sent is still followed.
    pub paused: bool,
    /// From one plan to the next, in seconds.
    pub every_s: u32,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Nothing, until something changes.
    Wait(Waiting),
    /// Plan a round.
    Plan,
    /// Sign the anchor for this seqno, and store it.
    SignAnchor(u32),
    /// Sign a batch of payments for this seqno, and store it.
    SignPayouts(u32),
    /// Sign an objection to these contests for this seqno, and store it.
    SignObjections(u32, Vec<Objection>),
    /// Send this, for the first time or again.
    Send(&'a Message),
    /// Find out which message the chain took for the seqno of the open ones.
    Reconcile,
    /// Note that the anchor is in the contract, and what was claimed by then.
    NoteAnchor,
}

/// Why nothing can be done now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Waiting {
    /// All that was sealed is anchored and paid, or the next round's time has not come.
    #[error("nothing is due")]
    NothingDue,
    /// The operator said so.
    #[error("settlement is paused")]
    Paused,
    /// The chain's answers are older than what is known.
    #[error("the chain's answers lag behind the books")]
    Lagging,
    /// A message was sent and is not in a block yet, or a payment has not reached its payee.
    #[error("what was sent is under way")]
    UnderWay,
    /// The wallet needs coins.
    #[error("the wallet {wallet} has {has} and needs {needs}: send coins to it, and settlement goes on by itself")]
    Short {
        /// Where to send them.
        wallet: Address,
        /// What it has.
        has: Nano,
        /// What the next step may cost.
        needs: Nano,
    },
    /// No settlement contract at the address that the settings name.
    #[error("there is no settlement contract at {0}")]
    NoContract(Address),
    /// The contract takes anchors from somebody else.
    #[error("the contract's operator is {0}, which is not this wallet")]
    NotOperator(Address),
    /// The contract's anchors are not those of these books.
    #[error(
        "the contract's last anchor is not the one in these books: somebody else settles with this contract, or the books are \
         not the ones it was settled with so far; nothing is paid"
    )]
    Stranger,
    /// The last round is not over, and another wallet pays it.
    #[error("the last round is being paid from the wallet {0}: settle with its key until that is over")]
    OtherWallet(Address),
    /// At the wallet's address is something else.
    #[error("the account {0} is not this wallet")]
    NoWallet(Address),
    /// The chain did not take a message, for a reason other than its seqno or age.
    #[error("the chain does not take the message: {0}")]
    Refused(String),
}

/// The next step.
#[must_use]
pub fn decide<'a>(books: &'a Books, view: &View, rules: &Rules) -> Step<'a> {
    let Some(seqno) = Wallet::seqno_in(&view.wallet) else {
        return Step::Wait(Waiting::NoWallet(view.wallet.address));
    };
    let step = match books.round().filter(|round| !round.is_over()) {
        Some(round) if round.plan().wallet != view.wallet.address => Err(Waiting::OtherWallet(round.plan().wallet)),
        Some(round) => go_on(books, round, view, seqno),
        None => begin(books, view, rules, seqno),
    };
    match step {
        // What was sent is followed even so.
        Ok(Step::Reconcile | Step::NoteAnchor) | Err(_) => step.unwrap_or_else(Step::Wait),
        Ok(_) if rules.paused => Step::Wait(Waiting::Paused),
        Ok(step) => step,
    }
}

fn begin<'a>(books: &Books, view: &View, rules: &Rules, seqno: u32) -> Result<Step<'a>, Waiting> {
    if let Some(step) = object(books, view, seqno, URGENT_S)? {
        return Ok(step);
    }
    let planned = plan(books, view, rules);
    match planned {
        Err(Waiting::NothingDue) => object(books, view, seqno, u32::MAX)?.map_or(planned, Ok),
        _ => planned,
    }
}

/// Whether the next round could be planned now, but for its time: after the round that is under way, if one is.
pub(super) fn could_plan(books: &Books, view: &View) -> Result<(), Waiting> {
    let newest = view.epoch.ok_or(Waiting::NothingDue)?;
    let Some(round) = books.round().filter(|round| !round.is_over()) else {
        let rules = Rules {
            paused: false,
            every_s: 0,
        };
        return plan(books, view, &rules).map(|_| ());
    };
    if round.plan().anchor.epoch >= newest {
        return Err(Waiting::NothingDue);
    }
    operated(view).map(|_| ())
}

fn plan<'a>(books: &Books, view: &View, rules: &Rules) -> Result<Step<'a>, Waiting> {
    let newest = view.epoch.ok_or(Waiting::NothingDue)?;
    if let Some(round) = books.round() {
        // A round that began in what is the future now was told a wrong time; it must not put off the next one.
        let rests = (round.begun()..round.begun().saturating_add(rules.every_s)).contains(&view.head.time);
        if round.plan().anchor.epoch >= newest || rests {
            return Err(Waiting::NothingDue);
        }
    }
    let contract = operated(view)?;
    if let Some(round) = books.round() {
        known(round.plan(), books.anchor(), contract)?;
    } else if contract.anchor.is_some() {
        return Err(Waiting::Stranger);
    }
    Ok(Step::Plan)
}

/// Objects to contests that are wrong and have no more than `left_s` seconds left to be answered.
fn object<'a>(books: &Books, view: &View, seqno: u32, left_s: u32) -> Result<Option<Step<'a>>, Waiting> {
    let (Some(round), Some(contract)) = (books.round(), &view.contract) else {
        return Ok(None);
    };
    let mut wrong = unanswered(books, view);
    wrong.retain(|contest| contest.deadline.saturating_sub(view.head.time) <= left_s);
    wrong.truncate(BATCH_MAX);
    if wrong.is_empty() {
        return Ok(None);
    }
    operated(view)?;
    known(round.plan(), books.anchor(), contract)?;
    if seqno < round.seqno_min() {
        return Err(Waiting::Lagging);
    }
    affords(view, objections_cost(wrong.len()))?;
    Ok(Some(Step::SignObjections(seqno, wrong)))
}

/// Contests that ask for more than a provider earned less what reached it, to which nobody has objected, and still can. What
/// a round pays only makes more of them wrong.
pub(super) fn unanswered(books: &Books, view: &View) -> Vec<Objection> {
    let (Some(round), Some(contract)) = (books.round(), &view.contract) else {
        return Vec::new();
    };
    if contract.contests.is_empty() {
        return Vec::new();
    }
    let before = books.before();
    let rows = round.plan().rows.iter();
    let wrong = rows.filter_map(|row| {
        let contest = contract.contests.get(&ProviderTag::of(&row.provider))?;
        let pushed = before.get(&row.provider).copied().unwrap_or_default().pushed;
        let unpaid = row.earned.minus(pushed).unwrap_or_default();
        let wrong = !contest.objected && contest.total > unpaid && view.head.time <= contest.deadline;
        wrong.then(|| Objection {
            provider: row.provider.clone(),
            deadline: contest.deadline,
        })
    });
    wrong.filter(|contest| !round.objected().contains(contest)).collect()
}

/// More than so many objections can cost the wallet at once.
fn objections_cost(count: usize) -> u64 {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let each = ORDER_VALUE.get().saturating_add(PAYOUT_FEE_MAX);
    count.saturating_mul(each).saturating_add(FEE_MAX.get())
}

fn go_on<'a>(books: &'a Books, round: &'a Round, view: &View, seqno: u32) -> Result<Step<'a>, Waiting> {
    match round.outgoing().turn(seqno, &view.head) {
        Turn::Lagging => return Err(Waiting::Lagging),
        Turn::Reconcile => return Ok(Step::Reconcile),
        Turn::Send(message) => return Ok(Step::Send(message)),
        Turn::Sign(_) => {}
    }
    // Objections that were signed and not taken are signed anew, before anything else is.
    if let Some(Order::Object(objections)) = round.open().last().map(|last| &last.order) {
        affords(view, objections_cost(objections.contests.len()))?;
        return Ok(Step::SignObjections(seqno, objections.contests.clone()));
    }
    // A round that stands still must not let a contest be won by silence. What keeps it from this keeps it from its next
    // message, too, and is told there.
    if let Ok(Some(step)) = object(books, view, seqno, URGENT_S) {
        return Ok(step);
    }
    match round.stage() {
        Stage::Planned => sign_anchor(round.plan(), view, seqno),
        Stage::Landed => {
            known(round.plan(), Some(round.plan().anchor), contract_of(view)?)?;
            Ok(Step::NoteAnchor)
        }
        Stage::Paying(_) => {
            known(round.plan(), Some(round.plan().anchor), contract_of(view)?)?;
            let batch = round.due().take(BATCH_MAX);
            let costs = batch.fold(FEE_MAX.get(), |sum, (_, amount)| {
                sum.saturating_add(amount.get()).saturating_add(PAYOUT_FEE_MAX)
            });
            affords(view, costs)?;
            Ok(Step::SignPayouts(seqno))
        }
        Stage::Refused => Err(Waiting::NothingDue),
    }
}

fn sign_anchor<'a>(plan: &Plan, view: &View, seqno: u32) -> Result<Step<'a>, Waiting> {
    let contract = operated(view)?;
    // An anchor of these books that the endpoint does not know yet is no reason to sign another.
    if contract.anchor == Some(plan.anchor) {
        return Err(Waiting::UnderWay);
    }
    if contract.anchor != plan.after || contract.address != plan.contract {
        return Err(Waiting::Stranger);
    }
    affords(view, round_costs(plan))?;
    Ok(Step::SignAnchor(seqno))
}

/// Whether the contract's last anchor is the one that these books put there.
fn known(plan: &Plan, ours: Option<Anchor>, contract: &ContractState) -> Result<(), Waiting> {
    if contract.address != plan.contract {
        Err(Waiting::Stranger)
    } else if contract.anchor == ours {
        Ok(())
    } else if contract.anchor == plan.after {
        Err(Waiting::Lagging)
    } else {
        Err(Waiting::Stranger)
    }
}

fn contract_of(view: &View) -> Result<&ContractState, Waiting> {
    view.contract.as_ref().ok_or(Waiting::NoContract(view.contract_at))
}

/// The contract, if this wallet is its operator.
fn operated(view: &View) -> Result<&ContractState, Waiting> {
    let contract = contract_of(view)?;
    if contract.operator == view.wallet.address {
        Ok(contract)
    } else {
        Err(Waiting::NotOperator(contract.operator))
    }
}

/// More than a whole round can cost the wallet.
pub(super) fn round_costs(plan: &Plan) -> u64 {
    let (count, sum) = plan.sum();
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let batch = u64::try_from(BATCH_MAX).unwrap_or(u64::MAX);
    let messages = count.div_ceil(batch).saturating_add(1);
    let fees = messages.saturating_mul(FEE_MAX.get());
    let fees = fees.saturating_add(count.saturating_mul(PAYOUT_FEE_MAX));
    sum.get().saturating_add(fees).saturating_add(ANCHOR_VALUE.get())
}

/// Whether an epoch can follow the contract's last anchor.
pub(super) fn follows(epoch: u64, contract: &ContractState) -> bool {
    contract.anchor.is_none_or(|last| {
        let step = epoch.checked_sub(last.epoch);
        step.is_some_and(|step| (1..=EPOCH_STEP_MAX).contains(&step))
    })
}

pub(super) fn affords(view: &View, costs: u64) -> Result<(), Waiting> {
    let wallet = view.wallet.address;
    let short = lacks(&view.wallet, costs).map(|(has, needs)| Waiting::Short { wallet, has, needs });
    short.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests;
