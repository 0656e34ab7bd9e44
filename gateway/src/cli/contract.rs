//! `filature contract`: deploys the settlement contract, and shows how one stands.

mod deploy;
mod show;
mod terms;

use clap::Subcommand;

use super::Failure;
use super::output;

const EXAMPLES: &str = "\
Examples:
  filature contract deploy --owner UQ… --arbiter UQ… --forfeit-to UQ… --wallet wallet.words --dry-run
  filature contract deploy --owner UQ… --operator UQ… --arbiter UQ… --forfeit-to UQ… --wallet wallet.words
  filature contract show --contract EQ…
  filature contract show --contract kQ… --network testnet --endpoint http://127.0.0.1:8081 --json

What a contract promises to whom is in docs/settlement.md. Owner, arbiter and the money's last address cannot be told from
its name: `show` says who they are.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Contract {
    /// Deploy the settlement contract. Its terms never change.
    Deploy(Box<deploy::Deploy>),
    /// Show how a contract stands: who may do what, on which terms, its last anchor, its money.
    Show(show::Show),
}

pub(super) fn run(command: Contract) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Contract::Deploy(deploy) => deploy::run(&deploy).await,
            Contract::Show(show) => show::run(&show).await,
        }
    })
}
