//! The settings of `[[providers]]`, of their models and of what these cost.

use filature_provider_sdk::Dialect;
use filature_provider_sdk::offer::PRICE_NANO_MAX;

use crate::config::declare::section;

section! {
    /// A provider reached at a URL.
    pub struct ProviderSettings {
        /// Its name in records and metrics; unique.
        name: String = String::new();
        /// Base URL of its OpenAI-compatible API, without `/v1`.
        url: String = String::new();
        /// Environment variable that holds the provider's API key, where it wants one.
        api_key_env: Option<String> = None;
        /// What its engine is, so that a broken answer can be continued there: `vllm`, `sglang`, `llama.cpp`, `ollama` or
        /// `openai`, which is any other.
        dialect: Dialect = Dialect::OpenAi;
        /// The address on TON that its earnings go to. Without one they wait. A change counts at once.
        payout: Option<String> = None;
    }
}

section! {
    /// A model such a provider serves.
    pub struct ModelSettings {
        /// The name callers use.
        model: String = String::new();
        /// The name the provider knows it by, where that differs.
        engine_model: Option<String> = None;
        /// How the weights are stored, such as `fp8`.
        quantization: Option<String> = None;
        /// Longest prompt and answer together, in tokens.
        context_tokens_max: u32 = 8192, 1..=100_000_000;
        /// Longest answer, in tokens.
        output_tokens_max: u32 = 4096, 1..=100_000_000;
        /// Calls at the same time.
        concurrency_max: u32 = 64, 1..=1_000_000;
        /// What it answers: `chat`, `completions`, `embeddings`.
        endpoints: Vec<String> = ["chat", "completions", "embeddings"].map(str::to_owned).to_vec();
        /// What it can do: `tools`, `json_schema`, `logprobs`, `images`, and `private`: it keeps no prompts.
        capabilities: Vec<String> = Vec::new();
        /// The sampling parameters it honours, such as `seed` or `top_k`. Empty: those of OpenAI's own API.
        parameters: Vec<String> = Vec::new();
    }
}

section! {
    /// What such a model costs.
    pub struct PriceSettings {
        /// Nano per million prompt tokens.
        prompt: u64 = 0, 0..=PRICE_NANO_MAX;
        /// Nano per million prompt tokens the provider had cached; the price of `prompt` if not set.
        cached_prompt: u64 = 0, 0..=PRICE_NANO_MAX;
        /// Nano per million tokens of the answer.
        completion: u64 = 0, 0..=PRICE_NANO_MAX;
        /// Nano per million tokens of reasoning; the price of `completion` if not set.
        reasoning: u64 = 0, 0..=PRICE_NANO_MAX;
        /// Nano per call.
        call: u64 = 0, 0..=PRICE_NANO_MAX;
    }
}
