//! Many runs as means with their uncertainty, and the JSON of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::faults::Fault;
use super::goals;
use super::tally::Figures;
use super::{Contender, Run, Scenario, Settings};

/// Two-sided 95% quantiles of Student's t distribution for 1 to 30 degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// All scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The seeds.
    pub seeds: Vec<u64>,
    /// What calls were replayed or drawn from, for people.
    pub source: String,
    /// In the order they were asked for.
    pub scenarios: Vec<ScenarioSummary>,
}

/// One scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioSummary {
    /// What it is.
    pub scenario: Scenario,
    /// The contenders, bounds last.
    pub entries: Vec<Entry>,
}

/// One contender in one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Who.
    pub contender: Contender,
    /// Figures by name.
    pub figures: BTreeMap<String, Estimate>,
    /// Quantiles of the time to first token at equal distances, seconds; the mean over the seeds of each.
    pub curve: Vec<f64>,
    /// Calls that met each fault, and those of them that were served, in the order of [`Fault::ALL`].
    pub met: [(u64, u64); Fault::ALL.len()],
}

/// A mean over seeds, and where it lies with 95% certainty.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The bounds are this far off (Student's t); nothing with one seed.
    pub within: f64,
}

impl Estimate {
    /// Of independent values.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        if count == 0 {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        if count == 1 {
            return Self { mean, within: 0.0 };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1) as f64 / count as f64).sqrt();
        let student = STUDENT.get(count - 2).copied().unwrap_or(1.96);
        Self {
            mean,
            within: student * error,
        }
    }
}

impl Entry {
    /// The mean of a figure; zero if there is none of that name.
    #[must_use]
    pub fn mean(&self, figure: &str) -> f64 {
        self.figures.get(figure).map_or(0.0, |estimate| estimate.mean)
    }
}

impl ScenarioSummary {
    /// The contender of this name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.contender.name == name)
    }
}

impl Summary {
    /// The scenario of this name.
    #[must_use]
    pub fn scenario(&self, name: &str) -> Option<&ScenarioSummary> {
        self.scenarios.iter().find(|summary| summary.scenario.name == name)
    }

    /// Everything as JSON. Costs are in nanoTON per call served, times in seconds, all else in shares of 1.
    #[must_use]
    pub fn json(&self) -> Value {
        let scenarios: Map<String, Value> = self
            .scenarios
            .iter()
            .map(|summary| (summary.scenario.name.to_owned(), summary.json()))
            .collect();
        let goals: Vec<Value> = goals::goals(self).iter().map(goals::Goal::json).collect();
        json!({
            "seeds": self.seeds.len(),
            "seeds_used": self.seeds,
            "calls_from": self.source,
            "cost_unit": "nanoTON per call served",
            "scenarios": scenarios,
            "goals": goals,
        })
    }
}

impl ScenarioSummary {
    fn json(&self) -> Value {
        let part = |bounds: bool| -> Map<String, Value> {
            let entries = self.entries.iter().filter(|entry| entry.contender.is_bound() == bounds);
            entries
                .map(|entry| (entry.contender.name.clone(), entry.json()))
                .collect()
        };
        json!({
            "what": self.scenario.what,
            "providers": self.scenario.providers,
            "calls": self.scenario.calls,
            "load": self.scenario.load,
            "policies": part(false),
            "bounds": part(true),
        })
    }
}

impl Entry {
    fn json(&self) -> Value {
        let mut json: Map<String, Value> = Map::new();
        let mut ci: Map<String, Value> = Map::new();
        for (name, estimate) in &self.figures {
            json.insert(name.clone(), json!(estimate.mean));
            let (low, high) = (estimate.mean - estimate.within, estimate.mean + estimate.within);
            ci.insert(name.clone(), json!([low, high]));
        }
        json.insert("exchange_nano_per_second".to_owned(), json!(self.contender.exchange));
        json.insert("ci95".to_owned(), Value::Object(ci));
        let met: Map<String, Value> = Fault::ALL
            .iter()
            .zip(self.met)
            .filter(|(_, (calls, _))| *calls > 0)
            .map(|(fault, (calls, served))| (fault.name().to_owned(), json!({"calls": calls, "served": served})))
            .collect();
        json.insert("faults_met".to_owned(), Value::Object(met));
        Value::Object(json)
    }
}

/// Brings the runs of each contender together.
pub(super) fn collect(settings: &Settings, runs: Vec<(&Run, Figures)>) -> Summary {
    let scenarios = settings.scenarios.iter().enumerate().map(|(at, scenario)| {
        let mut entries: Vec<Entry> = Vec::new();
        for contender in super::contenders(settings, scenario) {
            let of = |is_unloaded: bool| -> Vec<&Figures> {
                let is_it = |run: &Run| {
                    run.scenario == at && run.contender.name == contender.name && run.is_unloaded == is_unloaded
                };
                runs.iter()
                    .filter(|(run, _)| is_it(run))
                    .map(|(_, figures)| figures)
                    .collect()
            };
            let (found, unloaded) = (of(false), of(true));
            if !found.is_empty() {
                entries.push(entry(contender, &found, &unloaded));
            }
        }
        ScenarioSummary {
            scenario: *scenario,
            entries,
        }
    });
    Summary {
        seeds: settings.seeds.clone(),
        source: match &settings.trace {
            Some(rows) => format!("a trace of {} calls", rows.len()),
            None => "a generator with the quantiles of the Azure LLM conversation trace 2023".to_owned(),
        },
        scenarios: scenarios.collect(),
    }
}

fn entry(contender: Contender, found: &[&Figures], unloaded: &[&Figures]) -> Entry {
    let values = |runs: &[&Figures], name: &str| -> Vec<f64> { runs.iter().map(|run| run.figures[name]).collect() };
    let names = found[0].figures.keys();
    let mut figures: BTreeMap<String, Estimate> = names
        .map(|name| (name.clone(), Estimate::of(&values(found, name))))
        .collect();
    if found.len() == unloaded.len() {
        let (loaded, alone) = (values(found, "ttft_p99_s"), values(unloaded, "ttft_p99_s"));
        let ratios: Vec<f64> = loaded
            .iter()
            .zip(&alone)
            .map(|(loaded, alone)| loaded / alone)
            .collect();
        figures.insert("ttft_p99_s_unloaded".to_owned(), Estimate::of(&alone));
        figures.insert("ttft_p99_to_unloaded".to_owned(), Estimate::of(&ratios));
    }
    let curve = (0..found[0].curve.len())
        .map(|at| found.iter().map(|run| f64::from(run.curve[at])).sum::<f64>() / found.len() as f64)
        .collect();
    let mut met = [(0, 0); Fault::ALL.len()];
    for run in found {
        for (sum, one) in met.iter_mut().zip(run.met) {
            *sum = (sum.0 + one.0, sum.1 + one.1);
        }
    }
    Entry {
        contender,
        figures,
        curve,
        met,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_knows_its_uncertainty() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]);
        assert!((estimate.mean - 2.5).abs() < 1e-12);
        // s = 1.2910, s/√4 = .6455, times 3.182.
        assert!((estimate.within - 2.054).abs() < 1e-3, "{estimate:?}");
        assert!(Estimate::of(&[7.0]).within.abs() < f64::EPSILON);
    }
}
