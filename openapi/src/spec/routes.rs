//! The routes, one function without a body each. The gateway's router table has the same.
#![expect(dead_code, reason = "these functions carry attributes and are never called")]

use super::answers::{ChatAnswer, ChatChunk, CompletionAnswer, EmbeddingAnswer, ProvenLeaf, Receipt, SealList};
use super::failures::{
    AskFailures, CallFailures, DepositFailures, ListFailures, LookupFailures, PublicFailures, PublicLookupFailures,
    WithdrawalFailures,
};
use super::schemas::{ChatRequest, CompletionRequest, EmbeddingRequest};
use crate::account::{Credits, Data, Generation, KeyInfo, UsageReport};
use crate::models::{ModelEndpoints, ModelList, ModelObject};
use crate::transfers::{
    DepositInstructions, DepositList, DepositRequest, WithdrawalList, WithdrawalRequest, WithdrawalShown,
};

/// Continue a chat.
///
/// The body reaches the engine byte for byte, except for the few fields the gateway must change. The answer's header
/// `X-Generation-Id` names the call for `/v1/generation` and `/v1/receipts/{id}`.
#[utoipa::path(
    post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "calls",
    request_body(content = ChatRequest, description = "The chat and how to continue it."),
    responses(
        (
            status = 200, description = "The answer, or with `stream` its chunks as server-sent events.",
            content((ChatAnswer = "application/json"), (ChatChunk = "text/event-stream")),
            headers(("X-Generation-Id" = String, description = "The call's id.")),
        ),
        CallFailures,
    ),
    security(("api_key" = [])),
)]
fn chat_completions() {}

/// Continue a text.
#[utoipa::path(
    post, path = "/v1/completions", operation_id = "createCompletion", tag = "calls",
    request_body(content = CompletionRequest, description = "The text and how to continue it."),
    responses(
        (
            status = 200, description = "The answer, or with `stream` its chunks as server-sent events.",
            content((CompletionAnswer = "application/json"), (CompletionAnswer = "text/event-stream")),
            headers(("X-Generation-Id" = String, description = "The call's id.")),
        ),
        CallFailures,
    ),
    security(("api_key" = [])),
)]
fn completions() {}

/// Turn texts into vectors.
#[utoipa::path(
    post, path = "/v1/embeddings", operation_id = "createEmbedding", tag = "calls",
    request_body(content = EmbeddingRequest, description = "The texts."),
    responses(
        (
            status = 200, description = "The vectors.", body = EmbeddingAnswer,
            headers(("X-Generation-Id" = String, description = "The call's id.")),
        ),
        CallFailures,
    ),
    security(("api_key" = [])),
)]
fn embeddings() {}

/// List the models that can be called now.
#[utoipa::path(
    get, path = "/v1/models", operation_id = "listModels", tag = "models",
    responses((status = 200, description = "The models.", body = ModelList), ListFailures),
    security(("api_key" = [])),
)]
fn models() {}

/// Show one model.
#[utoipa::path(
    get, path = "/v1/models/{id}", operation_id = "retrieveModel", tag = "models",
    params(("id" = String, Path, description = "The model's name; slashes in it may be written as they are.")),
    responses((status = 200, description = "The model.", body = ModelObject), LookupFailures),
    security(("api_key" = [])),
)]
fn model() {}

/// Show who serves a model, at what price, and how well.
#[utoipa::path(
    get, path = "/v1/models/{id}/endpoints", operation_id = "listEndpoints", tag = "models",
    params(("id" = String, Path, description = "The model's name; slashes in it may be written as they are.")),
    responses((status = 200, description = "The model's providers.", body = Data<ModelEndpoints>), LookupFailures),
    security(("api_key" = [])),
)]
fn endpoints() {}

/// Show the API key the request is made with.
#[utoipa::path(
    get, path = "/v1/key", operation_id = "getKey", tag = "account",
    responses((status = 200, description = "The key.", body = Data<KeyInfo>), ListFailures),
    security(("api_key" = [])),
)]
fn key() {}

/// Show the account's balance.
#[utoipa::path(
    get, path = "/v1/credits", operation_id = "getCredits", tag = "account",
    responses((status = 200, description = "The balance.", body = Data<Credits>), ListFailures),
    security(("api_key" = [])),
)]
fn credits() {}

/// Ask how to pay in: an address and a comment.
#[utoipa::path(
    post, path = "/v1/deposits", operation_id = "askDeposit", tag = "account",
    request_body = Option<DepositRequest>,
    responses((status = 200, description = "How to pay in.", body = Data<DepositInstructions>), DepositFailures),
    security(("api_key" = [])),
)]
fn ask_deposit() {}

/// List what was paid in.
#[utoipa::path(
    get, path = "/v1/deposits", operation_id = "listDeposits", tag = "account",
    params(
        ("after" = Option<String>, Query, description = "Only those behind this place: `next` of an earlier answer."),
        ("limit" = Option<usize>, Query, description = "How many at most; 100 unless told, and never more than 1,024."),
    ),
    responses((status = 200, description = "The deposits.", body = DepositList), AskFailures),
    security(("api_key" = [])),
)]
fn deposits() {}

/// Withdraw unused credit.
///
/// The amount is no longer available from here on; it is sent from the operator's wallet for withdrawals, or given back.
#[utoipa::path(
    post, path = "/v1/withdrawals", operation_id = "askWithdrawal", tag = "account",
    request_body = WithdrawalRequest,
    responses((status = 200, description = "The withdrawal.", body = Data<WithdrawalShown>), WithdrawalFailures),
    security(("api_key" = [])),
)]
fn ask_withdrawal() {}

/// List withdrawals.
#[utoipa::path(
    get, path = "/v1/withdrawals", operation_id = "listWithdrawals", tag = "account",
    params(
        ("after" = Option<String>, Query, description = "Only those behind this place: `next` of an earlier answer."),
        ("limit" = Option<usize>, Query, description = "How many at most; 100 unless told, and never more than 1,024."),
    ),
    responses((status = 200, description = "The withdrawals.", body = WithdrawalList), AskFailures),
    security(("api_key" = [])),
)]
fn withdrawals() {}

/// Show what the account used, by day, model and key.
///
/// Every key sees the use of its whole account, as with `/v1/credits`; `key` narrows it down.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "getUsage", tag = "account",
    params(
        ("from" = Option<String>, Query, description = "The first day of UTC (`2026-11-01`); else 30 days up to the last."),
        ("to" = Option<String>, Query, description = "The last day; else today. At most 400 days."),
        ("group_by" = Option<String>, Query, description = "What to tell apart: `day`, `model`, `key`, separated by commas; else all."),
        ("key" = Option<String>, Query, description = "Only what this key used: its id, or `self` for the one this is asked with."),
        ("format" = Option<String>, Query, description = "`json` or `csv`; else what `Accept` asks for."),
    ),
    responses(
        (
            status = 200, description = "The sums.",
            content((UsageReport = "application/json"), (String = "text/csv")),
        ),
        AskFailures,
    ),
    security(("api_key" = [])),
)]
fn usage() {}

/// Show a finished call.
#[utoipa::path(
    get, path = "/v1/generation", operation_id = "getGeneration", tag = "account",
    params(("id" = String, Query, description = "The call's id, from `X-Generation-Id`.")),
    responses((status = 200, description = "The call.", body = Data<Generation>), LookupFailures),
    security(("api_key" = [])),
)]
fn generation() {}

/// Get the signed receipt of a finished call.
#[utoipa::path(
    get, path = "/v1/receipts/{id}", operation_id = "getReceipt", tag = "account",
    params(("id" = String, Path, description = "The call's id, from `X-Generation-Id`.")),
    responses((status = 200, description = "The receipt.", body = Receipt), LookupFailures),
    security(("api_key" = [])),
)]
fn receipt() {}

/// List seals of epochs, from a number on. Each names the one before by its hash, and the contract on chain holds the hash of
/// the last one that was anchored: so a receipt's epoch is followed to the chain. No API key needed.
#[utoipa::path(
    get, path = "/v1/epochs", operation_id = "listSeals", tag = "proof",
    params(
        ("from" = u64, Query, description = "The first epoch's number."),
        ("limit" = Option<u64>, Query, description = "At most so many; never more than 32."),
    ),
    responses((status = 200, description = "The seals. Fewer than were asked for: there are no more yet.", body = SealList), PublicFailures),
)]
fn epochs() {}

/// Get a provider's leaf under an anchored root, with the proof by which the contract pays what it says is due. No API key
/// needed.
#[utoipa::path(
    get, path = "/v1/leaves/{root}/{provider}", operation_id = "getLeaf", tag = "proof",
    params(
        ("root" = String, Path, description = "The earnings root that the contract holds, in hexadecimal."),
        ("provider" = String, Path, description = "The provider's id, as it stands in receipts."),
    ),
    responses((status = 200, description = "The leaf.", body = ProvenLeaf), PublicLookupFailures),
)]
fn leaf() {}

/// Whether the process is alive.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "operation",
    responses((status = 200, description = "It is.", body = String, content_type = "text/plain")),
)]
fn healthz() {}

/// Whether calls can be served: the ledger answers, a provider is connected, the gateway is not stopping.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "operation",
    responses(
        (status = 200, description = "They can.", body = String, content_type = "text/plain"),
        (status = 503, description = "They cannot; the text says why.", body = String, content_type = "text/plain"),
    ),
)]
fn readyz() {}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "getMetrics", tag = "operation",
    responses((status = 200, description = "The figures, in Prometheus' text format.", body = String, content_type = "text/plain")),
)]
fn metrics() {}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "operation",
    responses((status = 200, description = "The document.", body = Object, content_type = "application/json")),
)]
fn openapi_json() {}
