//! The address of a gateway or an engine. Decides which URLs are one.

use std::fmt;
use std::str::FromStr;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

/// Where a gateway or an engine is: `http` or `https`, host, port, and perhaps a path that all requests go below.
///
/// A trailing `/v1` is taken off, since OpenAI's clients write it and the paths added here begin with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    secure: bool,
    authority: Authority,
    /// Empty, or `/` and more without a `/` at the end.
    prefix: String,
}

/// Why a text is not a [`BaseUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} is not an address here: {problem}")]
pub struct BadUrl {
    url: String,
    problem: &'static str,
}

impl BaseUrl {
    /// The URL begins with `https`.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Host and port as written.
    pub fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// The host, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port: the one written, else the scheme's own.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// What goes into the `Host` header.
    pub(crate) fn host_header(&self) -> HeaderValue {
        // The characters of an authority (RFC 3986, section 3.2) are all allowed in a header.
        HeaderValue::from_str(self.authority()).expect("an authority is visible ASCII")
    }

    /// `path` below this address, as an HTTP/1.1 request target.
    pub(crate) fn path(&self, path: &str) -> Uri {
        Uri::from(self.path_and_query(path))
    }

    /// `path` below this address, whole.
    pub(crate) fn uri(&self, path: &str) -> Uri {
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let whole = Uri::builder().scheme(scheme).authority(self.authority.clone());
        whole
            .path_and_query(self.path_and_query(path))
            .build()
            .expect("scheme, authority and path make a URI")
    }

    fn path_and_query(&self, path: &str) -> PathAndQuery {
        // The prefix was a URI's path, and the paths added are constants of this crate.
        PathAndQuery::try_from(format!("{}{path}", self.prefix)).expect("two paths make a path")
    }
}

impl FromStr for BaseUrl {
    type Err = BadUrl;

    fn from_str(url: &str) -> Result<Self, BadUrl> {
        let bad = |problem| BadUrl {
            url: url.to_owned(),
            problem,
        };
        let uri: Uri = url.parse().map_err(|_| bad("it is no URL"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(bad("only http:// and https:// are spoken")),
            None => return Err(bad("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().cloned().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            // Not shown: what stands there is most likely a password.
            return Err(BadUrl {
                url: "(hidden)".to_owned(),
                problem: "a user or password does not belong here",
            });
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let written_port = authority.as_str().len() > authority.host().len();
        if written_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(bad("the port is not one of 1 to 65535"));
        }
        if uri.query().is_some() {
            return Err(bad("a query does not belong here"));
        }
        let path = uri.path().trim_end_matches('/');
        let prefix = path
            .strip_suffix("/v1")
            .unwrap_or(path)
            .trim_end_matches('/')
            .to_owned();
        Ok(Self {
            secure,
            authority,
            prefix,
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, shown: &str, host: &str, port: u16, target: &str) {
        let base: BaseUrl = url.parse().unwrap();
        assert_eq!(base.to_string(), shown);
        assert_eq!((base.host(), base.port()), (host, port));
        assert_eq!(base.path("/v1/embeddings"), target);
        assert!(
            base.uri("/metrics").to_string().starts_with(shown),
            "{}",
            base.uri("/metrics")
        );
    }

    #[test]
    fn addresses_are_understood() {
        check(
            "http://127.0.0.1:9001",
            "http://127.0.0.1:9001",
            "127.0.0.1",
            9001,
            "/v1/embeddings",
        );
        check(
            "https://gate.example/",
            "https://gate.example",
            "gate.example",
            443,
            "/v1/embeddings",
        );
        check(
            "http://gate.example/v1",
            "http://gate.example",
            "gate.example",
            80,
            "/v1/embeddings",
        );
        check(
            "http://[::1]:80/a/b/v1/",
            "http://[::1]:80/a/b",
            "::1",
            80,
            "/a/b/v1/embeddings",
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let bad = [
            "",
            "gate.example",
            "localhost:8080",
            "ftp://gate.example",
            "http://",
            "http://gate:0",
            "http://gate:99999",
            "http://gate.example/?a=b",
            "http:// gate",
        ];
        for url in bad {
            assert!(url.parse::<BaseUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = "http://me:hunter2@gate.example".parse::<BaseUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
