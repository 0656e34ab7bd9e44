//! The chain as a command sees it: which contract, whom to ask, and how the contract stands.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use filature_billing::chain::{AccountStatus, Address, BadAddress, Chain, Network};
use filature_billing::settle::{Parties, Standing};

use super::Failure;
use super::flags::Overrides;
use crate::chain;
use crate::config::{Config, Flag};

/// Which contract, and who is asked about it.
#[derive(Args, Debug)]
pub(super) struct OnChain {
    /// TOML file with settings [env: FILATURE_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The settlement contract [env: FILATURE_SETTLEMENT_CONTRACT].
    #[arg(long, value_name = "ADDRESS")]
    contract: Option<String>,
    /// Who is asked about the chain: a base URL that speaks toncenter's API; repeat it for several
    /// [env: FILATURE_SETTLEMENT_ENDPOINTS; default: toncenter.com, or the testnet's].
    #[arg(long, value_name = "URL")]
    endpoint: Vec<String>,
    /// `mainnet` or `testnet`; a devnet is a testnet [env: FILATURE_SETTLEMENT_NETWORK; default: mainnet].
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    network: Option<Network>,
}

/// A setting given by a flag of another name.
pub(super) fn flag(flag: &str, section: &str, name: &str, value: &str) -> Flag {
    Flag {
        flag: flag.to_owned(),
        section: section.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// The settings of a command, and the chain they lead to.
pub(super) struct Reached {
    pub(super) config: Config,
    pub(super) chain: Arc<dyn Chain>,
    pub(super) network: Network,
    contract: Option<Address>,
}

impl OnChain {
    /// Reads the settings, with `more` flags of the command. Nobody is asked yet.
    pub(super) fn reach(&self, more: Vec<Flag>) -> Result<Reached, Failure> {
        let mut config = super::load(Overrides {
            config: self.config.clone(),
            flags: more,
        })?;
        // The settings were checked; what the flags put in their place is read here, to be told in one line.
        let settlement = &mut config.settlement;
        settlement.network = self.network.unwrap_or(settlement.network);
        if !self.endpoint.is_empty() {
            settlement.endpoints.clone_from(&self.endpoint);
        }
        let network = settlement.network;
        let contract = self.contract.as_deref().or(settlement.contract.as_deref());
        let contract = contract.map(|text| parse("--contract", text, network)).transpose()?;
        let chain = chain::reach(settlement).map_err(|error| {
            let (setting, allowed) = error.setting();
            Failure::Usage(format!("settlement.{setting} (or --endpoint) {error}; {allowed}"))
        })?;
        Ok(Reached {
            chain,
            network,
            contract,
            config,
        })
    }
}

/// Reads an address that a flag gives.
fn parse(flag: &str, text: &str, network: Network) -> Result<Address, Failure> {
    let written = Address::parse(text, network).map_err(|error| {
        let hint = match error {
            BadAddress::Testnet => ": on the testnet or a devnet, give --network testnet",
            _ => "",
        };
        Failure::Usage(format!("{flag}: {error}{hint}"))
    })?;
    Ok(written.address)
}

/// Reads the name of a network.
pub(super) fn network(text: &str) -> Result<Network, String> {
    match text {
        "mainnet" => Ok(Network::Mainnet),
        "testnet" => Ok(Network::Testnet),
        _ => Err("it is mainnet or testnet".to_owned()),
    }
}

impl Reached {
    /// The contract that was named, if one was.
    pub(super) const fn named(&self) -> Option<Address> {
        self.contract
    }

    /// The contract that was named.
    pub(super) fn contract(&self) -> Result<Address, Failure> {
        let none = "no settlement contract is named: give --contract ADDRESS";
        self.contract.ok_or_else(|| Failure::Usage(none.to_owned()))
    }

    /// Reads an address that a flag gives.
    pub(super) fn address(&self, flag: &str, text: &str) -> Result<Address, Failure> {
        parse(flag, text, self.network)
    }

    /// A contract's address as people write it.
    pub(super) fn shown(&self, contract: Address) -> String {
        contract.friendly(true, self.network)
    }

    /// A wallet's address as people write it.
    pub(super) fn shown_wallet(&self, wallet: Address) -> String {
        wallet.friendly(false, self.network)
    }

    /// An amount with its symbol.
    pub(super) fn amount(&self, nano: impl Into<i128>) -> String {
        super::output::amount(nano.into(), &self.config.pricing.symbol)
    }

    /// How Filature's contract at this address stands.
    pub(super) async fn standing(&self, contract: Address) -> anyhow::Result<Standing> {
        let account = self
            .chain
            .account(contract)
            .await
            .context("the contract cannot be read")?;
        if let Some(standing) = Standing::read(&account)? {
            return Ok(standing);
        }
        let shown = self.shown(contract);
        let chain = match self.network {
            Network::Mainnet => "mainnet",
            Network::Testnet => "testnet",
        };
        match (account.status, account.code_hash) {
            (AccountStatus::Active, Some(code)) => bail!(
                "{shown} is not Filature's settlement contract: its code has the hash {code}, not {}",
                Parties::code_hash().map_err(|error| anyhow!("{error}"))?
            ),
            (AccountStatus::Frozen, _) => bail!("the contract {shown} is frozen: its rent was not paid"),
            _ => bail!("there is no contract at {shown} on the {chain}"),
        }
    }

    /// The chain's time, in Unix seconds.
    pub(super) async fn now(&self) -> anyhow::Result<u32> {
        Ok(self.chain.head().await.context("the chain's time cannot be read")?.time)
    }
}
