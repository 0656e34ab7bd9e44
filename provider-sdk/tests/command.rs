//! The binary, as an operator meets it: what it prints, what it refuses, and its exit status.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

mod play;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use filature_provider_sdk::tunnel::DRAINING_HEADER;
use play::engine::{Engine, STREAM_HEAD};
use play::gateway::{Gateway, bytes_of};
use play::{soon, until};
use rustix::process::{Pid, Signal, kill_process};

const NAME: &str = env!("CARGO_BIN_EXE_filature-provider");

fn provider(arguments: &[&str]) -> Command {
    let mut command = Command::new(NAME);
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn output(arguments: &[&str]) -> Output {
    provider(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        assert!(
            output(&["key", "new", "--key-file", &home.path("provider.key")])
                .status
                .success()
        );
        home
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, gateway: &str, engine: &str) -> tokio::process::Command {
        let key_file = self.path("provider.key");
        let mut command = tokio::process::Command::new(NAME);
        command
            .args([
                "run",
                "--dialect",
                "openai",
                "--gateway",
                gateway,
                "--engine",
                engine,
                "--key-file",
                &key_file,
                "--name",
                "mill",
            ])
            .args([
                "--model",
                "small=org/small",
                "--price-prompt",
                "20",
                "--price-completion",
                "60",
            ])
            .args(["--engine-metrics", "false"])
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

#[test]
fn a_key_is_made_once_and_shown() {
    let home = Home::new();
    let path = home.path("provider.key");
    let shown = output(&["key", "show", "--key-file", &path]);
    assert!(shown.status.success());
    assert_eq!(text(&shown.stdout).trim().len(), 64);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = std::fs::read(&path).unwrap();
    let again = output(&["key", "new", "--key-file", &path]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("exists already"));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn help_gives_examples_and_hides_nothing() {
    let help = text(&output(&["run", "--help"]).stdout);
    for word in [
        "Examples:",
        "Exit status:",
        "--price-cached-prompt",
        "FILATURE_PROVIDER_GATEWAY",
        "[[models]]",
    ] {
        assert!(help.contains(word), "{word} in:\n{help}");
    }
}

#[test]
fn an_offer_is_shown_as_a_gateway_would_get_it() {
    let home = Home::new();
    let key_file = home.path("provider.key");
    let shown = output(&[
        "offer",
        "show",
        "--key-file",
        &key_file,
        "--name",
        "mill",
        "--model",
        "small",
        "--price-prompt",
        "20",
        "--price-completion",
        "60",
        "--price-call",
        "5",
    ]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let signed: filature_provider_sdk::SignedOffer = serde_json::from_slice(&shown.stdout).unwrap();
    let offer = signed.verify(play::gateway::now_ms()).unwrap();
    assert_eq!(
        (offer.models[0].model.as_str(), offer.models[0].price.call),
        ("small", 5)
    );
}

#[test]
fn bad_settings_end_with_status_2_and_all_that_is_wrong() {
    let home = Home::new();
    let config = home.path("provider.toml");
    std::fs::write(
        &config,
        "gatway = \"x\"\n[[models]]\nmodel = \"a\"\nprice = { prompt = \"cheap\" }\n",
    )
    .unwrap();
    let run = provider(&["run", "--config", &config, "--engine", "localhost:1", "--log", "!!"])
        .env("FILATURE_PROVIDER_GATEWAYS", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    let told = text(&run.stderr);
    for word in [
        "gatway is not a setting",
        "price.prompt",
        "localhost:1",
        "--key-file",
        "--name",
        "--log",
        "FILATURE_PROVIDER_GATEWAYS is not a setting",
    ] {
        assert!(told.contains(word), "{word} in:\n{told}");
    }
    assert_eq!(output(&["run", "--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn settings_may_come_from_the_environment() {
    let home = Home::new();
    let shown = provider(&["offer", "show"])
        .env("FILATURE_PROVIDER_KEY_FILE", PathBuf::from(home.path("provider.key")))
        .env("FILATURE_PROVIDER_NAME", "mill")
        .env("FILATURE_PROVIDER_MODEL", "a,b=org/b")
        .env("FILATURE_PROVIDER_PRICE_PROMPT", "1")
        .env("FILATURE_PROVIDER_PRICE_COMPLETION", "2")
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let signed: filature_provider_sdk::SignedOffer = serde_json::from_slice(&shown.stdout).unwrap();
    let models = signed.verify(play::gateway::now_ms()).unwrap().models;
    assert_eq!(
        models.iter().map(|model| model.model.as_str()).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[tokio::test]
async fn sigterm_drains_and_ends_with_status_0() {
    let (home, gateway, engine) = (Home::new(), Gateway::new().await, Engine::new().await);
    let child = home.run(&gateway.url(), &engine.url()).spawn().unwrap();
    let (tunnel, _) = gateway.greet().await;
    let begin = async {
        let mut connection = engine.accept().await;
        let (_, body) = connection.request().await;
        assert_eq!(body, b"the prompt is nobody's business");
        connection.write(STREAM_HEAD).await;
        connection
    };
    let (answer, mut connection) = tokio::join!(tunnel.call("the prompt is nobody's business"), begin);

    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    until("the status to tell", || async { tunnel.status().await.draining }).await;
    assert!(tunnel.call("{}").await.headers().contains_key(DRAINING_HEADER));
    connection.chunk("data: the answer is nobody's business\n\n").await;
    connection.end_chunks().await;
    assert_eq!(bytes_of(answer).await, "data: the answer is nobody's business\n\n");

    let ended = soon("the agent's end", child.wait_with_output()).await.unwrap();
    let log = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{log}");
    assert!(log.contains("tunnel is up") && log.contains("drained"), "{log}");
    assert!(
        !log.contains("nobody's business"),
        "no prompt, no answer in the log: {log}"
    );
}

#[tokio::test]
async fn a_refusal_with_once_ends_with_status_1_and_the_reason() {
    let (home, gateway) = (Home::new(), Gateway::new().await);
    let child = home
        .run(&gateway.url(), "http://127.0.0.1:1")
        .arg("--once")
        .spawn()
        .unwrap();
    let body = r#"{"error":{"message":"provider is not on the list","type":"invalid_request_error","param":null,"code":null}}"#;
    gateway.turn_away(403, body).await;
    let ended = soon("the agent's end", child.wait_with_output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        text(&ended.stderr).contains("provider is not on the list"),
        "{}",
        text(&ended.stderr)
    );
}
