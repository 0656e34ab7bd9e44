//! What commands print: tables for people, JSON for programs; remarks and complaints go to standard error.

use std::fmt;
use std::io::{ErrorKind, Write as _, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;

/// Decimals of a displayed amount: those of a nano.
const NANO_PER_COIN: u128 = 1_000_000_000;

/// Room for a fact's name, in characters.
const FACT_CHARS_MIN: usize = 10;

/// Runs a short command to its end.
pub(super) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(work)
}

/// Prints a result as JSON or as text.
pub(super) fn show(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if !json {
        return print(&text());
    }
    let mut out = serde_json::to_string_pretty(value).context("the result is no JSON")?;
    out.push('\n');
    print(&out)
}

/// Prints to standard output. A reader that leaves early, such as `head`, is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot print").into())
        }
        _ => Ok(()),
    }
}

/// A remark that is no part of the result.
pub(super) fn note(text: &str) {
    eprintln!("filature: {}", lines(text));
}

/// Says why a command failed.
pub(super) fn complain(text: &str, code: u8) -> ExitCode {
    eprintln!("filature: {}", lines(text));
    ExitCode::from(code)
}

/// A moment of Unix milliseconds, to the second, in UTC.
pub(super) fn time(ms: u64) -> String {
    let second = i64::try_from(ms / 1000)
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok());
    second.map_or_else(|| format!("{ms} ms"), |at| at.to_string())
}

/// An amount of nano with its symbol, all decimals shown.
pub(super) fn amount(nano: i128, symbol: &str) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    format!("{sign}{}.{:09} {symbol}", nano / NANO_PER_COIN, nano % NANO_PER_COIN)
}

/// One thing: a line per fact.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let width = width.max(FACT_CHARS_MIN);
    facts
        .iter()
        .map(|(name, value)| format!("{name:<width$} {}\n", printable(value)))
        .collect()
}

/// Many things of a kind: a line each, under a line of headings.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&str]) -> Self {
        Self {
            rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<_> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// The same of a text of several lines.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Text from outside must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_show_every_nano() {
        assert_eq!(amount(0, "TON"), "0.000000000 TON");
        assert_eq!(amount(-1, "TON"), "-0.000000001 TON");
        assert_eq!(amount(1_500_000_000, "TON"), "1.500000000 TON");
    }

    #[test]
    fn columns_line_up_and_names_cannot_steer_the_terminal() {
        let mut table = Table::new(&["A", "NAME"]);
        table.row(["long".to_owned(), "x\u{1b}[2J".to_owned()]);
        table.row(["b".to_owned(), "ä".to_owned()]);
        assert_eq!(table.to_string(), "A     NAME\nlong  x\u{fffd}[2J\nb     ä\n");
    }

    #[test]
    fn moments_are_shown_in_utc() {
        assert_eq!(time(1_801_353_600_999), "2027-01-31T00:00:00Z");
        assert_eq!(time(u64::MAX), format!("{} ms", u64::MAX));
    }
}
