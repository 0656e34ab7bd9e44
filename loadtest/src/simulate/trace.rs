//! Reads a trace of real calls: the CSV format of the Azure LLM inference traces (2023),
//! `TIMESTAMP,ContextTokens,GeneratedTokens`, one call a line, in order of time.

use std::io::BufRead;
use std::path::Path;

use anyhow::Context as _;
use thiserror::Error;

/// Rows a trace may have: bounds memory.
const ROWS_MAX: usize = 20_000_000;

/// One call of a trace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Seconds since the first call of the trace.
    pub at_s: f64,
    /// Prompt tokens.
    pub prompt: u32,
    /// Generated tokens.
    pub output: u32,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadLine {
    /// The first line is not the known header.
    #[error("the header is to be TIMESTAMP,ContextTokens,GeneratedTokens")]
    Header,
    /// Not three fields.
    #[error("three fields are wanted, there are {0}")]
    Fields(usize),
    /// The first field is no date and time.
    #[error("{0:?} is no time like 2023-11-16 18:15:46.6805900")]
    Time(String),
    /// A count that is no whole number, or zero.
    #[error("{0:?} is no count of tokens from 1 on")]
    Tokens(String),
    /// A call before the one above it.
    #[error("it lies before the line above")]
    Order,
}

/// Reads the trace in `file`.
///
/// # Errors
/// When the file cannot be read, a line is not as it should be (the error names it), or there are fewer than two calls.
pub fn read_file(file: &Path) -> anyhow::Result<Vec<Row>> {
    let opened = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    read(std::io::BufReader::new(opened)).with_context(|| format!("{} is no trace", file.display()))
}

/// Reads a trace.
///
/// # Errors
/// As [`read_file`].
pub fn read(lines: impl BufRead) -> anyhow::Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut first_s = None;
    for (at, line) in lines.lines().enumerate() {
        let number = at + 1;
        let line = line.with_context(|| format!("line {number}"))?;
        let line = line.trim();
        if at == 0 {
            let is_header = line.trim_start_matches('\u{feff}') == "TIMESTAMP,ContextTokens,GeneratedTokens";
            anyhow::ensure!(is_header, "line 1: {}", BadLine::Header);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let row = parse(line).with_context(|| format!("line {number}"))?;
        let at_s = row.at_s - *first_s.get_or_insert(row.at_s);
        let is_in_order = rows.last().is_none_or(|last| last.at_s <= at_s);
        anyhow::ensure!(is_in_order, "line {number}: {}", BadLine::Order);
        anyhow::ensure!(rows.len() < ROWS_MAX, "line {number}: more than {ROWS_MAX} calls");
        rows.push(Row { at_s, ..row });
    }
    anyhow::ensure!(
        rows.last().is_some_and(|last| last.at_s > 0.0),
        "no two calls at different times"
    );
    Ok(rows)
}

fn parse(line: &str) -> Result<Row, BadLine> {
    let fields: Vec<&str> = line.split(',').collect();
    let [time, prompt, output] = fields[..] else {
        return Err(BadLine::Fields(fields.len()));
    };
    Ok(Row {
        at_s: time_s(time).ok_or_else(|| BadLine::Time(time.to_owned()))?,
        prompt: tokens(prompt)?,
        output: tokens(output)?,
    })
}

fn tokens(text: &str) -> Result<u32, BadLine> {
    let count = text.trim().parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| BadLine::Tokens(text.to_owned()))
}

/// Seconds since some origin of `2023-11-16 18:15:46.6805900`, without a time zone.
fn time_s(text: &str) -> Option<f64> {
    let (date, clock) = text.trim().split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.splitn(3, ':');
    let hours: u32 = clock.next()?.parse().ok()?;
    let minutes: u32 = clock.next()?.parse().ok()?;
    let seconds: f64 = clock.next()?.parse().ok()?;
    let is_sound = (1..=12).contains(&month) && (1..=31).contains(&day) && hours < 24 && minutes < 60;
    if !is_sound || !(0.0..61.0).contains(&seconds) {
        return None;
    }
    let in_day = f64::from(hours * 3600 + minutes * 60) + seconds;
    Some(days(year, month, day) as f64 * 86_400.0 + in_day)
}

/// Days since 1970-01-01 in the Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_across_leap_years() {
        assert_eq!(
            (days(1970, 1, 1), days(2000, 3, 1), days(2023, 11, 16)),
            (0, 11_017, 19_677)
        );
        let (late, early) = (time_s("2024-03-01 00:00:00"), time_s("2024-02-28 23:59:59.5"));
        assert_eq!(late.zip(early).map(|(late, early)| late - early), Some(86_400.5));
        for text in [
            "",
            "2023-11-16",
            "2023-13-16 18:15:46",
            "2023-11-16 18:15",
            "2023-11-16 18:15:x",
            "x-11-16 1:1:1",
        ] {
            assert_eq!(time_s(text), None, "{text}");
        }
    }
}
