//! The wallet that pays: v5r1, the newest of TON's standard wallets. Builds, signs and names the one message by which it
//! sends up to [`BATCH_MAX`] transfers.
//!
//! Exactly once: a message is good for one `seqno` and until `valid_until`. The same bytes may be sent any number of times,
//! and the wallet obeys one of them at most; other bytes for the same `seqno` exclude them. Nothing here sends.

mod create;
mod key;
mod order;

#[cfg(test)]
mod tests;

use ed25519_dalek::{Signature, VerifyingKey};
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::{ExtInMsgInfo, MsgInfo, OwnedMessage, StateInit};

pub use self::key::{WalletKey, WalletKeyError};
use self::order::order;
use super::address::{Address, Network};
use super::amount::Coins;
use super::cell::{cell_hash, read_cell, write_cell};
use super::message::{BadComment, Body, External, external_hash};
use super::{AccountState, CellError, Chain, ChainError, EXTERNAL_BYTES_MAX};
use crate::hash::Hash;
use crate::money::Nano;

/// Most transfers in one message. The wallet takes 255 actions; one is left for the sake of other wallets' limits.
pub const BATCH_MAX: usize = 254;
/// More than one payment of a message can cost the wallet in fees, its share of the message included: 0.003 TON, at the
/// mainnet's prices of 2026. Of 254 without a comment each takes a sixteenth of it; the message that deploys the wallet
/// and carries the longest comment takes three quarters.
pub const FEE_MAX: Nano = Nano::saturating(3_000_000);
/// The code of wallet v5r1, as it runs on the mainnet.
const CODE: &[u8] = include_bytes!("wallet/v5r1.boc");
/// Wallet id of the first wallet of a key on the mainnet: global id −239 xor the context (workchain 0, version 0).
const ID_MAINNET: u32 = 0x7fff_ff11;
/// The same for the testnet, global id −3.
const ID_TESTNET: u32 = 0x7fff_fffd;
/// What a signed request begins with: `sign`.
const SIGNED: u32 = 0x7369_676e;
/// The wallet's exit code for a wrong seqno: the message was used before, or its turn has not come.
const WRONG_SEQNO: i32 = 133;
/// Its exit code for a signature that is not its key's.
const WRONG_SIGNATURE: i32 = 135;
/// Its exit code for a message that is too old.
const EXPIRED: i32 = 136;

/// One transfer that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payment {
    /// To whom.
    pub to: Address,
    /// How much. The wallet pays the fees on top.
    pub amount: Nano,
    /// Whether the amount shall come back if there is no contract, or if it fails. Never for an uninitialised payee.
    pub bounce: bool,
    /// What the message says.
    pub body: Body,
    /// Code and data of the contract that is deployed by it.
    pub init: Option<StateInit>,
}

impl Payment {
    /// A plain transfer that stays with the payee, whether it has a contract or not.
    #[must_use]
    pub fn new(to: Address, amount: Nano) -> Self {
        Self {
            to,
            amount,
            bounce: false,
            body: Body::default(),
            init: None,
        }
    }

    /// The same with a comment.
    ///
    /// # Errors
    /// [`BadComment::TooLong`]
    pub fn with_comment(self, comment: &str) -> Result<Self, BadComment> {
        let body = Body::comment_of(comment)?;
        Ok(Self { body, ..self })
    }
}

/// Why a message cannot be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalletError {
    /// None, or more than fit.
    #[error("a message makes 1 to {BATCH_MAX} transfers, not {0}")]
    Count(usize),
    /// The comments are too long for one message.
    #[error("the message would have {0} bytes, and the chain takes {EXTERNAL_BYTES_MAX}")]
    TooLarge(usize),
    /// The signature is not that of the wallet's key.
    #[error("the signature is not that of the wallet's key")]
    Signature,
    /// Cells cannot hold what was asked for.
    #[error("the message cannot be built: {0}")]
    Cells(String),
}

impl From<CellError> for WalletError {
    fn from(error: CellError) -> Self {
        Self::Cells(error.to_string())
    }
}

/// A wallet, known by its public key. It holds no secret.
#[derive(Clone, Debug)]
pub struct Wallet {
    key: VerifyingKey,
    id: u32,
    init: StateInit,
    address: Address,
}

/// A message that lacks its signature.
#[derive(Debug)]
pub struct Unsigned {
    wallet: Wallet,
    request: CellBuilder,
    digest: Hash,
    deploy: bool,
}

/// A message that can be sent, and resent, as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The bag of cells.
    pub bytes: Vec<u8>,
    /// The normalised hash, by which the transaction is found.
    pub hash: Hash,
}

impl Signed {
    /// The message in bytes that were stored.
    ///
    /// # Errors
    /// [`ChainError::Refused`] if they are no external message.
    pub fn of(bytes: Vec<u8>) -> Result<Self, ChainError> {
        let hash = External::read(&bytes)?.hash;
        Ok(Self { bytes, hash })
    }
}

impl Wallet {
    /// The first wallet of a key on a network.
    ///
    /// # Errors
    /// [`WalletError::Cells`], which no key causes.
    pub fn new(key: VerifyingKey, network: Network) -> Result<Self, WalletError> {
        let id = match network {
            Network::Mainnet => ID_MAINNET,
            Network::Testnet => ID_TESTNET,
        };
        let code = read_cell(CODE).map_err(|error| WalletError::Cells(error.to_string()))?;
        let init = StateInit {
            code: Some(code),
            data: Some(data(&key, id)?),
            ..StateInit::default()
        };
        let address = Address::of_contract(&init)?;
        Ok(Self { key, id, init, address })
    }

    /// Its address, the same before and after it is deployed.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The code and data it is deployed with.
    #[must_use]
    pub const fn init(&self) -> &StateInit {
        &self.init
    }

    /// The message that makes `payments` in their order, as the wallet's `seqno`-th, unless it is `valid_until` (Unix
    /// seconds) or later by then. Seqno 0 deploys the wallet.
    ///
    /// A payment the wallet cannot afford is skipped and the others are made: check the balance first, and reconcile.
    ///
    /// # Errors
    /// [`WalletError`]
    pub fn prepare(&self, payments: &[Payment], seqno: u32, valid_until: u32) -> Result<Unsigned, WalletError> {
        if payments.is_empty() || payments.len() > BATCH_MAX {
            return Err(WalletError::Count(payments.len()));
        }
        let mut request = CellBuilder::new();
        request.store_u32(SIGNED)?;
        request.store_u32(self.id)?;
        request.store_u32(valid_until)?;
        request.store_u32(seqno)?;
        // Some list of actions, and no change of the wallet itself.
        request.store_bit_one()?;
        request.store_reference(order(payments)?)?;
        request.store_bit_zero()?;
        Ok(Unsigned {
            wallet: self.clone(),
            digest: cell_hash(request.clone().build()?.as_ref()),
            request,
            deploy: seqno == 0,
        })
    }

    /// The seqno of the wallet's next message, as the chain has it. A wallet that is not deployed has 0.
    ///
    /// # Errors
    /// [`ChainError`]
    pub async fn seqno(&self, chain: &dyn Chain) -> Result<u32, ChainError> {
        if chain.account(self.address).await?.code_hash.is_none() {
            return Ok(0);
        }
        let stack = chain.get(self.address, "seqno", &[]).await?;
        let seqno = stack.first().and_then(super::Value::number);
        seqno.ok_or_else(|| ChainError::damaged("the wallet's seqno is no number"))
    }

    /// The same out of the account's state, without asking again; `None` if it is not a wallet's.
    #[must_use]
    pub fn seqno_in(state: &AccountState) -> Option<u32> {
        let Some(data) = &state.data else {
            return state.code_hash.is_none().then_some(0);
        };
        let mut data = data.as_slice().ok()?;
        data.load_bit().ok()?;
        data.load_u32().ok()
    }

    /// Whether a refusal means that the message's seqno is not the wallet's next: most often, that it was made already.
    #[must_use]
    pub fn refused_seqno(error: &ChainError) -> bool {
        refused_with(error, WRONG_SEQNO)
    }

    /// Whether a refusal means that the message is too old.
    #[must_use]
    pub fn refused_expired(error: &ChainError) -> bool {
        refused_with(error, EXPIRED)
    }

    /// Whether a refusal means that the signature is not that of the wallet's key.
    #[must_use]
    pub fn refused_signature(error: &ChainError) -> bool {
        refused_with(error, WRONG_SIGNATURE)
    }
}

fn refused_with(error: &ChainError, code: i32) -> bool {
    matches!(error, ChainError::Refused { exit_code: Some(exit_code), .. } if *exit_code == code)
}

impl Unsigned {
    /// What is to be signed with the wallet's Ed25519 key, wherever that lives.
    #[must_use]
    pub const fn digest(&self) -> &Hash {
        &self.digest
    }

    /// The message with its signature.
    ///
    /// # Errors
    /// [`WalletError::Signature`] if it is not that of the wallet's key, [`WalletError::TooLarge`]
    pub fn signed(self, signature: &[u8; 64]) -> Result<Signed, WalletError> {
        let checked = Signature::from_bytes(signature);
        let valid = self.wallet.key.verify_strict(self.digest.as_bytes(), &checked);
        valid.map_err(|_| WalletError::Signature)?;
        self.with(signature)
    }

    /// The message with whatever signature.
    pub(super) fn with(self, signature: &[u8; 64]) -> Result<Signed, WalletError> {
        let Self {
            wallet,
            mut request,
            deploy,
            ..
        } = self;
        request.store_raw(signature, 512)?;
        let body = request.build()?;
        let message = OwnedMessage {
            info: MsgInfo::ExtIn(ExtInMsgInfo {
                src: None,
                dst: wallet.address.std().into(),
                import_fee: Coins::ZERO.tokens(),
            }),
            init: deploy.then_some(wallet.init),
            body: body.clone().into(),
            layout: None,
        };
        let bytes = write_cell(CellBuilder::build_from(&message)?.as_ref());
        if bytes.len() > EXTERNAL_BYTES_MAX {
            return Err(WalletError::TooLarge(bytes.len()));
        }
        let hash = external_hash(wallet.address, &Body::new(body))?;
        Ok(Signed { bytes, hash })
    }

    /// The message, signed with a key that is at hand.
    ///
    /// # Errors
    /// As [`Unsigned::signed`].
    pub fn sign(self, key: &WalletKey) -> Result<Signed, WalletError> {
        let signature = key.sign(&self.digest);
        self.signed(&signature)
    }
}

/// The wallet's data before its first message: signatures are allowed, seqno 0, no extensions.
fn data(key: &VerifyingKey, id: u32) -> Result<Cell, WalletError> {
    let mut data = CellBuilder::new();
    data.store_bit_one()?;
    data.store_u32(0)?;
    data.store_u32(id)?;
    data.store_u256(&HashBytes(key.to_bytes()))?;
    data.store_bit_zero()?;
    Ok(data.build()?)
}
