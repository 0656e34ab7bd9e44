//! Cells in and out of bytes: bags of cells (BoC) from outside are bounded and never trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, DynCell};

use crate::hash::Hash;

/// Longest bag of cells that is read, in bytes. The largest thing read is a contract's data: at most 65,536 cells on the chain,
/// some 130 bytes each.
const BOC_BYTES_MAX: usize = 9 << 20;
/// Deepest tree of cells the chain knows.
const DEPTH_MAX: u16 = 1_024;

/// Why bytes are no cell.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadCell {
    /// No bag with exactly one root.
    #[error("not a bag of cells: {0}")]
    Malformed(String),
    /// More than is ever read.
    #[error("the bag of cells is larger than {BOC_BYTES_MAX} bytes or deeper than {DEPTH_MAX} cells")]
    TooLarge,
}

/// Reads a bag of cells with one root.
///
/// # Errors
/// [`BadCell`]
pub fn read_cell(bytes: &[u8]) -> Result<Cell, BadCell> {
    if bytes.len() > BOC_BYTES_MAX {
        return Err(BadCell::TooLarge);
    }
    let cell = Boc::decode(bytes).map_err(|error| BadCell::Malformed(error.to_string()))?;
    if cell.repr_depth() > DEPTH_MAX {
        return Err(BadCell::TooLarge);
    }
    Ok(cell)
}

/// The bag of cells under `cell`.
#[must_use]
pub fn write_cell(cell: &DynCell) -> Vec<u8> {
    Boc::encode(cell)
}

/// The hash of the cell's representation, which is its name.
#[must_use]
pub fn cell_hash(cell: &DynCell) -> Hash {
    Hash::from_bytes(cell.repr_hash().0)
}

/// Reads a bag of cells in base64, as APIs carry them.
pub(super) fn read_base64(text: &str) -> Result<Cell, BadCell> {
    let malformed = |error: base64::DecodeError| BadCell::Malformed(error.to_string());
    read_cell(&STANDARD.decode(text).map_err(malformed)?)
}

pub(super) fn write_base64(cell: &DynCell) -> String {
    STANDARD.encode(write_cell(cell))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tycho_types::cell::CellBuilder;

    use super::*;

    fn chain_of(cells: u16) -> Cell {
        let mut cell = Cell::default();
        for depth in 1..cells {
            let mut next = CellBuilder::new();
            next.store_u16(depth).expect("room");
            next.store_reference(cell).expect("room");
            cell = next.build().expect("a cell");
        }
        cell
    }

    #[test]
    fn what_the_chain_would_not_know_is_refused() {
        let deep = write_cell(chain_of(1_025).as_ref());
        assert_eq!(read_cell(&deep).map(|cell| cell.repr_depth()), Ok(1_024));
        for cells in [1_026, 40_000] {
            assert_eq!(read_cell(&write_cell(chain_of(cells).as_ref())), Err(BadCell::TooLarge));
        }
        assert_eq!(read_cell(&vec![0; BOC_BYTES_MAX + 1]), Err(BadCell::TooLarge));
        assert!(matches!(read_base64("not base64!"), Err(BadCell::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_cell(&bytes);
            let _ = read_cell(&[&[0xb5, 0xee, 0x9c, 0x72], bytes.as_slice()].concat());
        }
    }
}
