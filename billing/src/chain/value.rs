//! Values a get-method takes and gives.

use num_bigint::BigInt;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_vm::{OwnedCellSlice, RcStackValue, SafeRc, Stack, StackValue};

use super::ChainError;
use super::address::Address;
use crate::hash::Hash;

/// Tuples within tuples that are read.
const DEPTH_MAX: u8 = 16;

/// One value on the virtual machine's stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Nothing; also the empty list.
    Null,
    /// A number of up to 257 bits.
    Int(BigInt),
    /// A cell.
    Cell(Cell),
    /// What is left of a cell that is being read.
    Slice(Cell),
    /// Several values.
    Tuple(Vec<Value>),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(number.into())
    }
}

impl From<Hash> for Value {
    /// The hash as a number, as contracts take it.
    fn from(hash: Hash) -> Self {
        Self::Int(BigInt::from_bytes_be(num_bigint::Sign::Plus, hash.as_bytes()))
    }
}

impl From<Address> for Value {
    /// The address as a slice, as contracts take it.
    fn from(address: Address) -> Self {
        // 267 bits always fit a cell.
        Self::Slice(CellBuilder::build_from(address.std()).unwrap_or_default())
    }
}

impl Value {
    /// The number, if it is one and fits.
    #[must_use]
    pub fn number<N: TryFrom<BigInt>>(&self) -> Option<N> {
        match self {
            Self::Int(number) => number.clone().try_into().ok(),
            _ => None,
        }
    }

    /// The number as a hash, if it is one of at most 256 bits.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        let Self::Int(number) = self else { return None };
        let bytes = number.to_biguint()?.to_bytes_be();
        let mut hash = [0; 32];
        let start = hash.len().checked_sub(bytes.len())?;
        hash.get_mut(start..)?.copy_from_slice(&bytes);
        Some(Hash::from_bytes(hash))
    }

    /// The address, if it is one.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let (Self::Slice(cell) | Self::Cell(cell)) = self else {
            return None;
        };
        Address::of_int(&cell.parse().ok()?)
    }

    /// The cell, whole or left over.
    #[must_use]
    pub const fn cell(&self) -> Option<&Cell> {
        match self {
            Self::Slice(cell) | Self::Cell(cell) => Some(cell),
            _ => None,
        }
    }

    pub(super) fn to_vm(&self) -> RcStackValue {
        match self {
            Self::Null => Stack::make_null(),
            Self::Int(number) => RcStackValue::new_dyn_value(number.clone()),
            Self::Cell(cell) => RcStackValue::new_dyn_value(cell.clone()),
            Self::Slice(cell) => RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(cell.clone())),
            Self::Tuple(values) => {
                let values: Vec<RcStackValue> = values.iter().map(Self::to_vm).collect();
                SafeRc::new(values).into_dyn_value()
            }
        }
    }

    pub(super) fn of_vm(value: &dyn StackValue) -> Result<Self, ChainError> {
        Self::of_vm_within(value, DEPTH_MAX)
    }

    fn of_vm_within(value: &dyn StackValue, depth: u8) -> Result<Self, ChainError> {
        let unreadable = || ChainError::damaged("a get-method gave what cannot be read");
        if let Some(number) = value.as_int() {
            return Ok(Self::Int(number.clone()));
        }
        if let Some(cell) = value.as_cell() {
            return Ok(Self::Cell(cell.clone()));
        }
        if let Some(slice) = value.as_cell_slice() {
            let cell = CellBuilder::build_from(slice.apply()).map_err(|_| unreadable())?;
            return Ok(Self::Slice(cell));
        }
        if let Some(values) = value.as_tuple() {
            let depth = depth.checked_sub(1).ok_or_else(unreadable)?;
            let values = values.iter().map(|value| Self::of_vm_within(value.as_ref(), depth));
            return values.collect::<Result<_, _>>().map(Self::Tuple);
        }
        Ok(Self::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_pass_through_the_machine_unchanged() {
        let address = Address::basechain([3; 32]);
        let values = [
            Value::Null,
            Value::Int(BigInt::from(-5)),
            Value::from(Hash::of(b"x")),
            Value::Cell(Cell::default()),
            Value::from(address),
            Value::Tuple(vec![Value::from(1), Value::Tuple(vec![])]),
        ];
        for value in values {
            assert_eq!(Value::of_vm(value.to_vm().as_ref()), Ok(value));
        }
    }

    #[test]
    fn a_value_is_read_as_what_it_is() {
        let hash = Hash::of(b"x");
        assert_eq!(Value::from(hash).hash(), Some(hash));
        assert_eq!(Value::from(7).hash().map(|hash| hash.as_bytes()[31]), Some(7));
        assert_eq!(Value::from(7).number::<u32>(), Some(7));
        assert_eq!(Value::from(1 << 32).number::<u32>(), None);
        assert_eq!(Value::Int(BigInt::from(-1)).hash(), None);
        assert_eq!(Value::Int(BigInt::from(1) << 256).hash(), None);
        let address = Address::basechain([3; 32]);
        assert_eq!(Value::from(address).address(), Some(address));
        assert_eq!(Value::Cell(Cell::default()).address(), None);
    }
}
