//! `filature keys`.

use anyhow::Context as _;
use clap::Subcommand;
use filature_billing::{AccountId, KeyId, KeyRecord};

use super::Failure;
use super::expiry::Expiry;
use super::limits::{self, Changes, Limits, OrNone};
use super::output::{self, Table};
use super::reach::{Missing, Where};
use crate::admin::{KeyPatch, NewKey};
use crate::clock::now_ms;

const EXAMPLES: &str = "\
Examples:
  filature keys create --account acct_… --name laptop --expires 30d
  filature keys create --account acct_… --requests-per-min 60 --tokens-per-min 100000 --concurrent 4
  filature keys create --account acct_… --budget 5 --budget-period month --model qwen/qwen3-8b
  filature keys update key_… --budget 10 --tokens-per-min none
  filature keys show key_…
  filature keys list --account acct_…
  filature keys revoke key_…

A key's secret is printed once, when it is made. The ledger stores only its hash.";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Keys {
    /// Make an API key and print it, once.
    Create {
        /// The account that pays for calls made with it.
        #[arg(long)]
        account: AccountId,
        /// What its owner calls it.
        #[arg(long, default_value = "")]
        name: String,
        /// When it expires: after a time (`90s`, `15m`, `12h`, `30d`, `8w`) or at one (`2027-01-31T00:00:00Z`).
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        at: Where,
    },
    /// Show a key, its limits, and what is used of them.
    Show {
        /// The key's id (`key_…`), not its secret.
        key: KeyId,
        #[command(flatten)]
        at: Where,
    },
    /// Change a key's name, expiry or limits; every call after it feels them.
    Update {
        /// The key's id (`key_…`), not its secret.
        key: KeyId,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another expiry, as with `create`, or `none`.
        #[arg(long, value_name = "WHEN")]
        expires: Option<OrNone<Expiry>>,
        #[command(flatten)]
        limits: Changes,
        #[command(flatten)]
        at: Where,
    },
    /// List keys, without their secrets.
    List {
        /// Only those of this account.
        #[arg(long)]
        account: Option<AccountId>,
        #[command(flatten)]
        at: Where,
    },
    /// Revoke a key at once and for good.
    Revoke {
        /// The key's id (`key_…`), not its secret.
        key: KeyId,
        #[command(flatten)]
        at: Where,
    },
}

pub(super) fn run(command: Keys) -> Result<(), Failure> {
    output::block_on(async {
        match command {
            Keys::Create {
                account,
                name,
                expires,
                limits,
                at,
            } => {
                let expires_ms = expires.map(|expiry| expiry.at_ms(now_ms()));
                let ledger = at.reach(Missing::Refuse).await?;
                let new = NewKey {
                    account,
                    name,
                    expires_ms,
                    limits: limits.take(),
                };
                let created = ledger.admin.create_key(&new).await.context("no key was made")?;
                output::show(at.json, &created, || {
                    let mut out = one(&created.record, &ledger.config.pricing.symbol);
                    out.push_str(&output::facts(&[("api_key", created.key.clone())]));
                    out
                })?;
                output::note("this is the only time the key is shown");
                Ok(())
            }
            Keys::Show { key, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let shown = ledger.admin.key(&key).await.context("nothing to show")?;
                let symbol = &ledger.config.pricing.symbol;
                output::show(at.json, &shown, || {
                    output::facts(&[facts(&shown.record, symbol), limits::used(&shown, symbol)].concat())
                })
            }
            Keys::Update {
                key,
                name,
                expires,
                limits,
                at,
            } => {
                let patch = KeyPatch {
                    name,
                    expires_ms: expires.map(|expires| expires.0.map(|expiry| expiry.at_ms(now_ms()))),
                    limits: limits.take(),
                };
                if patch == KeyPatch::default() {
                    return Err(Failure::Usage("nothing to change was given".to_owned()));
                }
                let ledger = at.reach(Missing::Refuse).await?;
                let updated = ledger.admin.update_key(&key, &patch).await;
                let updated = updated.context("nothing was changed")?;
                output::show(at.json, &updated, || one(&updated, &ledger.config.pricing.symbol))
            }
            Keys::List { account, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let keys = ledger.admin.keys(account.as_ref()).await.context("nothing to list")?;
                output::show(at.json, &keys, || many(&keys.keys, now_ms()))
            }
            Keys::Revoke { key, at } => {
                let ledger = at.reach(Missing::Refuse).await?;
                let revoked = ledger.admin.revoke_key(&key).await.context("nothing was revoked")?;
                output::show(at.json, &revoked, || one(&revoked, &ledger.config.pricing.symbol))
            }
        }
    })
}

fn one(key: &KeyRecord, symbol: &str) -> String {
    output::facts(&facts(key, symbol))
}

fn facts(key: &KeyRecord, symbol: &str) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("key", key.id.to_string()),
        ("account", key.account.to_string()),
        ("name", key.name.clone()),
        ("hint", key.hint.clone()),
        ("created", output::time(key.created_ms)),
        (
            "expires",
            key.expires_ms.map_or_else(|| "never".to_owned(), output::time),
        ),
    ];
    facts.extend(key.revoked_ms.map(|at| ("revoked", output::time(at))));
    facts.extend(limits::facts(&key.limits, symbol));
    facts
}

fn many(keys: &[KeyRecord], now_ms: u64) -> String {
    let mut table = Table::new(&["KEY", "ACCOUNT", "NAME", "HINT", "CREATED", "EXPIRES", "STATE"]);
    for key in keys {
        let expired = key.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms);
        table.row([
            key.id.to_string(),
            key.account.to_string(),
            key.name.clone(),
            key.hint.clone(),
            output::time(key.created_ms),
            key.expires_ms.map_or_else(|| "never".to_owned(), output::time),
            match (key.revoked_ms, expired) {
                (Some(_), _) => "revoked",
                (None, true) => "expired",
                (None, false) => "active",
            }
            .to_owned(),
        ]);
    }
    table.to_string()
}
