//! Finds out which engine stands beside the agent. Decides what an engine's answers make of it, and when it is asked
//! again; what an engine's dialect means is decided in [`crate::dialect`].
//!
//! The questions are each engine's own: vLLM `GET /version`, SGLang `GET /get_model_info`, Ollama `GET /api/version`,
//! llama.cpp's header `Server` and `GET /props`. Whatever answers none of them is taken for a server that only speaks
//! OpenAI's API.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;

use super::ask::{Asker, Said, Silent};
use super::offers::Offers;
use super::presence::Presence;
use super::settings::AgentSettings;
use crate::dialect::Dialect;

/// How long an engine that says nothing, or not yet enough, is left alone.
const PAUSE: Duration = Duration::from_secs(2);

/// A chat whose last words an engine that continues it leaves at the end of its prompt.
const BEGUN: &str = "As I was going to say, ";

/// How the engine is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) dialect: Dialect,
    /// Whether it goes on with a chat that another engine began.
    pub(crate) continues: bool,
}

impl Manner {
    /// What a dialect says of itself.
    const fn of(dialect: Dialect) -> Self {
        Self {
            dialect,
            continues: dialect.continues(),
        }
    }
}

/// What is known of the engine.
pub(crate) struct Probe {
    asker: Asker,
    said: Option<Dialect>,
    found: Mutex<Option<Manner>>,
}

impl Probe {
    pub(crate) fn new(settings: &AgentSettings, tls: rustls::ClientConfig) -> Self {
        Self {
            asker: Asker::new(settings, tls),
            said: settings.dialect,
            found: Mutex::new(settings.dialect.map(Manner::of)),
        }
    }

    /// How the engine is spoken to; `None` while that is not known.
    pub(crate) fn manner(&self) -> Option<Manner> {
        *self.found.lock()
    }

    /// Asks the engine, and again whenever it comes back, for ever; `offers` follow. Where the settings say what it is,
    /// it is not asked.
    pub(crate) async fn watch(&self, presence: &Presence, offers: &Offers) {
        if self.said.is_some() {
            return;
        }
        loop {
            match self.ask().await {
                Ok(Some(manner)) => {
                    presence.answered();
                    if self.found.lock().replace(manner) != Some(manner) {
                        let (engine, continues) = (manner.dialect.name(), manner.continues);
                        tracing::info!(engine, continues, "the engine is known");
                    }
                    offers.set_continues(manner.continues);
                    presence.back().await;
                }
                Ok(None) | Err(Silent::Busy) => tokio::time::sleep(PAUSE).await,
                Err(Silent::Gone(why)) => {
                    presence.lost(&why);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// `None` while the engine is there and not yet ready.
    async fn ask(&self) -> Result<Option<Manner>, Silent> {
        let version = self.asker.get("/version").await?;
        if version.server.starts_with(b"llama.cpp") {
            return self.ask_llama_cpp().await;
        }
        if text_member(&version, "version") && owner(&self.asker.get("/v1/models").await?).as_deref() == Some("vllm") {
            return Ok(Some(Manner::of(Dialect::Vllm)));
        }
        for path in ["/get_model_info", "/model_info"] {
            if text_member(&self.asker.get(path).await?, "model_path") {
                return Ok(Some(Manner::of(Dialect::Sglang)));
            }
        }
        if text_member(&self.asker.get("/api/version").await?, "version") {
            return Ok(Some(Manner::of(Dialect::Ollama)));
        }
        if member(&self.asker.get("/props").await?, "default_generation_settings").is_some() {
            return self.ask_llama_cpp().await;
        }
        Ok(Some(Manner::of(Dialect::OpenAi)))
    }

    /// Whether llama.cpp continues depends on its flags and on the model's template, so it is asked for a prompt: one
    /// that is to be continued ends in what was begun.
    async fn ask_llama_cpp(&self) -> Result<Option<Manner>, Silent> {
        let chat = serde_json::json!({"messages": [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": BEGUN},
        ]});
        let said = self
            .asker
            .post("/apply-template", Bytes::from(chat.to_string()))
            .await?;
        if said.status == StatusCode::SERVICE_UNAVAILABLE {
            // It loads its model.
            return Ok(None);
        }
        let prompt = member(&said, "prompt");
        let continues = prompt
            .as_ref()
            .and_then(Value::as_str)
            .is_some_and(|prompt| prompt.ends_with(BEGUN));
        let dialect = Dialect::LlamaCpp;
        Ok(Some(Manner { dialect, continues }))
    }
}

/// A member of a JSON object that was answered with success.
fn member(said: &Said, name: &str) -> Option<Value> {
    let body = said.status.is_success().then_some(&said.body)?;
    let Ok(Value::Object(mut members)) = serde_json::from_slice(body) else {
        return None;
    };
    members.remove(name)
}

fn text_member(said: &Said, name: &str) -> bool {
    member(said, name).is_some_and(|value| value.is_string())
}

/// `owned_by` of the first model in OpenAI's list: vLLM names itself there.
fn owner(models: &Said) -> Option<String> {
    let models = member(models, "data")?;
    models.get(0)?.get("owned_by")?.as_str().map(str::to_owned)
}
