//! The summary as one HTML page: everything in it, nothing from elsewhere.

mod charts;

use std::fmt::Write as _;

use super::faults::Character;
use super::goals::goals;
use super::plot::escaped;
use super::summary::{Estimate, ScenarioSummary, Summary};
use super::tally::FAILED_S;
use charts::{curves, exchange, faults, is_own, overload};

/// Those whose curves are drawn, with their colours.
const DRAWN: [(&str, usize); 8] = [
    ("filature", 0),
    ("peak_ewma", 1),
    ("least_outstanding", 2),
    ("round_robin", 3),
    ("inverse_square_price", 4),
    ("running_times_average", 5),
    ("oracle", 6),
    ("central", 7),
];

/// Columns of the tables: heading, figure, factor, decimals.
const COLUMNS: [(&str, &str, f64, usize); 11] = [
    ("success %", "success", 100.0, 4),
    ("TTFT p50, s", "ttft_p50_s", 1.0, 3),
    ("TTFT p99, s", "ttft_p99_s", 1.0, 3),
    ("TTFT p99.9, s", "ttft_p999_s", 1.0, 2),
    ("whole p50, s", "e2e_p50_s", 1.0, 2),
    ("whole p99, s", "e2e_p99_s", 1.0, 1),
    ("cost, µTON", "cost_per_call", 0.001, 2),
    ("retries %", "retries", 100.0, 2),
    ("hedges %", "hedges", 100.0, 2),
    ("rescues %", "rescues", 100.0, 2),
    ("wasted work %", "wasted_work", 100.0, 2),
];

/// Figures whose uncertainty is shown; the JSON has all of them.
const UNCERTAIN: [&str; 3] = ["success", "ttft_p99_s", "cost_per_call"];

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6570;--paper:#fff;--line:#d9dee3;--good:#0a7a3d;--bad:#b3261e;
--c0:#d1361f;--c1:#2a6fbb;--c2:#2f8f4e;--c3:#8a6fb0;--c4:#c07a00;--c5:#008b95;--c6:#6b7280;--c7:#111827}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#9aa5b1;--paper:#14171a;--line:#2c3238;--good:#4cc38a;--bad:#ff7b72;
--c0:#ff7a5c;--c1:#6cb0f5;--c2:#63c584;--c3:#bfa3e6;--c4:#f0b24a;--c5:#46c7d0;--c6:#9aa3af;--c7:#f3f4f6}}
body{margin:0 auto;max-width:1080px;padding:24px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.6em;margin:.2em 0}h2{font-size:1.2em;margin:2em 0 .3em}h3{font-size:1em;margin:1.2em 0 .2em}
p{max-width:75ch}.dim,figcaption{color:var(--dim)}figure{margin:1em 0}.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:3px 9px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;color:var(--dim)}td:first-child,th:first-child{text-align:left}td.text{text-align:left;white-space:normal}
tr.own td{font-weight:650}tr.bound td{color:var(--dim)}.good{color:var(--good);font-weight:650}.bad{color:var(--bad);font-weight:650}
svg{width:100%;height:auto;max-width:820px}svg .grid{stroke:var(--line);stroke-width:1}svg text{fill:var(--dim);font:12px system-ui,sans-serif}
polyline{fill:none;stroke-width:2}polyline.s0{stroke-width:3}.dashed{stroke-dasharray:6 4}
.legend span{margin-right:14px;white-space:nowrap}.legend i{display:inline-block;width:18px;height:4px;margin-right:6px;vertical-align:middle}
.legend i.dashed{opacity:.55}";

/// The page.
#[must_use]
pub fn html(summary: &Summary) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Filature: the router in simulation</title>\n<meta name=\"viewport\" content=\"width=device-width\">\n<style>",
    );
    page.push_str(STYLE);
    for colour in 0..DRAWN.len() {
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            ".s{colour}{{stroke:var(--c{colour})}}.c{colour}{{fill:var(--c{colour})}}.b{colour}{{background:var(--c{colour})}}"
        );
    }
    page.push_str("</style></head>\n<body>\n");
    head(&mut page, summary);
    goal_table(&mut page, summary);
    for scenario in &summary.scenarios {
        section(&mut page, scenario);
    }
    page.push_str("</body></html>\n");
    page
}

fn head(page: &mut String, summary: &Summary) {
    let seeds = summary.seeds.len();
    let which = match (summary.seeds.first(), summary.seeds.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
        (Some(only), _) => only.to_string(),
        _ => "none".to_owned(),
    };
    let _ = write!(
        page,
        "<h1>Filature: the router in simulation</h1>\n<p>The real router in virtual time, open loop, {seeds} seed{} ({which}; \
         constants were tuned on others). Calls come from {}. Figures are means over the seeds, ± half of a 95% interval. \
         All policies get the same four attempts, deadlines, retry budget and rescue of broken streams. A call that fails \
         counts as {FAILED_S:.0} s. The oracle knows all that is and all that will fail; the central pool is one \
         reliable fleet of equal total speed with perfect knowledge. Costs are per call served.</p>\n",
        if seeds == 1 { "" } else { "s" },
        escaped(&summary.source),
    );
}

fn goal_table(page: &mut String, summary: &Summary) {
    let goals = goals(summary);
    if goals.is_empty() {
        return;
    }
    let met = goals.iter().filter(|goal| goal.is_met).count();
    let _ = writeln!(page, "<h2>Goals: {met} of {} met</h2>", goals.len());
    page.push_str("<div class=\"wide\"><table><tr><th>scenario</th><th></th><th>goal</th><th>found</th></tr>\n");
    for goal in goals {
        let (class, word) = if goal.is_met {
            ("good", "met")
        } else {
            ("bad", "missed")
        };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td class=\"{class}\">{word}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
            goal.scenario,
            escaped(&goal.what),
            escaped(&goal.found)
        );
    }
    page.push_str("</table></div>\n");
}

fn section(page: &mut String, summary: &ScenarioSummary) {
    let scenario = &summary.scenario;
    let _ = writeln!(
        page,
        "<h2>{}</h2>\n<p class=\"dim\">{}. {} calls a seed.</p>",
        scenario.name,
        escaped(scenario.what),
        scenario.calls
    );
    figures(page, summary);
    curves(page, summary);
    if summary.entries.iter().filter(|entry| is_own(&entry.contender)).count() > 3 {
        exchange(page, summary);
    }
    if scenario.is_overload {
        overload(page, summary);
    } else if scenario.flaky > 0.0 {
        faults(page, summary);
        characters(page, summary);
    }
}

fn figures(page: &mut String, summary: &ScenarioSummary) {
    page.push_str("<div class=\"wide\"><table><tr><th></th>");
    for (heading, ..) in COLUMNS {
        let _ = write!(page, "<th>{heading}</th>");
    }
    page.push_str("</tr>\n");
    for entry in &summary.entries {
        let class = match (entry.contender.name.as_str(), entry.contender.is_bound()) {
            ("filature", _) => "own",
            (_, true) => "bound",
            _ => "",
        };
        let _ = write!(
            page,
            "<tr class=\"{class}\"><td>{}</td>",
            escaped(&entry.contender.name)
        );
        for (_, figure, factor, decimals) in COLUMNS {
            let Estimate { mean, within } = entry.figures.get(figure).copied().unwrap_or_default();
            let mean = mean * factor;
            let _ = write!(page, "<td>{mean:.decimals$}");
            if within > 0.0 && UNCERTAIN.contains(&figure) {
                let _ = write!(page, " <span class=\"dim\">±{:.decimals$}</span>", within * factor);
            }
            page.push_str("</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// Where attempts went, by what sort of provider took them.
fn characters(page: &mut String, summary: &ScenarioSummary) {
    page.push_str("<h3>Who draws traffic</h3>\n<div class=\"wide\"><table><tr><th>share of attempts, %</th>");
    for character in Character::ALL {
        let _ = write!(page, "<th>{}</th>", character.name());
    }
    page.push_str("</tr>\n");
    for entry in &summary.entries {
        let class = if entry.contender.is_bound() { "bound" } else { "" };
        let _ = write!(
            page,
            "<tr class=\"{class}\"><td>{}</td>",
            escaped(&entry.contender.name)
        );
        for character in Character::ALL {
            let share = entry.mean(&format!("sent_{}", character.name().replace(' ', "_")));
            let _ = write!(page, "<td>{:.3}</td>", share * 100.0);
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}
