//! Finds the ledger a command is about: in Redis, behind a running gateway, or in a folder nobody uses.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Failure;
use super::flags::Overrides;
use crate::admin::{AdminClient, AdminError, SOCKET};
use crate::config::{Config, Flag};
use crate::ledger;
use anyhow::{Context as _, bail};
use clap::Args;

/// Which ledger.
#[derive(Args, Debug)]
pub(super) struct Where {
    /// TOML file with settings [env: FILATURE_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The ledger in Redis at this URL [env: FILATURE_LEDGER_REDIS].
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    redis: Option<String>,
    /// The embedded ledger in this folder, through its gateway where one runs [env: FILATURE_LEDGER_DATA; default: data].
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a command does where there is no ledger yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It makes one.
    Make,
    /// It says so.
    Refuse,
}

/// A ledger within reach, and the settings that led to it.
pub(super) struct Reached {
    pub(super) admin: AdminClient,
    pub(super) config: Config,
}

impl Where {
    /// Reaches the ledger. `Make` is for the command an operator starts from nothing with.
    pub(super) async fn reach(&self, missing: Missing) -> Result<Reached, Failure> {
        let flag = |flag: &str, name: &str, value: String| Flag {
            flag: flag.to_owned(),
            section: "ledger".to_owned(),
            name: name.to_owned(),
            value,
        };
        let mut flags: Vec<_> = self
            .redis
            .iter()
            .map(|url| flag("--redis", "redis", url.clone()))
            .collect();
        if let Some(data) = &self.data {
            // `--data` means this folder even where the file or the environment names a Redis.
            flags.push(flag("--data", "redis", String::new()));
            flags.push(flag("--data", "data", data.clone()));
        }
        let config = super::load(Overrides {
            config: self.config.clone(),
            flags,
        })?;
        let admin = reach(&config, missing).await?;
        Ok(Reached { admin, config })
    }
}

/// Reaches the ledger that the settings name.
pub(super) async fn reach(config: &Config, missing: Missing) -> anyhow::Result<AdminClient> {
    match config.ledger.redis {
        Some(_) => Ok(AdminClient::here(ledger::open(&config.ledger).await?)),
        None => embedded(config, missing).await,
    }
}

async fn embedded(config: &Config, missing: Missing) -> anyhow::Result<AdminClient> {
    let dir = &config.ledger.data;
    if missing == Missing::Refuse && !is_inhabited(dir) {
        bail!(
            "there is no ledger in {}: choose with --data DIR or --redis URL",
            dir.display()
        );
    }
    let began = Instant::now();
    loop {
        match AdminClient::connect(&dir.join(SOCKET)).await {
            Ok(client) => return Ok(client),
            Err(AdminError::NobodyThere(_)) => {}
            Err(error) => return Err(error).context("a gateway holds this ledger and cannot be reached"),
        }
        match ledger::open(&config.ledger).await {
            Ok(ledger) => return Ok(AdminClient::here(ledger)),
            // Another command is at work, or a gateway is starting or stopping.
            Err(error) if ledger::is_in_use(&error) && began.elapsed() < ledger::HANDOVER_MAX => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the folder holds anything at all.
fn is_inhabited(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}
