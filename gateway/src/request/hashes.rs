//! Beside step 9, the words: hashes of what was asked and what was given, salted by a nonce that only the caller gets.
//!
//! A stream is hashed piece by piece once each is on its way; the rest when the answer is out. The nonce follows from
//! the call's id and the gateway's key ([`filature_billing::ReceiptKey::nonce`]), so it is kept nowhere.

use bytes::Bytes;
use filature_billing::{Hash, Nonce, Salted, UsageRecord};

use super::Call;
use crate::app::App;

/// Bodies larger than this together are hashed on a thread of their own, in bytes: this much takes some 50 µs.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What the caller was given.
pub enum Given {
    /// Nothing.
    Nothing,
    /// An answer in one piece.
    Whole(Bytes),
    /// A stream, of which only the hash is left.
    Stream(Salted),
}

/// What a record says of the words.
pub struct Hashes {
    request: Hash,
    response: Hash,
    nonce: Hash,
}

/// Starts the hash of a stream.
#[must_use]
pub fn stream(app: &App, call: &Call) -> Salted {
    app.receipts.nonce(&call.id).response()
}

/// Hashes the words of a call that is over. `None` if a thread could not be had: the gateway is ending.
pub async fn of(app: &App, call: &Call, given: Given) -> Option<Hashes> {
    let (nonce, asked) = (app.receipts.nonce(&call.id), call.body.clone());
    let given_bytes = match &given {
        Given::Whole(body) => body.len(),
        Given::Nothing | Given::Stream(_) => 0,
    };
    if asked.len().saturating_add(given_bytes) <= INLINE_BYTES_MAX {
        return Some(Hashes::new(nonce, &asked, given));
    }
    let hashed = tokio::task::spawn_blocking(move || Hashes::new(nonce, &asked, given));
    hashed.await.ok()
}

impl Hashes {
    fn new(nonce: Nonce, asked: &[u8], given: Given) -> Self {
        Self {
            request: nonce.request().all_of(asked),
            response: match given {
                Given::Nothing => nonce.response().finish(),
                Given::Whole(body) => nonce.response().all_of(&body),
                Given::Stream(salted) => salted.finish(),
            },
            nonce: nonce.hash(),
        }
    }

    /// Writes them into the record.
    pub fn enter(self, record: &mut UsageRecord) {
        record.request_hash = Some(self.request);
        record.response_hash = Some(self.response);
        record.nonce_hash = Some(self.nonce);
    }
}
