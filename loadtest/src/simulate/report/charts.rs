//! The charts of a scenario, each with the table that belongs to it.

use std::fmt::Write as _;

use super::super::contender::{Contender, EXCHANGE, EXCHANGE_FAST};
use super::super::demand::Tier;
use super::super::faults::Fault;
use super::super::plot::{Axis, Scale, Series, bars, chart, escaped, legend};
use super::super::summary::{Entry, ScenarioSummary};
use super::super::tally::{CURVE, FAILED_S};
use super::DRAWN;

/// The share of calls that have their first token by then, for policies and bounds.
pub(super) fn curves(page: &mut String, summary: &ScenarioSummary) {
    let mut series = Vec::new();
    let mut names = Vec::new();
    for (name, colour) in DRAWN {
        let Some(entry) = summary.entry(name) else {
            continue;
        };
        let is_dashed = entry.contender.is_bound();
        let points = entry
            .curve
            .iter()
            .enumerate()
            .map(|(at, seconds)| (*seconds, at as f64 / CURVE as f64));
        names.push((name.to_owned(), colour, is_dashed));
        series.push(Series {
            name: name.to_owned(),
            colour,
            points: points.collect(),
            labels: Vec::new(),
            is_line: true,
            is_dashed,
        });
    }
    // What is drawn last lies on top.
    series.reverse();
    let x = Axis {
        title: "seconds from arrival to first token, waiting included",
        from: 0.1,
        to: FAILED_S,
        scale: Scale::Log,
    };
    let y = Axis {
        title: "share of calls",
        from: 0.0,
        to: 1.0 - 1.0 / CURVE as f64,
        scale: Scale::Nines,
    };
    figure(
        page,
        &chart("time to first token", &x, &y, &series),
        &legend(&names),
        "Time to first token. The upper axis is stretched towards 100%, where callers notice.",
    );
}

/// Price against latency as λ moves.
pub(super) fn exchange(page: &mut String, summary: &ScenarioSummary) {
    let point = |entry: &Entry| (entry.mean("cost_per_call") / 1000.0, entry.mean("ttft_p99_s"));
    let mut own: Vec<&Entry> = summary
        .entries
        .iter()
        .filter(|entry| is_own(&entry.contender))
        .collect();
    own.sort_by(|one, other| one.contender.exchange.total_cmp(&other.contender.exchange));
    let label = |entry: &&Entry| {
        let lambda = entry.contender.exchange;
        match lambda {
            EXCHANGE => format!("λ = {lambda} (default)"),
            0.0 | EXCHANGE_FAST => format!("λ = {lambda}"),
            // The others lie too near to one another for words.
            _ => String::new(),
        }
    };
    let mut series = vec![Series {
        name: "filature at λ".to_owned(),
        colour: 0,
        points: own.iter().map(|entry| point(entry)).collect(),
        labels: own.iter().map(label).collect(),
        is_line: true,
        is_dashed: false,
    }];
    let mut names = vec![("filature at λ, nanoTON per second".to_owned(), 0, false)];
    for (name, colour) in DRAWN.into_iter().skip(1) {
        if let Some(entry) = summary.entry(name) {
            names.push((name.to_owned(), colour, false));
            series.push(Series {
                name: name.to_owned(),
                colour,
                points: vec![point(entry)],
                labels: Vec::new(),
                is_line: false,
                is_dashed: false,
            });
        }
    }
    let all = || series.iter().flat_map(|one| &one.points);
    let span = |of: fn(&(f64, f64)) -> f64| {
        let (low, high) = all().map(of).fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        (low, high)
    };
    let (cheap, dear) = span(|point| point.0);
    let (quick, slow) = span(|point| point.1);
    let x = Axis {
        title: "µTON per call",
        from: (cheap * 0.95).floor(),
        to: (dear * 1.05).ceil(),
        scale: Scale::Linear,
    };
    let y = Axis {
        title: "p99 to first token, s",
        from: quick * 0.8,
        to: slow * 1.25,
        scale: Scale::Log,
    };
    figure(
        page,
        &chart("price against latency", &x, &y, &series),
        &legend(&names),
        "Price against latency. Down and to the left is better. λ runs through 0, 2,000, 8,000, 20,000, 50,000, 200,000, 10⁶ and 10⁸.",
    );
}

/// Success of calls that met a fault.
pub(super) fn faults(page: &mut String, summary: &ScenarioSummary) {
    let drawn: Vec<(&Entry, usize)> = DRAWN
        .iter()
        .filter_map(|(name, colour)| Some((summary.entry(name)?, *colour)))
        .chain(summary.entry("filature_no_rescue").map(|entry| (entry, 6)))
        .filter(|(entry, _)| !entry.contender.is_bound())
        .collect();
    let met: Vec<usize> = (0..Fault::ALL.len())
        .filter(|at| drawn.iter().any(|(entry, _)| entry.met[*at].0 > 0))
        .collect();
    let groups: Vec<String> = met.iter().map(|at| Fault::ALL[*at].name().to_owned()).collect();
    let share = |entry: &Entry, at: usize| {
        let (calls, served) = entry.met[at];
        if calls == 0 { 0.0 } else { served as f64 / calls as f64 }
    };
    let values: Vec<Vec<f64>> = met
        .iter()
        .map(|at| drawn.iter().map(|(entry, _)| share(entry, *at)).collect())
        .collect();
    let names: Vec<(String, usize)> = drawn
        .iter()
        .map(|(entry, colour)| (entry.contender.name.clone(), *colour))
        .collect();
    let y = Axis {
        title: "served all the same",
        from: 0.0,
        to: 0.99999,
        scale: Scale::Nines,
    };
    let marks: Vec<(String, usize, bool)> = names
        .iter()
        .map(|(name, colour)| (name.clone(), *colour, false))
        .collect();
    figure(
        page,
        &bars("success by fault", &groups, &names, &values, &y),
        &legend(&marks),
        "Calls that met a fault on one of their attempts, and were served all the same. The axis is stretched towards 100%.",
    );
    page.push_str("<div class=\"wide\"><table><tr><th>calls that met it</th>");
    for group in &groups {
        let _ = write!(page, "<th>{group}</th>");
    }
    page.push_str("</tr>\n");
    for (entry, _) in &drawn {
        let _ = write!(page, "<tr><td>{}</td>", escaped(&entry.contender.name));
        for at in &met {
            let (calls, served) = entry.met[*at];
            let _ = write!(
                page,
                "<td>{calls} <span class=\"dim\">({} lost)</span></td>",
                calls - served
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

/// Who is turned away under overload, and how those that are let in fare.
pub(super) fn overload(page: &mut String, summary: &ScenarioSummary) {
    let drawn: Vec<(&Entry, usize)> = DRAWN
        .iter()
        .filter_map(|(name, colour)| Some((summary.entry(name)?, *colour)))
        .filter(|(entry, _)| !entry.contender.is_bound())
        .collect();
    let names: Vec<(String, usize)> = drawn
        .iter()
        .map(|(entry, colour)| (entry.contender.name.clone(), *colour))
        .collect();
    let groups: Vec<String> = Tier::ALL.iter().map(|tier| tier.name().to_owned()).collect();
    let values: Vec<Vec<f64>> = groups
        .iter()
        .map(|tier| {
            drawn
                .iter()
                .map(|(entry, _)| entry.mean(&format!("shed_{tier}")))
                .collect()
        })
        .collect();
    let y = Axis {
        title: "share turned away",
        from: 0.0,
        to: 1.0,
        scale: Scale::Linear,
    };
    let marks: Vec<(String, usize, bool)> = names
        .iter()
        .map(|(name, colour)| (name.clone(), *colour, false))
        .collect();
    figure(
        page,
        &bars("calls turned away", &groups, &names, &values, &y),
        &legend(&marks),
        "Calls turned away at three times the capacity, by tier: at least two thirds of all must be.",
    );
    page.push_str("<div class=\"wide\"><table><tr><th></th><th>turned away %</th><th>p99 let in, s</th><th>p99 unloaded, s</th><th>ratio</th><th>p99 priority, s</th><th>p99 flex, s</th><th>Retry-After, s</th><th>let in after it %</th></tr>\n");
    for (entry, _) in drawn {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{:.1}</td><td>{:.3}</td><td>{:.3}</td><td>{:.2}</td><td>{:.3}</td><td>{:.3}</td><td>{:.1}</td><td>{:.0}</td></tr>",
            escaped(&entry.contender.name),
            entry.mean("shed") * 100.0,
            entry.mean("ttft_p99_s"),
            entry.mean("ttft_p99_s_unloaded"),
            entry.mean("ttft_p99_to_unloaded"),
            entry.mean("ttft_p99_s_priority"),
            entry.mean("ttft_p99_s_flex"),
            entry.mean("retry_after_s"),
            entry.mean("retry_after_kept") * 100.0,
        );
    }
    page.push_str("</table></div>\n");
}

fn figure(page: &mut String, svg: &str, legend: &str, caption: &str) {
    let _ = writeln!(page, "<figure>{legend}{svg}<figcaption>{caption}</figcaption></figure>");
}

/// Whether it is Filature, whole, at whatever λ.
pub(super) fn is_own(contender: &Contender) -> bool {
    let is_whole = contender.hedges && contender.rescues && contender.affinity;
    !contender.is_bound() && !contender.is_baseline() && is_whole
}
