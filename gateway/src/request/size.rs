//! How big a call is, by its bytes: what its prompt can have at most and about, and how many answers it asks for.

use filature_openapi::call::{CallView, Endpoint};

/// Tokens a chat template may add for one message, and for the whole prompt (measured on ChatML and Llama 3: 4 to 11).
const TEMPLATE_TOKENS: u64 = 16;
/// The most tokens that a provider is believed to have made of one picture, video or recording, and what one is taken for
/// where nothing is claimed. (Qwen2.5-VL makes up to 1,280 of a picture as vLLM runs it, OpenAI's models up to 1,500, InternVL
/// about 3,300.)
const MEDIA_TOKENS_MAX: u64 = 4096;
const MEDIA_TOKENS: u64 = 512;
/// Bytes of a token on average, for estimates where nothing was claimed (English text in BPE vocabularies: about 4).
pub const BYTES_PER_TOKEN: u64 = 4;

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
#[must_use]
pub fn echoed_bytes(view: &CallView) -> u64 {
    if echoes(view) {
        u64::from(view.prompt_bytes).saturating_mul(u64::from(view.n))
    } else {
        0
    }
}

/// Whether the answer begins with the prompt: only completions know how to.
#[must_use]
pub fn echoes(view: &CallView) -> bool {
    view.echo && view.endpoint == Endpoint::Completions
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
