//! The HTTP surface as snapshots: requests as bytes to a real gateway, and its whole answers.
//!
//! [`gateway`] is a gateway with two direct providers (simulated engines) in this process, [`exchange`] sends requests
//! and writes down what came back; [`raw`] and [`engine_by_hand`] are callers and engines that break the rules. A change of any status, header, field or text shows as a difference;
//! `INSTA_UPDATE=always cargo nextest run -p filature-gateway --test http` takes it over.

mod engine_by_hand;
mod exchange;
mod gateway;
mod raw;
mod redis;
mod relayed;

mod accounts;
mod admin_api;
mod admission;
mod answers;
mod attacks;
mod bad_requests;
mod counting;
mod crowd;
mod deposits;
mod limits;
mod preferences;
mod proof;
mod providers_in_trouble;
mod routes;
mod shares;
mod usage;
mod who_may_call;
mod withdrawals;
