//! The model's own count of what passed: texts in, tokens out, and what a claim may come to beside them.
//!
//! Decides nothing about money but one pure rule ([`rule::billed`]); who forfeits what, and what is posted, is left to
//! `request::meter` and `request::settle`. Counting is never on the path of a call: the texts are handed to a
//! [`CountingPool`], and where that is full, late, or the text cannot be counted, the bounds by bytes stay.
//!
//! Reading order: [`Tokenizers`] (which model has which tokenizer), [`Tokenizer`] (text → tokens), [`prompt`] and
//! [`output`] (which texts those are), [`rule`] (what is billed), [`pool`] (when it is counted).

pub mod output;
pub mod pool;
pub mod prompt;
pub mod rule;

mod line;
mod load;
mod pieces;
mod tokenizer;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod speed;

use std::collections::HashMap;
use std::sync::Arc;

pub use load::TokenizerError;
pub use output::{OutputCount, OutputText};
pub use pool::{CountingPool, NotCounted, Pending};
pub use prompt::PromptText;
pub use rule::{Measure, Measures, Tolerance, billed};
pub use tokenizer::Tokenizer;

/// What `counted_by` says in a record where nothing was counted but bytes.
pub const BYTES: &str = "bytes";

/// The tokenizers an operator configured, by the public name of the model. Made once, then only read.
#[derive(Debug, Clone, Default)]
pub struct Tokenizers {
    by_model: HashMap<Box<str>, Arc<Tokenizer>>,
}

impl Tokenizers {
    /// The tokenizer of a model; `None` where only bytes bound it.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Arc<Tokenizer>> {
        self.by_model.get(model)
    }

    /// Models that have one.
    #[must_use]
    pub fn models(&self) -> usize {
        self.by_model.len()
    }
}

/// Tokens of a text, and of what may have stood around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Tokens of the text itself.
    pub tokens: u64,
    /// The most tokens that the engine read or wrote beside it and nobody else can see: the chat template, marks around
    /// a tool call, the end of a turn.
    pub unseen_max: u64,
}

impl Counted {
    fn see(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
    }

    fn allow(&mut self, tokens: u64) {
        self.unseen_max = self.unseen_max.saturating_add(tokens);
    }
}
