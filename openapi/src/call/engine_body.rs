//! Writes the body an engine gets: the caller's own, but for the few fields that must differ.

use bytes::Bytes;

use super::values::{Span, StreamOptions};
use super::{CallView, Endpoint};
use crate::edit::{Edits, Segments};
use crate::member::{Member, Removals, value_of};

/// What an engine's body says otherwise than the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForEngine<'a> {
    /// What the engine calls the model.
    pub model: &'a str,
    /// The most tokens to write for each choice. It goes wherever a limit of the caller's own stands, for engines
    /// differ in which one they follow, else into `max_tokens`; `None`, and any value for embeddings, changes nothing.
    pub output_tokens_max: Option<u32>,
    /// What another engine has written already, if this one is to go on from there.
    pub continuation: Option<Continuation<'a>>,
}

/// The beginning of an answer that another engine is to continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Continuation<'a> {
    /// The text so far, as the caller has it.
    pub text: &'a str,
    /// Members that make the engine go on instead of answering anew, as they stand in JSON: `"a":1,"b":2`. Empty where
    /// it needs none.
    pub members: &'a str,
}

impl CallView {
    /// The body for an engine, as slices of `body` with replacements between them.
    ///
    /// A stream always asks for usage. `provider`, `models` and `route` are the gateway's own and left out. Every other
    /// byte that [`ForEngine`] does not speak of stays as it came.
    ///
    /// # Panics
    /// If `body` has another length than the body this view was parsed from, or a call is to be continued that cannot
    /// be ([`CallView::can_continue`]).
    #[must_use]
    pub fn body_for_engine(&self, body: &Bytes, engine: ForEngine<'_>) -> Segments {
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
        if let (true, Some(tokens_max)) = (self.endpoint != Endpoint::Embeddings, engine.output_tokens_max) {
            self.limit_output(tokens_max, &mut edits, &mut added);
        }
        if let Some(continuation) = engine.continuation {
            self.go_on(body, continuation, &mut edits, &mut added);
        }
        self.name_model(body, engine.model, added, &mut edits);
        edits.apply(body)
    }

    /// Writes the model's name, with `added` behind it so that both are one segment, and leaves out what is the
    /// gateway's.
    fn name_model(&self, body: &Bytes, name: &str, added: String, edits: &mut Edits) {
        let places = &self.places;
        let mut own = [places.provider, places.route, places.models];
        match places.model {
            Some(at) if *name == *self.model && self.variant.is_none() && !places.is_model_other => {
                if !added.is_empty() {
                    edits.replace(at.behind(), added);
                }
            }
            Some(at) => {
                edits.replace(at.range(), format!("{}{added}", quoted(name)));
            }
            // There is one or the other: `models` becomes `model`.
            None => {
                let models = own[2].take().map(Span::range).unwrap_or_default();
                let at = Member::of(body, models).range();
                edits.replace(at, format!(r#""model":{}{added}"#, quoted(name)));
            }
        }
        if own.iter().any(Option::is_some) {
            Removals::of(body, own.into_iter().flatten().map(Span::range)).write(edits);
        }
    }

    /// Puts the text so far where the engine goes on from it.
    fn go_on(&self, body: &Bytes, continuation: Continuation<'_>, edits: &mut Edits, added: &mut String) {
        assert!(self.can_continue, "a call that cannot be continued is not");
        let text = quoted(continuation.text);
        let (name, insertion) = if self.endpoint == Endpoint::Completions {
            ("prompt", text[1..text.len() - 1].to_owned())
        } else {
            ("messages", format!(r#",{{"role":"assistant","content":{text}}}"#))
        };
        // Before the quote or the bracket that ends it. Looked for again: a stream seldom breaks.
        let end = value_of(body, name).end - 1;
        edits.replace(end..end, insertion);
        if !continuation.members.is_empty() {
            added.push(',');
            added.push_str(continuation.members);
        }
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

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serialises")
}

#[cfg(test)]
mod tests;
