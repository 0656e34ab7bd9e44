//! TON over HTTP: toncenter's API v3, as toncenter.com, other hosts of the same programs, and our devnet speak it.
//!
//! Answers are the index's, not the newest block's. The first endpoint that is not resting is asked, since each has its
//! own head; one that failed rests, longer each time, and then the next one's turn comes. What an endpoint says is bounded, read strictly, and checked for gaps; that it is true cannot be seen from here.

mod endpoint;
mod http;
mod read;
mod stack;

#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use self::endpoint::{BadEndpoint, Endpoint};
use self::endpoint::{Pace, choose};
use self::http::{Http, Request};
pub(super) use self::stack::StackEntry;
use super::address::Address;
use super::cell::write_base64;
use super::message::External;
use super::transaction::check_page;
use super::{AccountState, Chain, ChainError, Head, PAGE_MAX, Position, Transaction, Value};
use crate::hash::Hash;

/// How toncenter is asked.
#[derive(Clone, Debug)]
pub struct ToncenterSettings {
    /// Whom to ask, the first first.
    pub endpoints: Vec<Endpoint>,
    /// An endpoint that has not answered by then is given up.
    pub attempt_timeout: Duration,
    /// A question that is not answered by then is given up.
    pub question_timeout: Duration,
    /// How long an endpoint that failed is left alone; longer each time, until it answers.
    pub rest: Duration,
}

impl ToncenterSettings {
    /// The usual patience with these endpoints.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints,
            attempt_timeout: Duration::from_secs(10),
            question_timeout: Duration::from_secs(30),
            rest: Duration::from_millis(250),
        }
    }
}

/// The chain as HTTP endpoints tell it.
#[derive(Debug)]
pub struct Toncenter {
    settings: ToncenterSettings,
    http: Http,
    paces: Mutex<Vec<Pace>>,
}

impl Toncenter {
    /// Nobody is asked yet.
    ///
    /// # Errors
    /// [`BadEndpoint::None`] without endpoints; [`BadEndpoint::Tls`] if TLS cannot be set up.
    pub fn new(settings: ToncenterSettings) -> Result<Self, BadEndpoint> {
        if settings.endpoints.is_empty() {
            return Err(BadEndpoint::None);
        }
        let now = Instant::now();
        let paces = settings.endpoints.iter().map(|_| Pace::new(now)).collect();
        Ok(Self {
            http: Http::new()?,
            paces: Mutex::new(paces),
            settings,
        })
    }

    /// Asks one endpoint after the other until one gives an answer that can be read.
    async fn ask<T>(
        &self,
        request: Request,
        read: impl Fn(&[u8]) -> Result<T, ChainError> + Send + Sync,
    ) -> Result<T, ChainError> {
        let deadline = self.after(self.settings.question_timeout);
        let mut last = ChainError::Unavailable("no endpoint is ready".into());
        // Each once, and the first again: a single endpoint is given a second chance.
        for _ in 0..=self.settings.endpoints.len() {
            let chosen = choose(
                &mut self.paces.lock(),
                &self.settings.endpoints,
                Instant::now(),
                deadline,
            );
            let Some((place, start)) = chosen else { break };
            let Some(endpoint) = self.settings.endpoints.get(place) else {
                break;
            };
            sleep_until(start).await;
            let until = self.after(self.settings.attempt_timeout).min(deadline);
            let asked = timeout_at(until, self.http.ask(endpoint, &request)).await;
            let late = |_| Err(ChainError::Unavailable(format!("{endpoint} did not answer in time")));
            let answer = asked.unwrap_or_else(late).and_then(|body| read(&body));
            let sound = matches!(answer, Ok(_) | Err(ChainError::Refused { .. }));
            if let Some(pace) = self.paces.lock().get_mut(place) {
                pace.answered(sound, self.settings.rest, Instant::now());
            }
            match answer {
                Err(error) if !sound => {
                    tracing::warn!(%endpoint, %error, "an endpoint of the chain failed");
                    last = error;
                }
                answer => return answer,
            }
        }
        Err(last)
    }

    fn after(&self, wait: Duration) -> Instant {
        let now = Instant::now();
        now.checked_add(wait).unwrap_or(now)
    }
}

#[async_trait::async_trait]
impl Chain for Toncenter {
    async fn head(&self) -> Result<Head, ChainError> {
        self.ask(Request::get("masterchainInfo", &[]), read::head).await
    }

    async fn send(&self, message: &[u8]) -> Result<Hash, ChainError> {
        let external = External::read(message)?;
        let boc = write_base64(external.cell.as_ref());
        let sent = self.ask(Request::post("message", &json!({ "boc": boc })), |_| Ok(()));
        match sent.await {
            // It arrived before, and waits for its block.
            Err(ChainError::Refused { reason, .. }) if reason.contains("duplicate message") => {}
            sent => sent?,
        }
        Ok(external.hash)
    }

    async fn account(&self, address: Address) -> Result<AccountState, ChainError> {
        let parameters = [("address", address.to_string()), ("include_boc", "true".into())];
        let request = Request::get("accountStates", &parameters);
        self.ask(request, |body| read::account(address, body)).await
    }

    async fn transactions(
        &self,
        address: Address,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Transaction>, ChainError> {
        let limit = limit.min(PAGE_MAX);
        let parameters = [
            ("account", address.to_string()),
            ("start_lt", after.lt.saturating_add(1).to_string()),
            ("sort", "asc".into()),
            ("limit", limit.to_string()),
        ];
        let request = Request::get("transactions", &parameters);
        let read = |body: &[u8]| {
            let mut page = read::transactions(body)?;
            page.truncate(limit);
            check_page(address, after, &page)?;
            Ok(page)
        };
        self.ask(request, read).await
    }

    async fn get(&self, address: Address, method: &str, stack: &[Value]) -> Result<Vec<Value>, ChainError> {
        let stack: Vec<_> = stack.iter().map(StackEntry::of).collect();
        let asked = json!({ "address": address, "method": method, "stack": stack });
        let request = Request::post("runGetMethod", &asked);
        self.ask(request, |body| read::stack(method, body)).await
    }
}
