//! Messages of one wallet, and which of them may be sent, signed or looked up now. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::chain::{Head, Position};
use crate::hash::Hash;

/// A message of the wallet that may be sent, any number of times.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message<O> {
    /// The wallet's seqno it is good for. Of all messages of one seqno the chain takes one at most.
    pub seqno: u32,
    /// Until when it is good, in Unix seconds of the chain.
    pub valid_until: u32,
    /// The wallet's last transaction when it was signed: what became of it comes after.
    pub after: Position,
    /// Its normalised hash.
    pub hash: Hash,
    /// The bag of cells, in base64.
    pub boc: String,
    /// What it orders.
    pub order: O,
}

/// What became of a seqno of the wallet, found by the hash of the transaction's message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Which seqno.
    pub seqno: u32,
    /// What the chain took.
    pub taken: Taken,
}

/// What the chain took for a seqno.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taken {
    /// A message of these books.
    Ours {
        /// Its normalised hash.
        hash: Hash,
        /// The wallet's transaction.
        at: Position,
        /// What became of each payment, in their order.
        payments: Vec<Fate>,
    },
    /// Another message: none of these books' for this seqno will ever be taken.
    Foreign,
}

/// What became of one payment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It was sent to an account that keeps it: the message's logical time.
    Sent(u64),
    /// It reached its payee: the payee's transaction.
    Reached(Position),
    /// The payee sent it back: the payee's transaction.
    Returned(Position),
    /// It was sent, and what the payee's account did with it could not be read for long: the message's logical time.
    Unread(u64),
    /// The wallet could not afford it.
    Skipped,
}

impl<O> Message<O> {
    /// The bag of cells. `None` if what stands there is not base64.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.boc).ok()
    }
}

/// The messages for the one seqno of which the fate is not known, oldest first, and what is known of the wallet's next.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<O> {
    open: Vec<Message<O>>,
    /// The wallet's next seqno is not less.
    seqno_min: u32,
}

/// What is to be done about the open messages.
#[derive(Debug)]
pub(crate) enum Turn<'a, O> {
    /// Nothing: the chain's answer is older than what is known.
    Lagging,
    /// The wallet is past their seqno: look up which one it took.
    Reconcile,
    /// The newest is still good: send it.
    Send(&'a Message<O>),
    /// None is good any more: another may be signed for this seqno.
    Sign(u32),
}

impl<O> Outgoing<O> {
    /// None yet.
    pub(crate) const fn none(seqno_min: u32) -> Self {
        Self {
            open: Vec::new(),
            seqno_min,
        }
    }

    pub(crate) fn open(&self) -> &[Message<O>] {
        &self.open
    }

    pub(crate) const fn seqno_min(&self) -> u32 {
        self.seqno_min
    }

    /// What is next, with the wallet's seqno as somebody who may lag behind tells it.
    pub(crate) fn turn(&self, seqno: u32, head: &Head) -> Turn<'_, O> {
        let Some(last) = self.open.last() else {
            return if seqno < self.seqno_min {
                Turn::Lagging
            } else {
                Turn::Sign(seqno)
            };
        };
        if seqno < last.seqno {
            Turn::Lagging
        } else if seqno > last.seqno {
            Turn::Reconcile
        } else if head.time < last.valid_until {
            // The wallet's code takes it before that second, not in it.
            Turn::Send(last)
        } else {
            // It is too old by the chain's own clock. Another one takes its seqno: should the old one have been taken after
            // all, the chain refuses the new one, and its outcome is the old one's.
            Turn::Sign(seqno)
        }
    }

    /// Whether a message of this seqno may be signed at this time.
    pub(crate) fn check(&self, message: &Message<O>, time: u32) -> Result<(), &'static str> {
        match self.open.last() {
            Some(last) if last.seqno != message.seqno => return Err("the seqno before is not settled"),
            Some(last) if last.valid_until > time => return Err("the message before is still good"),
            _ => {}
        }
        if message.seqno < self.seqno_min {
            return Err("its seqno was used before");
        }
        Ok(())
    }

    /// Adds a message that was checked.
    pub(crate) fn add(&mut self, message: Message<O>) {
        self.open.push(message);
    }

    /// Which of the messages the chain took; `None` if it took somebody else's.
    pub(crate) fn taken(&self, outcome: &Outcome) -> Result<Option<&Message<O>>, &'static str> {
        if self.open.first().is_none_or(|open| open.seqno != outcome.seqno) {
            return Err("no message of its seqno is open");
        }
        let Taken::Ours { hash, .. } = &outcome.taken else {
            return Ok(None);
        };
        let taken = self.open.iter().find(|message| message.hash == *hash);
        taken.map(Some).ok_or("it names no open message")
    }

    /// Their fate is known.
    pub(crate) fn close(&mut self, outcome: &Outcome) {
        self.open.clear();
        self.seqno_min = outcome.seqno.saturating_add(1);
    }
}
