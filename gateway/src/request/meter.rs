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
use crate::tokens::{self, BYTES, Measure, Measures, OutputText};

/// Tokens a chat template may add for one message, and for the whole prompt (measured on ChatML and Llama 3: 4 to 11).
const TEMPLATE_TOKENS: u64 = 16;
/// The most tokens that a provider is believed to have made of one picture, video or recording, and what one is taken for
/// where nothing is claimed. (Qwen2.5-VL makes up to 1,280 of a picture as vLLM runs it, OpenAI's models up to 1,500, InternVL
/// about 3,300.)
const MEDIA_TOKENS_MAX: u64 = 4096;
const MEDIA_TOKENS: u64 = 512;
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

/// The most tokens the prompt can have.
#[must_use]
pub fn prompt_bound(view: &CallView) -> u64 {
    media_bound(view) + u64::from(view.prompt_bytes) + TEMPLATE_TOKENS * (u64::from(view.prompt_items) + 1)
}

/// The most tokens that the media in a prompt can be.
#[must_use]
pub fn media_bound(view: &CallView) -> u64 {
    MEDIA_TOKENS_MAX * u64::from(view.media_parts)
}

/// About how many tokens the prompt has.
#[must_use]
pub fn prompt_estimate(view: &CallView) -> u32 {
    let text = u64::from(view.prompt_bytes).div_ceil(BYTES_PER_TOKEN);
    u32::try_from(text + MEDIA_TOKENS * u64::from(view.media_parts)).unwrap_or(u32::MAX)
}

/// Bytes of an answer that are the prompt said again, about: it is paid for as a prompt, and once.
fn echoed_bytes(view: &CallView) -> u64 {
    if echoes(view) {
        u64::from(view.prompt_bytes).saturating_mul(u64::from(view.n))
    } else {
        0
    }
}

/// Whether the answer begins with the prompt: only completions know how to.
fn echoes(view: &CallView) -> bool {
    view.echo && view.endpoint == Endpoint::Completions
}

/// The same in tokens, where they are counted.
fn echoed_tokens(view: &CallView, count: &Count) -> u64 {
    if !echoes(view) {
        return 0;
    }
    let prompt = count
        .prompt
        .map_or_else(|| u64::from(prompt_estimate(view)), |prompt| prompt.tokens);
    prompt.saturating_mul(u64::from(view.n))
}

/// How many choices there are to be.
#[must_use]
pub fn choices(view: &CallView) -> u32 {
    u32::try_from(u64::from(view.n) * prompts(view)).unwrap_or(u32::MAX)
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

    fn bill(meter: &Meter, prompt: bool, count: Option<&Count>) -> Metered {
        let terms = Terms {
            prompt,
            prompt_tokens_max: prompt_bound(&view()),
            output_tokens_max: 50,
            price: &Price::default(),
            count,
        };
        meter.bill(&view(), &terms)
    }

    fn billed(meter: &Meter) -> Tokens {
        bill(meter, true, None).billed
    }

    fn claim(prompt: u64, completion: u64) -> Option<UsageClaim> {
        Some(UsageClaim {
            prompt: Some(prompt),
            completion: Some(completion),
            ..UsageClaim::default()
        })
    }

    #[test]
    fn the_router_and_rescue_believe_no_more_tokens_than_passed() {
        let absurd = Meter {
            claim: claim(12, 4_294_967_295),
            output_bytes: 80,
            output_events: 20,
            ..Meter::default()
        };
        assert_eq!(u64::from(absurd.completion_tokens(&view())), 80 + SILENT_TOKENS);
        let honest = Meter {
            claim: claim(12, 21),
            ..absurd
        };
        assert_eq!(honest.completion_tokens(&view()), 21);
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
        let Metered {
            billed: tokens,
            overclaimed,
            ..
        } = bill(&meter, true, None);
        assert_eq!(tokens.completion, 14);
        assert_eq!(tokens.prompt, prompt_bound(&view()));
        let beyond = |tokens| u64::from(u32::MAX) - tokens;
        let beyond = (beyond(tokens.prompt), beyond(tokens.completion));
        assert_eq!((overclaimed.prompt, overclaimed.completion), beyond);
        // A prompt that is forfeited was not claimed beyond anything.
        let broken = bill(&meter, false, None).overclaimed;
        assert_eq!((broken.prompt, broken.completion), (0, beyond.1));
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
    fn a_prompt_that_is_echoed_is_paid_for_once() {
        let prompt = "four score and seven years ago our fathers brought forth ".repeat(8);
        let body = format!(r#"{{"model":"m","n":2,"max_tokens":1000,"prompt":"{prompt}","echo":true}}"#);
        let view = parse_call(Endpoint::Completions, body.as_bytes()).expect("a good body");
        let terms = Terms {
            prompt: true,
            prompt_tokens_max: prompt_bound(&view),
            output_tokens_max: 1000,
            price: &Price::default(),
            count: None,
        };
        // Each choice says the prompt, and forty bytes of its own.
        let said = 2 * (prompt.len() as u64 + 40);
        for output_events in [0, 30] {
            let mut meter = Meter {
                output_bytes: said,
                output_events,
                ..Meter::default()
            };
            let silent = meter.bill(&view, &terms).billed;
            assert_eq!(silent.prompt, u64::from(prompt_estimate(&view)));
            assert!((18..=20).contains(&silent.completion), "{silent:?}");
            let told = meter.told_usage(&Told::of(&view, terms.prompt_tokens_max));
            assert_eq!(told.completion, silent.completion);
            assert_eq!(u64::from(meter.completion_tokens(&view)), silent.completion);
            // A claim is another matter.
            meter.claim = claim(120, 25);
            assert_eq!(meter.bill(&view, &terms).billed.completion, 25);
        }
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
        let tokens = bill(&meter, false, None).billed;
        assert_eq!(
            tokens,
            Tokens {
                completion: 5,
                ..Tokens::default()
            }
        );
    }

    #[test]
    fn a_picture_by_url_may_be_more_tokens_than_its_url_has_bytes() {
        let body = br#"{"model":"m","max_tokens":50,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}"#;
        let view = parse_call(Endpoint::ChatCompletions, body).expect("a good body");
        let meter = Meter {
            claim: claim(1200, 5),
            output_bytes: 400,
            output_events: 7,
            ..Meter::default()
        };
        let terms = Terms {
            prompt: true,
            prompt_tokens_max: prompt_bound(&view),
            output_tokens_max: 50,
            price: &Price::default(),
            count: None,
        };
        assert_eq!(meter.bill(&view, &terms).billed.prompt, 1200);
        assert!(prompt_bound(&view) < 4500 && prompt_estimate(&view) < 600);
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
