//! Addresses: what people write, what of it is refused, and how it is written back.
//!
//! Forms: raw `0:` and 64 hex digits, and the user-friendly 48 characters of base64 (TEP-2), whose first byte says whether
//! a transfer should bounce and whether the address is meant for the testnet, and whose last two are a checksum.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes, Store};
use tycho_types::crc::crc_16;

use tycho_types::models::{IntAddr, StateInit, StdAddr};

use super::CellError;

/// Characters of a user-friendly address: 36 bytes in base64.
const FRIENDLY_CHARS: usize = 48;
/// First byte of a user-friendly address that asks for bouncing transfers (TEP-2).
const BOUNCEABLE: u8 = 0x11;
/// First byte of one that asks for transfers that stay.
const NON_BOUNCEABLE: u8 = 0x51;
/// Added to the first byte of an address that is not for the mainnet.
const TESTNET: u8 = 0x80;
/// Where wallets and contracts live.
const BASECHAIN: i8 = 0;
/// Where validators, the elector and the configuration live.
const MASTERCHAIN: i8 = -1;

/// Which chain it is. Keys and addresses of one should not be used on the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The chain where a coin is money.
    Mainnet,
    /// A chain for trying: TON's testnet, or a devnet.
    Testnet,
}

/// An account's address: workchain and 256 bits. Its text is the raw form, `0:` and 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    workchain: i8,
    id: [u8; 32],
}

/// An address as somebody wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrittenAddress {
    /// The account.
    pub address: Address,
    /// Whether the writer asked for transfers that bounce; raw addresses do not say.
    pub bounceable: Option<bool>,
}

/// Why a text is not an address that can be paid. Worded for the person who typed it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadAddress {
    /// Neither form.
    #[error("an address is 48 characters such as UQ…, or 0: and 64 hex digits")]
    Malformed,
    /// The two last bytes do not fit the others.
    #[error("the address is mistyped: its checksum does not fit")]
    Checksum,
    /// The first byte is none of those that are defined.
    #[error("the address begins with unknown flags")]
    Flags,
    /// A testnet address on the mainnet.
    #[error("this is an address for the testnet (kQ… or 0Q…), and coins sent to it on the mainnet might be lost")]
    Testnet,
    /// Another workchain.
    #[error("the address is in workchain {0}, and only workchain 0 can be paid")]
    Workchain(i8),
    /// The address of nobody.
    #[error("this is the zero address: what is sent there is lost")]
    Zero,
}

impl Address {
    /// The account `id` of the basechain.
    #[must_use]
    pub const fn basechain(id: [u8; 32]) -> Self {
        Self {
            workchain: BASECHAIN,
            id,
        }
    }

    /// The zero address of the masterchain, which new coins come from.
    pub(super) const MINT: Self = Self {
        workchain: MASTERCHAIN,
        id: [0; 32],
    };

    /// The workchain.
    #[must_use]
    pub const fn workchain(&self) -> i8 {
        self.workchain
    }

    /// The 256 bits.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Reads an address that is to be paid on `network`.
    ///
    /// # Errors
    /// [`BadAddress`]
    pub fn parse(text: &str, network: Network) -> Result<WrittenAddress, BadAddress> {
        let text = text.trim();
        let written = match text.len() {
            FRIENDLY_CHARS => friendly(text, network)?,
            _ => WrittenAddress {
                address: text.parse()?,
                bounceable: None,
            },
        };
        let Self { workchain, id } = written.address;
        if workchain != BASECHAIN {
            return Err(BadAddress::Workchain(workchain));
        }
        if id == [0; 32] {
            return Err(BadAddress::Zero);
        }
        Ok(written)
    }

    /// The user-friendly form.
    #[must_use]
    pub fn friendly(&self, bounceable: bool, network: Network) -> String {
        let flags = if bounceable { BOUNCEABLE } else { NON_BOUNCEABLE };
        let flags = match network {
            Network::Mainnet => flags,
            Network::Testnet => flags | TESTNET,
        };
        let mut bytes = vec![flags, self.workchain.cast_unsigned()];
        bytes.extend_from_slice(&self.id);
        let checksum = crc_16(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        URL_SAFE.encode(bytes)
    }

    /// Where a contract with this code and data is deployed.
    ///
    /// # Errors
    /// If they do not fit a cell, which those of no contract do not.
    pub fn of_contract(init: &StateInit) -> Result<Self, CellError> {
        let hash = CellBuilder::build_from(init)?;
        Ok(Self::basechain(hash.repr_hash().0))
    }

    /// Writes the address into a cell, as contracts read it.
    ///
    /// # Errors
    /// If there is no room for its 267 bits.
    pub fn store(&self, cell: &mut CellBuilder) -> Result<(), CellError> {
        self.std().store_into(cell, Cell::empty_context())
    }

    pub(super) fn of(address: &StdAddr) -> Self {
        Self {
            workchain: address.workchain,
            id: address.address.0,
        }
    }

    /// The address in a message; `None` for a form that no account of today has.
    pub(super) fn of_int(address: &IntAddr) -> Option<Self> {
        match address {
            IntAddr::Std(address) if address.anycast.is_none() => Some(Self::of(address)),
            _ => None,
        }
    }

    pub(super) fn std(&self) -> StdAddr {
        StdAddr::new(self.workchain, HashBytes(self.id))
    }
}

fn friendly(text: &str, network: Network) -> Result<WrittenAddress, BadAddress> {
    let engine = if text.contains(['+', '/']) { STANDARD } else { URL_SAFE };
    let bytes = engine.decode(text).map_err(|_| BadAddress::Malformed)?;
    let (said, checksum) = bytes.split_last_chunk::<2>().ok_or(BadAddress::Malformed)?;
    if crc_16(said) != u16::from_be_bytes(*checksum) {
        return Err(BadAddress::Checksum);
    }
    let ([flags, workchain], id) = said.split_first_chunk::<2>().ok_or(BadAddress::Malformed)?;
    let bounceable = match *flags & !TESTNET {
        BOUNCEABLE => true,
        NON_BOUNCEABLE => false,
        _ => return Err(BadAddress::Flags),
    };
    if *flags & TESTNET != 0 && network == Network::Mainnet {
        return Err(BadAddress::Testnet);
    }
    let address = Address {
        workchain: workchain.cast_signed(),
        id: id.try_into().map_err(|_| BadAddress::Malformed)?,
    };
    Ok(WrittenAddress {
        address,
        bounceable: Some(bounceable),
    })
}

impl FromStr for Address {
    type Err = BadAddress;

    /// Reads the raw form, of any workchain, in either case: what APIs write.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (workchain, id) = text.split_once(':').ok_or(BadAddress::Malformed)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(id, &mut bytes).map_err(|_| BadAddress::Malformed)?;
        let canonical = |number: &i8| number.to_string() == workchain;
        let workchain = workchain.parse::<i8>().ok().filter(canonical);
        Ok(Self {
            workchain: workchain.ok_or(BadAddress::Malformed)?,
            id: bytes,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.workchain, hex::encode(self.id)))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
