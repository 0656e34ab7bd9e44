//! Adds file, environment and flags up to settings. Decides precedence (flags over environment over file; what a model
//! says of itself over all) and the defaults, and collects every problem before giving up.

mod terms;

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::file::{self, File};
use super::flags::Flags;
use super::{AgentSettings, BaseUrl, DRAIN_DEADLINE, OFFER_LIFETIME};
use crate::dialect::Dialect;
use crate::identity::ProviderKey;

/// The most bytes of a configuration file: beyond any real one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The settings to run by.
///
/// # Errors
/// Everything that is wrong, each in a sentence.
pub fn resolve(flags: &Flags) -> Result<AgentSettings, Vec<String>> {
    let mut problems = Vec::new();
    let settings = settings(flags, &mut problems);
    if let Some(settings) = &settings {
        problems.extend(settings.problems());
    }
    settings.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The settings that make an offer: as [`resolve`], but no gateway is needed.
///
/// # Errors
/// Everything that is wrong, each in a sentence.
pub fn resolve_offer(flags: &Flags) -> Result<AgentSettings, Vec<String>> {
    let mut problems = Vec::new();
    let engine = flags
        .engine
        .clone()
        .or_else(|| Some("http://127.0.0.1:8000".to_owned()));
    let settings = settings(
        &Flags {
            engine,
            ..flags.clone()
        },
        &mut problems,
    );
    if let Some(settings) = &settings {
        problems.extend(settings.offer_problems());
    }
    settings.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The names among `set` that look like the agent's environment variables and are none. Those that Kubernetes makes of
/// a Service named `filature-provider` are passed over.
pub fn unknown_environment<'n>(set: impl IntoIterator<Item = &'n str>, known: &[String]) -> Vec<String> {
    const PREFIX: &str = "FILATURE_PROVIDER_";
    let from_kubernetes = |rest: &str| rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_");
    set.into_iter()
        .filter(|name| name.strip_prefix(PREFIX).is_some_and(|rest| !from_kubernetes(rest)))
        .filter(|name| !known.iter().any(|known| known == name))
        .map(|name| format!("environment variable {name} is not a setting"))
        .collect()
}

fn settings(flags: &Flags, problems: &mut Vec<String>) -> Option<AgentSettings> {
    let file = flags
        .config
        .as_deref()
        .map_or_else(File::default, |path| read_file(path, problems));

    let gateway_texts = first_given(&flags.gateways, &file.gateways);
    let gateways = gateway_texts
        .iter()
        .filter_map(|url| parse("gateway", url, problems))
        .collect();
    let engine_text = given(flags.engine.as_deref()).or(given(file.engine.as_deref()));
    let engine: Option<BaseUrl> = match engine_text {
        Some(url) => parse("engine", url, problems),
        None => {
            problems.push("no engine is given: --engine http://127.0.0.1:8000".to_owned());
            None
        }
    };
    let key_file = given_path(flags.key_file.as_deref()).or(file.key_file.clone().map(PathBuf::from));
    let key = key(key_file.as_deref(), problems);
    let models = terms::models(&flags.model, &file.models, problems);
    let api_key_env = given(flags.engine_api_key_env.as_deref()).or(file.engine_api_key_env.as_deref());
    let api_key = api_key_env.and_then(|name| api_key(name, problems));
    let ca_file = given_path(flags.ca_file.as_deref()).or(file.ca_file.clone().map(PathBuf::from));
    let extra_roots = ca_file.map(|path| roots(&path, problems)).unwrap_or_default();
    let drain = number("--drain-timeout", flags.drain_timeout.as_deref(), problems).or(file.drain_timeout_s);
    let lifetime = number("--offer-lifetime", flags.offer_lifetime.as_deref(), problems).or(file.offer_lifetime_s);
    let metrics = number("--engine-metrics", flags.engine_metrics.as_deref(), problems).or(file.engine_metrics);
    let dialect = given(flags.dialect.as_deref()).or(given(file.dialect.as_deref()));
    let dialect = dialect.and_then(|text| dialect_of(text, problems));
    let name = given(flags.name.as_deref())
        .or(given(file.name.as_deref()))
        .map(str::to_owned);
    if name.is_none() {
        problems.push("no name is given: --name NAME".to_owned());
    }

    let mut settings = AgentSettings::new(key?, name?, engine?, gateways, models);
    if let Some(api_key) = api_key
        && settings.set_engine_api_key(&api_key).is_err()
    {
        problems.push("the engine's API key has characters that no header may have".to_owned());
    }
    settings.payout = given(flags.payout.as_deref()).map(str::to_owned).or(file.payout);
    if settings
        .payout
        .as_deref()
        .is_some_and(|payout| !looks_like_address(payout))
    {
        problems
            .push("--payout: an address on TON has 48 characters, such as UQ…, or is 0: and 64 hex digits".to_owned());
    }
    settings.drain_deadline = drain.map_or(DRAIN_DEADLINE, Duration::from_secs);
    settings.offer_lifetime = lifetime.map_or(OFFER_LIFETIME, Duration::from_secs);
    settings.dialect = dialect;
    settings.engine_metrics = metrics.unwrap_or(true);
    settings.extra_roots = extra_roots;
    settings.once = flags.once;
    Some(settings)
}

/// Whether it can be an address on TON at all. Its checksum and network are for the gateway that pays, which says what is
/// wrong with it.
fn looks_like_address(text: &str) -> bool {
    let is_friendly = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/".contains(&byte);
    match text.split_once(':') {
        Some((workchain, id)) => {
            workchain.parse::<i8>().is_ok() && id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
        }
        None => text.len() == 48 && text.bytes().all(is_friendly),
    }
}

/// `None` for `auto`.
fn dialect_of(text: &str, problems: &mut Vec<String>) -> Option<Dialect> {
    if text == "auto" {
        return None;
    }
    let known = text.parse();
    known
        .map_err(|error| problems.push(format!("--dialect: {error}; or auto")))
        .ok()
}

fn read_file(path: &Path, problems: &mut Vec<String>) -> File {
    let read = fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is longer than any configuration"));
        }
        fs::read_to_string(path)
    });
    match read {
        Ok(text) => file::parse(&text, problems),
        Err(error) => {
            problems.push(format!("config file {}: {error}", path.display()));
            File::default()
        }
    }
}

fn key(path: Option<&Path>, problems: &mut Vec<String>) -> Option<ProviderKey> {
    let Some(path) = path else {
        problems.push("no key file is given: --key-file FILE".to_owned());
        return None;
    };
    match ProviderKey::load(path) {
        Ok(key) => Some(key),
        Err(error) if !path.exists() => {
            problems.push(format!(
                "{error}; make one with: filature-provider key new --key-file {}",
                path.display()
            ));
            None
        }
        Err(error) => {
            problems.push(error.to_string());
            None
        }
    }
}

fn api_key(variable: &str, problems: &mut Vec<String>) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        problems.push(format!(
            "the engine's API key is to be in environment variable {variable}, which is not set"
        ));
    }
    value
}

fn roots(path: &Path, problems: &mut Vec<String>) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(roots) if roots.is_empty() => {
            problems.push(format!(
                "CA file {}: it holds no certificate in PEM form",
                path.display()
            ));
            roots
        }
        Ok(roots) => roots,
        Err(error) => {
            problems.push(format!("CA file {}: {error}", path.display()));
            Vec::new()
        }
    }
}

/// An empty environment variable counts as unset.
fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn given_path(path: Option<&Path>) -> Option<PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty()).map(Path::to_path_buf)
}

fn first_given(first: &[String], second: &[String]) -> Vec<String> {
    let given = |list: &[String]| list.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>();
    let first = given(first);
    if first.is_empty() { given(second) } else { first }
}

fn parse<T: FromStr<Err: std::fmt::Display>>(what: &str, text: &str, problems: &mut Vec<String>) -> Option<T> {
    text.parse()
        .map_err(|error| problems.push(format!("{what}: {error}")))
        .ok()
}

fn number<T: FromStr<Err: std::fmt::Display>>(flag: &str, text: Option<&str>, problems: &mut Vec<String>) -> Option<T> {
    let text = given(text)?;
    text.parse()
        .map_err(|error| problems.push(format!("{flag} {text}: {error}")))
        .ok()
}

#[cfg(test)]
mod tests;
