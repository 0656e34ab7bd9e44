//! Which endings a caller may meet, given what was killed when; and how many of each there were.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::caller::{Ending, PROVIDER_ERROR, Report};
use crate::killer::{Incident, Victim};

/// How long a kill is felt after all is well again: clocks of several processes, and bytes on their way.
const AFTERMATH: Duration = Duration::from_millis(500);

/// The share of calls that may be told that every provider of their plan failed. One kill of a sound fleet leads to
/// none (`failover` shows it), but kills come faster here than breakers close (5 s and more): a plan then holds the
/// providers without a failure and one other. And a plan is made once: a call planned while only the first provider had
/// dialled a restarted gateway again has nowhere to go when that one is killed in turn. Measured: 0.2 to 0.6 %.
pub const EXHAUSTED_SHARE_MAX: f64 = 0.01;

/// How often each ending was met.
#[derive(Debug, Default)]
pub struct Tally {
    pub calls: usize,
    pub complete: usize,
    pub broken: usize,
    pub left: usize,
    pub cut_off: usize,
    /// By status and code.
    pub refused: BTreeMap<String, usize>,
}

impl Tally {
    pub fn of(reports: &[Report]) -> Self {
        let mut tally = Self {
            calls: reports.len(),
            ..Self::default()
        };
        for report in reports {
            match &report.ending {
                Ending::Complete => tally.complete += 1,
                Ending::Broken { .. } => tally.broken += 1,
                Ending::Left => tally.left += 1,
                Ending::CutOff(_) => tally.cut_off += 1,
                Ending::Refused { status, code } => *tally.refused.entry(format!("{status} {code}")).or_default() += 1,
                Ending::Wrong(_) => {}
            }
        }
        tally
    }

    /// The share of calls whose every attempt failed.
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousand calls")]
    pub fn exhausted_share(&self) -> f64 {
        let exhausted = self
            .refused
            .iter()
            .filter(|(what, _)| what.starts_with("502"))
            .map(|(_, count)| count);
        exhausted.sum::<usize>() as f64 / self.calls.max(1) as f64
    }

    /// Calls that got an error instead of an answer.
    pub fn refused(&self) -> usize {
        self.refused.values().sum()
    }
}

/// What is wrong with a call's ending, if anything.
pub fn fault(report: &Report, incidents: &[Incident]) -> Option<String> {
    let felt = |about: &dyn Fn(&Incident) -> bool| {
        incidents
            .iter()
            .any(|incident| about(incident) && overlap(report, incident.killed, incident.back + AFTERMATH))
    };
    let of_gateway = |incident: &Incident| incident.hit_gateway();
    let of_providers = |incident: &Incident| incident.victims.iter().any(|victim| *victim != Victim::Gateway);
    match &report.ending {
        Ending::Complete | Ending::Left => None,
        Ending::Wrong(what) => Some(what.clone()),
        // A stream breaks when its own provider dies after the first token, and for no other reason.
        Ending::Broken { .. } if !report.ask.stream => Some("an answer in one piece cannot break".to_owned()),
        Ending::Broken { code } if code == PROVIDER_ERROR && felt(&of_providers) => None,
        Ending::Broken { code } => Some(format!("a stream broke with `{code}` and no kill explains it")),
        Ending::CutOff(_) if felt(&of_gateway) => None,
        Ending::CutOff(error) => Some(format!("the gateway lives and cut a call off: {error}")),
        // A gateway that has just started has no providers until they have dialled it again, and says so.
        Ending::Refused { status: 503, .. } if felt(&of_gateway) => None,
        // `EXHAUSTED_SHARE_MAX` says when that may be; whether it was too often is not one call's matter.
        Ending::Refused { status: 502, .. } if felt(&of_providers) => None,
        Ending::Refused { status, code } => Some(format!("refused with {status} {code} while the gateway lived")),
    }
}

fn overlap(report: &Report, from: Instant, to: Instant) -> bool {
    report.began <= to && report.ended >= from
}
