//! `filature contract`: deploys the settlement contract, shows how one stands, and tells it what its owner and operator want.

mod deploy;
mod orders;
mod show;
mod terms;

use clap::Subcommand;
use filature_billing::settle::ContractOrder;

use super::Failure;
use super::output;

const EXAMPLES: &str = "\
Examples:
  filature contract deploy --owner UQ… --arbiter UQ… --forfeit-to UQ… --wallet wallet.words \\
      --dry-run
  filature contract deploy --owner UQ… --operator UQ… --arbiter UQ… --forfeit-to UQ… \\
      --wallet wallet.words
  filature contract show --contract EQ…
  filature contract show --contract kQ… --network testnet --endpoint http://127.0.0.1:8081 --json
  filature contract pause --for 3d --contract EQ… --wallet owner.words
  filature contract set-operator UQ… --contract EQ… --print     a link for the owner's wallet
  filature contract draw 20 --contract EQ… --wallet operator.words

What a contract promises to whom is in docs/settlement.md. Owner, arbiter and the money's last
address cannot be told from its name: `show` says who they are.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Contract {
    /// Deploy the settlement contract. Its terms never change.
    Deploy(Box<deploy::Deploy>),
    /// Show how a contract stands: who may do what, on which terms, its last anchor, its money.
    Show(show::Show),
    /// Take money out that nobody is owed: the operator to its own wallet, up to the day's limit; the owner.
    Draw(orders::Draw),
    /// Stop claims, the operator's draws and the end of cases, for emergencies. Only the owner can.
    Pause(orders::Pause),
    /// End a pause. Only the owner can.
    Resume(orders::Plain),
    /// Name the wallet that anchors and pays. Only the owner can.
    SetOperator(orders::Names),
    /// Say what the operator may draw on a day. Only the owner can.
    SetDrawLimit(orders::Limit),
    /// Propose the next owner, who then accepts. Only the owner can.
    ProposeOwner(orders::Proposes),
    /// Become the owner. Only who is proposed can.
    AcceptOwner(orders::Plain),
    /// Propose the next arbiter, who rules after the arbiter delay. Only the owner can.
    ProposeArbiter(orders::Proposes),
}

pub(super) fn run(command: Contract) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Contract::Deploy(deploy) => deploy::run(&deploy).await,
            Contract::Show(show) => show::run(&show).await,
            Contract::Draw(draw) => draw.run().await,
            Contract::Pause(pause) => pause.run().await,
            Contract::Resume(plain) => plain.run(ContractOrder::Resume).await,
            Contract::SetOperator(names) => names.run().await,
            Contract::SetDrawLimit(limit) => limit.run().await,
            Contract::ProposeOwner(proposes) => proposes.owner().await,
            Contract::AcceptOwner(plain) => plain.run(ContractOrder::AcceptOwner).await,
            Contract::ProposeArbiter(proposes) => proposes.arbiter().await,
        }
    })
}
