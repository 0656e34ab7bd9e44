//! The errors a simulated engine answers with, in OpenAI's form.

use http::StatusCode;
use serde_json::json;

/// A request that is not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
}

impl Refusal {
    pub(super) fn bad_request(message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            message,
        }
    }

    /// Lost, doubled or foreign text in a request that goes on where another engine broke off.
    pub(super) fn not_the_beginning(message: String) -> Self {
        Self {
            code: Some("not_the_beginning"),
            ..Self::bad_request(message)
        }
    }

    /// Whether it is one of [`Refusal::not_the_beginning`].
    pub(super) fn is_not_the_beginning(&self) -> bool {
        self.code == Some("not_the_beginning")
    }

    pub(super) fn no_such_model(model: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: Some("model_not_found"),
            message: format!("the model `{model}` is not served here"),
        }
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: None,
            message: format!("there is nothing at {path}"),
        }
    }

    pub(super) fn wrong_key() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            kind: "authentication_error",
            code: Some("invalid_api_key"),
            message: "this engine wants its own API key".to_owned(),
        }
    }

    /// A fault that was asked for.
    pub(super) fn simulated(status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        };
        Self {
            status,
            kind,
            code: Some("simulated_fault"),
            message: format!("simulated fault with status {status}"),
        }
    }

    pub(super) fn json(&self) -> String {
        json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.code}}).to_string()
    }
}
