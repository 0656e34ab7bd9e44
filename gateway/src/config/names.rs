//! The names a setting goes by (key, variable, flag), and the nearest name to one that does not exist.

use super::settings::Config;

/// What every variable of the gateway begins with.
pub(super) const ENV_PREFIX: &str = "FILATURE_";

/// Variables that share the prefix and belong to other programs of the house, or name the file itself.
const ENV_ELSEWHERE: &[&str] = &["FILATURE_CONFIG", "FILATURE_BLESS", "FILATURE_REPLAYS"];
const ENV_ELSEWHERE_PREFIXES: &[&str] = &[
    "FILATURE_PROVIDER_",
    "FILATURE_TEST_",
    "FILATURE_SEED",
    "FILATURE_BLESS",
    "FILATURE_GATEWAY",
    "FILATURE_ENGINE_",
];

/// Flags with a short name of their own.
const SHORT_FLAGS: &[(&str, &str, &str)] = &[
    ("server", "listen", "listen"),
    ("ledger", "redis", "redis"),
    ("ledger", "data", "data"),
];

/// `section.key`.
pub(super) fn key(section: &str, name: &str) -> String {
    format!("{section}.{name}")
}

/// `FILATURE_SECTION_KEY`.
pub(super) fn variable(section: &str, name: &str) -> String {
    format!("{ENV_PREFIX}{}_{}", section.to_uppercase(), name.to_uppercase())
}

/// The flag without its dashes: `section-key`.
pub(crate) fn flag(section: &str, name: &str) -> String {
    format!("{section}-{name}").replace('_', "-")
}

/// The flag's short name, where it has one.
pub(crate) fn short_flag(section: &str, name: &str) -> Option<&'static str> {
    SHORT_FLAGS
        .iter()
        .find(|(s, n, _)| (*s, *n) == (section, name))
        .map(|(_, _, short)| *short)
}

/// The setting a variable names: every section is tried, since keys have underscores too.
pub(super) fn from_variable(variable: &str) -> Option<(&'static str, &'static str)> {
    let rest = variable.strip_prefix(ENV_PREFIX)?.to_lowercase();
    all().into_iter().find(|(section, name)| {
        rest.strip_prefix(section)
            .and_then(|rest| rest.strip_prefix('_'))
            .is_some_and(|rest| rest == *name)
    })
}

/// Whether a variable with the prefix is none of the gateway's business.
///
/// Kubernetes injects `<SERVICE>_SERVICE_HOST`, `<SERVICE>_PORT=tcp://…` and the like for every service of the
/// namespace; a service called `filature` must not stop the gateway from starting.
pub(super) fn is_elsewhere(variable: &str, value: &str) -> bool {
    ENV_ELSEWHERE.contains(&variable)
        || ENV_ELSEWHERE_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        || variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || (variable.ends_with("_PORT") && value.contains("://"))
        || variable.split_once("_PORT_").is_some_and(|(_, rest)| {
            let mut parts = rest.split('_');
            parts.next().is_some_and(|port| port.parse::<u16>().is_ok())
                && parts
                    .next()
                    .is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
        })
}

/// Every setting as section and key, in the order of declaration.
pub(crate) fn all() -> Vec<(&'static str, &'static str)> {
    let config = Config::default();
    Config::SECTIONS
        .iter()
        .flat_map(|(section, _)| {
            let fields = config.section(section).map(|table| table.fields()).unwrap_or_default();
            fields.into_iter().map(move |field| (*section, field.name))
        })
        .collect()
}

/// The candidate nearest to `wrong`, unless all are too far to be meant.
///
/// A key that exists under another section is the nearest of all.
pub(super) fn nearest(wrong: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let far = wrong.len() / 3 + 1;
    candidates
        .into_iter()
        .map(|candidate| {
            let moved = candidate.contains('.') && last(&candidate) == last(wrong);
            (if moved { 0 } else { distance(wrong, &candidate) }, candidate)
        })
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove or change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_own_variable_and_flag() {
        let all = all();
        for (section, name) in &all {
            assert_eq!(from_variable(&variable(section, name)), Some((*section, *name)));
            assert!(!is_elsewhere(&variable(section, name), "x"), "{section}.{name}");
        }
        let flags: std::collections::HashSet<_> = all.iter().map(|(section, name)| flag(section, name)).collect();
        assert_eq!(flags.len(), all.len());
    }

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        let known = || ["server.listen", "ledger.redis", "ledger.data"].map(str::to_owned);
        assert_eq!(nearest("server.lisen", known()).as_deref(), Some("server.listen"));
        assert_eq!(nearest("server.redis", known()).as_deref(), Some("ledger.redis"));
        assert_eq!(nearest("something.else", known()), None);
    }

    #[test]
    fn service_links_of_kubernetes_are_not_settings() {
        for (name, value) in [
            ("FILATURE_SERVICE_HOST", "10.0.0.1"),
            ("FILATURE_SERVICE_PORT_HTTP", "8080"),
            ("FILATURE_PORT", "tcp://10.0.0.1:8080"),
            ("FILATURE_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("FILATURE_GATEWAY_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("FILATURE_PROVIDER_NAME", "p1"),
        ] {
            assert!(is_elsewhere(name, value), "{name}");
        }
        for (name, value) in [
            ("FILATURE_SERVER_PORT", "8080"),
            ("FILATURE_PROVIDERS_NAME", "x"),
            ("FILATURE_LISTEN", "x"),
        ] {
            assert!(!is_elsewhere(name, value), "{name}");
        }
    }
}
