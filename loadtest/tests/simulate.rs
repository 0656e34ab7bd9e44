//! The simulation proves something about the router only if it is sound itself: equal seeds give equal figures, nothing
//! is lost or counted twice, and its files have the form that others read.

use filature_loadtest::simulate::{
    Contender, EXCHANGE, Scenario, Settings, Summary, TUNING_SEED, html, simulate, table, tally, trace,
};
use serde_json::Value;

fn scenario(name: &str, calls: usize) -> Scenario {
    let scenario = Scenario::named(name).expect("it is one of ours");
    Scenario { calls, ..scenario }
}

fn settings(names: &[&str], calls: usize) -> Settings {
    Settings {
        seeds: vec![TUNING_SEED],
        scenarios: names.iter().map(|name| scenario(name, calls)).collect(),
        ablations: false,
        exchanges: false,
        only: Vec::new(),
        trace: None,
        speed: None,
        threads: 2,
    }
}

fn run(settings: &Settings) -> Summary {
    simulate(settings, &|_, _, _| {})
}

fn all_contenders() -> Vec<Contender> {
    let mut all = vec![Contender::filature("filature", EXCHANGE)];
    all.extend(Contender::ablations());
    all.extend(Contender::baselines());
    all.extend(Contender::bounds());
    all
}

#[test]
fn equal_seeds_give_equal_figures_however_many_threads() {
    let one = settings(&["flaky40"], 1500);
    let two = Settings {
        threads: 1,
        ..one.clone()
    };
    let (first, second) = (run(&one), run(&two));
    assert_eq!(first.json().to_string(), second.json().to_string());
    let other = Settings {
        seeds: vec![TUNING_SEED + 1],
        ..one
    };
    assert_ne!(first.json().to_string(), run(&other).json().to_string());
}

/// Every call ends once (asserted in the simulation too), every attempt the router was told of is over, and the tokens
/// that engines made are those that calls know of.
#[test]
fn nothing_is_lost_and_nothing_counted_twice() {
    const CALLS: usize = 1500;
    for name in ["flaky40", "correlated30", "overload3"] {
        let scenario = scenario(name, CALLS);
        let settings = settings(&[name], CALLS);
        for contender in all_contenders() {
            let found = tally(&settings, &scenario, &contender, TUNING_SEED);
            let what = format!("{} at {name}", contender.name);
            assert_eq!(found.calls + found.uncounted, CALLS as u64, "{what}");
            assert_eq!(found.served + found.failed + found.shed, found.calls, "{what}");
            assert_eq!(found.first_token_s.len() as u64, found.served + found.failed, "{what}");
            assert_eq!(found.left_over, 0, "{what}");
            let share = found.tokens_known / found.tokens_made;
            // A stream that is cut has made a part of a token more than anybody knows of.
            assert!(
                (0.995..=1.0005).contains(&share),
                "{what}: {share} of the tokens are accounted for"
            );
            assert!(found.wasted_s <= found.work_s, "{what}");
        }
    }
}

#[test]
fn filature_loses_no_more_calls_than_any_other_policy() {
    let summary = run(&Settings {
        seeds: vec![TUNING_SEED, TUNING_SEED + 1],
        ..settings(&["flaky15"], 5000)
    });
    println!("{}", table(&summary, false));
    let flaky = summary.scenario("flaky15").expect("it was run");
    let filature = flaky.entry("filature").expect("it ran");
    let lost = |name: &str| 1.0 - flaky.entry(name).expect("it ran").mean("success");
    for baseline in Contender::baselines() {
        // Two calls of ten thousand are a matter of luck.
        assert!(
            lost("filature") <= lost(&baseline.name) + 2e-4,
            "{} loses fewer",
            baseline.name
        );
    }
    assert!(lost("filature") < 0.005 && lost("central") < 1e-9);
    let others = filature.mean("sent_sinkhole") + filature.mean("sent_fails_fast");
    assert!(
        others < 0.02,
        "{others} of the attempts go to providers that never serve"
    );
    for (entry, least, most) in [("central", 0.1, 2.0), ("filature", 0.1, 20.0)] {
        let p99 = flaky.entry(entry).expect("it ran").mean("ttft_p99_s");
        assert!((least..most).contains(&p99), "{entry}: {p99}");
    }
}

#[test]
fn too_much_is_turned_away_and_the_rest_is_served() {
    let scenario = scenario("overload3", 8000);
    let settings = settings(&["overload3"], 8000);
    let filature = Contender::filature("filature", EXCHANGE);
    let found = tally(&settings, &scenario, &filature, TUNING_SEED);
    let shed = found.shed as f64 / found.calls as f64;
    assert!((0.3..0.8).contains(&shed), "{shed}");
    let [flex, _, priority] = found.tiers.map(|(calls, shed)| shed as f64 / calls as f64);
    assert!(
        priority < flex,
        "the urgent are turned away last: {priority} against {flex}"
    );
}

#[test]
fn the_json_has_the_form_that_others_read() {
    let summary = run(&settings(&["healthy", "flaky15", "overload3"], 800));
    let json = summary.json();
    assert_eq!(json["seeds"], 1);
    for scenario in ["healthy", "flaky15", "overload3"] {
        for (part, name) in [
            ("policies", "filature"),
            ("policies", "filature_floor"),
            ("policies", "filature_fast"),
            ("policies", "peak_ewma"),
            ("policies", "least_outstanding"),
            ("policies", "round_robin"),
            ("policies", "inverse_square_price"),
            ("policies", "running_times_average"),
            ("bounds", "oracle"),
            ("bounds", "central"),
        ] {
            let found = &json["scenarios"][scenario][part][name];
            for figure in ["success", "ttft_p50_s", "ttft_p99_s", "cost_per_call"] {
                let value = found[figure].as_f64();
                assert!(
                    value.is_some_and(|value| value > 0.0),
                    "{scenario} {name} {figure}: {value:?}"
                );
                assert!(found["ci95"][figure].is_array());
            }
        }
    }
    assert!(
        json["goals"].as_array().is_some_and(|goals| goals.len() == 6),
        "{}",
        json["goals"]
    );
    let overload = &json["scenarios"]["overload3"]["policies"]["filature"];
    assert!(overload["ttft_p99_to_unloaded"].is_f64() && overload["retry_after_kept"].is_f64());
    assert_eq!(json["scenarios"]["healthy"]["policies"]["central"], Value::Null);
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = html(&run(&Settings {
        exchanges: true,
        ablations: true,
        ..settings(&["flaky15", "overload3"], 400)
    }));
    assert!(page.matches("<svg").count() == 5, "two curves, λ, faults, overload");
    for foreign in ["http://", "https://", "<script", "url(", "NaN", "inf"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
}

const TRACE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-17 00:00:00,879,55
";

#[test]
fn a_trace_is_read_and_replayed() {
    let rows = trace::read(TRACE.as_bytes()).expect("it is sound");
    let sizes: Vec<(u32, u32)> = rows.iter().map(|row| (row.prompt, row.output)).collect();
    assert_eq!(sizes, [(374, 44), (396, 109), (879, 55)]);
    assert!(rows[0].at_s.abs() < 1e-9 && (rows[1].at_s - 4.314_579).abs() < 1e-4);
    assert!((rows[2].at_s - 20_653.319_41).abs() < 1e-3);
    let replayed = Settings {
        trace: Some(rows),
        speed: Some(2.0),
        only: vec!["filature".to_owned()],
        ..settings(&["healthy"], 300)
    };
    let json = run(&replayed).json();
    assert_eq!(json["calls_from"], "a trace of 3 calls");
    assert_eq!(json["scenarios"]["healthy"]["policies"]["filature"]["success"], 1.0);
}

#[test]
fn a_bad_line_of_a_trace_is_named() {
    for (from, to, wanted) in [
        ("TIMESTAMP,", "TIME,", "line 1: the header is to be"),
        ("374,44", "374", "line 2: three fields are wanted, there are 2"),
        ("396,109", "396,-1", "line 3: \"-1\" is no count of tokens"),
        ("396,109", "0,109", "line 3: \"0\" is no count of tokens"),
        ("2023-11-17 00:00:00", "yesterday", "line 4: \"yesterday\" is no time"),
        ("2023-11-17", "2023-11-15", "line 4: it lies before"),
    ] {
        let error = trace::read(TRACE.replace(from, to).as_bytes()).expect_err("it is not sound");
        let told = format!("{error:#}");
        assert!(told.starts_with(wanted), "{told:?} for {to:?}");
    }
    assert!(
        trace::read("TIMESTAMP,ContextTokens,GeneratedTokens\n".as_bytes()).is_err(),
        "nothing to replay"
    );
}
