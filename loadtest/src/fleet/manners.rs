//! The ways in which a provider is no good to anybody although it takes calls.

use std::time::Duration;

use super::draw::Traits;
use crate::engine::EngineSettings;
use crate::engine::sim::{Fault, FaultKind};

/// How a provider behaves, to every caller.
#[derive(Debug, Clone, Default)]
pub enum Manner {
    /// As well as its traits allow.
    #[default]
    Honest,
    /// Its metrics say that it is idle, and its offer that it takes as many calls at once as the others. In truth it
    /// serves one at a time, eight times slower than it was drawn.
    Liar,
    /// It takes calls and never answers one.
    Sinkhole,
    /// It answers every call with status 500, at once.
    FastFailer,
    /// This goes wrong with every call that brings no fault of its own.
    Faulty(Fault),
}

/// How much slower a liar is than it was drawn.
const LIARS_SLOWNESS: u32 = 8;

impl Manner {
    /// What the engine of a provider with these manners is like, given what an honest one's would be.
    pub(super) fn spoil(&self, honest: EngineSettings) -> EngineSettings {
        let with = |kind| Some(Fault::new(kind));
        match self {
            Self::Honest => honest,
            Self::Liar => EngineSettings {
                claims_idle: true,
                concurrency_max: Some(1),
                ttft: slow(honest.ttft),
                itl: slow(honest.itl),
                ..honest
            },
            Self::Sinkhole => EngineSettings {
                fault: with(FaultKind::Hang),
                ..honest
            },
            Self::FastFailer => EngineSettings {
                fault: with(FaultKind::Http500),
                ..honest
            },
            Self::Faulty(fault) => EngineSettings {
                fault: Some(fault.clone()),
                ..honest
            },
        }
    }

    /// What such a provider asks: `bait` times what it was drawn with, unless it is honest.
    pub(super) fn ask(&self, drawn: Traits, bait: f64) -> Traits {
        match self {
            Self::Honest => drawn,
            Self::Liar | Self::Sinkhole | Self::FastFailer | Self::Faulty(_) => drawn.at_price(bait),
        }
    }
}

/// A first token that came at once takes a while now, too.
fn slow(pace: Duration) -> Duration {
    pace.max(Duration::from_millis(1)) * LIARS_SLOWNESS
}
