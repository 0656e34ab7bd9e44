//! A flag for every setting, made from the table of settings.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Config, Flag, names};

/// Settings given on the command line, and the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides {
    /// `--config`.
    pub(super) config: Option<PathBuf>,
    /// Every other flag.
    pub(super) flags: Vec<Flag>,
}

/// One setting's flag.
struct Setting {
    section: &'static str,
    name: &'static str,
    flag: String,
    short: Option<&'static str>,
    help: String,
    heading: String,
}

static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let config = Config::default();
    let sections = Config::SECTIONS
        .iter()
        .filter_map(|(section, _)| Some((*section, config.section(section)?.fields())));
    sections
        .flat_map(|(section, fields)| {
            fields.into_iter().map(move |field| {
                let meaning = field.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
                Setting {
                    section,
                    name: field.name,
                    flag: names::flag(section, field.name),
                    short: names::short_flag(section, field.name),
                    help: format!("{meaning} [{}; default: {}]", field.allowed, field.default),
                    heading: format!("Settings of [{section}]"),
                }
            })
        })
        .collect()
});

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings [env: FILATURE_CONFIG]");
        SETTINGS.iter().fold(command.arg(file), |command, setting| {
            // The few with a short name lead the help; the rest wait for `--help`.
            let arg = Arg::new(setting.flag.as_str())
                .long(setting.short.unwrap_or(&setting.flag))
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .help(setting.help.as_str());
            command.arg(match setting.short {
                Some(_) => arg.alias(setting.flag.as_str()),
                None => arg.help_heading(setting.heading.as_str()).hide_short_help(true),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let flags = SETTINGS.iter().filter_map(|setting| {
            Some(Flag {
                flag: format!("--{}", setting.short.unwrap_or(&setting.flag)),
                section: setting.section.to_owned(),
                name: setting.name.to_owned(),
                value: matches.get_one::<String>(&setting.flag)?.clone(),
            })
        });
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned(),
            flags: flags.collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
