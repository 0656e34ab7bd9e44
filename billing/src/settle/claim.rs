//! What a provider needs to be paid without the operator: its leaf and the way to the root that the contract holds. It takes
//! some hundred bytes, is public, and is good until the next anchor.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::{Deserialize, Serialize};

use super::contract::{Anchor, CLAIM_VALUE, ContractState};
use super::leaf::{Leaf, LeafProof, Payables, ProviderTag};
use super::plan::{Plan, unpaid};
use crate::chain::{Address, CellError, Network, Payment, write_cell};
use crate::hash::Hash;
use crate::id::ProviderId;
use crate::merkle::{leaf_hash, root_from_path};
use crate::money::Nano;

/// Most levels of a path that the contract takes.
const DEPTH_MAX: usize = 32;

/// A provider's leaf under an anchor, with its proof. Amounts are sums since epoch 0.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenLeaf {
    /// The form of this proof: [`ProvenLeaf::VERSION`].
    pub version: u32,
    /// The contract that was told the root.
    pub contract: Address,
    /// The anchor's epoch.
    pub epoch: u64,
    /// Whose leaf.
    pub provider: ProviderId,
    /// Who is paid; nobody, if the provider had named no address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payee: Option<Address>,
    /// What the provider earned.
    pub earned: Nano,
    /// What the operator says it pushed.
    pub pushed: Nano,
    /// The leaf's place, from 0.
    pub index: u64,
    /// How many leaves there are.
    pub leaves: u64,
    /// Its siblings on the way to the root, from the leaf up.
    pub path: Vec<Hash>,
}

/// Why a proof is of no use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadLeaf {
    /// Another form.
    #[error("the proof is of version {0}, and this program reads version {version}", version = ProvenLeaf::VERSION)]
    Version(u32),
    /// Path and places that no tree has.
    #[error("a path of {steps} steps from place {index} fits no tree of {leaves} leaves")]
    Path {
        /// Steps of the path.
        steps: usize,
        /// The leaf's place.
        index: u64,
        /// How many leaves there are said to be.
        leaves: u64,
    },
    /// For another contract.
    #[error("the proof is for the contract {0}")]
    Contract(Address),
    /// The contract has no anchor.
    #[error("nothing is anchored in the contract yet")]
    NoAnchor,
    /// Under another anchor than the last.
    #[error(
        "the proof is of epoch {proven}, and the contract's last anchor is of epoch {anchored}: only the last one pays. Get \
         the newer proof"
    )]
    Outdated {
        /// The proof's epoch.
        proven: u64,
        /// The contract's.
        anchored: u64,
    },
    /// It does not lead to the root.
    #[error(
        "leaf and path lead to the root {derived}, and anchored is {anchored}: this is not what the operator anchored"
    )]
    Root {
        /// What follows from the proof.
        derived: Hash,
        /// What the contract holds.
        anchored: Hash,
    },
    /// The provider named no address.
    #[error("the leaf names nobody to be paid: the provider had named no address when it was planned")]
    Nobody,
}

impl ProvenLeaf {
    /// The form that this program writes.
    pub const VERSION: u32 = 1;

    /// A provider's leaf in a plan. `None` if it is not in it.
    #[must_use]
    pub fn of(plan: &Plan, provider: &ProviderId) -> Option<Self> {
        Self::under(plan, &plan.payables(), provider)
    }

    /// The same where the plan's tree is at hand.
    #[must_use]
    pub fn under(plan: &Plan, payables: &Payables, provider: &ProviderId) -> Option<Self> {
        let (place, row) = plan.find(provider)?;
        let leaf = row.leaf();
        Some(Self {
            version: Self::VERSION,
            contract: plan.contract,
            epoch: plan.anchor.epoch,
            provider: provider.clone(),
            payee: leaf.payee,
            earned: leaf.earned,
            pushed: leaf.pushed,
            index: u64::try_from(place).ok()?,
            leaves: u64::try_from(plan.rows.len()).ok()?,
            path: payables.path(place)?,
        })
    }

    fn leaf(&self) -> Leaf {
        Leaf {
            payee: self.payee,
            provider: ProviderTag::of(&self.provider),
            earned: self.earned,
            pushed: self.pushed,
        }
    }

    /// The root that leaf and path lead to.
    ///
    /// # Errors
    /// [`BadLeaf::Version`], [`BadLeaf::Path`]
    pub fn root(&self) -> Result<Hash, BadLeaf> {
        if self.version != Self::VERSION {
            return Err(BadLeaf::Version(self.version));
        }
        let path = BadLeaf::Path {
            steps: self.path.len(),
            index: self.index,
            leaves: self.leaves,
        };
        if self.path.len() > DEPTH_MAX {
            return Err(path);
        }
        let leaf = leaf_hash(&self.leaf().bytes());
        root_from_path(leaf, self.index, self.leaves, &self.path).ok_or(path)
    }

    /// What the contract would pay by this proof now, whoever asks it to. Its money is not looked at.
    ///
    /// # Errors
    /// [`BadLeaf`], if it would refuse.
    pub fn due(&self, contract: &ContractState) -> Result<Nano, BadLeaf> {
        self.stands_under(contract, contract.anchor.as_ref())?;
        self.payee.ok_or(BadLeaf::Nobody)?;
        Ok(unpaid(self.earned, self.pushed, self.claimed(contract)))
    }

    /// Whether it is a leaf under an anchor of this contract.
    ///
    /// # Errors
    /// [`BadLeaf`] says why not.
    pub fn stands_under(&self, contract: &ContractState, anchor: Option<&Anchor>) -> Result<(), BadLeaf> {
        let derived = self.root()?;
        if self.contract != contract.address {
            return Err(BadLeaf::Contract(self.contract));
        }
        let anchor = anchor.ok_or(BadLeaf::NoAnchor)?;
        if anchor.epoch != self.epoch {
            return Err(BadLeaf::Outdated {
                proven: self.epoch,
                anchored: anchor.epoch,
            });
        }
        let anchored = anchor.earnings_root;
        if anchored != derived {
            return Err(BadLeaf::Root { derived, anchored });
        }
        Ok(())
    }

    /// What the contract has paid to the provider.
    #[must_use]
    pub fn claimed(&self, contract: &ContractState) -> Nano {
        let claimed = contract.claimed.get(&ProviderTag::of(&self.provider));
        claimed.copied().unwrap_or_default()
    }

    /// The message that claims. A payout that is `bounceable` is due again if the payee refuses it; never for an account
    /// without a contract.
    ///
    /// # Errors
    /// [`CellError`] for places that no tree has.
    pub fn claim(&self, bounceable: bool) -> Result<Payment, CellError> {
        Ok(Payment {
            bounce: true,
            body: self.proof()?.claim(bounceable, 0)?,
            ..Payment::new(self.contract, CLAIM_VALUE)
        })
    }

    pub(super) fn proof(&self) -> Result<LeafProof, CellError> {
        let place = |number: u64| usize::try_from(number).map_err(|_| CellError::IntOverflow);
        let (index, leaves) = (place(self.index)?, place(self.leaves)?);
        Ok(LeafProof::of(&self.leaf(), index, leaves, self.path.clone()))
    }
}

/// A link that a wallet opens as this message, filled in: `ton://transfer/ADDRESS?amount=NANO&bin=BODY`, the body as a bag of
/// cells in base64 for URLs.
#[must_use]
pub fn transfer_link(payment: &Payment, network: Network) -> String {
    let body = URL_SAFE.encode(write_cell(payment.body.cell().as_ref()));
    let (to, amount) = (payment.to.friendly(payment.bounce, network), payment.amount.get());
    format!("ton://transfer/{to}?amount={amount}&bin={body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settle::Row;

    fn nano(nano: u64) -> Nano {
        Nano::saturating(nano)
    }

    fn name(n: u8) -> ProviderId {
        ProviderId::parse(&format!("p{n:03}")).expect("an id")
    }

    fn plan(providers: u8) -> Plan {
        let row = |n| Row {
            provider: name(n),
            payee: Some(Address::basechain([n; 32])),
            earned: nano(100),
            pushed: nano(20),
            claimed: Nano::ZERO,
            planned: nano(30),
            returned: None,
            contests: false,
        };
        let mut plan = Plan {
            wallet: Address::basechain([8; 32]),
            contract: Address::basechain([9; 32]),
            anchor: Anchor {
                epoch: 7,
                earnings_root: Hash::of(b""),
                receipts_root: Hash::of(b"seal"),
            },
            after: None,
            owed: Nano::ZERO,
            threshold: Nano::ZERO,
            seqno_min: 0,
            rows: (0..providers).map(row).collect(),
        };
        plan.anchor.earnings_root = plan.payables().root();
        plan
    }

    fn contract(plan: &Plan) -> ContractState {
        ContractState {
            address: plan.contract,
            balance: nano(1).into(),
            operator: plan.wallet,
            owed: Nano::ZERO,
            anchors: 1,
            anchor: Some(plan.anchor),
            chain: Hash::of(b""),
            claimed: [(ProviderTag::of(&name(0)), nano(15))].into(),
            contests: std::collections::BTreeMap::new(),
            last: crate::chain::Position::START,
        }
    }

    #[test]
    fn every_leaf_of_every_tree_claims_as_its_plan_does() {
        for providers in [1, 2, 3, 5, 8, 13] {
            let plan = plan(providers);
            let contract = contract(&plan);
            for n in 0..providers {
                let leaf = ProvenLeaf::of(&plan, &name(n)).expect("a leaf");
                let text = serde_json::to_string(&leaf).expect("JSON");
                assert_eq!(serde_json::from_str::<ProvenLeaf>(&text).ok().as_ref(), Some(&leaf));
                assert_eq!(leaf.due(&contract), Ok(nano(if n == 0 { 35 } else { 50 })));
                for bounceable in [false, true] {
                    let wanted = plan.claim(&name(n), bounceable).expect("a claim");
                    assert_eq!(leaf.claim(bounceable).ok(), wanted);
                }
            }
        }
        assert_eq!(ProvenLeaf::of(&plan(3), &name(9)), None);
    }

    #[test]
    fn a_wallet_can_be_told_by_a_link() {
        let leaf = ProvenLeaf::of(&plan(3), &name(1)).expect("a leaf");
        let payment = leaf.claim(true).expect("a claim");
        let link = transfer_link(&payment, Network::Mainnet);
        let start = format!(
            "ton://transfer/{}?amount=50000000&bin=",
            plan(3).contract.friendly(true, Network::Mainnet)
        );
        let body = URL_SAFE
            .decode(link.strip_prefix(&start).expect("its start"))
            .expect("base64");
        assert_eq!(crate::chain::read_cell(&body).as_ref(), Ok(payment.body.cell()));
    }

    #[test]
    fn what_the_contract_would_refuse_is_told_before() {
        let plan = plan(5);
        let good = ProvenLeaf::of(&plan, &name(3)).expect("a leaf");
        let check = |spoil: fn(&mut ProvenLeaf), wanted: fn(&BadLeaf) -> bool| {
            let mut leaf = good.clone();
            spoil(&mut leaf);
            let bad = leaf.due(&contract(&plan)).expect_err("spoilt");
            assert!(wanted(&bad), "{bad}");
        };
        check(|leaf| leaf.version = 2, |bad| matches!(bad, BadLeaf::Version(2)));
        check(
            |leaf| leaf.earned = nano(101),
            |bad| matches!(bad, BadLeaf::Root { .. }),
        );
        check(|leaf| leaf.pushed = nano(0), |bad| matches!(bad, BadLeaf::Root { .. }));
        check(
            |leaf| leaf.provider = name(2),
            |bad| matches!(bad, BadLeaf::Root { .. }),
        );
        check(|leaf| leaf.payee = None, |bad| matches!(bad, BadLeaf::Root { .. }));
        check(|leaf| leaf.index = 2, |bad| matches!(bad, BadLeaf::Root { .. }));
        check(|leaf| leaf.index = 5, |bad| matches!(bad, BadLeaf::Path { .. }));
        check(|leaf| leaf.path.truncate(1), |bad| matches!(bad, BadLeaf::Path { .. }));
        let deep = |leaf: &mut ProvenLeaf| leaf.path = vec![Hash::of(b""); 33];
        check(deep, |bad| matches!(bad, BadLeaf::Path { .. }));
        check(|leaf| leaf.epoch = 6, |bad| matches!(bad, BadLeaf::Outdated { .. }));
        let elsewhere = |leaf: &mut ProvenLeaf| leaf.contract = Address::basechain([1; 32]);
        check(elsewhere, |bad| matches!(bad, BadLeaf::Contract(_)));
        let bare = ContractState {
            anchor: None,
            ..contract(&plan)
        };
        assert_eq!(good.due(&bare), Err(BadLeaf::NoAnchor));
    }
}
