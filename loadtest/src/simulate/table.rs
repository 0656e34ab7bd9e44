//! The summary as text.

use std::fmt::Write as _;

use super::goals::goals;
use super::summary::{Entry, Estimate, ScenarioSummary, Summary};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Columns: heading, figure, factor, decimals.
const COLUMNS: [(&str, &str, f64, usize); 11] = [
    ("success %", "success", 100.0, 4),
    ("ttft p50 s", "ttft_p50_s", 1.0, 3),
    ("ttft p99 s", "ttft_p99_s", 1.0, 3),
    ("p99.9 s", "ttft_p999_s", 1.0, 2),
    ("e2e p99 s", "e2e_p99_s", 1.0, 1),
    ("µTON/call", "cost_per_call", 0.001, 2),
    ("retry %", "retries", 100.0, 2),
    ("hedge %", "hedges", 100.0, 2),
    ("rescue %", "rescues", 100.0, 2),
    ("waste %", "wasted_work", 100.0, 2),
    ("shed %", "shed", 100.0, 2),
];
/// Figures whose uncertainty is shown.
const UNCERTAIN: [&str; 2] = ["ttft_p99_s", "cost_per_call"];

/// The summary as a table for each scenario, and the goals. Colours are for terminals.
#[must_use]
pub fn table(summary: &Summary, is_coloured: bool) -> String {
    let mut text = String::new();
    for scenario in &summary.scenarios {
        // Writing to a string cannot fail.
        let _ = write_scenario(&mut text, scenario, is_coloured);
    }
    let _ = write_goals(&mut text, summary, is_coloured);
    text
}

fn paint(is_coloured: bool, colour: &'static str) -> (&'static str, &'static str) {
    if is_coloured { (colour, PLAIN) } else { ("", "") }
}

fn write_scenario(text: &mut String, summary: &ScenarioSummary, is_coloured: bool) -> std::fmt::Result {
    let (bold, plain) = paint(is_coloured, BOLD);
    let (dim, _) = paint(is_coloured, DIM);
    writeln!(
        text,
        "\n{bold}{}{plain}  {}",
        summary.scenario.name, summary.scenario.what
    )?;
    write!(text, "{dim}{:<24}", "")?;
    for (heading, figure, ..) in COLUMNS {
        write!(text, "{heading:>width$}", width = width(figure))?;
    }
    writeln!(text, "{plain}")?;
    for entry in &summary.entries {
        let colour = match (entry.contender.name.as_str(), entry.contender.is_bound()) {
            ("filature", _) => bold,
            (_, true) => dim,
            _ => "",
        };
        write!(text, "{colour}{:<24}", entry.contender.name)?;
        for (_, figure, factor, decimals) in COLUMNS {
            write!(
                text,
                "{:>width$}",
                cell(entry, figure, factor, decimals),
                width = width(figure)
            )?;
        }
        writeln!(text, "{}", if colour.is_empty() { "" } else { plain })?;
    }
    if summary.scenario.is_overload {
        write_overload(text, summary)?;
    }
    Ok(())
}

fn write_overload(text: &mut String, summary: &ScenarioSummary) -> std::fmt::Result {
    for entry in summary.entries.iter().filter(|entry| !entry.contender.is_bound()) {
        writeln!(
            text,
            "  {:<22} p99 {:.2} × unloaded ({:.3} s); shed flex {:.0}%, default {:.0}%, priority {:.0}%; Retry-After {:.1} s, kept for {:.0}%",
            entry.contender.name,
            entry.mean("ttft_p99_to_unloaded"),
            entry.mean("ttft_p99_s_unloaded"),
            entry.mean("shed_flex") * 100.0,
            entry.mean("shed_default") * 100.0,
            entry.mean("shed_priority") * 100.0,
            entry.mean("retry_after_s"),
            entry.mean("retry_after_kept") * 100.0,
        )?;
    }
    Ok(())
}

fn write_goals(text: &mut String, summary: &Summary, is_coloured: bool) -> std::fmt::Result {
    let (bold, plain) = paint(is_coloured, BOLD);
    writeln!(text, "\n{bold}goals{plain}")?;
    for goal in goals(summary) {
        let (colour, word) = if goal.is_met {
            (GREEN, "met   ")
        } else {
            (RED, "missed")
        };
        let (colour, plain) = paint(is_coloured, colour);
        writeln!(
            text,
            "{colour}{word}{plain}  {:<13} {}: {}",
            goal.scenario, goal.what, goal.found
        )?;
    }
    Ok(())
}

fn width(figure: &str) -> usize {
    if UNCERTAIN.contains(&figure) { 16 } else { 11 }
}

fn cell(entry: &Entry, figure: &str, factor: f64, decimals: usize) -> String {
    let Estimate { mean, within } = entry.figures.get(figure).copied().unwrap_or_default();
    let mean = format!("{:.decimals$}", mean * factor);
    if UNCERTAIN.contains(&figure) && within > 0.0 {
        format!("{mean} ±{:.decimals$}", within * factor)
    } else {
        mean
    }
}
