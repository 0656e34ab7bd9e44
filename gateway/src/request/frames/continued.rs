//! What is changed in the chunks of a provider that goes on from another, so that the caller sees one stream: the first
//! one's id, no second role, no white space twice, usage of the whole answer, and in the last chunk a word of who went on
//! and where.

use bytes::Bytes;
use filature_openapi::chunk::{ChunkView, with_member};
use filature_openapi::edit::Edits;
use filature_openapi::sse;
use serde::Serialize;

use super::{Fault, Frames, Splice, Step};

/// The member `filature` of a spliced answer's last chunk.
#[derive(Serialize)]
struct Told<'a> {
    splices: &'a [Splice],
}

impl Frames {
    /// One chunk of a continuation, as the caller gets it.
    ///
    /// # Errors
    /// [`Fault::Elsewhere`] when it does not go on from what the caller has.
    pub(super) fn continued(&mut self, view: &ChunkView, data: &Bytes) -> Result<Step, Fault> {
        let mut edits = Edits::default();
        let has_text = self.text(view, data, &mut edits)?;
        if view.finish_reason.is_some() && self.part.overlap.is_owed() {
            return Err(Fault::Elsewhere);
        }
        if !has_text && view.finish_reason.is_none() && view.usage.is_none() {
            // It opens a message, or says only what the caller has.
            return Ok(Step::Withhold);
        }
        self.edit(view, &mut edits);
        if let (Some(id), Some(span)) = (self.id.as_deref(), view.id.clone()) {
            edits.replace(span, serde_json::to_vec(id).unwrap_or_default());
        }
        if let Some(span) = view.role_member.clone() {
            edits.replace(span, Bytes::new());
        }
        let mut chunk = edits.apply(data).into_bytes();
        if view.finish_reason.is_some() {
            let told = Told { splices: &self.splices };
            let told = serde_json::to_string(&told).unwrap_or_default();
            chunk = with_member(&chunk, &format!(r#""filature":{told}"#));
        }
        Ok(Step::Replace(sse::event(&chunk)))
    }

    /// Drops from a chunk's text what the caller has; whether any output is left.
    fn text(&mut self, view: &ChunkView, data: &Bytes, edits: &mut Edits) -> Result<bool, Fault> {
        let span = match &view.content {
            Some(content) if view.only_content && !self.part.overlap.is_over() => content.clone(),
            _ => {
                self.deliver(view, data);
                return Ok(view.has_output);
            }
        };
        let quoted = span.start - 1..span.end + 1;
        let content: String = serde_json::from_slice(&data[quoted]).map_err(|_half| Fault::Elsewhere)?;
        let rest = self.part.overlap.dropped_from(&content).ok_or(Fault::Elsewhere)?;
        self.meter.repeated(content.len() - rest.len(), rest.is_empty());
        let escaped = serde_json::to_vec(rest).unwrap_or_default();
        let inside = Bytes::from(escaped);
        let inside = inside.slice(1..inside.len().saturating_sub(1).max(1));
        if let Some(delivered) = self.delivered.as_mut().filter(|_| !inside.is_empty())
            && !delivered.push(&inside)
        {
            self.delivered = None;
        }
        edits.replace(span, inside);
        Ok(!rest.is_empty())
    }
}
