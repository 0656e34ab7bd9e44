//! An endpoint: its URL, its key, and how often it may be asked. Which one's turn it is.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use hyper::Uri;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Time between requests to an endpoint without a key (toncenter's limit).
const INTERVAL_WITHOUT_KEY: Duration = Duration::from_secs(1);
/// The same with the smallest key.
const INTERVAL_WITH_KEY: Duration = Duration::from_millis(100);
/// An endpoint rests twice as long after each failure, up to 2⁷ times as long as after the first.
const DOUBLINGS_MAX: u32 = 7;

/// Somebody who speaks toncenter's API.
#[derive(Clone)]
pub struct Endpoint {
    /// Scheme, host and path in front of `/api/v3/…`.
    base: String,
    host: String,
    port: u16,
    /// The same as it is shown: some services put a key into the path.
    shown: String,
    key: Option<Zeroizing<String>>,
    interval: Duration,
}

/// Why an endpoint cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEndpoint {
    /// There is none.
    #[error("the chain needs at least one endpoint, such as https://toncenter.com")]
    None,
    /// Not a URL. It is not quoted: it may hold a secret.
    #[error("an endpoint is not a URL such as https://toncenter.com, without user, password and query")]
    Url,
    /// Without TLS to another machine.
    #[error("`{0}` must be https: what is read over plain http may be anybody's")]
    Plain(String),
    /// A key that no header can carry.
    #[error("the endpoint's API key has characters that no header can carry")]
    Key,
    /// The machine cannot do TLS.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

impl Endpoint {
    /// Reads an endpoint's URL. Plain http is taken only for this machine itself.
    ///
    /// # Errors
    /// [`BadEndpoint`]
    pub fn parse(url: &str, key: Option<&str>) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint::Url;
        let uri: Uri = url.trim().parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(bad());
        }
        let host = authority.host();
        let here = matches!(host, "localhost" | "[::1]") || host.starts_with("127.");
        let here = here && (host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok());
        let plain = uri.scheme_str() == Some("http");
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            Some("http") => return Err(BadEndpoint::Plain(authority.to_string())),
            _ => return Err(bad()),
        }
        if key.is_some_and(|key| key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(BadEndpoint::Key);
        }
        let base = url.trim().trim_end_matches('/');
        let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or_default());
        Ok(Self {
            base: base.to_owned(),
            host: host.to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(if plain { 80 } else { 443 }),
            shown: if base.len() > origin.len() {
                origin + "/…"
            } else {
                origin
            },
            key: key.map(|key| Zeroizing::new(key.to_owned())),
            interval: match key {
                _ if here => Duration::ZERO,
                Some(_) => INTERVAL_WITH_KEY,
                None => INTERVAL_WITHOUT_KEY,
            },
        })
    }

    /// Who it is: host and port.
    #[must_use]
    pub fn host(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The same, asked so often in a second at most.
    #[must_use]
    pub fn with_rate(self, per_second: NonZeroU32) -> Self {
        Self {
            interval: Duration::from_secs(1).checked_div(per_second.get()).unwrap_or_default(),
            ..self
        }
    }

    pub(super) fn url(&self, method: &str) -> String {
        format!("{}/api/v3/{method}", self.base)
    }

    pub(super) fn key(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.as_str())
    }
}

impl fmt::Display for Endpoint {
    /// Scheme and host, without any key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Endpoint {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base", &self.shown)
            .finish_non_exhaustive()
    }
}

/// When an endpoint may be asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// By its limit.
    free: Instant,
    /// By its failures.
    rested: Instant,
    failures: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            free: now,
            rested: now,
            failures: 0,
        }
    }

    /// Takes note of an answer, or of none.
    pub(super) fn answered(&mut self, sound: bool, rest: Duration, now: Instant) {
        if sound {
            self.failures = 0;
            return;
        }
        let rest = rest.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX));
        self.failures = self.failures.saturating_add(1);
        self.rested = now.checked_add(rest).unwrap_or(now);
    }

    fn ready(&self, now: Instant) -> Instant {
        self.free.max(self.rested).max(now)
    }
}

/// Whose turn it is, and when: the first that is not resting, else the one that has rested first. Its turn is taken.
/// `None`: nobody is ready before `deadline`.
pub(super) fn choose(
    paces: &mut [Pace],
    endpoints: &[Endpoint],
    now: Instant,
    deadline: Instant,
) -> Option<(usize, Instant)> {
    let awake = paces.iter().position(|pace| pace.rested <= now);
    let place = awake.or_else(|| (0..paces.len()).min_by_key(|place| paces.get(*place).map(|pace| pace.ready(now))))?;
    let (pace, endpoint) = (paces.get_mut(place)?, endpoints.get(place)?);
    let start = pace.ready(now);
    if start >= deadline {
        return None;
    }
    pace.free = start.checked_add(endpoint.interval).unwrap_or(start);
    Some((place, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_https_or_this_machine() {
        let read = |url: &str| Endpoint::parse(url, None).map(|endpoint| endpoint.url("x"));
        let fine = |url: &str, wanted: &str| assert_eq!(read(url), Ok(wanted.to_owned()), "{url}");
        fine("https://toncenter.com/", "https://toncenter.com/api/v3/x");
        fine(" https://example.com/ton ", "https://example.com/ton/api/v3/x");
        fine("http://127.0.0.1:8081", "http://127.0.0.1:8081/api/v3/x");
        fine("http://[::1]:8081", "http://[::1]:8081/api/v3/x");
        fine("http://localhost", "http://localhost/api/v3/x");
        for plain in [
            "http://toncenter.com",
            "http://127.example.com",
            "http://localhost.example.com",
        ] {
            assert!(matches!(read(plain), Err(BadEndpoint::Plain(_))), "{plain}");
        }
        for wrong in [
            "",
            "toncenter.com",
            "ftp://a.b",
            "https://",
            "https://a:b@c.d",
            "https://a.b/?c=d",
            "é",
        ] {
            assert!(matches!(read(wrong), Err(BadEndpoint::Url)), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_checked_and_never_printed() {
        for wrong in ["", "a b", "a\r\nb", "é"] {
            let refused = Endpoint::parse("https://a.b", Some(wrong)).err();
            assert_eq!(refused, Some(BadEndpoint::Key), "{wrong}");
        }
        let endpoint = Endpoint::parse("https://a.b", Some("geheim")).expect("an endpoint");
        assert_eq!(format!("{endpoint}"), "https://a.b");
        assert!(!format!("{endpoint:?}").contains("geheim"));
        assert_eq!(endpoint.key(), Some("geheim"));
        let endpoint = Endpoint::parse("https://a.b:444/geheim/", None).expect("an endpoint");
        assert_eq!(format!("{endpoint}"), "https://a.b:444/…");
        assert!(!format!("{endpoint:?}").contains("geheim"));
        assert_eq!(endpoint.url("m"), "https://a.b:444/geheim/api/v3/m");
    }

    #[test]
    fn turns_are_paced_and_the_failed_rest() {
        let (second, rest) = (Duration::from_secs(1), Duration::from_millis(250));
        let endpoints = ["https://a.b", "https://c.d"].map(|url| Endpoint::parse(url, None).expect("an endpoint"));
        let start = Instant::now();
        let mut paces = [Pace::new(start); 2];
        let turn = |paces: &mut [Pace], now| choose(paces, &endpoints, now, start + 9 * second);
        assert_eq!(turn(&mut paces, start), Some((0, start)));
        // The same again, when its limit lets it.
        assert_eq!(turn(&mut paces, start), Some((0, start + second)));
        paces[0].answered(false, rest, start + second);
        assert_eq!(turn(&mut paces, start + second), Some((1, start + second)));
        paces[1].answered(false, rest, start + second);
        // Both rest; the one that is ready first is asked.
        assert_eq!(turn(&mut paces, start + second), Some((0, start + 2 * second)));
        paces[0].answered(true, rest, start + 2 * second);
        assert_eq!(turn(&mut paces, start + 2 * second), Some((0, start + 3 * second)));
        for _ in 0..40 {
            paces
                .iter_mut()
                .for_each(|pace| pace.answered(false, rest, start + 3 * second));
        }
        assert_eq!(turn(&mut paces, start + 3 * second), None);
        assert_eq!(paces[0].rested, start + 3 * second + rest * 128);
    }
}
