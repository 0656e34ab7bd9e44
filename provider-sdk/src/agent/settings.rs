//! What an agent needs to know. Decides what settings are sound; where they come from (file, environment, flags) is
//! decided in the files below, and a program that embeds agents fills them in itself.

mod file;
mod flags;
mod resolve;
mod url;

use std::time::Duration;

use http::HeaderValue;
use rustls::pki_types::CertificateDer;

pub use self::flags::{Flags, ModelFlags};
pub use self::resolve::{resolve, resolve_offer, unknown_environment};
pub use self::url::{BadUrl, BaseUrl};
use crate::dialect::Dialect;
use crate::identity::ProviderKey;
use crate::offer::{ModelOffer, OFFER_VERSION, Offer};

/// The most gateways one agent dials.
const GATEWAYS_MAX: usize = 64;
/// How long running calls may take to end, where nothing else is said.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
/// How long an offer holds, where nothing else is said. It is renewed at half its life; the rest is how long a gateway
/// may go on with an offer whose agent it cannot hear.
pub const OFFER_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest life of an offer that leaves time to renew it.
const OFFER_LIFETIME_MIN: Duration = Duration::from_secs(60);

/// Everything one agent works by.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The provider's key.
    pub key: ProviderKey,
    /// What people call the provider.
    pub name: String,
    /// The gateways to dial; one tunnel each.
    pub gateways: Vec<BaseUrl>,
    /// The engine to forward to.
    pub engine: BaseUrl,
    /// What the engine asks for in `Authorization`; see [`AgentSettings::set_engine_api_key`].
    pub engine_authorization: Option<HeaderValue>,
    /// How the engine is spoken to; `None`: the agent asks it what it is.
    pub dialect: Option<Dialect>,
    /// Read the engine's own `/metrics` for what runs and waits in it.
    pub engine_metrics: bool,
    /// What is for sale.
    pub models: Vec<ModelOffer>,
    /// The TON address that earnings go to.
    pub payout: Option<String>,
    /// How long an offer holds.
    pub offer_lifetime: Duration,
    /// How long a drain may take.
    pub drain_deadline: Duration,
    /// Root certificates to trust beside the public ones.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// End with an error instead of dialling again.
    pub once: bool,
}

impl AgentSettings {
    /// Settings with a default for all that has one: no API key, the engine asked what it is and its metrics read, no
    /// payout address, an offer of a day, 30 s to drain, public roots only, dialling for ever.
    pub fn new(
        key: ProviderKey,
        name: impl Into<String>,
        engine: BaseUrl,
        gateways: Vec<BaseUrl>,
        models: Vec<ModelOffer>,
    ) -> Self {
        Self {
            key,
            name: name.into(),
            gateways,
            engine,
            engine_authorization: None,
            dialect: None,
            engine_metrics: true,
            models,
            payout: None,
            offer_lifetime: OFFER_LIFETIME,
            drain_deadline: DRAIN_DEADLINE,
            extra_roots: Vec::new(),
            once: false,
        }
    }

    /// Sends `Authorization: Bearer <api_key>` to the engine. The value is kept out of `Debug` and logs.
    ///
    /// # Errors
    /// [`http::header::InvalidHeaderValue`] if the key has characters that no header may have.
    pub fn set_engine_api_key(&mut self, api_key: &str) -> Result<(), http::header::InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {api_key}"))?;
        value.set_sensitive(true);
        self.engine_authorization = Some(value);
        Ok(())
    }

    /// The offer these settings make. Where they leave it open what the engine is, the offer says nothing of what only
    /// the engine can tell.
    pub fn offer(&self, sequence: u64, expires_at_ms: u64) -> Offer {
        let mut offer = Offer {
            version: OFFER_VERSION,
            provider: self.key.public(),
            name: self.name.clone(),
            models: self.models.clone(),
            payout: self.payout.clone(),
            sequence,
            expires_at_ms,
        };
        if self.dialect.is_some_and(Dialect::continues) {
            offer.add_continue();
        }
        offer
    }

    /// Everything that is wrong with the settings, each in a sentence; empty if they can work.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.gateways.is_empty() {
            problems.push("no gateway is given: at least one is needed to serve".to_owned());
        }
        if self.gateways.len() > GATEWAYS_MAX {
            problems.push(format!(
                "{} gateways are given: at most {GATEWAYS_MAX} are dialled",
                self.gateways.len()
            ));
        }
        problems.extend(self.offer_problems());
        problems
    }

    /// The part of [`AgentSettings::problems`] that concerns the offer.
    pub(crate) fn offer_problems(&self) -> Vec<String> {
        let offer = self.offer(0, 0);
        let broken = offer
            .problems()
            .into_iter()
            .map(|(field, rule)| format!("{field} is out of bounds: {rule}"));
        let mut problems: Vec<_> = broken.collect();
        if self.offer_lifetime < OFFER_LIFETIME_MIN {
            problems.push(format!("an offer holds at least {} s", OFFER_LIFETIME_MIN.as_secs()));
        }
        problems
    }

    /// The most calls at once: what all models together allow.
    pub fn calls_max(&self) -> u32 {
        self.models
            .iter()
            .fold(0, |sum: u32, model| sum.saturating_add(model.concurrency_max))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::offer::tests::offer;

    /// Sound settings that lead nowhere.
    pub(crate) fn settings() -> AgentSettings {
        let key = ProviderKey::generate(&mut rand::rng());
        let models = offer(&key).models;
        let (engine, gateway) = (
            "http://127.0.0.1:9001".parse().unwrap(),
            "http://127.0.0.1:8080".parse().unwrap(),
        );
        AgentSettings::new(key, "test", engine, vec![gateway], models)
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut bad = settings();
        assert_eq!(bad.problems(), Vec::<String>::new());
        bad.gateways.clear();
        bad.name.clear();
        bad.models[1].concurrency_max = 0;
        bad.offer_lifetime = Duration::from_secs(1);
        let problems = bad.problems();
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn debug_shows_no_api_key() {
        let mut settings = settings();
        settings.set_engine_api_key("sk-secret").unwrap();
        assert!(!format!("{settings:?}").contains("sk-secret"));
        assert!(settings.set_engine_api_key("two\nlines").is_err());
    }
}
