//! Step 8, how much: counts what passed and bounds what the provider claims.
//!
//! Where the model's own tokenizer has counted ([`super::count`]), that is what passed. Else a count is a bound: a token
//! of text is at least one byte, and an event that carries output carries at least one token. A claim above what passed is
//! cut to it, a missing claim is replaced by the count or an estimate (`crate::tokens::rule`), and no claim can raise a bill
//! above what the gateway saw pass.

use filature_billing::{Price, Tokens};
use filature_openapi::answer::AnswerView;
use filature_openapi::call::{CallView, Endpoint};
use filature_openapi::chunk::ChunkView;
use filature_openapi::usage::UsageClaim;

use super::count::Count;
use super::size::{BYTES_PER_TOKEN, choices, echoed_bytes, echoes, prompt_bound, prompt_estimate};
use crate::tokens::{self, BYTES, Measure, Measures, OutputText};

/// Tokens of output that carry no bytes: end-of-turn marks, and what the last event held back.
const SILENT_TOKENS: u64 = 4;
/// Bytes of a token from above, for a stream whose events hold more than one token each: longer words are rare.
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
    /// The words themselves, where they are to be counted.
    pub text: Option<Box<OutputText>>,
}

/// What the usage that a caller is told is made from, beside what passed.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// The route called.
    pub endpoint: Endpoint,
    /// Choices asked for.
    pub choices: u32,
    /// About how many tokens the prompt has.
    pub prompt_estimate: u32,
    /// The most it can have.
    pub prompt_tokens_max: u64,
    /// Bytes of the answer that are the prompt said again.
    pub echoed_bytes: u64,
}

impl Told {
    /// Of a call whose hold was made for a prompt of `prompt_tokens_max`.
    #[must_use]
    pub fn of(view: &CallView, prompt_tokens_max: u64) -> Self {
        Self {
            endpoint: view.endpoint,
            choices: choices(view),
            prompt_estimate: prompt_estimate(view),
            prompt_tokens_max,
            echoed_bytes: echoed_bytes(view),
        }
    }
}

/// Tokens as a caller is told them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldUsage {
    /// Of the prompt.
    pub prompt: u64,
    /// Of the answer.
    pub completion: u64,
}

impl ToldUsage {
    /// As the value of `usage`.
    #[must_use]
    pub fn json(self) -> String {
        let Self { prompt, completion } = self;
        let total = prompt.saturating_add(completion);
        format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total}}}"#)
    }
}

/// What one provider's part is billed by.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Whether it is paid for the prompt: one that breaks off forfeits it.
    pub prompt: bool,
    /// The most tokens of prompt that the hold was made for.
    pub prompt_tokens_max: u64,
    /// The most tokens of output for each choice.
    pub output_tokens_max: u32,
    /// At what price.
    pub price: &'a Price,
    /// What the model's tokenizer counted.
    pub count: Option<&'a Count>,
}

/// What is written into the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// What the provider claimed, if anything.
    pub claimed: Option<Tokens>,
    /// What the gateway counted, or allows at most where it only bounds.
    pub counted: Tokens,
    /// Who counted; `bytes` where anything was only bounded.
    pub counted_by: Box<str>,
    /// What is paid for.
    pub billed: Tokens,
    /// What was claimed beyond what passed: nothing of a prompt that is forfeited, nor of a part of either.
    pub overclaimed: Tokens,
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

    /// Counts one event of a stream; `data` is what `chunk` was parsed from.
    pub fn event(&mut self, chunk: &ChunkView, data: &[u8]) {
        if let Some(text) = &mut self.text {
            text.event(chunk, data);
        }
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
        if let Some(text) = &mut self.text {
            text.withhold(bytes);
        }
    }

    /// What a provider's part is billed for.
    #[must_use]
    pub fn bill(&self, view: &CallView, terms: &Terms<'_>) -> Metered {
        let claim = self.claim.unwrap_or_default();
        let own = UsageClaim {
            prompt: self.own_prompt(&claim),
            completion: self.own_completion(&claim),
            ..claim
        };
        let prompt = self.prompt(view, terms);
        let completion = self.completion(view, terms);
        let passed = Measures {
            prompt: if terms.prompt { prompt.0 } else { Measure::default() },
            completion: completion.0,
            reasoning: terms
                .count
                .map(|count| Measure::counted(count.output.reasoning, count.tokenizer.tolerance)),
        };
        let by = terms
            .count
            .filter(|count| count.prompt.is_some() || !terms.prompt)
            .map_or(BYTES, |count| &count.tokenizer.name);
        let billed = tokens::billed(&own, &passed, terms.price);
        let beyond = |claimed: Option<u64>, billed: u64| claimed.map_or(0, |claimed| claimed.saturating_sub(billed));
        Metered {
            claimed: self.claim.map(claimed),
            counted: Tokens {
                prompt: prompt.1,
                completion: completion.1,
                ..Tokens::default()
            },
            counted_by: by.into(),
            billed,
            overclaimed: Tokens {
                prompt: beyond(own.prompt.filter(|_| terms.prompt), billed.prompt),
                completion: beyond(own.completion, billed.completion),
                ..Tokens::default()
            },
        }
    }

    /// The prompt as it passed, and as records say it.
    fn prompt(&self, view: &CallView, terms: &Terms<'_>) -> (Measure, u64) {
        match terms.count.and_then(|count| Some((count, count.prompt?))) {
            Some((count, prompt)) => {
                let measure = Measure::counted(prompt, count.tokenizer.tolerance);
                (measure.within(terms.prompt_tokens_max), prompt.tokens)
            }
            None => {
                let bound = prompt_bound(view).min(terms.prompt_tokens_max);
                (Measure::bounded(u64::from(prompt_estimate(view)), bound), bound)
            }
        }
    }

    /// The answer as it passed, and as records say it.
    fn completion(&self, view: &CallView, terms: &Terms<'_>) -> (Measure, u64) {
        if view.endpoint == Endpoint::Embeddings {
            return (Measure::default(), 0);
        }
        let asked = u64::from(terms.output_tokens_max) * u64::from(choices(view));
        let bound = self.output_bound(view).min(asked);
        match terms.count {
            Some(count) => {
                let output = count.output.completion;
                let measure = Measure::counted(output, count.tokenizer.tolerance);
                // What a claim may come to stays as it is: an engine that does not know `echo` said nothing twice.
                let tokens = measure.tokens.saturating_sub(echoed_tokens(view, count));
                (Measure { tokens, ..measure }.within(bound), tokens)
            }
            None => {
                let estimate = self.output_estimate(view.endpoint, echoed_bytes(view));
                (Measure::bounded(estimate, bound), bound)
            }
        }
    }

    /// The most tokens that the output can have, by its bytes.
    #[must_use]
    pub fn output_bound(&self, view: &CallView) -> u64 {
        self.output_bytes + SILENT_TOKENS * u64::from(choices(view))
    }

    /// Prompt and completion tokens of the whole answer so far, as the caller is told them where the engine does not say,
    /// or says more than passed: no more than is billed by bytes.
    #[must_use]
    pub fn told_usage(&self, told: &Told) -> ToldUsage {
        let claim = self.claim.unwrap_or_default();
        let prompt = self.own_prompt(&claim).unwrap_or(u64::from(told.prompt_estimate));
        let completion = self
            .own_completion(&claim)
            .unwrap_or_else(|| self.output_estimate(told.endpoint, told.echoed_bytes));
        let completion = completion.min(self.output_bytes + SILENT_TOKENS * u64::from(told.choices));
        ToldUsage {
            prompt: prompt.min(told.prompt_tokens_max),
            completion: completion.saturating_add(self.carried_tokens),
        }
    }

    /// Whether the engine claims more than can have passed.
    #[must_use]
    pub fn is_absurd(&self, told: &Told) -> bool {
        let Some(claim) = self.claim else { return false };
        let output_most = self.output_bytes + SILENT_TOKENS * u64::from(told.choices);
        self.own_prompt(&claim)
            .is_some_and(|prompt| prompt > told.prompt_tokens_max)
            || self
                .own_completion(&claim)
                .is_some_and(|completion| completion > output_most)
    }

    /// The claimed prompt without what other providers had written.
    fn own_prompt(&self, claim: &UsageClaim) -> Option<u64> {
        Some(claim.prompt?.saturating_sub(self.carried_in_prompt))
    }

    /// The claimed completion without what the caller had.
    fn own_completion(&self, claim: &UsageClaim) -> Option<u64> {
        Some(claim.completion?.saturating_sub(self.repeated_tokens))
    }

    /// Completion tokens as far as known, for the router and for rescue: a claim counts up to what can have passed, or a
    /// provider could look fast, or its broken answer complete, by its word.
    #[must_use]
    pub fn completion_tokens(&self, view: &CallView) -> u32 {
        let claimed = self.claim.and_then(|claim| claim.completion);
        let tokens = claimed.map_or_else(
            || self.output_estimate(view.endpoint, echoed_bytes(view)),
            |claimed| claimed.min(self.output_bound(view)),
        );
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// Completion tokens as they passed, whatever is claimed.
    #[must_use]
    pub fn passed_tokens(&self, view: &CallView) -> u64 {
        self.output_estimate(view.endpoint, 0)
    }

    fn output_estimate(&self, endpoint: Endpoint, echoed_bytes: u64) -> u64 {
        match endpoint {
            Endpoint::Embeddings => 0,
            // Nobody knows in how many events the prompt came.
            _ if echoed_bytes > 0 => self.output_bytes.saturating_sub(echoed_bytes).div_ceil(BYTES_PER_TOKEN),
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

/// Tokens of an answer that are the prompt said again, where they are counted.
fn echoed_tokens(view: &CallView, count: &Count) -> u64 {
    if !echoes(view) {
        return 0;
    }
    let prompt = count
        .prompt
        .map_or_else(|| u64::from(prompt_estimate(view)), |prompt| prompt.tokens);
    prompt.saturating_mul(u64::from(view.n))
}

#[cfg(test)]
mod tests;
