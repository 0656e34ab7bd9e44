//! `filature devnet`: a TON chain on this machine, for trying.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use filature_billing::Nano;
use filature_billing::chain::{
    Address, Body, Coins, Devnet as Chain, DevnetSettings, DevnetTime, Network, serve_devnet,
};
use serde::Serialize;
use tokio::net::TcpListener;

use super::Failure;
use super::output::{self, block_on};

const EXAMPLES: &str = "\
Examples:
  filature devnet
  filature devnet --data ./devnet --faucet 0QA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2anN=100
  curl 'http://127.0.0.1:8081/api/v2/getAddressInformation?address=0QA_…'
  curl http://127.0.0.1:8081/devnet/faucet -d \\
      '{\"address\":\"0QA_…\",\"amount\":5000000000,\"comment\":\"inv-7\"}'

It answers as toncenter does (v2 and v3) on the real virtual machine and the mainnet's fees of 2026.
Its coins are worth nothing, and whoever can connect may ask for them. Messages are executed as they
come.";

/// Run a TON chain on this machine, for trying.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Devnet {
    /// Where it answers.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// The folder it is kept in; without one it is forgotten at the end.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// See to it that an address holds so many coins at the start; may be repeated.
    #[arg(long, value_name = "ADDRESS=TON", value_parser = gift)]
    faucet: Vec<(Address, Nano)>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What runs.
#[derive(Serialize)]
struct Running {
    endpoint: String,
    kept_in: Option<PathBuf>,
    accounts: Vec<Funded>,
}

#[derive(Serialize)]
struct Funded {
    address: Address,
    /// In nanoTON.
    balance: String,
}

pub(super) fn run(command: Devnet) -> Result<(), Failure> {
    let settings = DevnetSettings {
        folder: command.data.clone(),
        time: DevnetTime::Wall,
        ..DevnetSettings::default()
    };
    let chain = Chain::open(settings).context("the devnet cannot start")?;
    let mut accounts = Vec::new();
    for (address, amount) in command.faucet {
        let balance = fund(&chain, address, amount.into()).context("the faucet cannot give")?;
        accounts.push(Funded {
            address,
            balance: balance.to_string(),
        });
    }
    block_on(async {
        let listener = TcpListener::bind(command.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", command.listen))?;
        let address = listener.local_addr().context("the listener has no address")?;
        let running = Running {
            endpoint: format!("http://{address}"),
            kept_in: command.data,
            accounts,
        };
        output::show(command.json, &running, || running.text())?;
        let stop = async {
            if let Err(error) = crate::serve::stop_signal().await {
                output::note(&format!("signals cannot be waited for: {error:#}"));
            }
        };
        serve_devnet(chain, listener, stop).await;
        Ok(())
    })
}

impl Running {
    fn text(&self) -> String {
        let kept = self.kept_in.as_ref().map(|folder| folder.display().to_string());
        let mut facts = vec![
            ("endpoint", self.endpoint.clone()),
            ("kept in", kept.unwrap_or_else(|| "memory".to_owned())),
        ];
        for account in &self.accounts {
            let address = account.address.friendly(false, Network::Testnet);
            facts.push(("account", format!("{address} holds {} nano", account.balance)));
        }
        output::facts(&facts)
    }
}

/// Brings an account up to `amount`; what it holds then.
fn fund(chain: &Chain, address: Address, amount: Coins) -> anyhow::Result<Coins> {
    let held = chain.truth(address)?.balance;
    if let Some(lack) = amount.get().checked_sub(held.get()).filter(|lack| *lack > 0) {
        chain.give(address, Coins::new(lack).unwrap_or(Coins::MAX), &Body::default())?;
    }
    Ok(chain.truth(address)?.balance)
}

fn gift(text: &str) -> Result<(Address, Nano), String> {
    let (address, amount) = text.rsplit_once('=').ok_or("write it like 0QA_…=100")?;
    let written = Address::parse(address, Network::Testnet).map_err(|error| error.to_string())?;
    let amount = Nano::parse_ton(amount).map_err(|error| error.to_string())?;
    Ok((written.address, amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gift_is_an_address_and_coins() {
        let raw = format!("0:{}", "ab".repeat(32));
        let (address, amount) = gift(&format!("{raw}=1.5")).expect("a gift");
        assert_eq!((address.to_string(), amount.get()), (raw.clone(), 1_500_000_000));
        for wrong in ["", "=", &raw, &format!("{raw}="), &format!("{raw}=x"), "0:12=1"] {
            assert!(gift(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_account_is_funded_once() {
        let chain = Chain::open(DevnetSettings::default()).expect("a devnet");
        let address = Address::basechain([9; 32]);
        for (amount, held) in [(5, 5), (5, 5), (3, 5), (7, 7)] {
            let amount = Coins::new(amount).expect("an amount");
            assert_eq!(fund(&chain, address, amount).ok(), Coins::new(held));
        }
    }
}
