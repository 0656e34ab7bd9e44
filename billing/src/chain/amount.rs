//! Amounts as the chain has them. The ledger's [`Nano`] is smaller; what does not fit there is an error, never cut.

use std::fmt;
use std::str::FromStr;

use tycho_types::num::Tokens;

use crate::money::{Nano, Overflow};

/// An amount in nanoTON as a message or an account carries it: up to 2¹²⁰ − 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Coins(u128);

impl Coins {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest the chain can write (`VarUInteger 16`: fifteen bytes).
    pub const MAX: Self = Self((1 << 120) - 1);

    /// So many nanoTON; `None` beyond [`Coins::MAX`].
    #[must_use]
    pub const fn new(nano: u128) -> Option<Self> {
        if nano <= Self::MAX.0 { Some(Self(nano)) } else { None }
    }

    /// The amount in nanoTON.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// The same in the ledger's money.
    ///
    /// # Errors
    /// [`Overflow`] if the ledger cannot hold so much.
    pub fn nano(self) -> Result<Nano, Overflow> {
        u64::try_from(self.0).map_err(|_| Overflow).and_then(Nano::new)
    }

    pub(super) fn tokens(self) -> Tokens {
        Tokens::new(self.0)
    }
}

impl From<Nano> for Coins {
    fn from(nano: Nano) -> Self {
        Self(nano.get().into())
    }
}

impl From<Tokens> for Coins {
    fn from(tokens: Tokens) -> Self {
        Self(tokens.into_inner())
    }
}

impl FromStr for Coins {
    type Err = Overflow;

    /// Reads nanoTON in decimal digits, as APIs write them.
    fn from_str(text: &str) -> Result<Self, Overflow> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let nano = if digits { text.parse().ok() } else { None };
        nano.and_then(Self::new).ok_or(Overflow)
    }
}

impl fmt::Display for Coins {
    /// In nanoTON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_cannot_hold_is_an_error() {
        assert_eq!(Coins::from(Nano::MAX).nano(), Ok(Nano::MAX));
        assert_eq!(Coins(u128::from(Nano::MAX.get()) + 1).nano(), Err(Overflow));
        assert_eq!(Coins::MAX.nano(), Err(Overflow));
        assert_eq!(Coins::new(1 << 120), None);
    }

    #[test]
    fn only_decimal_digits_are_an_amount() {
        assert_eq!("12".parse(), Ok(Coins(12)));
        for wrong in ["", "-1", "+1", "1.5", "0x10", " 1", &"9".repeat(40)] {
            assert_eq!(wrong.parse::<Coins>(), Err(Overflow), "{wrong}");
        }
    }
}
