//! What callers get from a model. Members not listed come from the engine as they are.
#![expect(dead_code, reason = "these types are written down for their schemas and never made")]

use serde_json::Value;
use utoipa::ToSchema;

use super::schemas::ToolCall;

/// A whole answer to a chat.
#[derive(ToSchema)]
pub(super) struct ChatAnswer {
    /// The answer's id.
    id: String,
    /// Always `chat.completion`.
    #[schema(examples("chat.completion"))]
    object: String,
    /// When it was made, in seconds since 1970.
    created: u64,
    /// The model that answered.
    model: String,
    /// The answers, as many as `n` asked for.
    choices: Vec<ChatChoice>,
    usage: Option<Usage>,
    /// What the engine's setup is called.
    system_fingerprint: Option<String>,
}

/// One answer.
#[derive(ToSchema)]
pub(super) struct ChatChoice {
    /// Its place in the list.
    index: u32,
    message: AnswerMessage,
    /// Why it ends: `stop`, `length`, `tool_calls`, `content_filter`.
    #[schema(examples("stop"))]
    finish_reason: Option<String>,
    /// Log probabilities, if asked for.
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
}

/// What the model says, or a piece of it.
#[derive(ToSchema)]
pub(super) struct AnswerMessage {
    /// `assistant`; in chunks only in the first.
    #[schema(examples("assistant"))]
    role: Option<String>,
    /// The text.
    content: Option<String>,
    /// What the model thought before, where the engine tells it.
    reasoning_content: Option<String>,
    /// Why the model will not answer.
    refusal: Option<String>,
    /// The tools it calls.
    tool_calls: Option<Vec<ToolCall>>,
}

/// One event of a streamed chat. The stream ends with the data `[DONE]`. A stream that breaks ends with a chunk that has
/// `error` and the finish reason `error`, then `[DONE]`.
#[derive(ToSchema)]
pub(super) struct ChatChunk {
    /// The stream's id, the same in every chunk.
    id: String,
    /// Always `chat.completion.chunk`.
    #[schema(examples("chat.completion.chunk"))]
    object: String,
    /// When the stream began, in seconds since 1970.
    created: u64,
    /// The model that answers.
    model: String,
    /// A piece of each answer; empty in the chunk that tells of usage.
    choices: Vec<ChunkChoice>,
    /// In the last chunk, if `stream_options.include_usage` asked for it.
    usage: Option<Usage>,
    /// What broke the stream.
    error: Option<ChunkError>,
}

/// A piece of one answer.
#[derive(ToSchema)]
pub(super) struct ChunkChoice {
    /// The answer's place in the list.
    index: u32,
    delta: AnswerMessage,
    /// Why the answer ends; `null` until it does.
    finish_reason: Option<String>,
    /// Log probabilities, if asked for.
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
}

/// What broke a stream.
#[derive(ToSchema)]
pub(super) struct ChunkError {
    /// A stable word for programs.
    #[schema(examples("provider_error"))]
    code: String,
    /// A sentence for people.
    message: String,
}

/// A whole completion, or with `stream` one event of it.
#[derive(ToSchema)]
pub(super) struct CompletionAnswer {
    /// The answer's id.
    id: String,
    /// Always `text_completion`.
    #[schema(examples("text_completion"))]
    object: String,
    /// When it was made, in seconds since 1970.
    created: u64,
    /// The model that answered.
    model: String,
    /// The answers: `n` for each prompt.
    choices: Vec<CompletionChoice>,
    usage: Option<Usage>,
}

/// One completion.
#[derive(ToSchema)]
pub(super) struct CompletionChoice {
    /// Its place in the list.
    index: u32,
    /// The text.
    text: String,
    /// Why it ends: `stop` or `length`.
    finish_reason: Option<String>,
    /// Log probabilities, if asked for.
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
}

/// The vectors of all inputs.
#[derive(ToSchema)]
pub(super) struct EmbeddingAnswer {
    /// Always `list`.
    #[schema(examples("list"))]
    object: String,
    /// One vector for each input.
    data: Vec<Embedding>,
    /// The model that answered.
    model: String,
    usage: Option<Usage>,
}

/// One vector.
#[derive(ToSchema)]
pub(super) struct Embedding {
    /// Always `embedding`.
    #[schema(examples("embedding"))]
    object: String,
    /// The input's place in the list.
    index: u32,
    embedding: Vector,
}

/// The vector's numbers, or as base64 their bytes (32-bit floats, little-endian).
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Vector {
    /// With `encoding_format` `float`.
    Floats(Vec<f32>),
    /// With `encoding_format` `base64`.
    Base64(String),
}

/// Tokens used.
#[derive(ToSchema)]
pub(super) struct Usage {
    /// Tokens of the prompt.
    prompt_tokens: u64,
    /// Tokens written; absent for embeddings.
    completion_tokens: Option<u64>,
    /// Both together.
    total_tokens: u64,
    prompt_tokens_details: Option<PromptTokensDetails>,
    completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Parts of the prompt's tokens.
#[derive(ToSchema)]
pub(super) struct PromptTokensDetails {
    /// Those the engine had in its cache.
    cached_tokens: Option<u64>,
}

/// Parts of the tokens written.
#[derive(ToSchema)]
pub(super) struct CompletionTokensDetails {
    /// Those spent on reasoning.
    reasoning_tokens: Option<u64>,
}

/// The signed record of one call.
#[derive(ToSchema)]
pub(super) struct Receipt {
    /// What was called, by which key, when, what each provider served, what was claimed, counted and billed, and what it
    /// cost: integers in nano.
    #[schema(value_type = Object)]
    record: Value,
    /// The gateway's public key (Ed25519), in hexadecimal.
    #[schema(min_length = 64, max_length = 64)]
    gateway: String,
    /// The gateway's signature in hexadecimal, over `filature-receipt-v2`, a line feed, and the record in canonical JSON
    /// (RFC 8785); over `filature-receipt-v1` where the record's `version` is 1.
    #[schema(min_length = 128, max_length = 128)]
    signature: String,
    /// 32 bytes in hexadecimal that salt the record's hashes of request and answer. Given to the caller only; absent where
    /// the record has no hashes, or the gateway's key was replaced since.
    #[schema(min_length = 64, max_length = 64)]
    nonce: Option<String>,
    /// The proof that the receipt was sealed; absent until then. `docs/verify-receipt.md` says how to check it.
    inclusion: Option<Inclusion>,
}

/// The proof that a receipt stands in an epoch.
#[derive(ToSchema)]
pub(super) struct Inclusion {
    /// The epoch's seal: `header`, `gateway` and `signature`. The header has the epoch's `number`, its sums, the hash of
    /// the seal before, and the root of its receipts.
    #[schema(value_type = Object)]
    epoch: Value,
    /// The receipt's place among the epoch's receipts, from 0.
    index: u64,
    /// Its siblings on the way to the root, from the leaf up (RFC 6962): hashes in hexadecimal.
    path: Vec<String>,
}

/// Seals of epochs, in their order.
#[derive(ToSchema)]
pub(super) struct SealList {
    /// Always `list`.
    object: String,
    /// Each with `header`, `gateway` and `signature`, as a receipt's proof has one.
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
}

/// A provider's leaf under an anchored root, and the way to it. Amounts are sums since epoch 0, in nano.
#[derive(ToSchema)]
pub(super) struct ProvenLeaf {
    /// The form of this proof: 1.
    version: u32,
    /// The settlement contract: `0:` and 64 hexadecimal digits.
    contract: String,
    /// The anchor's epoch.
    epoch: u64,
    /// The provider's id.
    provider: String,
    /// The account that is paid; absent if the provider had named none.
    payee: Option<String>,
    /// What it earned.
    earned: u64,
    /// What the operator says it pushed.
    pushed: u64,
    /// The leaf's place, from 0.
    index: u64,
    /// How many leaves there are.
    leaves: u64,
    /// Its siblings on the way to the root, from the leaf up (RFC 6962): hashes in hexadecimal.
    path: Vec<String>,
}
