//! What an account used, as people want it: summed by day, model or key, and as CSV.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use filature_billing::{Day, KeyId, Usage, UsageSums};

use crate::clock::now_ms;

/// Days that are shown where nobody says which.
const DAYS: u32 = 30;

/// The days asked for: up to today, and 30 of them, where nothing is said.
///
/// # Errors
/// A sentence for people, if the last day comes before the first.
pub fn span(from: Option<Day>, to: Option<Day>) -> Result<(Day, Day), String> {
    let to = to.unwrap_or_else(|| Day::of(now_ms()).max(from.unwrap_or_default()));
    let from = from.unwrap_or_else(|| Day::new(to.number().saturating_sub(DAYS - 1)).unwrap_or(to));
    if from > to {
        return Err(format!("`from` ({from}) comes after `to` ({to})"));
    }
    Ok((from, to))
}

/// What usage is summed by; what is not among it is summed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// A sum for each day.
    pub day: bool,
    /// A sum for each model.
    pub model: bool,
    /// A sum for each key.
    pub key: bool,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            day: true,
            model: true,
            key: true,
        }
    }
}

impl std::str::FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut grouping = Self {
            day: false,
            model: false,
            key: false,
        };
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "day" => grouping.day = true,
                "model" => grouping.model = true,
                "key" => grouping.key = true,
                _ => return Err(format!("`{word}` is nothing to group by: `day`, `model`, `key`")),
            }
        }
        Ok(grouping)
    }
}

/// One sum, with what it is the sum of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The day, if there is a sum for each.
    pub day: Option<Day>,
    /// The model, if there is a sum for each.
    pub model: Option<String>,
    /// The key, if there is a sum for each.
    pub key: Option<KeyId>,
    /// The sums.
    pub sums: UsageSums,
}

/// Sums up, ordered by day, model and key.
#[must_use]
pub fn grouped(usage: Vec<Usage>, by: Grouping) -> Vec<Row> {
    type Of = (Option<Day>, Option<String>, Option<KeyId>);
    let mut rows: BTreeMap<Of, UsageSums> = BTreeMap::new();
    for line in usage {
        let of = (
            by.day.then_some(line.day),
            by.model.then_some(line.model),
            by.key.then_some(line.key),
        );
        let sums = rows.entry(of).or_default();
        *sums = sums.plus(&line.sums);
    }
    let row = |((day, model, key), sums)| Row { day, model, key, sums };
    rows.into_iter().map(row).collect()
}

/// The sum over all rows.
#[must_use]
pub fn total(rows: &[Row]) -> UsageSums {
    rows.iter().fold(UsageSums::default(), |sum, row| sum.plus(&row.sums))
}

/// The rows as CSV (RFC 4180), under a line of headings: a column for each thing they are grouped by, then the sums.
/// `cost` is in coins, `cost_nano` the same to the nano.
#[must_use]
pub fn csv(rows: &[Row], by: Grouping) -> String {
    let mut out = String::new();
    for (is_there, heading) in [(by.day, "day"), (by.model, "model"), (by.key, "key")] {
        if is_there {
            out.push_str(heading);
            out.push(',');
        }
    }
    out.push_str("calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,cost,cost_nano\r\n");
    for row in rows {
        row.day.iter().for_each(|day| cell(&mut out, day));
        row.model.iter().for_each(|model| cell(&mut out, model));
        row.key.iter().for_each(|key| cell(&mut out, key));
        let UsageSums { calls, tokens, cost } = row.sums;
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{calls},{},{},{},{},{cost},{}\r\n",
            tokens.prompt,
            tokens.cached_prompt,
            tokens.completion,
            tokens.reasoning,
            cost.get(),
        );
    }
    out
}

/// One cell of text and the comma behind it. Callers and providers choose names of models: one that a spreadsheet would
/// take for a formula gets an apostrophe before it, as OWASP advises (CSV injection).
fn cell(out: &mut String, value: &impl Display) {
    let text = value.to_string();
    let is_formula = text
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n']);
    let guard = if is_formula { "'" } else { "" };
    if is_formula || text.contains([',', ';', '"', '\'', '\r', '\n', '\t']) {
        let _ = write!(out, "\"{guard}{}\",", text.replace('"', "\"\""));
    } else {
        let _ = write!(out, "{text},");
    }
}

#[cfg(test)]
mod tests {
    use filature_billing::{Nano, Tokens};

    use super::*;

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    fn line(on: &str, model: &str, key: &str, cost: u64) -> Usage {
        Usage {
            day: day(on),
            key: KeyId::parse(key).expect("an id"),
            model: model.to_owned(),
            sums: UsageSums {
                calls: 1,
                tokens: Tokens {
                    prompt: 10,
                    cached_prompt: 2,
                    completion: 5,
                    reasoning: 1,
                },
                cost: Nano::new(cost).expect("small"),
            },
        }
    }

    #[test]
    fn what_is_not_grouped_by_is_summed_over() {
        let usage = vec![
            line("2026-11-01", "a", "key_x", 1),
            line("2026-11-01", "b", "key_x", 2),
            line("2026-11-02", "a", "key_y", 4),
        ];
        let check = |by: &str, found: &[(&str, &str, &str, u64, u64)]| {
            let rows = grouped(usage.clone(), by.parse().expect("a grouping"));
            let text = |value: Option<String>| value.unwrap_or_default();
            let rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    let of = [
                        row.day.map(|day| day.to_string()),
                        row.model.clone(),
                        row.key.as_ref().map(KeyId::to_string),
                    ];
                    (of.map(text), row.sums.calls, row.sums.cost.get())
                })
                .collect();
            let wanted: Vec<_> = found
                .iter()
                .map(|(day, model, key, calls, cost)| ([*day, *model, *key].map(str::to_owned), *calls, *cost))
                .collect();
            assert_eq!(rows, wanted, "{by}");
        };
        check("", &[("", "", "", 3, 7)]);
        check("day", &[("2026-11-01", "", "", 2, 3), ("2026-11-02", "", "", 1, 4)]);
        check("model", &[("", "a", "", 2, 5), ("", "b", "", 1, 2)]);
        check("key", &[("", "", "key_x", 2, 3), ("", "", "key_y", 1, 4)]);
        check(
            "key, day",
            &[("2026-11-01", "", "key_x", 2, 3), ("2026-11-02", "", "key_y", 1, 4)],
        );
        assert_eq!(total(&grouped(usage.clone(), Grouping::default())).cost.get(), 7);
        assert_eq!("day,model,key".parse(), Ok(Grouping::default()));
        assert!("hour".parse::<Grouping>().is_err());
    }

    #[test]
    fn a_spreadsheet_takes_no_cell_for_a_formula() {
        let check = |model: &str, found: &str| {
            let by = "model".parse().expect("a grouping");
            let text = csv(
                &grouped(vec![line("2026-11-01", model, "key_x", 1_500_000_000)], by),
                by,
            );
            let (headings, rest) = text.split_once("\r\n").expect("two lines");
            assert_eq!(
                headings,
                "model,calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,cost,cost_nano"
            );
            assert_eq!(rest, format!("{found},1,10,2,5,1,1.500000000,1500000000\r\n"));
        };
        check("qwen/qwen3:8b", "qwen/qwen3:8b");
        check("=HYPERLINK(\"http://x\")", "\"'=HYPERLINK(\"\"http://x\"\")\"");
        check("@SUM(1)", "\"'@SUM(1)\"");
        check("+1", "\"'+1\"");
        check("-1", "\"'-1\"");
        check(" =1", "\"' =1\"");
        check("\t=1", "\"'\t=1\"");
        check("a,b", "\"a,b\"");
        check("a\"b", "\"a\"\"b\"");
        check("a;=1", "\"a;=1\"");
    }

    #[test]
    fn days_are_thirty_unless_said_otherwise() {
        let today = Day::of(now_ms());
        let (from, to) = span(None, None).expect("days");
        assert!(to >= today && to.number() - from.number() == 29);
        assert_eq!(
            span(None, Some(day("2026-11-30"))),
            Ok((day("2026-11-01"), day("2026-11-30")))
        );
        assert_eq!(
            span(Some(day("1970-01-05")), Some(day("1970-01-05"))).map(|(_, to)| to.number()),
            Ok(4)
        );
        assert_eq!(
            span(None, Some(day("1970-01-05"))).map(|(from, _)| from.number()),
            Ok(0)
        );
        assert!(span(Some(day("2026-11-02")), Some(day("2026-11-01"))).is_err());
        let future = day("9999-01-01");
        assert_eq!(span(Some(future), None), Ok((future, future)));
    }
}
