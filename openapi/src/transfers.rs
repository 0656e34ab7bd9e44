//! Paying in and out: `/v1/deposits` and `/v1/withdrawals`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The body of `POST /v1/deposits`. It may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DepositRequest {
    /// How much is to be paid in, in nano: put into the link. Any other amount that arrives is credited all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples(5_000_000_000_u64), minimum = 1)]
    pub amount_nano: Option<u64>,
}

/// How to pay in. It never changes for an account, and may be used any number of times.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DepositInstructions {
    /// Where to send coins.
    #[schema(examples("UQA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2Rr9"))]
    pub address: String,
    /// The transfer's comment: it says whose deposit it is, and without it nobody is credited. Upper and lower case are the
    /// same.
    #[schema(examples("f0123456789abcdefghjk00000"))]
    pub comment: String,
    /// How much, in nano, where the request said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_nano: Option<u64>,
    /// The least that is credited, in nano.
    pub minimum_nano: u64,
    /// `mainnet` or `testnet`.
    #[schema(examples("mainnet"))]
    pub network: String,
    /// A link that a wallet opens as a transfer, filled in.
    #[schema(examples("ton://transfer/UQA_…?amount=5000000000&text=f0123456789abcdefghjk00000"))]
    pub link: String,
    /// The link as a QR code: a drawing in SVG.
    pub qr_svg: String,
}

/// A deposit of the account, or a transfer that named it and was not credited.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DepositShown {
    /// Its name: of a transfer on TON, `ton:`, the transaction's logical time and its hash.
    #[schema(examples("ton:47000001:4f44…"))]
    pub id: String,
    /// `credited` or `refused`.
    #[schema(examples("credited"))]
    pub status: String,
    /// How much, in nano. Absent where it is more than JSON's readers keep exact (2⁵³ − 1); the note says it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples(5_000_000_000_u64))]
    pub amount_nano: Option<u64>,
    /// When it was credited, or, refused, when the chain took it; in RFC 3339.
    pub created_at: String,
    /// Where it came from, for people.
    pub note: String,
    /// Why it was refused: `dust`, `too_large` or `unknown_account`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `GET /v1/deposits`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DepositList {
    /// Those that were credited, the oldest first.
    pub data: Vec<DepositShown>,
    /// What to ask for as `after` to get the next ones; absent where there are none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last 100 transfers that named the account and were not credited, the oldest first. The operator can credit them.
    pub refused: Vec<DepositShown>,
}

/// The body of `POST /v1/withdrawals`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalRequest {
    /// A name of your own, new for each withdrawal: repeated with the same one, nothing more is withdrawn. 1 to 64 letters,
    /// digits, `_`, `-` and `.`.
    #[schema(examples("november-refund"))]
    pub id: String,
    /// How much, in nano.
    #[schema(examples(2_000_000_000_u64))]
    pub amount_nano: u64,
    /// Where to: an address on TON.
    #[schema(examples("UQA_6fh0aRAkD7n1MNfAUx8TvyCUw2iTQfzVM-0isMze2Rr9"))]
    pub address: String,
}

/// A withdrawal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WithdrawalShown {
    /// Its name.
    pub id: String,
    /// `asked`; `sent` once it cannot be given back any more; then `paid` or `returned`.
    #[schema(examples("asked"))]
    pub status: String,
    /// How much, in nano.
    pub amount_nano: u64,
    /// Where to.
    pub address: String,
    /// When it was asked for, in RFC 3339.
    pub created_at: String,
    /// The payer's name for the batch it is paid in, once it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The hash of the transaction that paid it, in hexadecimal: explorers of TON find it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Why it was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer of `GET /v1/withdrawals`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WithdrawalList {
    /// The oldest first.
    pub data: Vec<WithdrawalShown>,
    /// What to ask for as `after` to get the next ones; absent where there are none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
