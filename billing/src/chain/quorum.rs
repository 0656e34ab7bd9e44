//! Several who tell of the chain, believed only where enough of them say the same.
//!
//! Nothing that they answer is proved. Whoever is believed alone can invent a history: deposits that nobody made, or a message
//! of the wallet in place of the one that has paid, so that it is paid again. With a quorum that takes as many liars who agree
//! with each other. All are asked at once, and an answer is given as soon as enough have given the same, so that one that is
//! slow or down costs nothing while there are others.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::address::Address;
use super::{AccountState, Chain, ChainError, Head, Position, Transaction, Value};
use crate::hash::Hash;

/// Heads that are no further apart were told at about the same time, in seconds.
const HEADS_APART_S: u32 = 30;
/// An account that changes with each block is asked for again, until enough have told of one and the same state.
const AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

/// The chain as far as enough of its members agree on it.
pub struct Quorum {
    members: Vec<Arc<dyn Chain>>,
    needed: usize,
    again: Duration,
    patience: Duration,
}

impl Quorum {
    /// What `needed` of these say counts: at least one, at most all of them.
    #[must_use]
    pub fn new(members: Vec<Arc<dyn Chain>>, needed: usize) -> Self {
        let needed = needed.min(members.len()).max(1);
        Self {
            members,
            needed,
            again: AGAIN,
            patience: PATIENCE,
        }
    }

    /// Asks for an account so long until enough have told of the same state; ten seconds, if nothing is said.
    #[must_use]
    pub const fn patient_for(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn ask<'a, T>(
        &'a self,
        ask: impl Fn(&'a dyn Chain) -> BoxFuture<'a, Result<T, ChainError>>,
    ) -> FuturesUnordered<BoxFuture<'a, Result<T, ChainError>>> {
        self.members.iter().map(|member| ask(&**member)).collect()
    }

    /// The first answer that enough have given alike. That the chain refused is an answer, too.
    async fn agreed<'a, T: PartialEq>(
        &'a self,
        ask: impl Fn(&'a dyn Chain) -> BoxFuture<'a, Result<T, ChainError>>,
    ) -> Result<T, ChainError> {
        let mut asked = self.ask(ask);
        let mut told = Vec::new();
        while let Some(answer) = asked.next().await {
            let before = told.iter().filter(|other| alike(other, &answer)).count();
            if is_answer(&answer) && before.saturating_add(1) >= self.needed {
                return answer;
            }
            told.push(answer);
        }
        let answers = told.iter().filter(|answer| is_answer(answer)).count();
        let failed = told.into_iter().filter(|answer| !is_answer(answer));
        Err(self.why(answers, failed.filter_map(Result::err).collect()))
    }

    /// Why nothing counts: too few answered, or they do not agree. That the chain is damaged must be said by enough, too.
    fn why(&self, answers: usize, failed: Vec<ChainError>) -> ChainError {
        let damaged = |error: &&ChainError| matches!(error, ChainError::Damaged(_));
        let is_damaged = failed.iter().filter(damaged).count() >= self.needed;
        let told = failed.iter().find(|error| !is_damaged || damaged(error)).cloned();
        match told {
            Some(error) if is_damaged => error,
            Some(error) if answers < self.needed => ChainError::Unavailable(match error {
                ChainError::Unavailable(why) => why,
                error => error.to_string(),
            }),
            _ => {
                let (needed, members) = (self.needed, self.members.len());
                ChainError::Unavailable(format!(
                    "of {members} endpoints {answers} answered, and no {needed} of them say the same yet"
                ))
            }
        }
    }

    /// Asks for an account until enough have told of the same state, or too few answer.
    async fn told_alike(&self, address: Address) -> Result<AccountState, ChainError> {
        let ask = async |number: usize, member: &Arc<dyn Chain>, pause: Duration| {
            sleep(pause).await;
            (number, member.account(address).await)
        };
        let members = self.members.iter().enumerate();
        let mut asked: FuturesUnordered<_> = members
            .map(|(number, member)| ask(number, member, Duration::ZERO))
            .collect();
        let (mut told, mut failed) = (Vec::new(), Vec::new());
        while let Some((number, answer)) = asked.next().await {
            match answer {
                Ok(state) => {
                    told.retain(|other| *other != (number, state.clone()));
                    told.push((number, state.clone()));
                    if told.iter().filter(|(_, other)| *other == state).count() >= self.needed {
                        return Ok(state);
                    }
                    asked.extend(self.members.get(number).map(|member| ask(number, member, self.again)));
                }
                Err(error) => failed.push(error),
            }
            if asked.len() < self.needed {
                break;
            }
        }
        Err(self.why(asked.len(), failed))
    }

    /// The one of these that so many have reached: no fewer than `needed` say it is as much, or more.
    fn reached(&self, mut told: Vec<u32>) -> Option<u32> {
        told.sort_unstable_by(|a, b| b.cmp(a));
        told.get(self.needed.saturating_sub(1)).copied()
    }
}

fn is_answer<T>(answer: &Result<T, ChainError>) -> bool {
    matches!(answer, Ok(_) | Err(ChainError::Refused { .. }))
}

fn alike<T: PartialEq>(one: &Result<T, ChainError>, other: &Result<T, ChainError>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        // In their own words.
        (Err(ChainError::Refused { exit_code: one, .. }), Err(ChainError::Refused { exit_code: other, .. })) => {
            one == other
        }
        _ => false,
    }
}

/// The longest beginning that so many pages have in common.
fn common(pages: &[Vec<Transaction>], needed: usize) -> &[Transaction] {
    let beginnings = pages
        .iter()
        .flat_map(|page| (0..=page.len()).filter_map(|len| page.get(..len)));
    let shared = beginnings.filter(|part| pages.iter().filter(|page| page.starts_with(part)).count() >= needed);
    shared.max_by_key(|part| part.len()).unwrap_or_default()
}

#[async_trait::async_trait]
impl Chain for Quorum {
    /// As far as enough have come. Where they are far apart, all are waited for: a clock that stands still or runs ahead
    /// counts only if there are enough of them.
    async fn head(&self) -> Result<Head, ChainError> {
        let mut asked = self.ask(|member| member.head());
        let (mut heads, mut failed) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(head) => heads.push(head),
                Err(error) => failed.push(error),
            }
            let (newest, oldest) = (
                heads.iter().map(|head: &Head| head.time).max(),
                heads.iter().map(|head| head.time).min(),
            );
            let apart = newest.unwrap_or_default().saturating_sub(oldest.unwrap_or_default());
            if heads.len() >= self.needed && (apart <= HEADS_APART_S || asked.is_empty()) {
                break;
            }
        }
        let seqno = self.reached(heads.iter().map(|head| head.seqno).collect());
        let time = self.reached(heads.iter().map(|head| head.time).collect());
        match (seqno, time) {
            (Some(seqno), Some(time)) => Ok(Head { seqno, time }),
            _ => Err(self.why(heads.len(), failed)),
        }
    }

    /// To all, so that no single one can keep it from the chain: to those, too, that are slower than the first who takes it.
    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError> {
        let message: Arc<[u8]> = message.into();
        let mut sent = JoinSet::new();
        for member in &self.members {
            let (member, message) = (Arc::clone(member), Arc::clone(&message));
            sent.spawn(async move { member.send(&message).await });
        }
        let mut told = Vec::new();
        while let Some(answer) = sent.join_next().await {
            match answer {
                Ok(Ok(hash)) => {
                    sent.detach_all();
                    return Ok(hash);
                }
                Ok(Err(error)) => told.push(error),
                Err(error) => told.push(ChainError::Unavailable(error.to_string())),
            }
        }
        let refused = |error: &ChainError| matches!(error, ChainError::Refused { .. });
        let (refused, failed): (Vec<_>, Vec<_>) = told.into_iter().partition(refused);
        // Whether it arrived is open where too few refuse it and one could not say.
        let told = if refused.len() >= self.needed {
            refused.into_iter().chain(failed).next()
        } else {
            failed.into_iter().chain(refused).next()
        };
        Err(told.unwrap_or_else(|| ChainError::Unavailable("nobody was asked".into())))
    }

    /// The first state that enough have told of, if not at the same moment: one that lags behind comes to it later.
    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        let asking = tokio::time::timeout(self.patience, self.told_alike(address));
        asking
            .await
            .unwrap_or_else(|_| Err(self.why(self.members.len(), Vec::new())))
    }

    /// As far as enough have it. Those that lag behind hold back the others; those that contradict them are an error.
    async fn transactions(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError> {
        let mut asked = self.ask(|member| member.transactions(address, after, limit));
        let (mut pages, mut failed) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(page) => pages.push(page),
                Err(error) => failed.push(error),
            }
            let common = common(&pages, self.needed);
            let none = pages.iter().filter(|page| page.is_empty()).count();
            if !common.is_empty() || none >= self.needed {
                return Ok(common.to_vec());
            }
        }
        let some = pages.iter().filter(|page| !page.is_empty()).count();
        if pages.len() < self.needed || some >= self.needed {
            return Err(self.why(pages.len(), failed));
        }
        Ok(Vec::new())
    }

    async fn get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError> {
        let (method, stack): (Arc<str>, Arc<[Value]>) = (method.into(), stack.into());
        self.agreed(|member| {
            let (method, stack) = (Arc::clone(&method), Arc::clone(&stack));
            async move { member.get(address, &method, &stack).await }.boxed()
        })
        .await
    }
}

#[cfg(test)]
mod tests;
