//! Calls on their way that have not given a first token yet: how much prefill lies ahead of the
//! next call, and since when the oldest has waited.

use smallvec::SmallVec;

use crate::time::Time;

/// Calls remembered at most. Beyond it prefill is undercounted, which only matters to a provider
/// far over every limit.
const CALLS_MAX: usize = 256;

/// A call without a first token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitingCall {
    pub(crate) started: Time,
    pub(crate) prompt_tokens: u32,
    /// Prompt tokens that were waiting when this call started.
    pub(crate) tokens_ahead: u64,
    /// Whether its first token will be seen.
    pub(crate) is_streamed: bool,
}

/// Calls of one seat without a first token, oldest first.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Waiting {
    calls: SmallVec<[WaitingCall; 2]>,
    tokens: u64,
}

impl Waiting {
    pub(crate) fn started(&mut self, prompt_tokens: u32, now: Time) {
        if self.calls.len() >= CALLS_MAX {
            return;
        }
        let tokens_ahead = self.tokens;
        self.tokens += u64::from(prompt_tokens);
        self.calls.push(WaitingCall {
            started: now,
            prompt_tokens,
            tokens_ahead,
            is_streamed: true,
        });
    }

    /// The first token of the call of this size that started last will not be seen.
    pub(crate) fn unstreamed(&mut self, prompt_tokens: u32) {
        let is_meant = |call: &&mut WaitingCall| call.prompt_tokens == prompt_tokens && call.is_streamed;
        if let Some(call) = self.calls.iter_mut().rev().find(is_meant) {
            call.is_streamed = false;
        }
    }

    /// Takes out the call of this size that started nearest to `started`. Events carry no call id:
    /// among calls of one size a mix-up shifts an estimate a little and breaks nothing.
    pub(crate) fn take(&mut self, prompt_tokens: u32, started: Time) -> Option<WaitingCall> {
        let distance = |call: &WaitingCall| call.started.as_micros().abs_diff(started.as_micros());
        let (at, _) = self
            .calls
            .iter()
            .enumerate()
            .filter(|(_, call)| call.prompt_tokens == prompt_tokens)
            .min_by_key(|(_, call)| distance(call))?;
        let call = self.calls.remove(at);
        self.tokens = self.tokens.saturating_sub(u64::from(prompt_tokens));
        Some(call)
    }

    /// Takes out the oldest call of this size.
    pub(crate) fn take_oldest(&mut self, prompt_tokens: u32) -> Option<WaitingCall> {
        self.take(prompt_tokens, Time::default())
    }

    /// The call that has waited longest for a first token that will be seen.
    pub(crate) fn oldest(&self) -> Option<&WaitingCall> {
        self.calls.iter().find(|call| call.is_streamed)
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        if self.calls.spilled() {
            self.calls.capacity() * size_of::<WaitingCall>()
        } else {
            0
        }
    }

    /// Prompt tokens that wait.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Time {
        Time::from_micros(s * 1_000_000)
    }

    #[test]
    fn prefill_ahead_is_what_started_earlier_and_still_waits() {
        let mut waiting = Waiting::default();
        waiting.started(100, at(1));
        waiting.started(30, at(2));
        assert_eq!(waiting.tokens(), 130);
        assert_eq!(waiting.take(100, at(1)).map(|c| c.tokens_ahead), Some(0));
        waiting.started(7, at(3));
        let last = waiting.take(7, at(3)).expect("it waits");
        assert_eq!(last.tokens_ahead, 30);
        assert_eq!(waiting.oldest().map(|c| c.started), Some(at(2)));
    }

    #[test]
    fn among_calls_of_one_size_the_nearest_start_is_meant() {
        let mut waiting = Waiting::default();
        for second in [1, 5, 9] {
            waiting.started(10, at(second));
        }
        assert_eq!(waiting.take(10, at(6)).map(|c| c.started), Some(at(5)));
        assert_eq!(waiting.take_oldest(10).map(|c| c.started), Some(at(1)));
        assert_eq!(waiting.take(11, at(9)), None);
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn a_call_that_comes_whole_keeps_nobody_waiting_for_its_first_token() {
        let mut waiting = Waiting::default();
        for second in [1, 5] {
            waiting.started(10, at(second));
            waiting.unstreamed(10);
        }
        waiting.unstreamed(99);
        assert_eq!(waiting.oldest(), None);
        waiting.started(10, at(7));
        assert_eq!(waiting.oldest().map(|c| c.started), Some(at(7)));
        assert_eq!(waiting.tokens(), 30, "its prompt is worked through all the same");
    }

    #[test]
    fn the_list_is_bounded_and_its_sum_never_negative() {
        let mut waiting = Waiting::default();
        for _ in 0..10_000 {
            waiting.started(1, at(0));
        }
        assert_eq!(waiting.len(), CALLS_MAX);
        for _ in 0..10_000 {
            waiting.take_oldest(1);
        }
        assert_eq!((waiting.len(), waiting.tokens()), (0, 0));
    }
}
