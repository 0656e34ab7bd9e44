//! Messages: what one account sent to another, the comment in it, and the name of a message from outside.

use tycho_types::cell::{Cell, CellBuilder, CellSlice};
use tycho_types::models::{ExtInMsgInfo, Message, MessageLayout, MsgInfo, OwnedMessage};

use super::address::Address;
use super::amount::Coins;
use super::cell::{cell_hash, read_cell};
use super::{CellError, ChainError, EXTERNAL_BYTES_MAX};
use crate::hash::Hash;

/// Longest comment that is read or written, in bytes of UTF-8.
pub const COMMENT_BYTES_MAX: usize = 1_024;
/// What a body with a comment begins with, in 32 bits.
const COMMENT_OPCODE: u32 = 0;
/// Bytes of text one cell holds.
const TEXT_BYTES_PER_CELL: usize = 127;
/// Bytes of text in a comment's first cell, behind the opcode.
const TEXT_BYTES_FIRST: usize = 123;

/// A message from one account to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// Who sent it.
    pub from: Address,
    /// Who gets it.
    pub to: Address,
    /// What it carries.
    pub value: Coins,
    /// Whether the value comes back if the receiver fails or is not there.
    pub bounce: bool,
    /// Whether it is such a return: nobody's payment.
    pub bounced: bool,
    /// Logical time when it was sent.
    pub created_lt: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says: a tree of cells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Body(Cell);

/// Why a comment cannot be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadComment {
    /// Longer than [`COMMENT_BYTES_MAX`].
    #[error("the comment is longer than {COMMENT_BYTES_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the comment is not UTF-8 text")]
    NotText,
    /// Not whole bytes, or not a chain of cells.
    #[error("the comment is malformed")]
    Malformed,
}

impl Body {
    /// What these cells say.
    #[must_use]
    pub const fn new(cell: Cell) -> Self {
        Self(cell)
    }

    /// A comment for people.
    ///
    /// # Errors
    /// [`BadComment::TooLong`]
    pub fn comment_of(text: &str) -> Result<Self, BadComment> {
        if text.len() > COMMENT_BYTES_MAX {
            return Err(BadComment::TooLong);
        }
        let first = text.len().min(TEXT_BYTES_FIRST);
        let (first, rest) = text.as_bytes().split_at_checked(first).unwrap_or_default();
        let mut next = None;
        for piece in rest.chunks(TEXT_BYTES_PER_CELL).rev() {
            next = Some(text_cell(None, piece, next)?);
        }
        text_cell(Some(COMMENT_OPCODE), first, next).map(Self)
    }

    /// The comment for people, if this is one. An empty body and one for a contract are none.
    ///
    /// # Errors
    /// [`BadComment`] if it claims to be a comment and cannot be read.
    pub fn comment(&self) -> Result<Option<String>, BadComment> {
        let Some(mut slice) = self.slice() else {
            return Ok(None);
        };
        if slice.load_u32() != Ok(COMMENT_OPCODE) {
            return Ok(None);
        }
        let mut text = Vec::new();
        loop {
            take_text(&mut slice, &mut text)?;
            match slice.size_refs() {
                0 => break,
                1 => slice = slice.load_reference_as_slice().map_err(|_| BadComment::Malformed)?,
                _ => return Err(BadComment::Malformed),
            }
        }
        let text = String::from_utf8(text).map_err(|_| BadComment::NotText)?;
        Ok(Some(text))
    }

    /// The first 32 bits: which operation of a contract this asks for.
    #[must_use]
    pub fn opcode(&self) -> Option<u32> {
        self.slice()?.load_u32().ok()
    }

    /// The cells.
    #[must_use]
    pub const fn cell(&self) -> &Cell {
        &self.0
    }

    fn slice(&self) -> Option<CellSlice<'_>> {
        self.0.as_slice().ok()
    }

    pub(super) fn of(message: &Message<'_>) -> Result<Self, CellError> {
        CellBuilder::build_from(message.body).map(Self)
    }
}

fn text_cell(opcode: Option<u32>, text: &[u8], next: Option<Cell>) -> Result<Cell, BadComment> {
    let build = || {
        let mut cell = CellBuilder::new();
        if let Some(opcode) = opcode {
            cell.store_u32(opcode)?;
        }
        let bits = u16::try_from(text.len()).unwrap_or(u16::MAX).saturating_mul(8);
        cell.store_raw(text, bits)?;
        if let Some(next) = next {
            cell.store_reference(next)?;
        }
        cell.build()
    };
    build().map_err(|_| BadComment::Malformed)
}

/// Moves all bits of a cell to `text`.
fn take_text(slice: &mut CellSlice<'_>, text: &mut Vec<u8>) -> Result<(), BadComment> {
    let bits = slice.size_bits();
    let mut piece = [0; 128];
    let piece = slice.load_raw(&mut piece, bits).map_err(|_| BadComment::Malformed)?;
    if !bits.is_multiple_of(8) {
        return Err(BadComment::Malformed);
    }
    text.extend_from_slice(piece);
    if text.len() > COMMENT_BYTES_MAX {
        return Err(BadComment::TooLong);
    }
    Ok(())
}

/// An external message that was read: who it is for, and its normalised hash.
pub(super) struct External {
    pub(super) cell: Cell,
    pub(super) to: Address,
    pub(super) hash: Hash,
}

impl External {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ChainError> {
        let refused = |reason: String| ChainError::Refused {
            exit_code: None,
            reason,
        };
        if bytes.len() > EXTERNAL_BYTES_MAX {
            return Err(refused("the external message is too large".into()));
        }
        let cell = read_cell(bytes).map_err(|error| refused(error.to_string()))?;
        let (to, body) = external(&cell).ok_or_else(|| refused("this is no external message".into()))?;
        let hash = external_hash(to, &body).map_err(|error| refused(error.to_string()))?;
        Ok(Self { cell, to, hash })
    }
}

/// Whom an external message is for, and what it says.
pub(super) fn external(cell: &Cell) -> Option<(Address, Body)> {
    let message = cell.parse::<Message<'_>>().ok()?;
    match &message.info {
        MsgInfo::ExtIn(info) => Some((Address::of_int(&info.dst)?, Body::of(&message).ok()?)),
        _ => None,
    }
}

/// The normalised hash of an external message (TEP-467): the same whatever its sender's address, import fee, state init
/// and layout, which those who pass it on may change. By it a sent message is found again.
///
/// # Errors
/// None that a body which fits a message could cause.
pub fn external_hash(to: Address, body: &Body) -> Result<Hash, CellError> {
    let message = OwnedMessage {
        info: MsgInfo::ExtIn(ExtInMsgInfo {
            src: None,
            dst: to.std().into(),
            import_fee: Coins::ZERO.tokens(),
        }),
        init: None,
        body: body.0.clone().into(),
        layout: Some(MessageLayout {
            init_to_cell: false,
            body_to_cell: true,
        }),
    };
    CellBuilder::build_from(&message).map(|cell| cell_hash(cell.as_ref()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_in_cells(pieces: &[&[u8]]) -> Body {
        let cells = pieces.iter().rev().fold(None, |next, piece| {
            Some(text_cell(None, piece, next).expect("room for the piece"))
        });
        Body::new(cells.expect("a piece"))
    }

    #[test]
    fn comments_of_every_length_are_read_back() {
        for length in [0, 1, 122, 123, 124, 249, 250, 251, COMMENT_BYTES_MAX] {
            let text = "ж".repeat(length / 2) + &"x".repeat(length % 2);
            let body = Body::comment_of(&text).expect("short enough");
            assert_eq!(body.comment(), Ok(Some(text)));
        }
        let long = "x".repeat(COMMENT_BYTES_MAX + 1);
        assert_eq!(Body::comment_of(&long), Err(BadComment::TooLong));
    }

    #[test]
    fn other_peoples_comments_are_judged() {
        let check = |pieces: &[&[u8]], wanted| assert_eq!(bytes_in_cells(pieces).comment(), wanted, "{pieces:?}");
        let text = |text: &str| Ok(Some(text.to_owned()));
        check(&[b""], Ok(None));
        check(&[b"\0\0\0"], Ok(None));
        check(&[b"\0\0\0\x01hello"], Ok(None));
        check(&[b"\0\0\0\0"], text(""));
        check(&[b"\0\0\0\0hel", b"", b"lo"], text("hello"));
        // A character may be split between cells.
        check(&[b"\0\0\0\0\xd0", b"\xb6"], text("ж"));
        // Windows-1251, and half a character.
        check(&[b"\0\0\0\0\xef\xf0\xe8\xe2\xe5\xf2"], Err(BadComment::NotText));
        check(&[b"\0\0\0\0\xd0"], Err(BadComment::NotText));
        check(&[[0; 127].as_slice(); 9], Err(BadComment::TooLong));
    }

    #[test]
    fn bits_and_branches_are_no_text() {
        let mut cell = CellBuilder::new();
        cell.store_u32(0).expect("room");
        let fork = {
            let mut cell = cell.clone();
            for _ in 0..2 {
                cell.store_reference(Cell::default()).expect("room");
            }
            cell
        };
        cell.store_small_uint(1, 3).expect("room");
        for cell in [cell, fork] {
            let body = Body::new(cell.build().expect("a cell"));
            assert_eq!(body.comment(), Err(BadComment::Malformed));
        }
    }

    #[test]
    fn an_external_message_is_named_whatever_its_layout() {
        let (to, body) = (Address::basechain([7; 32]), Body::comment_of("hello").expect("a body"));
        let hash = external_hash(to, &body).expect("a hash");
        for body_to_cell in [false, true] {
            let message = OwnedMessage {
                info: MsgInfo::ExtIn(ExtInMsgInfo {
                    src: None,
                    dst: to.std().into(),
                    import_fee: Coins::new(5).expect("an amount").tokens(),
                }),
                init: Some(Default::default()),
                body: body.cell().clone().into(),
                layout: Some(MessageLayout {
                    init_to_cell: false,
                    body_to_cell,
                }),
            };
            let cell = CellBuilder::build_from(&message).expect("a message");
            let read = External::read(&super::super::write_cell(cell.as_ref())).expect("an external message");
            assert_eq!((read.to, read.hash), (to, hash));
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..127), 1..12)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let _ = bytes_in_cells(&pieces).comment();
        }
    }
}
