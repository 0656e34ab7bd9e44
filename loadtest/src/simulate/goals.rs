//! What was promised, and whether it is kept.

use serde_json::{Value, json};

use super::summary::{Entry, ScenarioSummary, Summary};

/// Success that is promised. Source: ROUTING, "The proof", as all figures here.
const SUCCESS: f64 = 0.9999;
/// How much above the central pool's p99 of the time to first token Filature's may lie.
const TO_CENTRAL: f64 = 1.2;
/// How much above the cheapest baseline of equal success it may cost.
const TO_CHEAPEST: f64 = 1.1;
/// How much overload may raise the p99 of calls that are let in.
const TO_UNLOADED: f64 = 2.0;

/// One promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// Where.
    pub scenario: &'static str,
    /// What was promised.
    pub what: String,
    /// What was found, for people.
    pub found: String,
    /// Whether it is kept.
    pub is_met: bool,
}

impl Goal {
    pub(super) fn json(&self) -> Value {
        json!({"scenario": self.scenario, "goal": self.what, "found": self.found, "met": self.is_met})
    }
}

/// All promises about the scenarios that were run.
#[must_use]
pub fn goals(summary: &Summary) -> Vec<Goal> {
    summary
        .scenarios
        .iter()
        .filter(|one| one.scenario.flaky > 0.0)
        .flat_map(of_scenario)
        .collect()
}

fn of_scenario(summary: &ScenarioSummary) -> Vec<Goal> {
    let Some(filature) = summary.entry("filature") else {
        return Vec::new();
    };
    let scenario = summary.scenario.name;
    let success = filature.mean("success");
    let mut goals = vec![Goal {
        scenario,
        what: "success ≥ 99.99%".to_owned(),
        found: format!("{:.4}%", success * 100.0),
        is_met: success >= SUCCESS,
    }];
    if summary.scenario.is_overload {
        goals.push(against(
            scenario,
            "p99 to first token of calls let in",
            filature.mean("ttft_p99_s"),
            ("its own unloaded", filature.mean("ttft_p99_s_unloaded")),
            TO_UNLOADED,
            "s",
        ));
    } else if let Some(central) = summary.entry("central") {
        goals.push(against(
            scenario,
            "p99 to first token",
            filature.mean("ttft_p99_s"),
            ("the central pool's", central.mean("ttft_p99_s")),
            TO_CENTRAL,
            "s",
        ));
    }
    goals.push(cost(summary, filature));
    goals
}

fn against(scenario: &'static str, what: &str, found: f64, bound: (&str, f64), times: f64, unit: &str) -> Goal {
    let (whose, bound) = bound;
    let ratio = if bound > 0.0 { found / bound } else { f64::INFINITY };
    Goal {
        scenario,
        what: format!("{what} ≤ {times} × {whose}"),
        found: format!("{found:.3} {unit} against {bound:.3} {unit}: {ratio:.2} ×"),
        is_met: ratio <= times,
    }
}

/// Among the baselines that reach the promised success, or Filature's own where that is less.
fn cost(summary: &ScenarioSummary, filature: &Entry) -> Goal {
    let wanted = SUCCESS.min(filature.mean("success"));
    let equals = summary
        .entries
        .iter()
        .filter(|entry| entry.contender.is_baseline() && entry.mean("success") >= wanted);
    let cheapest = equals.min_by(|one, other| one.mean("cost_per_call").total_cmp(&other.mean("cost_per_call")));
    let own = filature.mean("cost_per_call");
    match cheapest {
        Some(cheapest) => {
            let whose = format!("{}'s, the cheapest baseline of equal success", cheapest.contender.name);
            let bound = (whose.as_str(), cheapest.mean("cost_per_call"));
            against(
                summary.scenario.name,
                "cost per call",
                own,
                bound,
                TO_CHEAPEST,
                "nanoTON",
            )
        }
        None => Goal {
            scenario: summary.scenario.name,
            what: format!("cost per call ≤ {TO_CHEAPEST} × the cheapest baseline of equal success"),
            found: format!("{own:.0} nanoTON; no baseline has equal success"),
            is_met: true,
        },
    }
}
