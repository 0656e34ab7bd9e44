//! A get-method's stack as v3 writes it.

use num_bigint::BigInt;
use num_bigint::Sign;
use serde::{Deserialize, Serialize};

use crate::chain::cell::{BadCell, read_base64, write_base64};
use crate::chain::{ChainError, Value};

/// Digits of the longest number there is: 257 bits in decimal, and room.
const DIGITS_MAX: usize = 90;

/// One value. A list without elements is null.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub(in crate::chain) enum StackEntry {
    Null,
    Num(String),
    Cell(String),
    Slice(String),
    Tuple(Vec<StackEntry>),
    List(Vec<StackEntry>),
}

impl StackEntry {
    pub(in crate::chain) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::List(Vec::new()),
            Value::Int(number) => Self::Num(Self::hexadecimal(number)),
            Value::Cell(cell) => Self::Cell(write_base64(cell.as_ref())),
            Value::Slice(cell) => Self::Slice(write_base64(cell.as_ref())),
            Value::Tuple(values) => Self::Tuple(values.iter().map(Self::of).collect()),
        }
    }

    pub(in crate::chain) fn value(self) -> Result<Value, ChainError> {
        let cell = |text: &str| read_base64(text).map_err(|error: BadCell| ChainError::Damaged(error.to_string()));
        let values = |entries: Vec<Self>| entries.into_iter().map(Self::value).collect::<Result<Vec<_>, _>>();
        match self {
            Self::Null => Ok(Value::Null),
            Self::Num(text) => match Self::number(&text) {
                Some(number) => Ok(Value::Int(number)),
                None => Err(ChainError::damaged("a number that is none")),
            },
            Self::Cell(text) => cell(&text).map(Value::Cell),
            Self::Slice(text) => cell(&text).map(Value::Slice),
            Self::List(entries) if entries.is_empty() => Ok(Value::Null),
            Self::Tuple(entries) | Self::List(entries) => values(entries).map(Value::Tuple),
        }
    }

    /// Reads `0x…`, `-0x…` or decimal digits.
    pub(in crate::chain) fn number(text: &str) -> Option<BigInt> {
        if text.len() > DIGITS_MAX {
            return None;
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (Sign::Minus, digits),
            None => (Sign::Plus, text),
        };
        let (radix, digits) = match digits.strip_prefix("0x") {
            Some(digits) => (16, digits),
            None => (10, digits),
        };
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let size = num_bigint::BigUint::parse_bytes(digits.as_bytes(), radix)?;
        Some(BigInt::from_biguint(sign, size))
    }

    pub(in crate::chain) fn hexadecimal(number: &BigInt) -> String {
        format!("{number:#x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_apis_write_them() {
        let check = |text: &str, wanted: Option<i64>| {
            assert_eq!(StackEntry::number(text), wanted.map(BigInt::from), "{text}");
        };
        check("0x0", Some(0));
        check("0x1f", Some(31));
        check("-0x1f", Some(-31));
        check("31", Some(31));
        for wrong in ["", "-", "0x", "0xg", "1f", "--1", "+1", " 1", "1 ", &"9".repeat(100)] {
            check(wrong, None);
        }
        for number in [-31, 0, 31] {
            let number = BigInt::from(number);
            assert_eq!(StackEntry::number(&StackEntry::hexadecimal(&number)), Some(number));
        }
    }

    #[test]
    fn a_stack_is_written_as_toncenter_writes_it() {
        let value = Value::Tuple(vec![Value::from(5), Value::Null]);
        let text = serde_json::to_string(&StackEntry::of(&value)).expect("JSON");
        let wanted = r#"{"type":"tuple","value":[{"type":"num","value":"0x5"},{"type":"list","value":[]}]}"#;
        assert_eq!(text, wanted);
        let read: StackEntry = serde_json::from_str(wanted).expect("an entry");
        assert_eq!(read.value(), Ok(value));
        for null in [r#"{"type":"null"}"#, r#"{"type":"null","value":null}"#] {
            let read: StackEntry = serde_json::from_str(null).expect("an entry");
            assert_eq!(read.value(), Ok(Value::Null));
        }
        for wrong in [
            r#"{"type":"num","value":5}"#,
            r#"{"type":"cont","value":""}"#,
            r#"{"value":"0x1"}"#,
        ] {
            assert!(serde_json::from_str::<StackEntry>(wrong).is_err(), "{wrong}");
        }
    }
}
