//! The failures each kind of route can answer with. The gateway's `reject` has the same list.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};

use crate::error::ErrorEnvelope;

/// A failure: status, what it means, and an example's type, code and message.
struct Failure {
    status: u16,
    meaning: &'static str,
    kind: &'static str,
    code: Option<&'static str>,
    message: &'static str,
}

const INVALID: Failure = Failure {
    status: 400,
    meaning: "The request is wrong: not JSON, a field missing, of a wrong type or out of range.",
    kind: "invalid_request_error",
    code: Some("missing_required_parameter"),
    message: "Missing required parameter: 'messages'.",
};
const NO_KEY: Failure = Failure {
    status: 401,
    meaning: "No API key, or one that is unknown, revoked or expired.",
    kind: "invalid_request_error",
    code: Some("invalid_api_key"),
    message: "This API key is not known.",
};
const NO_CREDIT: Failure = Failure {
    status: 402,
    meaning: "The account's balance does not cover the call.",
    kind: "insufficient_quota",
    code: Some("insufficient_quota"),
    message: "This call may cost 120000 nano and the account has 4000.",
};
const NOT_ALLOWED: Failure = Failure {
    status: 403,
    meaning: "The API key is confined to other models.",
    kind: "invalid_request_error",
    code: Some("model_not_found"),
    message: "This API key does not have access to the model `qwen3-8b`.",
};
const UNKNOWN: Failure = Failure {
    status: 404,
    meaning: "There is no such model, call or route.",
    kind: "invalid_request_error",
    code: Some("model_not_found"),
    message: "No provider serves the model `no-such-model`.",
};
const NOT_PERMITTED: Failure = Failure {
    status: 403,
    meaning: "The API key may not withdraw.",
    kind: "invalid_request_error",
    code: Some("permission_denied"),
    message: "This API key may not withdraw. Ask the operator.",
};
const TOO_LITTLE: Failure = Failure {
    status: 402,
    meaning: "The account has less than that available.",
    kind: "insufficient_quota",
    code: Some("insufficient_quota"),
    message: "The account has 4000 nano available, which is too little.",
};
const NOT_OFFERED: Failure = Failure {
    status: 404,
    meaning: "This gateway does not offer it.",
    kind: "invalid_request_error",
    code: Some("not_found"),
    message: "This gateway takes no deposits on TON.",
};
const TAKEN: Failure = Failure {
    status: 409,
    meaning: "Another one has this name.",
    kind: "invalid_request_error",
    code: Some("conflict"),
    message: "the withdrawal november-refund exists already and is another",
};
const SLOW_CALLER: Failure = Failure {
    status: 408,
    meaning: "The request did not arrive in time.",
    kind: "invalid_request_error",
    code: Some("request_timeout"),
    message: "The request body did not arrive in time.",
};
const TOO_LARGE: Failure = Failure {
    status: 413,
    meaning: "The body is larger than the gateway takes.",
    kind: "invalid_request_error",
    code: Some("request_too_large"),
    message: "The body is larger than 8388608 bytes.",
};
const ENGINE_REFUSED: Failure = Failure {
    status: 422,
    meaning: "The engine refused the request itself; the message is the engine's. Some engines say 400 or 415 instead.",
    kind: "invalid_request_error",
    code: None,
    message: "This model does not take images.",
};
const TOO_MANY: Failure = Failure {
    status: 429,
    meaning: "Every provider that fits is at its limit, a limit or the budget of the API key is reached, or the account \
              has its share of the gateway (`too_many_at_once`). `Retry-After`, where it is given, says when to try again.",
    kind: "rate_limit_error",
    code: Some("providers_full"),
    message: "Every provider of this model is at its limit. Try again shortly.",
};
const TOO_MANY_AT_ONCE: Failure = Failure {
    status: 429,
    meaning: "The account is looking for as many sealed receipts as it may at a time. `Retry-After` says when to try again.",
    kind: "rate_limit_error",
    code: Some("too_many_at_once"),
    message: "This account is looking for as many sealed receipts as it may at a time. Try again shortly.",
};
const INTERNAL: Failure = Failure {
    status: 500,
    meaning: "The gateway failed. Nothing is charged.",
    kind: "server_error",
    code: Some("internal_error"),
    message: "The gateway failed on this call. Nothing was charged.",
};
const PROVIDERS_FAILED: Failure = Failure {
    status: 502,
    meaning: "Every provider tried failed before the first token. Nothing is charged.",
    kind: "server_error",
    code: Some("provider_error"),
    message: "3 provider(s) were tried and failed before the first token. Nothing was charged.",
};
const UNAVAILABLE: Failure = Failure {
    status: 503,
    meaning: "No provider can serve this call now, the gateway is at its own limit or stopping, or the ledger cannot be \
              reached. `Retry-After`, where it is given, says when to try again.",
    kind: "server_error",
    code: Some("overloaded"),
    message: "This gateway is at its limit of concurrent calls.",
};
const PROVIDERS_SLOW: Failure = Failure {
    status: 504,
    meaning: "Every provider tried gave no first token in time. Nothing is charged.",
    kind: "server_error",
    code: Some("provider_timeout"),
    message: "3 provider(s) were tried and none gave a first token in time. Nothing was charged.",
};

/// What can go wrong with a call of a model.
pub(super) struct CallFailures;

impl IntoResponses for CallFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            INVALID,
            NO_KEY,
            NO_CREDIT,
            NOT_ALLOWED,
            UNKNOWN,
            SLOW_CALLER,
            TOO_LARGE,
            ENGINE_REFUSED,
            TOO_MANY,
            INTERNAL,
            PROVIDERS_FAILED,
            UNAVAILABLE,
            PROVIDERS_SLOW,
        ])
    }
}

/// What can go wrong with a question about all of something.
pub(super) struct ListFailures;

impl IntoResponses for ListFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[NO_KEY, INTERNAL, UNAVAILABLE])
    }
}

/// What can go wrong with a question that has particulars.
pub(super) struct AskFailures;

impl IntoResponses for AskFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[INVALID, NO_KEY, INTERNAL, UNAVAILABLE])
    }
}

/// What can go wrong with asking how to pay in.
pub(super) struct DepositFailures;

impl IntoResponses for DepositFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            INVALID,
            NO_KEY,
            NOT_OFFERED,
            SLOW_CALLER,
            TOO_LARGE,
            TOO_MANY,
            INTERNAL,
            UNAVAILABLE,
        ])
    }
}

/// What can go wrong with paying out.
pub(super) struct WithdrawalFailures;

impl IntoResponses for WithdrawalFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[
            INVALID,
            NO_KEY,
            TOO_LITTLE,
            NOT_PERMITTED,
            NOT_OFFERED,
            SLOW_CALLER,
            TAKEN,
            TOO_LARGE,
            TOO_MANY,
            INTERNAL,
            UNAVAILABLE,
        ])
    }
}

/// What can go wrong with a question about one thing by its name.
pub(super) struct LookupFailures;

impl IntoResponses for LookupFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[INVALID, NO_KEY, UNKNOWN, TOO_MANY_AT_ONCE, INTERNAL, UNAVAILABLE])
    }
}

/// What can go wrong with a question that needs no key.
pub(super) struct PublicFailures;

impl IntoResponses for PublicFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[INVALID, INTERNAL, UNAVAILABLE])
    }
}

/// The same about one thing by its name.
pub(super) struct PublicLookupFailures;

impl IntoResponses for PublicLookupFailures {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(&[UNKNOWN, INTERNAL, UNAVAILABLE])
    }
}

fn responses(failures: &[Failure]) -> BTreeMap<String, RefOr<Response>> {
    failures
        .iter()
        .map(|failure| (failure.status.to_string(), RefOr::T(failure.response())))
        .collect()
}

impl Failure {
    fn response(&self) -> Response {
        let mut example = ErrorEnvelope::new(self.kind, self.message);
        example.error.code = self.code.map(str::to_owned);
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("ErrorEnvelope")))
            .example(serde_json::to_value(&example).ok())
            .build();
        let response = ResponseBuilder::new()
            .description(self.meaning)
            .content("application/json", content);
        if !matches!(self.status, 429 | 503) {
            return response.build();
        }
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
        let header = HeaderBuilder::new()
            .schema(Some(seconds))
            .description(Some("Seconds to wait."))
            .build();
        response.header("Retry-After", header).build()
    }
}
