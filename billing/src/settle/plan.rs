//! The plan of a round: who is owed how much after an epoch, who is paid of it, and what is anchored. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::contract::{Anchor, CLAIM_VALUE, ContractState};
use super::leaf::{Leaf, Payables, ProviderTag};
use super::payees::Payees;
use crate::chain::{Address, CellError, Payment};
use crate::epoch::Earned;
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::money::{Nano, Overflow};

/// What one round does: the roots that are anchored, and under them every provider with what it is to be paid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The wallet that pays.
    pub wallet: Address,
    /// The contract that is told.
    pub contract: Address,
    /// What it is told.
    pub anchor: Anchor,
    /// Its last anchor before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Anchor>,
    /// What the anchor says is left unpaid.
    pub owed: Nano,
    /// Less than this is not pushed but waits.
    pub threshold: Nano,
    /// The wallet's next seqno is not less.
    pub seqno_min: u32,
    /// All providers, ordered by id: the leaves under the root, in this order.
    pub rows: Vec<Row>,
}

/// One provider in a plan. Amounts are sums since epoch 0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Who.
    pub provider: ProviderId,
    /// The account that is paid; nobody, as long as the provider has named none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Address>,
    /// What it earned.
    pub earned: Nano,
    /// What reached it from the wallet before this round.
    pub pushed: Nano,
    /// What the contract paid it, when the round was planned.
    pub claimed: Nano,
    /// What this round is to push, at most.
    pub planned: Nano,
    /// The last payment that came back: from which account and when, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<Returned>,
    /// Whether it contested what it was paid, when the round was planned: nothing is pushed until that is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contests: bool,
}

/// A payment that its payee sent back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Returned {
    /// Who did.
    pub payee: Address,
    /// When, in Unix seconds.
    pub time: u32,
}

/// What is known of a provider from the rounds before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Before {
    /// What reached it from the wallet.
    pub pushed: Nano,
    /// The last payment that came back.
    pub returned: Option<Returned>,
}

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The last epoch.
    pub epoch: u64,
    /// The hash of its seal.
    pub seal: Hash,
    /// What every provider has earned by then, ordered by provider.
    pub earnings: &'a [Earned],
    /// What the rounds before did.
    pub before: &'a BTreeMap<ProviderId, Before>,
    /// Who is paid where.
    pub payees: &'a Payees,
    /// The wallet that is to pay.
    pub wallet: Address,
    /// How the contract stands.
    pub contract: &'a ContractState,
    /// Less than this is not pushed.
    pub threshold: Nano,
    /// The wallet's next seqno is not less.
    pub seqno_min: u32,
    /// An account that sent a payment back is not tried again for so long, in seconds.
    pub returned_rest_s: u32,
    /// The chain's time, in Unix seconds.
    pub now: u32,
}

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// More money than can be counted.
    #[error("the plan: {0}")]
    Overflow(#[from] Overflow),
    /// Somebody was paid who earned nothing: the books are of other epochs than these.
    #[error("{0} was paid before, and is not among those that have earned: the books belong to other epochs")]
    Unknown(ProviderId),
}

impl Plan {
    /// Plans a round. Equal arguments give an equal plan.
    ///
    /// # Errors
    /// [`PlanError`]
    pub fn new(basis: &Basis<'_>) -> Result<Self, PlanError> {
        let rows: Vec<Row> = basis.earnings.iter().map(|earned| basis.row(earned)).collect();
        let known = |provider: &ProviderId| rows.binary_search_by(|row| row.provider.cmp(provider)).is_ok();
        if let Some(unknown) = basis.before.keys().find(|provider| !known(provider)) {
            return Err(PlanError::Unknown(unknown.clone()));
        }
        let mut plan = Self {
            wallet: basis.wallet,
            contract: basis.contract.address,
            anchor: Anchor {
                epoch: basis.epoch,
                earnings_root: Hash::of(&[]),
                receipts_root: basis.seal,
            },
            after: basis.contract.anchor,
            owed: Nano::sum(rows.iter().map(Row::left))?,
            threshold: basis.threshold,
            seqno_min: basis.seqno_min,
            rows,
        };
        // All sums that rounds add up are below this one.
        Nano::sum(plan.rows.iter().map(|row| row.earned))?;
        for row in &plan.rows {
            row.leaf_pushed()?;
        }
        plan.anchor.earnings_root = plan.payables().root();
        Ok(plan)
    }

    /// The tree that is anchored: by it, and this plan, every provider can prove what it is owed.
    #[must_use]
    pub fn payables(&self) -> Payables {
        Payables::new(self.rows.iter().map(Row::leaf))
    }

    /// A provider's row and its place among the leaves.
    #[must_use]
    pub fn find(&self, provider: &ProviderId) -> Option<(usize, &Row)> {
        let place = self.rows.binary_search_by(|row| row.provider.cmp(provider)).ok()?;
        Some((place, self.rows.get(place)?))
    }

    /// The message by which anybody lets the contract pay a provider what this plan's leaf leaves unpaid. It counts as long as
    /// the plan's anchor is the contract's last. A payout that is `bounceable` is due again if the payee refuses it; never
    /// for an account without a contract. `None` if the provider is not in the plan.
    ///
    /// # Errors
    /// None that a plan could cause.
    pub fn claim(&self, provider: &ProviderId, bounceable: bool) -> Result<Option<Payment>, CellError> {
        let proof = self.find(provider).and_then(|(place, _)| self.payables().proof(place));
        let Some(proof) = proof else { return Ok(None) };
        Ok(Some(Payment {
            bounce: true,
            body: proof.claim(bounceable, 0)?,
            ..Payment::new(self.contract, CLAIM_VALUE)
        }))
    }

    /// How many are to be paid, and how much in all.
    #[must_use]
    pub fn sum(&self) -> (usize, Nano) {
        let paid = self.rows.iter().filter(|row| !row.planned.is_zero());
        let (count, nano) = paid.fold((0_usize, 0_u64), |(count, nano), row| {
            (count.saturating_add(1), nano.saturating_add(row.planned.get()))
        });
        (count, Nano::saturating(nano))
    }
}

impl Row {
    /// What the leaf of this row says.
    #[must_use]
    pub fn leaf(&self) -> Leaf {
        Leaf {
            payee: self.payee,
            provider: ProviderTag::of(&self.provider),
            earned: self.earned,
            pushed: self.leaf_pushed().unwrap_or(Nano::MAX),
        }
    }

    /// What is pushed of this row when the contract has paid `claimed` by now: never more than was planned, since what the
    /// leaf leaves open can be claimed.
    #[must_use]
    pub fn due(&self, claimed: Nano) -> Nano {
        unpaid(self.earned, self.pushed, claimed).min(self.planned)
    }

    fn leaf_pushed(&self) -> Result<Nano, Overflow> {
        self.pushed.plus(self.planned)
    }

    /// What is left when the plan is carried out.
    fn left(&self) -> Nano {
        let due = unpaid(self.earned, self.pushed, self.claimed);
        due.minus(self.planned).unwrap_or_default()
    }
}

impl Basis<'_> {
    fn row(&self, earned: &Earned) -> Row {
        let provider = &earned.provider;
        let before = self.before.get(provider).copied().unwrap_or_default();
        let tag = ProviderTag::of(provider);
        let claimed = self.contract.claimed.get(&tag);
        let claimed = claimed.copied().unwrap_or_default();
        let payee = self.payees.get(provider).copied();
        let due = unpaid(earned.earned, before.pushed, claimed);
        let rests = |payee: Address| {
            before.returned.is_some_and(|returned| {
                returned.payee == payee && self.now.saturating_sub(returned.time) < self.returned_rest_s
            })
        };
        // What it contests the contract may pay, and does not learn what is pushed meanwhile.
        let contests = self.contract.contests.contains_key(&tag);
        let pays = payee.is_some_and(|payee| !rests(payee)) && due >= self.threshold && !contests;
        Row {
            provider: provider.clone(),
            payee,
            earned: earned.earned,
            pushed: before.pushed,
            claimed,
            planned: if pays { due } else { Nano::ZERO },
            returned: before.returned,
            contests,
        }
    }
}

/// What was earned and neither pushed nor claimed. Nothing, where more was paid than earned.
pub(super) fn unpaid(earned: Nano, pushed: Nano, claimed: Nano) -> Nano {
    let after_pushed = earned.minus(pushed).unwrap_or_default();
    after_pushed.minus(claimed).unwrap_or_default()
}

impl fmt::Display for Plan {
    /// A table, for people: those who are paid first, then who waits and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, sum) = self.sum();
        writeln!(
            f,
            "epoch {}: {count} of {} providers are paid {sum}",
            self.anchor.epoch,
            self.rows.len()
        )?;
        writeln!(f, "anchor: earnings {}", self.anchor.earnings_root)?;
        writeln!(f, "        receipts {}", self.anchor.receipts_root)?;
        writeln!(f, "        owed     {}", self.owed)?;
        writeln!(
            f,
            "{:<64} {:>18} {:>18} {:>18} {:>18}  payee",
            "provider", "earned", "pushed", "claimed", "now"
        )?;
        let (paid, waiting): (Vec<_>, Vec<_>) = self.rows.iter().partition(|row| !row.planned.is_zero());
        for row in paid.into_iter().chain(waiting) {
            let payee = row.payee.map_or("none named yet".to_owned(), |payee| payee.to_string());
            let Row {
                provider,
                earned,
                pushed,
                claimed,
                planned,
                ..
            } = row;
            writeln!(
                f,
                "{:<64} {earned:>18} {pushed:>18} {claimed:>18} {planned:>18}  {payee}",
                provider.as_str()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Coins, Position};

    fn nano(nano: u64) -> Nano {
        Nano::saturating(nano)
    }

    fn provider(name: &str) -> ProviderId {
        ProviderId::parse(name).expect("an id")
    }

    fn contract(claimed: &[(&str, u64)]) -> ContractState {
        let claimed = claimed
            .iter()
            .map(|(name, paid)| (ProviderTag::of(&provider(name)), nano(*paid)));
        ContractState {
            address: Address::basechain([7; 32]),
            balance: Coins::ZERO,
            operator: Address::basechain([8; 32]),
            owed: Nano::ZERO,
            anchors: 0,
            anchor: None,
            chain: Hash::from_bytes([0; 32]),
            claimed: claimed.collect(),
            contests: BTreeMap::new(),
            last: Position::START,
        }
    }

    /// Plans after these earnings: name, earned, pushed before, claimed.
    fn plan(providers: &[(&str, u64, u64, u64)], returned: Option<Returned>) -> Result<Plan, PlanError> {
        let earnings: Vec<_> = providers
            .iter()
            .map(|(name, earned, ..)| Earned {
                provider: provider(name),
                earned: nano(*earned),
            })
            .collect();
        let before = providers.iter().map(|(name, _, pushed, _)| {
            let pushed = nano(*pushed);
            (provider(name), Before { pushed, returned })
        });
        let named = providers.iter().filter(|(name, ..)| !name.starts_with("nameless"));
        let payees = named.map(|(name, ..)| {
            (
                provider(name),
                Address::basechain(*Hash::of(name.as_bytes()).as_bytes()),
            )
        });
        let claimed: Vec<_> = providers
            .iter()
            .map(|(name, _, _, claimed)| (*name, *claimed))
            .collect();
        Plan::new(&Basis {
            epoch: 5,
            seal: Hash::of(b"seal"),
            earnings: &earnings,
            before: &before.collect(),
            payees: &payees.collect(),
            wallet: Address::basechain([8; 32]),
            contract: &contract(&claimed),
            threshold: nano(100),
            seqno_min: 0,
            returned_rest_s: 60,
            now: 1_000,
        })
    }

    fn planned(plan: &Plan) -> Vec<u64> {
        plan.rows.iter().map(|row| row.planned.get()).collect()
    }

    #[test]
    fn what_is_owed_is_planned_from_the_threshold_on() {
        let plan = plan(
            &[
                ("a", 100, 0, 0),
                ("b", 99, 0, 0),
                ("c", 500, 300, 50),
                ("d", 500, 300, 150),
                ("e", 500, 300, 400),
                ("nameless", 1_000, 0, 0),
            ],
            None,
        )
        .expect("a plan");
        assert_eq!(planned(&plan), [100, 0, 150, 0, 0, 0]);
        // 99 below the threshold, 50 of d, 1,000 of the nameless one; e has more than it earned.
        assert_eq!(plan.owed, nano(99 + 50 + 1_000));
        assert_eq!(plan.sum(), (2, nano(250)));
        assert_eq!(plan.rows[2].leaf().pushed, nano(450));
        assert_eq!(plan.anchor.earnings_root, plan.payables().root());
    }

    #[test]
    fn what_was_claimed_meanwhile_is_not_pushed_and_what_came_back_to_the_contract_is_not_either() {
        let plan = plan(&[("c", 500, 300, 50)], None).expect("a plan");
        let due = |claimed| plan.rows[0].due(nano(claimed)).get();
        assert_eq!([due(50), due(60), due(200), due(300), due(0)], [150, 140, 0, 0, 150]);
    }

    #[test]
    fn an_account_that_sent_money_back_rests() {
        let payee = Address::basechain(*Hash::of(b"a").as_bytes());
        let returned = |time, payee| Some(Returned { payee, time });
        let plans = |returned| planned(&plan(&[("a", 100, 0, 0)], returned).expect("a plan"));
        assert_eq!(plans(returned(941, payee)), [0]);
        assert_eq!(plans(returned(940, payee)), [100]);
        assert_eq!(plans(returned(1_000, Address::basechain([1; 32]))), [100]);
    }

    #[test]
    fn books_of_other_epochs_are_refused() {
        let before: BTreeMap<_, _> = [(provider("x"), Before::default())].into();
        let contract = contract(&[]);
        let refused = Plan::new(&Basis {
            epoch: 5,
            seal: Hash::of(b"seal"),
            earnings: &[],
            before: &before,
            payees: &Payees::default(),
            wallet: Address::basechain([8; 32]),
            contract: &contract,
            threshold: nano(1),
            seqno_min: 0,
            returned_rest_s: 0,
            now: 0,
        });
        assert_eq!(refused, Err(PlanError::Unknown(provider("x"))));
    }
}
