//! `filature audit`.

use std::collections::VecDeque;

use anyhow::Context as _;
use clap::Args;

use super::Failure;
use super::output::{self, Table};
use super::reach::{Missing, Where};
use crate::admin::{AdminClient, AdminError, Audit, Audited};

/// Entries that are read at a time: the most the ledger gives.
const PAGE: usize = 1024;

const EXAMPLES: &str = "\
Examples:
  filature audit
  filature audit --last 1000 --json

Every change is written down before it is made; an entry that ends in `.failed` says that the one
before it with the same action came to nothing. `cli:` stands before users of the machine, other
names are those of admin tokens.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditCommand {
    /// How many entries, the latest ones.
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: usize,
    #[command(flatten)]
    at: Where,
}

pub(super) fn run(command: AuditCommand) -> Result<(), Failure> {
    output::block_on(async {
        let ledger = command.at.reach(Missing::Refuse).await?;
        let entries = last(&ledger.admin, command.last).await.context("nothing to show")?;
        let audit = Audit {
            entries: entries.into(),
        };
        output::show(command.at.json, &audit, || table(&audit.entries))
    })
}

/// The last entries. The trail is read from its beginning: it has no way back.
async fn last(admin: &AdminClient, count: usize) -> Result<VecDeque<Audited>, AdminError> {
    let (mut kept, mut after) = (VecDeque::new(), None);
    loop {
        let page = admin.audit(after, PAGE).await?.entries;
        let Some(end) = page.last() else { return Ok(kept) };
        after = Some(end.cursor);
        kept.extend(page);
        kept.drain(..kept.len().saturating_sub(count));
    }
}

fn table(entries: &[Audited]) -> String {
    let mut table = Table::new(&["AT", "WHO", "DID", "ACCOUNT", "TO", "DETAIL"]);
    for Audited { entry, .. } in entries {
        let account = entry.account.as_ref();
        table.row([
            output::time(entry.at_ms),
            entry.actor.clone(),
            entry.action.clone(),
            account.map_or_else(|| "-".to_owned(), ToString::to_string),
            if entry.subject.is_empty() { "-" } else { &entry.subject }.to_owned(),
            entry.detail.clone(),
        ]);
    }
    table.to_string()
}
