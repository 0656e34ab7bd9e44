//! Amounts of money and the fee taken from them. Integers only: nanoTON, checked.
//!
//! What a call costs is `price`'s business; who has how much is the ledger's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Nano in one coin.
const NANO_PER_COIN: u64 = 1_000_000_000;
/// Digits after the decimal point of a coin.
const COIN_DECIMALS: usize = 9;

/// An amount in nanoTON (10⁻⁹ TON), never negative, at most [`Nano::MAX`].
///
/// In JSON it is an integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Nano(u64);

/// An amount left the range that can be represented exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the amount is larger than {} TON", Nano::MAX)]
pub struct Overflow;

impl Nano {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// 2⁵³ − 1 nano (about nine million TON): the largest integer every JSON reader keeps exact (RFC 8259, section 6).
    pub const MAX: Self = Self((1 << 53) - 1);

    /// So many nano.
    ///
    /// # Errors
    /// [`Overflow`] above [`Nano::MAX`].
    pub const fn new(nano: u64) -> Result<Self, Overflow> {
        if nano <= Self::MAX.0 {
            Ok(Self(nano))
        } else {
            Err(Overflow)
        }
    }

    /// So many nano, or [`Nano::MAX`] where there are more.
    #[must_use]
    pub const fn saturating(nano: u64) -> Self {
        if nano <= Self::MAX.0 { Self(nano) } else { Self::MAX }
    }

    /// The amount in nano.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The amount in nano, signed: for balances that may fall below zero.
    #[must_use]
    pub const fn signed(self) -> i64 {
        // At most 2^53 - 1, so the sign bit is never touched.
        self.0.cast_signed()
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`Overflow`] above [`Nano::MAX`].
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).ok_or(Overflow).and_then(Self::new)
    }

    /// The difference, or `None` if `other` is larger.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum of all.
    ///
    /// # Errors
    /// [`Overflow`] above [`Nano::MAX`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, Overflow> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }

    /// Reads an amount of coins as people write it: `"1.5"` is 1,500,000,000 nano.
    ///
    /// # Errors
    /// [`BadAmount`], worded for the person who typed it.
    pub fn parse_ton(text: &str) -> Result<Self, BadAmount> {
        let text = text.trim();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
            return Err(BadAmount::NotANumber(text.chars().take(40).collect()));
        }
        if fraction.len() > COIN_DECIMALS {
            return Err(BadAmount::TooFine);
        }
        let number = |part: &str| if part.is_empty() { Ok(0) } else { part.parse::<u64>() };
        let whole = number(whole).map_err(|_| BadAmount::TooLarge(Overflow))?;
        let fraction = number(&format!("{fraction:0<COIN_DECIMALS$}")).map_err(|_| BadAmount::TooFine)?;
        let nano = whole
            .checked_mul(NANO_PER_COIN)
            .and_then(|n| n.checked_add(fraction))
            .ok_or(Overflow)?;
        Ok(Self::new(nano)?)
    }
}

/// Why a text is not an amount of money.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAmount {
    /// Something other than digits with at most one decimal point.
    #[error("`{0}` is not an amount: write it like 12 or 0.25")]
    NotANumber(String),
    /// Finer than one nano.
    #[error("an amount has at most nine digits after the decimal point")]
    TooFine,
    /// Larger than [`Nano::MAX`].
    #[error(transparent)]
    TooLarge(#[from] Overflow),
}

impl FromStr for Nano {
    type Err = BadAmount;

    fn from_str(text: &str) -> Result<Self, BadAmount> {
        Self::parse_ton(text)
    }
}

impl fmt::Display for Nano {
    /// In coins with all nine decimals: `0.001234567`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.checked_div(NANO_PER_COIN).unwrap_or_default();
        let fraction = self.0.checked_rem(NANO_PER_COIN).unwrap_or_default();
        f.pad(&format!("{whole}.{fraction:0COIN_DECIMALS$}"))
    }
}

impl Serialize for Nano {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Nano {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The operator's share of a cost, in basis points (hundredths of a percent), at most 10,000.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FeeBps(u32);

impl FeeBps {
    /// No fee.
    pub const ZERO: Self = Self(0);
    /// All of it.
    pub const MAX: Self = Self(10_000);

    /// So many basis points, or `None` above 10,000.
    #[must_use]
    pub const fn new(bps: u32) -> Option<Self> {
        if bps <= Self::MAX.0 { Some(Self(bps)) } else { None }
    }

    /// The basis points.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Splits `cost` into (fee, earned): the fee rounded down, the provider gets the rest.
    #[must_use]
    pub fn split(self, cost: Nano) -> (Nano, Nano) {
        let share = u128::from(cost.0).saturating_mul(u128::from(self.0));
        let fee = share.checked_div(u128::from(Self::MAX.0)).unwrap_or_default();
        // The share is at most 1, so the fee is at most the cost and fits where the cost fitted.
        let fee = u64::try_from(fee).unwrap_or(cost.0).min(cost.0);
        (Nano(fee), Nano(cost.0.saturating_sub(fee)))
    }
}

impl TryFrom<u32> for FeeBps {
    type Error = &'static str;

    fn try_from(bps: u32) -> Result<Self, Self::Error> {
        Self::new(bps).ok_or("a fee is at most 10000 basis points")
    }
}

impl From<FeeBps> for u32 {
    fn from(fee: FeeBps) -> Self {
        fee.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(n: u64) -> Nano {
        Nano::new(n).expect("small")
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        for (text, n) in [
            ("1.5", 1_500_000_000),
            ("12", 12_000_000_000),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("0.000000001", 1),
            (" 007 ", 7_000_000_000),
            ("9007199.254740991", (1 << 53) - 1),
        ] {
            assert_eq!(Nano::parse_ton(text), Ok(nano(n)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", "-1", "+1", "1e3", "1,5", "1.2.3", "٣", "0x10", "nan"] {
            assert!(matches!(Nano::parse_ton(text), Err(BadAmount::NotANumber(_))), "{text}");
        }
        assert_eq!(Nano::parse_ton("0.0000000001"), Err(BadAmount::TooFine));
        for text in ["9007199.254740992", "99999999999999999999999", "18446744073.709551616"] {
            assert_eq!(Nano::parse_ton(text), Err(BadAmount::TooLarge(Overflow)), "{text}");
        }
    }

    #[test]
    fn json_refuses_what_does_not_fit() {
        assert_eq!(
            serde_json::from_str::<Nano>("9007199254740991").expect("max"),
            Nano::MAX
        );
        for text in ["9007199254740992", "-1", "1.5", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Nano>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(n in 0..=Nano::MAX.get()) {
            prop_assert_eq!(Nano::parse_ton(&nano(n).to_string()), Ok(nano(n)));
        }

        #[test]
        fn a_split_keeps_the_sum_and_rounds_the_fee_down(n in 0..=Nano::MAX.get(), bps in 0..=10_000_u32) {
            let (fee, earned) = FeeBps::new(bps).expect("in range").split(nano(n));
            prop_assert_eq!(fee.plus(earned), Ok(nano(n)));
            prop_assert_eq!(u128::from(fee.get()), u128::from(n) * u128::from(bps) / 10_000);
        }
    }
}
