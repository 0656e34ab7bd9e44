//! The words agent and gateway say to each other over a tunnel: paths, header names, hello and status.
//! Decides their form and how a hello is proved; who dials, serves and forwards is the agent's and the gateway's.
//!
//! The agent dials a gateway and asks `GET` [`TUNNEL_PATH`] with `Connection: Upgrade`, `Upgrade:` [`UPGRADE`]. After
//! `101 Switching Protocols` it serves HTTP/2 (prior knowledge, RFC 9113 section 3.3) on that same connection, and the
//! gateway is the client. The gateway asks [`HELLO_PATH`] first, then [`STATUS_PATH`] every few seconds; calls come as
//! `POST` on OpenAI's own paths.

use serde::{Deserialize, Serialize};

use crate::identity::ProviderKey;
use crate::offer::{Offer, OfferError, SignedOffer};

/// Where an agent asks a gateway for a tunnel (HTTP/1.1 upgrade).
pub const TUNNEL_PATH: &str = "/provider/v1/tunnel";
/// The protocol named in the `Upgrade` header.
pub const UPGRADE: &str = "filature-tunnel";
/// Where the gateway asks the agent who it is: `GET` with [`CHALLENGE_HEADER`], answered by a [`Hello`].
pub const HELLO_PATH: &str = "/filature/v1/hello";
/// Where the gateway asks the agent how it is: `GET`, answered by a [`Status`].
pub const STATUS_PATH: &str = "/filature/v1/status";
/// Where the gateway tells the agent why it will not have it: `POST` of a [`Refused`], then it closes the tunnel.
pub const REFUSED_PATH: &str = "/filature/v1/refused";

/// On a hello: 32 random bytes in hex, new for every tunnel.
pub const CHALLENGE_HEADER: &str = "filature-challenge";
/// On a call: its id, for the provider's own books.
pub const CALL_HEADER: &str = "filature-call";
/// On a call: the number of this attempt, from 1.
pub const ATTEMPT_HEADER: &str = "filature-attempt";
/// On a call, with the value `1`: it goes on where another engine broke off. A chat ends in the assistant's message so
/// far, a completion's prompt in the text so far; the agent adds what its engine has to be told.
pub const CONTINUE_HEADER: &str = "filature-continue";
/// On a call: 32 bytes in hex. An agent that finds it signs what it served; see [`crate::served`].
pub const SALT_HEADER: &str = "filature-salt";
/// After the last byte of a whole answer, as a trailer: what the agent signed, as JSON; see [`crate::served`].
pub const SERVED_TRAILER: &str = "filature-served";
/// On an answer of status 503: the agent drains, and no further call will be taken on this tunnel.
pub const DRAINING_HEADER: &str = "filature-draining";
/// On an answer of status 502: `unreachable`, the agent could not get an answer from its engine.
pub const ENGINE_HEADER: &str = "filature-engine";

/// The first line of what a hello's proof signs.
const DOMAIN: &str = "filature-hello-v1";
/// A challenge's length in hex characters: 32 bytes.
const CHALLENGE_CHARS: usize = 64;

/// The agent's answer to [`HELLO_PATH`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// What the provider sells.
    pub offer: SignedOffer,
    /// The provider's signature over domain line, challenge and authority: 128 hex characters. It shows that the
    /// agent holds the key now, and meant this gateway: a gateway that passes another's challenge on gets a proof
    /// that names the wrong authority.
    pub proof: String,
    /// The agent's name and version, as `filature-provider/0.1.0`.
    pub agent: String,
}

/// The agent's answer to [`STATUS_PATH`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Calls in flight through this agent, from all gateways.
    pub running: u32,
    /// Calls that wait inside the engine, by its own metrics; 0 where it has none.
    pub waiting: u32,
    /// Calls that run inside the engine, from whomever, by its own metrics; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_running: Option<u32>,
    /// How much of its cache for prompts and answers the engine uses, by its own metrics: 0 to 1; `None` where it does
    /// not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_use: Option<f32>,
    /// The agent finishes what runs and takes nothing new.
    pub draining: bool,
    /// The sequence number of the offer that holds now. Above the one in the last hello: ask [`HELLO_PATH`] again.
    pub sequence: u64,
}

/// The gateway's reason for closing a tunnel, as a body of [`REFUSED_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// For the provider's operator to read.
    pub reason: String,
}

/// Why a hello is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The offer inside it does not hold.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The proof is not the provider's over this challenge and this authority.
    #[error("the hello's proof does not answer this gateway's challenge with the provider's key")]
    Proof,
    /// The challenge is not 32 bytes in hex.
    #[error("a challenge is 32 bytes in hex")]
    Challenge,
}

/// Answers `challenge` (64 hex characters) from the gateway at `authority`: the host and port the agent dialled, just
/// as it wrote them into the `Host` header.
///
/// # Errors
/// [`HelloError::Challenge`]: the agent signs nothing else for a stranger.
pub fn sign_hello(
    key: &ProviderKey,
    offer: &SignedOffer,
    challenge: &str,
    authority: &str,
    agent: &str,
) -> Result<Hello, HelloError> {
    let proof = key.sign(proof_text(challenge, authority)?.as_bytes());
    Ok(Hello {
        offer: offer.clone(),
        proof,
        agent: agent.to_owned(),
    })
}

/// The offer, if the hello answers this `challenge` for this `authority` (the `Host` header of the upgrade request)
/// and the offer holds at `now_ms`.
///
/// # Errors
/// [`HelloError`] says what fails.
pub fn verify_hello(hello: &Hello, challenge: &str, authority: &str, now_ms: u64) -> Result<Offer, HelloError> {
    let offer = hello.offer.verify(now_ms)?;
    let text = proof_text(challenge, authority)?;
    offer
        .provider
        .verify(text.as_bytes(), &hello.proof)
        .map_err(|_| HelloError::Proof)?;
    Ok(offer)
}

/// Host names compare without case (RFC 9110, section 4.2.3), so the proof is over lower case.
fn proof_text(challenge: &str, authority: &str) -> Result<String, HelloError> {
    if challenge.len() != CHALLENGE_CHARS || !challenge.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(HelloError::Challenge);
    }
    Ok(format!("{DOMAIN}\n{challenge}\n{}", authority.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::tests::{NOW_MS, offer};

    const CHALLENGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn hello(authority: &str) -> (ProviderKey, Hello) {
        let key = ProviderKey::generate(&mut rand::rng());
        let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
        let hello = sign_hello(&key, &signed, CHALLENGE, authority, "test/1").unwrap();
        (key, hello)
    }

    #[test]
    fn a_hello_comes_back_as_its_offer() {
        let (key, hello) = hello("gate.example:8080");
        let wire = serde_json::to_vec(&hello).unwrap();
        let read: Hello = serde_json::from_slice(&wire).unwrap();
        assert_eq!(
            verify_hello(&read, CHALLENGE, "GATE.example:8080", NOW_MS),
            Ok(offer(&key))
        );
    }

    #[test]
    fn a_proof_for_one_gateway_means_nothing_to_another() {
        let (_, hello) = hello("evil.example");
        assert_eq!(
            verify_hello(&hello, CHALLENGE, "gate.example", NOW_MS),
            Err(HelloError::Proof)
        );
        assert_eq!(
            verify_hello(&hello, CHALLENGE, "evil.example:8080", NOW_MS),
            Err(HelloError::Proof)
        );
    }

    #[test]
    fn a_proof_cannot_be_replayed() {
        let (_, hello) = hello("gate.example");
        let later = CHALLENGE.replace("00", "01");
        assert_eq!(
            verify_hello(&hello, &later, "gate.example", NOW_MS),
            Err(HelloError::Proof)
        );
    }

    #[test]
    fn a_proof_by_another_key_is_refused() {
        let (_, mut mine) = hello("gate.example");
        let (_, other) = hello("gate.example");
        mine.proof = other.proof;
        assert_eq!(
            verify_hello(&mine, CHALLENGE, "gate.example", NOW_MS),
            Err(HelloError::Proof)
        );
    }

    #[test]
    fn only_a_challenge_is_signed() {
        let key = ProviderKey::generate(&mut rand::rng());
        let signed = SignedOffer::sign(&offer(&key), &key).unwrap();
        for bad in ["", "00", &CHALLENGE.replace('0', "\n"), &format!("{CHALLENGE}00")] {
            assert_eq!(
                sign_hello(&key, &signed, bad, "gate.example", "test/1"),
                Err(HelloError::Challenge),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_expired_offer_makes_no_hello() {
        let (key, hello) = hello("gate.example");
        let late = offer(&key).expires_at_ms;
        let found = verify_hello(&hello, CHALLENGE, "gate.example", late);
        assert!(
            matches!(found, Err(HelloError::Offer(OfferError::Expired { .. }))),
            "{found:?}"
        );
    }

    #[test]
    fn the_status_of_an_older_agent_is_read_and_reads_ours() {
        let old = r#"{"running":1,"waiting":2,"draining":false,"sequence":3}"#;
        let mut status: Status = serde_json::from_str(old).unwrap();
        assert_eq!((status.engine_running, status.cache_use), (None, None));
        assert_eq!(serde_json::to_string(&status).unwrap(), old);
        (status.engine_running, status.cache_use) = (Some(4), Some(0.25));
        let wire = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&wire).unwrap(), status);
    }
}
