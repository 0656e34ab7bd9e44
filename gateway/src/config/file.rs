//! Reads a TOML file into values with their lines. Knows no settings.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::value::Raw;

/// A file as it was found.
pub(super) struct Source<'a> {
    path: &'a str,
    text: &'a str,
}

/// A table of the file: its path from the root, such as `providers[0].models[1]`, and its entries.
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        Self { path, text }
    }

    /// The line at a byte of the text.
    pub(super) fn origin(&self, at: usize) -> Origin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        Origin::File {
            path: self.path.to_owned(),
            line: memchr_count(before) + 1,
        }
    }

    /// The document, and one problem per syntax error.
    pub(super) fn parse(&self) -> (DeTable<'a>, Vec<Problem>) {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        let problems = errors
            .into_iter()
            .map(|error| Problem {
                origin: error
                    .span()
                    .map_or_else(|| self.origin(0), |span| self.origin(span.start)),
                key: String::new(),
                what: format!("not valid TOML: {}", error.message().trim()),
                allowed: String::new(),
            })
            .collect();
        (document.into_inner(), problems)
    }
}

fn memchr_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

impl<'a> Table<'a> {
    pub(super) fn new(entries: &'a DeTable<'a>) -> Self {
        Self { entries }
    }

    /// Its entries in the order they stand in the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, usize, &'a Spanned<DeValue<'a>>)> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value): (&Spanned<DeString<'_>>, _)| (key.get_ref().as_ref(), key.span().start, value))
            .collect();
        entries.sort_by_key(|(_, at, _)| *at);
        entries
    }
}

/// A TOML value as settings read it.
pub(super) fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("integer"), |number| Raw::Number(number.to_string())),
        DeValue::Float(number) => Raw::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map_or(Raw::Other("array of other things than texts"), Raw::List),
        DeValue::Table(_) => Raw::Other("table"),
        DeValue::Datetime(_) => Raw::Other("date"),
    }
}
