//! What can be made to go wrong on the way to the devnet and back. The chain itself never lies.

use std::sync::Arc;

use super::record::Record;

/// Faults that are on. They hold until they are changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// No question is answered, and nothing arrives.
    pub down: bool,
    /// What is sent is taken with thanks and thrown away.
    pub lose_messages: bool,
    /// What is sent arrives, and the answer does not.
    pub lose_answers: bool,
    /// What is sent is refused with this exit code, whatever it is, and thrown away.
    pub refuse_messages: Option<i32>,
    /// What is sent arrives twice.
    pub double_messages: bool,
    /// So many blocks pass before what is sent arrives.
    pub delay_blocks: u32,
    /// Answers are as of so many blocks ago.
    pub lag_blocks: u32,
    /// Histories are told falsely.
    pub lie: Option<Lie>,
}

/// How a history is told falsely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    /// The oldest transaction that was asked for is left out.
    Omit,
    /// It is told twice.
    Repeat,
    /// The newest comes first.
    Reverse,
}

impl Lie {
    pub(super) fn tell(self, page: &mut Vec<Arc<Record>>) {
        match self {
            Self::Omit if !page.is_empty() => drop(page.remove(0)),
            Self::Omit => {}
            Self::Repeat => page.splice(0..0, page.first().cloned()).for_each(drop),
            Self::Reverse => page.reverse(),
        }
    }
}
