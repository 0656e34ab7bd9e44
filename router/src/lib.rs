//! Decides which provider serves a call. Decides; never dials.
//!
//! A [`Fleet`] is told what happens ([`Fleet::apply`]) and is asked where a call should go
//! ([`route()`]). Both are plain values: no clock, no I/O, no lock and no global state, so that the
//! same history, call, time and random numbers give the same plan, in a test, in a simulation and
//! in production. Time and randomness are arguments.
//!
//! The way of a decision, in reading order:
//!
//! 1. [`Event`]s change the fleet: who offers what, and how each call went.
//! 2. Each (provider, model) pair is a *seat*. What was observed of a seat is kept in small parts
//!    that know nothing of each other: latency estimates, calls still waiting for their first
//!    token, an adaptive limit, a breaker, decaying errors.
//! 3. [`route()`] filters the seats of the asked model, scores what is left by price and expected
//!    time, and lists the best few as a [`Plan`], without those out of proportion to the market.
//!
//! Constants whose source reads "ROUTING" come from the project's routing notes, where a toy
//! simulation found them; the others say where they come from or that they were chosen here.
//!
//! Left to the gateway: dialling, timers, retry budgets, money.

mod offer;
mod time;

mod event;
mod policy;

mod backoff;
mod breaker;
mod errors;
mod estimate;
mod limit;
mod waiting;

mod departed;
mod fleet;
mod pool;
mod seat;

mod ask;
mod eligible;
mod plan;
mod route;
mod sample;
mod score;
mod view;

pub use ask::Ask;
pub use breaker::BreakerState;
pub use eligible::Unfit;
pub use event::{End, Event};
pub use fleet::Fleet;
pub use offer::{Capabilities, Endpoints, ModelId, OfferedModel, Price, ProviderId};
pub use plan::{Attempt, Plan};
pub use policy::Policy;
pub use route::{NoRoute, route};
pub use time::Time;
pub use view::{ModelView, SeatView};
