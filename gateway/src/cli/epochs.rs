//! `filature epochs`: what was sealed, and whether it is right. Reads the store only: no gateway, no ledger.

use std::io::{IsTerminal as _, stderr};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use filature_billing::{
    Chain, Earned, Epoch, EpochHeader, EpochStore, ReceiptKey, Seal, StoreError, Sums, TrustedKeys, verify_epoch,
};
use serde::Serialize;

use super::flags::Overrides;
use super::output::{self, Table, amount};
use super::{Failure, trust};
use crate::config::{Config, Flag};
use crate::epochs::{self, Place};

const EXAMPLES: &str = "\
Examples:
  filature epochs list --data /var/lib/filature
  filature epochs show 12 --json
  filature epochs verify --store s3://bucket/filature --key 4f44…828b
  filature epochs verify --store ./copied-epochs --key 4f44…828b --key 00ab…12cd";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum EpochsCommand {
    /// List the last epochs: when they were closed, how many calls, how much money.
    List {
        /// So many of them.
        #[arg(long, default_value_t = 20, value_name = "N")]
        last: u64,
        #[command(flatten)]
        at: Where,
    },
    /// Show one epoch, after deriving its figures again: what it commits to, and who has earned what up to it.
    Show {
        /// Its number.
        number: u64,
        #[command(flatten)]
        at: Where,
    },
    /// Derive every figure of every epoch again from the records, and follow the chain from the first to the last.
    Verify {
        #[command(flatten)]
        at: Where,
    },
}

/// Which epochs, and whose signatures count.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// TOML file with settings [env: FILATURE_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder with epochs, or `s3://bucket/prefix` [env: FILATURE_EPOCHS_STORE; default: `epochs` in the data folder].
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// The gateway's data folder [env: FILATURE_LEDGER_DATA; default: data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// A public key that the operator publishes; repeat it for several. Default: that of `receipts.key` in the data folder
    /// and `epochs.keys_before`.
    #[arg(long, value_name = "KEY", value_parser = trust::public_key)]
    key: Vec<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// The epochs of a command.
struct Opened {
    store: EpochStore,
    place: Place,
    keys: TrustedKeys,
    config: Config,
}

impl Opened {
    fn amount(&self, nano: filature_billing::Nano) -> String {
        amount(nano.signed().into(), &self.config.pricing.symbol)
    }

    async fn last(&self) -> anyhow::Result<u64> {
        let last = self.store.last().await?;
        last.with_context(|| format!("there are no epochs in {} yet", self.place))
    }
}

/// The settings, and the store they name. `store` and `data` are what the command line says of it.
pub(super) fn stored(
    file: Option<PathBuf>,
    store: Option<&String>,
    data: Option<&String>,
) -> Result<(Config, Place), Failure> {
    let flag = |flag: &str, section: &str, name: &str, value: Option<&String>| {
        let of = |value: &String| Flag {
            flag: flag.to_owned(),
            section: section.to_owned(),
            name: name.to_owned(),
            value: value.clone(),
        };
        value.map(of)
    };
    let flags = [
        flag("--store", "epochs", "store", store),
        flag("--data", "ledger", "data", data),
    ];
    let config = super::load(Overrides {
        config: file,
        flags: flags.into_iter().flatten().collect(),
    })?;
    let place = Place::of(&config).map_err(anyhow::Error::msg)?;
    if !place.is_there() {
        let why = format!("there are no epochs in {place}: choose with --data DIR or --store STORE");
        return Err(Failure::Runtime(anyhow!(why)));
    }
    Ok((config, place))
}

impl Where {
    fn open(&self) -> Result<Opened, Failure> {
        let (config, place) = stored(self.config.clone(), self.store.as_ref(), self.data.as_ref())?;
        Ok(Opened {
            store: place.open().context("the epochs cannot be opened")?,
            keys: self.keys(&config)?,
            place,
            config,
        })
    }

    fn keys(&self, config: &Config) -> anyhow::Result<TrustedKeys> {
        if !self.key.is_empty() {
            return Ok(TrustedKeys::new(self.key.clone()));
        }
        let file = epochs::key_file(config);
        let own = match file.exists() {
            true => Some(ReceiptKey::load(&file)?.public_hex()),
            false => None,
        };
        let keys = epochs::trusted(config, own);
        if keys.is_any() {
            output::note("no key was named: every signature counts, whoever made it. Name the operator's with --key");
        }
        Ok(keys)
    }
}

pub(super) fn run(command: EpochsCommand) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            EpochsCommand::List { last, at } => list(&at, last).await,
            EpochsCommand::Show { number, at } => show(&at, number).await,
            EpochsCommand::Verify { at } => verify(&at).await,
        }
    })
}

async fn list(at: &Where, count: u64) -> Result<(), Failure> {
    let opened = at.open()?;
    let last = opened.last().await?;
    let mut seals = Vec::new();
    for number in (last + 1).saturating_sub(count)..=last {
        let seal = opened.store.seal(number, &opened.keys).await;
        seals.push(seal.map_err(anyhow::Error::from)?);
    }
    output::show(at.json, &seals, || {
        let mut table = Table::new(&["EPOCH", "CLOSED", "CALLS", "COST", "FEES", "EARNED"]);
        for Seal { header, .. } in &seals {
            let Sums {
                calls,
                cost,
                fee,
                earned,
            } = header.sums;
            table.row([
                header.number.to_string(),
                output::time(header.to_ms),
                calls.to_string(),
                opened.amount(cost),
                opened.amount(fee),
                opened.amount(earned),
            ]);
        }
        table.to_string()
    })
}

/// One epoch, as `show` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    seal: &'a Seal,
    hash: String,
    earnings: &'a [Earned],
    calls: Vec<String>,
}

async fn show(at: &Where, number: u64) -> Result<(), Failure> {
    let opened = at.open()?;
    let object = opened.store.object(number).await.map_err(anyhow::Error::from)?;
    let epoch = verify_epoch(&object, &opened.keys).map_err(anyhow::Error::from)?;
    let hash = epoch.seal.hash().map_err(anyhow::Error::from)?.to_string();
    let shown = Shown {
        seal: &epoch.seal,
        hash: hash.clone(),
        earnings: &epoch.earnings,
        calls: epoch.records.iter().map(|record| record.call.to_string()).collect(),
    };
    output::show(at.json, &shown, || text(&opened, &epoch, &hash))
}

fn text(opened: &Opened, epoch: &Epoch, hash: &str) -> String {
    let header = &epoch.seal.header;
    let EpochHeader {
        number, from_ms, to_ms, ..
    } = header;
    let mut out = output::facts(&[
        ("epoch", number.to_string()),
        ("from", output::time(*from_ms)),
        ("to", output::time(*to_ms)),
        ("calls", header.sums.calls.to_string()),
        ("cost", opened.amount(header.sums.cost)),
        ("fees", opened.amount(header.sums.fee)),
        ("earned", opened.amount(header.sums.earned)),
        ("calls yet", header.totals.calls.to_string()),
        ("cost yet", opened.amount(header.totals.cost)),
        (
            "previous",
            header
                .previous
                .map_or_else(|| "none".to_owned(), |hash| hash.to_string()),
        ),
        ("hash", hash.to_owned()),
        ("receipts", header.receipts_root.to_string()),
        ("earnings", header.earnings_root.to_string()),
        ("signed by", epoch.seal.gateway.clone()),
    ]);
    out.push('\n');
    out.push_str(&earnings(opened, &epoch.earnings));
    out
}

fn earnings<'a>(opened: &Opened, earnings: impl IntoIterator<Item = &'a Earned>) -> String {
    let mut table = Table::new(&["PROVIDER", "EARNED SINCE EPOCH 0"]);
    for one in earnings {
        table.row([one.provider.to_string(), opened.amount(one.earned)]);
    }
    table.to_string()
}

/// What `verify` found.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    /// Epochs that are right, from 0.
    epochs: u64,
    /// What is wrong; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
    /// The sums over all epochs that are right.
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Sums>,
    /// The hash of the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_hash: Option<String>,
    /// Who signed them.
    signed_by: Vec<String>,
    /// What every provider has earned.
    earnings: Vec<Earned>,
}

async fn verify(at: &Where) -> Result<(), Failure> {
    let opened = at.open()?;
    let last = opened.last().await?;
    let watched = stderr().is_terminal();
    let (mut right, mut signed_by) = (Vec::new(), Vec::<String>::new());
    let mut chain = Chain::new(opened.keys.clone());
    let mut wrong = None;
    for number in 0..=last {
        if watched {
            eprint!("\r\x1b[Kepoch {number} of {last}");
        }
        // One at a time, so that what was right up to a fault can be told.
        let followed = opened.store.verify(chain.clone(), number, |seal| {
            if !signed_by.contains(&seal.gateway) {
                signed_by.push(seal.gateway.clone());
            }
            right.push(seal.header.number);
        });
        match followed.await {
            Ok(longer) => chain = longer,
            Err(error @ (StoreError::Fault(_) | StoreError::Missing(_) | StoreError::TooLarge { .. })) => {
                wrong = Some(error.to_string());
                break;
            }
            Err(error) => return Err(Failure::Runtime(error.into())),
        }
    }
    if watched {
        eprint!("\r\x1b[K");
    }
    let tip = chain.tip();
    let earned = tip.iter().flat_map(|tip| &tip.earnings);
    let verdict = Verdict {
        ok: wrong.is_none(),
        epochs: right.len() as u64,
        wrong,
        totals: tip.map(|tip| tip.seal.header.totals),
        last_hash: tip.map(|tip| tip.hash.to_string()),
        signed_by,
        earnings: earned
            .map(|(provider, earned)| Earned {
                provider: provider.clone(),
                earned: *earned,
            })
            .collect(),
    };
    output::show(at.json, &verdict, || verdict.text(&opened))?;
    match verdict.wrong {
        None => Ok(()),
        Some(wrong) => Err(anyhow!("the epochs in {} are not right: {wrong}", opened.place).into()),
    }
}

impl Verdict {
    fn text(&self, opened: &Opened) -> String {
        let sums = self.totals.unwrap_or_default();
        let right = if self.ok { "all right" } else { "right up to the fault" };
        let mut out = output::facts(&[
            ("epochs", format!("{}, {right}", self.epochs)),
            ("calls", sums.calls.to_string()),
            ("cost", opened.amount(sums.cost)),
            ("fees", opened.amount(sums.fee)),
            ("earned", opened.amount(sums.earned)),
            ("last hash", self.last_hash.clone().unwrap_or_else(|| "none".to_owned())),
            ("signed by", self.signed_by.join(", ")),
        ]);
        out.push('\n');
        out.push_str(&earnings(opened, &self.earnings));
        out
    }
}
