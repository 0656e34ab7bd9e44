//! Dials a gateway and asks it for a tunnel. Decides how far a gateway is believed before the tunnel stands; what is
//! served over it is decided in `serve`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use filature_openapi::error::ErrorEnvelope;
use http::header::{CONNECTION, HOST, UPGRADE as UPGRADE_HEADER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::AGENT;
use super::settings::BaseUrl;
use crate::tunnel::{TUNNEL_PATH, UPGRADE};

/// How long a gateway may take, from the first packet to the tunnel.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of header a gateway may answer with. (8 KiB is hyper's least.)
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The most header lines a gateway may answer with.
const HEADERS_MAX: usize = 64;
/// The most bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// The longest reason shown, in characters.
const REASON_CHARS_MAX: usize = 400;

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no TLS with it: {0}")]
    Tls(io::Error),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("the connection failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("refused with status {status}: {reason}")]
    Refused { status: u16, reason: String },
    #[error("answered with status {0} and no tunnel; is it a Filature gateway?")]
    NotAGateway(u16),
}

/// Opens tunnels.
pub(crate) struct Dialer {
    tls: TlsConnector,
}

impl Dialer {
    pub(crate) fn new(mut tls: rustls::ClientConfig) -> Self {
        // HTTP/2 by ALPN would make the agent the client of it; here the roles turn only after the upgrade.
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
        }
    }

    /// Dials `gateway` and upgrades: the bytes that come next are HTTP/2, with the gateway as the client.
    ///
    /// # Errors
    /// [`DialError`] says how far it came.
    pub(crate) async fn dial(&self, gateway: &BaseUrl) -> Result<Upgraded, DialError> {
        tokio::time::timeout(TIMEOUT, self.connect(gateway))
            .await
            .unwrap_or(Err(DialError::Timeout))
    }

    async fn connect(&self, gateway: &BaseUrl) -> Result<Upgraded, DialError> {
        let tcp = TcpStream::connect((gateway.host(), gateway.port()))
            .await
            .map_err(DialError::Connect)?;
        tcp.set_nodelay(true).map_err(DialError::Connect)?;
        if !gateway.is_secure() {
            return upgrade(TokioIo::new(tcp), gateway).await;
        }
        let name = ServerName::try_from(gateway.host().to_owned())
            .map_err(|error| DialError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let tls = self.tls.connect(name, tcp).await.map_err(DialError::Tls)?;
        upgrade(TokioIo::new(tls), gateway).await
    }
}

/// A TLS client that trusts the public roots (Mozilla's, by webpki-roots) and `extra`.
///
/// # Errors
/// [`rustls::Error`] if one of `extra` is no certificate.
pub(crate) fn tls(extra: &[CertificateDer<'static>]) -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for root in extra {
        roots.add(root.clone())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

async fn upgrade<T>(io: T, gateway: &BaseUrl) -> Result<Upgraded, DialError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake::<_, Empty<Bytes>>(io)
        .await?;
    let exchange = async move {
        let answer = sender.send_request(request(gateway)).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(answer).await);
        }
        let names_ours = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(UPGRADE.as_bytes());
        if !answer.headers().get(UPGRADE_HEADER).is_some_and(names_ours) {
            return Err(DialError::NotAGateway(101));
        }
        Ok(hyper::upgrade::on(answer).await?)
    };
    // The connection has to be driven beside the exchange, and hands its socket over when the upgrade is done.
    let (upgraded, _) = tokio::join!(exchange, connection.with_upgrades());
    upgraded
}

fn request(gateway: &BaseUrl) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = gateway.path(TUNNEL_PATH);
    let headers = request.headers_mut();
    headers.insert(HOST, gateway.host_header());
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE_HEADER, HeaderValue::from_static(UPGRADE));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    request
}

/// What the gateway says instead of a tunnel: the message of an error in OpenAI's form.
async fn refusal(answer: Response<Incoming>) -> DialError {
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), REFUSAL_BYTES_MAX).collect().await;
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match serde_json::from_slice::<ErrorEnvelope>(&body) {
        Ok(envelope) => DialError::Refused {
            status,
            reason: printable(&envelope.error.message),
        },
        Err(_) => DialError::NotAGateway(status),
    }
}

/// A gateway's words, made safe to print: one line, bounded.
pub(crate) fn printable(reason: &str) -> String {
    let clean = reason.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(REASON_CHARS_MAX).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(
            printable(" your offer\nis \u{1b}[31mtoo dear "),
            "your offer is  [31mtoo dear"
        );
        assert_eq!(printable(&"x".repeat(10_000)).len(), REASON_CHARS_MAX);
    }
}
