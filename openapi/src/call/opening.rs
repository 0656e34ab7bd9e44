//! A name for the opening of a prompt, so that calls which begin alike can be sent where that beginning is cached.
//!
//! Decides how much of a prompt its opening is, and hashes it. The hash is the same on every replica and in every
//! version of this crate: routers on different machines speak of the same opening.

use crate::walk::{span_of, string};

/// The shortest opening that is worth a name, in bytes: engines cache prompts in blocks of 16 tokens and more.
const BYTES_MIN: usize = 256;
/// The most bytes of a chat's messages that are hashed.
const CHAT_BYTES_MAX: usize = 4 * 1024;
/// The most bytes of a completion's prompt that are hashed.
const TEXT_BYTES_MAX: usize = 1024;

/// Finds the opening of a chat while its messages are walked: from the first one to the first of a `user` that brings
/// it to [`BYTES_MIN`]. A chat that goes on keeps its opening, since what was said stays as it was.
#[derive(Default)]
pub(super) struct Opening<'de> {
    first: Option<&'de str>,
    last: Option<&'de str>,
    /// Where it ends: a value of the message that completes it.
    end: Option<&'de str>,
}

impl<'de> Opening<'de> {
    /// Notes the value of a message's member, in the order of the text.
    pub(super) fn value(&mut self, raw: &'de str) {
        if self.first.is_none() {
            self.first = Some(raw);
        }
        self.last = Some(raw);
    }

    /// Notes the end of a message with this `role`, as it stands in the text.
    pub(super) fn message(&mut self, role: Option<&'de str>) {
        if self.end.is_some() || !role.is_some_and(is_user) {
            return;
        }
        if let (Some(first), Some(last)) = (self.first, self.last)
            && end_of(last) - first.as_ptr() as usize >= BYTES_MIN
        {
            self.end = self.last;
        }
    }

    /// The hash of the opening in `text`, which the values were taken from; `None` if there is none worth it.
    pub(super) fn hash(&self, text: &str) -> Option<u64> {
        let (first, end) = (self.first?, self.end?);
        let (start, end) = (span_of(text.as_bytes(), first).start, span_of(text.as_bytes(), end).end);
        let opening = &text.as_bytes()[start..end];
        Some(hash(&opening[..opening.len().min(CHAT_BYTES_MAX)]))
    }
}

/// The hash of the opening of a completion's prompt, given as it stands in the text; `None` if it is not worth it.
pub(super) fn of_prompt(raw: &str) -> Option<u64> {
    let bytes = raw.as_bytes();
    (bytes.len() >= BYTES_MIN).then(|| hash(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]))
}

/// Whether a role, as it stands in the text, is that of a user.
fn is_user(raw: &str) -> bool {
    /// The shortest way to write it with an escape: one for a letter.
    const ESCAPED_BYTES_MIN: usize = r#""\u0075ser""#.len();
    raw == r#""user""# || (raw.len() >= ESCAPED_BYTES_MIN && string(raw).is_some_and(|role| role == "user"))
}

fn end_of(raw: &str) -> usize {
    raw.as_ptr() as usize + raw.len()
}

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME_5: u64 = 0x27D4_EB2F_1656_67C5;

/// XXH64 with seed 0 (xxHash specification 0.1.1): several bytes for each cycle, where FNV takes several cycles for
/// each.
fn hash(bytes: &[u8]) -> u64 {
    let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0_u64.wrapping_sub(PRIME_1)];
    let (stripes, rest) = bytes.as_chunks::<32>();
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            *lane = round(*lane, u64::from_le_bytes(*word));
        }
    }
    let mut hash = PRIME_5;
    if !stripes.is_empty() {
        let [a, b, c, d] = lanes;
        hash = a.rotate_left(1);
        hash = hash.wrapping_add(b.rotate_left(7));
        hash = hash.wrapping_add(c.rotate_left(12));
        hash = hash.wrapping_add(d.rotate_left(18));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    avalanche(rest_of(hash, rest))
}

/// Mixes the fewer than 32 bytes that fill no stripe.
fn rest_of(mut hash: u64, rest: &[u8]) -> u64 {
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(PRIME_1);
        hash = hash.rotate_left(23).wrapping_mul(PRIME_2).wrapping_add(PRIME_3);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(PRIME_5);
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash
}

const fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2))
        .rotate_left(31)
        .wrapping_mul(PRIME_1)
}

const fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests;
