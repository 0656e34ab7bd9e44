//! Tunnels: who is at the other end, and what happens when it goes away or says no.

use std::sync::Arc;

use filature_provider_sdk::agent::AgentError;
use filature_provider_sdk::tunnel::{HELLO_PATH, REFUSED_PATH, TUNNEL_PATH};
use http::Request;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::play::engine::Engine;
use crate::play::gateway::{Gateway, full, get};
use crate::play::{settings, soon, start};

#[tokio::test]
async fn a_hello_shows_the_offer_and_the_key() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let settings = settings(&engine.url(), &[gateway.url()]);
    let (key, models) = (settings.key.public(), settings.models.clone());
    let _agent = start(settings);
    let (tunnel, offer) = gateway.greet().await;
    assert_eq!((offer.provider, offer.models), (key, models));
    assert_eq!(tunnel.status().await.sequence, offer.sequence);
    assert_eq!(
        (&tunnel.authority, tunnel.path.as_str()),
        (&gateway.authority(), TUNNEL_PATH)
    );
}

#[tokio::test]
async fn a_hello_can_be_asked_for_again() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, offer) = gateway.greet().await;
    let again = tunnel.hello(&"ab".repeat(32)).await;
    assert_eq!(again.offer.verify(0).unwrap(), offer, "the offer holds for hours");
}

#[tokio::test]
async fn a_gateway_may_stand_below_a_path() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[format!("{}/mill/v1", gateway.url())]));
    let (tunnel, _) = gateway.greet().await;
    assert_eq!(tunnel.path, format!("/mill{TUNNEL_PATH}"));
}

#[tokio::test]
async fn only_a_challenge_is_answered() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let tunnel = gateway.accept().await;
    for bad in [None, Some(""), Some("pay me"), Some("00")] {
        let answer = soon("an answer", tunnel.send(get(HELLO_PATH, bad))).await.unwrap();
        assert_eq!(answer.status(), 400, "{bad:?}");
    }
}

#[tokio::test]
async fn a_gateway_that_dies_is_dialled_again() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (first, before) = gateway.greet().await;
    drop(first);
    let (second, after) = gateway.greet().await;
    assert_eq!(before, after);
    drop(second);
    gateway.greet().await;
}

#[tokio::test]
async fn calls_of_all_gateways_count_together() {
    let (one, two, engine) = (Gateway::new().await, Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[one.url(), two.url()]));
    let ((first, _), (second, _)) = tokio::join!(one.greet(), two.greet());
    let _call = tokio::join!(first.call("{}"), engine.begin_stream());
    assert_eq!(second.status().await.running, 1);
}

#[tokio::test]
async fn a_gateway_that_is_down_does_not_disturb_another() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(
        &engine.url(),
        &["http://127.0.0.1:1".to_owned(), gateway.url()],
    ));
    let (tunnel, _) = gateway.greet().await;
    assert!(!tunnel.status().await.draining);
}

/// Lets an agent that tries once meet a gateway that does `settle`, and checks what it says in the end.
async fn check_refusal(settle: impl AsyncFnOnce(&Gateway), expected: &str) {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.once = true;
    let agent = start(settings);
    settle(&gateway).await;
    match agent.ended().await {
        Err(AgentError::Tunnel {
            gateway: named,
            problem,
        }) => {
            assert_eq!(named, gateway.url());
            assert!(problem.contains(expected), "{problem}");
        }
        other => panic!("{other:?}"),
    }
}

const NOT_ON_THE_LIST: &str =
    r#"{"error":{"message":"provider is not on the list","type":"invalid_request_error","param":null,"code":null}}"#;

#[tokio::test]
async fn a_refused_upgrade_tells_the_gateways_reason() {
    let refuse = async |gateway: &Gateway| gateway.turn_away(403, NOT_ON_THE_LIST).await;
    check_refusal(refuse, "status 403: provider is not on the list").await;
}

#[tokio::test]
async fn what_is_no_gateway_is_called_so() {
    let refuse = async |gateway: &Gateway| gateway.turn_away(200, "<html>Welcome to nginx!</html>").await;
    check_refusal(refuse, "is it a Filature gateway?").await;
}

async fn refuse_offer(gateway: &Gateway) {
    let (mut tunnel, _) = gateway.greet().await;
    let body = full(r#"{"reason":"model small is priced\nabove the limit"}"#);
    let request = Request::post(format!("http://agent{REFUSED_PATH}")).body(body).unwrap();
    assert_eq!(soon("an answer", tunnel.send(request)).await.unwrap().status(), 200);
    tunnel.closed().await;
}

#[tokio::test]
async fn a_refused_offer_tells_the_gateways_reason() {
    check_refusal(refuse_offer, "model small is priced above the limit").await;
}

#[tokio::test]
async fn a_refused_agent_tries_again() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    gateway.turn_away(403, NOT_ON_THE_LIST).await;
    refuse_offer(&gateway).await;
    gateway.greet().await;
}

/// A gateway with a certificate of its own, and the root an agent has to trust for it.
async fn tls_gateway() -> (Gateway, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Gateway::new().await.with_tls(config), made.cert.der().clone())
}

#[tokio::test]
async fn a_tunnel_runs_over_tls() {
    let ((gateway, root), engine) = (tls_gateway().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.extra_roots.push(root);
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    assert_eq!(tunnel.status().await.running, 0);
}

#[tokio::test]
async fn a_gateway_nobody_vouches_for_gets_no_tunnel() {
    let ((gateway, _), engine) = (tls_gateway().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.once = true;
    let agent = start(settings);
    assert!(
        gateway.refused_tls().await.is_err(),
        "the agent breaks the handshake off"
    );
    let error = agent.ended().await.unwrap_err().to_string();
    assert!(error.contains("no TLS with it"), "{error}");
}

#[tokio::test]
async fn bad_settings_are_refused_before_anything_is_dialled() {
    let mut settings = settings("http://127.0.0.1:1", &[]);
    settings.name.clear();
    match start(settings).ended().await {
        Err(AgentError::Settings(problems)) => assert_eq!(problems.len(), 2, "{problems:?}"),
        other => panic!("{other:?}"),
    }
}
