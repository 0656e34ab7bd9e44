//! `filature config`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::flags::Overrides;
use super::output::{self, Table};
use crate::config::{Config, Inspection, Problems, Sources, reference};

const EXAMPLES: &str = "\
Examples:
  filature config check --config filature.toml
  filature config reference > config.md";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ConfigCommand {
    /// Print what holds and where each value comes from; fail if anything is wrong. Takes the flags of `serve`.
    Check(Check),
    /// Print every setting, in Markdown.
    Reference,
}

#[derive(Args)]
pub(super) struct Check {
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    overrides: Overrides,
}

pub(super) fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Reference => output::print(&reference()),
        ConfigCommand::Check(Check { json, overrides }) => {
            let sources = Sources::gather(overrides.config.as_deref(), overrides.flags)?;
            let inspection = Config::inspect(&sources);
            output::show(json, &as_json(&inspection), || as_text(&inspection))?;
            if inspection.problems.is_empty() {
                return Ok(());
            }
            Err(Problems(inspection.problems).into())
        }
    }
}

fn as_text(inspection: &Inspection) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for setting in &inspection.settings {
        table.row([setting.key.clone(), setting.value.clone(), setting.origin.to_string()]);
    }
    for (index, provider) in inspection.config.providers.iter().enumerate() {
        let models: Vec<_> = provider.models.iter().map(|model| model.model.as_str()).collect();
        table.row([
            format!("providers[{index}]"),
            format!("{} at {}", provider.name, provider.url),
            models.join(", "),
        ]);
    }
    table.to_string()
}

fn as_json(inspection: &Inspection) -> serde_json::Value {
    let settings: Vec<_> = inspection
        .settings
        .iter()
        .map(|setting| json!({ "key": setting.key, "value": setting.value, "from": setting.origin.to_string() }))
        .collect();
    let problems: Vec<_> = inspection
        .problems
        .iter()
        .map(|problem| {
            let from = problem.origin.to_string();
            json!({ "from": from, "key": problem.key, "what": problem.what, "allowed": problem.allowed })
        })
        .collect();
    json!({ "settings": settings, "problems": problems })
}
