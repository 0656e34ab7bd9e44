//! The chain: that every epoch goes on where the one before it ended.

use std::collections::BTreeMap;

use super::{Fault, TrustedKeys, Wrong, fault, same, verify_epoch, verify_seal};
use crate::epoch::{Earned, Epoch, Seal, Tip, earnings, next_number, totals};
use crate::hash::Hash;

/// The chain of epochs, followed from one to the next.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    keys: TrustedKeys,
    tip: Option<Tip>,
}

impl Chain {
    /// A chain that begins with epoch 0, signed by these keys.
    #[must_use]
    pub const fn new(keys: TrustedKeys) -> Self {
        Self { keys, tip: None }
    }

    /// A chain that goes on from an epoch that was verified before.
    #[must_use]
    pub const fn after(keys: TrustedKeys, tip: Tip) -> Self {
        Self { keys, tip: Some(tip) }
    }

    /// The last epoch so far.
    #[must_use]
    pub const fn tip(&self) -> Option<&Tip> {
        self.tip.as_ref()
    }

    /// The number of the epoch that comes next.
    #[must_use]
    pub fn next_number(&self) -> Option<u64> {
        next_number(self.tip.as_ref())
    }

    /// Verifies the next epoch's object, by itself and as the one that follows.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong; the chain stands where it stood.
    pub fn follow(&mut self, object: &[u8]) -> Result<Epoch, Fault> {
        let epoch = verify_epoch(object, &self.keys)?;
        let before = self.tip.as_ref();
        verify_link(before, &epoch.seal)?;
        let at = |wrong| fault(format!("epoch {}", epoch.seal.header.number), wrong);
        let derived = earnings(before, &epoch.records).map_err(|error| at(Wrong::Form(error.to_string())))?;
        if derived != epoch.earnings {
            let differs = |derived: &&Earned| !epoch.earnings.contains(derived);
            let (stated, derived) = match derived.iter().find(differs) {
                Some(one) => {
                    let stated = epoch.earnings.iter().find(|stated| stated.provider == one.provider);
                    (stated.map_or("nothing".to_owned(), shown), shown(one))
                }
                None => (
                    format!("{} providers", epoch.earnings.len()),
                    format!("{}", derived.len()),
                ),
            };
            let what = "what a provider has earned";
            return Err(at(Wrong::Figure { what, stated, derived }));
        }
        let tip = epoch.tip().map_err(|error| at(Wrong::Form(error.to_string())))?;
        self.tip = Some(tip);
        Ok(epoch)
    }
}

/// Whether a seal follows the epoch before it: its number, the hash it names, its beginning, its totals.
fn verify_link(before: Option<&Tip>, seal: &Seal) -> Result<(), Fault> {
    let header = &seal.header;
    let at = |wrong| fault(format!("the seal of epoch {}", header.number), wrong);
    same("the number", Some(header.number), next_number(before)).map_err(at)?;
    same(
        "the hash of the epoch before",
        header.previous,
        before.map(|tip| tip.hash),
    )
    .map_err(at)?;
    if let Some(before) = before {
        same("the beginning", header.from_ms, before.seal.header.to_ms).map_err(at)?;
    }
    same("the totals", Ok(header.totals), totals(before, &header.sums)).map_err(at)
}

/// Verifies that seals follow one another from epoch 0, without their objects: enough to know that an epoch is part of
/// the one chain.
///
/// # Errors
/// [`Fault`] says what is wrong.
pub fn verify_seals<'a>(seals: impl IntoIterator<Item = &'a Seal>, keys: &TrustedKeys) -> Result<Option<Hash>, Fault> {
    let mut tip: Option<Tip> = None;
    for seal in seals {
        verify_seal(seal, keys)?;
        verify_link(tip.as_ref(), seal)?;
        tip = Some(bare_tip(seal)?);
    }
    Ok(tip.map(|tip| tip.hash))
}

/// Seals followed from one of them to later ones: by hash, number and totals each names the one before. So a hash that is
/// witnessed for the last one is a witness of the first.
#[derive(Clone, Debug)]
pub struct SealPath {
    keys: TrustedKeys,
    tip: Tip,
}

impl SealPath {
    /// A path that begins with this seal.
    ///
    /// # Errors
    /// [`Fault`] if it is worth nothing by itself.
    pub fn begin(seal: &Seal, keys: TrustedKeys) -> Result<Self, Fault> {
        verify_seal(seal, &keys)?;
        let tip = bare_tip(seal)?;
        Ok(Self { keys, tip })
    }

    /// Goes on to the next seal.
    ///
    /// # Errors
    /// [`Fault`] says what is wrong; the path ends where it ended.
    pub fn follow(&mut self, seal: &Seal) -> Result<(), Fault> {
        verify_seal(seal, &self.keys)?;
        verify_link(Some(&self.tip), seal)?;
        self.tip = bare_tip(seal)?;
        Ok(())
    }

    /// The number of the epoch that it has come to.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.tip.seal.header.number
    }

    /// The hash of the seal that it has come to.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.tip.hash
    }
}

/// A tip that stands for its seal alone.
fn bare_tip(seal: &Seal) -> Result<Tip, Fault> {
    let hash = seal.hash();
    Ok(Tip {
        seal: seal.clone(),
        hash: hash.map_err(|error| fault("the chain", Wrong::Form(error.to_string())))?,
        earnings: BTreeMap::new(),
    })
}

fn shown(earned: &Earned) -> String {
    format!("{} for {}", earned.earned, earned.provider)
}
