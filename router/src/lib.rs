//! Decides which provider serves a call. Decides; never dials.
//!
//! A [`Fleet`] is told what happens ([`Fleet::apply`]) and is asked where a call should go
//! ([`route()`]). Both are plain values: no clock, no I/O, no lock and no global state, so that the
//! same history, call, time and random numbers give the same plan, in a test, in a simulation and
//! in production. Time and randomness are arguments.
//!
//! The way of a decision, in reading order:
//!
//! 1. [`Event`]s change the fleet: who offers what, how each call went, and what siblings know.
//! 2. Each (provider, model) pair is a *seat*. What was observed of a seat is kept in small parts
//!    that know nothing of each other: latency estimates and their tail, calls still waiting for
//!    their first token, an adaptive limit, a breaker, decaying errors, a history.
//! 3. [`route()`] filters the seats of the asked model by the call's needs and the caller's
//!    [`Preferences`], scores what is left by price and expected time, and lists the best few as a
//!    [`Plan`], without those out of proportion to the market.
//! 4. [`Fleet::permit`] keeps retries, rescues and hedges within budgets; a [`Queue`] keeps the calls
//!    in line that find everybody at capacity.
//!
//! Constants whose source reads "ROUTING" come from the project's routing notes, where a toy
//! simulation found them; the others say where they come from or that they were chosen here.
//!
//! Left to the gateway: dialling, timers, money.

mod names;
mod offer;
mod preferences;
mod sets;
mod time;

mod budget;
mod departed;
mod event;
mod fleet;
mod memory;
mod policy;
mod pool;
mod seat;

mod ask;
mod plan;
mod queue;
mod route;
mod view;

pub use ask::Ask;
pub use event::{End, Event, Try};
pub use fleet::Fleet;
pub use memory::Memory;
pub use names::{ModelId, ProviderId, Quantization};
pub use offer::{OfferedModel, Price};
pub use plan::{Attempt, Plan};
pub use policy::{Policy, Strategy};
pub use preferences::{Preferences, PriceMax, Quantile, Sort, Threshold};
pub use queue::{Pushed, Queue, QueuePolicy, Rank, Ticket};
pub use route::eligible::Unfit;
pub use route::{NoRoute, route};
pub use seat::breaker::BreakerState;
pub use sets::{Capabilities, Endpoints, Precisions};
pub use time::Time;
pub use view::{EndpointView, ModelView, Quantiles, SeatView, WindowView};
