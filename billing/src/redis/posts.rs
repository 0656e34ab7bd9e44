//! The posts of a shard, several in one function call where several come at once: each is charged for itself, and what
//! they have in common is sent and written once.

use std::time::Duration;

use super::connection::{Call, Connection};
use super::keys::{SHARDS, Shard, member};
use super::rows::{nano, packed};
use super::together::Together;
use super::{starts, texts, unexpected};
use crate::calendar::Day;
use crate::ledger::{LedgerError, Posted, UsageSums, other_key};
use crate::limits::bounded;
use crate::record::UsageRecord;

/// Records charged by one call, so that none keeps the server for long: some 25 µs each.
const POSTS_AT_ONCE: usize = 64;

/// What the function answers of one record: a status, then its particulars.
type Answer = Result<Vec<String>, LedgerError>;

/// Where the posts of each shard gather.
pub(super) struct Posts {
    shards: Vec<Together<Post, Answer>>,
    usage_kept: Duration,
}

/// A record on its way, as the function takes it.
struct Post {
    keys: [String; 3],
    args: Vec<Vec<u8>>,
}

impl Posts {
    pub(super) fn new(usage_kept: Duration) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Together::default()).collect(),
            usage_kept,
        }
    }

    pub(super) async fn post(
        &self,
        connection: &Connection,
        record: &UsageRecord,
        now_ms: u64,
    ) -> Result<Posted, LedgerError> {
        record.check()?;
        let shard = Shard::of(&record.account);
        let marker = shard.marker(&member(&record.account, &record.call));
        let post = Post::new(shard, record, now_ms)?;
        let carry = |posts| self.carry(connection, shard, posts);
        let gave_up = || Err(LedgerError::Unavailable("the post was given up on its way".into()));
        let together = self.shards.get(usize::from(shard.name().number()));
        let answer = match together {
            Some(together) => together
                .join(post, POSTS_AT_ONCE, carry)
                .await
                .unwrap_or_else(gave_up)?,
            None => gave_up()?,
        };
        let posted = read(&answer, record)?;
        connection.is_safe(shard, marker).await?;
        Ok(posted)
    }

    async fn carry(&self, connection: &Connection, shard: Shard, posts: Vec<Post>) -> Vec<Answer> {
        let count = posts.len();
        let mut keys = vec![shard.holds(), shard.records(), shard.totals()];
        let mut args = vec![];
        for post in posts {
            keys.extend(post.keys);
            args.extend(post.args);
        }
        let call = Call::new("post", &keys).arg(self.usage_kept.as_secs().max(1));
        let call = args.iter().fold(call, |call, arg| call.arg(arg.as_slice()));
        let answers: Result<Vec<Vec<String>>, _> = connection.call(&call).await;
        match answers {
            Ok(answers) if answers.len() == count => answers.into_iter().map(Ok).collect(),
            Ok(answers) => vec![Err(unexpected(&answers.concat())); count],
            Err(error) => vec![Err(error); count],
        }
    }
}

impl Post {
    fn new(shard: Shard, record: &UsageRecord, now_ms: u64) -> Result<Self, LedgerError> {
        let json =
            serde_json::to_vec(record).map_err(|_| LedgerError::Damaged("the record cannot be written".into()))?;
        let member = member(&record.account, &record.call);
        let keys = [
            shard.account(record.account.as_str()),
            shard.marker(&member),
            shard.usage(&record.account, Day::of(record.created_ms)),
        ];
        let used = record.billed.prompt.saturating_add(record.billed.completion);
        let [day, week, month] = starts(now_ms);
        let [_, prompt, cached, completion, reasoning, cost] = UsageSums::of(record).numbers();
        let numbers = packed([
            u64::try_from(record.legs.len()).unwrap_or(u64::MAX),
            cost,
            bounded(used),
            now_ms,
            day,
            week,
            month,
            Day::of(record.created_ms).number().into(),
            prompt,
            cached,
            completion,
            reasoning,
        ]);
        let mut args = vec![
            member.into_bytes(),
            record.key.as_str().into(),
            json,
            record.model.as_str().into(),
            numbers,
        ];
        for leg in &record.legs {
            args.extend([leg.provider.as_str().into(), packed([leg.fee.get(), leg.earned.get()])]);
        }
        Ok(Self { keys, args })
    }
}

fn read(answer: &[String], record: &UsageRecord) -> Result<Posted, LedgerError> {
    Err(match texts(answer)[..] {
        [status @ ("ok" | "again"), charged, released] => {
            return Ok(Posted {
                fresh: status == "ok",
                charged: nano(charged)?,
                released: nano(released)?,
            });
        }
        ["above_hold", held] => LedgerError::CostAboveHold {
            cost: record.cost,
            held: nano(held)?,
        },
        ["too_large"] => LedgerError::TooLarge("the sum of all costs"),
        ["other_key"] => other_key(&record.call),
        ["unknown_account"] => LedgerError::UnknownAccount(record.account.clone()),
        ["failed", why] => LedgerError::Unavailable(why.to_owned()),
        ["damaged", why] => LedgerError::Damaged(why.to_owned()),
        _ => unexpected(answer),
    })
}
