//! From a receipt's epoch to a root on chain: the seals between, each naming the one before, and the contract that holds the
//! hash of the last.

use clap::Args;
use filature_billing::chain::Address;
use filature_billing::{Hash, Receipt, Seal, SealPath, TrustedKeys};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::onchain::{OnChain, Reached};
use crate::cli::output;
use crate::cli::published::{From, Published};

/// How far a receipt is followed.
#[derive(Args)]
pub(super) struct Way {
    #[command(flatten)]
    on: OnChain,
    #[command(flatten)]
    from: From,
    /// Ask nobody, even where the settings name a contract.
    #[arg(long, conflicts_with_all = ["contract", "endpoint", "gateway"])]
    offline: bool,
}

/// The anchor that a receipt stands under.
#[derive(Serialize)]
pub(super) struct Witness {
    contract: Address,
    /// The anchor's epoch: the receipt's, or a later one.
    epoch: u64,
    /// When it was anchored, in Unix seconds.
    time: u32,
    /// The hash of the anchored epoch's seal.
    seal: Hash,
    /// Seals that were followed from the receipt's epoch to the anchored one.
    seals: u64,
}

/// How far it went.
pub(super) enum Followed {
    /// Nobody asked for it.
    Offline,
    /// To the root on chain, by these steps.
    Anchored(Witness, Vec<String>),
    /// Up to a link that is missing.
    Missing(String),
    /// To something that contradicts the receipt.
    Wrong(String),
}

impl Way {
    pub(super) async fn follow(&self, receipt: &Receipt, keys: &TrustedKeys) -> Result<Followed, Failure> {
        if self.offline {
            return Ok(Followed::Offline);
        }
        let reached = self.on.reach(self.from.flags())?;
        let Some(contract) = reached.named() else {
            return Ok(Followed::Offline);
        };
        let Some(inclusion) = &receipt.inclusion else {
            let text = "it is in no epoch yet: ask the gateway for it again when the epoch is closed";
            return Ok(Followed::Missing(text.to_owned()));
        };
        let standing = reached.standing(contract).await?;
        let number = inclusion.epoch.header.number;
        let Some(kept) = standing.anchor_over(number) else {
            let last = standing.state.anchor.map_or_else(
                || "nothing is anchored so far".to_owned(),
                |anchor| format!("the last anchor is of epoch {}", anchor.epoch),
            );
            return Ok(Followed::Missing(format!("epoch {number} is not anchored yet: {last}")));
        };
        let published = self.from.open(&reached.config)?;
        let anchored = kept.anchor.epoch;
        let path = match path(&inclusion.epoch, anchored, published.as_ref(), keys).await? {
            Path::Whole(path) => path,
            Path::Missing(why) => return Ok(Followed::Missing(why)),
            Path::Wrong(why) => return Ok(Followed::Wrong(why)),
        };
        if path.hash() != kept.anchor.receipts_root {
            return Ok(Followed::Wrong(format!(
                "the seal of epoch {anchored} has the hash {}, and anchored is {}: this is not the chain of epochs that the \
                 operator anchored",
                path.hash(),
                kept.anchor.receipts_root
            )));
        }
        let witness = Witness {
            contract,
            epoch: anchored,
            time: kept.time,
            seal: path.hash(),
            seals: anchored.saturating_sub(number),
        };
        let steps = witness.steps(&reached, number);
        Ok(Followed::Anchored(witness, steps))
    }
}

impl Witness {
    fn steps(&self, reached: &Reached, number: u64) -> Vec<String> {
        let anchored = self.epoch;
        let mut steps = Vec::new();
        match self.seals {
            0 => {}
            1 => steps.push(format!(
                "the seal of epoch {anchored} names that of epoch {number} as the one before"
            )),
            seals => steps.push(format!(
                "the {seals} seals of epochs {} to {anchored} each name the one before, back to epoch {number}",
                number.saturating_add(1)
            )),
        }
        let at = output::time(u64::from(self.time) * 1000);
        steps.push(format!("the seal of epoch {anchored} has the hash {}", self.seal));
        steps.push(format!(
            "{} has that hash as its anchor of epoch {anchored}, since {at}, and the code of Filature's contract",
            reached.shown(self.contract)
        ));
        steps
    }
}

enum Path {
    Whole(Box<SealPath>),
    Missing(String),
    Wrong(String),
}

/// Follows the seals from the receipt's epoch to the anchored one.
async fn path(first: &Seal, anchored: u64, published: Option<&Published>, keys: &TrustedKeys) -> Result<Path, Failure> {
    let mut path = match SealPath::begin(first, keys.clone()) {
        Ok(path) => path,
        Err(fault) => return Ok(Path::Wrong(fault.to_string())),
    };
    while path.number() < anchored {
        let next = path.number().saturating_add(1);
        let Some(published) = published else {
            let which = if next == anchored {
                String::new()
            } else {
                format!(" to {anchored}")
            };
            return Ok(Path::Missing(format!(
                "epoch {anchored} is anchored, and the seals of epochs {next}{which} lead there: say who has them with \
                 --epochs STORE or --gateway URL"
            )));
        };
        // Whoever has the seals may have spoilt them; that says nothing of the receipt.
        let spoilt = |fault| Path::Missing(format!("the seals in {published} lead to no anchor: {fault}"));
        let seals = match published.seals(next, keys).await? {
            Ok(seals) => seals,
            Err(fault) => return Ok(spoilt(fault)),
        };
        if seals.is_empty() {
            return Ok(Path::Missing(format!(
                "epoch {anchored} is anchored, and the seal of epoch {next}, which leads there, is not in {published}"
            )));
        }
        for seal in seals.iter().take_while(|seal| seal.header.number <= anchored) {
            if let Err(fault) = path.follow(seal) {
                return Ok(spoilt(fault));
            }
        }
        if path.number() < next {
            return Ok(Path::Wrong(format!(
                "{published} answers with other seals than it was asked for"
            )));
        }
    }
    Ok(Path::Whole(Box::new(path)))
}
