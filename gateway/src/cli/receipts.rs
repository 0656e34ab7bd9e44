//! `filature receipts verify`: for whoever got a receipt, offline or up to the root on chain. Says what was checked, and
//! what was not.

mod anchored;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use filature_billing::{Receipt, TrustedKeys, verify_receipt};
use serde::Serialize;

use self::anchored::{Followed, Way, Witness};
use super::Failure;
use super::output;
use super::trust;

const EXAMPLES: &str = "\
Examples:
  filature receipts verify receipt.json --key 4f44…828b
  filature receipts verify receipt.json --key 4f44…828b --request asked.json --response got.txt
  filature receipts verify receipt.json --key 4f44…828b --contract EQ… \\
      --gateway https://gateway.example
  filature receipts verify receipt.json --contract EQ… --endpoint https://toncenter.com \\
      --epochs ./copied-epochs
  curl -H \"Authorization: Bearer $KEY\" https://gateway.example/v1/receipts/gen-… \\
      | filature receipts verify -";

/// Largest file that is read, in bytes: a call's texts are smaller by far.
const FILE_BYTES_MAX: u64 = 1 << 30;

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Receipts {
    /// Verify a receipt: signatures, sums, and where it was sealed the proof of that. Needs no gateway. With a contract also
    /// that its epoch is anchored on chain.
    Verify(Box<Verify>),
}

#[derive(Args)]
pub(super) struct Verify {
    /// The receipt, as `/v1/receipts/{id}` gave it; `-` reads standard input.
    file: PathBuf,
    /// A public key that the operator publishes; repeat it for several.
    #[arg(long, value_name = "KEY", value_parser = trust::public_key)]
    key: Vec<String>,
    /// The body that was sent, byte for byte.
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// The body that was received, byte for byte.
    #[arg(long, value_name = "FILE")]
    response: Option<PathBuf>,
    #[command(flatten)]
    way: Way,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What came of it.
#[derive(Serialize, Default)]
struct Verdict {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// The anchor it stands under; absent if it was not followed so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<Witness>,
    /// The link to the chain that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
    checked: Vec<String>,
    not_checked: Vec<String>,
}

pub(super) fn run(command: Receipts) -> Result<(), Failure> {
    let Receipts::Verify(verify) = command;
    output::block_on(async {
        let verdict = verify.verdict().await?;
        output::show(verify.json, &verdict, || verdict.text())?;
        if let Some(wrong) = verdict.wrong {
            return Err(anyhow!("this receipt proves nothing: {wrong}").into());
        }
        if let Some(missing) = verdict.missing {
            return Err(anyhow!("this receipt is not proved to the end: {missing}").into());
        }
        Ok(())
    })
}

impl Verify {
    async fn verdict(&self) -> Result<Verdict, Failure> {
        let file = read(&self.file)?;
        let mut verdict = Verdict::default();
        let keys = TrustedKeys::new(self.key.clone());
        let receipt = match verify_receipt(&file, &keys) {
            Ok(receipt) => receipt,
            Err(fault) => {
                verdict.wrong = Some(fault.to_string());
                return Ok(verdict);
            }
        };
        verdict.call = Some(receipt.record.call.to_string());
        verdict.signed_by = Some(receipt.gateway.clone());
        self.signatures(&receipt, &mut verdict);
        inclusion(&receipt, &mut verdict);
        verdict.wrong = self.words(&receipt, &mut verdict)?;
        if verdict.wrong.is_none() {
            self.anchor(&receipt, &keys, &mut verdict).await?;
        }
        verdict.ok = verdict.wrong.is_none() && verdict.missing.is_none();
        Ok(verdict)
    }

    /// The way from the epoch to the chain, where somebody wants to go it.
    async fn anchor(&self, receipt: &Receipt, keys: &TrustedKeys, verdict: &mut Verdict) -> Result<(), Failure> {
        match self.way.follow(receipt, keys).await? {
            Followed::Offline => {
                if let Some(inclusion) = &receipt.inclusion {
                    verdict.not_checked.push(format!(
                        "that epoch {} is anchored on chain: name the operator's contract with --contract",
                        inclusion.epoch.header.number
                    ));
                }
            }
            Followed::Anchored(witness, steps) => {
                verdict.checked.extend(steps);
                verdict.anchor = Some(witness);
            }
            Followed::Missing(missing) => {
                verdict.not_checked.push(format!("the way to the chain: {missing}"));
                verdict.missing = Some(missing);
            }
            Followed::Wrong(wrong) => verdict.wrong = Some(wrong),
        }
        Ok(())
    }

    fn signatures(&self, receipt: &Receipt, verdict: &mut Verdict) {
        let signer = &receipt.gateway;
        if self.key.is_empty() {
            verdict.checked.push(format!("the record is signed by {signer}"));
            let whose = "whose key that is: compare it with what the operator publishes, or name it with --key";
            verdict.not_checked.push(whose.to_owned());
        } else {
            let signed = format!("the record is signed by {signer}, which you named as the operator's");
            verdict.checked.push(signed);
        }
        let record = &receipt.record;
        let parts = match record.version {
            1 => format!(
                "cost {} TON and fee {} TON are the sums of their parts",
                record.cost, record.fee
            ),
            _ => format!(
                "cost {} TON and fee {} TON follow from tokens, prices and basis points",
                record.cost, record.fee
            ),
        };
        verdict.checked.push(parts);
        for (leg, number) in record.legs.iter().zip(1..) {
            match &leg.served {
                Some(_) => verdict
                    .checked
                    .push(format!("part {number} is signed by its provider {}, too", leg.provider)),
                None => verdict.not_checked.push(format!(
                    "that {} served part {number}: it is the gateway's word, the provider signed nothing",
                    leg.provider
                )),
            }
        }
    }

    /// The words of the call against their hashes. Some text says what does not fit.
    fn words(&self, receipt: &Receipt, verdict: &mut Verdict) -> anyhow::Result<Option<String>> {
        if receipt.nonce.is_some() {
            verdict
                .checked
                .push("the nonce is the one that salts the record's hashes".to_owned());
        }
        let sides = [
            (
                "request",
                "--request",
                &self.request,
                Receipt::is_of_request as fn(&Receipt, &[u8]) -> Option<bool>,
            ),
            ("answer", "--response", &self.response, Receipt::is_of_response),
        ];
        let mut wrong = None;
        for (what, flag, file, fits) in sides {
            let Some(file) = file else {
                verdict
                    .not_checked
                    .push(format!("the {what}: give its body with {flag}"));
                continue;
            };
            match fits(receipt, &read(file)?) {
                Some(true) => verdict
                    .checked
                    .push(format!("it is the receipt of the {what} in {}", file.display())),
                Some(false) => wrong = Some(format!("it is not the receipt of the {what} in {}", file.display())),
                None => {
                    wrong = Some(format!(
                        "it cannot be compared with the {what}: it has no hash of it, or no nonce"
                    ))
                }
            }
        }
        Ok(wrong)
    }
}

fn inclusion(receipt: &Receipt, verdict: &mut Verdict) {
    let Some(inclusion) = &receipt.inclusion else {
        let unsealed = "that it was sealed: it has no proof yet. Ask for the receipt again when the epoch is closed";
        verdict.not_checked.push(unsealed.to_owned());
        return;
    };
    let header = &inclusion.epoch.header;
    verdict.epoch = Some(header.number);
    verdict.checked.push(format!(
        "it is receipt {} of the {} in epoch {}, closed {} and signed by the same key",
        inclusion.index.saturating_add(1),
        header.sums.calls,
        header.number,
        output::time(header.to_ms),
    ));
}

impl Verdict {
    fn text(&self) -> String {
        let mut out = String::new();
        let mut line = |word: &str, what: &str| out.push_str(&format!("{word:<13}{what}\n"));
        if let Some(call) = &self.call {
            line("receipt of", call);
        }
        self.checked.iter().for_each(|what| line("checked", what));
        self.not_checked.iter().for_each(|what| line("not checked", what));
        output::lines(&out)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes),
        _ => std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)),
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}
