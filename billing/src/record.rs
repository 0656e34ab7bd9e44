//! The usage record: what one call was, what it cost and who earned it. Written once, never changed.
//!
//! It holds no prompt and no completion. Which numbers are right is the gateway's business (`meter`); whether they add
//! up is checked here, before any money moves.

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::hash::Hash;
use crate::id::{AccountId, CallId, KeyId, ProviderId};
use crate::money::{FeeBps, Nano};
use crate::price::{Price, Tokens};
use crate::served::Served;

/// Most providers that can have a share in one call.
const LEGS_MAX: usize = 16;
/// Longest text in a record, in bytes: a model's name is the longest.
const TEXT_BYTES_MAX: usize = 256;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallOutcome {
    /// The caller got the whole answer.
    Completed,
    /// The caller left first, and pays for what was produced until the provider was stopped.
    Cancelled,
    /// The providers broke off and nobody finished the answer.
    Broken,
}

/// One call, settled.
///
/// Here and in all that it holds, fields stand in the order of their names, as canonical JSON wants them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Who pays.
    pub account: AccountId,
    /// The tokens that were charged.
    pub billed: Tokens,
    /// Which call.
    pub call: CallId,
    /// The tokens the provider claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Tokens>,
    /// What the caller pays.
    pub cost: Nano,
    /// The tokens the gateway counted or bounded.
    pub counted: Tokens,
    /// How they were counted: the tokenizer's name, or `bytes` where they were only bounded.
    pub counted_by: String,
    /// When the call arrived, in Unix milliseconds.
    pub created_ms: u64,
    /// When its last byte left, in Unix milliseconds.
    pub ended_ms: u64,
    /// The path it was made to, such as `/v1/chat/completions`.
    pub endpoint: String,
    /// The operator's part of `cost`.
    pub fee: Nano,
    /// The operator's share.
    pub fee_bps: FeeBps,
    /// The engine's own word for why it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Milliseconds from arrival to the first token; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// The key it was made with.
    pub key: KeyId,
    /// Who served it, in order; each is paid its own part.
    pub legs: Vec<Leg>,
    /// The model the caller asked for.
    pub model: String,
    /// The hash of the caller's nonce ([`crate::Nonce::hash`]): so the caller can tell that its copy has the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce_hash: Option<Hash>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The upper bound the call was held to.
    pub quote: Nano,
    /// The request as the caller sent it, hashed with the caller's nonce ([`crate::Nonce::request`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<Hash>,
    /// The answer as the caller got it, hashed with the caller's nonce ([`crate::Nonce::response`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_hash: Option<Hash>,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// The form of this record: [`UsageRecord::VERSION`], or 1, which has no hashes and no provider's signature.
    pub version: u32,
}

/// One provider's part in a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Leg {
    /// What the caller pays for its part.
    pub cost: Nano,
    /// The provider's part of `cost`.
    pub earned: Nano,
    /// The operator's part of `cost`.
    pub fee: Nano,
    /// Bytes of the answer's text that came before its part: above 0 where it went on from another.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from_byte: u64,
    /// What it asked when the call was planned.
    pub price: Price,
    /// Who served.
    pub provider: ProviderId,
    /// How the provider says its weights are quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// The provider's own signature over what it served, where it gave one that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// The tokens it is paid for.
    pub tokens: Tokens,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why a record must not move money.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// A form this program does not know.
    #[error("the record is of version {0}, which is unknown here")]
    Version(u32),
    /// The record has something that its version has not.
    #[error("a record of version {0} has no {1}")]
    Newer(u32, &'static str),
    /// The cost is not the sum of its legs.
    #[error("the cost of the call is not the sum of its legs")]
    Cost,
    /// The fee is not the sum of its legs' fees.
    #[error("the fee of the call is not the sum of its legs' fees")]
    Fee,
    /// A leg's fee and earnings are not its cost.
    #[error("fee and earnings of leg {0} do not make its cost")]
    Leg(usize),
    /// The cost is above the quote.
    #[error("the cost of {cost} is above the quote of {quote}")]
    AboveQuote {
        /// What was to be charged.
        cost: Nano,
        /// The most that may be charged.
        quote: Nano,
    },
    /// A number, a text or the list of legs is too large.
    #[error("{0} is too large for a record")]
    TooLarge(&'static str),
}

impl UsageRecord {
    /// The form that this program writes.
    pub const VERSION: u32 = 2;

    /// Whether the record adds up: cost and fee are the sums of the legs, in each leg fee and earnings make the cost,
    /// the cost is within the quote, and every number is one that all JSON readers keep exact.
    ///
    /// # Errors
    /// [`RecordError`] says what does not.
    pub fn check(&self) -> Result<(), RecordError> {
        self.check_version()?;
        self.check_sizes()?;
        for (at, leg) in self.legs.iter().enumerate() {
            if leg.fee.plus(leg.earned) != Ok(leg.cost) {
                return Err(RecordError::Leg(at));
            }
        }
        if Nano::sum(self.legs.iter().map(|leg| leg.cost)) != Ok(self.cost) {
            return Err(RecordError::Cost);
        }
        if Nano::sum(self.legs.iter().map(|leg| leg.fee)) != Ok(self.fee) {
            return Err(RecordError::Fee);
        }
        if self.cost > self.quote {
            return Err(RecordError::AboveQuote {
                cost: self.cost,
                quote: self.quote,
            });
        }
        Ok(())
    }

    /// Writes it in canonical JSON (RFC 8785): what a receipt signs, and the record's line in its epoch.
    ///
    /// # Errors
    /// None that a record can cause.
    pub(crate) fn write_canonical(&self, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        canonical::write(self, into)
    }

    fn check_version(&self) -> Result<(), RecordError> {
        if self.version == 0 || self.version > Self::VERSION {
            return Err(RecordError::Version(self.version));
        }
        if self.version == 1 && self.hashes().any(|hash| hash.is_some()) {
            return Err(RecordError::Newer(1, "hash of request, response or nonce"));
        }
        if self.version == 1 && self.legs.iter().any(|leg| leg.served.is_some()) {
            return Err(RecordError::Newer(1, "signature of a provider"));
        }
        Ok(())
    }

    fn hashes(&self) -> impl Iterator<Item = Option<Hash>> {
        [self.request_hash, self.response_hash, self.nonce_hash].into_iter()
    }

    fn check_sizes(&self) -> Result<(), RecordError> {
        if self.legs.len() > LEGS_MAX {
            return Err(RecordError::TooLarge("the list of legs"));
        }
        let finish_reason = self.finish_reason.as_deref().unwrap_or_default();
        let texts = [self.endpoint.as_str(), &self.model, finish_reason, &self.counted_by];
        let quantizations = self.legs.iter().filter_map(|leg| leg.quantization.as_deref());
        if texts
            .into_iter()
            .chain(quantizations)
            .any(|text| text.len() > TEXT_BYTES_MAX)
        {
            return Err(RecordError::TooLarge("a text"));
        }
        if self.legs.iter().any(|leg| leg.from_byte > Nano::MAX.get()) {
            return Err(RecordError::TooLarge("a place in the text"));
        }
        let times = [self.created_ms, self.ended_ms, self.first_token_ms.unwrap_or_default()];
        if times.into_iter().any(|ms| ms > Nano::MAX.get()) {
            return Err(RecordError::TooLarge("a time"));
        }
        let claimed = self.claimed.unwrap_or_default();
        let served = self.legs.iter().filter_map(|leg| leg.served.as_ref());
        if served.clone().any(|served| !served.is_well_formed()) {
            return Err(RecordError::TooLarge("a provider's signature"));
        }
        let tokens = [claimed, self.counted, self.billed]
            .into_iter()
            .chain(self.legs.iter().map(|leg| leg.tokens))
            .chain(served.filter_map(|served| served.tokens));
        if tokens
            .map(|tokens| tokens.largest())
            .any(|count| count > Nano::MAX.get())
        {
            return Err(RecordError::TooLarge("a count of tokens"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nano(n: u64) -> Nano {
        Nano::new(n).expect("small")
    }

    /// A call served by two providers, for 100 and 23 nano.
    pub(crate) fn example() -> UsageRecord {
        let tokens = Tokens {
            prompt: 10,
            cached_prompt: 2,
            completion: 5,
            reasoning: 1,
        };
        let leg = |provider: &str, cost: u64, fee: u64| Leg {
            provider: ProviderId::parse(provider).expect("an id"),
            from_byte: 0,
            quantization: None,
            price: Price {
                call: nano(cost),
                ..Price::default()
            },
            tokens,
            cost: nano(cost),
            fee: nano(fee),
            earned: nano(cost - fee),
            served: None,
        };
        UsageRecord {
            version: UsageRecord::VERSION,
            call: CallId::parse("gen-01HF7YAT000000000000000000").expect("an id"),
            account: AccountId::parse("acct_example").expect("an id"),
            key: KeyId::parse("key_example").expect("an id"),
            endpoint: "/v1/chat/completions".into(),
            model: "small".into(),
            stream: true,
            created_ms: 1_700_000_000_000,
            ended_ms: 1_700_000_000_900,
            first_token_ms: Some(80),
            outcome: CallOutcome::Completed,
            finish_reason: Some("stop".into()),
            legs: vec![leg("a", 100, 5), leg("b", 23, 1)],
            claimed: Some(tokens),
            counted: tokens,
            billed: tokens.plus(&tokens),
            counted_by: "bytes".into(),
            fee_bps: FeeBps::new(500).expect("in range"),
            quote: nano(200),
            cost: nano(123),
            fee: nano(6),
            request_hash: None,
            response_hash: None,
            nonce_hash: None,
        }
    }

    fn check(change: impl FnOnce(&mut UsageRecord), error: RecordError) {
        let mut record = example();
        assert_eq!(record.check(), Ok(()));
        change(&mut record);
        assert_eq!(record.check(), Err(error));
    }

    #[test]
    fn a_record_that_does_not_add_up_is_refused() {
        check(|r| r.version = 3, RecordError::Version(3));
        check(|r| r.version = 0, RecordError::Version(0));
        check(|r| r.cost = nano(122), RecordError::Cost);
        check(|r| r.fee = nano(7), RecordError::Fee);
        check(|r| r.legs[1].earned = nano(23), RecordError::Leg(1));
        check(|r| drop(r.legs.pop()), RecordError::Cost);
        check(
            |r| r.quote = nano(122),
            RecordError::AboveQuote {
                cost: nano(123),
                quote: nano(122),
            },
        );
    }

    #[test]
    fn a_record_that_would_lose_digits_is_refused() {
        check(
            |r| r.billed.completion = 1 << 53,
            RecordError::TooLarge("a count of tokens"),
        );
        check(
            |r| r.legs[0].tokens.reasoning = u64::MAX,
            RecordError::TooLarge("a count of tokens"),
        );
        check(|r| r.ended_ms = 1 << 53, RecordError::TooLarge("a time"));
        check(|r| r.model = "m".repeat(257), RecordError::TooLarge("a text"));
        check(
            |r| r.legs = vec![r.legs[0].clone(); 17],
            RecordError::TooLarge("the list of legs"),
        );
    }

    proptest! {
        #[test]
        fn a_record_is_written_in_canonical_json(
            text in any::<String>(),
            flags: [bool; 8],
            number in 0..=Nano::MAX.get(),
        ) {
            let mut record = example();
            let hash = |flag: bool| flag.then(|| Hash::of(text.as_bytes()));
            record.model.clone_from(&text);
            record.endpoint.clone_from(&text);
            record.finish_reason = flags[0].then(|| text.clone());
            record.first_token_ms = flags[1].then_some(number);
            record.claimed = record.claimed.filter(|_| flags[2]);
            (record.request_hash, record.response_hash) = (hash(flags[3]), hash(flags[4]));
            record.nonce_hash = hash(flags[5]);
            record.billed.reasoning = number;
            let leg = &mut record.legs[0];
            leg.quantization = flags[6].then(|| text.clone());
            leg.from_byte = number;
            leg.price.cached_prompt = nano(number);
            leg.served = flags[7].then(|| Served {
                request_hash: Hash::of(b""),
                response_hash: Hash::of(b""),
                signature: text.clone(),
                tokens: record.claimed,
            });
            canonical::assert_canonical(&record);
        }
    }

    #[test]
    fn a_record_reads_back() {
        let record = example();
        let text = serde_json::to_string(&record).expect("json");
        assert_eq!(serde_json::from_str::<UsageRecord>(&text).expect("record"), record);
    }
}
