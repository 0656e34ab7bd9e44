//! A gateway that gives a call up frees the engine at once.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use crate::play::engine::Engine;
use crate::play::gateway::{Gateway, chat, full};
use crate::play::{settings, soon, start, until};

#[tokio::test]
async fn before_the_first_byte() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let connection = {
        let asked = async {
            let mut connection = engine.accept().await;
            connection.request().await;
            connection
        };
        tokio::select! {
            answer = tunnel.send(chat(full("{}"))) => panic!("nothing was answered yet: {answer:?}"),
            connection = asked => connection,
        }
        // The call's future is dropped here: hyper resets the stream.
    };
    connection.closed().await;
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn in_mid_stream_while_the_engine_is_silent() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let (answer, mut connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    connection.chunk("data: 1\n\n").await;
    let mut body = answer.into_body();
    soon("a chunk", body.frame()).await.unwrap().unwrap();
    assert_eq!(tunnel.status().await.running, 1);
    drop(body);
    connection.closed().await;
    until("the call to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn many_at_once_without_harm_to_the_tunnel() {
    const CALLS: u32 = 200;
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let mut settings = settings(&engine.url(), &[gateway.url()]);
    settings.models[0].concurrency_max = CALLS;
    let _agent = start(settings);
    let (tunnel, _) = gateway.greet().await;
    let (mut answers, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..CALLS {
        let (answer, connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
        answers.push(answer);
        connections.push(connection);
    }
    assert_eq!(tunnel.status().await.running, CALLS);
    drop(answers);
    for connection in connections {
        connection.closed().await;
    }
    until("the calls to be over", || async { tunnel.status().await.running == 0 }).await;
}

#[tokio::test]
async fn a_gateway_that_dies_frees_the_engine_too() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let _agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    let (answer, connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    drop(tunnel);
    connection.closed().await;
    drop(answer);
}

#[tokio::test]
async fn an_agent_that_is_dropped_frees_the_engine_too() {
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let agent = start(settings(&engine.url(), &[gateway.url()]));
    let (mut tunnel, _) = gateway.greet().await;
    let (_answer, connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
    drop(agent);
    connection.closed().await;
    tunnel.closed().await;
}

/// An engine works for nobody as long as its connection stands. Of many calls the middle one counts, for one alone may
/// have waited for the processor.
#[tokio::test]
async fn within_milliseconds() {
    const CALLS: usize = 21;
    /// What a gateway promises its callers.
    const MOST: Duration = Duration::from_millis(50);
    let (gateway, engine) = (Gateway::new().await, Engine::new().await);
    let (mut reset, mut dropped) = (Vec::new(), Vec::new());
    let agent = start(settings(&engine.url(), &[gateway.url()]));
    let (tunnel, _) = gateway.greet().await;
    for _ in 0..CALLS {
        let (answer, mut connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
        connection.chunk("data: 1\n\n").await;
        let mut body = answer.into_body();
        soon("a chunk", body.frame()).await.unwrap().unwrap();
        let given_up = Instant::now();
        drop(body);
        connection.closed().await;
        reset.push(given_up.elapsed());
    }
    drop((agent, tunnel));
    for _ in 0..CALLS {
        // A new agent each time: one whose tunnels do not hold waits longer and longer before it dials again.
        let _agent = start(settings(&engine.url(), &[gateway.url()]));
        let (tunnel, _) = gateway.greet().await;
        let (answer, connection) = tokio::join!(tunnel.call("{}"), engine.begin_stream());
        let given_up = Instant::now();
        drop(tunnel);
        connection.closed().await;
        dropped.push(given_up.elapsed());
        drop(answer);
    }
    for (what, mut took) in [("a stream that is reset", reset), ("a tunnel that is gone", dropped)] {
        took.sort_unstable();
        let (middle, longest) = (took[CALLS / 2], took[CALLS - 1]);
        println!("{what} frees the engine in {middle:?} (median of {CALLS}), {longest:?} at most");
        assert!(middle < MOST, "{what}: {took:?}");
    }
}
