//! The closed list of what a caller is told when a call fails, in OpenAI's envelope.
//!
//! The only file that knows client error codes. Everything else returns a [`Reject`]; what really happened goes to
//! the log where it was found, never into these texts.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use filature_billing::RateState;
use filature_openapi::error::{ErrorBody, ErrorEnvelope};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::request::rates;

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reject {
    /// No key, or one that is not known, revoked or expired.
    Unauthorized(&'static str),
    /// The account cannot pay the least this call may cost. Amounts in nano.
    InsufficientCredit {
        /// What the call may cost at least.
        needed_nano: u64,
        /// What the account has.
        available_nano: i64,
    },
    /// A limit of the key is reached.
    RateLimited {
        /// Which one: `requests`, `tokens`, `concurrent`.
        what: &'static str,
        /// When the call would fit, where time alone helps.
        retry_after: Option<Duration>,
        /// What is left of the limits per minute.
        state: RateState,
    },
    /// The key's budget is spent.
    BudgetSpent {
        /// Until it starts anew, if it does.
        resets_in: Option<Duration>,
    },
    /// The request itself is wrong.
    BadRequest {
        /// What is wrong and what is allowed.
        message: String,
        /// The field, where one is to blame.
        param: Option<String>,
        /// OpenAI's code, where it has one.
        code: Option<&'static str>,
    },
    /// The account has less available than is to be withdrawn.
    TooLittle {
        /// What it has, in nano.
        available_nano: i64,
    },
    /// The key may not do this.
    NotPermitted(&'static str),
    /// Something else has this name.
    Conflict(String),
    /// The key is confined to other models.
    ModelNotAllowed(String),
    /// Nobody serves this model.
    UnknownModel(String),
    /// No such thing: a route, a generation, a receipt.
    NotFound(String),
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body is larger than the gateway takes.
    TooLarge {
        /// The limit in bytes.
        bytes_max: usize,
    },
    /// The caller did not send its body in time.
    BodyTimeout,
    /// Providers serve the model, but none can do what this call asks for.
    NoFittingProvider(String),
    /// Providers of the model exist, but none takes calls now.
    NoProvider(String),
    /// Every provider that fits is at its limit.
    ProvidersFull {
        /// When to try again.
        retry_after: Duration,
    },
    /// The account has its share of what all accounts share on this gateway.
    Crowded(&'static str),
    /// This gateway is at its limit of concurrent calls, or stopping.
    Overloaded(&'static str),
    /// The ledger does not answer; money fails closed.
    LedgerUnavailable,
    /// The engine refused the request itself (400, 413, 422): the caller gets its error, in OpenAI's envelope.
    Engine {
        /// The engine's status.
        status: StatusCode,
        /// The engine's error.
        envelope: Box<ErrorEnvelope>,
    },
    /// Every attempt failed before the first token.
    ProvidersFailed {
        /// How many were tried.
        attempts: usize,
    },
    /// No attempt gave a first token in time.
    ProvidersTimedOut {
        /// How many were tried.
        attempts: usize,
    },
    /// A defect of the gateway.
    Internal,
}

/// What the envelope and the status line say.
struct Told {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
}

impl Told {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            code,
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

impl Reject {
    /// What a caller is told when the ledger fails a read; the cause goes to the log.
    #[must_use]
    pub fn ledger(error: filature_billing::LedgerError) -> Self {
        tracing::warn!(%error, "the ledger could not be read");
        Self::LedgerUnavailable
    }

    /// The status line's code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Engine { status, .. } => *status,
            other => other.told().status,
        }
    }

    /// A fixed word for metrics and logs (`error.type` of the GenAI conventions).
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "invalid_api_key",
            Self::InsufficientCredit { .. } => "insufficient_credit",
            Self::RateLimited { .. } => "rate_limit_exceeded",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::BadRequest { .. } => "bad_request",
            Self::TooLittle { .. } => "too_little",
            Self::NotPermitted(_) => "not_permitted",
            Self::Conflict(_) => "conflict",
            Self::ModelNotAllowed(_) => "model_not_allowed",
            Self::UnknownModel(_) => "model_not_found",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge { .. } => "request_too_large",
            Self::BodyTimeout => "request_timeout",
            Self::NoFittingProvider(_) => "no_fitting_provider",
            Self::NoProvider(_) => "no_provider",
            Self::ProvidersFull { .. } => "providers_full",
            Self::Crowded(_) => "too_many_at_once",
            Self::Overloaded(_) => "overloaded",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::Engine { .. } => "engine_refused",
            Self::ProvidersFailed { .. } => "providers_failed",
            Self::ProvidersTimedOut { .. } => "providers_timed_out",
            Self::Internal => "internal",
        }
    }

    fn told(&self) -> Told {
        match self {
            Self::Unauthorized(_)
            | Self::InsufficientCredit { .. }
            | Self::RateLimited { .. }
            | Self::BudgetSpent { .. }
            | Self::BadRequest { .. }
            | Self::TooLittle { .. }
            | Self::NotPermitted(_)
            | Self::Conflict(_)
            | Self::ModelNotAllowed(_)
            | Self::UnknownModel(_)
            | Self::NoFittingProvider(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed
            | Self::TooLarge { .. }
            | Self::BodyTimeout => self.caller_told(),
            _ => self.service_told(),
        }
    }

    /// What the caller can mend.
    fn caller_told(&self) -> Told {
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::Unauthorized(why) => Told::new(
                StatusCode::UNAUTHORIZED,
                INVALID,
                Some("invalid_api_key"),
                format!("{why} Send it as the header `Authorization: Bearer sk-fil-…`."),
            ),
            Self::InsufficientCredit {
                needed_nano,
                available_nano,
            } => Told::new(
                StatusCode::PAYMENT_REQUIRED,
                "insufficient_quota",
                Some("insufficient_quota"),
                format!(
                    "This call may cost {needed_nano} nano and the account has {available_nano}. \
                     Add credit, shorten the prompt, or lower max_tokens."
                ),
            ),
            Self::RateLimited { what, retry_after, .. } => limited(what, *retry_after),
            Self::BudgetSpent { resets_in } => Told {
                retry_after: *resets_in,
                ..Told::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "insufficient_quota",
                    Some("insufficient_quota"),
                    "The budget of this API key is spent. Ask the owner of the account for a larger one.",
                )
            },
            Self::BadRequest { message, param, code } => Told {
                param: param.clone(),
                ..Told::new(StatusCode::BAD_REQUEST, INVALID, *code, message.clone())
            },
            Self::TooLittle { available_nano } => Told::new(
                StatusCode::PAYMENT_REQUIRED,
                "insufficient_quota",
                Some("insufficient_quota"),
                format!("The account has {available_nano} nano available, which is too little."),
            ),
            Self::NotPermitted(why) => Told::new(StatusCode::FORBIDDEN, INVALID, Some("permission_denied"), *why),
            Self::Conflict(what) => Told::new(StatusCode::CONFLICT, INVALID, Some("conflict"), what.clone()),
            // OpenAI's words for a project without access to a model.
            Self::ModelNotAllowed(model) => Told {
                param: Some("model".to_owned()),
                ..Told::new(
                    StatusCode::FORBIDDEN,
                    INVALID,
                    Some("model_not_found"),
                    format!(
                        "This API key does not have access to the model `{model}`. GET /v1/models lists those it has."
                    ),
                )
            },
            Self::UnknownModel(model) => Told {
                param: Some("model".to_owned()),
                ..Told::new(
                    StatusCode::NOT_FOUND,
                    INVALID,
                    Some("model_not_found"),
                    format!("No provider serves the model `{model}`. GET /v1/models lists those served now."),
                )
            },
            Self::NoFittingProvider(why) => {
                Told::new(StatusCode::NOT_FOUND, INVALID, Some("no_fitting_provider"), why.clone())
            }
            Self::NotFound(what) => Told::new(StatusCode::NOT_FOUND, INVALID, Some("not_found"), what.clone()),
            Self::MethodNotAllowed => Told::new(
                StatusCode::METHOD_NOT_ALLOWED,
                INVALID,
                Some("method_not_allowed"),
                "This path does not take that method.",
            ),
            Self::TooLarge { bytes_max } => Told::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID,
                Some("request_too_large"),
                format!("The body is larger than {bytes_max} bytes, the most this gateway takes."),
            ),
            _ => Told::new(
                StatusCode::REQUEST_TIMEOUT,
                INVALID,
                Some("request_timeout"),
                "The body did not arrive in time.",
            ),
        }
    }

    /// What the service owes the caller.
    fn service_told(&self) -> Told {
        const SERVER: &str = "server_error";
        match self {
            Self::NoProvider(why) => Told::new(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                Some("no_provider"),
                why.clone(),
            )
            .retry_after(Duration::from_secs(2)),
            Self::ProvidersFull { retry_after } => Told::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                Some("providers_full"),
                "Every provider of this model is at its limit. Try again shortly.",
            )
            .retry_after(*retry_after),
            Self::Crowded(why) => Told::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                Some("too_many_at_once"),
                *why,
            )
            .retry_after(Duration::from_secs(1)),
            Self::Overloaded(why) => Told::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, Some("overloaded"), *why)
                .retry_after(Duration::from_secs(1)),
            Self::LedgerUnavailable => Told::new(
                StatusCode::SERVICE_UNAVAILABLE,
                SERVER,
                Some("ledger_unavailable"),
                "The call cannot be metered right now, so it was not started. Nothing was charged.",
            )
            .retry_after(Duration::from_secs(2)),
            Self::ProvidersFailed { attempts } => Told::new(
                StatusCode::BAD_GATEWAY,
                SERVER,
                Some("provider_error"),
                format!("{attempts} attempt(s) at providers failed before the first token. Nothing was charged."),
            ),
            Self::ProvidersTimedOut { attempts } => Told::new(
                StatusCode::GATEWAY_TIMEOUT,
                SERVER,
                Some("provider_timeout"),
                format!("{attempts} attempt(s) at providers gave no first token in time. Nothing was charged."),
            ),
            _ => Told::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                SERVER,
                Some("internal_error"),
                "The gateway failed on this call. Nothing was charged.",
            ),
        }
    }
}

/// What OpenAI's API says when a limit is reached: the kind is the limit's name.
fn limited(what: &'static str, retry_after: Option<Duration>) -> Told {
    let message = match (what, retry_after) {
        ("concurrent", _) => "This API key has as many calls running as it may have at a time.",
        ("tokens", None) => "This call has more tokens than this API key may use in a minute. Shorten it.",
        ("tokens", _) => "The tokens per minute of this API key are used up.",
        _ => "The requests per minute of this API key are used up.",
    };
    let told = Told::new(
        StatusCode::TOO_MANY_REQUESTS,
        what,
        Some("rate_limit_exceeded"),
        message,
    );
    // A call that never fits is told no time to come back; one that waits for others may try in a second.
    match (what, retry_after) {
        ("tokens", None) => told,
        (_, after) => told.retry_after(after.unwrap_or(Duration::from_secs(1))),
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        if let Self::Engine { status, envelope } = self {
            return respond(status, Body::from(envelope.to_json()));
        }
        let told = self.told();
        let limits = match &self {
            Self::RateLimited { state, .. } => Some(*state),
            _ => None,
        };
        let envelope = ErrorEnvelope {
            error: ErrorBody {
                message: told.message,
                kind: told.kind.to_owned(),
                param: told.param,
                code: told.code.map(str::to_owned),
                metadata: None,
            },
        };
        let mut response = respond(told.status, Body::from(envelope.to_json()));
        let headers = response.headers_mut();
        if let Some(after) = told.retry_after {
            headers.insert(
                RETRY_AFTER,
                HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64),
            );
        }
        if let Some(limits) = &limits {
            rates::tell(headers, limits);
        }
        if told.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn respond(status: StatusCode, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
