//! What a caller can ask about its own account, in OpenRouter's shapes.
//!
//! OpenRouter's fields carry the display currency as JSON numbers; beside each stands the exact integer, `*_nano`. Where
//! the figures come from is decided by the gateway and the ledger.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What OpenRouter puts around every answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Data<T> {
    /// The answer.
    pub data: T,
}

/// The answer of `GET /v1/key`: the key the call was made with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyInfo {
    /// The key as it may be shown: its start and its end.
    #[schema(examples("sk-fil-…x7Qa"))]
    pub label: String,
    /// The name given to it.
    #[serde(default)]
    pub name: Option<String>,
    /// What it may spend per period, in the display currency; `null` without a budget of its own.
    pub limit: Option<f64>,
    /// The same in nano.
    pub limit_nano: Option<u64>,
    /// When the budget starts anew, by UTC's calendar: `daily`, `weekly` (on Mondays), `monthly`; `null` if it does not.
    #[schema(examples("monthly"))]
    pub limit_reset: Option<String>,
    /// What is left of it, less what running calls hold; `null` without a budget of its own.
    pub limit_remaining: Option<f64>,
    /// The same in nano.
    pub limit_remaining_nano: Option<u64>,
    /// What it has spent in all, in the display currency.
    pub usage: f64,
    /// The same in nano.
    pub usage_nano: u64,
    /// What it has spent since midnight, UTC.
    pub usage_daily: f64,
    /// The same in nano.
    pub usage_daily_nano: u64,
    /// What it has spent since Monday.
    pub usage_weekly: f64,
    /// The same in nano.
    pub usage_weekly_nano: u64,
    /// What it has spent since the first of the month.
    pub usage_monthly: f64,
    /// The same in nano.
    pub usage_monthly_nano: u64,
    /// How often it may call.
    pub rate_limit: RateLimit,
    /// The models it may call; empty is all.
    pub models: Vec<String>,
    /// Always `false`: keys are made by the operator.
    pub is_provisioning_key: bool,
    /// Always `false`: there is no free tier.
    pub is_free_tier: bool,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// When it ends, in RFC 3339; `null` if it does not.
    pub expires_at: Option<String>,
}

/// How often a key may call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct RateLimit {
    /// Calls per interval; -1 without a limit.
    pub requests: i64,
    /// Tokens per interval, prompt and completion together; -1 without a limit.
    pub tokens: i64,
    /// Calls at a time; -1 without a limit.
    pub concurrent: i64,
    /// The interval.
    #[schema(examples("60s"))]
    pub interval: String,
}

/// The answer of `GET /v1/usage`: what the account used, summed up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// The first day, of UTC.
    #[schema(examples("2026-11-01"))]
    pub from: String,
    /// The last day.
    #[schema(examples("2026-11-30"))]
    pub to: String,
    /// The display currency's symbol.
    #[schema(examples("TON"))]
    pub currency: String,
    /// A sum for each day, model and key, ordered by them; for fewer of them as `group_by` says.
    pub data: Vec<UsageRow>,
    /// The sum of all.
    pub total: UsageRow,
}

/// The sums over some charged calls.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The day of UTC on which the calls arrived. Absent where days are not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("2026-11-01"))]
    pub day: Option<String>,
    /// The model they asked for; `other` beyond 4,096 combinations of model and key a day. Absent where models are not
    /// told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The id of the key they were made with. Absent where keys are not told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("key_01JZ5W7K3M9QX2C8T4V6B1N0RD"))]
    pub key: Option<String>,
    /// How many calls.
    pub calls: u64,
    /// Prompt tokens billed.
    pub prompt_tokens: u64,
    /// Those of them that were read from a cache.
    pub cached_tokens: u64,
    /// Completion tokens billed.
    pub completion_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// What they cost, in the display currency.
    pub cost: f64,
    /// What they cost, in nano.
    pub cost_nano: u64,
}

/// The answer of `GET /v1/credits`: the account behind the key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Credits {
    /// What was ever paid in, in the display currency.
    pub total_credits: f64,
    /// What was spent, in the display currency.
    pub total_usage: f64,
    /// What was ever paid in, in nano.
    pub total_credits_nano: u64,
    /// What was spent, in nano.
    pub total_usage_nano: u64,
    /// What can be spent now, in nano. Below zero after a call that was posted late.
    pub available_nano: i64,
    /// What is held for calls that are running, in nano.
    pub held_nano: u64,
    /// The display currency's symbol.
    #[schema(examples("TON"))]
    pub currency: String,
}

/// The answer of `GET /v1/generation?id=`: one finished call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Generation {
    /// The call's id, as in the answer's `X-Generation-Id`.
    #[schema(examples("gen-01JZ5W7K3M9QX2C8T4V6B1N0RD"))]
    pub id: String,
    /// The model called.
    pub model: String,
    /// The route, for example `/v1/chat/completions`.
    pub api_type: String,
    /// When the call came, in RFC 3339.
    pub created_at: String,
    /// Whether the answer was a stream.
    pub streamed: bool,
    /// Whether the caller left before the end.
    pub cancelled: bool,
    /// The provider that finished the call.
    pub provider_name: String,
    /// Why the output ended; `null` if it was cut off.
    pub finish_reason: Option<String>,
    /// The engine's own word for it.
    pub native_finish_reason: Option<String>,
    /// Milliseconds to the first token; `null` if there was none.
    pub latency: Option<u64>,
    /// Milliseconds from the first token to the end.
    pub generation_time: Option<u64>,
    /// Prompt tokens billed.
    pub tokens_prompt: u64,
    /// Completion tokens billed.
    pub tokens_completion: u64,
    /// Prompt tokens the engine claimed.
    pub native_tokens_prompt: Option<u64>,
    /// Completion tokens the engine claimed.
    pub native_tokens_completion: Option<u64>,
    /// Reasoning tokens, part of the completion.
    pub native_tokens_reasoning: Option<u64>,
    /// Cached tokens, part of the prompt.
    pub native_tokens_cached: Option<u64>,
    /// What the call cost, in the display currency.
    pub total_cost: f64,
    /// The same: OpenRouter's other name for it.
    pub usage: f64,
    /// What the call cost, in nano.
    pub total_cost_nano: u64,
}
