//! What one fleet tells its siblings of a provider: averages, so that a new gateway does not start
//! from nothing.

use std::time::Duration;

use crate::names::{ModelId, ProviderId};
use crate::seat::Seat;
use crate::time::Time;

/// What was learnt of one provider with one model. Plain numbers, to be stored anywhere.
#[derive(Clone, PartialEq, Debug)]
pub struct Memory {
    /// Who.
    pub provider: ProviderId,
    /// Which model.
    pub model: ModelId,
    /// Overhead before a first token, seconds.
    pub base_s: f64,
    /// Seconds per prompt token.
    pub prefill_s: f64,
    /// The least overhead seen, seconds.
    pub floor_s: f64,
    /// Seconds per completion token, beside `gap_streams` streams.
    pub gap_s: f64,
    /// Streams at once that `gap_s` was measured with, on average.
    pub gap_streams: f64,
    /// First tokens these rest on.
    pub first_tokens: u32,
    /// Streams that `gap_s` rests on.
    pub gaps: u32,
    /// Calls served to their end.
    pub served: u32,
    /// Failures that still count.
    pub errors: f64,
    /// How long ago the last first token was seen.
    pub age: Duration,
}

impl Memory {
    pub(crate) fn of(seat: &Seat, now: Time) -> Option<Self> {
        let seen = &seat.seen;
        if seen.latency.first_tokens() == 0 {
            return None;
        }
        let mut memory = Self {
            provider: seat.provider.clone(),
            model: seat.offer.model.clone(),
            base_s: 0.0,
            prefill_s: 0.0,
            floor_s: 0.0,
            gap_s: 0.0,
            gap_streams: 0.0,
            first_tokens: 0,
            gaps: 0,
            served: seen.served,
            errors: seen.errors.weight(now),
            age: Duration::ZERO,
        };
        seen.latency.tell(&mut memory, now);
        Some(memory)
    }
}
