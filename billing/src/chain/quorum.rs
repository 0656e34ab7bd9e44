//! Several who tell of the chain, believed only where enough of them say the same.
//!
//! Nothing that they answer is proved. Whoever is believed alone can invent a history: deposits that nobody made, or a message
//! of the wallet in place of the one that has paid, so that it is paid again. With a quorum that takes as many liars who agree
//! with each other. All are asked at once, and an answer is given as soon as enough have given the same, so that one that is
//! slow or down costs nothing while there are others.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};

use super::address::Address;
use super::{AccountState, Chain, ChainError, Head, Position, Transaction, Value};
use crate::hash::Hash;

/// The chain as far as enough of its members agree on it.
pub struct Quorum {
    members: Vec<Arc<dyn Chain>>,
    needed: usize,
}

impl Quorum {
    /// What `needed` of these say counts: at least one, at most all of them.
    #[must_use]
    pub fn new(members: Vec<Arc<dyn Chain>>, needed: usize) -> Self {
        let needed = needed.min(members.len()).max(1);
        Self { members, needed }
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
        Err(self.why(answers, failed.filter_map(Result::err)))
    }

    /// Why nothing counts: too few answered, or they do not agree.
    fn why(&self, answers: usize, mut failed: impl Iterator<Item = ChainError>) -> ChainError {
        match failed.next() {
            Some(error) if answers < self.needed => error,
            _ => {
                let (needed, members) = (self.needed, self.members.len());
                ChainError::Unavailable(format!(
                    "of {members} endpoints {answers} answered, and no {needed} of them say the same yet"
                ))
            }
        }
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
    /// The oldest of the heads that enough have told: none of what they say is older.
    async fn head(&self) -> Result<Head, ChainError> {
        let mut asked = self.ask(|member| member.head());
        let (mut heads, mut failed) = (Vec::new(), Vec::new());
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(head) => heads.push(head),
                Err(error) => failed.push(error),
            }
            if heads.len() >= self.needed {
                let oldest = heads.iter().min_by_key(|head| head.seqno).copied();
                return oldest.ok_or_else(|| ChainError::Unavailable("nobody was asked".into()));
            }
        }
        Err(self.why(heads.len(), failed.into_iter()))
    }

    /// To all, so that no single one can keep it from the chain.
    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError> {
        let message: Arc<[u8]> = message.into();
        let mut sent = self.ask(|member| {
            let message = Arc::clone(&message);
            async move { member.send(&message).await }.boxed()
        });
        let mut told = Vec::new();
        while let Some(answer) = sent.next().await {
            if answer.is_ok() {
                return answer;
            }
            told.extend(answer.err());
        }
        let refused = |error: &ChainError| matches!(error, ChainError::Refused { .. });
        let (refused, failed): (Vec<_>, Vec<_>) = told.into_iter().partition(refused);
        // Whether it arrived is open if any of them could not say.
        let first = failed.into_iter().chain(refused).next();
        Err(first.unwrap_or_else(|| ChainError::Unavailable("nobody was asked".into())))
    }

    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        self.agreed(|member| member.account(address)).await
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
            return Err(self.why(pages.len(), failed.into_iter()));
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
