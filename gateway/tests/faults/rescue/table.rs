//! The table that a run prints: what was tried, what it met, and what it cost the caller in time.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use filature_loadtest::engine::CallSeen;

use super::case::{Case, Endpoint};
use super::heard::Heard;

/// One row for each fault, endpoint and form of answer.
#[derive(Default)]
pub struct Table(BTreeMap<(&'static str, &'static str, &'static str), Row>);

#[derive(Default)]
struct Row {
    cases: usize,
    met: usize,
    retried: usize,
    rescued: usize,
    wrong: usize,
    pauses: Vec<Duration>,
}

impl Table {
    pub fn add(&mut self, case: &Case, heard: &Heard, attempts: &[CallSeen], is_wrong: bool) {
        let endpoint = match case.endpoint {
            Endpoint::Chat => "chat",
            Endpoint::Completion => "completion",
        };
        let row = self
            .0
            .entry((case.name, endpoint, if case.stream { "stream" } else { "whole" }))
            .or_default();
        row.cases += 1;
        row.met += usize::from(attempts.iter().any(|seen| seen.fault.is_some()));
        row.wrong += usize::from(is_wrong);
        if !heard.splices.is_empty() {
            row.rescued += 1;
            row.pauses.push(heard.pause_max);
        } else if attempts.len() > 1 {
            row.retried += 1;
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "fault",
            "endpoint",
            "answer",
            "cases",
            "met",
            "retried",
            "rescued",
            "wrong",
            "pause p50",
            "p99",
        ];
        let [kind, endpoint, answer, counts @ ..] = heads;
        write!(f, "  {kind:<14} {endpoint:<11} {answer:<7}")?;
        counts.iter().try_for_each(|head| write!(f, " {head:>9}"))?;
        writeln!(f)?;
        for ((kind, endpoint, answer), row) in &self.0 {
            write!(f, "  {kind:<14} {endpoint:<11} {answer:<7}")?;
            for count in [row.cases, row.met, row.retried, row.rescued, row.wrong] {
                write!(f, " {count:>9}")?;
            }
            let mut pauses = row.pauses.clone();
            pauses.sort();
            for share in [50, 99] {
                let pause = pauses.get((pauses.len() * share / 100).min(pauses.len().saturating_sub(1)));
                let pause = pause.map_or("-".to_owned(), |pause| format!("{:.1} ms", pause.as_secs_f64() * 1e3));
                write!(f, " {pause:>9}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
