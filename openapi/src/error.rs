//! The error envelope every client of OpenAI understands.
//!
//! Decides the shape; which code and status a failure gets is decided by the gateway's `reject`.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// The body of every answer that is not a success.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorEnvelope {
    /// What went wrong.
    pub error: ErrorBody,
}

/// What went wrong, in OpenAI's words.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// A sentence for people.
    #[schema(examples("The model 'no-such-model' does not exist."))]
    pub message: String,
    /// The family of the error, for example `invalid_request_error`.
    #[serde(rename = "type")]
    #[schema(examples("invalid_request_error"))]
    pub kind: String,
    /// The request field at fault.
    #[serde(default)]
    #[schema(examples("model"))]
    pub param: Option<String>,
    /// A stable word for programs, for example `model_not_found`.
    #[serde(default, deserialize_with = "code")]
    #[schema(examples("model_not_found"))]
    pub code: Option<String>,
    /// Further facts, as OpenRouter adds them. Absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<serde_json::Value>,
}

impl ErrorEnvelope {
    /// An error without `param`, `code` and `metadata`.
    #[must_use]
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            error: ErrorBody {
                message: message.into(),
                kind: kind.into(),
                param: None,
                code: None,
                metadata: None,
            },
        }
    }

    /// The same error with a `code`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.error.code = Some(code.into());
        self
    }

    /// The same error with a `param`.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.error.param = Some(param.into());
        self
    }

    /// The envelope as JSON.
    #[must_use]
    pub fn to_json(&self) -> bytes::Bytes {
        serde_json::to_vec(self)
            .expect("strings and JSON values always serialise")
            .into()
    }
}

/// Engines send `code` as a string or, like vLLM, as the HTTP status.
fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<serde_json::Value>::deserialize(deserializer)? {
        None | Some(serde_json::Value::Null) => None,
        Some(serde_json::Value::String(code)) => Some(code),
        Some(other) => Some(other.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_envelope_has_openais_four_members_and_no_others_unless_needed() {
        let plain = ErrorEnvelope::new("server_error", "It failed.");
        let parsed: Value = serde_json::from_slice(&plain.to_json()).unwrap();
        assert_eq!(
            parsed,
            json!({"error": {"message": "It failed.", "type": "server_error", "param": null, "code": null}})
        );
        let mut full = plain.with_param("model").with_code("model_not_found");
        full.error.metadata = Some(json!({"tried": 2}));
        let parsed: Value = serde_json::from_slice(&full.to_json()).unwrap();
        assert_eq!(
            parsed["error"],
            json!({"message": "It failed.", "type": "server_error", "param": "model", "code": "model_not_found", "metadata": {"tried": 2}})
        );
        assert_eq!(serde_json::from_value::<ErrorEnvelope>(parsed).unwrap(), full);
    }

    #[test]
    fn codes_that_are_numbers_are_read() {
        for (code, read) in [("400", Some("400")), ("\"bad\"", Some("bad")), ("null", None)] {
            let json = format!(r#"{{"error":{{"message":"m","type":"t","code":{code}}}}}"#);
            assert_eq!(
                serde_json::from_str::<ErrorEnvelope>(&json)
                    .unwrap()
                    .error
                    .code
                    .as_deref(),
                read
            );
        }
    }
}
