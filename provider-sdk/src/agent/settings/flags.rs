//! The agent's flags and environment variables, with the text `--help` shows. Decides their names; what they add up to
//! is decided in `resolve`. Values stay text here, so that all that is wrong with them can be told at once.

use std::path::PathBuf;

use clap::Args;

/// The agent's flags; each can be an environment variable instead.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Gateway to dial; may be given several times (in the environment: with commas)
    #[arg(
        long = "gateway",
        value_name = "URL",
        env = "FILATURE_PROVIDER_GATEWAY",
        value_delimiter = ','
    )]
    pub gateways: Vec<String>,
    /// Engine that answers the calls: any server with OpenAI's API
    #[arg(long, value_name = "URL", env = "FILATURE_PROVIDER_ENGINE")]
    pub engine: Option<String>,
    /// Name of the environment variable that holds the engine's API key
    #[arg(long, value_name = "VARIABLE", env = "FILATURE_PROVIDER_ENGINE_API_KEY_ENV")]
    pub engine_api_key_env: Option<String>,
    /// What the engine is, for continuing answers that another provider broke off: auto (the engine is asked), vllm,
    /// sglang, llama.cpp, ollama, openai (any other, which continues nothing) [default: auto]
    #[arg(long, value_name = "ENGINE", env = "FILATURE_PROVIDER_DIALECT")]
    pub dialect: Option<String>,
    /// Read the engine's /metrics for what runs and waits in it [default: true]
    #[arg(long, value_name = "BOOL", env = "FILATURE_PROVIDER_ENGINE_METRICS")]
    pub engine_metrics: Option<String>,
    /// File with the provider's key; make one with `filature-provider key new`
    #[arg(long, value_name = "FILE", env = "FILATURE_PROVIDER_KEY_FILE")]
    pub key_file: Option<PathBuf>,
    /// What people call this provider
    #[arg(long, value_name = "NAME", env = "FILATURE_PROVIDER_NAME")]
    pub name: Option<String>,
    /// TON address that earnings go to
    #[arg(long, value_name = "ADDRESS", env = "FILATURE_PROVIDER_PAYOUT")]
    pub payout: Option<String>,
    /// TOML file with settings; flags and environment count above it
    #[arg(long, value_name = "FILE", env = "FILATURE_PROVIDER_CONFIG")]
    pub config: Option<PathBuf>,
    /// PEM file with root certificates to trust beside the public ones
    #[arg(long, value_name = "FILE", env = "FILATURE_PROVIDER_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Seconds that running calls may take to end after SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", env = "FILATURE_PROVIDER_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<String>,
    /// Seconds an offer holds; renewed at half of it [default: 86400]
    #[arg(long, value_name = "SECONDS", env = "FILATURE_PROVIDER_OFFER_LIFETIME")]
    pub offer_lifetime: Option<String>,
    /// End with status 1 instead of dialling again when a gateway refuses or is lost
    #[arg(long)]
    pub once: bool,
    /// The terms of the models.
    #[command(flatten)]
    pub model: ModelFlags,
}

/// The terms of every `--model`, and of what a model of the file leaves open.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Models (for --model, and for what a model of the file leaves open)")]
pub struct ModelFlags {
    /// Model to sell, by the name callers use, and the engine's name for it where that differs; may be given several
    /// times. Replaces the models of the file
    #[arg(
        long = "model",
        value_name = "PUBLIC[=ENGINE]",
        env = "FILATURE_PROVIDER_MODEL",
        value_delimiter = ','
    )]
    pub models: Vec<String>,
    /// nanoTON per million prompt tokens
    #[arg(long, value_name = "NANO", env = "FILATURE_PROVIDER_PRICE_PROMPT")]
    pub price_prompt: Option<String>,
    /// nanoTON per million prompt tokens the engine had cached [default: as --price-prompt]
    #[arg(long, value_name = "NANO", env = "FILATURE_PROVIDER_PRICE_CACHED_PROMPT")]
    pub price_cached_prompt: Option<String>,
    /// nanoTON per million tokens of the answer
    #[arg(long, value_name = "NANO", env = "FILATURE_PROVIDER_PRICE_COMPLETION")]
    pub price_completion: Option<String>,
    /// nanoTON per million tokens of reasoning [default: as --price-completion]
    #[arg(long, value_name = "NANO", env = "FILATURE_PROVIDER_PRICE_REASONING")]
    pub price_reasoning: Option<String>,
    /// nanoTON per call [default: 0]
    #[arg(long, value_name = "NANO", env = "FILATURE_PROVIDER_PRICE_CALL")]
    pub price_call: Option<String>,
    /// Most calls at once, per model [default: 16]
    #[arg(long, value_name = "N", env = "FILATURE_PROVIDER_CONCURRENCY")]
    pub concurrency: Option<String>,
    /// Longest prompt and answer together, in tokens [default: 8192]
    #[arg(long, value_name = "TOKENS", env = "FILATURE_PROVIDER_CONTEXT_TOKENS")]
    pub context_tokens: Option<String>,
    /// Longest answer, in tokens [default: half of the context]
    #[arg(long, value_name = "TOKENS", env = "FILATURE_PROVIDER_OUTPUT_TOKENS")]
    pub output_tokens: Option<String>,
    /// How the weights are stored: fp8, awq-int4, q4_k_m, ...
    #[arg(long, value_name = "NAME", env = "FILATURE_PROVIDER_QUANTIZATION")]
    pub quantization: Option<String>,
    /// What the engine answers: chat, completions, embeddings [default: chat,completions]
    #[arg(
        long = "endpoints",
        value_name = "LIST",
        env = "FILATURE_PROVIDER_ENDPOINTS",
        value_delimiter = ','
    )]
    pub endpoints: Vec<String>,
    /// What the model can do: tools, json_schema, logprobs, images; and private if neither engine nor host keeps
    /// prompts [default: none]
    #[arg(
        long = "capabilities",
        value_name = "LIST",
        env = "FILATURE_PROVIDER_CAPABILITIES",
        value_delimiter = ','
    )]
    pub capabilities: Vec<String>,
    /// Sampling parameters the engine honours: seed, top_k, min_p, top_a, repetition_penalty, frequency_penalty,
    /// presence_penalty, logit_bias, stop [default: those of OpenAI: seed, frequency_penalty, presence_penalty,
    /// logit_bias, stop]
    #[arg(
        long = "parameters",
        value_name = "LIST",
        env = "FILATURE_PROVIDER_PARAMETERS",
        value_delimiter = ','
    )]
    pub parameters: Vec<String>,
}
