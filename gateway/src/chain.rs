//! Who is asked about the chain, as the settings say.

use std::sync::Arc;

use filature_billing::chain::{BadEndpoint, Chain, Endpoint, Network, Quorum, Toncenter, ToncenterSettings};

use crate::config::SettlementSettings;

/// What stands for an endpoint without a key in a list of keys.
const NO_KEY: &str = "-";

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum BadEndpoints {
    /// One of them.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// Whose key it is cannot be told.
    #[error("has {keys} of them, and there are {endpoints} endpoints")]
    Keys {
        /// Keys.
        keys: usize,
        /// Endpoints.
        endpoints: usize,
    },
    /// More must agree than there are.
    #[error("is {needed}, and there are {there} endpoints")]
    TooFew {
        /// So many must agree.
        needed: usize,
        /// So many there are.
        there: usize,
    },
    /// One of those who must agree is there twice.
    #[error("names {0} twice, and it would agree with itself")]
    Twice(String),
}

impl BadEndpoints {
    /// The setting that is wrong, and what it may be.
    #[must_use]
    pub const fn setting(&self) -> (&'static str, &'static str) {
        match self {
            Self::Endpoint(BadEndpoint::Key) => ("api_key", "allowed: letters, digits and signs without spaces"),
            Self::Endpoint(_) => ("endpoints", "allowed: URLs such as https://toncenter.com"),
            Self::Keys { .. } => (
                "api_key",
                "allowed: one for each, with commas between, and - where there is none",
            ),
            Self::TooFew { .. } => (
                "endpoints_agree",
                "allowed: no more than there are in settlement.endpoints",
            ),
            Self::Twice(_) => ("endpoints", "allowed: each host once, where several must agree"),
        }
    }
}

/// Who is asked.
///
/// # Errors
/// [`BadEndpoints`], without the API keys.
pub fn endpoints(settings: &SettlementSettings) -> Result<Vec<Endpoint>, BadEndpoints> {
    let usual = match settings.network {
        Network::Mainnet => "https://toncenter.com",
        Network::Testnet => "https://testnet.toncenter.com",
    };
    let usual = settings.endpoints.is_empty().then_some(usual);
    let urls: Vec<&str> = settings.endpoints.iter().map(String::as_str).chain(usual).collect();
    let keys: Vec<&str> = settings
        .api_key
        .iter()
        .flat_map(|keys| keys.split(','))
        .map(str::trim)
        .collect();
    let key_of = |number: usize| match keys[..] {
        [one] => Some(one),
        _ => keys.get(number).copied().filter(|key| *key != NO_KEY),
    };
    let endpoints = urls
        .iter()
        .enumerate()
        .map(|(number, url)| Endpoint::parse(url, key_of(number)));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    // One key for all of them would be told to whoever else is asked.
    let is_one_host = endpoints
        .windows(2)
        .all(|pair| pair.first().map(Endpoint::host) == pair.last().map(Endpoint::host));
    if !(keys.is_empty() || keys.len() == endpoints.len() || keys.len() == 1 && is_one_host) {
        let (keys, endpoints) = (keys.len(), endpoints.len());
        return Err(BadEndpoints::Keys { keys, endpoints });
    }
    if settings.endpoints_agree > endpoints.len() {
        let (needed, there) = (settings.endpoints_agree, endpoints.len());
        return Err(BadEndpoints::TooFew { needed, there });
    }
    if settings.endpoints_agree > 1 {
        let mut hosts: Vec<_> = endpoints.iter().map(Endpoint::host).collect();
        hosts.sort_unstable();
        if let Some([(host, port), _]) = hosts.array_windows().find(|[one, other]| one == other) {
            return Err(BadEndpoints::Twice(format!("{host}:{port}")));
        }
    }
    Ok(endpoints)
}

/// The chain as the settings' endpoints tell it.
///
/// # Errors
/// [`BadEndpoints`]
pub fn reach(settings: &SettlementSettings) -> Result<Arc<dyn Chain>, BadEndpoints> {
    let told_by = |endpoints| Toncenter::new(ToncenterSettings::new(endpoints));
    let endpoints = endpoints(settings)?;
    if settings.endpoints_agree < 2 {
        return Ok(Arc::new(told_by(endpoints)?));
    }
    let members = endpoints.into_iter().map(|endpoint| {
        let member: Arc<dyn Chain> = Arc::new(told_by(vec![endpoint])?);
        Ok(member)
    });
    let members = members.collect::<Result<_, BadEndpoint>>()?;
    Ok(Arc::new(Quorum::new(members, settings.endpoints_agree)))
}
