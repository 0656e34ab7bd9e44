//! An agent that is told to stop finishes what runs and takes nothing new.

use std::time::Duration;

use filature_provider_sdk::agent::AgentError;
use filature_provider_sdk::tunnel::DRAINING_HEADER;
use http_body_util::BodyExt;

use crate::play::engine::Engine;
use crate::play::gateway::{Gateway, bytes_of};
use crate::play::{settings, soon, start, until};

#[tokio::test]
async fn running_calls_end_and_new_ones_are_refused() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let agent = start(settings(&engine.url(), &[gateway.url()]));
    let (mut tunnel, _) = gateway.greet().await;
    assert!(!tunnel.status().await.draining);
    let (answer, mut connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    connection.chunk("data: 1\n\n").await;

    agent.shut_down();
    until("the status to tell", || async { tunnel.status().await.draining }).await;
    let refused = tunnel.call("{}").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()[DRAINING_HEADER]),
        (503, &"1".parse().unwrap())
    );
    let body: serde_json::Value = serde_json::from_slice(&bytes_of(refused).await).unwrap();
    assert_eq!(body["error"]["code"], "draining");

    connection.chunk("data: 2\n\n").await;
    connection.end_chunks().await;
    assert_eq!(bytes_of(answer).await, "data: 1\n\ndata: 2\n\n");
    agent.ended().await.unwrap();
    tunnel.closed().await;
}

#[tokio::test]
async fn an_idle_agent_ends_at_once() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let agent = start(settings(&engine.url(), &[gateway.url()]));
    let (mut tunnel, _) = gateway.greet().await;
    agent.shut_down();
    agent.ended().await.unwrap();
    tunnel.closed().await;
}

#[tokio::test]
async fn an_agent_without_a_gateway_ends_at_once_too() {
    let nobody = Engine::new().await.url();
    let agent = start(settings(&nobody, &["http://127.0.0.1:1".to_owned()]));
    agent.shut_down();
    agent.ended().await.unwrap();
}

#[tokio::test]
async fn a_call_that_outlives_the_deadline_is_cut_off_and_told_of() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.drain_deadline = Duration::from_millis(50);
    let agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let (answer, connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    agent.shut_down();
    assert!(matches!(agent.ended().await, Err(AgentError::CutOff { calls: 1 })));
    let cut = soon("the cut", answer.into_body().frame()).await;
    assert!(matches!(cut, Some(Err(_))), "a reset, not an end: {cut:?}");
    connection.closed().await;
}
