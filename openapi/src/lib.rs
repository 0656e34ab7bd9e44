//! The OpenAI wire format as Filature speaks it.
//!
//! Requests, answers and chunks are *viewed*, not parsed into trees: one pass finds the few fields a gateway needs and
//! where they lie, and every other byte is passed on as it came. Routing, money and HTTP are left to other crates.
//!
//! Reading order: [`call`] (what a caller asks), [`edit`] (the body an engine gets), [`answer`] and [`chunk`] (what
//! comes back), [`usage`] (what an engine claims), [`sse`] (how chunks are framed), [`error`] (how a refusal looks),
//! [`models`], [`account`] and [`transfers`] (the gateway's own answers), [`spec`] (the generated document).

pub mod call;

pub mod edit;

pub mod answer;
pub mod chunk;
pub mod usage;

pub mod sse;

pub mod account;
pub mod error;
pub mod models;
pub mod spec;
pub mod transfers;

mod member;
mod reply;
mod walk;

pub use answer::{AnswerView, BadAnswer, parse_answer};
pub use call::{BadCall, CallView, Continuation, Endpoint, ForEngine, Needs, Parameters, Tier, Variant, parse_call};
pub use chunk::{ChunkView, error_chunk, finish_chunk, parse_chunk, usage_chunk, with_member};
pub use edit::{Edits, Segments};
pub use error::{ErrorBody, ErrorEnvelope};
pub use usage::UsageClaim;
