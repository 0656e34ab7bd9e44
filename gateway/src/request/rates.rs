//! What is left of a key's limits per minute, in OpenAI's headers.
//!
//! <https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers>: a limit the key does not have has none.

use std::fmt::Write as _;

use filature_billing::{Rate, RateState};
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Writes what is left.
pub fn tell(headers: &mut HeaderMap, state: &RateState) {
    for (names, rate) in [(REQUESTS, state.requests), (TOKENS, state.tokens)] {
        let Some(rate) = rate else { continue };
        let Rate {
            limit,
            remaining,
            reset_ms,
        } = rate;
        let [of_limit, of_remaining, of_reset] = names;
        headers.insert(of_limit, HeaderValue::from(limit));
        headers.insert(of_remaining, HeaderValue::from(remaining));
        if let Ok(reset) = HeaderValue::try_from(duration(reset_ms)) {
            headers.insert(of_reset, reset);
        }
    }
}

/// A time as Go writes its durations, which is how OpenAI writes them: `120ms`, `1.5s`, `6m0s`.
fn duration(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    if seconds == 0 && ms > 0 {
        return format!("{ms}ms");
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = match ms {
        0 => write!(text, "{seconds}s"),
        ms => write!(text, "{seconds}.{}s", format!("{ms:03}").trim_end_matches('0')),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_openai_does() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (120, "120ms"),
            (1_000, "1s"),
            (8_640, "8.64s"),
            (59_999, "59.999s"),
            (60_000, "1m0s"),
            (90_951, "1m30.951s"),
            (360_000, "6m0s"),
            (3_600_000, "1h0m0s"),
            (5_400_050, "1h30m0.05s"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn only_limits_that_a_key_has_are_told() {
        let mut headers = HeaderMap::new();
        tell(&mut headers, &RateState::default());
        assert!(headers.is_empty());
        let tokens = Some(Rate {
            limit: 1000,
            remaining: 7,
            reset_ms: 59_580,
        });
        tell(&mut headers, &RateState { requests: None, tokens });
        let told: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
            .collect();
        assert_eq!(
            told,
            [
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "7"),
                ("x-ratelimit-reset-tokens", "59.58s"),
            ]
        );
    }
}
