//! What callers send. Fields not listed are passed on to the engine as they are.
#![expect(dead_code, reason = "these types are written down for their schemas and never made")]

use serde_json::Value;
use utoipa::ToSchema;

use super::routing::{ProviderPreferences, ServiceTier};

/// A chat to be continued. Members that are not listed here reach the engine untouched.
#[derive(ToSchema)]
pub(super) struct ChatRequest {
    /// The model's name, as `GET /v1/models` lists it, perhaps with `:floor` (the lowest price) or `:nitro` (the
    /// highest throughput) behind it. May be absent where `models` names one.
    #[schema(
        min_length = 1,
        max_length = 256,
        nullable = false,
        examples("smollm2-135m-instruct")
    )]
    model: Option<String>,
    /// Further models, tried in this order when the one before fails.
    #[schema(max_items = 8)]
    models: Option<Vec<String>>,
    /// What is wished of the providers.
    provider: Option<ProviderPreferences>,
    /// OpenRouter's older word for what `models` says by itself: `fallback`.
    #[schema(examples("fallback"))]
    route: Option<String>,
    /// How urgent it is.
    service_tier: Option<ServiceTier>,
    /// The conversation so far, oldest first.
    #[schema(min_items = 1)]
    messages: Vec<ChatMessage>,
    /// Whether to answer with server-sent events, one chunk at a time.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// The most tokens to write for each choice.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_completion_tokens: Option<u32>,
    /// The older name of `max_completion_tokens`. If both are given, the call must be affordable with the larger.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_tokens: Option<u32>,
    /// How many answers to write.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<u32>,
    /// Randomness: 0 is none.
    #[schema(minimum = 0.0, maximum = 2.0)]
    temperature: Option<f64>,
    /// Keep only the likeliest tokens that together have this probability.
    #[schema(minimum = 0.0, maximum = 1.0)]
    top_p: Option<f64>,
    /// Texts that end the answer.
    stop: Option<Stop>,
    /// Makes an engine repeat itself where it can.
    seed: Option<i64>,
    /// How much to avoid tokens that were used already.
    #[schema(minimum = -2.0, maximum = 2.0)]
    presence_penalty: Option<f64>,
    /// How much to avoid tokens by how often they were used.
    #[schema(minimum = -2.0, maximum = 2.0)]
    frequency_penalty: Option<f64>,
    /// Additions to the scores of tokens, by token id.
    #[schema(value_type = Option<Object>)]
    logit_bias: Option<Value>,
    /// Whether to give the log probability of each token.
    logprobs: Option<bool>,
    /// How many likely tokens to give at each place.
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<u32>,
    /// The tools the model may call.
    tools: Option<Vec<Tool>>,
    tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called at once.
    parallel_tool_calls: Option<bool>,
    response_format: Option<ResponseFormat>,
    /// Who the caller's own user is.
    user: Option<String>,
    /// Calls with the same session go to the same provider where that helps.
    #[schema(max_length = 512)]
    session_id: Option<String>,
    /// OpenAI's name for much the same; `session_id` wins.
    #[schema(max_length = 512)]
    prompt_cache_key: Option<String>,
}

/// One message of a conversation.
#[derive(ToSchema)]
pub(super) struct ChatMessage {
    /// Who speaks: `system`, `developer`, `user`, `assistant` or `tool`.
    #[schema(min_length = 1, examples("user"))]
    role: String,
    /// What is said: a text, a list of parts, or nothing beside tool calls.
    content: Option<MessageContent>,
    /// The speaker's name.
    name: Option<String>,
    /// The calls an assistant made.
    tool_calls: Option<Vec<ToolCall>>,
    /// The call that a tool's message answers.
    tool_call_id: Option<String>,
}

/// A text or a list of parts.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum MessageContent {
    /// A text.
    Text(String),
    /// Parts: texts and images.
    Parts(Vec<ContentPart>),
}

/// A part of a message.
#[derive(ToSchema)]
pub(super) struct ContentPart {
    /// `text`, `image_url`, or what else the engine knows.
    #[serde(rename = "type")]
    #[schema(examples("text"))]
    kind: String,
    /// The text, in a part of type `text`.
    text: Option<String>,
    /// The image, in a part of type `image_url`.
    image_url: Option<ImageUrl>,
}

/// Where an image is.
#[derive(ToSchema)]
pub(super) struct ImageUrl {
    /// A URL, `data:` included.
    url: String,
    /// `low`, `high` or `auto`.
    detail: Option<String>,
}

/// A tool the model may call.
#[derive(ToSchema)]
pub(super) struct Tool {
    /// `function`.
    #[serde(rename = "type")]
    #[schema(examples("function"))]
    kind: String,
    function: Option<FunctionTool>,
}

/// Whether the model must call a tool.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// The one tool to call.
    Named(Tool),
}

/// A function the model may call.
#[derive(ToSchema)]
pub(super) struct FunctionTool {
    /// Its name.
    name: String,
    /// What it does.
    description: Option<String>,
    /// Its parameters as a JSON Schema.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Whether the arguments must follow the schema.
    strict: Option<bool>,
}

/// A call of a tool.
#[derive(ToSchema)]
pub(super) struct ToolCall {
    /// The call's place in the list; in chunks only.
    index: Option<u32>,
    /// The call's id; in chunks only in the first.
    id: Option<String>,
    /// `function`.
    #[serde(rename = "type")]
    kind: Option<String>,
    function: Option<FunctionCall>,
}

/// The function called and its arguments.
#[derive(ToSchema)]
pub(super) struct FunctionCall {
    /// Its name.
    name: Option<String>,
    /// Its arguments, as JSON in a string.
    arguments: Option<String>,
}

/// What shape the answer must have.
#[derive(ToSchema)]
pub(super) struct ResponseFormat {
    /// `text`, `json_object` or `json_schema`.
    #[serde(rename = "type")]
    #[schema(examples("json_schema"))]
    kind: String,
    /// `name`, `schema` and `strict`, with type `json_schema`.
    #[schema(value_type = Option<Object>)]
    json_schema: Option<Value>,
}

/// One text or several.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Stop {
    /// One text.
    One(String),
    /// Several texts.
    Several(Vec<String>),
}

/// How to stream. Allowed only with `stream`.
#[derive(ToSchema)]
pub(super) struct StreamOptions {
    /// Whether a last chunk tells of usage.
    include_usage: Option<bool>,
}

/// A text to be continued. Members that are not listed here reach the engine untouched.
#[derive(ToSchema)]
pub(super) struct CompletionRequest {
    /// The model's name, as `GET /v1/models` lists it, perhaps with `:floor` (the lowest price) or `:nitro` (the
    /// highest throughput) behind it. May be absent where `models` names one.
    #[schema(
        min_length = 1,
        max_length = 256,
        nullable = false,
        examples("smollm2-135m-instruct")
    )]
    model: Option<String>,
    /// Further models, tried in this order when the one before fails.
    #[schema(max_items = 8)]
    models: Option<Vec<String>>,
    /// What is wished of the providers.
    provider: Option<ProviderPreferences>,
    /// OpenRouter's older word for what `models` says by itself: `fallback`.
    #[schema(examples("fallback"))]
    route: Option<String>,
    /// How urgent it is.
    service_tier: Option<ServiceTier>,
    prompt: Prompt,
    /// What follows after the part to be written.
    suffix: Option<String>,
    /// Whether to answer with server-sent events, one chunk at a time.
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// The most tokens to write for each choice.
    #[schema(minimum = 1, maximum = 2147483647)]
    max_tokens: Option<u32>,
    /// How many answers to give for each prompt.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    n: Option<u32>,
    /// How many answers to write for each prompt, of which the best `n` are given. All of them are paid.
    #[schema(minimum = 1, maximum = 128, default = 1)]
    best_of: Option<u32>,
    /// Randomness: 0 is none.
    #[schema(minimum = 0.0, maximum = 2.0)]
    temperature: Option<f64>,
    /// Keep only the likeliest tokens that together have this probability.
    #[schema(minimum = 0.0, maximum = 1.0)]
    top_p: Option<f64>,
    /// Texts that end the answer.
    stop: Option<Stop>,
    /// Makes an engine repeat itself where it can.
    seed: Option<i64>,
    /// How many likely tokens to give at each place.
    #[schema(minimum = 0, maximum = 20)]
    logprobs: Option<u32>,
    /// Whether to give the prompt back before the answer.
    echo: Option<bool>,
    /// Who the caller's own user is.
    user: Option<String>,
    /// Calls with the same session go to the same provider where that helps.
    #[schema(max_length = 512)]
    session_id: Option<String>,
    /// OpenAI's name for much the same; `session_id` wins.
    #[schema(max_length = 512)]
    prompt_cache_key: Option<String>,
}

/// A text, several texts, a list of tokens, or several lists of tokens.
#[derive(ToSchema)]
#[serde(untagged)]
pub(super) enum Prompt {
    /// A text, not empty.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A text as tokens.
    Tokens(Vec<u32>),
    /// Several texts as tokens.
    TokenLists(Vec<Vec<u32>>),
}

/// Texts to be turned into vectors. Members that are not listed here reach the engine untouched.
#[derive(ToSchema)]
pub(super) struct EmbeddingRequest {
    /// The model's name, as `GET /v1/models` lists it, perhaps with `:floor` (the lowest price) or `:nitro` (the
    /// highest throughput) behind it. May be absent where `models` names one.
    #[schema(min_length = 1, max_length = 256, nullable = false, examples("bge-small"))]
    model: Option<String>,
    /// Further models, tried in this order when the one before fails.
    #[schema(max_items = 8)]
    models: Option<Vec<String>>,
    /// What is wished of the providers.
    provider: Option<ProviderPreferences>,
    /// OpenRouter's older word for what `models` says by itself: `fallback`.
    #[schema(examples("fallback"))]
    route: Option<String>,
    /// How urgent it is.
    service_tier: Option<ServiceTier>,
    input: Prompt,
    /// `float` or `base64`.
    #[schema(examples("float"))]
    encoding_format: Option<String>,
    /// The length of the vectors, where the model can choose.
    #[schema(minimum = 1)]
    dimensions: Option<u32>,
    /// Who the caller's own user is.
    user: Option<String>,
    /// Calls with the same session go to the same provider where that helps.
    #[schema(max_length = 512)]
    session_id: Option<String>,
    /// OpenAI's name for much the same; `session_id` wins.
    #[schema(max_length = 512)]
    prompt_cache_key: Option<String>,
}
