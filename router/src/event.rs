//! What the fleet is told. The gateway translates; the fleet believes events about calls, because
//! the gateway saw them itself, and heartbeats only as far as they make a provider look worse.

use std::time::Duration;

use crate::memory::Memory;
use crate::names::{ModelId, ProviderId};
use crate::offer::OfferedModel;

/// Something that happened. Events about unknown providers or models change nothing.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A provider offers these models. Again: replaces the offer (and ends draining), keeps what
    /// was observed, also across a short absence.
    Joined {
        /// Who.
        provider: ProviderId,
        /// Everything it offers; of two entries for one model the first counts.
        models: Vec<OfferedModel>,
    },
    /// A provider is gone. What was observed of it is remembered for a while, so that
    /// reconnecting does not wash off failures.
    Left {
        /// Who.
        provider: ProviderId,
    },
    /// What a provider's engine says of itself, over all of its models and all gateways.
    Heartbeat {
        /// Who.
        provider: ProviderId,
        /// Calls the engine works on.
        running: u32,
        /// Calls the engine has queued.
        waiting: u32,
        /// Share of its cache that running calls hold, 0 to 1; 0 where it is not known.
        cache_use: f32,
    },
    /// A provider finishes what it has and takes no new calls.
    Draining {
        /// Who.
        provider: ProviderId,
    },
    /// A plan names this provider first, and its attempt has yet to start. Apply it right after
    /// [`route`](crate::route()), before the next decision, so that the place is not given twice.
    Planned {
        /// Who will serve it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
    },
    /// That attempt has started, or never will. Exactly once for each `Planned`.
    Unplanned {
        /// Who was to serve it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
    },
    /// An attempt is on its way. Where no `Planned` was applied for it, apply it right after
    /// [`route`](crate::route()), before the next decision.
    Started {
        /// Who serves it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// Prompt tokens it has to work through:
        /// [`Attempt::prefill_tokens`](crate::Attempt::prefill_tokens), the same in all three
        /// events of an attempt.
        prompt_tokens: u32,
        /// What the attempt is for.
        kind: Try,
    },
    /// The answer of the attempt that has just started will come whole: nobody will see its first
    /// token, so that it is not late without one. Without this event, a call in one piece makes its
    /// provider look stalled while it is at work.
    Unstreamed {
        /// Who serves it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// As in `Started`.
        prompt_tokens: u32,
    },
    /// The first output of a *streamed* answer. An answer that comes whole has no first token
    /// worth measuring: leave this event out and end with `first_token_seen: false`.
    FirstToken {
        /// Who serves it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// As in `Started`.
        prompt_tokens: u32,
        /// Time since `Started`.
        after: Duration,
    },
    /// An attempt is over. Exactly once for each `Started`.
    Ended {
        /// Who served it.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// As in `Started`.
        prompt_tokens: u32,
        /// Whether `FirstToken` was applied for this attempt.
        first_token_seen: bool,
        /// How it ended.
        end: End,
    },
    /// A provider claimed more tokens of a call than passed. Once for such an attempt, after its
    /// `Ended`; without word of one, its claim was right.
    Overclaimed {
        /// Who.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// Tokens that were borne out, prompt and answer: what is paid for.
        borne_out: u64,
        /// Tokens that were claimed beyond.
        beyond: u64,
    },
    /// A provider's cache holds an opening of prompts from now on.
    Saw {
        /// Whose cache.
        provider: ProviderId,
        /// The asked model.
        model: ModelId,
        /// As in [`Ask::prefix`](crate::Ask::prefix).
        prefix: u64,
        /// Tokens of prompts with that prefix that it has worked through.
        tokens: u32,
    },
    /// What a sibling of this fleet knows of a provider: adopted where this one knows less.
    Remembered(Memory),
}

/// What an attempt is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Try {
    /// A call's first attempt.
    #[default]
    First,
    /// Another one, after a failure before the first token.
    Retry,
    /// A second one beside the first, which is slow.
    Hedge,
    /// The rest of a stream that broke in the middle.
    Rescue,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// To its end. Without a first token seen: a whole answer, timed from `Started`.
    Served {
        /// Completion tokens of the answer; zero for embeddings.
        completion_tokens: u32,
        /// Time since the first token; not looked at for a whole answer.
        after_first_token: Duration,
    },
    /// Before the first token: reset, time-out, error status, an answer that is none.
    FailedEarly,
    /// In the middle of the answer: reset or stall.
    Broke,
    /// By the caller, or as the loser of a race: says nothing about the provider.
    Cancelled,
    /// The provider said it is full or draining (429, 503): no failure, but leave it alone briefly.
    Refused,
}
