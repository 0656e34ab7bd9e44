//! Who is paid where: the address in a provider's signed offers. A change waits, so that a stolen key does not empty the
//! next payout before its owner sees it. What was said so far is in the ledger, a [`PayoutNames`] for each provider.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chain::Address;
use crate::id::ProviderId;
use crate::ledger::{Ledger, LedgerError};

/// How often a change is tried while others change the same.
const TRIES_MAX: usize = 16;

/// The account of every provider that named one.
pub type Payees = BTreeMap<ProviderId, Address>;

/// What one provider's offers said of where it is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PayoutNames {
    /// The sequence number of the last offer that was taken note of.
    sequence: u64,
    /// Where it is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<Address>,
    /// Where it is paid from a later time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<NextName>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct NextName {
    address: Address,
    /// Unix milliseconds.
    from_ms: u64,
}

/// What an offer changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// Nothing: it says the same, or is no newer than one before.
    Nothing,
    /// The provider is paid there from now on: it is the first address it named, or a change was taken back.
    Now(Address),
    /// The provider is paid there from this time on, in Unix milliseconds.
    From(Address, u64),
}

impl PayoutNames {
    /// Takes note of the address in a provider's signed offer with this sequence number. An offer without an address
    /// changes nothing: what was earned is still paid where it was to be.
    pub fn note(&mut self, sequence: u64, address: Option<Address>, now_ms: u64, delay_ms: u64) -> Named {
        self.settle(now_ms);
        let newer = self.sequence < sequence || (self.current.is_none() && self.next.is_none());
        let Some(address) = address.filter(|_| newer) else {
            return Named::Nothing;
        };
        self.sequence = self.sequence.max(sequence);
        match (self.current, self.next) {
            (None, _) => {
                self.current = Some(address);
                Named::Now(address)
            }
            (Some(current), next) if current == address => {
                self.next = None;
                next.map_or(Named::Nothing, |_| Named::Now(address))
            }
            (Some(_), Some(next)) if next.address == address => Named::Nothing,
            (Some(_), _) => {
                let from_ms = now_ms.saturating_add(delay_ms);
                self.next = Some(NextName { address, from_ms });
                Named::From(address, from_ms)
            }
        }
    }

    /// Where the provider is paid at this time. `None` if it never said.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Option<Address> {
        let next = self.next.filter(|next| next.from_ms <= now_ms);
        next.map(|next| next.address).or(self.current)
    }

    /// What is said for a later time: where it is paid then, and from when, in Unix milliseconds.
    #[must_use]
    pub fn next(&self) -> Option<(Address, u64)> {
        self.next.map(|next| (next.address, next.from_ms))
    }

    fn read(text: &str) -> Result<Self, LedgerError> {
        serde_json::from_str(text).map_err(|_| LedgerError::Damaged("where a provider is paid cannot be read".into()))
    }

    fn write(&self) -> Result<String, LedgerError> {
        serde_json::to_string(self).map_err(|error| LedgerError::Damaged(error.to_string()))
    }

    fn settle(&mut self, now_ms: u64) {
        if self.next.is_some_and(|next| next.from_ms <= now_ms) {
            self.current = self.at(now_ms);
            self.next = None;
        }
    }
}

/// Takes note in the ledger of where a provider says that it is paid, as [`PayoutNames::note`] does. Where that changes
/// nothing, nothing is written.
///
/// # Errors
/// [`LedgerError`]; the note may have been taken all the same, and can be repeated.
pub async fn note_payout(
    ledger: &dyn Ledger,
    provider: &ProviderId,
    (sequence, address): (u64, Address),
    now_ms: u64,
    delay_ms: u64,
) -> Result<Named, LedgerError> {
    for _ in 0..TRIES_MAX {
        let known = ledger.payout_names(std::slice::from_ref(provider)).await?;
        let known = known.into_iter().next().flatten();
        let before = known.as_deref().map(PayoutNames::read).transpose()?.unwrap_or_default();
        let mut after = before;
        let named = after.note(sequence, Some(address), now_ms, delay_ms);
        if after == before || ledger.name_payout(provider, known.as_deref(), &after.write()?).await? {
            return Ok(named);
        }
    }
    let often = format!("where {} is paid changes all the time", provider.as_str());
    Err(LedgerError::Unavailable(often))
}

/// What everybody who has earned anything said of where it is paid; who said nothing is not in it.
///
/// # Errors
/// [`LedgerError`]
pub async fn payout_names(ledger: &dyn Ledger) -> Result<BTreeMap<ProviderId, PayoutNames>, LedgerError> {
    let earned = ledger.earnings().await?;
    let providers: Vec<_> = earned.into_iter().map(|earned| earned.provider).collect();
    let names = ledger.payout_names(&providers).await?;
    let said = providers.into_iter().zip(names);
    let said = said.filter_map(|(provider, names)| Some((provider, names?)));
    said.map(|(provider, names)| Ok((provider, PayoutNames::read(&names)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: u64 = 1_000;

    fn address(id: u8) -> Address {
        Address::basechain([id; 32])
    }

    #[test]
    fn the_first_address_counts_at_once_and_a_change_after_the_delay() {
        let mut names = PayoutNames::default();
        assert_eq!(names.at(0), None);
        assert_eq!(names.note(1, None, 0, DELAY), Named::Nothing);
        assert_eq!(names.note(1, Some(address(1)), 0, DELAY), Named::Now(address(1)));
        assert_eq!(
            names.note(2, Some(address(2)), 10, DELAY),
            Named::From(address(2), 1_010)
        );
        assert_eq!((names.at(1_009), names.at(1_010)), (Some(address(1)), Some(address(2))));
        // Saying it again does not put it off.
        assert_eq!(names.note(3, Some(address(2)), 500, DELAY), Named::Nothing);
        assert_eq!(names.at(1_010), Some(address(2)));
        assert_eq!(names.note(4, None, 2_000, DELAY), Named::Nothing);
        assert_eq!(
            names.note(5, Some(address(3)), 2_000, DELAY),
            Named::From(address(3), 3_000)
        );
        assert_eq!(names.at(2_999), Some(address(2)));
    }

    #[test]
    fn an_older_offer_changes_nothing_and_a_change_can_be_taken_back() {
        let mut names = PayoutNames::default();
        names.note(5, Some(address(1)), 0, DELAY);
        for old in [0, 4, 5] {
            assert_eq!(names.note(old, Some(address(2)), 10, DELAY), Named::Nothing);
        }
        names.note(6, Some(address(2)), 10, DELAY);
        assert_eq!(names.note(7, Some(address(1)), 20, DELAY), Named::Now(address(1)));
        assert_eq!(names.at(5_000), Some(address(1)));
    }

    #[test]
    fn another_change_waits_anew() {
        let mut names = PayoutNames::default();
        names.note(1, Some(address(1)), 0, DELAY);
        names.note(2, Some(address(2)), 10, DELAY);
        assert_eq!(
            names.note(3, Some(address(3)), 900, DELAY),
            Named::From(address(3), 1_900)
        );
        assert_eq!((names.at(1_899), names.at(1_900)), (Some(address(1)), Some(address(3))));
    }

    #[tokio::test]
    async fn what_was_said_is_kept_in_the_ledger_and_written_only_when_it_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let ledger = crate::open_embedded(dir.path()).expect("a ledger");
        let provider = ProviderId::parse("provider-a").expect("an id");
        let note = async |sequence, id, now_ms| {
            let said = (sequence, address(id));
            note_payout(&ledger, &provider, said, now_ms, DELAY).await
        };
        let kept = async || {
            let kept = ledger.payout_names(std::slice::from_ref(&provider)).await;
            kept.expect("read").remove(0).expect("something")
        };
        assert_eq!(note(1, 1, 0).await, Ok(Named::Now(address(1))));
        let before = kept().await;
        assert_eq!(note(1, 1, 5).await, Ok(Named::Nothing));
        assert_eq!(kept().await, before);
        assert_eq!(note(2, 2, 10).await, Ok(Named::From(address(2), 1_010)));
        // An older offer is not taken although it came later.
        assert_eq!(note(1, 3, 20).await, Ok(Named::Nothing));
        assert_eq!(
            PayoutNames::read(&kept().await).expect("names").next(),
            Some((address(2), 1_010))
        );
        // Who has earned nothing is not paid.
        assert_eq!(payout_names(&ledger).await, Ok(BTreeMap::new()));
        // The longest that can be said fits.
        assert_eq!(note(u64::MAX, 4, u64::MAX).await, Ok(Named::From(address(4), u64::MAX)));
    }
}
