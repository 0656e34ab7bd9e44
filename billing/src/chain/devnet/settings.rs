//! How a devnet behaves, and why one cannot be had.

use std::path::PathBuf;

use crate::chain::ChainError;

/// How a devnet behaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DevnetSettings {
    /// The folder its history is kept in; only in memory where there is none.
    pub folder: Option<PathBuf>,
    /// Who moves its clock.
    pub time: DevnetTime,
    /// Whether blocks are only made when [`Devnet::block`](super::Devnet::block) says so, rather than whenever a message comes in.
    pub on_demand: bool,
    /// Whether a message between accounts takes a block for each step, as it may between shards.
    pub slow: bool,
}

/// Who moves a devnet's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DevnetTime {
    /// [`Devnet::advance`](super::Devnet::advance), and nothing else.
    #[default]
    Steered,
    /// The machine's clock.
    Wall,
}

/// Why a devnet cannot be opened or written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DevnetError {
    /// The folder cannot be used.
    #[error("the devnet's folder: {0}")]
    Folder(String),
    /// What is in it is not what a devnet wrote.
    #[error("the devnet's file is damaged: {0}")]
    Damaged(String),
}

impl From<DevnetError> for ChainError {
    fn from(error: DevnetError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
