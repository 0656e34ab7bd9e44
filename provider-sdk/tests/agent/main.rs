//! The agent between a gateway and an engine, all on real sockets.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

#[path = "../play/mod.rs"]
mod play;

mod calls;
mod cancel;
mod dialects;
mod drain;
mod tunnels;
