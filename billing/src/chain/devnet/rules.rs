//! The rules the devnet runs by: the mainnet's configuration of 2026, cut down to what a transaction reads (prices of gas,
//! forwarding and storage, limits, the version of the virtual machine).

use tycho_executor::{ExecutorParams, ParsedConfig};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::models::{
    BlockchainConfig, BlockchainConfigParams, WorkchainDescription, WorkchainFormat, WorkchainFormatBasic,
};

use super::DevnetError;
use crate::chain::CellError;
use crate::chain::cell::{read_cell, write_base64};

/// The configuration's cells, in one bag.
const CONFIG: &[u8] = include_bytes!("config.boc");
/// The parameter that describes the workchains.
const WORKCHAINS: u32 = 12;

/// The parsed configuration.
pub(super) struct Rules {
    pub(super) config: ParsedConfig,
    cell: Cell,
}

impl Rules {
    /// The rules as of `now`, in Unix seconds: prices of storage change with time.
    pub(super) fn new(now: u32) -> Result<Self, DevnetError> {
        let unreadable = |error: CellError| DevnetError::Damaged(format!("the configuration: {error}"));
        let cell = read_cell(CONFIG).map_err(|error| DevnetError::Damaged(error.to_string()))?;
        let config = parse(cell.clone(), now).map_err(unreadable)?;
        Ok(Self { config, cell })
    }

    /// The configuration, in base64.
    pub(super) fn text(&self) -> String {
        write_base64(self.cell.as_ref())
    }

    /// What a block's transactions have in common. The mainnet's choices where the executor leaves one.
    pub(super) fn block(&self, now: u32, lt: u64) -> ExecutorParams {
        ExecutorParams {
            block_unixtime: now,
            block_lt: lt,
            disable_delete_frozen_accounts: true,
            charge_action_fees_on_fail: true,
            strict_extra_currency: true,
            ..ExecutorParams::default()
        }
    }
}

/// Reads the configuration past two places where the executor's crate is behind the mainnet: it knows `workchain#a6` and
/// not `workchain_v2#a7`, so it is shown a plain one while contracts see the original; and it takes the mainnet's limit of
/// a masterchain account's cells for one of an account's bits.
fn parse(cell: Cell, now: u32) -> Result<ParsedConfig, CellError> {
    let params = BlockchainConfigParams::from_raw(cell);
    let address = params.as_dict().get(0)?.ok_or(CellError::InvalidData)?;
    let mut plain = params.clone();
    let mut workchains = Dict::<i32, WorkchainDescription>::new();
    workchains.set(0, basechain())?;
    plain.set_raw(WORKCHAINS, CellBuilder::build_from(workchains)?)?;
    let config = BlockchainConfig {
        address: address.parse()?,
        params: plain,
    };
    let mut config = ParsedConfig::parse(config, now)?;
    config.raw.params = params;
    config.size_limits.max_acc_state_bits = ParsedConfig::DEFAULT_SIZE_LIMITS_CONFIG.max_acc_state_bits;
    Ok(config)
}

fn basechain() -> WorkchainDescription {
    WorkchainDescription {
        enabled_since: 0,
        actual_min_split: 0,
        min_split: 0,
        max_split: 4,
        active: true,
        accept_msgs: true,
        zerostate_root_hash: HashBytes::ZERO,
        zerostate_file_hash: HashBytes::ZERO,
        version: 0,
        format: WorkchainFormat::Basic(WorkchainFormatBasic {
            vm_version: -1,
            vm_mode: 0,
        }),
    }
}
