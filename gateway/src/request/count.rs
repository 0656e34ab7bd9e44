//! Step 8, by the model's own tokenizer: handed out where texts are known, collected when the call is settled.
//!
//! The prompt is counted while engines work on it, the answer once it has ended; no byte waits for either. Where there is
//! no tokenizer, the text cannot be counted, or the count is late, the bounds by bytes stay.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use filature_openapi::call::Needs;
use futures_util::future::join_all;

use super::Call;
use super::dispatch::Served;
use super::size;
use crate::app::App;
use crate::tokens::{Counted, OutputCount, OutputText, Pending, PromptText, Tokenizer};

/// How long a bill waits for its counts. The caller has its answer by then; its money is held a little longer. What is
/// counted later is billed by the bounds of bytes, and nobody counts it any more.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// What a chat template says about tools before it lists them: 60 to 200 tokens in those of Qwen 2.5 and Llama 3.1.
const TOOLS_TOKENS: u64 = 256;

/// A prompt that is being counted.
pub struct Prompt {
    tokenizer: Arc<Tokenizer>,
    pending: Pending<Counted>,
}

/// What one provider's part comes to, by the tokenizer of the model that it served.
#[derive(Debug, Clone)]
pub struct Count {
    /// Who counted.
    pub tokenizer: Arc<Tokenizer>,
    /// The prompt; `None` where it is forfeited, or shows what cannot be counted.
    pub prompt: Option<Counted>,
    /// What was delivered.
    pub output: OutputCount,
}

impl Prompt {
    /// Has the prompt of a call counted; `None` where the model has no tokenizer.
    #[must_use]
    pub fn begin(app: &App, call: &Call, model: &str) -> Option<Self> {
        let tokenizer = app.tokenizers.of(model)?.clone();
        let text = PromptText {
            endpoint: call.view.endpoint,
            body: call.body.clone(),
        };
        let pending = app.counting.prompt(&call.key.account, &tokenizer, text);
        Some(Self { tokenizer, pending })
    }

    async fn counted(self) -> Option<Counted> {
        self.pending.within(WAIT_MAX).await.ok()
    }
}

/// The most tokens that the prompt of a call may have for any of `models`: what its hold is made for.
#[must_use]
pub fn prompt_tokens_max<'a>(app: &App, call: &Call, models: impl IntoIterator<Item = &'a str>) -> u64 {
    let view = &call.view;
    let tools = if view.needs.contains(Needs::TOOLS) {
        TOOLS_TOKENS
    } else {
        0
    };
    let template = |model| {
        let tokenizer = app.tokenizers.of(model)?;
        Some(size::media_bound(view) + u64::from(view.prompt_bytes) + tokenizer.template_max(view.prompt_items) + tools)
    };
    let by_template = models.into_iter().filter_map(template).max().unwrap_or(0);
    by_template.max(size::prompt_bound(view))
}

/// Collects the counts of a call's parts, in their order. `prompt` is what was begun when the call was let in; the last
/// part is paid for it if `is_finished`.
pub async fn collect(
    app: &App,
    call: &Call,
    prompt: Option<Prompt>,
    parts: &mut [Served],
    is_finished: bool,
) -> Vec<Option<Count>> {
    let last = parts.len().saturating_sub(1);
    let mut prompt = prompt.filter(|_| is_finished);
    let counts = parts.iter_mut().enumerate().map(|(at, part)| {
        let tokenizer = app.tokenizers.of(part.attempt.model.as_str()).cloned();
        let text = part.meter.text.take();
        let prompt = if at == last && is_finished { prompt.take() } else { None };
        async move {
            let (tokenizer, text) = (tokenizer?, text?);
            // A fallback may have another tokenizer than the model that was asked first.
            let prompt = match prompt {
                Some(prompt) if Arc::ptr_eq(&prompt.tokenizer, &tokenizer) => Some(prompt),
                Some(_other) => Prompt::begin(app, call, part.attempt.model.as_str()),
                None => None,
            };
            let prompt = async {
                match prompt {
                    Some(prompt) => prompt.counted().await,
                    None => None,
                }
            };
            let output = app.counting.output(&call.key.account, &tokenizer, *text);
            let output = output.within(WAIT_MAX);
            let (prompt, output) = tokio::join!(prompt, output);
            Some(Count {
                tokenizer,
                prompt,
                output: output.ok()?,
            })
        }
    });
    join_all(counts).await
}

/// Where the words of an answer are gathered to be counted; `None` where its model has no tokenizer.
#[must_use]
pub fn gatherer(app: &App, call: &Call, model: &str) -> Option<Box<OutputText>> {
    app.tokenizers.of(model)?;
    Some(Box::new(OutputText::new(size::choices(&call.view))))
}

/// The same for an answer in one piece.
#[must_use]
pub fn whole(app: &App, call: &Call, model: &str, body: &Bytes) -> Option<Box<OutputText>> {
    app.tokenizers.of(model)?;
    Some(Box::new(OutputText::whole(size::choices(&call.view), body.clone())))
}
