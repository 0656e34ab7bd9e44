//! What a wallet is told to pay, each once: messages that are written down before they are sent, and what became of them.
//!
//! A seqno is settled, not a message: of all messages signed for one seqno the chain takes one at most. While the wallet is not
//! past it, the newest message is sent again, byte for byte; when its time is over by the chain's own clock, another is signed
//! for the *same* seqno. Only when the wallet is past it, its history says which one it was.
//!
//! Books are entries that are only ever created, each naming the one before by its hash. Whose books, what is ordered, and
//! when, is for settlement and for withdrawals.

mod entry;
mod message;
mod reconcile;
mod sign;

pub use self::entry::{BadEntry, Entry};
pub(crate) use self::entry::{BooksError, Chained, read_entry, write_entry};
pub use self::message::{Fate, Message, Outcome, Taken};
pub(crate) use self::message::{Outgoing, Turn};
pub(crate) use self::reconcile::{LOOKUPS, Ordered, reconcile};
pub(crate) use self::sign::{Sending, bounces_after, lacks, send, sign};
