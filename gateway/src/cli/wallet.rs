//! `filature wallet`: the wallets that an operator or a provider pays from.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use filature_billing::chain::{Network, Wallet, WalletKey};
use serde::Serialize;

use super::onchain::network;
use super::{Failure, output};

const EXAMPLES: &str = "\
Examples:
  filature wallet new treasury.words
  filature wallet show treasury.words
  filature wallet show treasury.words --network testnet --json

The file holds 24 words, which any wallet program takes as well (version v5r1), and only you may
read it. Whoever has the words has the coins: keep a copy where you keep what is valuable.";

/// Make a wallet, or show the address of one.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum WalletCommand {
    /// Make a new wallet: write its 24 words into a new file, and print its address.
    #[command(after_help = EXAMPLES)]
    New(Which),
    /// Print the address of the wallet whose 24 words, or seed of 64 hex digits, are in a file.
    #[command(after_help = EXAMPLES)]
    Show(Which),
}

#[derive(Args)]
pub(super) struct Which {
    /// The file with the wallet's secret.
    file: PathBuf,
    /// The chain it is on: `mainnet` or `testnet`. Its address is another one on each.
    #[arg(long, default_value = "mainnet", value_parser = network, env = "FILATURE_SETTLEMENT_NETWORK", hide_env_values = true)]
    network: Network,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A wallet, as it is shown.
#[derive(Serialize)]
struct Shown {
    /// In the form for an account that may have no code yet.
    address: String,
    public_key: String,
    network: Network,
}

pub(super) fn run(command: WalletCommand) -> Result<(), Failure> {
    let (key, which) = match command {
        WalletCommand::New(which) => (create(&which.file)?, which),
        WalletCommand::Show(which) => {
            let key = WalletKey::load(&which.file).map_err(anyhow::Error::from)?;
            (key, which)
        }
    };
    let wallet = Wallet::new(key.public(), which.network).map_err(anyhow::Error::from)?;
    let shown = Shown {
        address: wallet.address().friendly(false, which.network),
        public_key: hex::encode(key.public().as_bytes()),
        network: which.network,
    };
    output::show(which.json, &shown, || {
        output::facts(&[
            ("address", shown.address.clone()),
            ("network", on_network(shown.network).to_owned()),
            ("public key", shown.public_key.clone()),
            ("version", "v5r1".to_owned()),
        ])
    })
}

/// The same wallet has another address on each network: whoever mixes them up sends coins to nobody.
const fn on_network(network: Network) -> &'static str {
    match network {
        Network::Mainnet => "mainnet (another address on the testnet)",
        Network::Testnet => "testnet (another address on the mainnet)",
    }
}

fn create(file: &Path) -> anyhow::Result<WalletKey> {
    let key = WalletKey::create(file, &mut rand::rng());
    key.with_context(|| format!("the wallet's secret cannot be written to {}", file.display()))
}
