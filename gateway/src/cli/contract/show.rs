//! `filature contract show`: how a contract stands, for anybody.

use clap::Args;
use filature_billing::Hash;
use filature_billing::Nano;
use filature_billing::chain::Address;
use filature_billing::settle::{KeptAnchor, Parties, Stakes, Standing, Terms};
use serde::Serialize;

use crate::cli::Failure;
use crate::cli::onchain::{OnChain, Reached};
use crate::cli::output::{self, Table};

#[derive(Args)]
pub(in crate::cli) struct Show {
    #[command(flatten)]
    on: OnChain,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(show: &Show) -> Result<(), Failure> {
    let reached = show.on.reach(Vec::new())?;
    let standing = reached.standing(reached.contract()?).await?;
    print(&reached, &standing, show.json).await
}

/// A contract as JSON has it: amounts in nano, times in Unix seconds.
#[derive(Serialize)]
struct Shown<'a> {
    contract: Address,
    friendly: String,
    /// Always ours: of another contract nothing is shown.
    code_hash: Hash,
    owner: Address,
    next_owner: Option<Address>,
    operator: Address,
    arbiter: Address,
    next_arbiter: Option<Address>,
    next_arbiter_at: Option<u32>,
    forfeit_to: Address,
    draw_limit: Nano,
    terms: Terms,
    balance: String,
    float: i64,
    owed: Nano,
    contested: Nano,
    claimed: Nano,
    claimants: usize,
    held: Nano,
    stakes: Stakes,
    paused_until: Option<u32>,
    anchors: u32,
    chain: Hash,
    kept: &'a [KeptAnchor],
}

pub(super) async fn print(reached: &Reached, standing: &Standing, json: bool) -> Result<(), Failure> {
    let now = reached.now().await?;
    let code_hash = Parties::code_hash().map_err(anyhow::Error::from)?;
    let (state, parties) = (&standing.state, &standing.parties);
    let next = standing.next_arbiter.filter(|(_, from)| now < *from);
    let shown = Shown {
        contract: state.address,
        friendly: reached.shown(state.address),
        code_hash,
        owner: parties.owner,
        next_owner: standing.next_owner,
        operator: parties.operator,
        arbiter: standing.arbiter(now),
        next_arbiter: next.map(|(next, _)| next),
        next_arbiter_at: next.map(|(_, at)| at),
        forfeit_to: parties.forfeit_to,
        draw_limit: parties.draw_limit,
        terms: parties.terms,
        balance: state.balance.to_string(),
        float: standing.float(),
        owed: state.owed,
        contested: standing.contested,
        claimed: standing.claimed,
        claimants: state.claimed.len(),
        held: standing.held,
        stakes: standing.stakes,
        paused_until: Some(standing.paused_until).filter(|until| *until > now),
        anchors: state.anchors,
        chain: state.chain,
        kept: &standing.kept,
    };
    output::show(json, &shown, || shown.text(reached))
}

fn time(seconds: u32) -> String {
    output::time(u64::from(seconds) * 1000)
}

impl Shown<'_> {
    fn text(&self, reached: &Reached) -> String {
        let mut out = output::facts(&self.who(reached));
        out.push('\n');
        out.push_str(&output::facts(&self.money(reached)));
        out.push('\n');
        out.push_str(&output::facts(&self.terms(reached)));
        if !self.kept.is_empty() {
            let mut table = Table::new(&["ANCHORED", "AT", "EARNINGS ROOT", "SEAL"]);
            for KeptAnchor { anchor, time: at } in self.kept {
                table.row([
                    format!("epoch {}", anchor.epoch),
                    time(*at),
                    anchor.earnings_root.to_string(),
                    anchor.receipts_root.to_string(),
                ]);
            }
            out.push('\n');
            out.push_str(&table.to_string());
        }
        out
    }

    fn who(&self, reached: &Reached) -> Vec<(&'static str, String)> {
        let wallet = |address: &Address| reached.shown_wallet(*address);
        let mut facts = vec![
            ("contract", self.friendly.clone()),
            ("code", format!("{}, Filature's", self.code_hash)),
            ("owner", wallet(&self.owner)),
        ];
        if let Some(next) = &self.next_owner {
            facts.push(("next owner", format!("{}, as soon as it accepts", wallet(next))));
        }
        facts.extend([("operator", wallet(&self.operator)), ("arbiter", wallet(&self.arbiter))]);
        if let (Some(next), Some(at)) = (&self.next_arbiter, self.next_arbiter_at) {
            facts.push(("next arbiter", format!("{} from {}", wallet(next), time(at))));
        }
        facts.push(("forfeit to", wallet(&self.forfeit_to)));
        let paused = self.paused_until.map(|until| format!("until {}", time(until)));
        facts.push(("paused", paused.unwrap_or_else(|| "no".to_owned())));
        let last = self.kept.first().map(|kept| {
            let epoch = kept.anchor.epoch;
            format!("epoch {epoch}, at {}, the {}. anchor", time(kept.time), self.anchors)
        });
        facts.push(("last anchor", last.unwrap_or_else(|| "none yet".to_owned())));
        facts
    }

    fn money(&self, reached: &Reached) -> Vec<(&'static str, String)> {
        let nano = |amount: Nano| reached.amount(amount.signed());
        let balance = self.balance.parse().unwrap_or(i128::MAX);
        vec![
            ("balance", reached.amount(balance)),
            ("for claims", reached.amount(self.float)),
            (
                "owed",
                format!("{}, by the last anchor, less what was claimed since", nano(self.owed)),
            ),
            ("contested", nano(self.contested)),
            (
                "claimed",
                format!("{} since ever, by {} providers", nano(self.claimed), self.claimants),
            ),
            ("held", format!("{} of stakes and bonds", nano(self.held))),
            (
                "staked",
                format!(
                    "{} by {} wallets, {} leaving",
                    nano(self.stakes.staked),
                    self.stakes.wallets,
                    nano(self.stakes.leaving)
                ),
            ),
        ]
    }

    fn terms(&self, reached: &Reached) -> Vec<(&'static str, String)> {
        let nano = |amount: Nano| reached.amount(amount.signed());
        vec![
            (
                "draw limit",
                format!("{} a day, by the operator", nano(self.draw_limit)),
            ),
            ("least stake", nano(self.terms.stake_min)),
            ("least bond", nano(self.terms.bond_min)),
            ("unstake", span(self.terms.unstake_delay_s)),
            ("answer", span(self.terms.answer_delay_s)),
            ("ruling", span(self.terms.ruling_delay_s)),
            ("new arbiter", span(self.terms.arbiter_delay_s)),
            (
                "pause",
                format!(
                    "{} at most, {} apart",
                    span(self.terms.pause_max_s),
                    span(self.terms.pause_gap_s)
                ),
            ),
        ]
    }
}

fn span(seconds: u32) -> String {
    match (seconds / 86_400, seconds % 86_400) {
        (days, 0) if days > 0 => format!("{days} days"),
        _ => format!("{seconds} seconds"),
    }
}
