//! A provider's leaf for a command: from a file that was saved, or from whoever has what the operator published.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use filature_billing::ProviderId;
use filature_billing::settle::{Anchor, ProvenLeaf, Standing};

use super::Failure;
use super::onchain::Reached;
use super::published::From;
use crate::config::Flag;
use crate::fleet::direct::ID_PREFIX as DIRECT;

/// Longest proof that is read, in bytes: 32 hashes and some figures.
const PROOF_BYTES_MAX: u64 = 16 << 10;

/// Hexadecimal digits of a public key, which is the id of whoever has one.
const KEY_DIGITS: usize = 64;

/// Whose leaf, and where it comes from.
#[derive(Args)]
pub(super) struct Whose {
    /// The provider's id, as it stands in receipts.
    #[arg(required_unless_present = "proof", value_parser = provider)]
    provider: Option<ProviderId>,
    /// A proof that was saved before.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["epochs", "data", "gateway"])]
    proof: Option<PathBuf>,
    #[command(flatten)]
    from: From,
}

/// Reads a provider's id.
pub(super) fn provider(text: &str) -> Result<ProviderId, String> {
    let is_key = text.len() == KEY_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_key && !text.starts_with(DIRECT) {
        return Err(format!(
            "a provider's id is {KEY_DIGITS} hexadecimal digits, or `{DIRECT}` and the name it has in the configuration"
        ));
    }
    ProviderId::parse(text).map_err(|error| error.to_string())
}

impl Whose {
    /// The settings that these flags give.
    pub(super) fn flags(&self) -> Vec<Flag> {
        self.from.flags()
    }

    /// The provider's leaf, under this anchor unless it comes from a file.
    pub(super) async fn leaf(
        &self,
        reached: &Reached,
        standing: &Standing,
        anchor: Option<&Anchor>,
    ) -> Result<ProvenLeaf, Failure> {
        if let Some(file) = &self.proof {
            let leaf = load(file)?;
            if let Some(named) = self.provider.as_ref().filter(|named| **named != leaf.provider) {
                let text = format!("{} is the proof of {}, not of {named}", file.display(), leaf.provider);
                return Err(Failure::Runtime(anyhow!(text)));
            }
            return Ok(leaf);
        }
        let provider = self.provider.as_ref().context("a provider or a proof is needed")?;
        let contract = reached.shown(standing.state.address);
        let anchor =
            anchor.with_context(|| format!("nothing is anchored in {contract} yet: nothing can be claimed"))?;
        let Some(published) = self.from.open(&reached.config)? else {
            let text = "nobody was named who has the proofs: give --epochs STORE, --gateway URL or --proof FILE";
            return Err(Failure::Usage(text.to_owned()));
        };
        let leaf = published.leaf(anchor, provider).await?;
        let missing = || {
            format!(
                "{published} has no leaf of {provider} under the anchor of epoch {}: either the provider had earned nothing \
                 by then, or the operator anchored what it does not publish. A contest works by an older leaf: \
                 docs/settlement.md",
                anchor.epoch
            )
        };
        Ok(leaf.with_context(missing)?)
    }
}

/// Reads a proof.
fn load(file: &Path) -> anyhow::Result<ProvenLeaf> {
    let unreadable = || format!("cannot read {}", file.display());
    let length = std::fs::metadata(file).with_context(unreadable)?.len();
    if length > PROOF_BYTES_MAX {
        bail!("{} is too large to be a proof", file.display());
    }
    let text = std::fs::read(file).with_context(unreadable)?;
    serde_json::from_slice(&text).with_context(|| format!("{} holds no proof of a leaf", file.display()))
}

/// Keeps a proof. The one that the file held stays until the new one is whole.
pub(super) fn save(file: &Path, leaf: &ProvenLeaf) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(leaf)?;
    text.push(b'\n');
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let written = File::create(&draft).and_then(|mut new| {
        new.write_all(&text)?;
        new.sync_all()?;
        std::fs::rename(&draft, file)
    });
    written.with_context(|| format!("cannot write {}", file.display()))
}
