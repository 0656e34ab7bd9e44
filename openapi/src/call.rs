//! Views a caller's request: what is asked, of which model, with which limits.
//!
//! Decides whether a body is a well-formed call and what the engine's copy of it says differently. The fields that an
//! engine alone understands are never looked at. Whether the model exists and what the call may cost is decided by the
//! gateway.

mod continuing;
mod decimal;
mod engine_body;
mod fields;
mod limits;
mod names;
mod needs;
mod nested;
mod opening;
mod parameters;
mod preferences;
mod prompt;
mod refusal;
mod target;
#[cfg(test)]
mod tests;
mod values;

use fields::Fields;
use names::Field;
use values::Span;

#[cfg(test)]
pub(crate) use preferences::provider_members;

pub use engine_body::{Continuation, ForEngine};
pub use needs::Needs;
pub use parameters::Parameters;
pub use preferences::{
    DataCollection, MaxPrice, PROVIDER_BYTES_MAX, PROVIDERS_MAX, Percentiles, ProviderPreferences, QuantizationLevel,
    SortBy,
};
pub use refusal::BadCall;
pub use target::{MODELS_MAX, Tier, Variant};

/// The longest model name taken, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// The longest session name taken, in bytes.
pub const SESSION_BYTES_MAX: usize = 512;
/// The most choices one call may ask for: OpenAI's own limit.
pub const CHOICES_MAX: u32 = 128;
/// The largest output limit taken, in tokens: what engines keep in a signed 32-bit integer.
pub const OUTPUT_TOKENS_MAX: u32 = i32::MAX as u32;
/// The deepest nesting taken: the body's own object is level one.
pub const DEPTH_MAX: usize = 64;
/// The most top-level keys taken.
pub const KEYS_MAX: usize = 256;

/// A route that calls a model.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    ChatCompletions,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
}

impl Endpoint {
    /// The route's path, the same at the gateway and at an engine.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry GenAI conventions.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "text_completion",
            Self::Embeddings => "embeddings",
        }
    }
}

/// What a call asks for. Positions in it index the body it was parsed from.
#[derive(Clone, Debug)]
pub struct CallView {
    /// The route called.
    pub endpoint: Endpoint,
    /// `model`, else the first of `models`, without `:floor` or `:nitro`. Not empty.
    pub model: Box<str>,
    /// The suffix taken off that name: what to prefer where [`CallView::provider`] does not say.
    pub variant: Option<Variant>,
    /// Further models to try when that one fails: `models` without it, without suffixes, none twice.
    pub fallbacks: Box<[Box<str>]>,
    /// `provider`: the caller's wishes; `None` if absent.
    pub provider: Option<Box<ProviderPreferences>>,
    /// `service_tier`: how urgent the call is.
    pub tier: Tier,
    /// Whether the answer is to be a stream.
    pub stream: bool,
    /// Whether the caller asked for `stream_options.include_usage`.
    pub include_usage: bool,
    /// The largest of `max_completion_tokens`, `max_tokens` and llama.cpp's `n_predict`, which covers whichever of them
    /// an engine follows: the limit for each choice, in tokens. At least 1. A completion's `max_completion_tokens`
    /// alone is none, for engines that do not know it write without end.
    pub output_tokens_max: Option<u32>,
    /// Choices the engine makes for each prompt: the largest of `n`, `best_of` and llama.cpp's `n_cmpl`; 1
    /// when absent.
    pub n: u32,
    /// `echo`: whether each choice of a completion begins with its prompt.
    pub echo: bool,
    /// Bytes of the JSON values that become the prompt, media left out: messages, tools, functions and the output format for a chat,
    /// `prompt` and `suffix` for a completion, `input` for embeddings. Never fewer than the bytes of text in them.
    pub prompt_bytes: u32,
    /// Messages, prompts or inputs.
    pub prompt_items: u32,
    /// Pictures, videos and recordings in a chat's messages.
    pub media_parts: u32,
    /// What the engine must be able to do.
    pub needs: Needs,
    /// The sampling parameters given that not every engine honours.
    pub parameters: Parameters,
    /// Whether a stream of this call that broke can be continued by another engine.
    pub can_continue: bool,
    /// A hash of the prompt's opening, which calls that begin alike share: a chat's messages up to the first of a user
    /// that brings it to 256 bytes, 4 KiB of them at most; 1 KiB of a completion's prompt. The same on every replica.
    /// `None` for embeddings and for what is shorter.
    pub opening: Option<u64>,
    /// `session_id`, else `prompt_cache_key`; `None` if empty.
    pub session: Option<Box<str>>,
    places: Places,
}

/// Where in the body the fields lie that the engine's copy may say differently.
#[derive(Clone, Debug)]
struct Places {
    body_bytes: usize,
    /// Whether [`CallView::model`] is no longer the one that `model` names.
    is_model_other: bool,
    model: Option<Span>,
    /// `models`, `route` and `provider`, which are the gateway's own.
    models: Option<Span>,
    route: Option<Span>,
    provider: Option<Span>,
    stream_options: values::StreamOptions,
    limits: limits::Limits,
}

/// Views the body of a call.
///
/// # Errors
/// [`BadCall`], to be answered with HTTP 400, if the body is not one JSON object, repeats a top-level key, writes one
/// that is looked at in other case, nests deeper than [`DEPTH_MAX`], has more than [`KEYS_MAX`] keys, lacks a required
/// field, or gives a field that is looked at a wrong type or a value out of range. `null` for an optional field means
/// absent.
pub fn parse_call(endpoint: Endpoint, body: &[u8]) -> Result<CallView, BadCall> {
    let text = std::str::from_utf8(body).map_err(|error| BadCall::not_utf8(&error))?;
    let fields = Fields::collect(endpoint, text)?;
    let at = |raw: &str| Span::of(body, raw);

    let target = target::models(&fields)?;
    target::route(&fields)?;
    let provider = fields.get(Field::Provider).map(preferences::parse).transpose()?;
    let made = prompt::check(endpoint, &fields)?;
    let mut needs = made.needs();
    needs = needs.union(needs::of(endpoint, &fields)?);

    let streams = endpoint != Endpoint::Embeddings;
    let stream = streams && values::boolean("stream", fields.get(Field::Stream))?;
    let stream_options = values::stream_options(stream, fields.place(Field::StreamOptions), at)?;
    let limits = limits::Limits::of(endpoint, &fields, at)?;
    let n = values::choices("n", fields.get(Field::N))?;
    let best_of = values::choices("best_of", fields.get(Field::BestOf))?;
    let n_cmpl = values::choices("n_cmpl", fields.get(Field::NCmpl))?;
    let n = n.max(best_of).max(n_cmpl);

    Ok(CallView {
        endpoint,
        model: target.model,
        variant: target.variant,
        fallbacks: target.fallbacks,
        provider: provider.map(Box::new),
        tier: target::tier(&fields)?,
        stream,
        include_usage: stream_options.is_asked(),
        output_tokens_max: limits.largest(),
        n,
        echo: endpoint == Endpoint::Completions && fields.echo(),
        prompt_bytes: u32::try_from(fields.prompt_bytes()).unwrap_or(u32::MAX),
        prompt_items: made.items,
        media_parts: made.media,
        needs,
        parameters: fields.parameters(),
        can_continue: continuing::is_sound(endpoint, &fields, needs, n),
        opening: prompt::opening(&fields, text),
        session: values::session(&fields)?,
        places: Places {
            body_bytes: body.len(),
            is_model_other: false,
            model: fields.place(Field::Model).map(at),
            models: fields.place(Field::Models).map(at),
            route: fields.place(Field::Route).map(at),
            provider: fields.place(Field::Provider).map(at),
            stream_options,
            limits,
        },
    })
}
