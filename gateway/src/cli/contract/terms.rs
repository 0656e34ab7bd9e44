//! The terms that a contract is deployed with: how they are written, and which of them somebody will regret.

use clap::Args;
use filature_billing::Nano;
use filature_billing::settle::{Parties, Terms};

use crate::cli::expiry::Expiry;

/// Seconds of a day.
const DAY_S: u32 = 86_400;
/// The operator's hot key draws this much a day at most, unless more is meant: 1,000 TON.
const DRAW_LARGE: Nano = Nano::saturating(1_000_000_000_000);

/// What never changes once the contract is deployed. What is not given is what `billing/contracts/README.md` recommends.
#[derive(Args)]
pub(super) struct TermFlags {
    /// Least stake, in TON [default: 10].
    #[arg(long, value_name = "TON")]
    stake_min: Option<Nano>,
    /// Least bond of a contest, in TON [default: 1].
    #[arg(long, value_name = "TON")]
    bond_min: Option<Nano>,
    /// From unstaking until the stake may go [default: 14d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    unstake_delay: Option<u32>,
    /// To dispute a slash or object to a contest; then silence has lost [default: 5d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    answer_delay: Option<u32>,
    /// The arbiter's time to rule [default: 14d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    ruling_delay: Option<u32>,
    /// Until a newly proposed arbiter rules [default: 30d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    arbiter_delay: Option<u32>,
    /// Longest pause [default: 7d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pause_max: Option<u32>,
    /// From the end of a pause until the next may begin [default: 21d].
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pause_gap: Option<u32>,
}

/// Reads a span of time.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no span of time such as 12h, 14d or 3w");
    match text.parse::<Expiry>() {
        Ok(Expiry::After(ms)) => u32::try_from(ms / 1000).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

impl TermFlags {
    pub(super) fn terms(&self) -> Terms {
        let usual = Terms::default();
        Terms {
            stake_min: self.stake_min.unwrap_or(usual.stake_min),
            bond_min: self.bond_min.unwrap_or(usual.bond_min),
            unstake_delay_s: self.unstake_delay.unwrap_or(usual.unstake_delay_s),
            answer_delay_s: self.answer_delay.unwrap_or(usual.answer_delay_s),
            ruling_delay_s: self.ruling_delay.unwrap_or(usual.ruling_delay_s),
            arbiter_delay_s: self.arbiter_delay.unwrap_or(usual.arbiter_delay_s),
            pause_max_s: self.pause_max.unwrap_or(usual.pause_max_s),
            pause_gap_s: self.pause_gap.unwrap_or(usual.pause_gap_s),
        }
    }
}

/// What is wrong with these parties and terms, for the person who is about to fix them for ever.
pub(super) fn doubts(parties: &Parties) -> Vec<String> {
    let mut doubts = people(parties);
    doubts.extend(delays(&parties.terms));
    let terms = &parties.terms;
    if terms.bond_min.is_zero() {
        doubts.push("contests without a bond cost nothing: anybody in a leaf can lock the payout money".to_owned());
    }
    if terms.stake_min.is_zero() {
        doubts.push("stakes of nothing prove nothing".to_owned());
    }
    if parties.draw_limit > DRAW_LARGE {
        doubts.push("the operator's key lies on a server, and draws more than 1000 TON a day".to_owned());
    }
    doubts
}

fn people(parties: &Parties) -> Vec<String> {
    let Parties {
        owner,
        operator,
        arbiter,
        forfeit_to,
        ..
    } = parties;
    let mut doubts = Vec::new();
    if owner == operator {
        doubts.push("owner and operator are one: whoever steals the operator's hot key owns the contract".to_owned());
    }
    if arbiter == operator || arbiter == owner {
        doubts
            .push("the arbiter is owner or operator: it rules in its own cause, and providers can see that".to_owned());
    }
    if [owner, operator, arbiter].contains(&forfeit_to) {
        doubts.push("who is owner, operator or arbiter gets what is forfeited, and profits from slashing".to_owned());
    }
    doubts
}

fn delays(terms: &Terms) -> Vec<String> {
    let cases = terms.answer_delay_s.saturating_add(terms.ruling_delay_s);
    let checks = [
        (
            terms.ruling_delay_s <= terms.pause_max_s,
            "a pause may last as long as the arbiter's time to rule: a case can end without a ruling",
        ),
        (
            terms.arbiter_delay_s <= terms.unstake_delay_s,
            "a new arbiter may rule before a provider who does not trust it has its stake back",
        ),
        (
            terms.arbiter_delay_s <= cases,
            "a new arbiter may rule on cases that began under the old one",
        ),
        (
            terms.pause_gap_s < terms.pause_max_s,
            "the contract may be paused most of the time",
        ),
        (
            terms.answer_delay_s < DAY_S,
            "whoever does not look for a day loses a slash or a contest by silence",
        ),
        (
            terms.unstake_delay_s < DAY_S,
            "a stake may be gone before anybody could ask for it",
        ),
    ];
    checks
        .iter()
        .filter(|(wrong, _)| *wrong)
        .map(|(_, why)| (*why).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use filature_billing::chain::Address;

    use super::*;

    fn parties() -> Parties {
        let somebody = |id| Address::basechain([id; 32]);
        Parties {
            owner: somebody(1),
            operator: somebody(2),
            arbiter: somebody(3),
            forfeit_to: somebody(4),
            draw_limit: Nano::saturating(1),
            terms: Terms::default(),
        }
    }

    fn check(spoil: fn(&mut Parties), wanted: &str) {
        let mut spoilt = parties();
        spoil(&mut spoilt);
        let doubts = doubts(&spoilt);
        assert!(
            doubts.iter().any(|doubt| doubt.contains(wanted)),
            "{wanted}: {doubts:?}"
        );
    }

    #[test]
    fn what_is_recommended_is_not_doubted() {
        assert_eq!(doubts(&parties()), Vec::<String>::new());
    }

    #[test]
    fn what_somebody_will_regret_is_said() {
        check(|it| it.operator = it.owner, "owner and operator are one");
        check(|it| it.arbiter = it.operator, "its own cause");
        check(|it| it.arbiter = it.owner, "its own cause");
        check(|it| it.forfeit_to = it.owner, "profits from slashing");
        check(|it| it.terms.ruling_delay_s = it.terms.pause_max_s, "without a ruling");
        check(|it| it.terms.arbiter_delay_s = 14 * DAY_S, "has its stake back");
        check(|it| it.terms.arbiter_delay_s = 19 * DAY_S, "began under the old one");
        check(|it| it.terms.pause_gap_s = DAY_S, "most of the time");
        check(|it| it.terms.answer_delay_s = 60, "loses a slash or a contest");
        check(|it| it.terms.unstake_delay_s = 60, "gone before");
        check(|it| it.terms.bond_min = Nano::ZERO, "cost nothing");
        check(|it| it.terms.stake_min = Nano::ZERO, "prove nothing");
        check(
            |it| it.draw_limit = Nano::saturating(1_000_000_000_001),
            "1000 TON a day",
        );
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("14d", Some(14 * DAY_S)),
            ("12h", Some(43_200)),
            ("1s", Some(1)),
            ("0d", None),
            ("14", None),
            ("200y", None),
            ("9999999w", None),
            ("2027-01-31T00:00:00Z", None),
        ] {
            assert_eq!(seconds(text).ok(), wanted, "{text}");
        }
    }
}
