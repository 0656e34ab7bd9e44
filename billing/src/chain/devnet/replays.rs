//! Writes down what the devnet executes, as it does, for another executor to run again (`billing/contracts/replays.mjs`).

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;
use tycho_types::cell::CellBuilder;

use super::DevnetError;
use super::record::Record;
use super::state::{State, damaged};
use crate::chain::ChainError;
use crate::chain::cell::write_base64;
use crate::chain::message::External;

/// The variable that names the folder.
const FOLDER: &str = "FILATURE_REPLAYS";
/// Devnets of this process so far that write.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A devnet's file: one JSON object a line. The first holds the configuration too.
pub(super) struct Replays {
    file: File,
    /// The configuration, until it is written.
    config: Option<String>,
}

/// An external message that its account did not take, and would not take elsewhere either.
#[derive(Serialize)]
struct Refusal {
    shard_account_before: String,
    message: String,
    now: u32,
    lt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_boc: Option<String>,
    refused: bool,
    /// The contract's exit code; `None` where none ran.
    exit_code: Option<i32>,
}

impl Replays {
    /// A new file, if the environment names a folder for it.
    pub(super) fn wanted(config: impl FnOnce() -> String) -> Result<Option<Self>, DevnetError> {
        let Some(folder) = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()) else {
            return Ok(None);
        };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(&folder).join(format!("{}-{count}.jsonl", std::process::id()));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| DevnetError::Folder(format!("{}: {error}", path.display())))?;
        Ok(Some(Self {
            file,
            config: Some(config()),
        }))
    }

    /// Adds what a block has executed. Whole lines in one write, so that a process that is killed leaves no half of one.
    pub(super) fn write(&mut self, records: &[Arc<Record>]) -> Result<(), ChainError> {
        let mut lines = Vec::new();
        for record in records {
            let mut replay = record.replay().map_err(|error| unwritten(&error))?;
            replay.config_boc = self.config.take();
            serde_json::to_writer(&mut lines, &replay).map_err(|error| unwritten(&error))?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines).map_err(|error| unwritten(&error))
    }

    /// Adds a message from outside that was refused with this exit code.
    pub(super) fn write_refused(
        &mut self,
        state: &State,
        message: &External,
        now: u32,
        exit_code: Option<i32>,
    ) -> Result<(), ChainError> {
        let before = CellBuilder::build_from(state.shard(message.to, u32::MAX)?).map_err(damaged)?;
        let refusal = Refusal {
            shard_account_before: write_base64(before.as_ref()),
            message: write_base64(message.cell.as_ref()),
            now,
            lt: state.lt.to_string(),
            config_boc: self.config.take(),
            refused: true,
            exit_code,
        };
        let mut line = serde_json::to_vec(&refusal).map_err(|error| unwritten(&error))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &dyn std::fmt::Display) -> ChainError {
    ChainError::Unavailable(format!("a replay: {error}"))
}
