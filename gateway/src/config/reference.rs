//! Writes `docs/config.md` from the tables that declare the settings.

use std::fmt::Write as _;

use super::declare::{Field, Section};
use super::names;
use super::providers::{ModelSettings, PriceSettings, ProviderSettings};
use super::settings::Config;
use super::tokenizers::TokenizerSettings;

const HEAD: &str = "\
# Configuration

Generated from `gateway/src/config/settings.rs` (`filature config reference` prints it); do not edit.

Every setting can be written in three places. A later one overrides an earlier one:

1. the TOML file named by `--config FILE` or `FILATURE_CONFIG`: `[section]` and `key = value`;
2. an environment variable: `FILATURE_SECTION_KEY`;
3. a flag of `filature serve`: `--section-key VALUE`. `--listen`, `--redis` and `--data` are short for
   `--server-listen`, `--ledger-redis` and `--ledger-data`.

Unknown keys, variables and flags are refused, and all problems are reported at once. `filature config check` prints
what holds, where each value comes from, and what is wrong. Lists are TOML arrays in the file and separated by commas
elsewhere; an empty variable unsets an optional setting. Secrets are never printed.

Variables that begin with `FILATURE_PROVIDER_`, `FILATURE_ENGINE_` or `FILATURE_GATEWAY` belong to the other programs, and those that
Kubernetes injects for services (such as `FILATURE_SERVICE_HOST`) are passed over.
";

const PROVIDERS: &str = "
## `[[providers]]`

Providers reached at a URL, which the operator vouches for. In the file only.

```toml
[[providers]]
name = \"lab\"
url = \"http://10.0.0.5:8000\"
api_key_env = \"LAB_API_KEY\"

[[providers.models]]
model = \"llama-3.3-70b\"
context_tokens_max = 131072
price = { prompt = 100_000_000, completion = 400_000_000 }
```
";

const TOKENIZERS: &str = "
## `[[tokenizers]]`

How the tokens of a model are counted, so that nobody is billed for more than passed. Models without one are bounded by
bytes. In the file only; files are read when the gateway starts.

```toml
[[tokenizers]]
models = [\"llama-3.3-70b\"]
file = \"/etc/filature/llama-3/tokenizer.json\"

[[tokenizers]]
models = [\"gpt-oss-120b\"]
vocabulary = \"o200k_base\"
template_tokens = 128
```

";

/// The whole reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let config = Config::default();
    for (section, about) in Config::SECTIONS {
        let _ = write!(out, "\n## `[{section}]`\n\n{}\n\n", prose(about));
        let fields = config.section(section).map(|table| table.fields()).unwrap_or_default();
        table(&mut out, &fields, false, |field| {
            let short =
                names::short_flag(section, field.name).map_or_else(String::new, |short| format!(", `--{short}`"));
            format!(
                "<br>`{}`<br>`--{}`{short}",
                names::variable(section, field.name),
                names::flag(section, field.name)
            )
        });
    }
    out.push_str(PROVIDERS);
    for (title, fields) in [
        ("Each provider, beside `models`", ProviderSettings::default().fields()),
        (
            "Each of `[[providers.models]]`, beside `price`",
            ModelSettings::default().fields(),
        ),
        ("`price`", PriceSettings::default().fields()),
    ] {
        let _ = write!(out, "\n{title}:\n\n");
        table(&mut out, &fields, true, |_| String::new());
    }
    out.push_str(TOKENIZERS);
    table(&mut out, &TokenizerSettings::default().fields(), true, |_| {
        String::new()
    });
    out
}

/// One table; where `required`, an empty text is no default but a setting that must be written.
fn table(out: &mut String, fields: &[Field], required: bool, names: impl Fn(&Field) -> String) {
    out.push_str("| setting | default | allowed | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let secret = if field.secret { " Secret." } else { "" };
        let default = match field.default.as_str() {
            "none" => "none".to_owned(),
            "\"\"" if required => "required".to_owned(),
            default => format!("`{default}`"),
        };
        let _ = writeln!(
            out,
            "| `{}`{} | {default} | {} | {}{secret} |",
            field.name,
            names(field),
            field.allowed.replace('|', "\\|"),
            prose(field.doc).replace('|', "\\|"),
        );
    }
}

/// Doc comments as one line of prose.
fn prose(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
