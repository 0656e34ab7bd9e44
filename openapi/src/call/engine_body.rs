//! Writes the body an engine gets: the caller's own, but for the few fields that must differ.

use bytes::Bytes;

use super::values::StreamOptions;
use super::{CallView, Endpoint};
use crate::edit::{Edits, Segments};

impl CallView {
    /// The body for an engine, as slices of `body` with replacements between them.
    ///
    /// `engine_model` is the engine's name of the model; `None` keeps the caller's. A stream always asks for usage.
    /// `output_tokens_max`, in tokens, goes wherever a limit of the caller's own stands, for engines differ in which
    /// one they follow, else into `max_tokens`; `None`, and any value for embeddings, changes nothing. Every other byte stays as it came.
    ///
    /// # Panics
    /// If `body` has another length than the body this view was parsed from.
    #[must_use]
    pub fn body_for_engine(
        &self,
        body: &Bytes,
        engine_model: Option<&str>,
        output_tokens_max: Option<u32>,
    ) -> Segments {
        assert_eq!(
            body.len(),
            self.places.body_bytes,
            "a view fits only the body it was parsed from"
        );
        let mut edits = Edits::new();
        let mut added = String::new();
        if self.stream {
            self.ask_for_usage(&mut edits, &mut added);
        }
        if let (true, Some(tokens_max)) = (self.endpoint != Endpoint::Embeddings, output_tokens_max) {
            self.limit_output(tokens_max, &mut edits, &mut added);
        }
        // New members follow the model, so that a replaced model and they are one segment.
        match engine_model.filter(|name| **name != *self.model) {
            Some(name) => {
                let mut replacement = serde_json::to_string(name).expect("a string always serialises");
                replacement.push_str(&added);
                edits.replace(self.places.model.range(), replacement);
            }
            None if added.is_empty() => {}
            None => {
                edits.replace(self.places.model.behind(), added);
            }
        }
        edits.apply(body)
    }

    fn ask_for_usage(&self, edits: &mut Edits, added: &mut String) {
        match self.places.stream_options {
            StreamOptions::Asked => {}
            StreamOptions::Absent => added.push_str(r#","stream_options":{"include_usage":true}"#),
            StreamOptions::Null(at) => {
                edits.replace(at.range(), Bytes::from_static(br#"{"include_usage":true}"#));
            }
            StreamOptions::Declined(at) => {
                edits.replace(at.range(), Bytes::from_static(b"true"));
            }
            StreamOptions::Silent(at, false) => {
                edits.replace(at.inside(), Bytes::from_static(br#""include_usage":true"#));
            }
            StreamOptions::Silent(at, true) => {
                edits.replace(at.inside(), Bytes::from_static(br#""include_usage":true,"#));
            }
        }
    }

    fn limit_output(&self, tokens_max: u32, edits: &mut Edits, added: &mut String) {
        let (places, none_binds) = self.places.limits.places();
        if none_binds {
            added.push_str(&format!(r#","max_tokens":{tokens_max}"#));
        }
        for place in places {
            if place.value != Some(tokens_max) {
                edits.replace(place.at.range(), tokens_max.to_string());
            }
        }
    }
}
