//! Step 8, how much: counts what passed and bounds what the provider claims.
//!
//! Without the model's own tokenizer a count is a bound: a token of text is at least one byte, and an event that
//! carries output carries at least one token. A claim above the bound is cut to it, a missing claim is replaced by an
//! estimate, and no claim can raise a bill above what the gateway saw pass.

use filature_billing::Tokens;
use filature_openapi::answer::AnswerView;
use filature_openapi::call::{CallView, Endpoint};
use filature_openapi::chunk::ChunkView;
use filature_openapi::usage::UsageClaim;

/// Tokens a chat template may add for one message, and for the whole prompt (measured on ChatML and Llama 3: 4 to 11).
const TEMPLATE_TOKENS: u64 = 16;
/// Tokens of output that carry no bytes: end-of-turn marks, and what the last event held back.
const SILENT_TOKENS: u64 = 4;
/// Bytes of a token on average, for estimates where nothing was claimed (English text in BPE vocabularies: about 4).
const BYTES_PER_TOKEN: u64 = 4;
/// The same from below, for a stream whose events hold more than one token each: words of that length are rare.
const BYTES_PER_TOKEN_MOST: u64 = 8;

/// What passed through the gateway for one call.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// What the provider says, merged over all its chunks.
    pub claim: Option<UsageClaim>,
    /// Bytes of output: text, reasoning, tool-call arguments.
    pub output_bytes: u64,
    /// Events that carried output; 0 for an answer in one piece.
    pub output_events: u64,
    /// Tokens that other providers had delivered when this one took up. Nobody pays for them twice.
    pub carried_tokens: u64,
    /// Those of them that stand in this one's prompt: all but white space at their end.
    pub carried_in_prompt: u64,
    /// Tokens of that white space, which this one made anew and the caller had.
    pub repeated_tokens: u64,
}

/// What is written into the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// What the provider claimed, if anything.
    pub claimed: Option<Tokens>,
    /// What the gateway's own count allows at most.
    pub counted: Tokens,
    /// What is paid for.
    pub billed: Tokens,
}

impl Meter {
    /// Counts an answer that came in one piece.
    pub fn whole(answer: &AnswerView) -> Self {
        Self {
            claim: answer.usage,
            output_bytes: u64::from(answer.output_bytes),
            output_events: 0,
            ..Self::default()
        }
    }

    /// Counts one event of a stream.
    pub fn event(&mut self, chunk: &ChunkView) {
        self.output_bytes += u64::from(chunk.output_bytes);
        self.output_events += u64::from(chunk.has_output);
        if let Some(usage) = chunk.usage {
            self.claim = Some(merge(self.claim, usage));
        }
    }

    /// Of the event just counted, `bytes` were withheld because the caller has them; `whole` if nothing was left of it.
    pub fn repeated(&mut self, bytes: usize, whole: bool) {
        self.output_bytes = self.output_bytes.saturating_sub(bytes as u64);
        self.output_events = self.output_events.saturating_sub(u64::from(whole));
        self.repeated_tokens += u64::from(whole);
    }

    /// What the call is billed for. `prompt` is false where the provider forfeits it; `output_tokens_max` is per choice.
    #[must_use]
    pub fn bill(&self, view: &CallView, prompt: bool, output_tokens_max: u32) -> Metered {
        let claim = self.claim.unwrap_or_default();
        let choices = u64::from(view.n) * prompts(view);
        let counted = Tokens {
            prompt: prompt_bound(view),
            completion: match view.endpoint {
                Endpoint::Embeddings => 0,
                _ => (self.output_bytes + SILENT_TOKENS * choices).min(u64::from(output_tokens_max) * choices),
            },
            ..Tokens::default()
        };
        let asked = self
            .own_prompt(&claim)
            .unwrap_or_else(|| u64::from(prompt_estimate(view)));
        let completion = self
            .own_completion(&claim)
            .unwrap_or_else(|| self.output_estimate(view.endpoint));
        let mut billed = Tokens {
            completion: completion.min(counted.completion),
            ..Tokens::default()
        };
        billed.reasoning = claim.reasoning.unwrap_or(0).min(billed.completion);
        if prompt {
            billed.prompt = asked.min(counted.prompt);
            billed.cached_prompt = claim.cached_prompt.unwrap_or(0).min(billed.prompt);
        }
        Metered {
            claimed: self.claim.map(claimed),
            counted,
            billed,
        }
    }

    /// Prompt and completion tokens of the whole answer so far, as the caller is told them where the engine does not say:
    /// the same figures that it is billed for.
    #[must_use]
    pub fn told_usage(&self, endpoint: Endpoint, prompt_estimate: u32) -> (u64, u64) {
        let claim = self.claim.unwrap_or_default();
        let prompt = self.own_prompt(&claim).unwrap_or(u64::from(prompt_estimate));
        let completion = self
            .own_completion(&claim)
            .unwrap_or_else(|| self.output_estimate(endpoint));
        (prompt, completion.saturating_add(self.carried_tokens))
    }

    /// The claimed prompt without what other providers had written.
    fn own_prompt(&self, claim: &UsageClaim) -> Option<u64> {
        Some(claim.prompt?.saturating_sub(self.carried_in_prompt))
    }

    /// The claimed completion without what the caller had.
    fn own_completion(&self, claim: &UsageClaim) -> Option<u64> {
        Some(claim.completion?.saturating_sub(self.repeated_tokens))
    }

    /// Completion tokens as far as known, for the router.
    #[must_use]
    pub fn completion_tokens(&self, endpoint: Endpoint) -> u32 {
        let claimed = self.claim.and_then(|claim| claim.completion);
        u32::try_from(claimed.unwrap_or_else(|| self.output_estimate(endpoint))).unwrap_or(u32::MAX)
    }

    fn output_estimate(&self, endpoint: Endpoint) -> u64 {
        match endpoint {
            Endpoint::Embeddings => 0,
            _ if self.output_events > 0 => self.output_events.max(self.output_bytes / BYTES_PER_TOKEN_MOST),
            _ => self.output_bytes.div_ceil(BYTES_PER_TOKEN),
        }
    }
}

/// The later claim of each kind: engines that report cumulative usage repeat it in every chunk.
fn merge(earlier: Option<UsageClaim>, later: UsageClaim) -> UsageClaim {
    let earlier = earlier.unwrap_or_default();
    UsageClaim {
        prompt: later.prompt.or(earlier.prompt),
        cached_prompt: later.cached_prompt.or(earlier.cached_prompt),
        completion: later.completion.or(earlier.completion),
        reasoning: later.reasoning.or(earlier.reasoning),
    }
}

fn claimed(claim: UsageClaim) -> Tokens {
    Tokens {
        prompt: claim.prompt.unwrap_or(0),
        cached_prompt: claim.cached_prompt.unwrap_or(0),
        completion: claim.completion.unwrap_or(0),
        reasoning: claim.reasoning.unwrap_or(0),
    }
}

/// The most tokens the prompt can have.
#[must_use]
pub fn prompt_bound(view: &CallView) -> u64 {
    u64::from(view.prompt_bytes) + TEMPLATE_TOKENS * (u64::from(view.prompt_items) + 1)
}

/// About how many tokens the prompt has.
#[must_use]
pub fn prompt_estimate(view: &CallView) -> u32 {
    u32::try_from(u64::from(view.prompt_bytes).div_ceil(BYTES_PER_TOKEN)).unwrap_or(u32::MAX)
}

/// How many prompts get an answer of their own: several only for completions with a list of prompts.
#[must_use]
pub fn prompts(view: &CallView) -> u64 {
    match view.endpoint {
        Endpoint::Completions => u64::from(view.prompt_items.max(1)),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filature_openapi::call::parse_call;

    fn view() -> CallView {
        let body = br#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":"four score and seven"}]}"#;
        parse_call(Endpoint::ChatCompletions, body).expect("a good body")
    }

    fn billed(meter: &Meter) -> Tokens {
        meter.bill(&view(), true, 50).billed
    }

    fn claim(prompt: u64, completion: u64) -> Option<UsageClaim> {
        Some(UsageClaim {
            prompt: Some(prompt),
            completion: Some(completion),
            ..UsageClaim::default()
        })
    }

    #[test]
    fn an_honest_claim_is_paid_as_claimed() {
        let meter = Meter {
            claim: claim(12, 20),
            output_bytes: 80,
            output_events: 20,
            ..Meter::default()
        };
        assert_eq!(
            billed(&meter),
            Tokens {
                prompt: 12,
                completion: 20,
                ..Tokens::default()
            }
        );
    }

    #[test]
    fn an_absurd_claim_is_cut_to_what_passed() {
        let meter = Meter {
            claim: claim(u64::from(u32::MAX), u64::from(u32::MAX)),
            output_bytes: 10,
            output_events: 3,
            ..Meter::default()
        };
        let tokens = billed(&meter);
        assert_eq!(tokens.completion, 14);
        assert_eq!(tokens.prompt, prompt_bound(&view()));
    }

    #[test]
    fn a_claim_never_exceeds_what_the_caller_asked_for() {
        let meter = Meter {
            claim: claim(12, 10_000),
            output_bytes: 100_000,
            output_events: 9,
            ..Meter::default()
        };
        assert_eq!(billed(&meter).completion, 50);
    }

    #[test]
    fn a_missing_claim_is_estimated_by_events_and_bytes() {
        let meter = |output_bytes, output_events| Meter {
            claim: None,
            output_bytes,
            output_events,
            ..Meter::default()
        };
        assert_eq!(billed(&meter(20, 7)).completion, 7);
        // An engine may put many tokens into one event.
        assert_eq!(billed(&meter(320, 7)).completion, 40);
    }

    #[test]
    fn an_explicit_zero_is_not_a_missing_claim() {
        let meter = Meter {
            claim: claim(0, 0),
            output_bytes: 400,
            output_events: 7,
            ..Meter::default()
        };
        assert_eq!(billed(&meter), Tokens::default());
    }

    #[test]
    fn a_forfeited_prompt_is_free() {
        let meter = Meter {
            claim: claim(12, 5),
            output_bytes: 400,
            output_events: 7,
            ..Meter::default()
        };
        let tokens = meter.bill(&view(), false, 50).billed;
        assert_eq!(
            tokens,
            Tokens {
                completion: 5,
                ..Tokens::default()
            }
        );
    }

    #[test]
    fn parts_never_exceed_their_whole() {
        let lie = UsageClaim {
            prompt: Some(10),
            cached_prompt: Some(99),
            completion: Some(5),
            reasoning: Some(99),
        };
        let tokens = billed(&Meter {
            claim: Some(lie),
            output_bytes: 400,
            output_events: 7,
            ..Meter::default()
        });
        assert_eq!((tokens.cached_prompt, tokens.reasoning), (10, 5));
    }
}
