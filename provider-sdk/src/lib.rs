//! What providers speak. The protocol types (identity, offer, tunnel, dialect) are always compiled and touch neither
//! network nor clock; the feature `agent` adds the program that stands beside an engine and serves a gateway's calls.

pub mod dialect;
pub mod identity;
pub mod offer;
pub mod served;
pub mod tunnel;

#[cfg(feature = "agent")]
pub mod agent;

pub use dialect::{Dialect, UnknownDialect, is_continuable};
pub use identity::{ProviderKey, PublicKey};
pub use offer::{ModelOffer, Offer, OfferError, OfferPrice, SignedOffer};
pub use tunnel::{Hello, HelloError, Status};
