//! The command line: `filature serve`, and what an operator does beside it.
//!
//! Exit codes: 0 done, 1 it could not be done, 2 the command line or the configuration is wrong.

mod accounts;
mod audit;
mod claim;
mod config;
mod contest;
mod contract;
mod devnet;
mod epochs;
mod expiry;
mod flags;
mod keys;
mod leaf;
mod limits;
mod onchain;
mod order;
mod output;
mod payouts;
mod providers;
mod published;
mod purse;
mod reach;
mod receipts;
mod settle;
mod stake;
mod token;
mod trust;
mod usage;
mod wallet;
mod withdrawals;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Problems, Sources};
use flags::Overrides;

const EXAMPLES: &str = "\
Examples:
  filature accounts create acme                     make an account; prints its id
  filature accounts credit acct_… 5 --id invoice-7  add 5 TON, once per id
  filature keys create --account acct_… --expires 30d
                                                    make an API key; shown once
  filature serve                                    serve on 127.0.0.1:8080, ledger in ./data
  filature serve --config filature.toml --redis redis://127.0.0.1
  filature receipts verify receipt.json --key 4f44… check a receipt, offline or to the root on chain
  filature contract show --contract EQ…             how the settlement contract stands
  filature epochs verify                            derive every figure of every epoch again
  filature config check --config filature.toml      what holds, from where, and what is wrong";

const SERVE_EXAMPLES: &str = "\
Every setting is a flag, an environment variable and a key of the file: `filature config reference`
lists them.

Examples:
  filature serve
  filature serve --listen 0.0.0.0:8080 --server-public-authority gate.example \\
      --data /var/lib/filature
  filature serve --config filature.toml --redis redis://127.0.0.1:6379
  FILATURE_TELEMETRY_LOG=debug filature serve --ledger-fee-bps 300";

/// An OpenAI-compatible gateway in front of independent GPU providers.
#[derive(Parser)]
#[command(name = "filature", version, propagate_version = true, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve calls until SIGTERM.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Make, credit and show accounts.
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// Show what was paid in on TON and credited to nobody.
    #[command(subcommand)]
    Deposits(withdrawals::Deposits),
    /// Withdraw unused credit, list and give back withdrawals.
    #[command(subcommand)]
    Withdrawals(withdrawals::Withdrawals),
    /// Make, change, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Say which providers may join.
    #[command(subcommand)]
    Providers(providers::Providers),
    /// Show what an account used, by day, model and key.
    Usage(usage::UsageCommand),
    /// Show what operators did.
    Audit(audit::AuditCommand),
    /// Let operators in to the admin API.
    #[command(subcommand)]
    Admin(token::Admin),
    /// List, show and verify the epochs that receipts are sealed into.
    #[command(subcommand)]
    Epochs(epochs::EpochsCommand),
    /// Verify a receipt.
    #[command(subcommand)]
    Receipts(receipts::Receipts),
    /// Deploy the settlement contract, show how it stands, and tell it what its owner and operator want.
    #[command(subcommand)]
    Contract(contract::Contract),
    /// Be paid as a provider by the settlement contract, without the operator.
    Claim(Box<claim::Claim>),
    /// Contest what the operator says it pushed to a provider.
    #[command(subcommand)]
    Contest(contest::Contest),
    /// Stake as a provider; slash, dispute and rule.
    #[command(subcommand)]
    Stake(stake::Stake),
    /// Check or explain the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make a wallet on TON, or show the address of one.
    #[command(subcommand)]
    Wallet(wallet::WalletCommand),
    /// Pay providers what the sealed epochs say, and anchor the roots.
    Settle(settle::Settle),
    /// Show who was paid, and who waits for what.
    #[command(subcommand)]
    Payouts(payouts::Payouts),
    /// Run a TON chain on this machine, for trying.
    Devnet(devnet::Devnet),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    overrides: Overrides,
}

/// Why a command failed.
enum Failure {
    /// The command line or the configuration is wrong.
    Usage(String),
    /// It could not be done.
    Runtime(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}

/// Runs the command that `args` (the program's name first) name, and says how it went.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(help) => {
            // Help goes to standard output and is no failure; if it cannot be printed, nobody is there to tell.
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Command::Serve(serve) => run(serve),
        Command::Accounts(command) => accounts::run(command),
        Command::Deposits(command) => withdrawals::run_deposits(command),
        Command::Withdrawals(command) => withdrawals::run(command),
        Command::Keys(command) => keys::run(command),
        Command::Providers(command) => providers::run(command),
        Command::Usage(command) => usage::run(command),
        Command::Audit(command) => audit::run(command),
        Command::Admin(command) => token::run(command),
        Command::Epochs(command) => epochs::run(command),
        Command::Receipts(command) => receipts::run(command),
        Command::Contract(command) => contract::run(command),
        Command::Claim(command) => claim::run(&command),
        Command::Contest(command) => contest::run(command),
        Command::Stake(command) => stake::run(command),
        Command::Config(command) => config::run(command),
        Command::Wallet(command) => wallet::run(command),
        Command::Settle(command) => settle::run(command),
        Command::Payouts(command) => payouts::run(command),
        Command::Devnet(command) => devnet::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => output::complain(&text, 2),
        Err(Failure::Runtime(error)) => output::complain(&format!("{error:#}"), 1),
    }
}

fn run(serve: Serve) -> Result<(), Failure> {
    let config = load(serve.overrides)?;
    crate::serve::run(config)?;
    Ok(())
}

fn load(overrides: Overrides) -> Result<Config, Problems> {
    Config::load(&Sources::gather(overrides.config.as_deref(), overrides.flags)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Wider texts are broken anew in the middle of their lines.
    const COLUMNS_MAX: usize = 100;

    fn check(command: &clap::Command) {
        let texts = [command.get_after_help(), command.get_after_long_help()];
        for text in texts.into_iter().flatten().map(ToString::to_string) {
            for line in text.lines() {
                let columns = line.chars().count();
                assert!(
                    columns <= COLUMNS_MAX,
                    "{}: {columns} columns: {line}",
                    command.get_name()
                );
            }
        }
        command.get_subcommands().for_each(check);
    }

    #[test]
    fn examples_fit_on_a_terminal() {
        check(&Cli::command());
    }
}
