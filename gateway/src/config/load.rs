//! Layers defaults, file, environment and flags into a [`Config`], and reports everything that is wrong with them.

use std::collections::HashMap;

use super::check;
use super::declare::Refused;
use super::file::{Source, Table, raw};
use super::names;
use super::problem::{Origin, Problem, Problems};
use super::providers;
use super::settings::Config;
use super::source::{Sources, Written};
use super::tokenizers;
use super::value::Raw;

/// One setting as it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// `section.key`.
    pub key: String,
    /// Its value as it would stand in the file; secrets masked.
    pub value: String,
    /// Where it was written.
    pub origin: Origin,
}

/// A configuration with where each of its values comes from and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The configuration; a setting that could not be read keeps what a lower layer says.
    pub config: Config,
    /// Every setting in the order of declaration.
    pub settings: Vec<Effective>,
    /// What is wrong, in the order of the layers.
    pub problems: Vec<Problem>,
}

impl Config {
    /// The configuration that `sources` describe.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(sources: &Sources) -> Result<Self, Problems> {
        let inspection = Self::inspect(sources);
        if inspection.problems.is_empty() {
            Ok(inspection.config)
        } else {
            Err(Problems(inspection.problems))
        }
    }

    /// As [`Config::load`], for a person to look at.
    #[must_use]
    pub fn inspect(sources: &Sources) -> Inspection {
        let mut layers = Layers::default();
        if let Some(file) = &sources.file {
            layers.file(file);
        }
        layers.env(&sources.env);
        for flag in &sources.flags {
            let raw = Raw::Words(flag.value.clone());
            layers.set(&flag.section, &flag.name, &raw, Origin::Flag(flag.flag.clone()));
        }
        let Layers {
            config,
            origins,
            mut problems,
        } = layers;
        let origin = |section: &str, name: &str| {
            origins
                .get(&names::key(section, name))
                .cloned()
                .unwrap_or(Origin::Default)
        };
        check::rules(&config, &origin, &mut problems);
        let settings = names::all()
            .into_iter()
            .map(|(section, name)| Effective {
                key: names::key(section, name),
                value: config
                    .section(section)
                    .and_then(|table| table.show(name))
                    .unwrap_or_default(),
                origin: origin(section, name),
            })
            .collect();
        Inspection {
            config,
            settings,
            problems,
        }
    }
}

#[derive(Default)]
struct Layers {
    config: Config,
    origins: HashMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Layers {
    fn file(&mut self, file: &Written) {
        let source = Source::new(&file.path, &file.text);
        let (document, problems) = source.parse();
        self.problems.extend(problems);
        for (section, at, value) in Table::new(&document).entries() {
            if section == "providers" {
                self.config.providers = providers::read(&source, at, value.get_ref(), &mut self.problems);
                continue;
            }
            if section == "tokenizers" {
                self.config.tokenizers = tokenizers::read(&source, at, value.get_ref(), &mut self.problems);
                continue;
            }
            if self.config.section(section).is_none() {
                self.unknown(
                    source.origin(at),
                    section.to_owned(),
                    &[section_names(), setting_names()].concat(),
                );
                continue;
            }
            let Some(table) = value.get_ref().as_table() else {
                self.problems.push(Problem {
                    origin: source.origin(at),
                    key: section.to_owned(),
                    what: format!("got {}", raw(value.get_ref()).quoted()),
                    allowed: format!("allowed: a table, [{section}]"),
                });
                continue;
            };
            for (name, at, value) in Table::new(table).entries() {
                self.set(section, name, &raw(value.get_ref()), source.origin(at));
            }
        }
    }

    fn env(&mut self, env: &[(String, String)]) {
        let mut ours: Vec<_> = env
            .iter()
            .filter(|(name, _)| name.starts_with(names::ENV_PREFIX))
            .collect();
        ours.sort();
        for (variable, value) in ours {
            match names::from_variable(variable) {
                Some((section, name)) if names::variable(section, name) == *variable => {
                    self.set(section, name, &Raw::Words(value.clone()), Origin::Env(variable.clone()));
                }
                _ if names::is_elsewhere(variable, value) => {}
                _ => self.problems.push(Problem {
                    origin: Origin::Env(variable.clone()),
                    key: String::new(),
                    what: "no setting has this variable".to_owned(),
                    allowed: unknown_variable(variable),
                }),
            }
        }
    }

    /// Sets one setting, or says why not. Secrets are not quoted.
    fn set(&mut self, section: &str, name: &str, raw: &Raw, origin: Origin) {
        let key = names::key(section, name);
        let Some(table) = self.config.section_mut(section) else {
            return self.unknown(origin, key, &setting_names());
        };
        match table.set(name, raw) {
            Ok(()) => {
                self.origins.insert(key, origin);
            }
            Err(Refused::Invalid { allowed }) => {
                let secret = table.fields().iter().any(|field| field.name == name && field.secret);
                let what = if secret {
                    "has the wrong type".to_owned()
                } else {
                    format!("got {}", raw.quoted())
                };
                self.problems.push(Problem {
                    origin,
                    key,
                    what,
                    allowed: format!("allowed: {allowed}"),
                });
            }
            Err(Refused::Unknown) => self.unknown(origin, key, &setting_names()),
        }
    }

    fn unknown(&mut self, origin: Origin, key: String, known: &[String]) {
        let allowed = names::nearest(&key, known.iter().cloned()).map_or_else(
            || "`filature config reference` lists all".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        let what = if key.contains('.') {
            "no such setting"
        } else {
            "no such section"
        }
        .to_owned();
        self.problems.push(Problem {
            origin,
            key,
            what,
            allowed,
        });
    }
}

/// What to do about a variable that is no setting's.
fn unknown_variable(variable: &str) -> String {
    for section in IN_FILE_ONLY {
        let prefix = format!("{}{}", names::ENV_PREFIX, section.to_uppercase());
        if variable.starts_with(&prefix) {
            return format!("{section} can only be written in the file");
        }
    }
    let known = names::all()
        .into_iter()
        .map(|(section, name)| names::variable(section, name));
    names::nearest(variable, known).map_or_else(
        || {
            format!(
                "`filature config reference` lists all; {} is reserved",
                names::ENV_PREFIX
            )
        },
        |near| format!("did you mean {near}?"),
    )
}

/// Arrays of tables, which have no variables and no flags.
const IN_FILE_ONLY: [&str; 2] = ["providers", "tokenizers"];

fn section_names() -> Vec<String> {
    Config::SECTIONS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .chain(IN_FILE_ONLY.map(str::to_owned))
        .collect()
}

fn setting_names() -> Vec<String> {
    names::all()
        .iter()
        .map(|(section, name)| names::key(section, name))
        .collect()
}
