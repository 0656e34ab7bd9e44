//! What was written where: the file's text, the variables, the flags.

use std::path::Path;

use super::problem::{Origin, Problem, Problems};

/// A file and what it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The path as it was given.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// One setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As typed, with its dashes.
    pub flag: String,
    /// The section it sets.
    pub section: String,
    /// The key it sets.
    pub name: String,
    /// What it sets it to.
    pub value: String,
}

/// Everything a configuration is made of, weakest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<Written>,
    /// The environment; variables that do not begin with `FILATURE_` are passed over.
    pub env: Vec<(String, String)>,
    /// The flags.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// Reads the file named by `--config` (or else by `FILATURE_CONFIG`) and the environment.
    ///
    /// # Errors
    /// One problem when the file cannot be read.
    pub fn gather(config: Option<&Path>, flags: Vec<Flag>) -> Result<Self, Problems> {
        let env: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .collect();
        let from_env = env
            .iter()
            .find(|(name, value)| name == "FILATURE_CONFIG" && !value.is_empty());
        let (path, origin) = match (config, from_env) {
            (Some(path), _) => (path.to_string_lossy().into_owned(), Origin::Flag("--config".to_owned())),
            (None, Some((name, value))) => (value.clone(), Origin::Env(name.clone())),
            (None, None) => return Ok(Self { file: None, env, flags }),
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Problems(vec![Problem {
                origin,
                key: String::new(),
                what: format!("cannot read {path}: {error}"),
                allowed: String::new(),
            }])
        })?;
        Ok(Self {
            file: Some(Written { path, text }),
            env,
            flags,
        })
    }
}
