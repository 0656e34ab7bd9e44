//! Reads decimal numbers exactly, from their text: money never passes through a float.

/// Why a text is no price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BadDecimal {
    /// It is below zero.
    Negative,
    /// It is not a number as JSON writes them (RFC 8259, section 6).
    NotANumber,
}

/// `text` × 10^`places`, rounded down; `u64::MAX` for whatever is larger.
pub(super) fn floor(text: &str, places: u32) -> Result<u64, BadDecimal> {
    let (unsigned, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, self::exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(BadDecimal::NotANumber),
        None => (mantissa, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) || !is_digits(whole) || !is_digits(fraction) {
        return Err(BadDecimal::NotANumber);
    }
    let digits = || whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte - b'0'));
    if digits().all(|digit| digit == 0) {
        return Ok(0);
    }
    if negative {
        return Err(BadDecimal::Negative);
    }
    // The number is its digits × 10^(exponent - length of the fraction).
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let kept = length(whole).saturating_add(exponent).saturating_add(places.into());
    Ok(first_digits(digits(), kept))
}

/// The first `kept` of `digits` as a number, with zeros behind them where there are fewer.
fn first_digits(digits: impl Iterator<Item = u64>, kept: i64) -> u64 {
    let kept = usize::try_from(kept.max(0)).unwrap_or(usize::MAX);
    let mut value = 0_u64;
    // A digit that is not 0 is among them, so that zeros without end soon pass the largest integer.
    for digit in digits.chain(std::iter::repeat(0)).take(kept) {
        let Some(next) = value.checked_mul(10).and_then(|tens| tens.checked_add(digit)) else {
            return u64::MAX;
        };
        value = next;
    }
    value
}

/// A signed exponent; one beyond all bounds stays beyond what any number of digits makes up for.
fn exponent(text: &str) -> Result<i64, BadDecimal> {
    let (digits, negative) = match text.as_bytes().first() {
        Some(b'-') => (&text[1..], true),
        Some(b'+') => (&text[1..], false),
        _ => (text, false),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadDecimal::NotANumber);
    }
    let size = digits.parse::<i64>().unwrap_or(i64::MAX / 4).min(i64::MAX / 4);
    Ok(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_become_whole_nano_exactly() {
        for (text, nano) in [
            ("0", 0),
            ("-0", 0),
            ("0.000", 0),
            ("0e999999999999999999999", 0),
            ("1", 1_000_000_000),
            ("0.15", 150_000_000),
            // Doubles hold neither: 0.29 × 10^9 is 289999999.99999994 there.
            ("0.29", 290_000_000),
            ("1.005", 1_005_000_000),
            ("0.000000001", 1),
            ("0.0000000019", 1),
            ("0.0000000009", 0),
            ("1e-9", 1),
            ("1.5E-8", 15),
            ("2.5e+3", 2_500_000_000_000),
            ("18446744073.709551615", u64::MAX),
            ("18446744073.709551616", u64::MAX),
            ("1e300", u64::MAX),
            ("1e99999999999999999999", u64::MAX),
            ("1e-99999999999999999999", 0),
            ("00000000000000000000.1", u64::MAX - 1),
        ] {
            let expected = if text.starts_with("00") {
                Err(BadDecimal::NotANumber)
            } else {
                Ok(nano)
            };
            assert_eq!(floor(text, 9), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "", "-", ".5", "1.", "1e", "1e+", "e5", "+1", " 1", "1 ", "0x1", "NaN", "1,5", "1.5.5", "1e1.5", "١",
        ] {
            assert_eq!(floor(text, 9), Err(BadDecimal::NotANumber), "{text:?}");
        }
        for text in ["-1", "-0.5", "-1e-30"] {
            assert_eq!(floor(text, 9), Err(BadDecimal::Negative), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_nano_comes_back(nano in any::<u64>(), shift in 0..30_u32) {
            let plain = crate::models::decimal(nano, 9);
            prop_assert_eq!(floor(&plain, 9), Ok(nano));
            // The same number with its point moved.
            prop_assert_eq!(floor(&format!("{nano}e-{}", 9 + shift), 9 + shift), Ok(nano));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9eE. ]{0,40}") {
            let _ = floor(&text, 9);
        }
    }
}
